//! What the house knows of its CRLs beside the record: what it serves, and what is wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use issuance::CrlNumber;

/// A published CRL as it is served.
#[derive(Debug)]
pub struct Shelved {
    /// Its URL.
    pub url: String,
    /// CRLNumber.
    pub number: CrlNumber,
    /// thisUpdate, unix seconds.
    pub this_update: i64,
    /// nextUpdate, unix seconds.
    pub next_update: i64,
    /// Entity tag of exactly these bytes.
    pub tag: String,
    /// DER.
    pub der: Vec<u8>,
}

impl Shelved {
    /// A published CRL, ready to be served.
    #[must_use]
    pub fn new(url: String, number: CrlNumber, [this_update, next_update]: [i64; 2], der: Vec<u8>) -> Self {
        Self {
            tag: tag_of(&der),
            url,
            number,
            this_update,
            next_update,
            der,
        }
    }
}

/// Entity tag of these bytes.
#[must_use]
pub fn tag_of(bytes: &[u8]) -> String {
    let digest = openssl::sha::sha256(bytes);
    hex::encode(digest.get(..16).unwrap_or_default())
}

/// Published CRLs, by path: answered without asking the database, so also when it is away.
#[derive(Debug, Default)]
pub struct Shelf(RwLock<HashMap<String, Arc<Shelved>>>);

impl Shelf {
    /// What lies under a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Arc<Shelved>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(path).map(Arc::clone)
    }

    /// What is served for a URL.
    #[must_use]
    pub fn of(&self, url: &str) -> Option<Arc<Shelved>> {
        self.get(path_of(url))
    }

    /// Serve `new`, unless a newer one is there: two threads may come with one each.
    pub fn put(&self, new: Shelved) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let path = path_of(&new.url);
        if all.get(path).is_none_or(|old| old.number < new.number) {
            all.insert(path.to_owned(), Arc::new(new));
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Shelved>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.values().map(Arc::clone).collect()
    }
}

/// Path and query of a URL, as a client that follows it asks for it.
#[must_use]
pub fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split('#').next().unwrap_or_default();
    match rest.find(['/', '?']) {
        Some(at) => rest.get(at..).unwrap_or("/"),
        None => "/",
    }
}

/// Something is wrong with a CRL; the old one stays until a person looked, or it went away by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Reason code in capitals.
    pub reason: &'static str,
    /// In words.
    pub detail: String,
    /// Since when, unix seconds.
    pub since: i64,
}

/// Alarms under way, by URL and kind.
#[derive(Debug, Default)]
pub struct Alarms(Mutex<BTreeMap<(String, Concern), Alarm>>);

/// What an alarm is about; each kind ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Concern {
    /// A CRL was not published because of a doubt.
    Publication,
    /// More than half of the time to nextUpdate is over.
    Late,
    /// The folder does not hold what was published.
    Folder,
}

impl Alarms {
    /// Raise one; whether it is news.
    pub fn raise(&self, url: &str, concern: Concern, reason: &'static str, detail: &str, now: i64) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (url.to_owned(), concern);
        if all.get(&key).is_some_and(|old| old.reason == reason) {
            return false;
        }
        let alarm = Alarm {
            reason,
            detail: detail.to_owned(),
            since: now,
        };
        all.insert(key, alarm);
        true
    }

    /// It is over; whether there was one.
    pub fn clear(&self, url: &str, concern: Concern) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&(url.to_owned(), concern)).is_some()
    }

    /// All that are under way, with their URLs.
    #[must_use]
    pub fn all(&self) -> Vec<(String, Alarm)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|((url, _), alarm)| (url.clone(), alarm.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (url, path) in [
            ("http://pki.example.net/crl/7.crl", "/crl/7.crl"),
            ("http://pki.example.net:8080/a%20b?c=d#e", "/a%20b?c=d"),
            ("http://pki.example.net", "/"),
            ("http://pki.example.net/", "/"),
            ("http://pki.example.net?x", "?x"),
        ] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }

    #[test]
    fn a_shelf_never_goes_back() {
        let shelf = Shelf::default();
        let crl = |number: u64| {
            let number = CrlNumber::new(number).unwrap();
            Shelved::new("http://a/x.crl".to_owned(), number, [0, 1], vec![1])
        };
        for (put, there) in [(5, 5), (4, 5), (5, 5), (6, 6)] {
            shelf.put(crl(put));
            assert_eq!(shelf.get("/x.crl").unwrap().number.get(), there);
            assert_eq!(shelf.of("http://b/x.crl").unwrap().number.get(), there);
        }
        assert!(shelf.get("/y.crl").is_none());
        assert_eq!(shelf.all().len(), 1);
    }

    #[test]
    fn an_alarm_is_news_once() {
        let alarms = Alarms::default();
        let raise = |concern, reason| alarms.raise("u", concern, reason, "why", 1);
        assert!(raise(Concern::Publication, "A"));
        assert!(!raise(Concern::Publication, "A"));
        assert!(raise(Concern::Publication, "B"), "another reason");
        assert!(raise(Concern::Late, "B"), "another kind");
        assert_eq!(alarms.all().len(), 2);
        assert!(alarms.clear("u", Concern::Publication));
        assert!(!alarms.clear("u", Concern::Publication));
        assert!(raise(Concern::Publication, "B"));
    }
}
