//! What the pages for strangers say: only what is public already, read from where it is served.

use ::pages::{Authority, Crl, Leaf, LedgerHead, Lists, Standing, Trust};
use issuance::crl::delta_url;
use ledger::{Entry, Event, TileNodes, VerifierKey, inclusion};

use super::failure::Trouble;
use crate::house::{House, Ledger, Recorded, Witness, path_of};

/// The trust page and the files beside it.
pub struct Trusted {
    /// HTML.
    pub page: String,
    /// `roots.pem`.
    pub roots: String,
    /// `chain.pem`.
    pub chain: String,
    /// `ledger.vkey`, where there is a ledger.
    pub key: Option<String>,
}

/// The page about this CA. `published` finds what ceremonies left for relying parties, by the path of its URL.
///
/// # Errors
/// [`Trouble`].
pub fn trust(
    house: &House,
    authorities: &[Authority],
    published: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<Trusted, Trouble> {
    let urls = house.issuer.urls();
    let shelf = house.shelf.all();
    let deltas: Vec<String> = shelf.iter().filter_map(|one| delta_url(&one.url)).collect();
    let own = shelf.iter().filter(|one| !deltas.contains(&one.url)).map(|one| Crl {
        url: one.url.clone(),
        says: Some((one.number.to_string(), one.this_update, one.next_update)),
    });
    let mut crls: Vec<Crl> = own.collect();
    crls.sort_by(|a, b| a.url.cmp(&b.url));
    let mut above: Vec<String> = authorities.iter().flat_map(|one| one.crls.clone()).collect();
    above.sort();
    above.dedup();
    crls.extend(above.into_iter().map(|url| match published(path_of(&url)) {
        Some(der) => Crl::read(url, &der),
        None => Crl { url, says: None },
    }));
    let ledger = house.ledger.as_ref().and_then(|ledger| head(house, ledger));
    let newest = match ledger.as_ref().map(|ledger| ledger.signed.head().size) {
        Some(size) if size > 0 => {
            let last = house.store.ledger_entries(size - 1, 1).map_err(storage)?;
            last.first()
                .and_then(|bytes| Entry::parse(bytes).ok())
                .map(|entry| entry.at)
        }
        _ => None,
    };
    let key = ledger.as_ref().map(|ledger| format!("{}\n", ledger.key));
    let at = house.clock.read().now.0;
    let trust = Trust {
        name: &house.name,
        rehearsal: house.issuer.is_rehearsal(),
        authorities,
        lists: Lists {
            crls,
            ocsp: urls.ocsp.clone(),
            issuers: urls.ca_issuers.clone(),
        },
        lookup: ledger.is_some(),
        ledger,
        newest,
        base: urls.ca_issuers.as_deref().or(urls.crl.as_deref()).and_then(base_of),
        // To the minute: whoever has seen this page need not load the same one again.
        at: at - at.rem_euclid(60),
    };
    Ok(Trusted {
        page: trust.html(),
        roots: trust.roots_pem(),
        chain: trust.chain_pem(),
        key,
    })
}

/// Scheme and host of a URL.
fn base_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    (!host.is_empty()).then(|| format!("{scheme}://{host}"))
}

fn storage(error: impl core::fmt::Display) -> Trouble {
    Trouble::Storage(error.to_string())
}

fn head(house: &House, ledger: &Ledger) -> Option<LedgerHead> {
    let signed = ledger.published()?;
    let key: &VerifierKey = ledger.key.verifier();
    Some(LedgerHead {
        key: key.clone(),
        signed: (*signed).clone(),
        witnesses: ledger.witnesses.iter().map(Witness::key).cloned().collect(),
        ca_spki: house.key.spki().to_vec(),
    })
}

/// The page of an entry; `None` where there is none in the tree that is published.
///
/// # Errors
/// [`Trouble`].
pub fn leaf(house: &House, place: u64) -> Result<Option<String>, Trouble> {
    let Some(head) = house.ledger.as_ref().and_then(|ledger| head(house, ledger)) else {
        return Ok(None);
    };
    let size = head.signed.head().size;
    if place >= size {
        return Ok(None);
    }
    let entries = house.store.ledger_entries(place, 1).map_err(storage)?;
    let Some(entry) = entries.first() else {
        return Err(storage("an entry of the ledger is missing"));
    };
    let tiles = Recorded::of(&house.store);
    let found = inclusion(&TileNodes::new(&tiles, size), place, size).map_err(storage)?;
    let Some(inclusion) = found else {
        return Ok(None);
    };
    let serial = match Entry::parse(entry).map(|entry| entry.event) {
        Ok(Event::Issued(issuance)) => Some(issuance.serial),
        _ => None,
    };
    let standing = match &serial {
        None => None,
        Some(serial) => standing(house, serial)?,
    };
    let page = Leaf {
        name: &house.name,
        rehearsal: house.issuer.is_rehearsal(),
        entry,
        inclusion: &inclusion,
        ledger: head,
        standing,
        home: Some("/trust"),
        file: serial.map(|serial| format!("/ledger/proof/{}", hex::encode(serial))),
    };
    page.html().map(Some).map_err(storage)
}

/// What OCSP would say of it.
fn standing(house: &House, serial: &[u8]) -> Result<Option<Standing>, Trouble> {
    let Some(row) = house.store.certificate(serial).map_err(storage)? else {
        return Ok(None);
    };
    let until = row.not_after;
    Ok(Some(match row.revocation.filter(schema::Revocation::not_good) {
        Some(step) => Standing::Revoked {
            state: match step.state {
                wire::revocation::RevocationState::OnHold => "on hold",
                _ => "revoked",
            },
            reason: step.reason.to_string(),
            since: step.since,
        },
        None if until < house.clock.read().now.0 => Standing::Expired { since: until },
        None => Standing::Good { until },
    }))
}

/// Where the entry of a certificate is, by its serial in hex; `None` also for what was never handed out.
///
/// # Errors
/// [`Trouble`].
pub fn place(house: &House, serial: &[u8]) -> Result<Option<u64>, Trouble> {
    let Some(row) = house.store.certificate(serial).map_err(storage)? else {
        return Ok(None);
    };
    let entry = house.store.ledger_entry(row.id).map_err(storage)?;
    Ok(entry.and_then(|entry| entry.position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is_served() {
        assert_eq!(
            base_of("http://pki.example.net/ca/x.cer").as_deref(),
            Some("http://pki.example.net")
        );
        assert_eq!(base_of("http://[::1]:8080").as_deref(), Some("http://[::1]:8080"));
        assert_eq!(base_of("http:///x"), None);
        assert_eq!(base_of("x"), None);
    }
}
