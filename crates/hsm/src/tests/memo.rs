//! What the token remembers, while several servers write and forget it.

use std::time::SystemTime;

use super::kit::{self, open};

/// Later is more.
fn moment() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    format!("{:024}", since.as_nanos())
}

#[test]
fn what_is_remembered_is_found_while_others_remember_more() {
    kit::crowd(
        |home| drop(home.token("ca")),
        |home| {
            let token = open(home.config("ca"));
            for _ in 0..60 {
                let mine = moment();
                let outlived = |old: &[u8]| old < mine.as_bytes();
                token.remember("anchor", mine.as_bytes(), outlived).unwrap();
                for _ in 0..5 {
                    let latest = token.memos("anchor").unwrap().into_iter().max();
                    assert!(latest >= Some(mine.clone().into_bytes()), "{mine}: {latest:?}");
                }
            }
            let held = token.memos("anchor").unwrap().len();
            assert!(held < 16, "{held}");
        },
        3,
    );
}
