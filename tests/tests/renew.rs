//! Renewal over real TLS: what the handshake proves, what it does not, and what is there after a crash.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Barrier;

use attest::KeyAlgorithm;
use device_kit::der::utc_time;
use device_kit::keys::{Shape, SoftKey};
use device_kit::rig::{Client, Refused, Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::vendor::{Content, VendorCa, random_serial};
use wire::enrollment::EnrollmentResult;
use wire::problem::ProblemCode;

fn enrolled(rig: &Rig, name: &str) -> (SoftTpm, Vec<u8>) {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(name, &tpm);
    let result = rig.client().enroll(&tpm, &tpm.request("device-ldevid", None, None));
    (tpm, only(&result.unwrap()))
}

fn only(result: &EnrollmentResult) -> Vec<u8> {
    assert_eq!(result.certificates.len(), 1);
    result.certificates[0].certificate.0.clone()
}

fn code<T>(outcome: Result<T, Refused>) -> ProblemCode {
    match outcome {
        Ok(_) => panic!("not refused"),
        Err(refused) => refused.problem.code,
    }
}

/// What the audit file says of a refusal.
fn reason<T>(rig: &Rig, outcome: Result<T, Refused>) -> String {
    let Err(refused) = outcome else { panic!("not refused") };
    let incident = refused.problem.incident.unwrap();
    rig.audit_file(&incident).remove(0).reason
}

#[test]
fn honest_devices_renew_and_thieves_do_not() {
    let rig = Rig::running();
    let (tpm, certificate) = enrolled(&rig, "gw-1");
    let shows = |key: &SoftKey| rig.client().showing(&certificate, key);

    // Without a certificate in TLS there is nothing to renew.
    assert_eq!(code(rig.client().begin_renewal()), ProblemCode::CertificateRequired);
    // A certificate of one's own making, with the subject and serial of the real one or any other.
    let forger = VendorCa::root("Forger");
    let own = SoftKey::generate(Shape::identity(KeyAlgorithm::P256));
    let real = openssl::x509::X509::from_der(&certificate).unwrap();
    for serial in [real.serial_number().to_bn().unwrap().to_vec(), random_serial()] {
        let content = Content {
            serial,
            subject: real.subject_name().to_der().unwrap(),
            not_before: utc_time("260101000000Z"),
            not_after: utc_time("400101000000Z"),
            spki: own.spki.clone(),
            extensions: Vec::new(),
        };
        let forged = forger.certify(&content);
        let refused = rig.client().showing(&forged, &own).begin_renewal();
        assert_eq!(code(refused), ProblemCode::CertificateRequired);
    }

    // The thief has the certificate and its key, and a TPM of his own that the inventory knows.
    let (thief, _) = enrolled(&rig, "gw-2");
    let client = shows(&tpm.identity);
    let challenge = client.begin_renewal().unwrap();
    assert!(
        thief.answer_renewal(&challenge, &certificate, &tpm.identity).is_err(),
        "his TPM cannot open the credential"
    );
    let mut answer = tpm.answer_renewal(&challenge, &certificate, &tpm.identity).unwrap();
    answer.secret = vec![0; 32].into();
    let refused = client.activate_renewal(challenge.id, &answer);
    assert_eq!(reason(&rig, refused), "ACT_SECRET");
    // All else was right: with the secret of the TPM, the same answer renews.
    let answer = tpm.answer_renewal(&challenge, &certificate, &tpm.identity).unwrap();
    let second = only(&client.activate_renewal(challenge.id, &answer).unwrap());

    // Replaced, now. The newer one goes on, on a new key.
    assert_eq!(code(client.begin_renewal()), ProblemCode::CertificateReplaced);
    let key = SoftKey::generate(Shape::identity(KeyAlgorithm::P256));
    let client = rig.client().showing(&second, &tpm.identity);
    let third = only(&client.renew(&tpm, &second, &key).unwrap());
    // The key of the handshake is the certificate's: the old key does not go with it.
    let broken = std::panic::catch_unwind(|| rig.client().showing(&third, &tpm.identity).begin_renewal());
    assert!(broken.is_err() || broken.is_ok_and(|outcome| outcome.is_err()));
    rig.client().showing(&third, &key).begin_renewal().unwrap();
}

/// A session that is resumed shows no certificate: whoever has the ticket need not have the key.
#[test]
fn a_resumed_session_renews_nothing() {
    let rig = Rig::running();
    let (tpm, certificate) = enrolled(&rig, "gw-1");
    let at = |name: &str| rig.dir.path().join(name).display().to_string();
    let pem = openssl::x509::X509::from_der(&certificate).unwrap().to_pem().unwrap();
    std::fs::write(at("shown.pem"), pem).unwrap();
    let key = tpm.identity.openssl().unwrap().private_key_to_pem_pkcs8().unwrap();
    std::fs::write(at("shown.key"), key).unwrap();
    let ask = |session: [&str; 2]| {
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &rig.public().to_string(), "-tls1_3", "-ign_eof"])
            .args(["-cert", &at("shown.pem"), "-key", &at("shown.key")])
            .args(session)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let text = "POST /v1/renewals HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                    content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        let mut input = child.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(input);
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let first = ask(["-sess_out", &at("session")]);
    assert!(
        first.contains("HTTP/1.1 201") && first.contains("\nNew, TLSv1.3"),
        "{first}"
    );
    let second = ask(["-sess_in", &at("session")]);
    assert!(
        second.contains("\nReused, TLSv1.3"),
        "the server resumes sessions: {second}"
    );
    assert!(
        second.contains("HTTP/1.1 403") && second.contains("certificate_required"),
        "{second}"
    );
}

