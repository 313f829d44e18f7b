//! How often someone may ask. Memory is bounded by construction: sources share a fixed number of buckets.

use core::hash::BuildHasher as _;
use std::hash::RandomState;
use std::net::IpAddr;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::config::Rate;

/// Buckets. Two sources in one bucket share its rate; which ones do is secret and changes with each start.
const BUCKETS: u64 = 65_536;

/// The limits on requests.
pub(super) struct Rates {
    per_source: Option<DefaultKeyedRateLimiter<u64>>,
    total: Option<DefaultDirectRateLimiter>,
    hasher: RandomState,
    clock: DefaultClock,
}

impl Rates {
    pub(super) fn new(per_source: Rate, total: Rate) -> Self {
        Self {
            per_source: quota(per_source).map(RateLimiter::keyed),
            total: quota(total).map(RateLimiter::direct),
            hasher: RandomState::new(),
            clock: DefaultClock::default(),
        }
    }

    /// May this source ask now? If not, how long it should wait.
    pub(super) fn take(&self, source: Option<IpAddr>) -> Result<(), Duration> {
        let now = self.clock.now();
        if let Some(limiter) = &self.per_source {
            let bucket = self.hasher.hash_one(network(source)) % BUCKETS;
            limiter.check_key(&bucket).map_err(|no| no.wait_time_from(now))?;
        }
        if let Some(limiter) = &self.total {
            limiter.check().map_err(|no| no.wait_time_from(now))?;
        }
        Ok(())
    }
}

fn quota(rate: Rate) -> Option<Quota> {
    match rate {
        Rate::Off => None,
        Rate::Per(number, time) => Quota::with_period(time / number.get()).map(|quota| quota.allow_burst(number)),
    }
}

/// One IPv4 address, or one IPv6 /64: a host chooses freely within that.
fn network(source: Option<IpAddr>) -> Option<IpAddr> {
    match source {
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(mapped) => Some(IpAddr::V4(mapped)),
            None => {
                let bits = u128::from(address) >> 64 << 64;
                Some(IpAddr::V6(bits.into()))
            }
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::num::NonZeroU32;

    fn per_hour(number: u32) -> Rate {
        Rate::Per(NonZeroU32::new(number).unwrap(), Duration::from_secs(3600))
    }
    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn one_source_is_stopped_and_another_served() {
        let rates = Rates::new(per_hour(3), Rate::Off);
        for _ in 0..3 {
            assert!(rates.take(ip("192.0.2.1")).is_ok());
        }
        let wait = rates.take(ip("192.0.2.1")).unwrap_err();
        assert!(
            wait > Duration::from_secs(1000) && wait <= Duration::from_secs(1200),
            "{wait:?}"
        );
        assert!(rates.take(ip("::ffff:192.0.2.1")).is_err(), "the same host");
        let served = (2..10)
            .filter(|n| rates.take(ip(&format!("192.0.2.{n}"))).is_ok())
            .count();
        assert!(served >= 7, "only sources that share a bucket may suffer");
    }

    #[test]
    fn a_network_of_one_host_is_one_source() {
        let rates = Rates::new(per_hour(1), Rate::Off);
        assert!(rates.take(ip("2001:db8::1")).is_ok());
        assert!(rates.take(ip("2001:db8::ffff:0:0:2")).is_err());
    }

    #[test]
    fn the_total_holds_for_all() {
        let rates = Rates::new(Rate::Off, per_hour(2));
        assert!(rates.take(ip("192.0.2.1")).is_ok());
        assert!(rates.take(ip("192.0.2.2")).is_ok());
        assert!(rates.take(ip("192.0.2.3")).is_err());
    }

    #[test]
    fn a_million_sources_leave_no_more_than_the_buckets() {
        let rates = Rates::new(per_hour(1), Rate::Off);
        for n in 0..1_000_000_u32 {
            let _ = rates.take(Some(IpAddr::V4(n.into())));
        }
        assert!(rates.per_source.as_ref().unwrap().len() as u64 <= BUCKETS);
    }
}
