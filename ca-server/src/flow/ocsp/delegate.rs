//! The responder's certificate: taken from the record, or made, before the one that answers ends.

use attest::UnixTime;
use failpoint::{Point, reach};
use issuance::ocsp::{Responder, ResponderError};
use issuance::{AuditRecord, Draft, DraftError, Order, RecordError, Serial};
use policies::{DelegateError, ProfileKind, delegate};
use wire::revocation::RevocationState;

use crate::flow::failure::{Trouble, sha256};
use crate::house::{House, Ocsp};

/// What became of the delegate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It goes on.
    Goes,
    /// A new one answers, taken from the record: another server made it, or this one before its restart.
    Taken,
    /// A new one answers, made now.
    Made,
}

/// Why there is no new delegate. The one before, if its time runs, goes on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DelegateFault {
    /// A person must act: profile, key or certificate are not what a responder has.
    #[error("{0}")]
    Refused(String),
    /// Later: another server is at it, or the signer or the storage is away.
    #[error("{0}")]
    Later(String),
}

impl From<ResponderError> for DelegateFault {
    fn from(error: ResponderError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<DelegateError> for DelegateFault {
    fn from(error: DelegateError) -> Self {
        Self::Refused(format!("responder: {error}"))
    }
}

impl From<DraftError> for DelegateFault {
    fn from(error: DraftError) -> Self {
        Self::Refused(format!("responder's certificate: {error}"))
    }
}

impl From<Trouble> for DelegateFault {
    fn from(error: Trouble) -> Self {
        Self::Later(error.to_string())
    }
}

impl From<schema::StoreError> for DelegateFault {
    fn from(error: schema::StoreError) -> Self {
        Trouble::from(error).into()
    }
}

/// See to it that a delegate answers whose time runs and half of whose life is left.
///
/// # Errors
/// [`DelegateFault`].
pub fn renew(house: &House, ocsp: &Ocsp) -> Result<Standing, DelegateFault> {
    let now = house.clock.read().now;
    let standing = ocsp.responder();
    if let Some(responder) = &standing
        && !is_good(house, responder)?
    {
        tracing::error!("the certificate of the OCSP responder is revoked: nothing it signed is used any more");
        ocsp.dismiss();
    } else if standing.is_some_and(|responder| is_young(&responder, now)) {
        return Ok(Standing::Goes);
    }
    let spki_sha256 = sha256(ocsp.key.spki());
    let profile = house.profiles.only(ProfileKind::Ocsp).ok_or(DelegateError::Profile)?;
    let recorded = house
        .store
        .own_certificate(house.issuer.key_id(), profile.name(), &spki_sha256)?;
    if let Some(row) = recorded
        && row.not_good().is_none()
        && let Some(certificate) = &row.certificate
    {
        let responder = Responder::new(certificate, ocsp.key.algorithm(), &house.issuer)?;
        if is_young(&responder, now) {
            appoint(house, ocsp, responder);
            return Ok(Standing::Taken);
        }
        // Better than nothing while a new one is made.
        if ocsp.responder().is_none() && now < responder.not_after() {
            appoint(house, ocsp, responder);
        }
    }
    let certificate = make(house, ocsp, now)?;
    appoint(
        house,
        ocsp,
        Responder::new(&certificate, ocsp.key.algorithm(), &house.issuer)?,
    );
    Ok(Standing::Made)
}

fn appoint(house: &House, ocsp: &Ocsp, responder: Responder) {
    house.metrics.responder_ends(responder.not_after().0);
    tracing::info!(serial = %responder.serial().hex(), not_after = responder.not_after().0, "the OCSP responder");
    ocsp.appoint(responder);
}

/// Less than half of its life has passed.
fn is_young(responder: &Responder, now: UnixTime) -> bool {
    let life = responder.not_after().0.saturating_sub(responder.not_before().0);
    responder.not_before() <= now && now.0 < responder.not_before().0.saturating_add(life / 2)
}

/// Neither revoked nor on hold. Nobody asks about a responder (RFC 6960 §4.2.2.2.1), so we do.
fn is_good(house: &House, responder: &Responder) -> Result<bool, DelegateFault> {
    let serial = *responder.serial().octets();
    let mut found = house.store.statuses(house.issuer.key_id(), &[serial])?;
    Ok(found
        .remove(&serial)
        .is_some_and(|row| row.last.is_none_or(|last| last.state == RevocationState::Released)))
}

/// The corridor of every certificate: draft, lint, record, sign, record.
fn make(house: &House, ocsp: &Ocsp, now: UnixTime) -> Result<Vec<u8>, DelegateFault> {
    if let Some(why) = house.halt.reason() {
        return Err(DelegateFault::Later(why.to_owned()));
    }
    if house.clock.read().ran_back {
        return Err(Trouble::Clock.into());
    }
    let grant = delegate(&house.profiles, ocsp.key.spki(), now)?;
    let profile = grant.profile().name().to_owned();
    let serial = Serial::draw(&mut house.entropy.lease()).map_err(Trouble::from)?;
    let linted = Draft::responder(grant, ocsp.key.as_ref(), &house.issuer, serial)?.lint()?;
    let order = order(house, ocsp, serial, now);
    let recorded = issuance::record(vec![linted], &order, &house.store).map_err(record_error)?;
    reach(Point::DelegateRecorded);
    let signed = recorded.into_iter().map(|recorded| recorded.sign(house.key.as_ref()));
    let signed = signed.collect::<Result<Vec<_>, _>>().map_err(|failure| {
        match &failure {
            issuance::SignFailure::Key(away) => house.signer.failed(&away.to_string()),
            wrong => house.halt.set(&wrong.to_string()),
        }
        DelegateFault::Later(failure.to_string())
    })?;
    reach(Point::DelegateSigned);
    let issued = issuance::issue(signed, &order.enrollment_id, &house.store).map_err(record_error)?;
    reach(Point::DelegateIssued);
    house.metrics.issued(&profile);
    let issued = issued.first().map(|issued| issued.certificate().to_vec());
    issued.ok_or_else(|| DelegateFault::Later("nothing was issued".to_owned()))
}

fn record_error(error: RecordError) -> DelegateFault {
    match error {
        RecordError::ChallengeUsed => DelegateFault::Later("another server is making it".to_owned()),
        RecordError::KeyBlocked | RecordError::IdentityExists { .. } => {
            DelegateFault::Refused(format!("responder's key: {error}"))
        }
        other => DelegateFault::Later(other.to_string()),
    }
}

/// One for each key and span of the sign deadline: of several servers that find at once that a new one is due, the record
/// lets one make it. What that one began and did not finish is an orphan when the next span begins.
fn order(house: &House, ocsp: &Ocsp, serial: Serial, now: UnixTime) -> Order {
    let span = i64::try_from(house.terms.sign_deadline.as_secs())
        .unwrap_or(i64::MAX)
        .max(1);
    let seed = [
        b"holdfast ocsp delegate v1",
        house.issuer.key_id(),
        sha256(ocsp.key.spki()).as_slice(),
        now.0.div_euclid(span).to_be_bytes().as_slice(),
    ]
    .concat();
    let seed = sha256(&seed);
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(seed) {
        *to = from;
    }
    Order {
        enrollment_id: id,
        // Another server's twin is told apart by its serial.
        request_sha256: sha256(serial.octets()),
        device: None,
        evidence: None,
        transcript: None,
        renews: None,
        audit: AuditRecord {
            at: now,
            action: "ocsp.delegate".to_owned(),
            actor: "server".to_owned(),
            subject: serial.hex(),
            reason: "ocsp-delegate".to_owned(),
            detail: String::new(),
        },
        at: now,
    }
}
