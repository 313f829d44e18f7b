//! The public half of a key in a token, as a SubjectPublicKeyInfo.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use issuance::SignatureAlgorithm;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;

use crate::HsmError;
use crate::scheme::{self, Material};

/// The only object of this class and CKA_ID: neither ids nor labels are unique on a token.
pub(crate) fn one(session: &Session, class: ObjectClass, id: &[u8]) -> Result<ObjectHandle, HsmError> {
    let what = if class == ObjectClass::PRIVATE_KEY {
        "private key"
    } else {
        "public key"
    };
    let mut found = session.find_objects(&[Attribute::Class(class), Attribute::Id(id.to_vec())])?;
    match (found.pop(), found.len()) {
        (Some(handle), 0) => Ok(handle),
        (None, _) => Err(HsmError::Key(format!(
            "the token has no {what} with CKA_ID {}",
            hex::encode(id)
        ))),
        (Some(_), more) => Err(HsmError::Key(format!(
            "the token has {} {what}s with CKA_ID {}: which one is meant cannot be told",
            more + 1,
            hex::encode(id)
        ))),
    }
}

/// SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) of the pair with this CKA_ID, read from the public object; for RSA the
/// private object must name the same modulus.
pub(crate) fn spki(
    session: &Session,
    id: &[u8],
    private: ObjectHandle,
    algorithm: SignatureAlgorithm,
) -> Result<Vec<u8>, HsmError> {
    let wanted = scheme::material(algorithm);
    let public = one(session, ObjectClass::PUBLIC_KEY, id)?;
    of_kind(session, private, id, algorithm)?;
    if let Material::Rsa { .. } = wanted
        && rsa(session, public)?.0 != rsa(session, private)?.0
    {
        return Err(HsmError::Key(format!(
            "the public and the private key with CKA_ID {} are not a pair",
            hex::encode(id)
        )));
    }
    of_public(session, id, public, algorithm)
}

fn of_kind(session: &Session, half: ObjectHandle, id: &[u8], algorithm: SignatureAlgorithm) -> Result<(), HsmError> {
    let wanted = scheme::material(algorithm).key_type();
    let found = session.get_attributes(half, &[AttributeType::KeyType])?;
    if found.contains(&Attribute::KeyType(wanted)) {
        Ok(())
    } else {
        Err(wrong_kind(id, algorithm))
    }
}

/// As [`spki`], of a public half alone.
pub(crate) fn of_public(
    session: &Session,
    id: &[u8],
    public: ObjectHandle,
    algorithm: SignatureAlgorithm,
) -> Result<Vec<u8>, HsmError> {
    of_kind(session, public, id, algorithm)?;
    match scheme::material(algorithm) {
        Material::Ec { curve, coordinate } => {
            let (parameters, point) = ec(session, public)?;
            if curve_of(&parameters) != Some(curve) {
                return Err(wrong_kind(id, algorithm));
            }
            let point = bare_point(&point, coordinate)
                .ok_or_else(|| HsmError::Key(format!("CKA_EC_POINT of key {} is no point", hex::encode(id))))?;
            ec_spki(curve, point)
                .map_err(|_| HsmError::Key(format!("CKA_EC_POINT of key {} is no point", hex::encode(id))))
        }
        Material::Rsa { bits } => {
            let (modulus, exponent) = rsa(session, public)?;
            let (size, spki) = rsa_spki(&modulus, &exponent)
                .map_err(|_| HsmError::Key(format!("the public key with CKA_ID {} is no RSA key", hex::encode(id))))?;
            if size != i32::try_from(bits).unwrap_or(i32::MAX) {
                return Err(wrong_kind(id, algorithm));
            }
            Ok(spki)
        }
    }
}

fn wrong_kind(id: &[u8], algorithm: SignatureAlgorithm) -> HsmError {
    HsmError::Key(format!(
        "the key with CKA_ID {} is not one for {}",
        hex::encode(id),
        scheme::name(algorithm)
    ))
}

fn ec(session: &Session, key: ObjectHandle) -> Result<(Vec<u8>, Vec<u8>), HsmError> {
    let (mut parameters, mut point) = (None, None);
    for attribute in session.get_attributes(key, &[AttributeType::EcParams, AttributeType::EcPoint])? {
        match attribute {
            Attribute::EcParams(bytes) => parameters = Some(bytes),
            Attribute::EcPoint(bytes) => point = Some(bytes),
            _ => {}
        }
    }
    Ok((told(parameters, "CKA_EC_PARAMS")?, told(point, "CKA_EC_POINT")?))
}

