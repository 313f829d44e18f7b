//! Manifests, over the administration socket.

use actix_web::{HttpRequest, HttpResponse, web};
use wire::manifest::{ManifestLines, OpenManifest, WithdrawManifest};
use wire::problem::{Problem, ProblemCode};

use super::answers::{not_offered, only_get, only_post, settle};
use super::body::Whole;
use super::extract;
use super::front::Front;
use super::peer::actor;
use super::problem;
use super::query::{limit, number, query};
use crate::flow::manifest;

/// Its routes.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    let of = |end: &str| format!("/v1/manifests/{{id:[^/]*}}{end}");
    service
        .service(
            web::resource("/v1/manifests")
                .route(web::post().to(open))
                .route(web::get().to(list))
                .default_service(web::to(get_or_post)),
        )
        .service(
            web::resource(of(""))
                .route(web::get().to(show))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource(of("/refusals"))
                .route(web::get().to(refusals))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource(of("/lines"))
                .route(web::post().to(lines))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource(of("/withdrawal"))
                .route(web::post().to(withdraw))
                .default_service(web::to(only_post)),
        );
}

async fn get_or_post(front: web::Data<Front>) -> HttpResponse {
    not_offered(&front, "GET, POST")
}

fn number_of(text: &str) -> Result<i64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| Problem::new(ProblemCode::NotFound))
}

async fn open(front: web::Data<Front>, request: HttpRequest, body: web::ReqData<Whole>) -> HttpResponse {
    let outcome = async {
        let body: OpenManifest = extract::json(&request, &body.0)?;
        let actor = actor(&request);
        let manifest = front
            .work_aside(move |house| manifest::open(house, &actor, &body))
            .await?
            .map_err(|error| problem::manifest(&error))?;
        Ok(HttpResponse::Created().json(manifest))
    };
    settle(&front, outcome.await)
}

async fn lines(
    front: web::Data<Front>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let id = number_of(&id)?;
        let body: ManifestLines = extract::json(&request, &body.0)?;
        let actor = actor(&request);
        let manifest = front
            .work_aside(move |house| manifest::read(house, &actor, id, body.from, &body.lines))
            .await?
            .map_err(|error| problem::manifest(&error))?;
        Ok(HttpResponse::Ok().json(manifest))
    };
    settle(&front, outcome.await)
}

async fn withdraw(
    front: web::Data<Front>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let id = number_of(&id)?;
        let body: WithdrawManifest = extract::json(&request, &body.0)?;
        let actor = actor(&request);
        let manifest = front
            .work_aside(move |house| manifest::withdraw(house, &actor, id, &body.reason))
            .await?
            .map_err(|error| problem::manifest(&error))?;
        Ok(HttpResponse::Ok().json(manifest))
    };
    settle(&front, outcome.await)
}

async fn show(front: web::Data<Front>, id: web::Path<String>) -> HttpResponse {
    let outcome = async {
        let id = number_of(&id)?;
        let manifest = front
            .work_aside(move |house| manifest::find(house, id))
            .await?
            .map_err(|error| problem::manifest(&error))?;
        Ok(HttpResponse::Ok().json(manifest))
    };
    settle(&front, outcome.await)
}

async fn list(front: web::Data<Front>, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        let mut query = query(&request, &["cursor", "limit"])?;
        let before = number(&mut query, "cursor")?;
        let limit = limit(&mut query)?;
        let page = front
            .work_aside(move |house| manifest::list(house, before, limit))
            .await?
            .map_err(|error| problem::manifest(&error))?;
        Ok(HttpResponse::Ok().json(page))
    };
    settle(&front, outcome.await)
}

async fn refusals(front: web::Data<Front>, request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    let outcome = async {
        let id = number_of(&id)?;
        let mut query = query(&request, &["cursor", "limit"])?;
        let after = number(&mut query, "cursor")?;
        let limit = limit(&mut query)?;
        let page = front
            .work_aside(move |house| manifest::refusals(house, id, after, limit))
            .await?
            .map_err(|error| problem::manifest(&error))?;
        Ok(HttpResponse::Ok().json(page))
    };
    settle(&front, outcome.await)
}
