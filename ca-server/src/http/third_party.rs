//! Third-party issuance: what devices with a manufacturer's IAK see.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use wire::third_party::{CertificationRequest, IakChallenge, IakEnrollmentRequest, IakRenewalRequest};

use super::answers::{activated, only_post, settle};
use super::body::Whole;
use super::extract::{self, caller, enrollment_id};
use super::front::Front;
use super::presented::presented;
use super::problem;
use crate::flow::iak;

/// The routes, on the public listener.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    service
        .service(
            web::resource("/v1/iak-enrollments")
                .route(web::post().to(begin))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/iak-enrollments/{id:[^/]*}/certification")
                .route(web::post().to(certify))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/iak-renewals")
                .route(web::post().to(begin_renewal))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/iak-renewals/{id:[^/]*}/certification")
                .route(web::post().to(certify_renewal))
                .default_service(web::to(only_post)),
        );
}

/// 201: a challenge, and where its enrollment will be found.
fn challenged(front: &Front, challenge: &IakChallenge) -> HttpResponse {
    let location = format!("{}/v1/enrollments/{}", front.manners.base_url, challenge.id);
    HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(challenge)
}

async fn begin(front: web::Data<Front>, request: HttpRequest, body: web::ReqData<Whole>) -> HttpResponse {
    let outcome = async {
        let body: IakEnrollmentRequest = extract::json(&request, &body.0)?;
        let caller = caller(&request);
        let challenge = front
            .work(move |house| iak::begin(house, &caller, body))
            .await?
            .map_err(|failure| problem::begin(&failure))?;
        Ok(challenged(&front, &challenge))
    };
    settle(&front, outcome.await)
}

async fn certify(
    front: web::Data<Front>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let id = enrollment_id(&id)?;
        let body: CertificationRequest = extract::json(&request, &body.0)?;
        let caller = caller(&request);
        let activation = front.work(move |house| iak::certify(house, &caller, id, &body)).await?;
        activation
            .map(|activation| activated(&activation))
            .map_err(|failure| problem::activate(&failure))
    };
    settle(&front, outcome.await)
}

async fn begin_renewal(front: web::Data<Front>, request: HttpRequest, body: web::ReqData<Whole>) -> HttpResponse {
    let outcome = async {
        let body: IakRenewalRequest = extract::json(&request, &body.0)?;
        let (caller, shown) = (caller(&request), presented(&request));
        let challenge = front
            .work(move |house| iak::begin_renewal(house, &caller, shown.as_deref(), body))
            .await?
            .map_err(|failure| problem::renew(&failure))?;
        Ok(challenged(&front, &challenge))
    };
    settle(&front, outcome.await)
}

async fn certify_renewal(
    front: web::Data<Front>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let id = enrollment_id(&id)?;
        let body: CertificationRequest = extract::json(&request, &body.0)?;
        let (caller, shown) = (caller(&request), presented(&request));
        let activation = front
            .work(move |house| iak::certify_renewal(house, &caller, shown.as_deref(), id, &body))
            .await?;
        activation
            .map(|activation| activated(&activation))
            .map_err(|failure| problem::renew(&failure))
    };
    settle(&front, outcome.await)
}
