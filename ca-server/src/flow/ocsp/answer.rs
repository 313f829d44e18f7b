//! From a question and what the record says to an answer.

use std::sync::Arc;

use attest::UnixTime;
use failpoint::{Point, reach};
use issuance::ocsp::{
    CertId, CertStatus, Nonce, OcspAnswer, OcspDraft, OcspRefusal, OcspRequest, OcspResponse, OcspSpec,
};
use issuance::{KeyError, SignFailure};
use schema::{CertificateState, StatusRow};
use wire::revocation::{RevocationReason, RevocationState};

use crate::house::{Answer, House, Ocsp};

/// A question that is ours to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// About which certificates.
    pub ids: Vec<CertId>,
    /// To be repeated.
    pub nonce: Option<Nonce>,
}

impl Asked {
    /// The one certificate, when the answer to it may be kept: it is about no other, and has no nonce.
    #[must_use]
    pub fn plain(&self) -> Option<CertId> {
        match (self.ids.as_slice(), &self.nonce) {
            ([id], None) => Some(*id),
            _ => None,
        }
    }
    /// The same question without its nonce, when that may be asked.
    #[must_use]
    pub fn without_nonce(&self) -> Option<Self> {
        let [id] = self.ids.as_slice() else { return None };
        Some(Self {
            ids: vec![*id],
            nonce: None,
        })
    }
}

/// Read a question.
///
/// # Errors
/// [`OcspRefusal::MalformedRequest`]; [`OcspRefusal::Unauthorized`] when any of it is about another CA's certificate, or
/// about a serial that this CA does not draw.
pub fn asked(ocsp: &Ocsp, body: &[u8]) -> Result<Asked, OcspRefusal> {
    let request = OcspRequest::decode(body).map_err(|_| OcspRefusal::MalformedRequest)?;
    let ids = request.questions.into_iter().map(|question| question.of(&ocsp.issuer));
    let ids: Option<Vec<CertId>> = ids.collect();
    Ok(Asked {
        ids: ids.ok_or(OcspRefusal::Unauthorized)?,
        nonce: request.nonce,
    })
}

/// What is said of a certificate of which the record says `row`.
///
/// # Errors
/// [`OcspRefusal::Unauthorized`]: not on record, or ended without having been revoked. [`OcspRefusal::TryLater`]: it is being
/// signed.
pub fn said(row: Option<&StatusRow>, now: UnixTime) -> Result<CertStatus, OcspRefusal> {
    let row = row.ok_or(OcspRefusal::Unauthorized)?;
    // Of another server, whose clock is a little ahead.
    let not_later = |at: i64| UnixTime(at.min(now.0));
    match (&row.last, row.state) {
        (Some(last), _) if last.state != RevocationState::Released => Ok(CertStatus::Revoked {
            since: not_later(last.since),
            reason: match last.state {
                RevocationState::OnHold => RevocationReason::CertificateHold,
                _ => last.reason,
            },
        }),
        // A signature may exist, and nobody was given it.
        (_, CertificateState::Orphan) => Ok(CertStatus::Revoked {
            since: not_later(row.created_at),
            reason: RevocationReason::CertificateHold,
        }),
        (_, CertificateState::Intent) => Err(OcspRefusal::TryLater),
        (_, CertificateState::Issued) if row.not_after < now.0 => Err(OcspRefusal::Unauthorized),
        (_, CertificateState::Issued) => Ok(CertStatus::Good),
    }
}

/// An answer that was given before, says what the record says now, and has more than half of its time left.
#[must_use]
pub fn usable(ocsp: &Ocsp, id: &CertId, row: &StatusRow, now: UnixTime) -> Option<Arc<Answer>> {
    let answer = ocsp.answers.find(id)?;
    (answer.holds(row, now) && answer.is_fresh(now)).then_some(answer)
}

/// Sign an answer to a question. `rows` is what the record says, read at `now` or later, certificate by certificate. When
/// the signer does not answer, an earlier answer that still holds is good enough.
///
/// # Errors
/// [`OcspRefusal`].
pub fn reply(
    house: &House,
    ocsp: &Ocsp,
    asked: Asked,
    rows: &[StatusRow],
    now: UnixTime,
) -> Result<Arc<Answer>, OcspRefusal> {
    let (plain, Some(first)) = (asked.plain(), rows.first().copied()) else {
        return Err(OcspRefusal::InternalError);
    };
    reach(Point::OcspFound);
    match sign(house, ocsp, asked, rows, now) {
        Ok(response) => {
            reach(Point::OcspSigned);
            let answer = Arc::new(Answer::new(&response, first));
            if let Some(id) = plain {
                ocsp.answers.keep(id, Arc::clone(&answer));
            }
            Ok(answer)
        }
        Err(OcspRefusal::TryLater) => {
            let earlier = plain.and_then(|id| ocsp.answers.find(&id));
            earlier
                .filter(|answer| answer.holds(&first, now))
                .ok_or(OcspRefusal::TryLater)
        }
        Err(other) => Err(other),
    }
}

