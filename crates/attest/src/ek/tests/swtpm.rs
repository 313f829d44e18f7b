//! EK certificates and public areas as swtpm makes them: kept ones, and new ones where swtpm_setup is installed.

use super::*;
use std::path::Path;
use std::process::Command;

const ROOT: &[u8] = include_bytes!("../../../tests/data/swtpm/root.der");
const ISSUER: &[u8] = include_bytes!("../../../tests/data/swtpm/issuer.der");
const RSA_CERTIFICATE: &[u8] = include_bytes!("../../../tests/data/swtpm/ek-rsa2048.der");
const RSA_PUBLIC: &[u8] = include_bytes!("../../../tests/data/swtpm/ek-rsa2048.tpmt");
const P384_CERTIFICATE: &[u8] = include_bytes!("../../../tests/data/swtpm/ek-p384.der");
const P384_PUBLIC: &[u8] = include_bytes!("../../../tests/data/swtpm/ek-p384.tpmt");

fn local_ca(root: &[u8]) -> Anchors {
    let source = AnchorSource {
        name: "swtpm-localca".to_owned(),
        certificate: root.to_vec(),
        kind: AnchorKind::Software,
        manufacturers: vec!["id:00001014".to_owned()],
        enforce_expiry: true,
    };
    Anchors::new(vec![source], vec![]).unwrap()
}

/// A while after the certificates were made.
const LATER: UnixTime = UnixTime(1_800_000_000);

#[test]
fn endorsements_of_swtpm_verify() {
    let offered = [ISSUER.to_vec()];
    for (certificate, public, template) in [
        (RSA_CERTIFICATE, RSA_PUBLIC, EkTemplate::L1),
        (P384_CERTIFICATE, P384_PUBLIC, EkTemplate::H3),
    ] {
        let public = TpmtPublic::parse(public).unwrap();
        let facts = verify(certificate, &offered, &public, &local_ca(ROOT), LATER).unwrap();
        assert_eq!(facts.template, template);
        assert_eq!(facts.assurance, Assurance::Software);
        assert_eq!(
            (facts.manufacturer.as_str(), facts.model.as_str()),
            ("id:00001014", "swtpm")
        );
        assert_eq!(facts.version, "id:20191023");
    }
}

#[test]
fn a10_swtpm_is_not_believed_where_its_local_ca_is_no_anchor() {
    let public = TpmtPublic::parse(P384_PUBLIC).unwrap();
    let offered = [ISSUER.to_vec(), ROOT.to_vec()];
    let refusal = verify(P384_CERTIFICATE, &offered, &public, &ifx(), LATER).unwrap_err();
    assert_eq!(refusal.reason, Reason::EkChain);
}

#[test]
fn the_keys_of_two_endorsements_of_one_tpm_do_not_mix() {
    let public = TpmtPublic::parse(RSA_PUBLIC).unwrap();
    let refusal = verify(P384_CERTIFICATE, &[ISSUER.to_vec()], &public, &local_ca(ROOT), LATER).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.detail.as_str()),
        (Reason::EkKey, "the EK public area is not the certified key")
    );
}

#[test]
fn endorsements_made_now_verify() {
    if Command::new("swtpm_setup").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "swtpm_setup is not installed");
        eprintln!("skipped: swtpm_setup is not installed");
        return;
    }
    let directory = std::env::temp_dir().join(format!("attest-swtpm-{}", std::process::id()));
    for part in ["state", "ca", "certificates"] {
        std::fs::create_dir_all(directory.join(part)).unwrap();
    }
    let made = setup(&directory);
    std::fs::remove_dir_all(&directory).unwrap();
    let [root, issuer, rsa, p384] = made;
    for certificate in [rsa, p384] {
        let public = corpus::public_of(&certificate);
        let facts = verify(
            &certificate,
            std::slice::from_ref(&issuer),
            &public,
            &local_ca(&root),
            UnixTime(i64::MAX),
        )
        .err();
        assert_eq!(
            facts.map(|refusal| refusal.reason),
            Some(Reason::EkChain),
            "everything expires"
        );
        // swtpm dates them now, and only the EK certificates never expire: a clock is not needed to see them pass.
        let begin = Certificate::parse(&certificate, Leniencies::VENDOR).unwrap().not_before;
        let facts = verify(
            &certificate,
            std::slice::from_ref(&issuer),
            &public,
            &local_ca(&root),
            begin,
        )
        .unwrap();
        assert_eq!(facts.manufacturer, "id:00001014");
    }
}

/// Manufacture a TPM: root, issuing CA, and the two EK certificates.
fn setup(directory: &Path) -> [Vec<u8>; 4] {
    let at = |name: &str| directory.join(name).display().to_string();
    let conf = format!(
        "statedir = {}\nsigningkey = {}\nissuercert = {}\ncertserial = {}\n",
        at("ca"),
        at("ca/key.pem"),
        at("ca/issuer.pem"),
        at("ca/serial")
    );
    std::fs::write(at("localca.conf"), conf).unwrap();
    std::fs::write(
        at("options"),
        "--platform-manufacturer Holdfast\n--platform-version 1\n--platform-model test\n",
    )
    .unwrap();
    let setup = format!(
        "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n",
        at("localca.conf"),
        at("options")
    );
    std::fs::write(at("setup.conf"), setup).unwrap();
    let output = Command::new("swtpm_setup")
        .args([
            "--tpm2",
            "--create-ek-cert",
            "--tpmstate",
            &at("state"),
            "--config",
            &at("setup.conf"),
        ])
        .args(["--write-ek-cert-files", &at("certificates")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let pem = |name: &str| {
        openssl::x509::X509::from_pem(&std::fs::read(at(name)).unwrap())
            .unwrap()
            .to_der()
            .unwrap()
    };
    let der = |name: &str| std::fs::read(at(name)).unwrap();
    [
        pem("ca/swtpm-localca-rootca-cert.pem"),
        pem("ca/issuer.pem"),
        der("certificates/ek-rsa2048.crt"),
        der("certificates/ek-secp384r1.crt"),
    ]
}
