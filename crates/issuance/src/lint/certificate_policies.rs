//! What was proven, as policies: residency and restricted on an attestation key, residency and fixed on an identity
//! key, one assurance level on both. An issuing CA and a crossed root have anyPolicy or none; a root and the server's TLS none.

use attest::rot::{
    ID_HARDWARE_ALLOWLISTED, ID_HARDWARE_VERIFIED, ID_MANUFACTURER_VERIFIED, ID_SOFTWARE, ID_VIRTUAL,
    TCG_VERIFIED_TPM_FIXED, TCG_VERIFIED_TPM_RESIDENCY, TCG_VERIFIED_TPM_RESTRICTED,
};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280::{ANY_POLICY, ID_CE_CERTIFICATE_POLICIES};
use policies::ProfileKind;

use super::{Case, Lint};
use crate::encode::SEQUENCE;
use crate::view::{Malformed, Reader, Tbs, oid, only};

pub(super) const LINT: Lint = Lint {
    name: "certificate_policies",
    citation: "RFC 5280 §4.2.1.4, TCG TPM 2.0 Keys for Device Identity and Attestation",
    judge,
};

pub(super) const LEVELS: [ObjectIdentifier; 5] = [
    ID_HARDWARE_VERIFIED,
    ID_HARDWARE_ALLOWLISTED,
    ID_VIRTUAL,
    ID_SOFTWARE,
    ID_MANUFACTURER_VERIFIED,
];

fn judge(case: &Case<'_>) -> Result<(), String> {
    let found = read(case.tbs).map_err(|e| e.to_string())?;
    let property = match case.promise.kind {
        ProfileKind::DeviceIak | ProfileKind::DeviceLak => TCG_VERIFIED_TPM_RESTRICTED,
        ProfileKind::DeviceIdevid | ProfileKind::DeviceLdevid | ProfileKind::Service => TCG_VERIFIED_TPM_FIXED,
        ProfileKind::Issuing | ProfileKind::Cross => return expect(found.is_empty() || found == [ANY_POLICY], &found),
        ProfileKind::Root | ProfileKind::ServerTls | ProfileKind::Ocsp => return expect(found.is_empty(), &found),
    };
    let good = matches!(found.as_slice(), [residency, proven, level]
        if *residency == TCG_VERIFIED_TPM_RESIDENCY && *proven == property && LEVELS.contains(level));
    expect(good, &found)
}

fn expect(good: bool, found: &[ObjectIdentifier]) -> Result<(), String> {
    if good {
        return Ok(());
    }
    let found: Vec<String> = found.iter().map(ObjectIdentifier::to_string).collect();
    Err(format!("policies [{}]", found.join(", ")))
}

/// The policies, in order; no extension is no policies, qualifiers are an error.
pub(super) fn read(tbs: &Tbs<'_>) -> Result<Vec<ObjectIdentifier>, Malformed> {
    let Some(extension) = tbs.extension(&ID_CE_CERTIFICATE_POLICIES) else {
        return Ok(Vec::new());
    };
    let list = Reader(only(extension.value, SEQUENCE, "certificatePolicies")?.value).all()?;
    if list.is_empty() {
        return Err(Malformed("an empty list of policies"));
    }
    list.into_iter()
        .map(|information| {
            if information.tag != SEQUENCE {
                return Err(Malformed("PolicyInformation"));
            }
            let mut fields = Reader(information.value);
            let id = oid(fields.next()?.ok_or(Malformed("policyIdentifier"))?)?;
            fields.end("policy qualifiers")?;
            Ok(id)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_CERTIFICATE_POLICIES;

    use super::*;
    use crate::encode::{self, tlv};
    use crate::lint::example::Example;

    fn refused(kind: ProfileKind, policies: &[ObjectIdentifier]) -> Vec<&'static str> {
        Example::with(kind, |spec| spec.policies = policies.to_vec()).refused_by()
    }

    const RESIDENCY: ObjectIdentifier = TCG_VERIFIED_TPM_RESIDENCY;
    const FIXED: ObjectIdentifier = TCG_VERIFIED_TPM_FIXED;
    const RESTRICTED: ObjectIdentifier = TCG_VERIFIED_TPM_RESTRICTED;

    #[test]
    fn good() {
        for level in [ID_HARDWARE_VERIFIED, ID_HARDWARE_ALLOWLISTED, ID_SOFTWARE] {
            assert!(refused(ProfileKind::DeviceIak, &[RESIDENCY, RESTRICTED, level]).is_empty());
            assert!(refused(ProfileKind::DeviceIdevid, &[RESIDENCY, FIXED, level]).is_empty());
            assert!(refused(ProfileKind::Service, &[RESIDENCY, FIXED, level]).is_empty());
        }
        assert!(refused(ProfileKind::Issuing, &[ANY_POLICY]).is_empty());
        assert!(refused(ProfileKind::Issuing, &[]).is_empty());
    }

    #[test]
    fn bad() {
        let lint = ["certificate_policies"];
        let level = ID_HARDWARE_VERIFIED;
        let bad = [
            // An identity key is not said to be restricted, an attestation key not less than that.
            (ProfileKind::DeviceIdevid, vec![RESIDENCY, RESTRICTED, level]),
            (ProfileKind::DeviceIak, vec![RESIDENCY, FIXED, level]),
            (ProfileKind::DeviceIak, vec![RESIDENCY, FIXED, RESTRICTED, level]),
            (ProfileKind::DeviceIdevid, vec![RESIDENCY, FIXED]),
            (ProfileKind::DeviceIdevid, vec![RESIDENCY, level]),
            (ProfileKind::DeviceIdevid, vec![FIXED, level]),
            (ProfileKind::DeviceIdevid, vec![RESIDENCY, FIXED, level, ID_SOFTWARE]),
            (ProfileKind::DeviceIdevid, vec![RESIDENCY, FIXED, level, level]),
            (ProfileKind::DeviceIdevid, vec![RESIDENCY, FIXED, ANY_POLICY]),
            (ProfileKind::DeviceIdevid, vec![]),
            (ProfileKind::Service, vec![]),
            (ProfileKind::ServerTls, vec![RESIDENCY, FIXED, level]),
            (ProfileKind::Ocsp, vec![RESIDENCY, FIXED, level]),
            (ProfileKind::Issuing, vec![level]),
            (ProfileKind::Root, vec![ANY_POLICY]),
        ];
        for (kind, policies) in bad {
            assert_eq!(refused(kind, &policies), lint, "{kind:?} {policies:?}");
        }
    }

    #[test]
    fn bad_qualifier() {
        let with_qualifier = tlv(
            SEQUENCE,
            &[&tlv(SEQUENCE, &[&encode::oid(&ANY_POLICY), &tlv(SEQUENCE, &[])])],
        );
        for value in [&with_qualifier[..], &tlv(SEQUENCE, &[])] {
            let example = Example::with(ProfileKind::Issuing, |spec| spec.policies = vec![ANY_POLICY])
                .holding(ID_CE_CERTIFICATE_POLICIES, value);
            assert_eq!(example.refused_by(), ["certificate_policies"]);
        }
    }
}
