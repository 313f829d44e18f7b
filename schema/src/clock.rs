//! TPMs' clocks: each attestation is judged after the last one of the same key, in the transaction that records what it was
//! for. Of two copies of one TPM, one loses.

use std::collections::{BTreeMap, HashMap};

use attest::tpm::{Follows, TpmsClockInfo};
use diesel::prelude::*;
use issuance::{ClockReading, ClockRule, RecordError};

use wire::EnrollmentId;

use crate::among::among;
use crate::fixed::PutClock;
use crate::link::{Fault, Link, on};
use crate::rows::TpmClock;
use crate::tables::{NewAudit, device, tpm_clock};

/// Row id of the device, and SHA-256 of the attestation key.
pub(crate) type Key = (i64, [u8; 32]);

/// An attestation, and whose.
#[derive(Debug, Clone)]
pub(crate) struct Attested {
    pub(crate) device: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the attestation key that vouched.
    pub(crate) ak: [u8; 32],
    pub(crate) reading: ClockReading,
    /// The conversation.
    pub(crate) challenge: [u8; 16],
    pub(crate) at: i64,
}

/// What was said last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Last {
    info: TpmsClockInfo,
    seen_at: i64,
    alarmed_at: Option<i64>,
}

/// A clock that went back.
#[derive(Debug)]
pub(crate) struct Alarm {
    pub(crate) key: Key,
    pub(crate) rule: ClockRule,
    at: i64,
    audits: Vec<NewAudit>,
}

/// What the table says, and what the attestations of this batch add to it.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    last: HashMap<Key, Last>,
    put: BTreeMap<Key, Last>,
    alarms: Vec<Alarm>,
}

/// A verdict about an attestation, and the alarm it raised, if any.
pub(crate) type Verdict = (Result<(), RecordError>, Option<ClockRule>);

impl Clocks {
    /// Judge an attestation of device `id`. An alarm stands whatever becomes of the order; the reading is noted by
    /// [`Self::note`], when the order is accepted.
    pub(crate) fn judge(&mut self, id: i64, new: &Attested) -> Result<Follows, RecordError> {
        let key = (id, new.ak);
        let Some(last) = self.last.get(&key) else {
            return Ok(Follows::Later);
        };
        let ClockReading { info, asked_at, rule } = &new.reading;
        let overlap = last.seen_at.checked_sub(asked_at.0).filter(|seconds| *seconds >= 0);
        // Seconds were counted whole: the first and the last one may have been nearly over.
        let overlap = overlap.map(|seconds| seconds.unsigned_abs().saturating_add(1).saturating_mul(1000));
        let what = match info.follows(&last.info, overlap) {
            Follows::Not(what) => what,
            fine => return Ok(fine),
        };
        let held = *rule == ClockRule::Hold;
        let what = format!("{what}; last: {}; now: {}", told(&last.info), told(info));
        let record = |action: &str, detail: String| NewAudit {
            at: new.at,
            action: action.to_owned(),
            actor: "server".to_owned(),
            subject: new.device.chars().take(255).collect(),
            reason: "TPM_CLOCK".to_owned(),
            detail,
            before: None,
            after: None,
        };
        let done = match rule {
            ClockRule::Alarm => "issued nevertheless",
            ClockRule::Refuse => "refused",
            ClockRule::Hold => "refused, and the device is held",
        };
        let conversation = EnrollmentId(new.challenge);
        let detail = format!("{conversation}: AK {}: {what}: {done}", hex::encode(new.ak));
        let mut audits = vec![record("device.clock.alarm", detail)];
        if held {
            audits.push(record("device.held", format!("{conversation}: {what}")));
        }
        self.alarms.push(Alarm {
            key,
            rule: *rule,
            at: new.at,
            audits,
        });
        if *rule == ClockRule::Alarm {
            return Ok(Follows::Later);
        }
        Err(RecordError::ClockBack {
            device: new.device.clone(),
            what,
            held,
        })
    }

