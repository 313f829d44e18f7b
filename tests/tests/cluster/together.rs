//! Three servers are one CA.

use std::sync::Barrier;

use device_kit::rig::{Order, Wanted};
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::fresh_name;
use serde_json::json;
use wire::enrollment::EnrollmentResult;

use crate::device::{Device, PROFILE, under_load};
use crate::journal::{holds, now};
use crate::three::Three;
use crate::until;

/// F16: whoever asked, any other hears the answer, and says the same again. The same answer at all three at once gives one
/// certificate.
#[test]
fn f16_the_same_request_to_three_servers() {
    let three = Three::on(Wanted::postgres());
    let clients = three.one_at_each();
    // At which server it begins, and where the answer goes: at one, and then at the other two; or to all at once.
    for (begins, ends) in (0..3).flat_map(|a| (0..4).map(move |b| (a, b))) {
        let (name, tpm) = (fresh_name(), SoftTpm::p256(&three.rig.vendor));
        three.with(ends % 3, |s| s.allow(&name, &tpm));
        let challenge = clients[begins].begin(&tpm.request(PROFILE, None, None)).unwrap();
        let body = serde_json::to_vec(&tpm.answer(&challenge).unwrap()).unwrap();
        let path = format!("/v1/enrollments/{}/activation", challenge.id);
        let answers: Vec<Vec<u8>> = if ends < 3 {
            [ends, (ends + 1) % 3, (ends + 2) % 3]
                .map(|at| clients[at].post_raw(&path, "application/json", &body))
                .into_iter()
                .map(|raw| {
                    assert_eq!(raw.status, 200, "{}", String::from_utf8_lossy(&raw.body));
                    raw.body
                })
                .collect()
        } else {
            let barrier = Barrier::new(3);
            std::thread::scope(|scope| {
                let asking: Vec<_> = clients
                    .iter()
                    .map(|client| {
                        let (barrier, path, body) = (&barrier, &path, &body);
                        scope.spawn(move || {
                            barrier.wait();
                            loop {
                                let raw = client.post_raw(path, "application/json", body);
                                match raw.status {
                                    200 => return raw.body,
                                    // Another one is at it.
                                    202 => std::thread::yield_now(),
                                    other => panic!("{other}: {}", String::from_utf8_lossy(&raw.body)),
                                }
                            }
                        })
                    })
                    .collect();
                asking.into_iter().map(|one| one.join().unwrap()).collect()
            })
        };
        assert!(answers.iter().all(|one| *one == answers[0]), "all say the same");
        let result: EnrollmentResult = serde_json::from_slice(&answers[0]).unwrap();
        assert_eq!((&result.device, result.certificates.len()), (&name, 1));
        let certificate = &result.certificates[0];
        three.journal.note(&json!({
            "kind": "issued", "device": name, "asked_by": name, "enrollment": hex::encode(challenge.id.0),
            "renewal": false, "certificate": hex::encode(&certificate.certificate.0),
            "leaf": certificate.ledger.as_ref().map(|receipt| hex::encode(&receipt.entry.0)), "ended": now(),
        }));
    }
    let count = three
        .rig
        .sql("SELECT count(*) FROM certificate WHERE device_id IS NOT NULL");
    assert_eq!(count, "12", "one for each device");
    holds(&three.rig, &three.shim, &three.journal, &three.database);
}

/// F01, S01: under load through the balancer the servers are killed one by one and started again; one ends as it is asked to;
/// one is lied to by its token, halts, and is taken out. Nothing is lost, doubled or said otherwise.
#[test]
fn three_servers_go_one_by_one() {
    let three = Three::on(Wanted::postgres());
    let devices = three.with(0, |server| Device::allowed(&three.rig, server, 40));
    let more = |count: usize| {
        three.answers(count);
        three.look();
    };
    under_load(&three, &three.journal, devices, || {
        for number in 0..3 {
            more(6);
            three.kill(number);
            three.taken_out(number);
            more(6);
            three.start(number);
            three.in_again(number);
        }
        // One that ends as it should takes nobody's answer with it.
        more(3);
        assert_eq!(three.stop(1), Some(0));
        three.taken_out(1);
        more(6);
        three.start(1);
        three.in_again(1);
        // Whichever signs next hears a lie.
        three.shim.order(0, Order::Flip(77));
        until("one halts", || !three.shim.waits());
        let halted = || (0..3).find(|n| three.with(*n, |s| s.monitor("/readyz?verbose").1.contains("[-] halt")));
        until("one says so", || halted().is_some());
        let halted = halted().unwrap();
        three.taken_out(halted);
        more(6);
        three.kill(halted);
        three.start(halted);
        three.in_again(halted);
        more(6);
    });
    assert!(three.journal.lost() > 0, "under load");
    for number in 0..3 {
        three.with(number, |server| {
            assert!(server.metric("ca_panics_total") < 1.0, "{}", server.log());
            assert!(!server.log().contains("defect"), "{}", server.log());
        });
    }
    holds(&three.rig, &three.shim, &three.journal, &three.database);
}
