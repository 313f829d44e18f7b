//! After the end of a certificate: the same keys, the same state directory, a new certificate.

use std::time::{Duration, Instant};

use crate::device::{AgentDevice, House, errors};
use crate::proxy::{Fault, Proxy};

/// A CA whose device-ldevid certificates live for seconds.
pub(crate) fn hasty(lifetime: &str) -> House {
    let mut house = House::new();
    let folder = house.rig.path("profiles");
    std::fs::create_dir(&folder).unwrap();
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/profiles");
    for entry in std::fs::read_dir(ours).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let short = if path.ends_with("device-ldevid.toml") {
            let lifetime = format!("lifetime = \"{lifetime}\"\nbackdate = \"1s\"");
            let short = text.replace("lifetime = \"365d\"", &lifetime);
            assert_ne!(short, text);
            short
        } else {
            text
        };
        std::fs::write(folder.join(path.file_name().unwrap()), short).unwrap();
    }
    let _ = house.rig.stop();
    house
        .rig
        .configure(&[("policy".into(), "profiles".into(), "profiles".into())]);
    house.rig.start();
    house
}

/// Ask until the device says that its certificate has ended.
fn until_expired(device: &AgentDevice) -> serde_json::Value {
    let begin = Instant::now();
    loop {
        let output = device.agent(&["status", "-o", "json"]);
        match output.status.code() {
            Some(3) => return serde_json::from_slice(&output.stdout).unwrap(),
            Some(0) => std::thread::sleep(Duration::from_millis(100)),
            other => panic!("{other:?}: {}", errors(&output)),
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it never ends");
    }
}

#[test]
fn an_expired_device_enrolls_again_with_the_same_keys() {
    let house = hasty("15s");
    let device = house.device("AGAIN");
    let first = house.enrolled(&device, &[]);
    assert_eq!(first["already"], false);
    let (certificate, key, ak) = (
        device.certificate("cert.pem"),
        device.read("key.tss2.pem"),
        device.read("ak.tss2.pem"),
    );
    // While it lives, nothing new is asked for.
    assert_eq!(house.enrolled(&device, &[])["already"], true);
    assert_eq!(house.record("AGAIN").certificates.len(), 1);

    let status = until_expired(&device);
    assert_eq!(status["state"], "expired");
    assert!(status["next"].as_str().unwrap().contains("the same keys"), "{status:#}");
    let doctor = device.json(&["doctor"], 3);
    let checks = doctor["checks"].as_array().unwrap();
    let red = checks.iter().find(|c| c["check"] == "certificate").unwrap();
    assert_eq!(red["ok"], false, "{doctor:#}");

    // Neither server nor pin is said again: the state directory knows them.
    let second = device.json(&["enroll"], 0);
    assert_eq!(second["already"], false);
    assert_eq!((device.read("key.tss2.pem"), device.read("ak.tss2.pem")), (key, ak));
    let renewed = device.certificate("cert.pem");
    assert_ne!(
        renewed.serial_number().to_bn().unwrap(),
        certificate.serial_number().to_bn().unwrap()
    );
    assert!(renewed.not_after() > certificate.not_after());
    assert!(
        renewed
            .public_key()
            .unwrap()
            .public_eq(&certificate.public_key().unwrap())
    );
    assert_eq!(house.record("AGAIN").certificates.len(), 2);
    house.openssl_verifies(&device, "cert.pem");
    assert!(!device.path("activation.json").exists());
    // Another wish is still another identity.
    until_expired(&device);
    let other = house.enroll(&device, &["--profile", "service"]);
    assert_eq!(other.status.code(), Some(2), "{}", errors(&other));
}

/// The answer was lost, and its certificate ended before the device was switched on again.
#[test]
fn an_answer_that_came_too_late_is_asked_for_anew() {
    let house = hasty("15s");
    let device = house.device("LATE");
    let proxy = Proxy::to(house.rig.public(), device.path("activation.json"));
    let line = house.at(&proxy.url());
    let line: Vec<&str> = line.iter().map(String::as_str).chain(["--wait", "0"]).collect();
    proxy.arm(Fault::Answer);
    let lost = device.agent(&line);
    assert!(proxy.wait() == Fault::Answer);
    assert_eq!(lost.status.code(), Some(7), "{}", errors(&lost));
    let issued = house.record("LATE").certificates.remove(0);
    assert!(device.path("activation.json").exists());
    let begin = Instant::now();
    let now = || {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        i64::try_from(since.as_secs()).unwrap()
    };
    while now() <= issued.not_after {
        assert!(begin.elapsed() < Duration::from_secs(60), "it never ends");
        std::thread::sleep(Duration::from_millis(100));
    }
    let again = device.agent(&line);
    assert_eq!(again.status.code(), Some(0), "{}", errors(&again));
    assert_eq!(house.record("LATE").certificates.len(), 2);
    let held = device.certificate("cert.pem").to_der().unwrap();
    assert_ne!(issued.certificate.unwrap().0, held);
    assert!(!device.path("activation.json").exists());
}
