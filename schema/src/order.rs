//! Recording orders and their intents: look, decide, write.
//!
//! A batch of orders costs the same number of statements as one order. What the look-up does not see because another
//! server was quicker, the UNIQUE indexes refuse; the writer then looks again, one order at a time.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Text};
use issuance::RecordError;
use wire::revocation::RevocationState;

use crate::among::among;
use crate::change::{NewIntent, NewOrder, TpmFacts};
use crate::clock::Verdict;
use crate::fixed::{BindDevice, Intent, PutIdentity};
use crate::link::{Fault, Link, insert, on};
use crate::rows::EkShown;
use crate::seen::{Holder, Known, Owner, Seen};
use crate::tables::{
    NewAudit, NewCertificate, blocked_key, certificate, device, ek_owner, enrollment, evidence, iak_gone, iak_proof,
    identity, key_owner, transcript,
};
use crate::{clock, manifest, renewal, replacement, revocation};

/// Whether a UNIQUE index that refused is the one on (serial, issuer).
pub(crate) fn is_serial(constraint: &str) -> bool {
    constraint == "certificate_serial" || constraint.contains("certificate.serial")
}

/// Record orders inside the open transaction; one verdict for each, in order.
///
/// `again`: an earlier transaction with the same order may have been committed; finding it is a success.
pub(crate) fn intend(link: &mut Link, orders: &[&NewOrder], again: bool) -> Result<Vec<Verdict>, Fault> {
    let mut seen = look(link, orders)?;
    let mut verdicts = Vec::with_capacity(orders.len());
    let mut accepted = Vec::new();
    for order in orders {
        let alarms = seen.clocks.alarms();
        let mut verdict = seen.accept(order);
        if again && verdict == Err(RecordError::ChallengeUsed) && is_ours(link, order)? {
            verdict = Ok(());
        } else if verdict.is_ok() {
            accepted.push(*order);
        }
        verdicts.push((verdict, seen.clocks.raised(alarms)));
    }
    seen.clocks.write(link)?;
    write(link, &seen, &accepted)?;
    Ok(verdicts)
}

