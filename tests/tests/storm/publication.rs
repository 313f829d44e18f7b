//! What is published, while those who publish die: a witness at each stage of its cosignature.

use device_kit::clients::until;
use device_kit::rig::Wanted;
use device_kit::trial::played;
use failpoint::Point;
use serde_json::json;

use crate::kill::{Blow, is_of_a_witness};
use crate::play::Storm;

/// Where orders stand.
const VARIABLE: &str = "HOLDFAST_FAILPOINT";

/// F01: a witness is killed at each of its points while a CA shows it checkpoints. It comes back, remembers what it signed,
/// and the ledger goes on.
#[test]
fn f01_a_witness_is_killed_at_every_point() {
    let mut storm = Storm::publishing(Wanted::default(), "SQLite", 1);
    storm.supplied(2);
    storm.up();
    let points: Vec<Point> = Point::ALL
        .iter()
        .copied()
        .filter(|point| is_of_a_witness(*point))
        .collect();
    for point in &points {
        let mut witness = storm.house.witness.take().unwrap();
        witness.kill();
        witness.environment(vec![(VARIABLE.to_owned(), format!("{}:kill", point.name()))]);
        witness.go_on();
        storm.work_is_given();
        storm.loaded(Blow::Anywhere(0));
        until("it dies", || !witness.is_alive());
        let what = format!("witness, {}", point.name());
        storm.journal.note(&json!({"kind": "fault", "what": what}));
        witness.kill();
        witness.environment(Vec::new());
        witness.go_on();
        storm.house.witness = Some(witness);
        storm.everybody_persists();
        storm.house.rig.every_leaf_is_signed();
    }
    assert_eq!(points.len(), 3);
    storm.all_is_well();
    played("f01_a_witness_is_killed_at_every_point", 3);
}
