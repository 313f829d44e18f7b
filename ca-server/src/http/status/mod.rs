//! What relying parties fetch: plain HTTP on an address of its own. All of it is signed, nothing is secret, and who
//! asks is nobody's business; so it goes on while issuing is halted or the signer is away.
//!
//! [`documents`]: what lies under the paths of the URLs inside certificates. [`ocsp`]: the responder.
//! [`ledger`]: tiles, entries, checkpoint, proofs. [`pages`]: what people read.

mod documents;
mod gate;
mod ledger;
mod ocsp;
mod pages;

use actix_web::{HttpRequest, HttpResponse, web};

use super::front::Front;

pub(super) use documents::Documents;
pub use gate::gate;
pub(super) use ocsp::Mount;
pub(super) use pages::Pages;

/// Every route of the status listener.
pub fn routes(service: &mut web::ServiceConfig) {
    service
        .service(
            web::resource("/livez")
                .route(web::get().to(super::monitor::livez))
                .default_service(web::to(super::answers::only_get)),
        )
        .default_service(web::to(anything_else));
}

/// Paths are the operator's: what lies under exactly this one first, then the responder, which takes all below its own.
async fn anything_else(front: web::Data<Front>, request: HttpRequest) -> HttpResponse {
    if let Some(found) = documents::find(&front, &request) {
        documents::fetch(&front, &request, &found)
    } else if let Some(page) = pages::meant(&request) {
        pages::answer(&front, &request, page).await
    } else if let (Some(ledger), Some(rest)) = (&front.house.ledger, ledger::meant(&request)) {
        let rest = rest.to_owned();
        ledger::answer(&front, ledger, &request, rest).await
    } else if let (Some(mount), Some(responder)) = (&front.ocsp, &front.house.ocsp)
        && let Some(rest) = mount.meant(&request)
    {
        ocsp::respond(&front, responder, &request, rest).await
    } else if let Some(refused) = pages::only_read(&front, &request) {
        refused
    } else {
        super::answers::nothing_here(front).await
    }
}

/// What an answer counts as in the metrics: set by the handler, because paths here are the operator's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted(pub(super) &'static str);
