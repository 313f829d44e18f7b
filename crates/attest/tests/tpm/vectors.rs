//! What a real TPM (swtpm) said: public areas, Names, attestations and signatures.

use attest::Reason;
use attest::tpm::{AttestationKey, IdentityKey, TpmsAttest, TpmtPublic, TpmtSignature, verify_certify};

const AK: &str = "00580023000b00050072000000100018000b000300100020895c6fd2858d6754375265ab8e695b65ef771d81aea6af2a1f00a3901fe9bdf800207d09f2d67401f0297dece6d409b093d793a25d1713a552bcd8c6d78f7d3c811a";
const AK_NAME: &str = "000b8c6fe1ba15a30df5bf8debc37e15654ab4b25a48c10879efa401c5a1d79d4fd8";
const AK_QUALIFIED: &str = "000bcc5ccbce33ced614145eed6b44f4aeb586c619ad8c79b9d34b8073cedc6b9e38";
const SUBJECT: &str = "00580023000b00040072000000100018000b0003001000204e1dcd79dda71dac305b2f49577a3e9cb57ec1c0e88387c709c913401d9f09e3002071be3658c244604f3ca1a48a7cc04ab0ea230cf3c927156b96a14536abc44913";
const SUBJECT_NAME: &str = "000b5fc9bfadcea8468925a869542d4604a0d2424b3cd55fe87b81dd3feb63f7aa63";
const CERTIFY: &str = "ff54434780170022000bcc5ccbce33ced614145eed6b44f4aeb586c619ad8c79b9d34b8073cedc6b9e38000400ff55aa000000000001ba5300000001000000000120191023001636360022000b5fc9bfadcea8468925a869542d4604a0d2424b3cd55fe87b81dd3feb63f7aa630022000be6eddf5eb0f5fed74079f1ae694a35831fc0ed282a9dc41bd798f00f63eec36b";
const CERTIFY_SIGNATURE: &str = "0018000b00206e0838443cb9e770e6100c92e05bb5a9684d96d6b96ab3b46cdc57bf33d72f8e0020a1406a5b09acb0805d3841cd72adce3791b0b15410afcf920cf73ef5139dce76";
const QUOTE: &str = "ff54434780180022000bcc5ccbce33ced614145eed6b44f4aeb586c619ad8c79b9d34b8073cedc6b9e3800040011223300000000000143b1000000010000000001201910230016363600000001000b038100000020f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b";
const QUOTE_SIGNATURE: &str = "0018000b0020d35bbffd3140c0df47e19826147cde78c0271b120c56dd583684c34d30a5d8ea0020fe84abe534b358a321369335eb39f46b9746af92dd8399e29260a8aac25742f0";
const CREATION_DATA: &str = "0037000000000020e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85501001000044000000b00044000000b0000";
const CREATION_HASH: &str = "28d026fafd749106743e27c4280551585e5d17668eb521835ed60127effc05d4";
const FAKE: &str = "ff544347801766616b65";
const FAKE_SIGNATURE: &str = "0018000b0020545e2e39fba470c94b0907e30b6f68b345aa5750be59105c317f8968976729190020c5562266603f4a4bd5dd88a7429c07dc6140cb9cb5fecb4cefce47625e804ced";

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn ak() -> AttestationKey {
    AttestationKey::judge(TpmtPublic::parse_2b(&unhex(AK)).unwrap()).unwrap()
}

#[test]
fn names_of_real_keys() {
    for (public, name) in [(AK, AK_NAME), (SUBJECT, SUBJECT_NAME)] {
        let public = TpmtPublic::parse_2b(&unhex(public)).unwrap();
        assert_eq!(hex::encode(public.name()), name);
    }
}

#[test]
fn the_qualified_name_shows_an_endorsement_primary() {
    let name = unhex(AK_NAME);
    let qualified = openssl::sha::sha256(&[&[0x40, 0, 0, 0x0B][..], &name].concat());
    assert_eq!(hex::encode([&[0, 0x0B][..], &qualified].concat()), AK_QUALIFIED);
    let certify = unhex(CERTIFY);
    assert_eq!(
        hex::encode(TpmsAttest::parse(&certify).unwrap().qualified_signer),
        AK_QUALIFIED
    );
}

