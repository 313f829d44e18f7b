//! Renewals: the same two calls as an enrollment, with the current certificate in TLS.

use core::str::FromStr as _;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use wire::enrollment::ActivationRequest;
use wire::problem::{Problem, ProblemCode};
use wire::renewal::{CertificateId, RenewalRequest};

use super::answers::{activated, challenged, only_get, only_post, settle};
use super::body::Whole;
use super::extract::{self, caller, enrollment_id};
use super::front::Front;
use super::presented::presented;
use super::problem;
use crate::flow::renew;

/// The routes of a renewal, on the public listener.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    service
        .service(
            web::resource("/v1/renewals")
                .route(web::post().to(begin))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/renewals/{id:[^/]*}/activation")
                .route(web::post().to(activate))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/renewal-info/{certificate:[^/]*}")
                .route(web::get().to(info))
                .default_service(web::to(only_get)),
        );
}

async fn info(front: web::Data<Front>, certificate: web::Path<String>) -> HttpResponse {
    let outcome = async {
        let id = CertificateId::from_str(&certificate)
            .map_err(|wrong| Problem::new(ProblemCode::Malformed).with_detail(wrong.to_string()))?;
        let info = front
            .work(move |house| renew::info(house, &id).map(|info| (info, house.terms.renewal_info)))
            .await?
            .map_err(|error| problem::lookup(&error))?;
        let (info, again) = info;
        Ok(HttpResponse::Ok()
            .insert_header((header::RETRY_AFTER, again.as_secs().max(1).to_string()))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(info))
    };
    settle(&front, outcome.await)
}

async fn begin(front: web::Data<Front>, request: HttpRequest, body: web::ReqData<Whole>) -> HttpResponse {
    let outcome = async {
        let body: RenewalRequest = extract::json(&request, &body.0)?;
        let (caller, shown) = (caller(&request), presented(&request));
        let challenge = front
            .work(move |house| renew::begin(house, &caller, shown.as_deref(), body))
            .await?
            .map_err(|failure| problem::renew(&failure))?;
        Ok(challenged(&front, &challenge))
    };
    settle(&front, outcome.await)
}

async fn activate(
    front: web::Data<Front>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let id = enrollment_id(&id)?;
        let body: ActivationRequest = extract::json(&request, &body.0)?;
        let (caller, shown) = (caller(&request), presented(&request));
        let activation = front
            .work(move |house| renew::activate(house, &caller, shown.as_deref(), id, &body))
            .await?;
        activation
            .map(|activation| activated(&activation))
            .map_err(|failure| problem::renew(&failure))
    };
    settle(&front, outcome.await)
}