// P05: the first request after a restart, too.
#[test]
fn what_people_revoked_is_refused_at_once_and_after_a_restart() {
    let mut rig = Rig::running();
    let (tpm, certificate) = enrolled(&rig, "gw-1");
    let serial = hex::encode(
        openssl::x509::X509::from_der(&certificate)
            .unwrap()
            .serial_number()
            .to_bn()
            .unwrap()
            .to_vec(),
    );
    let client = rig.client().showing(&certificate, &tpm.identity);
    let open = client.begin_renewal().unwrap();
    let _ = rig.cli_json(&["revoke", &serial, "--reason", "keyCompromise"]);
    assert_eq!(code(client.begin_renewal()), ProblemCode::CertificateRevoked);
    let answer = tpm.answer_renewal(&open, &certificate, &tpm.identity).unwrap();
    assert_eq!(
        code(client.activate_renewal(open.id, &answer)),
        ProblemCode::CertificateRevoked
    );
    rig.kill();
    rig.start();
    let client = rig.client().showing(&certificate, &tpm.identity);
    assert_eq!(code(client.begin_renewal()), ProblemCode::CertificateRevoked);
    assert_eq!(rig.device("gw-1").unwrap().certificates.len(), 1);
}

// A15, D09
#[test]
fn two_servers_renew_one_certificate_once() {
    let rig = Rig::with(&Wanted::postgres());
    let second = rig.replica("second");
    for round in 0..20 {
        let name = format!("gw-{round}");
        let (tpm, certificate) = enrolled(&rig, &name);
        let clients = [rig.client(), second.client()].map(|c| c.showing(&certificate, &tpm.identity));
        let barrier = Barrier::new(2);
        let run = |client: &Client| {
            let challenge = client.begin_renewal().unwrap();
            let answer = tpm.answer_renewal(&challenge, &certificate, &tpm.identity).unwrap();
            barrier.wait();
            client.activate_renewal(challenge.id, &answer)
        };
        let outcomes = std::thread::scope(|scope| {
            let other = scope.spawn(|| run(&clients[1]));
            [run(&clients[0]), other.join().unwrap()]
        });
        assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
        let refused = outcomes.into_iter().find_map(Result::err).unwrap();
        assert!(
            matches!(
                refused.problem.code,
                ProblemCode::CertificateReplaced | ProblemCode::SignerUnavailable
            ),
            "{refused:?}"
        );
        assert_eq!(rig.device(&name).unwrap().certificates.len(), 2);
    }
}

// S01: killed at some moment of a renewal, many times: whoever asks again has one identity, and nothing is signed twice.
#[test]
fn killed_while_it_renews_nothing_is_doubled() {
    let mut rig = Rig::running();
    let (tpm, mut certificate) = enrolled(&rig, "gw-1");
    let (mut renewals, mut orphans) = (0, 0);
    for round in 0..8_u64 {
        let client = rig.client().showing(&certificate, &tpm.identity);
        let challenge = client.begin_renewal().unwrap();
        let answer = tpm.answer_renewal(&challenge, &certificate, &tpm.identity).unwrap();
        let path = format!("/v1/renewals/{}/activation", challenge.id);
        let body = serde_json::to_vec(&answer).unwrap();
        let heard = std::thread::scope(|scope| {
            let sent = scope.spawn(|| client.try_post(&path, &body));
            std::thread::sleep(std::time::Duration::from_millis(round * 2));
            rig.server().strike();
            sent.join().unwrap()
        });
        rig.kill();
        rig.start();
        let client = rig.client().showing(&certificate, &tpm.identity);
        // The same again: what was heard before, or what was recorded, or that its outcome is lost, or for the first time.
        let again: Result<EnrollmentResult, Refused> = client.post(&path, &answer);
        match again {
            Ok(result) => {
                if let Ok(raw) = heard
                    && raw.status == 200
                {
                    let first: EnrollmentResult = serde_json::from_slice(&raw.body).unwrap();
                    assert_eq!(only(&first), only(&result));
                }
                certificate = only(&result);
                renewals += 1;
            }
            Err(refused) => {
                assert_eq!(refused.problem.code, ProblemCode::StateConflict, "{refused:?}");
                orphans += 1;
                certificate = only(&client.renew(&tpm, &certificate, &tpm.identity).unwrap());
                renewals += 1;
            }
        }
        let record = rig.device("gw-1").unwrap();
        let count = |state: &str| record.certificates.iter().filter(|c| c.state == state).count();
        assert_eq!((count("issued"), count("orphan")), (1 + renewals, orphans));
        assert_eq!(record.certificates.len(), 1 + renewals + orphans);
    }
}
