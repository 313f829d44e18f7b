//! The RoT binding is there on certificates of keys in a root of trust and nowhere else, whole, and agrees with the
//! kind and the policies.

use attest::rot::{
    Basis, ID_HARDWARE_ALLOWLISTED, ID_HARDWARE_VERIFIED, ID_MANUFACTURER_VERIFIED, ID_ROT_BINDING, ID_VIRTUAL,
    RotKind, RotStatement,
};
use policies::ProfileKind;

use super::{Case, Lint, certificate_policies};

pub(super) const LINT: Lint = Lint {
    name: "rot_binding",
    citation: "docs/reference/rot-binding.md",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let extension = case.tbs.extension(&ID_ROT_BINDING);
    let extension = match (case.promise.is_bound(), extension) {
        (true, None) => return Err("missing".into()),
        (false, Some(_)) => return Err(format!("on a {} certificate", case.promise.kind.as_str())),
        (false, None) => return Ok(()),
        (true, Some(extension)) => extension,
    };
    let statement = RotStatement::from_der(extension.value).map_err(|e| e.to_string())?;
    let sha256 = |octets: &[u8]| octets.len() == 32;
    if !sha256(statement.evidence_sha256()) || statement.ek_spki_sha256().is_some_and(|ek| !sha256(ek)) {
        return Err("a digest that is not SHA-256".into());
    }
    let (voucher, ik) = (statement.voucher_name(), statement.ik_name());
    if !is_name(voucher) || !is_name(ik) {
        return Err("a key name that is not nameAlg and digest".into());
    }
    let kind = case.promise.kind;
    match &statement {
        RotStatement::Activation(binding) => {
            if binding.parent_rot.as_ref().is_some_and(|p| !sha256(p.as_bytes())) {
                return Err("a parent that is not a SHA-256".into());
            }
            if (voucher == ik) != matches!(kind, ProfileKind::DeviceIak | ProfileKind::DeviceLak) {
                return Err("the attestation key is certified as attestation key and as nothing else".into());
            }
            if binding.parent_rot.is_some() && binding.rot_kind != RotKind::Vtpm {
                return Err("a parent of what is not virtual".into());
            }
        }
        RotStatement::Certified(binding) => {
            if matches!(kind, ProfileKind::DeviceIak | ProfileKind::DeviceIdevid) {
                return Err("what is initial stands on an endorsement key".into());
            }
            let digests = [&binding.iak_certificate_sha256, &binding.iak_spki_sha256];
            if digests.iter().any(|digest| !sha256(digest.as_bytes())) {
                return Err("a digest that is not SHA-256".into());
            }
            if voucher == ik {
                return Err("the IAK is its manufacturer's to certify".into());
            }
        }
    }
    // Policies that cannot be read are `certificate_policies`'.
    let found = certificate_policies::read(case.tbs).unwrap_or_default();
    if found.contains(&ID_VIRTUAL) != (statement.rot_kind() == RotKind::Vtpm) {
        return Err("kind of root of trust and assurance level disagree".into());
    }
    let says_more = |basis: Basis| match basis {
        Basis::EkActivation => found.contains(&ID_MANUFACTURER_VERIFIED),
        Basis::IakCertified => found.contains(&ID_HARDWARE_VERIFIED) || found.contains(&ID_HARDWARE_ALLOWLISTED),
    };
    if says_more(statement.basis()) {
        return Err("the assurance level is of another basis".into());
    }
    Ok(())
}

/// TPM 2.0 Part 1, 16 (Names): nameAlg and digest; SHA-256 and SHA-384 are the ones accepted here.
fn is_name(name: &[u8]) -> bool {
    matches!(
        (name.first_chunk(), name.len()),
        (Some([0x00, 0x0b]), 34) | (Some([0x00, 0x0c]), 50)
    )
}

#[cfg(test)]
mod tests {
    use attest::rot::{CertifiedBinding, RotBinding, TCG_VERIFIED_TPM_FIXED, TCG_VERIFIED_TPM_RESIDENCY};
    use der::asn1::OctetString;

    use super::*;
    use crate::fixture::{KINDS, rot};
    use crate::lint::example::Example;

    const LINT: [&str; 1] = ["rot_binding"];

    fn octets(bytes: &[u8]) -> OctetString {
        OctetString::new(bytes).unwrap()
    }