#[test]
fn a_real_certification_reads_and_verifies() {
    let (certify, signature) = (unhex(CERTIFY), unhex(CERTIFY_SIGNATURE));
    let attest = TpmsAttest::parse(&certify).unwrap();
    assert_eq!(attest.raw, certify);
    assert_eq!(attest.extra_data, [0x00, 0xFF, 0x55, 0xAA]);
    assert_eq!(attest.attested.name, unhex(SUBJECT_NAME));
    assert_eq!(
        hex::encode(attest.attested.qualified_name),
        "000be6eddf5eb0f5fed74079f1ae694a35831fc0ed282a9dc41bd798f00f63eec36b"
    );
    assert_eq!(attest.clock_info.clock, 0x1_BA53);
    assert_eq!((attest.clock_info.reset_count, attest.clock_info.restart_count), (1, 0));
    assert!(attest.clock_info.safe);
    assert_eq!(attest.firmware_version, 0x2019_1023_0016_3636);
    ak().verify(&certify, &TpmtSignature::parse(&signature).unwrap())
        .unwrap();
}

#[test]
fn every_byte_of_a_real_certification_is_signed() {
    let signature = unhex(CERTIFY_SIGNATURE);
    let signature = TpmtSignature::parse(&signature).unwrap();
    let ak = ak();
    let certify = unhex(CERTIFY);
    for at in 0..certify.len() {
        let mut altered = certify.clone();
        altered[at] ^= 1;
        assert_eq!(
            ak.verify(&altered, &signature).unwrap_err().reason,
            Reason::CertSig,
            "byte {at}"
        );
    }
}

/// A21: `tpm2_certify` writes this constant; a certification without our nonce proves nothing about today.
#[test]
fn a21_the_constant_qualifying_data_of_tpm2_tools_is_refused() {
    let refusal = verify_certify(
        &ak(),
        &unhex(CERTIFY),
        &unhex(CERTIFY_SIGNATURE),
        &[7; 32],
        &unhex(SUBJECT_NAME),
    );
    assert_eq!(refusal.unwrap_err().reason, Reason::CertNonce);
}

#[test]
fn a_real_quote_verifies_and_is_no_certification() {
    let quote = unhex(QUOTE);
    let signature = unhex(QUOTE_SIGNATURE);
    ak().verify(&quote, &TpmtSignature::parse(&signature).unwrap()).unwrap();
    let refusal = TpmsAttest::parse(&quote).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.detail.as_str()),
        (Reason::CertType, "TPMS_ATTEST: type is ATTEST_QUOTE")
    );
}

#[test]
fn the_creation_hash_is_over_the_data_without_its_size() {
    let data = unhex(CREATION_DATA);
    assert_eq!(usize::from(u16::from_be_bytes([data[0], data[1]])), data.len() - 2);
    assert_eq!(hex::encode(openssl::sha::sha256(&data[2..])), CREATION_HASH);
}

/// A03: the signature is good and the magic is right; only the missing `restricted` gives the forgery away.
#[test]
fn a03_an_unrestricted_key_that_signed_the_magic_is_no_attestation_key() {
    let public = TpmtPublic::parse_2b(&unhex(SUBJECT)).unwrap();
    let key = openssl::pkey::PKey::public_key_from_der(&public.spki().unwrap())
        .unwrap()
        .ec_key()
        .unwrap();
    let signature = unhex(FAKE_SIGNATURE);
    let Ok(TpmtSignature::Ecdsa { r, s, .. }) = TpmtSignature::parse(&signature) else {
        panic!("not ECDSA")
    };
    let number = |bytes| openssl::bn::BigNum::from_slice(bytes).unwrap();
    let verified = openssl::ecdsa::EcdsaSig::from_private_components(number(r), number(s))
        .unwrap()
        .verify(&openssl::sha::sha256(&unhex(FAKE)), &key)
        .unwrap();
    assert!(verified, "the vector is a good signature");
    IdentityKey::judge(&public).unwrap();
    assert_eq!(AttestationKey::judge(public).unwrap_err().reason, Reason::AkAttr);
}
