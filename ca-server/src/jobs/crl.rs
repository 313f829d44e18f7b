//! CRLs, on every server: due ones are published, what others published is served, and what is late is said.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use schema::{CrlPoint, CrlSteps};

use super::wait;
use crate::flow::publish::{Published, alarm, calm, publish};
use crate::house::{Concern, House, Shelved, folder};

/// A step may become visible so long after a later one: the longest transaction, and some.
const UNSETTLED: Duration = Duration::from_secs(120);
/// Count steps at least so often, whether any came or not.
const RECOUNT: Duration = Duration::from_secs(300);
/// Longest wait after failures.
const LONGEST: Duration = Duration::from_secs(600);

/// What one round leaves to the next.
#[derive(Debug, Default)]
pub struct Watch {
    newest_step: Option<i64>,
    newest_since: Option<Instant>,
    counted: Option<(Instant, CrlSteps)>,
    failed: HashMap<i64, (Instant, u32)>,
}

pub(super) fn run(house: &House, stop: &Receiver<()>) {
    let tick = (house.crl.after_revocation / 4).clamp(Duration::from_millis(100), Duration::from_secs(5));
    let mut watch = Watch::default();
    loop {
        round(house, &mut watch, || !wait(stop, Duration::ZERO));
        if !wait(stop, tick) {
            break;
        }
    }
}

/// Look at every place once, and do what is due.
pub fn round(house: &House, watch: &mut Watch, ending: impl Fn() -> bool) {
    match house.store.crl_points(house.issuer.key_id()) {
        Ok(points) => {
            let steps = watch.steps(house);
            for point in &points {
                if ending() {
                    return;
                }
                if rolled_back(house, point) {
                    continue;
                }
                if watch.patient(point.id) && due(house, point, steps.as_ref()) {
                    watch.publish(house, point);
                } else {
                    shelve(house, point);
                }
            }
            let entries = points.iter().filter_map(|p| p.published).map(|p| p.entries).sum();
            stand(house, entries);
        }
        Err(error) => {
            tracing::warn!(%error, "CRLs have to wait");
            stand(house, 0);
        }
    }
    for shelved in house.shelf.all() {
        keep(house, &shelved);
    }
}

impl Watch {
    /// How many steps there are: counted again while something may have changed.
    fn steps(&mut self, house: &House) -> Option<CrlSteps> {
        let newest = match house.store.newest_step() {
            Ok(newest) => newest,
            Err(error) => {
                tracing::warn!(%error, "steps cannot be counted");
                return None;
            }
        };
        if newest != self.newest_step {
            self.newest_step = newest;
            self.newest_since = Some(Instant::now());
        }
        let settled = self.newest_since.is_none_or(|since| since.elapsed() > UNSETTLED);
        if let Some((at, steps)) = &self.counted
            && settled
            && at.elapsed() < RECOUNT
        {
            return Some(steps.clone());
        }
        let steps = house.store.crl_steps(house.issuer.key_id()).ok()?;
        self.counted = Some((Instant::now(), steps.clone()));
        Some(steps)
    }

    /// Whether it was not tried in vain just now.
    fn patient(&self, place: i64) -> bool {
        self.failed.get(&place).is_none_or(|(at, count)| {
            let pause = Duration::from_secs(1)
                .saturating_mul(1 << (*count).min(10))
                .min(LONGEST);
            at.elapsed() >= pause
        })
    }