fn sign(
    house: &House,
    ocsp: &Ocsp,
    asked: Asked,
    rows: &[StatusRow],
    now: UnixTime,
) -> Result<OcspResponse, OcspRefusal> {
    if asked.ids.len() != rows.len() {
        return Err(OcspRefusal::InternalError);
    }
    if house.halt.reason().is_some() || house.clock.read().ran_back {
        return Err(OcspRefusal::TryLater);
    }
    let responder = ocsp.responder().ok_or(OcspRefusal::TryLater)?;
    let validity = i64::try_from(ocsp.terms.validity.as_secs()).unwrap_or(i64::MAX);
    let next_update = UnixTime(now.0.saturating_add(validity).min(responder.not_after().0));
    if next_update <= now || now < responder.not_before() {
        return Err(OcspRefusal::TryLater);
    }
    let answers = asked.ids.iter().zip(rows).map(|(id, row)| {
        let status = said(Some(row), now)?;
        Ok(OcspAnswer { id: *id, status })
    });
    let spec = OcspSpec {
        answers: answers.collect::<Result<_, OcspRefusal>>()?,
        this_update: now,
        next_update,
        nonce: asked.nonce,
    };
    // What the lints refuse is our own defect: nothing in an answer is the client's but the nonce.
    let linted = OcspDraft::new(spec, &responder)
        .and_then(OcspDraft::lint)
        .map_err(|defect| {
            tracing::error!(%defect, "an OCSP answer was not signed");
            OcspRefusal::InternalError
        })?;
    linted.sign(ocsp.key.as_ref()).map_err(|failure| match &failure {
        SignFailure::Key(KeyError::Unavailable(why) | KeyError::Unknown(why)) => {
            house.signer.failed(why);
            OcspRefusal::TryLater
        }
        SignFailure::Corrupt | SignFailure::BytesDiffer | SignFailure::WrongKey(_) => {
            house.halt.set(&failure.to_string());
            OcspRefusal::InternalError
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::LastStep;

    const NOW: UnixTime = UnixTime(1000);

    fn row(state: CertificateState, last: Option<(RevocationState, RevocationReason)>) -> StatusRow {
        StatusRow {
            state,
            not_after: 2000,
            created_at: 500,
            last: last.map(|(state, reason)| LastStep {
                step: 1,
                state,
                reason,
                since: 700,
            }),
        }
    }

    fn revoked(since: i64, reason: RevocationReason) -> Result<CertStatus, OcspRefusal> {
        let since = UnixTime(since);
        Ok(CertStatus::Revoked { since, reason })
    }

    #[test]
    fn the_table_of_the_decision() {
        use CertificateState::{Intent, Issued, Orphan};
        use RevocationReason::{CertificateHold, KeyCompromise};
        use RevocationState::{OnHold, Released, Revoked};
        let say = |state, last| said(Some(&row(state, last)), NOW);
        assert_eq!(said(None, NOW), Err(OcspRefusal::Unauthorized));
        assert_eq!(say(Issued, None), Ok(CertStatus::Good));
        assert_eq!(say(Issued, Some((Released, CertificateHold))), Ok(CertStatus::Good));
        assert_eq!(say(Intent, None), Err(OcspRefusal::TryLater));
        assert_eq!(
            say(Intent, Some((Released, CertificateHold))),
            Err(OcspRefusal::TryLater)
        );
        assert_eq!(say(Orphan, None), revoked(500, CertificateHold));
        assert_eq!(
            say(Orphan, Some((Released, CertificateHold))),
            revoked(500, CertificateHold)
        );
        for state in [Intent, Issued, Orphan] {
            assert_eq!(say(state, Some((Revoked, KeyCompromise))), revoked(700, KeyCompromise));
            assert_eq!(
                say(state, Some((OnHold, CertificateHold))),
                revoked(700, CertificateHold)
            );
        }
    }

    #[test]
    fn what_has_ended_is_not_spoken_of_unless_it_was_revoked() {
        let at = |now, last| said(Some(&row(CertificateState::Issued, last)), UnixTime(now));
        assert_eq!(at(2000, None), Ok(CertStatus::Good));
        assert_eq!(at(2001, None), Err(OcspRefusal::Unauthorized));
        let reason = RevocationReason::Superseded;
        let last = Some((RevocationState::Revoked, reason));
        assert_eq!(at(9999, last), revoked(700, reason));
        assert_eq!(at(600, last), revoked(600, reason), "of a server whose clock is ahead");
    }
}
