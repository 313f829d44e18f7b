//! L01: what stands in the memory of a running server, and so in a core, in swap, or in what a debugger reads.

use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};

use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::{fresh_name, places};

/// All that the process can write to, and may have left something in; `None` where the kernel shows it to root alone.
fn memory(pid: u32) -> Option<Vec<u8>> {
    let mut file = match std::fs::File::open(format!("/proc/{pid}/mem")) {
        Ok(file) => file,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(!rustix::process::geteuid().is_root(), "root reads everything");
            return None;
        }
    };
    let mut all = Vec::new();
    for line in std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        if !rest.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        file.seek(SeekFrom::Start(start)).unwrap();
        let mut mapping = Vec::new();
        // A mapping that went away meanwhile holds nothing any more.
        let _ = (&mut file).take(end - start).read_to_end(&mut mapping);
        // Most of it was never touched.
        for page in mapping.chunks(4096) {
            if *page != [0; 4096] {
                all.extend_from_slice(page);
            }
        }
    }
    assert!(all.len() > 1 << 20, "this is not all of it");
    Some(all)
}

/// The seal key is in use and so it is there, in one place; of the others there is none.
fn holds_only(memory: &[u8], seal: &[u8], others: &[Vec<u8>], when: &str) {
    let all: Vec<&[u8]> = others.iter().map(Vec::as_slice).chain([seal]).collect();
    let found = places(memory, &all);
    let seals = found.iter().filter(|at| memory[**at..].starts_with(seal)).count();
    assert_eq!(
        (seals, found.len()),
        (1, 1),
        "{when}: {seals} seal keys of {} secrets",
        found.len()
    );
}

fn secret(rig: &Rig, file: &str) -> Vec<u8> {
    std::fs::read_to_string(rig.path(file))
        .unwrap()
        .trim()
        .as_bytes()
        .to_vec()
}

#[test]
fn l01_no_secret_is_left_in_memory() {
    let wanted = Wanted::default()
        .set("hsm", "login_backoff", "1s")
        .set("hsm", "probe_interval", "1s")
        .set("log", "level", "trace");
    let rig = Rig::with(&wanted);
    let pins = ["issuing.pin", "issuing.so-pin", "root.pin", "root.so-pin"]
        .map(|file| secret(&rig, &format!("secrets/{file}")));
    let seal = hex::decode(secret(&rig, "seal.key")).unwrap();
    let Some(started) = memory(rig.pid()) else { return };
    holds_only(&started, &seal, &pins, "after the login");

    // Questions that are open: no secret is here, so that who reads this memory cannot answer in place of the TPM.
    let client = rig.client();
    let tpms: Vec<SoftTpm> = (0..40).map(|_| SoftTpm::p256(&rig.vendor)).collect();
    let mut answers = Vec::new();
    for tpm in &tpms {
        rig.allow(&fresh_name(), tpm);
        let challenge = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
        answers.push((challenge.id, tpm.answer(&challenge).unwrap()));
    }
    let secrets: Vec<Vec<u8>> = answers.iter().map(|(_, answer)| answer.secret.0.clone()).collect();
    let begun = memory(rig.pid()).unwrap();
    holds_only(&begun, &seal, &secrets, "while questions are open");

    // Signatures, and a token that was away: the PIN was needed again.
    for (id, answer) in answers.iter().take(20) {
        client.activate(*id, answer).unwrap();
    }
    std::fs::rename(rig.path("tokens"), rig.path("away")).unwrap();
    let (id, answer) = answers.last().unwrap();
    assert_eq!(client.activate(*id, answer).unwrap_err().status, 503);
    std::fs::rename(rig.path("away"), rig.path("tokens")).unwrap();
    crate::serves_again(&rig);
    let healed = memory(rig.pid()).unwrap();
    // A secret that was answered opens nothing any more; its request may still stand in a buffer of the connection.
    let open = [&pins[..], &secrets[20..39]].concat();
    holds_only(&healed, &seal, &open, "after another login");
}
