//! Questions.

use diesel::prelude::*;
use issuance::{AuditRecord, KeyRole, TranscriptRecord};

use crate::fixed::{Issued, Orphaned};
use crate::link::{Fault, Link, on};
use crate::revocation;
use crate::rows::{
    AuditFilter, AuditRow, CertificateRow, CertificateState, ChallengeRow, DeviceRow, DeviceTpm, EnrollmentRow,
    EvidenceRow, IakProofRow,
};
use crate::tables::{
    audit, certificate, challenge_attempt, crl_point, device, ek_owner, enrollment, evidence, iak_proof, identity,
    renewal, transcript,
};

/// A row of `device`.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = device)]
pub(crate) struct StoredDevice {
    id: i64,
    name: String,
    ek_spki_sha256: Option<Vec<u8>>,
    first_contact_until: Option<i64>,
    held: bool,
    batch: Option<String>,
    dns_names: String,
    spiffe_id: Option<String>,
    ek_certificate_sha256: Option<Vec<u8>>,
    manufacturer: Option<String>,
    model: Option<String>,
    version: Option<String>,
    assurance: Option<String>,
    anchor: Option<String>,
    created_at: i64,
    iak_spki_sha256: Option<Vec<u8>>,
}

/// A row of `certificate`.
#[derive(Queryable, Selectable, Debug)]
#[diesel(table_name = certificate)]
struct StoredCertificate {
    id: i64,
    serial: Vec<u8>,
    issuer_key_id: Vec<u8>,
    profile: String,
    key_role: String,
    spki_sha256: Vec<u8>,
    state: String,
    tbs: Vec<u8>,
    der: Option<Vec<u8>>,
    not_before: i64,
    not_after: i64,
    created_at: i64,
}

/// A certificate with its enrollment's challenge and its device's name.
type Joined = (StoredCertificate, Vec<u8>, Option<String>);

/// A column of fixed length. The tables hold its length; a wrong one is a damaged database.
pub(crate) fn array<const N: usize>(bytes: Vec<u8>) -> Result<[u8; N], Fault> {
    <[u8; N]>::try_from(bytes).map_err(|b| Fault::Failed(format!("{} bytes where {N} belong", b.len())))
}

impl StoredDevice {
    pub(crate) fn into_row(self, last_seen_at: Option<i64>) -> Result<DeviceRow, Fault> {
        let facts = (
            self.ek_certificate_sha256,
            self.manufacturer,
            self.model,
            self.version,
            self.assurance,
            self.anchor,
        );
        let tpm = match facts {
            (Some(ek), Some(manufacturer), Some(model), Some(version), Some(assurance), Some(anchor)) => {
                Some(DeviceTpm {
                    ek_certificate_sha256: array(ek)?,
                    manufacturer,
                    model,
                    version,
                    assurance,
                    anchor,
                })
            }
            _ => None,
        };
        Ok(DeviceRow {
            id: self.id,
            name: self.name,
            ek_spki_sha256: self.ek_spki_sha256.map(array).transpose()?,
            iak_spki_sha256: self.iak_spki_sha256.map(array).transpose()?,
            first_contact_until: self.first_contact_until,
            held: self.held,
            batch: self.batch,
            dns_names: serde_json::from_str(&self.dns_names).map_err(|e| Fault::Failed(e.to_string()))?,
            spiffe_id: self.spiffe_id,
            tpm,
            created_at: self.created_at,
            last_seen_at,
        })
    }
}

/// Certificates of joined rows, each with its last step.
fn certificate_rows(link: &mut Link, rows: Vec<Joined>) -> Result<Vec<CertificateRow>, Fault> {
    let mut certificates = rows.into_iter().map(certificate_row).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<i64> = certificates.iter().map(|c| c.id).collect();
    let mut steps = revocation::last(link, &ids)?;
    for certificate in &mut certificates {
        certificate.revocation = steps.remove(&certificate.id);
    }
    Ok(certificates)
}

fn certificate_row((row, challenge, device): Joined) -> Result<CertificateRow, Fault> {
    Ok(CertificateRow {
        id: row.id,
        serial: row.serial,
        issuer_key_id: row.issuer_key_id,
        enrollment_id: array(challenge)?,
        device,
        profile: row.profile,
        key_role: match row.key_role.as_str() {
            "attestation" => KeyRole::Attestation,
            "identity" => KeyRole::Identity,
            other => return Err(Fault::Failed(format!("key role `{other}`"))),
        },
        spki_sha256: array(row.spki_sha256)?,
        state: CertificateState::from_text(&row.state)
            .ok_or_else(|| Fault::Failed(format!("state `{}`", row.state)))?,
        tbs: row.tbs,
        certificate: row.der,
        not_before: row.not_before,
        not_after: row.not_after,
        created_at: row.created_at,
        revocation: None,
    })
}

