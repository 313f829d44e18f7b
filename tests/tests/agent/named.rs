//! The maker's CA makes IAK and IDevID in real TPMs (swtpm), a manifest of the lot names them, and an owner's CA of another
//! hierarchy, who has nothing but the file and the maker's root, accepts these devices and refuses another certificate.

use std::path::Path;

use device_kit::rig::{Rig, expected};
use wire::admin::AllowDevice;

use crate::device::{AgentDevice, House, errors, report};
use crate::third_party::{line, third_party};

const LOT: &str = "2026-47-N";

/// `ca-cli` of this rig, which must succeed.
fn done(rig: &Rig, arguments: &[&str]) {
    let output = rig.cli(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
}

/// The maker's papers on this device, in a directory of their own.
fn papers(maker: &House, device: &mut AgentDevice) -> std::path::PathBuf {
    maker.enrolled(device, &["--manufacturer"]);
    let papers = device.state().to_owned();
    device.reinstall();
    papers
}

/// Signed in the maker's token; where the file and the key are.
fn manifest(maker: &Rig) -> [String; 2] {
    let at = |name: &str| maker.path(name).display().to_string();
    let [key, draft, signed] = ["manifest-key.pem", "named.manifest", "named.signed"].map(at);
    let pin = at("secrets/issuing.pin");
    let token = [
        "--module",
        "/usr/lib/softhsm/libsofthsm2.so",
        "--token",
        "holdfast-issuing",
        "--id",
        "0b",
        "--label",
        "manifest-named",
        "--pin-file",
        &pin,
    ];
    done(maker, &[&["manifest", "key", "--out", &key], &token[..]].concat());
    let of = [
        "--lot",
        LOT,
        "--maker",
        "Example GmbH",
        "--inventory",
        "--model",
        "GW-7",
    ];
    done(maker, &[&["manifest", "create", "--out", &draft], &of[..]].concat());
    done(
        maker,
        &[&["manifest", "sign", &draft, "--out", &signed], &token[..]].concat(),
    );
    [signed, key]
}

#[test]
fn a_lot_is_accepted_by_the_certificates_that_its_manifest_names() {
    let maker = House::shared();
    let mut devices = ["LOT-1", "LOT-2"].map(|name| {
        let device = AgentDevice::new(&maker.vendor);
        maker.rig.allow_with(&AllowDevice {
            ek_spki_sha256: Some(device.ek_sha256("auto")),
            batch: Some(LOT.to_owned()),
            ..expected(name)
        });
        device
    });
    let named = devices.each_mut().map(|device| papers(maker, device));
    let [signed, key] = manifest(&maker.rig);

    let mut rig = third_party(maker, None);
    let _ = rig.stop();
    std::fs::copy(key, rig.path("manifest-key.pem")).unwrap();
    let signers = toml::Value::from(vec!["manifest-key.pem"]);
    rig.configure(&[("manifests".into(), "signers".into(), signers)]);
    rig.start();
    let (url, root) = (rig.url(), rig.path("ca/root.pem").display().to_string());
    let refused = |device: &AgentDevice, papers: &Path| {
        let output = device.agent(&[&line(&url, &root, papers, &[])[..], &["-o", "json"]].concat());
        assert_eq!(report(&output, 3)["code"], "attestation_rejected");
        let log = std::fs::read_to_string(rig.path("audit.jsonl")).unwrap();
        let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        last["reason"].as_str().unwrap().to_owned()
    };
    let [one, two] = &mut devices;
    assert_eq!(refused(one, &named[0]), "NOT_IN_INVENTORY", "nobody spoke of it yet");
    done(&rig, &["manifest", "import", &signed, "--all-or-nothing"]);

    // Nobody typed its name here: the manifest says which device this is, by the certificate that its IAK proved.
    let enrolled = one.json(&line(&url, &root, &named[0], &[]), 0);
    assert_eq!(enrolled["device"], "LOT-1", "{enrolled:#}");
    let shown = rig.cli_json(&["device", "show", "LOT-1"]);
    let proof = &shown["device"]["certificates"][0]["iak_proof"];
    assert_eq!(
        (&proof["manifest"], &proof["manifest_line"]),
        (&1.into(), &2.into()),
        "{shown:#}"
    );
    assert_eq!(shown["device"]["batch"], LOT, "{shown:#}");
    let arrived = rig.audit("LOT-1");
    assert!(
        arrived
            .iter()
            .any(|a| a.action == "device.arrived" && a.reason == "MANIFEST")
    );
    assert_eq!(one.json(&["renew", "--force"], 0)["renewed"], true);

    // The maker certifies the very same keys of the other device once more: same TPM, same subject, same anchor, and not the
    // certificate that he named.
    let record = maker.record("LOT-2");
    for certificate in &record.certificates {
        let _ = maker
            .rig
            .cli_json(&["revoke", &certificate.serial, "--reason", "superseded"]);
    }
    let substituted = papers(maker, two);
    let of = |papers: &Path| {
        let pem = std::fs::read(papers.join("ak-cert.pem")).unwrap();
        openssl::x509::X509::from_pem(&pem).unwrap()
    };
    let (before, after) = (of(&named[1]), of(&substituted));
    assert!(before.public_key().unwrap().public_eq(&after.public_key().unwrap()));
    assert_ne!(before.to_der().unwrap(), after.to_der().unwrap());
    assert_eq!(refused(two, &substituted), "MANIFEST_IDENTITY");
    // An administrator's word does not change what the manifest names.
    let iak = substituted.join("ak-cert.pem");
    done(&rig, &["device", "allow", "LOT-2", "--iak", iak.to_str().unwrap()]);
    assert_eq!(refused(two, &substituted), "MANIFEST_IDENTITY");
    // Exactly that was in its way: without the manifest's word it is accepted.
    done(
        &rig,
        &["manifest", "withdraw", "1", "--reason", "the maker certified anew"],
    );
    let enrolled = two.json(&line(&url, &root, &substituted, &[]), 0);
    assert_eq!(enrolled["device"], "LOT-2", "{enrolled:#}");
}
