//! Reading what a client sent: strictly.

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use serde::de::DeserializeOwned;
use wire::EnrollmentId;
use wire::problem::{Problem, ProblemCode};

/// Where a request comes from, for the record.
pub(super) fn caller(request: &HttpRequest) -> String {
    request
        .peer_addr()
        .map_or_else(|| "unknown".to_owned(), |address| address.ip().to_string())
}

/// The id in a path.
pub(super) fn enrollment_id(text: &str) -> Result<EnrollmentId, Problem> {
    text.parse().map_err(|wrong: wire::enrollment::NotAnEnrollmentId| {
        Problem::new(ProblemCode::Malformed).with_detail(wrong.to_string())
    })
}

/// The JSON body.
pub(super) fn json<T: DeserializeOwned>(request: &HttpRequest, body: &web::Bytes) -> Result<T, Problem> {
    media_type(request)?;
    wire::parse(body).map_err(|malformed| Problem::new(ProblemCode::Malformed).with_detail(malformed.detail))
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
