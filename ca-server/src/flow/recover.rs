//! What a crash leaves: intents whose signature may exist. They become orphans, are listed, and count as issued.

use schema::Orphan;

use super::failure::Trouble;
use crate::house::House;

/// Intents older than the sign deadline; on a store nobody else writes, at the start, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// No process is at work on any intent.
    All,
    /// Those whose deadline has passed.
    Overdue,
}

/// Turn open intents into orphans.
///
/// # Errors
/// [`Trouble`].
pub fn recover(house: &House, which: Which) -> Result<Vec<Orphan>, Trouble> {
    let now = house.clock.read().now.0;
    let deadline = i64::try_from(house.terms.sign_deadline.as_secs()).unwrap_or(i64::MAX);
    let older_than = match which {
        Which::All => now,
        Which::Overdue => now.saturating_sub(deadline),
    };
    let orphans = house.store.recover(older_than, now)?;
    for orphan in &orphans {
        tracing::error!(
            serial = %hex::encode(&orphan.serial),
            profile = %orphan.profile,
            "orphan: a signature on this serial may exist"
        );
    }
    house.metrics.orphaned(orphans.len());
    Ok(orphans)
}
