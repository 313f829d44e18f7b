//! Stored evidence decided again, over the administration socket.

use actix_web::{HttpRequest, HttpResponse, web};
use wire::policy::ReplayPolicy;
use wire::problem::{Problem, ProblemCode};

use super::answers::{only_post, settle};
use super::body::Whole;
use super::extract;
use super::front::Front;
use super::problem;
use crate::flow::again::{ReplayError, replay};

/// Its routes.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    service.service(
        web::resource("/v1/policy-replays")
            .route(web::post().to(again))
            .default_service(web::to(only_post)),
    );
}

async fn again(front: web::Data<Front>, request: HttpRequest, body: web::ReqData<Whole>) -> HttpResponse {
    let outcome = async {
        let body: ReplayPolicy = extract::json(&request, &body.0)?;
        let page = front.work_aside(move |house| replay(house, &body)).await?;
        match page {
            Ok(page) => Ok(HttpResponse::Ok().json(page)),
            Err(ReplayError::Malformed(why)) => Err(Problem::new(ProblemCode::Malformed).with_detail(why)),
            Err(ReplayError::Trouble(trouble)) => Err(problem::trouble(&trouble)),
        }
    };
    settle(&front, outcome.await)
}
