//! Publishing a delta CRL: the way of [`publish`](super::publish), on exactly the complete CRL that is out. It speaks of a
//! later moment than its base (RFC 5280 §5.2.3), shares the sequence of numbers, and lists what differs.

use failpoint::{Point, reach};
use issuance::crl::{CrlDraft, DeltaSpec, Released, compare_delta};
use schema::CrlPoint;

use super::publish::{PublishError, Published, moment, read, shelve, sign, take, tell, times};
use crate::config::DeltaTerms;
use crate::house::House;

/// Publish a delta CRL beside what is published at a place; `url` is where. `forced`: also when another server is at work.
///
/// # Errors
/// [`PublishError`]; what must be told was told.
pub fn publish_delta(
    house: &House,
    point: &CrlPoint,
    terms: DeltaTerms,
    url: &str,
    forced: bool,
) -> Result<Published, PublishError> {
    reach(Point::DeltaDue);
    let outcome = attempt(house, point, terms, url, forced);
    tell(house, url, point.delta.is_some(), "delta-published", &outcome);
    outcome
}

fn attempt(
    house: &House,
    point: &CrlPoint,
    terms: DeltaTerms,
    url: &str,
    forced: bool,
) -> Result<Published, PublishError> {
    let Some((mut turn, as_of)) = take(house, point, forced)? else {
        return Ok(Published::InHand);
    };
    // Its base went out between the job's look and ours, or has never been.
    let Some(der) = turn.previous.take() else {
        return Ok(Published::Overtaken);
    };
    let base = read(house, der)?;
    let [this_update, next_update] = times(house, as_of, terms.valid)?;
    if base.number() > turn.number || base.this_update() >= this_update {
        return Ok(Published::Overtaken);
    }
    let released = turn.left.iter().filter_map(|(serial, known)| {
        let at = known.released?;
        Some(Released { serial: *serial, at })
    });
    let spec = DeltaSpec {
        base: &base,
        number: turn.number,
        this_update,
        next_update,
        released: released.collect(),
        revoked: std::mem::take(&mut turn.revoked),
    };
    let linted = CrlDraft::delta(spec, &house.issuer)?.lint()?;
    let crl = sign(house, &turn, linted, [this_update, next_update], Some(base.number()))?;
    let now = attest::UnixTime(moment(house)?);
    let previous = turn.previous_delta.take().map(|der| read(house, der)).transpose()?;
    if previous
        .as_ref()
        .is_some_and(|previous| previous.number() > turn.number)
    {
        return Ok(Published::Overtaken);
    }
    let known = |serial| turn.left.get(&serial).copied();
    let publishable = compare_delta(&base, previous.as_ref(), crl, now, known)?;
    if !house.store.publish_delta(turn.id, &publishable, now.0)? {
        return Ok(Published::Overtaken);
    }
    Ok(shelve(house, url.to_owned(), &publishable.into_crl()))
}