    /// Take the reading of an attestation that was judged to follow. One that was overtaken says nothing new.
    pub(crate) fn note(&mut self, id: i64, new: &Attested, follows: Follows) {
        if follows == Follows::Later {
            let key = (id, new.ak);
            let last = Last {
                info: new.reading.info,
                seen_at: new.at,
                alarmed_at: self.last.get(&key).and_then(|last| last.alarmed_at),
            };
            self.last.insert(key, last);
            self.put.insert(key, last);
        }
    }

    /// The rule of the alarm raised since there were `before` of them.
    pub(crate) fn raised(&self, before: usize) -> Option<ClockRule> {
        self.alarms.get(before).map(|alarm| alarm.rule)
    }

    /// How many alarms there are.
    pub(crate) fn alarms(&self) -> usize {
        self.alarms.len()
    }

    /// Write what is new.
    pub(crate) fn write(&self, link: &mut Link) -> Result<(), Fault> {
        match link {
            Link::Sqlite(c) => {
                for ((device, ak), last) in &self.put {
                    let put = PutClock {
                        device: *device,
                        ak,
                        clock: last.info.clock.cast_signed(),
                        reset_count: i64::from(last.info.reset_count),
                        restart_count: i64::from(last.info.restart_count),
                        safe: last.info.safe,
                        seen_at: last.seen_at,
                    };
                    put.execute(c)?;
                }
            }
            Link::Postgres(c) => {
                let rows: Vec<_> = self
                    .put
                    .iter()
                    .map(|((device, ak), last)| {
                        (
                            tpm_clock::device_id.eq(*device),
                            tpm_clock::ak_spki_sha256.eq(ak.as_slice()),
                            tpm_clock::clock.eq(last.info.clock.cast_signed()),
                            tpm_clock::reset_count.eq(i64::from(last.info.reset_count)),
                            tpm_clock::restart_count.eq(i64::from(last.info.restart_count)),
                            tpm_clock::safe.eq(last.info.safe),
                            tpm_clock::seen_at.eq(last.seen_at),
                        )
                    })
                    .collect();
                for part in rows.chunks(1000) {
                    use diesel::upsert::excluded;
                    diesel::insert_into(tpm_clock::table)
                        .values(part)
                        .on_conflict((tpm_clock::device_id, tpm_clock::ak_spki_sha256))
                        .do_update()
                        .set((
                            tpm_clock::clock.eq(excluded(tpm_clock::clock)),
                            tpm_clock::reset_count.eq(excluded(tpm_clock::reset_count)),
                            tpm_clock::restart_count.eq(excluded(tpm_clock::restart_count)),
                            tpm_clock::safe.eq(excluded(tpm_clock::safe)),
                            tpm_clock::seen_at.eq(excluded(tpm_clock::seen_at)),
                        ))
                        .execute(c)?;
                }
            }
        }
        for alarm in &self.alarms {
            let (id, ak) = &alarm.key;
            let row = tpm_clock::table
                .filter(tpm_clock::device_id.eq(*id))
                .filter(tpm_clock::ak_spki_sha256.eq(ak.as_slice()));
            on!(link, c => diesel::update(row).set(tpm_clock::alarmed_at.eq(Some(alarm.at))).execute(c))?;
            if alarm.rule == ClockRule::Hold {
                let before = crate::seal::row(link, "device", *id)?;
                let row = device::table.filter(device::id.eq(*id));
                on!(link, c => diesel::update(row).set(device::held.eq(true)).execute(c))?;
                let after = crate::seal::row(link, "device", *id)?;
                let told = |audit: &NewAudit| match audit.action.as_str() {
                    "device.held" => audit.changed(before, after),
                    _ => audit.clone(),
                };
                let audits: Vec<NewAudit> = alarm.audits.iter().map(told).collect();
                crate::keeping::audit(link, &audits)?;
            } else {
                crate::keeping::audit(link, &alarm.audits)?;
            }
        }
        Ok(())
    }
}

