//! The ledger below `/ledger/`: checkpoint, tiles and bundles of entries as C2SP tlog-tiles has them, and proofs.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse};
use ledger::{Resource, Tiles as _, bundle};
use schema::StoreError;

use super::Counted;
use super::documents::Document;
use crate::flow::ledger::proof;
use crate::house::{House, Ledger, Recorded};
use crate::http::answers::{not_offered, nothing_here};
use crate::http::front::Front;
use crate::http::problem::response;
use wire::problem::{Problem, ProblemCode};

/// What stands before the ledger's own paths.
const PREFIX: &str = "/ledger/";
/// The checkpoint moves every second; whoever asks again sooner sees the same.
const CHECKPOINT_AGE: u64 = 1;
/// Tiles never change, seconds: a year.
const TILE_AGE: u64 = 31_536_000;
/// A proof against a later checkpoint is as good.
const PROOF_AGE: u64 = 60;

/// The path behind the prefix.
pub(super) fn meant(request: &HttpRequest) -> Option<&str> {
    request.uri().path_and_query()?.as_str().strip_prefix(PREFIX)
}

/// What was asked for.
enum Found {
    Document(Document, u64),
    Nothing,
    Away,
}

/// GET and HEAD of it.
pub(super) async fn answer(
    front: &actix_web::web::Data<Front>,
    ledger: &Ledger,
    request: &HttpRequest,
    rest: String,
) -> HttpResponse {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return not_offered(front, "GET, HEAD");
    }
    let found = if rest == "checkpoint" {
        checkpoint(ledger)
    } else {
        match front.work(move |house| look(house, &rest)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the ledger cannot be read");
                Found::Away
            }
            Err(problem) => return response(&front.manners.base_url, problem),
        }
    };
    match found {
        Found::Document(document, age) => document.answer(request, age),
        Found::Nothing => nothing_here(front.clone()).await,
        Found::Away => response(&front.manners.base_url, Problem::new(ProblemCode::StorageUnavailable)),
    }
}

fn checkpoint(ledger: &Ledger) -> Found {
    let Some(signed) = ledger.published() else {
        return Found::Nothing;
    };
    let text = signed.note().to_string().into_bytes();
    let document = Document::new(Counted("ledger"), "text/plain; charset=utf-8", text);
    Found::Document(document, CHECKPOINT_AGE)
}

fn look(house: &House, rest: &str) -> Result<Found, StoreError> {
    let Some(signed) = house.ledger.as_ref().and_then(Ledger::published) else {
        return Ok(Found::Nothing);
    };
    let binary = |bytes| {
        Found::Document(
            Document::new(Counted("ledger"), "application/octet-stream", bytes),
            TILE_AGE,
        )
    };
    let size = signed.head().size;
    if let Some(serial) = rest.strip_prefix("proof/") {
        let Some(found) = place(house, serial)? else {
            return Ok(Found::Nothing);
        };
        let file = match proof(house, found) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Found::Nothing),
            Err(_) => return Ok(Found::Away),
        };
        let text = file.to_string().into_bytes();
        let document = Document::new(Counted("ledger"), "text/plain; charset=utf-8", text);
        return Ok(Found::Document(document, PROOF_AGE));
    }
    let Ok(resource) = Resource::parse(rest) else {
        return Ok(Found::Nothing);
    };
    // Of what is signed, and no more.
    let (level, index, width) = match resource {
        Resource::Checkpoint => return Ok(Found::Nothing),
        Resource::Tile { level, index, width } => (level, index, width),
        Resource::Entries { index, width } => (0, index, width),
    };
    if ledger::width_at(size, level, index).is_none_or(|there| there < width) {
        return Ok(Found::Nothing);
    }
    match resource {
        Resource::Entries { index, width } => {
            let entries = house.store.ledger_entries(index * 256, width)?;
            match bundle(&entries) {
                Ok(bytes) if entries.len() == usize::from(width) => Ok(binary(bytes)),
                _ => Ok(Found::Away),
            }
        }
        tile => Ok((&Recorded::of(&house.store)).get(tile).map_or(Found::Away, binary)),
    }
}

/// Where the entry of a certificate is, by its serial in hex.
fn place(house: &House, serial: &str) -> Result<Option<u64>, StoreError> {
    let Ok(serial) = hex::decode(serial) else {
        return Ok(None);
    };
    let Some(row) = house.store.certificate(&serial)? else {
        return Ok(None);
    };
    Ok(house.store.ledger_entry(row.id)?.and_then(|entry| entry.position))
}
