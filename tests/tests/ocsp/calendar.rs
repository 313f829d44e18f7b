//! Leap days, ends of years, 2038, 2049: what is said, and that the delegate is there on each of them.

use device_kit::rig::{Rig, Wanted};
use issuance::ocsp::CertStatus;

use crate::kit::{Leaf, answering, ask, issuer, status};

/// A CA made now, moved to each of these days; nothing but the calendar changes.
#[test]
fn answers_on_the_days_that_others_stumbled_over() {
    let mut rig = Rig::initialised(&answering(Wanted::default()));
    let clock = rig.fake_clock();
    let now = i64::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap();
    for (day, at) in [
        ("2027-12-31T23:59:50Z", 1_830_297_590),
        ("2028-02-29T12:00:00Z", 1_835_438_400),
        ("2032-02-29T23:59:55Z", 1_961_711_995),
    ] {
        if at < now {
            continue;
        }
        clock.moved(&format!("+{}s", at - now));
        rig.start();
        let issuer = issuer(&rig);
        let leaf = Leaf::of(&rig, &format!("device-{at}"));
        let answer = ask(status(rig.server()), &issuer, &leaf).unwrap();
        assert_eq!(answer.status(leaf.serial), Some(CertStatus::Good), "{day}");
        let (this, next) = (answer.this_update().0, answer.next_update().0);
        assert!((at..at + 120).contains(&this), "{day}: {this}");
        assert_eq!(next - this, 12 * 3600, "{day}");
        let _ = rig.cli_json(&["revoke", &leaf.hex, "--reason", "superseded"]);
        let answer = ask(status(rig.server()), &issuer, &leaf).unwrap();
        let Some(CertStatus::Revoked { since, .. }) = answer.status(leaf.serial) else {
            panic!("{day}: not revoked")
        };
        assert!((at..=answer.this_update().0).contains(&since.0), "{day}");
        rig.stop();
    }
    let delegates = rig.sql("SELECT count(*) FROM certificate WHERE profile = 'ocsp'");
    assert_eq!(delegates, "3", "one for each of the days");
}
