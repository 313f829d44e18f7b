//! The third birth of a [`Grant`]: the CA's own OCSP responder, whose key is in the CA's own token.
//!
//! It permits nothing but answering for this CA: the profile is the one of kind `ocsp`, the subject is fixed, and only
//! `issuance` can draft it, with the key itself in hand.

use std::sync::Arc;

use attest::UnixTime;

use crate::{Decision, Grant, GrantKind, ProfileKey, ProfileKind, Profiles, Rdn, RdnKind, Subject};

/// Common name of every responder.
pub const RESPONDER_NAME: &str = "OCSP responder";

/// Why there is no grant for a responder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelegateError {
    /// No profile of kind `ocsp`, or several.
    #[error("there must be exactly one profile of kind `ocsp`")]
    Profile,
    /// The key does not parse, or the profile does not allow it.
    #[error("key: {0}")]
    Key(String),
    /// The validity does not fit between 1970 and 9999.
    #[error(
        "its life would not lie between 1970 and 9999, which is all that a certificate can say: is the clock right?"
    )]
    Clock,
}

/// Permission for one certificate of the responder that holds the key with this SubjectPublicKeyInfo (DER).
///
/// # Errors
/// [`DelegateError`].
pub fn delegate(profiles: &Profiles, spki: &[u8], now: UnixTime) -> Result<Grant, DelegateError> {
    let profile = profiles.only(ProfileKind::Ocsp).ok_or(DelegateError::Profile)?;
    let key = ProfileKey::of_spki(spki).map_err(DelegateError::Key)?;
    if !profile.key_algorithms.contains(&key) {
        return Err(DelegateError::Key(format!(
            "the profile does not allow a {} key",
            key.as_str()
        )));
    }
    let organization = profile.organization.iter().map(|value| Rdn {
        kind: RdnKind::Organization,
        value: value.clone(),
    });
    let common_name = Rdn {
        kind: RdnKind::CommonName,
        value: RESPONDER_NAME.to_owned(),
    };
    Ok(Grant {
        profile: Arc::clone(profile),
        kind: GrantKind::Responder,
        subject: Subject(organization.chain([common_name]).collect()),
        san: Vec::new(),
        spki: spki.to_vec(),
        validity: profile.validity(now).ok_or(DelegateError::Clock)?,
        policies: Vec::new(),
        rot: None,
        rehearsal: false,
        decision: Decision {
            rules: vec!["ocsp-delegate".to_owned()],
            reasons: vec!["the responder of this CA, with its key in the CA's token".to_owned()],
            policy_sha256: [0; 32],
        },
    })
}

#[cfg(test)]
mod tests {
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::PKey;

    use super::*;

    fn spki(curve: Nid) -> Vec<u8> {
        let group = EcGroup::from_curve_name(curve).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        key.public_key_to_der().unwrap()
    }

    const NOW: UnixTime = UnixTime(1_795_348_800);

    #[test]
    fn the_grant_is_that_of_the_profile() {
        let profiles = Profiles::builtin().unwrap().with_organization("Example").unwrap();
        let spki = spki(Nid::X9_62_PRIME256V1);
        let grant = delegate(&profiles, &spki, NOW).unwrap();
        assert_eq!(grant.kind(), GrantKind::Responder);
        assert_eq!(grant.profile().kind(), ProfileKind::Ocsp);
        let subject: Vec<_> = grant.subject().0.iter().map(|rdn| rdn.value.as_str()).collect();
        assert_eq!(subject, ["Example", RESPONDER_NAME]);
        assert!(grant.san().is_empty() && grant.policies().is_empty() && grant.rot().is_none());
        let validity = grant.validity();
        assert_eq!(validity.not_after.0 - validity.not_before.0 + 1, 7 * 86_400);
        assert_eq!(grant.spki(), spki);
    }

    #[test]
    fn refused() {
        let good = spki(Nid::X9_62_PRIME256V1);
        let ocsp = include_str!("../profiles/ocsp.toml");
        let of = |sources: &[(&str, String)]| {
            let sources: Vec<_> = sources
                .iter()
                .map(|(file, toml)| ((*file).to_owned(), toml.clone()))
                .collect();
            Profiles::from_sources(&sources).unwrap()
        };
        let one = of(&[("a", ocsp.to_owned())]);
        assert!(delegate(&one, &good, NOW).is_ok());
        let two = of(&[
            ("a", ocsp.to_owned()),
            ("b", ocsp.replace("\"ocsp\"\nkind", "\"b\"\nkind")),
        ]);
        for profiles in [of(&[]), two] {
            assert_eq!(delegate(&profiles, &good, NOW).unwrap_err(), DelegateError::Profile);
        }
        let narrow = of(&[("a", format!("{ocsp}key_algorithms = [\"p-384\"]\n"))]);
        assert!(matches!(delegate(&narrow, &good, NOW), Err(DelegateError::Key(_))));
        assert!(delegate(&narrow, &spki(Nid::SECP384R1), NOW).is_ok());
        assert!(matches!(delegate(&one, b"", NOW), Err(DelegateError::Key(_))));
        assert!(matches!(
            delegate(&one, &spki(Nid::SECP521R1), NOW),
            Err(DelegateError::Key(_))
        ));
        for now in [UnixTime(i64::MAX), UnixTime(0)] {
            assert_eq!(delegate(&one, &good, now).unwrap_err(), DelegateError::Clock);
        }
    }
}