/// Everything the orders depend on, in one look.
fn look(link: &mut Link, orders: &[&NewOrder]) -> Result<Seen, Fault> {
    let mut seen = Seen::default();
    let bindings = || orders.iter().filter_map(|o| o.device.as_ref());
    // A name with U+0000 cannot be in the inventory, and PostgreSQL would refuse the question.
    let names: Vec<&str> = bindings()
        .map(|b| b.name.as_str())
        .filter(|n| !n.contains('\0'))
        .collect();
    if bindings().next().is_some() {
        let eks: Vec<&[u8]> = bindings().filter_map(|b| b.ek()).map(<[u8; 32]>::as_slice).collect();
        let iaks: Vec<&[u8]> = bindings()
            .filter_map(|b| b.iak())
            .map(|proof| proof.spki_sha256.as_slice())
            .collect();
        // `as_select` fixes the engine, hence a macro and not a value.
        macro_rules! wanted {
            () => {
                device::table
                    .filter(among(device::name, names.iter().copied()).or(among(
                        device::ek_spki_sha256.assume_not_null(),
                        eks.iter().copied(),
                    )))
                    .order(device::id)
                    .select(Known::as_select())
            };
            (by_iak) => {
                device::table
                    .filter(
                        among(device::name, names.iter().copied())
                            .or(among(
                                device::ek_spki_sha256.assume_not_null(),
                                eks.iter().copied(),
                            ))
                            .or(among(
                                device::iak_spki_sha256.assume_not_null(),
                                iaks.iter().copied(),
                            )),
                    )
                    .order(device::id)
                    .select(Known::as_select())
            };
        }
        // Locked in the order of ids, until the end of the transaction: nobody else binds, holds or certifies these
        // devices meanwhile, and two servers never wait for each other.
        let known: Vec<Known> = match (&mut *link, iaks.is_empty()) {
            (Link::Sqlite(c), true) => wanted!().load(c)?,
            (Link::Sqlite(c), false) => wanted!(by_iak).load(c)?,
            (Link::Postgres(c), true) => wanted!().for_no_key_update().load(c)?,
            (Link::Postgres(c), false) => wanted!(by_iak).for_no_key_update().load(c)?,
        };
        for one in known {
            seen.know(one);
        }
    }
    let challenges: Vec<&[u8]> = orders.iter().map(|o| o.challenge.as_slice()).collect();
    let used: Vec<Vec<u8>> = on!(link, c => enrollment::table
        .filter(among(enrollment::challenge, challenges.iter().copied()))
        .select(enrollment::challenge)
        .load(c))?;
    seen.used.extend(used);
    let keys: Vec<&[u8]> = orders
        .iter()
        .flat_map(|o| &o.intents)
        .map(|i| i.spki_sha256.as_slice())
        .chain(bindings().map(|b| b.ak.as_slice()))
        .collect();
    let blocked: Vec<Vec<u8>> = on!(link, c => blocked_key::table
        .filter(among(blocked_key::spki_sha256, keys.iter().copied()))
        .select(blocked_key::spki_sha256)
        .load(c))?;
    seen.blocked.extend(blocked);
    let owners: Vec<(Vec<u8>, Option<String>)> = on!(link, c => key_owner::table
        .left_join(device::table)
        .filter(among(key_owner::spki_sha256, keys.iter().copied()))
        .select((key_owner::spki_sha256, device::name.nullable()))
        .load(c))?;
    seen.owned_before = owners.iter().map(|(key, _)| key.clone()).collect();
    seen.owners.extend(owners);
    let aks: Vec<&[u8]> = bindings().map(|b| b.ak.as_slice()).collect();
    if !aks.is_empty() {
        let gone: Vec<(Vec<u8>, String)> = on!(link, c => key_owner::table
            .inner_join(ek_owner::table.on(ek_owner::ek_spki_sha256.nullable().eq(key_owner::ek_spki_sha256)))
            .inner_join(device::table.on(device::id.eq(ek_owner::device_id)))
            .filter(among(key_owner::spki_sha256, aks.iter().copied()))
            .filter(ek_owner::replacement_id.is_not_null())
            .select((key_owner::spki_sha256, device::name))
            .load(c))?;
        seen.gone.extend(gone);
        // An IAK that went with its TPM, where no EK of it was known.
        let gone: Vec<(Vec<u8>, String)> = on!(link, c => iak_gone::table
            .inner_join(device::table)
            .filter(among(iak_gone::iak_spki_sha256, aks.iter().copied()))
            .select((iak_gone::iak_spki_sha256, device::name))
            .load(c))?;
        seen.gone.extend(gone);
        // After the AKs: whoever's AK is seen to be another's is seen with its EK.
        let eks: Vec<&[u8]> = bindings().filter_map(|b| b.ek()).map(<[u8; 32]>::as_slice).collect();
        let owned: Vec<(Vec<u8>, String, Option<i64>)> = on!(link, c => ek_owner::table
            .inner_join(device::table)
            .filter(among(ek_owner::ek_spki_sha256, eks.iter().copied()))
            .select((ek_owner::ek_spki_sha256, device::name, ek_owner::replacement_id))
            .load(c))?;
        for (ek, device, replacement) in owned {
            let replaced = replacement.is_some();
            seen.know_ek(ek, Owner { device, replaced });
        }
    }
    seen.renewed = renewal::look(link, orders)?;
    let ids = seen.ids();
    seen.clocks = clock::look(link, &ids, &aks)?;
    if !ids.is_empty() {
        let held: Vec<(i64, String, i64, String, i64)> = on!(link, c => identity::table
            .inner_join(certificate::table)
            .filter(among(identity::device_id, ids.iter().copied()))
            .select((
                identity::device_id,
                identity::profile,
                certificate::id,
                certificate::state,
                certificate::not_after,
            ))
            .load(c))?;
        let holders: Vec<i64> = held.iter().map(|row| row.2).collect();
        let steps = revocation::last(link, &holders)?;
        for (id, profile, holder, state, not_after) in held {
            let revoked = steps.get(&holder).is_some_and(|s| s.state == RevocationState::Revoked);
            let holder = Holder {
                certificate: Some(holder),
                orphan: state == "orphan",
                revoked,
                not_after,
            };
            seen.identities.insert((id, profile), holder);
        }
    }
    Ok(seen)
}

/// Whether the enrollment on record is this very order, down to its serials.
fn is_ours(link: &mut Link, order: &NewOrder) -> Result<bool, Fault> {
    type Found = (Vec<u8>, Vec<u8>, Vec<u8>);
    let found: Vec<Found> = on!(link, c => certificate::table
        .inner_join(enrollment::table)
        .filter(enrollment::challenge.eq(order.challenge.as_slice()))
        .filter(certificate::state.eq(Intent))
        .order(certificate::id)
        .select((enrollment::request_sha256, certificate::issuer_key_id, certificate::serial))
        .load(c))?;
    let same = |(row, intent): (&Found, &NewIntent)| {
        row.0 == order.request_sha256 && row.1 == intent.issuer_key_id && row.2 == intent.serial
    };
    // Without intents there is nothing that tells this order from another server's twin.
    Ok(!found.is_empty() && found.len() == order.intents.len() && found.iter().zip(&order.intents).all(same))
}

