//! Reading what a client sent: strictly, with a limit, and not for ever.

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use wire::problem::{Problem, ProblemCode};

/// The JSON body.
pub(super) async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
    time: Duration,
) -> Result<T, Problem> {
    media_type(request)?;
    let body = body(request, payload, limit, time).await?;
    wire::parse(&body).map_err(|malformed| Problem::new(ProblemCode::Malformed).with_detail(malformed.detail))
}

/// Exactly `application/json`, with no parameter but `charset=utf-8`, and no coding on top.
fn media_type(request: &HttpRequest) -> Result<(), Problem> {
    let refused = || Problem::new(ProblemCode::UnsupportedMedia);
    let mut given = request.headers().get_all(header::CONTENT_TYPE);
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(refused());
    };
    let text = value.to_str().map_err(|_| refused())?;
    let (kind, parameter) = match text.split_once(';') {
        None => (text, None),
        Some((kind, parameter)) => (kind, Some(parameter.trim())),
    };
    let utf8 = parameter.is_none_or(|parameter| {
        parameter.eq_ignore_ascii_case("charset=utf-8") || parameter.eq_ignore_ascii_case("charset=\"utf-8\"")
    });
    let coded = request.headers().contains_key(header::CONTENT_ENCODING);
    if kind.trim_end().eq_ignore_ascii_case("application/json") && utf8 && !coded {
        Ok(())
    } else {
        Err(refused())
    }
}

/// The bytes, as many as are allowed, in the time that is allowed for all of them.
async fn body(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
    time: Duration,
) -> Result<web::Bytes, Problem> {
    let too_large = || Problem::new(ProblemCode::PayloadTooLarge);
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match timeout(time, payload.to_bytes_limited(limit)).await {
        Err(_) => Err(Problem::new(ProblemCode::Malformed).with_detail("the body took too long")),
        Ok(Err(_)) => Err(too_large()),
        Ok(Ok(Err(_))) => Err(Problem::new(ProblemCode::Malformed).with_detail("the body broke off")),
        Ok(Ok(Ok(bytes))) => Ok(bytes),
    }
}
