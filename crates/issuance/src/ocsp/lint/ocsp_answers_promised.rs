//! The bytes say what was asked for: every certificate in the form of its question, its status, and no other.

use super::{Case, Lint};
use crate::ocsp::CertStatus;
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "ocsp_answers_promised",
    citation: "RFC 6960 §4.2.1, RFC 9919 §3.2.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let mut promised = case.promise.answers.iter();
    for answer in &case.tbs.answers {
        let Some(asked) = promised.next() else {
            return Err("an answer that was not asked for".into());
        };
        if answer.id().map_err(|e| e.to_string())?.of(&case.responder.issuer) != Some(asked.id) {
            return Err(format!("not about {}", asked.id.serial.hex()));
        }
        let revoked = answer.revoked().map_err(|e| e.to_string())?;
        // What cannot be read as a time or a reason is refused by the lints for those.
        let kept = match (revoked, asked.status) {
            (None, CertStatus::Good) => true,
            (Some(found), CertStatus::Revoked { since, reason }) => {
                time(found.at).is_ok_and(|at| at == since) | time(found.at).is_err()
                    && found.reason().is_ok_and(|found| found == reason) | found.reason().is_err()
            }
            _ => false,
        };
        if !kept {
            return Err(format!("another status for {}", asked.id.serial.hex()));
        }
    }
    match promised.count() {
        0 => Ok(()),
        missing => Err(format!("{missing} answers are missing")),
    }
}

#[cfg(test)]
mod tests {
    use attest::UnixTime;

    use crate::encode::{context_constructed, generalized_time, tlv};
    use crate::fixture::NOW;
    use crate::ocsp::lint::example::Example;

    const LINT: [&str; 1] = ["ocsp_answers_promised"];

    #[test]
    fn good() {
        for example in [Example::good(), Example::revoked(), Example::several()] {
            assert!(example.refused_by().is_empty());
        }
    }

    #[test]
    fn bad() {
        for n in 0..3 {
            let mut example = Example::several();
            example.answers.remove(n);
            assert_eq!(example.refused_by(), LINT, "answer {n} missing");
            let mut example = Example::several();
            example.promise.answers.remove(n);
            assert_eq!(example.refused_by(), LINT, "answer {n} unasked");
            // The last octet is the serial's, the one before last of the hashes the key's.
            let mut example = Example::several();
            *example.answers[n].id.last_mut().unwrap() ^= 1;
            assert_eq!(example.refused_by(), LINT);
            let mut example = Example::several();
            let key_hash = example.answers[n].id.len() - 19;
            example.answers[n].id[key_hash] ^= 1;
            assert_eq!(example.refused_by(), LINT);
        }
        // The same certificate in another form than the question's.
        let mut example = Example::several();
        example.answers[0].id = [&example.answers[1].id[..15], &[], &example.answers[1].id[15..]].concat();
        assert_eq!(example.refused_by(), LINT);
        // Good where revoked was promised, and the other way round.
        for (n, other) in [(1, 0), (0, 1), (2, 1), (1, 2)] {
            let mut example = Example::several();
            example.answers[n].status = example.answers[other].status.clone();
            assert_eq!(example.refused_by(), LINT, "{n} as {other}");
        }
        let mut example = Example::several();
        let earlier = generalized_time(UnixTime(NOW - 3)).unwrap();
        example.answers[1].status = tlv(context_constructed(1), &[&earlier]);
        assert_eq!(example.refused_by(), LINT);
        let mut example = Example::revoked();
        *example.answers[0].status.last_mut().unwrap() = 5;
        assert_eq!(example.refused_by(), LINT);
    }
}