/// Write accepted orders: everything or an error.
fn write(link: &mut Link, seen: &Seen, accepted: &[&NewOrder]) -> Result<(), Fault> {
    if accepted.is_empty() {
        return Ok(());
    }
    for (id, (ek, at)) in &seen.bound {
        replacement::own(link, *id, ek, *at, EkShown::FirstContact)?;
    }
    bind(link, &seen.changed)?;
    vouch(link, &seen.vouched)?;
    let device_of = |order: &NewOrder| order.device.as_ref().and_then(|b| seen.id_of(&b.name));
    let ids = enrollments(link, accepted, device_of)?;
    let shown: Vec<_> = accepted
        .iter()
        .filter_map(|order| order.device.as_ref())
        .filter_map(|of| Some((of.name.as_str(), of.shown()?)))
        .collect();
    let lines = manifest::lines(link, &shown)?;
    let mut proofs = Vec::new();
    let mut transcripts = Vec::new();
    let mut vouchers = Vec::new();
    let mut certificates = Vec::new();
    let mut audits: Vec<NewAudit> = Vec::new();
    let mut renewed = Vec::new();
    for order in accepted {
        let id = *ids
            .get(order.challenge.as_slice())
            .ok_or_else(|| Fault::Failed("an enrollment without an id".to_owned()))?;
        if let Some(e) = &order.evidence {
            proofs.push((
                evidence::enrollment_id.eq(id),
                evidence::digest.eq(e.digest.as_slice()),
                evidence::bytes.eq(e.bytes.as_slice()),
            ));
        }
        if let Some(t) = &order.transcript {
            transcripts.push((
                transcript::enrollment_id.eq(id),
                transcript::digest.eq(t.digest.as_slice()),
                transcript::bytes.eq(t.bytes.as_slice()),
                transcript::path.eq(t.path.as_slice()),
            ));
        }
        if let Some(of) = &order.device
            && let Some(proof) = of.iak()
        {
            let line = lines.get(of.name.as_str()).copied();
            vouchers.push((
                iak_proof::enrollment_id.eq(id),
                iak_proof::certificate_sha256.eq(proof.certificate_sha256.as_slice()),
                iak_proof::spki_sha256.eq(proof.spki_sha256.as_slice()),
                iak_proof::issuer.eq(proof.issuer.as_slice()),
                iak_proof::serial.eq(proof.serial.as_slice()),
                iak_proof::idevid_sha256.eq(proof.idevid_sha256.as_ref().map(<[u8; 32]>::as_slice)),
                iak_proof::ek_spki_sha256.eq(proof.ek_spki_sha256.as_ref().map(<[u8; 32]>::as_slice)),
                iak_proof::anchor.eq(proof.anchor.as_str()),
                iak_proof::assurance.eq(proof.assurance.as_str()),
                iak_proof::manifest_id.eq(line.map(|(id, _)| id)),
                iak_proof::manifest_position.eq(line.map(|(_, position)| position)),
            ));
        }
        if let Some(old) = order.renews.as_deref().and_then(|r| seen.renewed.get(r)) {
            renewed.push((certificates.len(), old.id));
        }
        for intent in &order.intents {
            certificates.push(new_certificate(order, intent, id, device_of(order)));
        }
        audits.push(order.audit.clone());
    }
    insert!(link, evidence::table, &proofs);
    insert!(link, transcript::table, &transcripts);
    insert!(link, iak_proof::table, &vouchers);
    let rows = insert_certificates(link, &certificates)?;
    if !renewed.is_empty() {
        let pairs: Vec<(i64, i64)> = renewed
            .into_iter()
            .filter_map(|(place, old)| rows.get(place).map(|new| (*new, old)))
            .collect();
        renewal::record(link, &pairs)?;
    }
    let mut keys = BTreeMap::new();
    let mut identities = BTreeMap::new();
    for order in accepted {
        let binding = order.device.as_ref();
        let certified = order.intents.iter().map(|i| i.spki_sha256.as_slice());
        for key in certified.chain(binding.map(|b| b.ak.as_slice())) {
            if !seen.owned_before.contains(key) {
                keys.insert(
                    key,
                    (device_of(order), binding.and_then(|b| b.ek()).map(<[u8; 32]>::as_slice)),
                );
            }
        }
    }
    for (row, new) in rows.iter().zip(&certificates) {
        if let Some(owner) = new.device_id {
            identities.insert((owner, new.profile.as_str()), (*row, new.not_after));
        }
    }
    let keys: Vec<_> = keys
        .into_iter()
        .map(|(spki, (owner, ek))| {
            (
                key_owner::spki_sha256.eq(spki),
                key_owner::device_id.eq(owner),
                key_owner::ek_spki_sha256.eq(ek),
            )
        })
        .collect();
    insert!(link, key_owner::table, &keys);
    put_identities(link, &identities)?;
    crate::keeping::audit(link, &audits)
}

