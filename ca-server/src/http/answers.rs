//! Answers that every listener gives.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use wire::enrollment::EnrollmentChallenge;
use wire::problem::{Problem, ProblemCode};

use super::front::Front;
use super::problem::response;
use crate::flow::enroll::Activation;

/// 404.
pub(super) async fn nothing_here(front: web::Data<Front>) -> HttpResponse {
    response(&front.manners.base_url, Problem::new(ProblemCode::NotFound))
}

/// 405 where only GET is offered.
pub(super) async fn only_get(front: web::Data<Front>) -> HttpResponse {
    not_offered(&front, "GET")
}

/// 405 where only POST is offered.
pub(super) async fn only_post(front: web::Data<Front>) -> HttpResponse {
    not_offered(&front, "POST")
}

/// 405: this way there is nothing, but another way there is.
pub(super) fn not_offered(front: &Front, allow: &'static str) -> HttpResponse {
    let mut answer = response(&front.manners.base_url, Problem::new(ProblemCode::MethodNotAllowed));
    answer
        .headers_mut()
        .insert(header::ALLOW, header::HeaderValue::from_static(allow));
    answer
}

/// The problem becomes its answer.
pub(super) fn settle(front: &Front, outcome: Result<HttpResponse, Problem>) -> HttpResponse {
    outcome.unwrap_or_else(|problem| response(&front.manners.base_url, problem))
}

/// 201: a challenge, and where its enrollment will be found.
pub(super) fn challenged(front: &Front, challenge: &EnrollmentChallenge) -> HttpResponse {
    let location = format!("{}/v1/enrollments/{}", front.manners.base_url, challenge.id);
    HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(challenge)
}

/// 200 with the certificates, or 202 while another request makes them.
pub(super) fn activated(activation: &Activation) -> HttpResponse {
    match activation {
        Activation::Done(result) => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(result),
        Activation::UnderWay(result) => HttpResponse::Accepted()
            .insert_header((header::RETRY_AFTER, "1"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(result),
    }
}