/// Certificates with what belongs to them; filter, order and limit are added behind.
macro_rules! certificates {
    ($link:expr, $from:ident => $rest:expr) => {{
        let rows: Vec<Joined> = on!($link, c => {
            let $from = certificate::table
                .inner_join(enrollment::table)
                .left_join(device::table.on(device::id.nullable().eq(certificate::device_id)))
                .select((StoredCertificate::as_select(), enrollment::challenge, device::name.nullable()));
            $rest.load(c)
        })?;
        certificate_rows($link, rows)
    }};
}

pub(crate) fn ping(link: &mut Link) -> Result<(), Fault> {
    // A table of ours, so that a database without our tables does not answer.
    let _count: Option<i64> =
        on!(link, c => audit::table.select(audit::id).order(audit::id.desc()).first(c).optional())?;
    Ok(())
}

pub(crate) fn latest_time(link: &mut Link) -> Result<Option<i64>, Fault> {
    let told: Option<i64> = on!(link, c => audit::table.select(diesel::dsl::max(audit::at)).first(c))?;
    let ordered: Option<i64> =
        on!(link, c => enrollment::table.select(diesel::dsl::max(enrollment::created_at)).first(c))?;
    let spoken: Option<i64> =
        on!(link, c => crl_point::table.select(diesel::dsl::max(crl_point::this_update)).first(c))?;
    Ok(told.max(ordered).max(spoken))
}

pub(crate) fn enrollment(link: &mut Link, challenge: &[u8; 16]) -> Result<Option<EnrollmentRow>, Fault> {
    let found: Option<(Vec<u8>, Option<String>, i64)> = on!(link, c => enrollment::table
        .left_join(device::table)
        .filter(enrollment::challenge.eq(challenge.as_slice()))
        .select((enrollment::request_sha256, device::name.nullable(), enrollment::created_at))
        .first(c)
        .optional())?;
    let Some((request_sha256, device, created_at)) = found else {
        return Ok(None);
    };
    let certificates = certificates!(link, all => all
        .filter(enrollment::challenge.eq(challenge.as_slice()))
        .order(certificate::id))?;
    Ok(Some(EnrollmentRow {
        id: *challenge,
        request_sha256: array(request_sha256)?,
        device,
        certificates,
        created_at,
    }))
}

pub(crate) fn challenge(link: &mut Link, challenge: &[u8; 16]) -> Result<ChallengeRow, Fault> {
    let used = enrollment::table.filter(enrollment::challenge.eq(challenge.as_slice()));
    let failures = challenge_attempt::table
        .filter(challenge_attempt::challenge.eq(challenge.as_slice()))
        .select(challenge_attempt::failures)
        .single_value();
    let (used, failures): (bool, Option<i64>) =
        on!(link, c => diesel::select((diesel::dsl::exists(used), failures)).get_result(c))?;
    Ok(ChallengeRow {
        used,
        failures: u32::try_from(failures.unwrap_or(0)).unwrap_or(u32::MAX),
    })
}

/// Devices, and when each was last issued something; filter, order and limit are added behind.
macro_rules! devices {
    ($link:expr, $from:ident => $rest:expr) => {{
        let rows: Vec<(StoredDevice, Option<i64>)> = on!($link, c => {
            let last_seen = certificate::table
                .filter(certificate::device_id.eq(device::id.nullable()))
                .filter(certificate::state.eq(Issued))
                .select(diesel::dsl::max(certificate::created_at))
                .single_value();
            let $from = device::table.select((StoredDevice::as_select(), last_seen));
            $rest.load(c)
        })?;
        rows.into_iter().map(|(row, at)| row.into_row(at)).collect::<Result<Vec<DeviceRow>, Fault>>()
    }};
}

pub(crate) fn device_by_name(link: &mut Link, name: &str) -> Result<Option<DeviceRow>, Fault> {
    if name.contains('\0') {
        return Ok(None);
    }
    Ok(devices!(link, all => all.filter(device::name.eq(name)))?.pop())
}

