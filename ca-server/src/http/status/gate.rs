//! Before any handler of the status listener: how often; afterwards one count.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use wire::problem::{Problem, ProblemCode};

use super::Counted;
use crate::http::body::{hold, take};
use crate::http::front::Front;
use crate::http::problem::response_after;

/// Limit the rate per source, beside and not within that of devices, and count.
///
/// # Errors
/// What the handler returns; ours never do.
pub async fn gate<B: MessageBody>(
    front: web::Data<Front>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let source = request.peer_addr().map(|address| address.ip());
    let response = match front.status_rates.take(source) {
        Ok(()) => next.call(request).await?.map_into_left_body(),
        Err(wait) => {
            let problem = Problem::new(ProblemCode::RateLimited);
            let unread = take(&mut request);
            let answer = hold(response_after(&front.manners.base_url, problem, wait), unread);
            request.into_response(answer).map_into_right_body()
        }
    };
    let counted = response.response().extensions().get().copied();
    let Counted(route) = counted.unwrap_or(Counted("other"));
    front.house.metrics.answered(route, response.status().as_u16());
    Ok(response)
}
