//! The RoT binding is there on certificates of keys in a root of trust and nowhere else, whole, and agrees with the
//! kind and the policies.

use attest::rot::{ID_ROT_BINDING, ID_VIRTUAL, RotBinding, RotKind};
use der::Decode;
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
    let binding = RotBinding::from_der(extension.value).map_err(|e| e.to_string())?;
    if binding.version != 1 {
        return Err(format!("version {}", binding.version));
    }
    if binding.ek_spki_sha256.as_bytes().len() != 32 || binding.evidence_sha256.as_bytes().len() != 32 {
        return Err("a digest that is not SHA-256".into());
    }
    if binding.parent_rot.as_ref().is_some_and(|p| p.as_bytes().len() != 32) {
        return Err("a parent that is not a SHA-256".into());
    }
    let (ak, ik) = (binding.ak_name.as_bytes(), binding.ik_name.as_bytes());
    if !is_name(ak) || !is_name(ik) {
        return Err("a key name that is not nameAlg and digest".into());
    }
    if (ak == ik) != (case.promise.kind == ProfileKind::DeviceIak) {
        return Err("the attestation key is certified as attestation key and as nothing else".into());
    }
    if binding.parent_rot.is_some() && binding.rot_kind != RotKind::Vtpm {
        return Err("a parent of what is not virtual".into());
    }
    // Policies that cannot be read are `certificate_policies`'.
    let is_virtual = certificate_policies::read(case.tbs).is_ok_and(|found| found.contains(&ID_VIRTUAL));
    if is_virtual != (binding.rot_kind == RotKind::Vtpm) {
        return Err("kind of root of trust and assurance level disagree".into());
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
    use attest::rot::{TCG_VERIFIED_TPM_FIXED, TCG_VERIFIED_TPM_RESIDENCY};
    use der::Encode;
    use der::asn1::OctetString;

    use super::*;
    use crate::fixture::{KINDS, rot};
    use crate::lint::example::Example;

    const LINT: [&str; 1] = ["rot_binding"];

    fn octets(bytes: &[u8]) -> OctetString {
        OctetString::new(bytes).unwrap()
    }

    fn refused(change: impl FnOnce(&mut RotBinding)) -> Vec<&'static str> {
        Example::with(ProfileKind::DeviceIdevid, |spec| change(spec.rot.as_mut().unwrap())).refused_by()
    }

    #[test]
    fn good() {
        assert!(refused(|_| ()).is_empty());
        let sha384 = [&[0, 0x0c][..], &[9; 48]].concat();
        assert!(refused(|rot| rot.ik_name = octets(&sha384)).is_empty());
        for parent in [None, Some(octets(&[8; 32]))] {
            let virtual_tpm = Example::with(ProfileKind::Service, |spec| {
                spec.policies = vec![TCG_VERIFIED_TPM_RESIDENCY, TCG_VERIFIED_TPM_FIXED, ID_VIRTUAL];
                let rot = spec.rot.as_mut().unwrap();
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
            let rot = spec.rot.as_mut().unwrap();
            (rot.rot_kind, rot.parent_rot) = (RotKind::Vtpm, Some(octets(&[8; 31])));
        });
        assert_eq!(short_parent.refused_by(), LINT);
    }
}
