//! Renewals: the same two calls as an enrollment, with the current certificate in TLS.

use actix_web::{HttpRequest, HttpResponse, web};
use wire::enrollment::ActivationRequest;
use wire::renewal::RenewalRequest;

use super::answers::{activated, challenged, only_post, settle};
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
        );
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
