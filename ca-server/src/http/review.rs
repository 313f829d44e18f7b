//! Reviews, over the administration socket: by people with a name where there are any, two of them for an approval.

use actix_web::{HttpRequest, HttpResponse, web};
use schema::ReviewState;
use wire::problem::{Problem, ProblemCode};
use wire::review::{ApproveReview, RejectReview, TpmKind};

use super::answers::{only_get, only_post, settle};
use super::body::Whole;
use super::extract;
use super::front::Front;
use super::peer::{actor, person};
use super::problem;
use super::query::{limit, number, query};
use crate::flow::review;

/// Its routes.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    service
        .service(
            web::resource("/v1/reviews")
                .route(web::get().to(list))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/v1/reviews/{id:[^/]*}/approval")
                .route(web::post().to(approve))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/reviews/{id:[^/]*}/rejection")
                .route(web::post().to(reject))
                .default_service(web::to(only_post)),
        );
}

async fn approve(
    front: web::Data<Front>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let body: ApproveReview = extract::json(&request, &body.0)?;
        decide(&front, &request, &id, Some(body.kind), body.reason).await
    };
    settle(&front, outcome.await)
}

async fn reject(
    front: web::Data<Front>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let body: RejectReview = extract::json(&request, &body.0)?;
        decide(&front, &request, &id, None, body.reason).await
    };
    settle(&front, outcome.await)
}

/// Where there are operators, they decide, by name: root and the server's user are nobody in particular.
async fn decide(
    front: &Front,
    request: &HttpRequest,
    id: &str,
    kind: Option<TpmKind>,
    reason: String,
) -> Result<HttpResponse, Problem> {
    let digits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    let id: Option<i64> = digits.then(|| id.parse().ok()).flatten();
    let id = id.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
    let by_two = !front.manners.operators.is_empty();
    let person = match person(request) {
        Some(person) => person,
        None if by_two => {
            return Err(Problem::new(ProblemCode::Forbidden)
                .with_detail("a review is decided by people named in [operators] of server.toml"));
        }
        None => actor(request),
    };
    let review = front
        .work_aside(move |house| review::decide(house, &person, id, kind, &reason, by_two))
        .await?
        .map_err(|error| problem::review(&error))?;
    Ok(HttpResponse::Ok().json(review))
}

async fn list(front: web::Data<Front>, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        let mut query = query(&request, &["state", "cursor", "limit"])?;
        let state = query.remove("state").unwrap_or_else(|| "pending".to_owned());
        let state = ReviewState::from_text(&state).ok_or_else(|| {
            Problem::new(ProblemCode::Malformed).with_detail("state: pending, approved, rejected or expired")
        })?;
        let after = number(&mut query, "cursor")?;
        let limit = limit(&mut query)?;
        let page = front
            .work_aside(move |house| review::list(house, state, after, limit))
            .await?
            .map_err(|error| problem::review(&error))?;
        Ok(HttpResponse::Ok().json(page))
    };
    settle(&front, outcome.await)
}
