//! OCSP over HTTP (RFC 6960 A, RFC 9919 §5): GET with the request in the path, POST with it as the body.
//!
//! Every answer to an OCSP request is 200 and an OCSPResponse, refusals too: clients read no other.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix_web::http::{Method, header};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use attest::UnixTime;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use issuance::ocsp::{MAX_REQUEST_BYTES, OcspRefusal};
use schema::StatusRow;
use tokio::sync::oneshot;
use wire::problem::{Problem, ProblemCode};

use super::Counted;
use super::documents::has;
use crate::flow::ocsp::{self, Asked};
use crate::house::{Answer, House, Ocsp, path_of};
use crate::http::answers::not_offered;
use crate::http::body::Whole;
use crate::http::front::Front;
use crate::http::problem::response;

const ANSWER: &str = "application/ocsp-response";
const REQUEST: &str = "application/ocsp-request";

/// Clients differ on whether to send the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where OCSP requests arrive: the path of the URL in certificates, or `/ocsp`.
pub(in crate::http) struct Mount(String);

impl Mount {
    /// Without a slash at its end; none when this server does not answer.
    pub(in crate::http) fn of(house: &House) -> Option<Self> {
        house.ocsp.as_ref()?;
        let path = match &house.issuer.urls().ocsp {
            Some(url) => path_of(url),
            None => "/ocsp",
        };
        Some(Self(path.trim_end_matches('/').to_owned()))
    }
    /// What follows it in a path, when it is meant.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.0.as_str())?;
        // Base64 has slashes, and never begins with one here: a request is a SEQUENCE.
        match rest.strip_prefix('/') {
            Some(rest) => Some(rest.trim_start_matches('/')),
            None if rest.is_empty() => Some(rest),
            None => None,
        }
    }
    /// What follows it in the path of this request, when it asks the responder.
    pub(super) fn meant<'a>(&self, request: &'a HttpRequest) -> Option<&'a str> {
        self.rest(request.uri().path_and_query().map_or("/", |path| path.as_str()))
    }
}

/// Answer. `rest` is what follows the mount in the path.
pub(super) async fn respond(front: &web::Data<Front>, ocsp: &Ocsp, request: &HttpRequest, rest: &str) -> HttpResponse {
    let get = request.method() == Method::GET || request.method() == Method::HEAD;
    let body = if get && !rest.is_empty() {
        from_path(rest).map(web::Bytes::from)
    } else if request.method() == Method::POST && rest.is_empty() {
        match posted(request) {
            Ok(body) => Some(body),
            Err(problem) => return response(&front.manners.base_url, problem),
        }
    } else {
        return not_offered(front, if rest.is_empty() { "POST" } else { "GET, HEAD" });
    };
    let metrics = &front.house.metrics;
    let outcome = match body {
        None => Err(OcspRefusal::MalformedRequest),
        Some(body) => answer(front, ocsp, &body).await,
    };
    let mut given = match outcome {
        Ok((answer, from)) => {
            metrics.ocsp_answered(word(&answer), from);
            if get {
                cacheable(request, &answer, front.house.clock.read().now)
            } else {
                HttpResponse::Ok()
                    .insert_header((header::CONTENT_TYPE, ANSWER))
                    .body(answer.der.clone())
            }
        }
        Err(refusal) => {
            metrics.ocsp_answered(refusal.as_str(), "none");
            HttpResponse::Ok()
                .insert_header((header::CONTENT_TYPE, ANSWER))
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .body(refusal.der())
        }
    };
    given.extensions_mut().insert(Counted("ocsp"));
    given
}

/// Look it up, then sign, or give what was signed before.
async fn answer(
    front: &web::Data<Front>,
    ocsp: &Ocsp,
    body: &[u8],
) -> Result<(Arc<Answer>, &'static str), OcspRefusal> {
    let mut asked = ocsp::asked(ocsp, body)?;
    // Before the look-up: an answer speaks of a moment that the look-up has seen.
    let now = front.house.clock.read().now;
    let rows = look_up(front, ocsp, &asked).await?;
    for row in &rows {
        ocsp::said(Some(row), now)?;
    }
    if asked.plain().is_none() && front.fresh_rate.take(None).is_err() {
        // A responder may leave a nonce out (RFC 9654 §2.1); whether that will do, the client decides.
        asked = asked.without_nonce().ok_or(OcspRefusal::TryLater)?;
    }
    if let (Some(id), Some(row)) = (asked.plain(), rows.first())
        && let Some(answer) = ocsp::usable(ocsp, &id, row, now)
    {
        return Ok((answer, "cache"));
    }
    let signed = front.work(move |house| match &house.ocsp {
        Some(ocsp) => ocsp::reply(house, ocsp, asked, &rows, now),
        None => Err(OcspRefusal::InternalError),
    });
    match signed.await {
        Ok(outcome) => outcome.map(|answer| (answer, "signer")),
        Err(problem) if problem.code == ProblemCode::Internal => Err(OcspRefusal::InternalError),
        Err(_) => Err(OcspRefusal::TryLater),
    }
}

