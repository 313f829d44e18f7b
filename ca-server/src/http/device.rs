//! What is done with one device, over the administration socket.

use actix_web::{HttpRequest, HttpResponse, web};
use wire::admin::{HoldDevice, RenewDevice};
use wire::problem::{Problem, ProblemCode};

use super::answers::{only_post, settle};
use super::body::Whole;
use super::extract;
use super::front::Front;
use super::peer::actor;
use super::problem;
use super::shown::{device_in_full, device_of};
use crate::flow::device::{self, DeviceError};

/// Its routes.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    service
        .service(
            web::resource("/v1/devices/{name:[^/]*}/hold")
                .route(web::post().to(hold))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/devices/{name:[^/]*}/release")
                .route(web::post().to(release))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/devices/{name:[^/]*}/renewal")
                .route(web::post().to(renew))
                .default_service(web::to(only_post)),
        );
}

async fn hold(
    front: web::Data<Front>,
    request: HttpRequest,
    name: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    settle(&front, stand(&front, &request, name.into_inner(), &body, true).await)
}

async fn release(
    front: web::Data<Front>,
    request: HttpRequest,
    name: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    settle(&front, stand(&front, &request, name.into_inner(), &body, false).await)
}

async fn renew(
    front: web::Data<Front>,
    request: HttpRequest,
    name: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let body: RenewDevice = extract::json(&request, &body.0)?;
        let (actor, name) = (actor(&request), name.into_inner());
        let device = front
            .work_aside(move |house| {
                let row = device::call_renewal(house, &actor, &name, body.within, &body.reason)?;
                Ok(device_in_full(&house.store, row)?)
            })
            .await?
            .map_err(|error| refused(&error))?;
        Ok(HttpResponse::Ok().json(device))
    };
    settle(&front, outcome.await)
}

async fn stand(
    front: &Front,
    request: &HttpRequest,
    name: String,
    body: &Whole,
    held: bool,
) -> Result<HttpResponse, Problem> {
    let body: HoldDevice = extract::json(request, &body.0)?;
    let actor = actor(request);
    let device = front
        .work_aside(move |house| {
            let row = device::hold(house, &actor, &name, held, &body.reason)?;
            Ok(device_of(&house.store, row)?)
        })
        .await?
        .map_err(|error| refused(&error))?;
    Ok(HttpResponse::Ok().json(device))
}

fn refused(error: &DeviceError) -> Problem {
    match error {
        DeviceError::NotFound => Problem::new(ProblemCode::NotFound),
        DeviceError::Reason | DeviceError::Within => {
            Problem::new(ProblemCode::Malformed).with_detail(error.to_string())
        }
        DeviceError::Trouble(trouble) => problem::trouble(trouble),
    }
}
