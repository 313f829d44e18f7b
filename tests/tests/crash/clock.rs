//! S09, K10: the clock goes wrong under a running server, and before its start.

use device_kit::postgres;
use device_kit::rig::{Client, Raw, Rig, Wanted};
use wire::problem::ProblemCode;

use crate::load::{Enrollee, Journal, Step, all_persist, until};
use crate::record::holds;

/// The first call of a device, as sent.
fn begin_raw(client: &Client, enrollee: &Enrollee) -> Raw {
    let body = serde_json::to_vec(&enrollee.tpm.request(crate::load::PROFILE, None, None)).unwrap();
    client.try_post("/v1/enrollments", &body).unwrap()
}

fn activate_raw(client: &Client, enrollee: &mut Enrollee) -> Raw {
    let current = enrollee.current().unwrap();
    client
        .try_post(&format!("/v1/enrollments/{}/activation", current.id), &current.body)
        .unwrap()
}

fn refused(raw: &Raw, code: ProblemCode) {
    let problem = raw.problem();
    assert_eq!((raw.status, problem.code), (code.status(), code), "{problem:?}");
    if raw.status == 503 {
        assert!(raw.header("retry-after").is_some());
    }
}

/// Two days back while it serves: nothing is issued, nothing recorded, what was issued is served, and with the clock
/// right again all goes on. Two days back before the start: it does not start.
#[test]
fn s09_the_clock_is_set_back() {
    let mut rig = Rig::initialised(&Wanted::default());
    let clock = rig.fake_clock();
    rig.start();
    let (client, journal) = (rig.client(), Journal::default());
    let mut enrollees = Enrollee::allowed(&rig, 2);
    let [served, waiting] = enrollees.as_mut_slice() else {
        panic!("two");
    };
    served.begin(&client, &journal);
    assert_eq!(served.activate(&client, &journal), Step::Done);
    waiting.begin(&client, &journal);
    let rows = rig.rows();

    clock.moved("-2d");
    refused(&begin_raw(&client, waiting), ProblemCode::Halted);
    refused(&activate_raw(&client, waiting), ProblemCode::Halted);
    let (status, said) = rig.monitor("/readyz?verbose");
    assert_eq!(status, 503, "{said}");
    assert!(said.contains("[-] clock"), "{said}");
    assert_eq!(rig.rows(), rows, "nothing is recorded under a wrong clock");
    assert_eq!(
        served.activate(&client, &journal),
        Step::Done,
        "what was issued is served"
    );

    assert_eq!(rig.stop(), Some(0));
    let output = rig.refuses_to_start();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("the clock stands before the newest record"), "{said}");

    clock.moved("+0");
    rig.start();
    let client = rig.client();
    clock.moved("-2d");
    until("it notices", || rig.monitor("/readyz").0 == 503);
    refused(&activate_raw(&client, waiting), ProblemCode::Halted);
    clock.moved("+0");
    // Without a restart.
    until("ready again", || rig.monitor("/readyz").0 == 200);
    all_persist(&[client], &mut enrollees, &journal);
    assert_eq!(
        enrollees.iter().map(|e| e.tries.len()).sum::<usize>(),
        2,
        "the same questions"
    );
    holds(&rig, &mut enrollees, None);
}

/// A challenge that has expired stays so when the clock goes back: here within what is tolerated, and at a second
/// server whose clock was never wrong.
#[test]
fn s09_an_expired_challenge_is_not_revived() {
    let database = postgres::shared().unwrap().database().unwrap();
    let wanted = Wanted {
        database,
        ..Wanted::default()
    };
    let mut rig = Rig::initialised(&wanted.set("enrollment", "sign_deadline", "2s"));
    let clock = rig.fake_clock();
    rig.start();
    let (client, journal) = (rig.client(), Journal::default());
    let mut enrollees = Enrollee::allowed(&rig, 2);
    let [late, other] = enrollees.as_mut_slice() else {
        panic!("two");
    };
    late.begin(&client, &journal);
    clock.moved("+4m");
    refused(&activate_raw(&client, late), ProblemCode::ChallengeExpired);
    // A record of this time, for the second server to see.
    other.begin(&client, &journal);
    assert_eq!(other.activate(&client, &journal), Step::Done);
    clock.moved("+0");
    refused(&activate_raw(&client, late), ProblemCode::ChallengeExpired);
    rig.around.environment.clear();
    let second = rig.replica("second");
    refused(&activate_raw(&second.client(), late), ProblemCode::ChallengeExpired);
    late.tries.clear();
    all_persist(&[second.client()], &mut enrollees, &journal);
    holds(&rig, &mut enrollees, None);
}
