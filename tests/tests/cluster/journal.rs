//! What the independent reader says in the end.

use device_kit::clients::Read;
pub(crate) use device_kit::clients::{Journal, now};
use device_kit::rig::{Rig, Shim};

use crate::until;

/// Nothing is open any more, and no invariant is violated.
pub(crate) fn holds(rig: &Rig, shim: &Shim, journal: &Journal, database: &str) {
    until("no intent is left open", || rig.open_intents() == 0);
    rig.every_leaf_is_signed();
    let read = Read {
        database: database.into(),
        shim: shim.record().to_owned(),
        journal: journal.path().to_owned(),
        chain: rig.path("ca/chain.pem"),
        signed_before: None,
        published: None,
        signatures: true,
    };
    let verdict = read.verdict();
    println!("{}", verdict.text);
    assert!(verdict.violations.is_empty(), "{:#?}", verdict.violations);
}