fn rsa(session: &Session, key: ObjectHandle) -> Result<(Vec<u8>, Vec<u8>), HsmError> {
    let (mut modulus, mut exponent) = (None, None);
    for attribute in session.get_attributes(key, &[AttributeType::Modulus, AttributeType::PublicExponent])? {
        match attribute {
            Attribute::Modulus(bytes) => modulus = Some(bytes),
            Attribute::PublicExponent(bytes) => exponent = Some(bytes),
            _ => {}
        }
    }
    // A private object may leave the exponent out; the public one is checked by its use.
    Ok((told(modulus, "CKA_MODULUS")?, exponent.unwrap_or_default()))
}

fn told(value: Option<Vec<u8>>, name: &str) -> Result<Vec<u8>, HsmError> {
    value
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| HsmError::Key(format!("the token does not tell {name}")))
}

/// DER of a named curve's OBJECT IDENTIFIER, as CKA_EC_PARAMS carries it.
pub(crate) fn curve_oid(curve: Nid) -> &'static [u8] {
    match curve {
        Nid::SECP384R1 => &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22],
        _ => &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
    }
}

fn curve_of(parameters: &[u8]) -> Option<Nid> {
    [Nid::X9_62_PRIME256V1, Nid::SECP384R1]
        .into_iter()
        .find(|curve| curve_oid(*curve) == parameters)
}

/// The uncompressed point in CKA_EC_POINT: an OCTET STRING around it by the standard, bare on some tokens. Told apart
/// by length alone: a bare point, too, begins with 04.
fn bare_point(point: &[u8], coordinate: usize) -> Option<&[u8]> {
    let bare = 1 + 2 * coordinate;
    if point.len() == bare {
        return Some(point);
    }
    let inner = point.strip_prefix(&[0x04, u8::try_from(bare).ok()?])?;
    (inner.len() == bare).then_some(inner)
}

fn ec_spki(curve: Nid, point: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let group = EcGroup::from_curve_name(curve)?;
    // Refuses what is not on the curve.
    let point = EcPoint::from_bytes(&group, point, &mut *BigNumContext::new()?)?;
    PKey::from_ec_key(EcKey::from_public_key(&group, &point)?)?.public_key_to_der()
}

fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Result<(i32, Vec<u8>), ErrorStack> {
    let modulus = BigNum::from_slice(modulus)?;
    let bits = modulus.num_bits();
    let key = Rsa::from_public_components(modulus, BigNum::from_slice(exponent)?)?;
    Ok((bits, PKey::from_rsa(key)?.public_key_to_der()?))
}

#[cfg(test)]
mod tests {
    use openssl::ec::PointConversionForm;

    use super::*;

    /// The point of a fresh key.
    fn point(curve: Nid) -> (Vec<u8>, Vec<u8>) {
        let group = EcGroup::from_curve_name(curve).unwrap();
        let key = EcKey::generate(&group).unwrap();
        let mut context = BigNumContext::new().unwrap();
        let bytes = key
            .public_key()
            .to_bytes(&group, PointConversionForm::UNCOMPRESSED, &mut context)
            .unwrap();
        let spki = PKey::from_ec_key(key).unwrap().public_key_to_der().unwrap();
        (bytes, spki)
    }

    #[test]
    fn both_encodings_of_a_point_are_read() {
        for (curve, coordinate, tag) in [(Nid::X9_62_PRIME256V1, 32, [4, 65]), (Nid::SECP384R1, 48, [4, 97])] {
            let (bare, spki) = point(curve);
            let wrapped = [&tag[..], &bare].concat();
            assert_eq!(ec_spki(curve, bare_point(&bare, coordinate).unwrap()).unwrap(), spki);
            assert_eq!(ec_spki(curve, bare_point(&wrapped, coordinate).unwrap()).unwrap(), spki);
        }
    }

    #[test]
    fn a_bare_point_that_looks_like_an_octet_string_is_bare() {
        // 04 3f ...: 65 bytes, which also reads as an OCTET STRING of 63.
        let mut bare = vec![4, 63];
        bare.resize(65, 1);
        assert_eq!(bare_point(&bare, 32), Some(&bare[..]));
    }

    #[test]
    fn what_is_no_point_is_refused() {
        let (bare, _) = point(Nid::X9_62_PRIME256V1);
        for wrong in [
            &bare[..64],
            &[&bare[..], &[0]].concat(),
            &[&[4, 64], &bare[..]].concat(),
            b"",
        ] {
            assert!(bare_point(wrong, 32).is_none());
        }
        let mut off = bare;
        off[64] ^= 1;
        assert!(ec_spki(Nid::X9_62_PRIME256V1, &off).is_err());
    }
}
