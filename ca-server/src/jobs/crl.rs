//! CRLs, on every server: due ones are published, what others published is served, and what is late is said.

use std::collections::HashMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use schema::{CrlPoint, CrlSteps, PublishedCrl};

use super::wait;
use crate::config::DeltaTerms;
use crate::flow::delta::publish_delta;
use crate::flow::publish::{PublishError, Published, alarm, calm, publish, read};
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
    failed: HashMap<(i64, Kind), (Instant, u32)>,
}

/// What is published at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Complete,
    Delta,
}

/// Something that is published, and under which URL.
struct Out {
    url: String,
    kind: Kind,
    published: PublishedCrl,
}

/// All that is out at a place. Nobody is sent to the last delta any more when there are none.
fn out(house: &House, point: &CrlPoint) -> Vec<Out> {
    let complete = point.published.map(|published| Out {
        url: point.url.clone(),
        kind: Kind::Complete,
        published,
    });
    let delta = house.delta_url(point).zip(point.delta).map(|(url, delta)| Out {
        url,
        kind: Kind::Delta,
        published: delta.published,
    });
    complete.into_iter().chain(delta).collect()
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
                if out(house, point).iter().any(|out| rolled_back(house, point.id, out)) {
                    continue;
                }
                let place = (point.id, Kind::Complete);
                let mut rebased = false;
                if watch.patient(place) && due(house, point, steps.as_ref()) {
                    let outcome = publish(house, point, false);
                    rebased = matches!(outcome, Ok(Published::Done { .. }));
                    watch.ended(place, &outcome);
                }
                // A delta is of a later moment than its base, and of a later round.
                if !rebased && let (Some(terms), Some(url)) = (house.crl.delta, house.delta_url(point)) {
                    let place = (point.id, Kind::Delta);
                    if watch.patient(place) && delta_due(house, point, terms, &url, steps.as_ref()) {
                        watch.ended(place, &publish_delta(house, point, terms, &url, false));
                    }
                }
                for out in out(house, point) {
                    shelve(house, point.id, &out);
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
    fn patient(&self, place: (i64, Kind)) -> bool {
        self.failed.get(&place).is_none_or(|(at, count)| {
            let pause = Duration::from_secs(1)
                .saturating_mul(1 << (*count).min(10))
                .min(LONGEST);
            at.elapsed() >= pause
        })
    }

    /// How a turn ended.
    fn ended(&mut self, place: (i64, Kind), outcome: &Result<Published, PublishError>) {
        if outcome.is_ok() {
            self.failed.remove(&place);
        } else {
            let (at, count) = self.failed.entry(place).or_insert((Instant::now(), 0));
            *at = Instant::now();
            *count += 1;
        }
    }
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Whether a new CRL should come now: none is there, it is time, or it does not stand on every step. With deltas the steps
/// are theirs to tell, once the published CRL says where they are.
fn due(house: &House, point: &CrlPoint, steps: Option<&CrlSteps>) -> bool {
    let now = house.clock.read().now.0;
    let Some(published) = point.published else {
        return true;
    };
    let age = now.saturating_sub(published.this_update);
    let deltas = house.delta_url(point);
    let behind = match &deltas {
        // Other servers may think otherwise, for as long as their configuration differs: not in every round, then.
        _ if point.delta_url != deltas => true,
        Some(_) => false,
        None => steps.is_some_and(|steps| steps.of(point) != published.steps),
    };
    age >= seconds(house.crl.every)
        || now >= midway(published.this_update, published.next_update)
        || (behind && age >= seconds(house.crl.after_revocation))
}

/// Whether a new delta should come now: the published CRL says where it is, and there is none, it stands on another one, it
/// is time, or it does not stand on every step.
fn delta_due(house: &House, point: &CrlPoint, terms: DeltaTerms, url: &str, steps: Option<&CrlSteps>) -> bool {
    let now = house.clock.read().now.0;
    let Some(base) = point.published.filter(|_| point.delta_url.as_deref() == Some(url)) else {
        return false;
    };
    // RFC 5280 §5.2.3: of one moment, they would have one number.
    if now <= base.this_update {
        return false;
    }
    let Some(delta) = point.delta.filter(|delta| delta.base == base.number) else {
        return true;
    };
    let published = delta.published;
    let age = now.saturating_sub(published.this_update);
    let behind = steps.is_some_and(|steps| steps.of(point) != published.steps);
    age >= seconds(terms.every)
        || now >= midway(published.this_update, published.next_update)
        || (behind && age >= seconds(house.crl.after_revocation))
}

/// Half of the way to nextUpdate.
fn midway(this_update: i64, next_update: i64) -> i64 {
    this_update + (next_update - this_update) / 2
}

/// Whether the record is older than what this server served from it: then nothing of it is believed.
fn rolled_back(house: &House, place: i64, known: &Out) -> bool {
    let Some(served) = house.shelf.of(&known.url) else {
        return false;
    };
    if known.published.number >= served.number {
        return false;
    }
    // What is served may have been published after the record was read: look again.
    let Ok(again) = house.store.crl_points(house.issuer.key_id()) else {
        return false;
    };
    let again = again
        .iter()
        .find(|again| again.id == place)
        .map(|again| out(house, again));
    let gone = !again
        .unwrap_or_default()
        .iter()
        .any(|again| again.kind == known.kind && again.published.number >= served.number);
    if gone {
        let detail = format!(
            "number {} was published, and the record does not know it any more",
            served.number
        );
        alarm(house, &known.url, Concern::Publication, "CRL_ROLLED_BACK", &detail);
        house
            .halt
            .set(&format!("the record is older than what was said: CRL {detail}"));
    }
    gone
}

/// Serve what is published, whoever published it.
fn shelve(house: &House, place: i64, out: &Out) {
    let served = house.shelf.of(&out.url);
    if served.is_some_and(|served| served.number >= out.published.number) {
        return;
    }
    let stored = match out.kind {
        Kind::Complete => house.store.published_crl(place),
        Kind::Delta => house.store.published_delta(place),
    };
    match stored {
        // Published again meanwhile: the next round knows all of it.
        Ok(Some((number, der))) if number == out.published.number => {
            let times = [out.published.this_update, out.published.next_update];
            // What lies in the record may have changed on its disk.
            match read(house, der) {
                Ok(crl) if crl.number() == number => {
                    let der = crl.der().to_vec();
                    house.shelf.put(Shelved::new(out.url.clone(), number, times, der));
                }
                Ok(crl) => {
                    let detail = format!(
                        "it is number {}, and {number} was published: it is not served",
                        crl.number()
                    );
                    alarm(house, &out.url, Concern::Publication, "CRL_UNREADABLE", &detail);
                }
                Err(error) => {
                    let detail = format!("{error}: it is not served");
                    alarm(house, &out.url, Concern::Publication, "CRL_UNREADABLE", &detail);
                }
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(url = %out.url, %error, "a published CRL cannot be read"),
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