/// Bind EKs and note the facts about their TPMs.
fn bind(link: &mut Link, changed: &BTreeMap<i64, ([u8; 32], TpmFacts)>) -> Result<(), Fault> {
    if changed.is_empty() {
        return Ok(());
    }
    let count = match link {
        Link::Sqlite(c) => {
            let mut count = 0;
            for (id, (ek, facts)) in changed {
                let bind = BindDevice {
                    id: *id,
                    ek,
                    certificate: &facts.ek_certificate_sha256,
                    facts: [
                        &facts.manufacturer,
                        &facts.model,
                        &facts.version,
                        &facts.assurance,
                        &facts.anchor,
                    ],
                };
                count += bind.execute(c)?;
            }
            count
        }
        Link::Postgres(c) => {
            let list =
                |f: fn(&TpmFacts) -> &str| -> Vec<&str> { changed.values().map(|(_, facts)| f(facts)).collect() };
            diesel::sql_query(
                "UPDATE device AS d SET ek_spki_sha256 = v.ek, ek_certificate_sha256 = v.certificate, \
                 manufacturer = v.manufacturer, model = v.model, version = v.version, assurance = v.assurance, \
                 anchor = v.anchor FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) \
                 AS v (id, ek, certificate, manufacturer, model, version, assurance, anchor) WHERE d.id = v.id",
            )
            .bind::<Array<BigInt>, _>(changed.keys().copied().collect::<Vec<i64>>())
            .bind::<Array<Binary>, _>(changed.values().map(|(ek, _)| ek.as_slice()).collect::<Vec<_>>())
            .bind::<Array<Binary>, _>(
                changed
                    .values()
                    .map(|(_, f)| f.ek_certificate_sha256.as_slice())
                    .collect::<Vec<_>>(),
            )
            .bind::<Array<Text>, _>(list(|f| &f.manufacturer))
            .bind::<Array<Text>, _>(list(|f| &f.model))
            .bind::<Array<Text>, _>(list(|f| &f.version))
            .bind::<Array<Text>, _>(list(|f| &f.assurance))
            .bind::<Array<Text>, _>(list(|f| &f.anchor))
            .execute(c)?
        }
    };
    if count == changed.len() {
        Ok(())
    } else {
        Err(Fault::Raced("a device went away".to_owned()))
    }
}

/// Bind IAKs, and the EKs that their certificates name where none was known.
fn vouch(link: &mut Link, vouched: &BTreeMap<i64, ([u8; 32], Option<[u8; 32]>)>) -> Result<(), Fault> {
    for (id, (iak, ek)) in vouched {
        let row = device::table.filter(device::id.eq(*id));
        let count = on!(link, c => diesel::update(row)
            .set(device::iak_spki_sha256.eq(iak.as_slice()))
            .execute(c))?;
        if count != 1 {
            return Err(Fault::Raced("a device went away".to_owned()));
        }
        if let Some(ek) = ek {
            let row = device::table
                .filter(device::id.eq(*id))
                .filter(device::ek_spki_sha256.is_null());
            on!(link, c => diesel::update(row)
                .set(device::ek_spki_sha256.eq(ek.as_slice()))
                .execute(c))?;
        }
    }
    Ok(())
}