fn told(info: &TpmsClockInfo) -> String {
    let TpmsClockInfo {
        clock,
        reset_count,
        restart_count,
        safe,
    } = info;
    let safe = if *safe { "safe" } else { "not safe" };
    format!("clock {clock} ms, resetCount {reset_count}, restartCount {restart_count}, {safe}")
}

/// A row of `tpm_clock`, without its alarm.
type Loaded = (i64, Vec<u8>, i64, i64, i64, bool, i64, Option<i64>);

fn parse(row: Loaded) -> Result<(Key, Last), Fault> {
    let (device, ak, clock, resets, restarts, safe, seen_at, alarmed_at) = row;
    let count = |n: i64| u32::try_from(n).map_err(|_| Fault::Failed(format!("tpm_clock: a count of {n}")));
    let info = TpmsClockInfo {
        clock: clock.cast_unsigned(),
        reset_count: count(resets)?,
        restart_count: count(restarts)?,
        safe,
    };
    let last = Last {
        info,
        seen_at,
        alarmed_at,
    };
    Ok(((device, crate::read::array(ak)?), last))
}

/// What these keys of these devices said last. The devices are locked.
pub(crate) fn look(link: &mut Link, devices: &[i64], aks: &[&[u8]]) -> Result<Clocks, Fault> {
    let mut clocks = Clocks::default();
    if !devices.is_empty() && !aks.is_empty() {
        let rows: Vec<Loaded> = on!(link, c => tpm_clock::table
            .filter(among(tpm_clock::device_id, devices.iter().copied()))
            .filter(among(tpm_clock::ak_spki_sha256, aks.iter().copied()))
            .select(tpm_clock::all_columns)
            .load(c))?;
        clocks.last = rows.into_iter().map(parse).collect::<Result<_, _>>()?;
    }
    Ok(clocks)
}

/// Take an attestation for which nothing is issued.
pub(crate) fn attested(link: &mut Link, new: &Attested) -> Result<Verdict, Fault> {
    let closed = || (Err(RecordError::DeviceNotOpen(new.device.clone())), None);
    if new.device.contains('\0') {
        return Ok(closed());
    }
    let found = device::table.filter(device::name.eq(&new.device)).select(device::id);
    let id: Option<i64> = match link {
        Link::Sqlite(c) => found.first(c).optional()?,
        Link::Postgres(c) => found.for_no_key_update().first(c).optional()?,
    };
    let Some(id) = id else { return Ok(closed()) };
    let mut clocks = look(link, &[id], &[&new.ak])?;
    let verdict = clocks.judge(id, new).map(|follows| clocks.note(id, new, follows));
    clocks.write(link)?;
    Ok((verdict, clocks.raised(0)))
}

/// The device was released by people: what raised an alarm is forgotten, and the next attestation is a beginning.
pub(crate) fn forget(link: &mut Link, name: &str) -> Result<(), Fault> {
    let of = device::table.filter(device::name.eq(name)).select(device::id);
    let rows = tpm_clock::table
        .filter(tpm_clock::device_id.eq_any(of))
        .filter(tpm_clock::alarmed_at.is_not_null());
    on!(link, c => diesel::delete(rows).execute(c))?;
    Ok(())
}

/// What the attestation keys of a device said last, newest first.
pub(crate) fn of_device(link: &mut Link, name: &str) -> Result<Vec<TpmClock>, Fault> {
    if name.contains('\0') {
        return Ok(Vec::new());
    }
    let rows: Vec<Loaded> = on!(link, c => tpm_clock::table
        .inner_join(device::table)
        .filter(device::name.eq(name))
        .order((tpm_clock::seen_at.desc(), tpm_clock::ak_spki_sha256))
        .select(tpm_clock::all_columns)
        .load(c))?;
    rows.into_iter()
        .map(|row| {
            let ((_, ak_spki_sha256), last) = parse(row)?;
            Ok(TpmClock {
                ak_spki_sha256,
                info: last.info,
                seen_at: last.seen_at,
                alarmed_at: last.alarmed_at,
            })
        })
        .collect()
}
