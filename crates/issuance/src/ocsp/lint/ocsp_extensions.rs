//! The nonce of the question and nothing else: not critical, once, octet for octet; none where none was asked.

use super::{Case, Lint};
use const_oid::db::rfc6960::ID_PKIX_OCSP_NONCE;

pub(super) const LINT: Lint = Lint {
    name: "ocsp_extensions",
    citation: "RFC 9654 §2.1, RFC 6960 §4.4, RFC 9919 §3.2.1",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    if case.tbs.answers.iter().any(|answer| !answer.extensions.is_empty()) {
        return Err("an extension of a single answer".into());
    }
    let nonce = match case.tbs.extensions.as_slice() {
        [] => None,
        [one] if one.oid == ID_PKIX_OCSP_NONCE && one.critical.is_none_or(|c| c == [0]) => {
            case.tbs.nonce().map_err(|e| e.to_string())?
        }
        [one] if one.oid == ID_PKIX_OCSP_NONCE => return Err("a critical nonce".into()),
        _ => return Err("an extension besides the nonce".into()),
    };
    if nonce == case.promise.nonce {
        Ok(())
    } else {
        Err("not the nonce of the question".into())
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc6960::{ID_PKIX_OCSP_ARCHIVE_CUTOFF, ID_PKIX_OCSP_NONCE};

    use crate::encode::{OCTET_STRING, SEQUENCE, context_constructed, oid, tlv};
    use crate::ocsp::Nonce;
    use crate::ocsp::lint::example::{Example, ocsp_spec};

    const LINT: [&str; 1] = ["ocsp_extensions"];

    #[test]
    fn good() {
        for length in [1, 16, 32, 127, 128] {
            let mut spec = ocsp_spec(vec![crate::ocsp::lint::example::good(1)]);
            spec.nonce = Nonce::new(&vec![5; length]);
            assert!(spec.nonce.is_some());
            assert!(Example::of(spec).refused_by().is_empty());
        }
    }

    #[test]
    fn bad() {
        let nonce = |octets: &[u8]| tlv(OCTET_STRING, &[octets]);
        // Unasked; another; a shorter one; critical; twice; none.
        assert_eq!(
            Example::good().and(ID_PKIX_OCSP_NONCE, &nonce(&[7; 32])).refused_by(),
            LINT
        );
        for octets in [&[8; 32][..], &[7; 31], &[7; 33], &[], &[7; 129]] {
            let mut example = Example::revoked();
            example.extensions[0].value = nonce(octets);
            assert_eq!(example.refused_by(), LINT);
        }
        let mut example = Example::revoked();
        example.extensions[0].critical = vec![1, 1, 0xff];
        assert_eq!(example.refused_by(), LINT);
        assert_eq!(
            Example::revoked()
                .and(ID_PKIX_OCSP_NONCE, &nonce(&[7; 32]))
                .refused_by(),
            LINT
        );
        let mut example = Example::revoked();
        example.extensions.clear();
        assert_eq!(example.refused_by(), LINT);
        // Others, of the whole and of one answer.
        assert_eq!(
            Example::good().and(ID_PKIX_OCSP_ARCHIVE_CUTOFF, &[5, 0]).refused_by(),
            LINT
        );
        let mut example = Example::good();
        let single = tlv(SEQUENCE, &[&oid(&ID_PKIX_OCSP_ARCHIVE_CUTOFF), &nonce(&[5, 0])]);
        example.answers[0].extensions = tlv(context_constructed(1), &[&tlv(SEQUENCE, &[&single])]);
        assert_eq!(example.refused_by(), LINT);
    }
}
