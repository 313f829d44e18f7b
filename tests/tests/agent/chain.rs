//! A TPM that brings the CAs above its EK certificate in NV (TCG EK Credential Profile, 2.2.1.5): the server has the root
//! alone, and builds the path over what the agent reads.

use device_kit::rig::Wanted;

use crate::device::{AgentDevice, House, report};

#[test]
fn a_device_brings_its_chain_from_nv() {
    let mut house = House::with(&Wanted::default());
    let _ = house.rig.stop();
    let nothing = toml::Value::Array(Vec::new());
    house
        .rig
        .configure(&[("trust".into(), "intermediates".into(), nothing)]);
    house.rig.start();
    let issuer = house.vendor.issuer_der().unwrap();
    let [bare, brings, garbled, split] = [(); 4].map(|()| AgentDevice::new(&house.vendor));
    for (name, device) in [
        ("BARE", &bare),
        ("BRINGS", &brings),
        ("GARBLED", &garbled),
        ("SPLIT", &split),
    ] {
        house.allow(name, device, "auto");
    }
    // Without it there is no path.
    let refused = house.enroll(&bare, &["--wait", "0", "-o", "json"]);
    let refused = report(&refused, 3);
    let reason = |refused: &serde_json::Value| {
        let fix = refused["fix"].to_string();
        let at = fix.find("inc_").unwrap();
        house.rig.audit_file(&fix[at..at + 36])[0].reason.clone()
    };
    assert_eq!(reason(&refused), "EK_CHAIN");

    brings.tpm.write_nv(0x01C0_0100, &issuer).unwrap();
    house.enrolled(&brings, &[]);
    assert_eq!(house.record("BRINGS").tpm.unwrap().anchor, "swtpm");

    // A CA that lies over two indices, behind another one, and padding behind both.
    let root = house.vendor.root_der().unwrap();
    let row = [root, issuer.clone(), vec![0xff; 16]].concat();
    let (first, second) = row.split_at(700);
    split.tpm.write_nv(0x01C0_0100, first).unwrap();
    split.tpm.write_nv(0x01C0_0101, second).unwrap();
    house.enrolled(&split, &[]);

    // One flipped bit in it, and it is no link.
    let mut flipped = issuer;
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    garbled.tpm.write_nv(0x01C0_0100, &flipped).unwrap();
    let refused = report(&house.enroll(&garbled, &["--wait", "0", "-o", "json"]), 3);
    assert_eq!(reason(&refused), "EK_CHAIN");
    // A renewal brings it, too.
    assert_eq!(brings.json(&["renew", "--force"], 0)["renewed"], true);
}
