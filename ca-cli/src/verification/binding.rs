//! What a certificate says of its root of trust, against itself and against an EK certificate.

use attest::ek::certificate_spki;
use attest::rot;

use super::level_of;
use crate::certificate::CertificateView;
use crate::cli::certificate::Level;

/// Hex digits of a TPM Name: nameAlg, then the digest.
const NAMES: [(&str, usize); 2] = [("000b", 4 + 64), ("000c", 4 + 96)];

/// The RoT-binding extension agrees with itself and with the policies beside it.
pub(super) fn bound(leaf: &CertificateView) -> Result<String, String> {
    let rot = leaf.rot_binding.as_ref().ok_or("no RoT-binding extension")?;
    let digests = [
        rot.ek_spki_sha256.as_ref(),
        Some(&rot.evidence_sha256),
        rot.iak_certificate_sha256.as_ref(),
        rot.parent_rot.as_ref(),
    ];
    if digests.into_iter().flatten().any(|digest| digest.len() != 64) {
        return Err("a digest in the RoT-binding has the wrong length".into());
    }
    let is_name = |name: &String| {
        NAMES
            .iter()
            .any(|(algorithm, length)| name.starts_with(algorithm) && name.len() == *length)
    };
    if !is_name(&rot.ak_name) || !is_name(&rot.ik_name) {
        return Err("a Name in the RoT-binding is not nameAlg and digest".into());
    }
    if !matches!(rot.kind, "tpm" | "vtpm") {
        return Err(format!("a root of trust of kind {}: not known to this tool", rot.kind));
    }
    if (rot.kind == "vtpm") != (level_of(leaf) == Some(Level::Virtual)) {
        return Err(format!(
            "a root of trust of kind {} does not go with this level",
            rot.kind
        ));
    }
    if rot.parent_rot.is_some() && rot.kind != "vtpm" {
        return Err("a host below something that is not virtual".into());
    }
    let has = |oid: der::asn1::ObjectIdentifier| leaf.policies.contains(&oid.to_string());
    let by_iak = rot.iak_certificate_sha256.is_some();
    let level = level_of(leaf);
    if by_iak && matches!(level, Some(Level::HardwareAllowlisted | Level::HardwareVerified))
        || !by_iak && level == Some(Level::ManufacturerVerified)
    {
        return Err(format!("the assurance level is not one of basis {}", rot.basis));
    }
    // The IAK vouches and is never the certified key itself: there the policies say what it is.
    let attestation = if by_iak {
        has(rot::TCG_VERIFIED_TPM_RESTRICTED)
    } else {
        rot.ak_name == rot.ik_name
    };
    if by_iak && rot.ak_name == rot.ik_name {
        return Err("the certified key is the IAK itself".into());
    }
    if !has(rot::TCG_VERIFIED_TPM_RESIDENCY) {
        return Err("the certificate does not say verifiedTPMResidency".into());
    }
    if attestation != has(rot::TCG_VERIFIED_TPM_RESTRICTED) || attestation == has(rot::TCG_VERIFIED_TPM_FIXED) {
        return Err("Names and TCG policies disagree on whether this is an attestation key".into());
    }
    let role = if attestation { "attestation key" } else { "identity key" };
    Ok(match (&rot.iak_certificate_sha256, &rot.ek_spki_sha256) {
        (None, Some(ek)) => format!("{role} of the {} with EK sha256 {ek}", rot.kind),
        (Some(iak), _) => format!(
            "{role} of the {} whose manufacturer certified the IAK, sha256 {iak}; no EK was seen",
            rot.kind
        ),
        (None, None) => return Err("neither an EK nor an IAK".into()),
    })
}

/// The certificate names this EK certificate, and its RoT-binding the key in it.
pub(super) fn names_ek(leaf: &CertificateView, ek_certificate: &[u8]) -> Result<String, String> {
    let digest = hex::encode(openssl::sha::sha256(ek_certificate));
    let named = leaf.ek_certificate_sha256.as_deref().ok_or("names no EK certificate")?;
    if named != digest {
        return Err(format!("names EK certificate {named}, given is {digest}"));
    }
    let spki = certificate_spki(ek_certificate).map_err(|refusal| refusal.detail)?;
    let key = hex::encode(openssl::sha::sha256(&spki));
    match &leaf.rot_binding {
        Some(rot) if rot.ek_spki_sha256.as_ref() != Some(&key) => Err(format!(
            "its RoT-binding names EK {}, the EK certificate given is of {key}",
            rot.ek_spki_sha256.as_deref().unwrap_or("none")
        )),
        _ => Ok(format!("is the EK certificate given, sha256 {digest}")),
    }
}