    fn publish(&mut self, house: &House, point: &CrlPoint) {
        match publish(house, point, false) {
            Ok(Published::Done { .. } | Published::InHand) => {
                self.failed.remove(&point.id);
            }
            Ok(Published::Overtaken) => {
                self.failed.remove(&point.id);
                shelve(house, point);
            }
            Err(_) => {
                let (at, count) = self.failed.entry(point.id).or_insert((Instant::now(), 0));
                *at = Instant::now();
                *count += 1;
                shelve(house, point);
            }
        }
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Whether a new CRL should come now: none is there, it is time, or it does not stand on every step.
fn due(house: &House, point: &CrlPoint, steps: Option<&CrlSteps>) -> bool {
    let now = house.clock.read().now.0;
    let Some(published) = point.published else {
        return true;
    };
    let age = now.saturating_sub(published.this_update);
    let behind = steps.is_some_and(|steps| steps.of(point) != published.steps);
    age >= seconds(house.crl.every)
        || now >= midway(published.this_update, published.next_update)
        || (behind && age >= seconds(house.crl.after_revocation))
}

/// Half of the way to nextUpdate.
fn midway(this_update: i64, next_update: i64) -> i64 {
    this_update + (next_update - this_update) / 2
}

/// Whether the record is older than what this server served from it: then nothing of it is believed.
fn rolled_back(house: &House, point: &CrlPoint) -> bool {
    let Some(served) = house.shelf.of(&point.url) else {
        return false;
    };
    let known = |point: &CrlPoint| {
        let out = point.published;
        out.is_some_and(|out| out.number >= served.number)
    };
    if known(point) {
        return false;
    }
    // What is served may have been published after the record was read: look again.
    let Ok(again) = house.store.crl_points(house.issuer.key_id()) else {
        return false;
    };
    let gone = !again.iter().any(|again| again.id == point.id && known(again));
    if gone {
        let detail = format!(
            "number {} was published, and the record does not know it any more",
            served.number
        );
        alarm(house, &point.url, Concern::Publication, "CRL_ROLLED_BACK", &detail);
        house
            .halt
            .set(&format!("the record is older than what was said: CRL {detail}"));
    }
    gone
}

/// Serve what is published, whoever published it.
fn shelve(house: &House, point: &CrlPoint) {
    let served = house.shelf.of(&point.url);
    let Some(published) = point.published else {
        return;
    };
    if served.is_some_and(|served| served.number >= published.number) {
        return;
    }
    match house.store.published_crl(point.id) {
        // Published again meanwhile: the next round knows all of it.
        Ok(Some((number, der))) if number == published.number => {
            let times = [published.this_update, published.next_update];
            house.shelf.put(Shelved::new(point.url.clone(), number, times, der));
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(url = %point.url, %error, "a published CRL cannot be read"),
    }
}

/// Late is what should have been replaced: half of the time to nextUpdate is over. From the shelf, hence also when the
/// database is away.
fn stand(house: &House, entries: i64) {
    let now = house.clock.read().now.0;
    let all = house.shelf.all();
    for shelved in &all {
        if now > midway(shelved.this_update, shelved.next_update) {
            let left = shelved.next_update.saturating_sub(now);
            let detail = if left > 0 {
                format!("the published CRL ends in {left} s and is not replaced")
            } else {
                "the published CRL has ended: relying parties refuse every certificate, or believe revoked ones"
                    .to_owned()
            };
            alarm(
                house,
                &shelved.url,
                Concern::Late,
                if left > 0 { "CRL_LATE" } else { "CRL_ENDED" },
                &detail,
            );
        } else {
            calm(house, &shelved.url, Concern::Late);
        }
    }
    let next = all.iter().map(|shelved| shelved.next_update).min();
    house.metrics.crls_stand(house.alarms.all().len(), next, entries);
}

/// The folder holds what is served.
fn keep(house: &House, shelved: &Shelved) {
    let Some(file) = house.crl.folder.as_ref().and_then(|f| folder::file_of(f, &shelved.url)) else {
        return;
    };
    match folder::keep(&file, shelved, &house.issuer) {
        Ok(()) => calm(house, &shelved.url, Concern::Folder),
        Err(error) => {
            let reason = match error {
                folder::FolderError::Newer { .. } => "CRL_ROLLED_BACK",
                _ => "CRL_FOLDER",
            };
            alarm(house, &shelved.url, Concern::Folder, reason, &error.to_string());
        }
    }
}