    fn refused(change: impl FnOnce(&mut RotBinding)) -> Vec<&'static str> {
        Example::with(ProfileKind::DeviceIdevid, |spec| change(activation(spec))).refused_by()
    }

    fn activation(spec: &mut crate::tbs::TbsSpec) -> &mut RotBinding {
        match spec.rot.as_mut() {
            Some(RotStatement::Activation(binding)) => binding,
            other => panic!("{other:?}"),
        }
    }

    fn refused_by_iak(kind: ProfileKind, change: impl FnOnce(&mut CertifiedBinding)) -> Vec<&'static str> {
        Example::with(kind, |spec| {
            let attestation = matches!(kind, ProfileKind::DeviceLak | ProfileKind::DeviceIak);
            (spec.rot, spec.policies) = crate::fixture::by_iak(attestation);
            match spec.rot.as_mut() {
                Some(RotStatement::Certified(binding)) => change(binding),
                other => panic!("{other:?}"),
            }
        })
        .refused_by()
    }

    #[test]
    fn good_and_bad_by_an_iak() {
        for kind in [ProfileKind::DeviceLdevid, ProfileKind::DeviceLak, ProfileKind::Service] {
            assert!(refused_by_iak(kind, |_| ()).is_empty(), "{kind:?}");
            assert!(refused_by_iak(kind, |rot| rot.ek_spki_sha256 = None).is_empty());
        }
        for kind in [ProfileKind::DeviceIak, ProfileKind::DeviceIdevid] {
            assert_eq!(refused_by_iak(kind, |_| ()), LINT, "{kind:?}");
        }
        let refused = |change: fn(&mut CertifiedBinding)| refused_by_iak(ProfileKind::DeviceLdevid, change);
        for change in [
            (|rot| rot.version = 1) as fn(&mut CertifiedBinding),
            |rot| rot.basis = Basis::EkActivation,
            |rot| rot.iak_certificate_sha256 = octets(&[1; 31]),
            |rot| rot.iak_spki_sha256 = octets(&[1; 33]),
            |rot| rot.evidence_sha256 = octets(&[1; 31]),
            |rot| rot.ek_spki_sha256 = Some(octets(&[1; 20])),
            |rot| rot.iak_name = octets(&[2; 34]),
            |rot| rot.ik_name = octets(&[]),
            |rot| rot.ik_name = rot.iak_name.clone(),
            |rot| rot.rot_kind = RotKind::Vtpm,
        ] {
            assert_eq!(refused(change), LINT);
        }
        // A level that the other basis has.
        let more = Example::with(ProfileKind::DeviceLdevid, |spec| {
            spec.rot = crate::fixture::by_iak(false).0;
        });
        assert_eq!(more.refused_by(), LINT);
        let less = Example::with(ProfileKind::DeviceLdevid, |spec| {
            spec.policies = crate::fixture::by_iak(false).1;
        });
        assert_eq!(less.refused_by(), LINT);
    }

    #[test]
    fn good() {
        assert!(refused(|_| ()).is_empty());
        let sha384 = [&[0, 0x0c][..], &[9; 48]].concat();
        assert!(refused(|rot| rot.ik_name = octets(&sha384)).is_empty());
        for parent in [None, Some(octets(&[8; 32]))] {
            let virtual_tpm = Example::with(ProfileKind::Service, |spec| {
                spec.policies = vec![TCG_VERIFIED_TPM_RESIDENCY, TCG_VERIFIED_TPM_FIXED, ID_VIRTUAL];
                let rot = activation(spec);
                (rot.rot_kind, rot.parent_rot) = (RotKind::Vtpm, parent);
            });
            assert!(virtual_tpm.refused_by().is_empty());
        }
    }

    #[test]
    fn bad() {
        for kind in KINDS {
            let example = Example::new(kind);
            let example = if example.promise.is_bound() {
                example.without(ID_ROT_BINDING)
            } else {
                example.and(ID_ROT_BINDING, &rot(false).to_der().unwrap())
            };
            assert_eq!(example.refused_by(), LINT, "{kind:?}");
        }
        assert_eq!(refused(|rot| rot.version = 2), LINT);
        assert_eq!(refused(|rot| rot.ek_spki_sha256 = octets(&[1; 31])), LINT);
        assert_eq!(refused(|rot| rot.evidence_sha256 = octets(&[1; 33])), LINT);
        assert_eq!(refused(|rot| rot.ak_name = octets(&[2; 34])), LINT);
        assert_eq!(
            refused(|rot| rot.ik_name = octets(&[&[0, 0x0b][..], &[3; 31]].concat())),
            LINT
        );
        assert_eq!(refused(|rot| rot.ik_name = octets(&[])), LINT);
        assert_eq!(refused(|rot| rot.ik_name = rot.ak_name.clone()), LINT);
        assert_eq!(refused(|rot| rot.parent_rot = Some(octets(&[8; 32]))), LINT);
        assert_eq!(refused(|rot| rot.rot_kind = RotKind::Vtpm), LINT);
        let iak = Example::with(ProfileKind::DeviceIak, |spec| spec.rot = Some(rot(false)));
        assert_eq!(iak.refused_by(), LINT);
        let garbage = Example::new(ProfileKind::DeviceIdevid).holding(ID_ROT_BINDING, b"\x30\x00");
        assert_eq!(garbage.refused_by(), LINT);
    }

    #[test]
    fn bad_virtual() {
        let virtual_by_policy_only = Example::with(ProfileKind::Service, |spec| {
            spec.policies = vec![TCG_VERIFIED_TPM_RESIDENCY, TCG_VERIFIED_TPM_FIXED, ID_VIRTUAL];
        });
        assert_eq!(virtual_by_policy_only.refused_by(), LINT);
        let short_parent = Example::with(ProfileKind::Service, |spec| {
            spec.policies = vec![TCG_VERIFIED_TPM_RESIDENCY, TCG_VERIFIED_TPM_FIXED, ID_VIRTUAL];
            let rot = activation(spec);
            (rot.rot_kind, rot.parent_rot) = (RotKind::Vtpm, Some(octets(&[8; 31])));
        });
        assert_eq!(short_parent.refused_by(), LINT);
    }
}