/// Insert enrollments; their row ids by challenge.
fn enrollments(
    link: &mut Link,
    accepted: &[&NewOrder],
    device_of: impl Fn(&NewOrder) -> Option<i64>,
) -> Result<HashMap<Vec<u8>, i64>, Fault> {
    // In one order everywhere, so that two servers with the same challenges do not wait for each other.
    let mut sorted = accepted.to_vec();
    sorted.sort_by_key(|o| o.challenge);
    let rows: Vec<_> = sorted
        .iter()
        .map(|order| {
            (
                enrollment::challenge.eq(order.challenge.as_slice()),
                enrollment::request_sha256.eq(order.request_sha256.as_slice()),
                enrollment::device_id.eq(device_of(order)),
                enrollment::created_at.eq(order.at),
            )
        })
        .collect();
    match link {
        Link::Sqlite(c) => {
            let mut ids = HashMap::with_capacity(rows.len());
            for (order, row) in sorted.iter().zip(rows) {
                let id = diesel::insert_into(enrollment::table)
                    .values(row)
                    .returning(enrollment::id)
                    .get_result(c)?;
                ids.insert(order.challenge.to_vec(), id);
            }
            Ok(ids)
        }
        Link::Postgres(c) => {
            let pairs: Vec<(Vec<u8>, i64)> = diesel::insert_into(enrollment::table)
                .values(&rows)
                .returning((enrollment::challenge, enrollment::id))
                .get_results(c)?;
            Ok(pairs.into_iter().collect())
        }
    }
}

fn new_certificate(order: &NewOrder, intent: &NewIntent, enrollment_id: i64, device_id: Option<i64>) -> NewCertificate {
    NewCertificate {
        serial: intent.serial.clone(),
        issuer_key_id: intent.issuer_key_id.clone(),
        enrollment_id,
        device_id,
        profile: intent.profile.clone(),
        profile_sha256: intent.profile_sha256.clone(),
        key_role: intent.key_role,
        spki_sha256: intent.spki_sha256.to_vec(),
        tbs: intent.tbs.clone(),
        state: "intent",
        not_before: intent.not_before,
        not_after: intent.not_after,
        created_at: order.at,
        decision: intent.decision.clone(),
    }
}

/// Insert intents; their row ids in the same order.
fn insert_certificates(link: &mut Link, rows: &[NewCertificate]) -> Result<Vec<i64>, Fault> {
    match link {
        Link::Sqlite(c) => {
            let mut ids = Vec::with_capacity(rows.len());
            for row in rows {
                ids.push(
                    diesel::insert_into(certificate::table)
                        .values(row)
                        .returning(certificate::id)
                        .get_result(c)?,
                );
            }
            Ok(ids)
        }
        Link::Postgres(c) => {
            let mut found: HashMap<(Vec<u8>, Vec<u8>), i64> = HashMap::with_capacity(rows.len());
            for part in rows.chunks(1000) {
                let ids: Vec<(Vec<u8>, Vec<u8>, i64)> = diesel::insert_into(certificate::table)
                    .values(part)
                    .returning((certificate::issuer_key_id, certificate::serial, certificate::id))
                    .get_results(c)?;
                found.extend(ids.into_iter().map(|(issuer, serial, id)| ((issuer, serial), id)));
            }
            rows.iter()
                .map(|row| {
                    found
                        .get(&(row.issuer_key_id.clone(), row.serial.clone()))
                        .copied()
                        .ok_or_else(|| Fault::Failed("an intent without an id".to_owned()))
                })
                .collect()
        }
    }
}

/// Let certificates stand for their devices; the devices are locked.
fn put_identities(link: &mut Link, rows: &BTreeMap<(i64, &str), (i64, i64)>) -> Result<(), Fault> {
    match link {
        Link::Sqlite(c) => {
            for ((device, profile), (certificate, not_after)) in rows {
                let put = PutIdentity {
                    device: *device,
                    profile,
                    certificate: *certificate,
                    not_after: *not_after,
                };
                put.execute(c)?;
            }
        }
        Link::Postgres(c) => {
            let values: Vec<_> = rows
                .iter()
                .map(|((owner, profile), (row, not_after))| {
                    (
                        identity::device_id.eq(*owner),
                        identity::profile.eq(*profile),
                        identity::certificate_id.eq(*row),
                        identity::not_after.eq(*not_after),
                    )
                })
                .collect();
            for part in values.chunks(1000) {
                diesel::insert_into(identity::table)
                    .values(part)
                    .on_conflict((identity::device_id, identity::profile))
                    .do_update()
                    .set((
                        identity::certificate_id.eq(diesel::upsert::excluded(identity::certificate_id)),
                        identity::not_after.eq(diesel::upsert::excluded(identity::not_after)),
                    ))
                    .execute(c)?;
            }
        }
    }
    Ok(())
}
