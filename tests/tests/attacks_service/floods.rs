//! D05, D06: many who ask, and few who answer.

use std::io::{Read, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use device_kit::rig::{Rig, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::{activate_raw, fresh_name};
use wire::problem::ProblemCode;

use crate::{resident, serves, sound};

/// Begin `count` challenges of these devices and answer none, over kept connections. No HTTP library: without
/// optimisation it would cost more than the server.
fn begin_only(rig: &Rig, devices: &[SoftTpm], count: usize) {
    let requests: Vec<Vec<u8>> = devices
        .iter()
        .map(|tpm| {
            let body = serde_json::to_vec(&tpm.request("device-ldevid", None, None)).unwrap();
            let head = format!(
                "POST /v1/enrollments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            [head.into_bytes(), body].concat()
        })
        .collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut stream = rig.client().connect();
                let mut answer = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    stream.write_all(&requests[number % requests.len()]).unwrap();
                    whole_answer(&mut stream, &mut answer);
                    let begin = String::from_utf8_lossy(answer.get(..12).unwrap());
                    assert_eq!(begin, "HTTP/1.1 201", "{}", String::from_utf8_lossy(&answer));
                }
            });
        }
    });
}

/// Read one answer, all of it, as far as its Content-Length goes.
fn whole_answer(stream: &mut impl Read, answer: &mut Vec<u8>) {
    answer.clear();
    let mut piece = [0; 8192];
    let mut wanted = None;
    while wanted.is_none_or(|wanted| answer.len() < wanted) {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the connection ended: {}", String::from_utf8_lossy(answer));
        answer.extend_from_slice(&piece[..read]);
        if wanted.is_none()
            && let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n")
        {
            let text = std::str::from_utf8(&answer[..head]).unwrap().to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.expect("Content-Length").trim().parse().unwrap();
            wanted = Some(head + 4 + length);
        }
    }
    assert_eq!(Some(answer.len()), wanted, "one answer, and nothing behind it");
}

/// Challenges begun and never finished leave nothing: neither rows nor memory. The bench does a million.
#[test]
fn d05_challenges_nobody_finishes() {
    const MANY: usize = 20_000;
    let rig = Rig::running();
    let devices: Vec<SoftTpm> = (0..500).map(|_| SoftTpm::p256(&rig.vendor)).collect();
    // Threads, buffers and pools get their size first.
    begin_only(&rig, &devices, 3_000);
    let rows = rig.rows();
    let before = resident(&rig);
    begin_only(&rig, &devices, MANY);
    let after = resident(&rig);
    let each = (after.saturating_sub(before) * 1024) / MANY as u64;
    assert!(
        each < 80,
        "{each} bytes stay of each challenge: {before} KiB before, {after} KiB after"
    );
    assert_eq!(rig.rows(), rows, "nothing is stored for a stranger");
    serves(&rig);
    sound(&rig);
}

