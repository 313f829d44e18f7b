//! Revocation, over the administration socket.

use actix_web::{HttpRequest, HttpResponse, web};
use wire::problem::Problem;
use wire::revocation::{CertificateStatus, Release, Revoke};

use super::answers::{not_offered, only_get, only_post, settle};
use super::body::Whole;
use super::extract;
use super::front::Front;
use super::peer::actor;
use super::problem;
use super::public::serial_octets;
use super::query::{limit, number, query};
use crate::flow::revoke::{self, RevokeError};
use crate::house::House;

/// Its routes.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    service
        .service(
            web::resource("/v1/certificates/{serial:[^/]*}/revocation")
                .route(web::post().to(revoke))
                .route(web::get().to(status))
                .default_service(web::to(get_or_post)),
        )
        .service(
            web::resource("/v1/certificates/{serial:[^/]*}/release")
                .route(web::post().to(release))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/revocations")
                .route(web::get().to(list))
                .default_service(web::to(only_get)),
        );
}

async fn get_or_post(front: web::Data<Front>) -> HttpResponse {
    not_offered(&front, "GET, POST")
}

async fn revoke(
    front: web::Data<Front>,
    request: HttpRequest,
    serial: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let body: Revoke = extract::json(&request, &body.0)?;
        let actor = actor(&request);
        about(&front, &serial, move |house, serial| {
            revoke::revoke(house, &actor, serial, body.reason, body.comment.as_deref())
        })
        .await
    };
    settle(&front, outcome.await)
}

async fn release(
    front: web::Data<Front>,
    request: HttpRequest,
    serial: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let body: Release = extract::json(&request, &body.0)?;
        let actor = actor(&request);
        about(&front, &serial, move |house, serial| {
            revoke::release(house, &actor, serial, body.comment.as_deref())
        })
        .await
    };
    settle(&front, outcome.await)
}

async fn status(front: web::Data<Front>, serial: web::Path<String>) -> HttpResponse {
    settle(&front, about(&front, &serial, revoke::status).await)
}

async fn about(
    front: &Front,
    serial: &str,
    work: impl FnOnce(&House, &[u8]) -> Result<CertificateStatus, RevokeError> + Send + 'static,
) -> Result<HttpResponse, Problem> {
    let serial = serial_octets(serial)?;
    let status = front
        .work_aside(move |house| work(house, &serial))
        .await?
        .map_err(|error| problem::revoke(&error))?;
    Ok(HttpResponse::Ok().json(status))
}

async fn list(front: web::Data<Front>, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        let mut query = query(&request, &["cursor", "limit"])?;
        let after = number(&mut query, "cursor")?;
        let limit = limit(&mut query)?;
        let page = front
            .work_aside(move |house| revoke::list(house, after, limit))
            .await?
            .map_err(|trouble| problem::trouble(&trouble))?;
        Ok(HttpResponse::Ok().json(page))
    };
    settle(&front, outcome.await)
}
