//! The software TPM of the kit itself.

use device_kit::swtpm::{Swtpm, VendorCa};

#[test]
fn a_manufactured_tpm_has_certificates_and_survives_a_power_cycle() {
    let vendor = VendorCa::new().unwrap();
    let mut tpm = Swtpm::manufacture(&vendor).unwrap();
    tpm.add_p256_endorsement(&vendor).unwrap();
    tpm.power_cycle().unwrap();
    let handles = String::from_utf8(tpm.tool(&["getcap", "handles-nv-index"]).unwrap()).unwrap();
    for index in ["0x1C00002", "0x1C0000A", "0x1C00016"] {
        assert!(handles.contains(index), "{index} in {handles}");
    }
    let issuer = openssl::x509::X509::from_der(&vendor.issuer_der().unwrap()).unwrap();
    let root = openssl::x509::X509::from_der(&vendor.root_der().unwrap()).unwrap();
    assert!(issuer.verify(&root.public_key().unwrap()).unwrap());
}