pub(crate) fn device_by_ek(link: &mut Link, ek: &[u8; 32]) -> Result<Option<DeviceRow>, Fault> {
    // Any EK of its TPM: a TPM may have several.
    let owner = ek_owner::table
        .filter(ek_owner::ek_spki_sha256.eq(ek.as_slice()))
        .filter(ek_owner::replacement_id.is_null())
        .select(ek_owner::device_id);
    Ok(devices!(link, all => all.filter(device::id.eq_any(owner)))?.pop())
}

pub(crate) fn device_by_iak(link: &mut Link, iak: &[u8; 32]) -> Result<Option<DeviceRow>, Fault> {
    Ok(devices!(link, all => all.filter(device::iak_spki_sha256.eq(iak.as_slice())))?.pop())
}

/// The manufacturer's certificate on which this enrollment stands, if it stands on one.
pub(crate) fn iak_proof(link: &mut Link, challenge: &[u8; 16]) -> Result<Option<IakProofRow>, Fault> {
    type Found = (
        Vec<u8>,
        Vec<u8>,
        Vec<u8>,
        Vec<u8>,
        Option<Vec<u8>>,
        Option<Vec<u8>>,
        String,
        String,
        Option<i64>,
        Option<i64>,
    );
    let found: Option<Found> = on!(link, c => iak_proof::table
        .inner_join(enrollment::table)
        .filter(enrollment::challenge.eq(challenge.as_slice()))
        .select((
            iak_proof::certificate_sha256,
            iak_proof::spki_sha256,
            iak_proof::issuer,
            iak_proof::serial,
            iak_proof::idevid_sha256,
            iak_proof::ek_spki_sha256,
            iak_proof::anchor,
            iak_proof::assurance,
            iak_proof::manifest_id,
            iak_proof::manifest_position,
        ))
        .first(c)
        .optional())?;
    found
        .map(
            |(certificate, key, issuer, serial, idevid, ek, anchor, assurance, manifest, position)| {
                let position = position.map(|p| u64::try_from(p).map_err(|e| Fault::Failed(e.to_string())));
                Ok(IakProofRow {
                    manifest: manifest.zip(position.transpose()?),
                    certificate_sha256: array(certificate)?,
                    spki_sha256: array(key)?,
                    issuer,
                    serial,
                    idevid_sha256: idevid.map(array).transpose()?,
                    ek_spki_sha256: ek.map(array).transpose()?,
                    anchor,
                    assurance,
                })
            },
        )
        .transpose()
}

/// Devices of these row ids, in their order.
pub(crate) fn devices_by_id(link: &mut Link, ids: &[i64]) -> Result<Vec<DeviceRow>, Fault> {
    devices!(link, all => all.filter(device::id.eq_any(ids)).order(device::id))
}

pub(crate) fn certificates_of(link: &mut Link, name: &str) -> Result<Vec<CertificateRow>, Fault> {
    if name.contains('\0') {
        return Ok(Vec::new());
    }
    certificates!(link, all => all.filter(device::name.eq(name)).order(certificate::id.desc()))
}

pub(crate) fn live_identity(
    link: &mut Link,
    name: &str,
    profile: &str,
    now: i64,
) -> Result<Option<CertificateRow>, Fault> {
    if name.contains('\0') || profile.contains('\0') {
        return Ok(None);
    }
    let holder = diesel::alias!(device as holder);
    let mut found = certificates!(link, all => all
        .filter(certificate::id.eq_any(identity::table
            .inner_join(holder.on(holder.field(device::id).eq(identity::device_id)))
            .filter(holder.field(device::name).eq(name))
            .filter(identity::profile.eq(profile))
            .select(identity::certificate_id)))
        .filter(certificate::state.eq(Issued))
        .filter(certificate::not_after.ge(now)))?;
    Ok(found.pop().filter(|row| row.not_good().is_none()))
}

pub(crate) fn by_serial(link: &mut Link, serial: &[u8]) -> Result<Option<CertificateRow>, Fault> {
    let mut found = certificates!(link, all => all
        .filter(certificate::serial.eq(serial))
        // Without a limit: PostgreSQL, told of one, reads from the newest backwards until it meets the serial.
        .order(certificate::id))?;
    Ok(found.pop())
}

pub(crate) fn successor(link: &mut Link, id: i64) -> Result<Option<CertificateRow>, Fault> {
    let mut found = certificates!(link, all => all
        .filter(certificate::id.eq_any(renewal::table
            .filter(renewal::replaces_id.eq(id))
            .select(renewal::certificate_id)))
        .filter(certificate::state.ne(Orphaned)))?;
    Ok(found.pop())
}

