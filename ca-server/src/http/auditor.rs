//! What stands behind entries of the ledger, over the administration socket.

use actix_web::{HttpRequest, HttpResponse, web};
use wire::problem::{Problem, ProblemCode};

use super::answers::{only_get, settle};
use super::front::Front;
use super::peer::actor;
use super::problem;
use crate::flow::auditor::{self, BehindError};

/// Its routes.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    service.service(
        web::resource("/v1/ledger/entries/{place:[^/]*}")
            .route(web::get().to(behind))
            .default_service(web::to(only_get)),
    );
}

async fn behind(front: web::Data<Front>, request: HttpRequest, place: web::Path<String>) -> HttpResponse {
    let outcome = async {
        let plain = place.bytes().all(|digit| digit.is_ascii_digit());
        let place: u64 = place
            .parse()
            .ok()
            .filter(|_| plain)
            .ok_or_else(|| Problem::new(ProblemCode::Malformed).with_detail("a place in the ledger is a number"))?;
        let actor = actor(&request);
        let behind = front
            .work_aside(move |house| auditor::behind(house, &actor, place))
            .await?
            .map_err(|error| problem_of(&error))?;
        Ok(HttpResponse::Ok().json(behind))
    };
    settle(&front, outcome.await)
}

fn problem_of(error: &BehindError) -> Problem {
    let code = match error {
        BehindError::NotFound => ProblemCode::NotFound,
        BehindError::Conflict(_) => ProblemCode::StateConflict,
        BehindError::Trouble(trouble) => {
            tracing::warn!(%trouble, "behind an entry");
            return problem::trouble(trouble);
        }
    };
    Problem::new(code).with_detail(error.to_string())
}
