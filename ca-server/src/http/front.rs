//! What every handler shares: the house, and the way into it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::problem::{Problem, ProblemCode};

use super::limits::Rates;
use super::status::{Documents, Mount, Pages};
use crate::config::{Limits, Operators, Rate};
use crate::house::House;

/// What stands before the house.
pub struct Front {
    /// The house.
    pub house: Arc<House>,
    /// Manners.
    pub manners: Manners,
    pub(super) rates: Rates,
    /// Those of the status listener: whoever floods it takes nothing from devices.
    pub(super) status_rates: Rates,
    pub(super) documents: Documents,
    pub(super) pages: Pages,
    /// Where OCSP requests arrive, when they are answered.
    pub(super) ocsp: Option<Mount>,
    /// Of OCSP answers that each cost a signature.
    pub(super) fresh_rate: Rates,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    aside: Arc<Semaphore>,
}

/// Places for people and supervisors, beside those for devices: whoever floods the public listener takes none of them.
const PLACES_ASIDE: usize = 8;

/// Limits and names the handlers need.
#[derive(Clone, Debug)]
pub struct Manners {
    /// Limits.
    pub limits: Limits,
    /// Folder of what ceremonies published, for relying parties.
    pub published: Option<std::path::PathBuf>,
    /// How devices reach the server; empty for relative references.
    pub base_url: String,
    /// Age of the newest signature at which the server is no longer ready.
    pub signer_stale: Duration,
    /// Who may use the administration socket beside root and the server's own user.
    pub operators: Operators,
}

impl Front {
    /// Before `house`.
    #[must_use]
    pub fn new(house: Arc<House>, manners: Manners) -> Self {
        let limits = &manners.limits;
        Self {
            rates: Rates::new(limits.rate_per_source, limits.rate_total),
            status_rates: Rates::new(limits.rate_per_source, limits.rate_total),
            documents: Documents::of(&house.issuer),
            pages: Pages::of(&house.issuer),
            ocsp: Mount::of(&house),
            fresh_rate: Rates::new(
                Rate::Off,
                house.ocsp.as_ref().map_or(Rate::Off, |ocsp| ocsp.terms.fresh_rate),
            ),
            places: Arc::new(Semaphore::new(limits.concurrency)),
            waiting: Arc::new(Semaphore::new(limits.concurrency.saturating_add(limits.queue))),
            aside: Arc::new(Semaphore::new(PLACES_ASIDE)),
            house,
            manners,
        }
    }

    /// Do blocking work for people or supervisors.
    pub(super) async fn work_aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&House) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        self.block(self.place(&self.aside).await?, work).await
    }

    /// Do blocking work in the house: at most so many at once, at most so many waiting, none of them for long. Work
    /// that began goes on when its client hangs up, and keeps its place until it ends.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&House) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let waiting = Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(|_| Problem::new(ProblemCode::Overloaded))?;
        let place = self.place(&self.places).await?;
        self.block((waiting, place), work).await
    }

    async fn place(&self, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(places).acquire_owned();
        match tokio::time::timeout(self.manners.limits.queue_deadline, place).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Problem::new(ProblemCode::Overloaded)),
        }
    }

    /// `held` is let go of when the work ends, not when its client hangs up.
    async fn block<T: Send + 'static>(
        &self,
        held: impl Send + 'static,
        work: impl FnOnce(&House) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let house = Arc::clone(&self.house);
        let done = web::block(move || {
            let _held = held;
            let _counted = house.metrics.working();
            work(&house)
        })
        .await;
        done.map_err(|_| {
            self.house.metrics.panicked();
            tracing::error!("a request ended in a panic");
            Problem::new(ProblemCode::Internal)
        })
    }
}
