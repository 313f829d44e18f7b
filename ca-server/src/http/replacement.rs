//! Replacing a device's TPM, over the administration socket: by people with a name, two of them.

use actix_web::{HttpRequest, HttpResponse, web};
use schema::NewTpm;
use wire::problem::{Problem, ProblemCode};
use wire::replacement::{Decide, ReplaceTpm};

use super::answers::{only_get, only_post, settle};
use super::body::Whole;
use super::extract;
use super::front::Front;
use super::peer::person;
use super::problem;
use super::query::{limit, number, query};
use super::shown::sha256_of;
use crate::flow::replace::{self, Wish};

/// Its routes.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    service
        .service(
            web::resource("/v1/devices/{name:[^/]*}/replacement")
                .route(web::post().to(request))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/replacements")
                .route(web::get().to(list))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/v1/replacements/{id:[^/]*}")
                .route(web::get().to(show))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/v1/replacements/{id:[^/]*}/approval")
                .route(web::post().to(approve))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/replacements/{id:[^/]*}/rejection")
                .route(web::post().to(reject))
                .default_service(web::to(only_post)),
        );
}

/// Who asks, by name: root and the server's own user are nobody in particular, and two of them may be one person.
fn named(request: &HttpRequest) -> Result<String, Problem> {
    person(request).ok_or_else(|| {
        Problem::new(ProblemCode::Forbidden)
            .with_detail("a replacement is asked for and decided by people named in [operators] of server.toml")
    })
}

fn number_of(text: &str) -> Result<i64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| Problem::new(ProblemCode::NotFound))
}

async fn request(
    front: web::Data<Front>,
    request: HttpRequest,
    name: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let body: ReplaceTpm = extract::json(&request, &body.0)?;
        let person = named(&request)?;
        let malformed = |what: &str| Problem::new(ProblemCode::Malformed).with_detail(what);
        let new_tpm = match (&body.ek_spki_sha256, &body.iak_spki_sha256, body.first_contact_for) {
            (Some(text), None, None) => {
                NewTpm::Named(sha256_of(text).ok_or_else(|| malformed("ek_spki_sha256: 64 lower-case hex digits"))?)
            }
            (None, Some(text), None) => {
                NewTpm::Iak(sha256_of(text).ok_or_else(|| malformed("iak_spki_sha256: 64 lower-case hex digits"))?)
            }
            (None, None, Some(seconds)) => NewTpm::FirstContact(seconds),
            _ => {
                return Err(malformed(
                    "name the new TPM (ek_spki_sha256, or iak_spki_sha256) or open a window for it (first_contact_for)",
                ));
            }
        };
        let device = name.into_inner();
        let replacement = front
            .work_aside(move |house| {
                let wish = Wish {
                    device: &device,
                    new_tpm,
                    revocation: body.revocation,
                    reason: &body.reason,
                    valid_for: body.valid_for,
                };
                replace::request(house, &person, &wish)
            })
            .await?
            .map_err(|error| problem::replace(&error))?;
        Ok(HttpResponse::Created().json(replacement))
    };
    settle(&front, outcome.await)
}

async fn approve(
    front: web::Data<Front>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    settle(&front, decide(&front, &request, &id, &body, true).await)
}

async fn reject(
    front: web::Data<Front>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    settle(&front, decide(&front, &request, &id, &body, false).await)
}

async fn decide(
    front: &Front,
    request: &HttpRequest,
    id: &str,
    body: &Whole,
    approve: bool,
) -> Result<HttpResponse, Problem> {
    let id = number_of(id)?;
    let body: Decide = extract::json(request, &body.0)?;
    let person = named(request)?;
    let replacement = front
        .work_aside(move |house| replace::decide(house, &person, id, approve, body.comment.as_deref()))
        .await?
        .map_err(|error| problem::replace(&error))?;
    Ok(HttpResponse::Ok().json(replacement))
}

async fn show(front: web::Data<Front>, id: web::Path<String>) -> HttpResponse {
    let outcome = async {
        let id = number_of(&id)?;
        let replacement = front
            .work_aside(move |house| replace::find(house, id))
            .await?
            .map_err(|error| problem::replace(&error))?;
        Ok(HttpResponse::Ok().json(replacement))
    };
    settle(&front, outcome.await)
}

async fn list(front: web::Data<Front>, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        let mut query = query(&request, &["device", "cursor", "limit"])?;
        let device = query.remove("device");
        let before = number(&mut query, "cursor")?;
        let limit = limit(&mut query)?;
        let page = front
            .work_aside(move |house| replace::list(house, device.as_deref(), before, limit))
            .await?
            .map_err(|trouble| problem::trouble(&trouble))?;
        Ok(HttpResponse::Ok().json(page))
    };
    settle(&front, outcome.await)
}