/// One session, a slow key and a short deadline: whoever gets no session is told to come back, and the session is
/// there again for who comes.
#[test]
fn d06_more_signatures_wanted_than_sessions() {
    let wanted = Wanted {
        issuing: "rsa4096-pkcs1-sha256".into(),
        ..Wanted::default()
    }
    .set("hsm", "sessions", 1)
    .set("hsm", "queue_deadline", "20ms")
    .set("enrollment", "sign_deadline", "2s");
    let rig = Rig::with(&wanted);
    let asked: Vec<_> = (0..48)
        .map(|_| {
            let tpm = SoftTpm::p256(&rig.vendor);
            rig.allow(&fresh_name(), &tpm);
            let challenge = rig.client().begin(&tpm.request("device-ldevid", None, None)).unwrap();
            let answer = tpm.answer(&challenge).unwrap();
            (tpm, challenge, answer)
        })
        .collect();
    let barrier = std::sync::Barrier::new(asked.len());
    let outcomes: Vec<(u16, bool)> = std::thread::scope(|scope| {
        let threads: Vec<_> = asked
            .iter()
            .map(|(_, challenge, answer)| {
                let (client, barrier) = (rig.client(), &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let raw = activate_raw(&client, challenge.id, answer);
                    if raw.status == 503 {
                        assert_eq!(raw.problem().code, ProblemCode::SignerUnavailable);
                    }
                    let wait = raw.headers.iter().any(|(name, _)| name == "retry-after");
                    (raw.status, wait)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let served = outcomes.iter().filter(|o| o.0 == 200).count();
    let later = outcomes.iter().filter(|o| o.0 == 503 && o.1).count();
    assert_eq!(
        served + later,
        outcomes.len(),
        "served, or told when to come back: {outcomes:?}"
    );
    assert!(served > 0 && later > 0, "{served} served, {later} sent away");
    // Half of them hang up in the middle.
    for (_, challenge, answer) in asked.iter().step_by(2) {
        let body = serde_json::to_vec(answer).unwrap();
        let head = format!(
            "POST /v1/enrollments/{}/activation HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            challenge.id,
            body.len()
        );
        let mut stream = rig.client().connect();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
    }
    // Everybody comes back, as long as it takes: with the same answer, or with a new enrollment when its serial burnt.
    let deadline = Instant::now() + Duration::from_secs(60);
    for (tpm, challenge, answer) in &asked {
        loop {
            assert!(Instant::now() < deadline, "the session is there again");
            let raw = activate_raw(&rig.client(), challenge.id, answer);
            match raw.status {
                200 => break,
                202 | 503 => std::thread::sleep(Duration::from_millis(50)),
                409 => {
                    let again = rig.client().enroll(tpm, &tpm.request("device-ldevid", None, None));
                    match again {
                        Ok(_) => break,
                        Err(refused) => assert_eq!(refused.status, 503, "{refused:?}"),
                    }
                }
                other => panic!("{other}: {}", String::from_utf8_lossy(&raw.body)),
            }
        }
    }
    assert_eq!(rig.monitor("/readyz").0, 200);
    sound(&rig);
}

/// As many at work as there are places, as many waiting as may; the rest is told to come back at once.
#[test]
fn d06_more_work_than_places() {
    let wanted = Wanted::default()
        .set("limits", "concurrency", 1)
        .set("limits", "queue", 1)
        .set("limits", "queue_deadline", "50ms");
    let rig = Rig::with(&wanted);
    let tpm = SoftTpm::p256(&rig.vendor);
    let body = serde_json::to_vec(&tpm.request("device-ldevid", None, None)).unwrap();
    let barrier = std::sync::Barrier::new(32);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..32)
            .map(|_| {
                let (client, barrier, body) = (rig.client(), &barrier, &body);
                scope.spawn(move || {
                    barrier.wait();
                    [(); 4].map(|()| {
                        let raw = client.post_raw("/v1/enrollments", "application/json", body);
                        if raw.status != 201 {
                            assert_eq!(raw.problem().code, ProblemCode::Overloaded);
                            assert!(raw.headers.iter().any(|(name, _)| name == "retry-after"));
                        }
                        raw.status
                    })
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|s| matches!(s, 201 | 503)), "{statuses:?}");
    assert!(statuses.contains(&201) && statuses.contains(&503), "{statuses:?}");
    serves(&rig);
    sound(&rig);
}

/// A source that asks too often is stopped before any work is done for it; supervisors are not.
#[test]
fn d05_one_source_that_asks_too_often() {
    let rig = Rig::with(&Wanted::default().set("limits", "rate_per_source", "20/min"));
    let client = rig.client();
    let tpm = SoftTpm::p256(&rig.vendor);
    let body = serde_json::to_vec(&tpm.request("device-ldevid", None, None)).unwrap();
    let mut limited = 0;
    for number in 0..40 {
        let raw = client.post_raw("/v1/enrollments", "application/json", &body);
        if raw.status == 201 {
            assert!(number < 25, "{number}");
            continue;
        }
        assert_eq!((raw.status, raw.problem().code), (429, ProblemCode::RateLimited));
        let wait: u64 = raw
            .headers
            .iter()
            .find_map(|(name, value)| (name == "retry-after").then(|| value.parse().unwrap()))
            .expect("Retry-After");
        assert!((1..=60).contains(&wait), "{wait}");
        limited += 1;
    }
    assert!((15..=20).contains(&limited), "{limited} of 40");
    for _ in 0..50 {
        assert_eq!(client.get("/livez", "").status, 200);
    }
    assert_eq!(rig.monitor("/readyz").0, 200);
    // Another address of the same machine is another source.
    assert!(another_source_is_served(&rig, &body));
    sound(&rig);
}

fn another_source_is_served(rig: &Rig, body: &[u8]) -> bool {
    let mut stream = rig.client().connect_from([127, 0, 0, 2]);
    let head = format!(
        "POST /v1/enrollments HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    answer.ends_with(b"201")
}