/// What the record says of each of them, read after this was called.
async fn look_up(front: &web::Data<Front>, ocsp: &Ocsp, asked: &Asked) -> Result<Vec<StatusRow>, OcspRefusal> {
    let mut waiting = Vec::with_capacity(asked.ids.len());
    for id in &asked.ids {
        let (told, hears) = oneshot::channel();
        let hear = move |said| {
            let _ = told.send(said);
        };
        ocsp.statuses.ask(*id.serial.octets(), Box::new(hear));
        waiting.push(hears);
    }
    let mut rows = Vec::with_capacity(waiting.len());
    for (hears, id) in waiting.into_iter().zip(&asked.ids) {
        match tokio::time::timeout(front.manners.limits.queue_deadline, hears).await {
            Ok(Ok(Ok(Some(row)))) => rows.push(row),
            Ok(Ok(Ok(None))) => {
                front.house.metrics.ocsp_not_on_record();
                // Serials are random: whoever names one of our form either guesses, or holds a certificate that we do not know.
                tracing::debug!(serial = %id.serial.hex(), "an OCSP question about a serial that is not on record");
                return Err(OcspRefusal::Unauthorized);
            }
            // The record cannot be read: then nothing is known, whatever was signed before.
            Ok(Ok(Err(why))) => {
                tracing::warn!(why, "an OCSP question found no record to look into");
                return Err(OcspRefusal::TryLater);
            }
            Ok(Err(_)) | Err(_) => return Err(OcspRefusal::TryLater),
        }
    }
    Ok(rows)
}

/// The request in a path: percent-decoded, then base64.
fn from_path(rest: &str) -> Option<Vec<u8>> {
    // Base64 takes four for three, percent-encoding three for one.
    if rest.len() > MAX_REQUEST_BYTES * 4 {
        return None;
    }
    let mut text = Vec::with_capacity(rest.len());
    let mut octets = rest.bytes();
    while let Some(octet) = octets.next() {
        if octet == b'%' {
            let digit = |octet: Option<u8>| char::from(octet?).to_digit(16);
            let (high, low) = (digit(octets.next())?, digit(octets.next())?);
            text.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            text.push(octet);
        }
    }
    BASE64.decode(text).ok()
}

/// The body of a POST, of exactly its media type.
fn posted(request: &HttpRequest) -> Result<web::Bytes, Problem> {
    let refused = || Problem::new(ProblemCode::UnsupportedMedia);
    let mut given = request.headers().get_all(header::CONTENT_TYPE);
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(refused());
    };
    let exactly = value
        .to_str()
        .is_ok_and(|text| text.trim().eq_ignore_ascii_case(REQUEST));
    if !exactly || request.headers().contains_key(header::CONTENT_ENCODING) {
        return Err(refused());
    }
    let body = request.extensions().get::<Whole>().map(|whole| whole.0.clone());
    Ok(body.unwrap_or_default())
}

/// For proxies and clients (RFC 9919 §6): to be kept until half of its time has passed.
fn cacheable(request: &HttpRequest, answer: &Answer, now: UnixTime) -> HttpResponse {
    let digest = openssl::sha::sha256(&answer.der);
    let tag = header::EntityTag::new_strong(hex::encode(digest.get(..16).unwrap_or_default()));
    let known = has(request, &tag);
    let mut given = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    let age = answer.refresh_at().saturating_sub(now.0).max(0);
    given
        .insert_header(header::ETag(tag))
        .insert_header((
            header::CACHE_CONTROL,
            format!("max-age={age}, public, no-transform, must-revalidate"),
        ))
        .insert_header(header::Expires(date(now.0.saturating_add(age))))
        .insert_header(header::LastModified(date(answer.this_update.0)));
    if known {
        given.finish()
    } else {
        given
            .insert_header((header::CONTENT_TYPE, ANSWER))
            .body(answer.der.clone())
    }
}

fn date(at: i64) -> header::HttpDate {
    let since = Duration::from_secs(u64::try_from(at).unwrap_or_default());
    // The last second of 9999: what an HTTP date can say.
    let last = Duration::from_secs(253_402_300_799);
    (SystemTime::UNIX_EPOCH + since.min(last)).into()
}

/// What it says, for the metrics.
fn word(answer: &Answer) -> &'static str {
    match ocsp::said(Some(&answer.row), answer.this_update) {
        Ok(issuance::ocsp::CertStatus::Good) => "good",
        Ok(issuance::ocsp::CertStatus::Revoked { .. }) => "revoked",
        Err(refusal) => refusal.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_questions() {
        let mount = Mount("/ocsp".to_owned());
        for (path, rest) in [
            ("/ocsp", Some("")),
            ("/ocsp/", Some("")),
            ("/ocsp/MEI=", Some("MEI=")),
            ("/ocsp//MEI=", Some("MEI=")),
            ("/ocsp/ME/I/", Some("ME/I/")),
            ("/ocspx", None),
            ("/ocsp.cer", None),
            ("/other", None),
            ("/", None),
        ] {
            assert_eq!(mount.rest(path), rest, "{path}");
        }
        let root = Mount(String::new());
        assert_eq!(root.rest("/MEI="), Some("MEI="));
        assert_eq!(root.rest("/"), Some(""));
    }

    /// D09: percent signs, slashes, plus signs, padding or none.
    #[test]
    fn requests_in_paths() {
        let octets = [0x30, 0x03, 0xfb, 0xff, 0xfe, 0x3e];
        for text in [
            "MAP7//4+",
            "MAP7%2F%2F4%2B",
            "MAP7%2f%2f4%2b",
            "MAP7//4%2B",
            "%4DAP7//4+",
        ] {
            assert_eq!(from_path(text).unwrap(), octets, "{text}");
        }
        for text in ["MAM", "MAM=", "MAM%3D"] {
            assert_eq!(from_path(text).unwrap(), [0x30, 0x03], "{text}");
        }
        for text in ["MAP7_w", "MA%", "MA%2", "MA%zz", "M", "MAP7 ", "MAM==", "MAN=", "%ff"] {
            assert_eq!(from_path(text), None, "{text}");
        }
        assert_eq!(from_path(&"M".repeat(MAX_REQUEST_BYTES * 4 + 4)), None);
    }

    #[test]
    fn dates_up_to_the_last_one() {
        for (at, text) in [
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(date(at).to_string(), text);
        }
    }
}
