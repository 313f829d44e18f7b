//! docs/how-to/manifest.md, as written, with a real TPM.

use std::process::Command;

use device_kit::rig::binary;

use crate::device::{AgentDevice, House};

#[test]
fn the_page_works_as_written() {
    let page = include_str!("../../../docs/how-to/manifest.md");
    let mut house = House::new();
    let device = AgentDevice::new(&house.vendor);
    let bench = tempfile::tempdir().unwrap();
    let tools = binary("ca-cli");
    let path = format!(
        "{}:{}",
        tools.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let ek = device.ek_sha256("auto");
    let blocks: Vec<(&str, &str)> = page
        .split("```sh run ")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().split_once('\n').unwrap())
        .collect();
    assert_eq!(blocks.len(), 5);
    let root = house.root_sha256();
    let rig = &mut house.rig;
    let mut said = String::new();
    for (number, (who, block)) in blocks.into_iter().enumerate() {
        if number == 3 {
            assert!(page.contains("[manifests]\nsigners = [\"manifest-key.pem\"]"));
            std::fs::copy(bench.path().join("manifest-key.pem"), rig.path("manifest-key.pem")).unwrap();
            let _ = rig.stop();
            let folders = toml::Value::from(vec!["trust/intermediates"]);
            rig.configure(&[
                ("manifests".into(), "signers".into(), vec!["manifest-key.pem"].into()),
                ("trust".into(), "intermediates".into(), folders),
            ]);
            rig.start();
        }
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", block])
            .current_dir(bench.path())
            .env("PATH", &path)
            .env("LC_ALL", "C.UTF-8")
            .env("SOFTHSM2_CONF", rig.path("softhsm2.conf"))
            .env("HOLDFAST_ADMIN_SOCKET", rig.path("admin.sock"))
            .env("MODULE", "/usr/lib/softhsm/libsofthsm2.so")
            .env("TOKEN", "holdfast-issuing")
            .env("PIN_FILE", rig.path("secrets/issuing.pin"))
            .env("EK_1", &ek)
            .env("EK_2", "ab".repeat(32))
            .stdin(std::process::Stdio::null());
        if who == "device" {
            shell
                .env("CA_AGENT_TCTI", device.tpm.tcti())
                .env("CA_AGENT_STATE_DIR", device.state())
                .env("SERVER", rig.url())
                .env("ROOT_SHA256", root.clone());
        }
        let output = shell.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{who}: {block}\n{errors}");
        said.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    for words in ["2 devices of lot 2026-47-B", "are expected", "complete"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let device = rig.device("GW-7F3K-00412").unwrap();
    assert_eq!(
        (device.state.as_str(), device.batch.as_deref()),
        ("active", Some("2026-47-B"))
    );
}