pub(crate) fn lineage(link: &mut Link, id: i64) -> Result<Vec<CertificateRow>, Fault> {
    let kin = crate::renewal::lineage(link, id)?;
    certificates!(link, all => all.filter(certificate::id.eq_any(&kin)).order(certificate::id))
}

/// The newest that no device has, issued under this profile for this key.
pub(crate) fn own(
    link: &mut Link,
    issuer_key_id: &[u8],
    profile: &str,
    spki_sha256: &[u8; 32],
) -> Result<Option<CertificateRow>, Fault> {
    let mut found = certificates!(link, all => all
        .filter(certificate::device_id.is_null())
        .filter(certificate::issuer_key_id.eq(issuer_key_id))
        .filter(certificate::profile.eq(profile))
        .filter(certificate::spki_sha256.eq(spki_sha256.as_slice()))
        .filter(certificate::state.eq(Issued))
        .order(certificate::id.desc())
        .limit(1))?;
    Ok(found.pop())
}

pub(crate) fn transcript(link: &mut Link, challenge: &[u8; 16]) -> Result<Option<TranscriptRecord>, Fault> {
    let found: Option<(Vec<u8>, Vec<u8>, Vec<u8>)> = on!(link, c => transcript::table
        .inner_join(enrollment::table)
        .filter(enrollment::challenge.eq(challenge.as_slice()))
        .select((transcript::digest, transcript::bytes, transcript::path))
        .first(c)
        .optional())?;
    // What was erased is not there.
    found
        .filter(|(_, bytes, _)| !bytes.is_empty())
        .map(|(digest, bytes, path)| {
            Ok(TranscriptRecord {
                digest: array(digest)?,
                bytes,
                path,
            })
        })
        .transpose()
}

pub(crate) fn evidence(link: &mut Link, challenge: &[u8; 16]) -> Result<Option<EvidenceRow>, Fault> {
    let found: Option<(Vec<u8>, Vec<u8>)> = on!(link, c => evidence::table
        .inner_join(enrollment::table)
        .filter(enrollment::challenge.eq(challenge.as_slice()))
        .select((evidence::digest, evidence::bytes))
        .first(c)
        .optional())?;
    // What was erased is not there.
    found
        .filter(|(_, bytes)| !bytes.is_empty())
        .map(|(digest, bytes)| {
            Ok(EvidenceRow {
                digest: array(digest)?,
                bytes,
            })
        })
        .transpose()
}

pub(crate) fn orphans(link: &mut Link) -> Result<Vec<CertificateRow>, Fault> {
    certificates!(link, all => all.filter(certificate::state.eq(Orphaned)).order(certificate::id))
}

/// The columns of an audit record.
pub(crate) type AuditColumns = (
    audit::at,
    audit::action,
    audit::actor,
    audit::subject,
    audit::reason,
    audit::detail,
    audit::before_sha256,
    audit::after_sha256,
);
/// The same.
pub(crate) const AUDIT: AuditColumns = (
    audit::at,
    audit::action,
    audit::actor,
    audit::subject,
    audit::reason,
    audit::detail,
    audit::before_sha256,
    audit::after_sha256,
);
/// What they hold.
pub(crate) type StoredAudit = (
    i64,
    String,
    String,
    String,
    String,
    String,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

/// An audit record as it stands.
pub(crate) fn audit_row(stored: StoredAudit) -> Result<AuditRow, Fault> {
    let (at, action, actor, subject, reason, detail, before, after) = stored;
    Ok(AuditRow {
        record: AuditRecord {
            at: attest::UnixTime(at),
            action,
            actor,
            subject,
            reason,
            detail,
        },
        before: before.map(array).transpose()?,
        after: after.map(array).transpose()?,
    })
}

pub(crate) fn audit_entries(link: &mut Link, filter: &AuditFilter, limit: u32) -> Result<Vec<AuditRow>, Fault> {
    if filter.subject.as_ref().is_some_and(|s| s.contains('\0')) {
        return Ok(Vec::new());
    }
    let loaded: Vec<StoredAudit> = on!(link, c => {
        let mut query = audit::table
            .select(AUDIT)
            .order(audit::id.desc())
            .limit(i64::from(limit))
            .into_boxed();
        if let Some(subject) = &filter.subject {
            query = query.filter(audit::subject.eq(subject));
        }
        query.load(c)
    })?;
    loaded.into_iter().map(audit_row).collect()
}
