//! Evidence bundles, over the administration socket.

use actix_web::{HttpRequest, HttpResponse, web};
use wire::evidence::{BUNDLE_TYPE, EraseEvidence};
use wire::problem::{Problem, ProblemCode};

use super::answers::{only_get, only_post, settle};
use super::body::Whole;
use super::extract;
use super::front::Front;
use super::peer::actor;
use super::problem;
use super::public::serial_octets;
use crate::flow::bundle::{self, BundleError};

/// Its routes.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    service
        .service(
            web::resource("/v1/certificates/{serial:[^/]*}/bundle")
                .route(web::get().to(export))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/v1/certificates/{serial:[^/]*}/evidence-erasure")
                .route(web::post().to(erase))
                .default_service(web::to(only_post)),
        );
}

async fn export(front: web::Data<Front>, request: HttpRequest, serial: web::Path<String>) -> HttpResponse {
    let outcome = async {
        let serial = serial_octets(&serial)?;
        let actor = actor(&request);
        let archive = front
            .work_aside(move |house| bundle::export(house, &actor, &serial))
            .await?
            .map_err(|error| problem_of(&error))?;
        Ok(HttpResponse::Ok().content_type(BUNDLE_TYPE).body(archive))
    };
    settle(&front, outcome.await)
}

async fn erase(
    front: web::Data<Front>,
    request: HttpRequest,
    serial: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let serial = serial_octets(&serial)?;
        let body: EraseEvidence = extract::json(&request, &body.0)?;
        let actor = actor(&request);
        let erased = front
            .work_aside(move |house| bundle::erase(house, &actor, &serial, &body.reason))
            .await?
            .map_err(|error| problem_of(&error))?;
        Ok(HttpResponse::Ok().json(erased))
    };
    settle(&front, outcome.await)
}

fn problem_of(error: &BundleError) -> Problem {
    let code = match error {
        BundleError::NotFound | BundleError::Nothing(_) => ProblemCode::NotFound,
        BundleError::Conflict(_) => ProblemCode::StateConflict,
        BundleError::Reason => ProblemCode::Malformed,
        BundleError::Trouble(trouble) => {
            tracing::warn!(%trouble, "evidence");
            return problem::trouble(trouble);
        }
    };
    Problem::new(code).with_detail(error.to_string())
}
