//! F10: between a server and PostgreSQL bytes are late or lost, one way or the other, and no connection ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use device_kit::proxy::Trouble;
use device_kit::rig::Wanted;
use device_kit::trial::played;
use serde_json::json;

use crate::kill::Blow;
use crate::play::Storm;

/// How long each lasts: longer than anything on the server waits for a connection.
const LASTS: Duration = Duration::from_secs(7);

/// F10: slow by five seconds an answer; deaf; mute; torn in the middle of an answer. Whoever asks meanwhile is told *later* and
/// nothing else, is told so in time, and what was committed and not heard of is found by reading back.
#[test]
fn f10_the_network_to_the_database_is_slow_and_loses_what_is_said() {
    let mut storm = Storm::still(Wanted::postgres(), "PostgreSQL", 1);
    storm.supplied(4);
    storm.up();
    let mut trials = 0;
    for trouble in [
        Trouble::Slow(Duration::from_secs(5)),
        Trouble::Deaf,
        Trouble::Mute,
        Trouble::Torn,
        Trouble::Slow(Duration::from_millis(150)),
    ] {
        storm.supplied(2);
        storm.up();
        let pid = storm.house.rig.pid();
        storm.work_is_given();
        storm.house.proxy(0).trouble(trouble);
        let begun = Instant::now();
        let touched = std::thread::scope(|scope| {
            let proxy = Arc::clone(storm.house.proxy(0));
            let healed = scope.spawn(move || {
                std::thread::sleep(LASTS);
                proxy.heal()
            });
            storm.loaded(Blow::Anywhere(0));
            healed.join().unwrap()
        });
        assert!(touched > 0, "{trouble:?}: nobody asked the database");
        // Nobody was left without a word until a client gave up: it is a minute until then.
        assert!(
            begun.elapsed() < Duration::from_secs(45),
            "{trouble:?}: {:?}",
            begun.elapsed()
        );
        let what = format!("database-network {trouble:?}");
        storm.journal.note(&json!({"kind": "fault", "what": what}));
        assert!(storm.house.rig.is_alive(), "{trouble:?}: {}", storm.house.rig.log());
        storm.everybody_persists();
        assert_eq!(storm.house.rig.pid(), pid, "{trouble:?}: it went on by itself");
        assert!(storm.house.rig.server().metric("ca_panics_total") < 1.0);
        storm.relying_parties_look();
        trials += 1;
    }
    storm.all_is_well();
    played("f10_the_network_to_the_database_is_slow_and_loses_what_is_said", trials);
}
