//! Before any handler: how often, and afterwards: one line of log and one count.

use std::time::Instant;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, web};
use wire::problem::{Problem, ProblemCode};

use super::body::{hold, take};
use super::front::Front;
use super::problem::response_after;

/// Limit the rate per source and in total, count and log.
///
/// # Errors
/// What the handler returns; ours never do.
pub async fn gate<B: MessageBody>(
    front: web::Data<Front>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let start = Instant::now();
    let source = request.peer_addr().map(|address| address.ip());
    // Who supervises us is not limited.
    let limited = request.path() != "/livez";
    let response = match if limited { front.rates.take(source) } else { Ok(()) } {
        Ok(()) => next.call(request).await?.map_into_left_body(),
        Err(wait) => {
            let problem = Problem::new(ProblemCode::RateLimited);
            let unread = take(&mut request);
            let answer = hold(response_after(&front.manners.base_url, problem, wait), unread);
            request.into_response(answer).map_into_right_body()
        }
    };
    let status = response.status().as_u16();
    let route = route(response.request().match_pattern().as_deref());
    front.house.metrics.answered(route, status);
    tracing::debug!(
        method = %response.request().method(),
        route,
        status,
        source = source.map(tracing::field::display),
        micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    Ok(response)
}

/// The pattern, out of a fixed set.
fn route(pattern: Option<&str>) -> &'static str {
    const KNOWN: [&str; 15] = [
        "/v1/enrollments",
        "/v1/enrollments/{id}",
        "/v1/enrollments/{id}/activation",
        "/v1/renewals",
        "/v1/renewals/{id}/activation",
        "/v1/renewal-info/{certificate}",
        "/v1/iak-enrollments",
        "/v1/iak-enrollments/{id}/certification",
        "/v1/iak-renewals",
        "/v1/iak-renewals/{id}/certification",
        "/v1/certificates/{serial}",
        "/v1/issuers",
        "/v1/issuers/chain.pem",
        "/problems/{code}",
        "/livez",
    ];
    pattern
        .map(|pattern| pattern.replace(":[^/]*}", "}"))
        .and_then(|pattern| KNOWN.into_iter().find(|known| *known == pattern))
        .unwrap_or("other")
}
