//! What people read in a browser: `/`, `/trust` and the files beside it, `/ledger/leaf/N`, `/verify/SERIAL`.
//!
//! Nothing is said of a serial that is not in the published tree, whatever the reason: 404.

use std::sync::{Mutex, PoisonError};

use ::pages::{Authority, policy};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use issuance::Issuer;
use wire::problem::{Problem, ProblemCode};

use super::Counted;
use super::documents::{Document, published};
use crate::flow::Trouble;
use crate::flow::page::{self, Trusted};
use crate::house::House;
use crate::http::answers::{not_offered, nothing_here};
use crate::http::front::Front;
use crate::http::problem::response;

/// How long a page may be kept, seconds.
const AGE: u64 = 60;
/// The trust page is made anew when it is so old, seconds: it says what everybody asks, and is the same for all.
const FRESH: i64 = 2;
const COUNTED: Counted = Counted("page");

/// What the pages stand on while the server runs.
pub(in crate::http) struct Pages {
    authorities: Vec<Authority>,
    policy: String,
    /// The trust page, its files, and when they were made, unix seconds.
    made: Mutex<Option<(i64, Files)>>,
}

#[derive(Clone)]
struct Files {
    page: Document,
    roots: Document,
    chain: Document,
    key: Option<Document>,
}

impl Files {
    fn new(made: Trusted) -> Self {
        let pem = "application/pem-certificate-chain";
        let file = |kind, text: String| Document::new(COUNTED, kind, text.into_bytes());
        Self {
            page: file("text/html; charset=utf-8", made.page),
            roots: file(pem, made.roots),
            chain: file(pem, made.chain),
            key: made.key.map(|key| file("text/plain; charset=utf-8", key)),
        }
    }

    fn of(self, file: File) -> Option<Document> {
        match file {
            File::Page => Some(self.page),
            File::Roots => Some(self.roots),
            File::Chain => Some(self.chain),
            File::Key => self.key,
        }
    }
}

impl Pages {
    /// Of this CA.
    pub(in crate::http) fn of(issuer: &Issuer) -> Self {
        let read = |der: &Vec<u8>| {
            let read = Authority::read(der);
            read.inspect_err(|error| tracing::warn!(%error, "the trust page is without it"))
                .ok()
        };
        Self {
            authorities: issuer.chain().iter().filter_map(read).collect(),
            policy: policy(),
            made: Mutex::default(),
        }
    }
}

/// The trust page, or what lies beside it.
#[derive(Clone, Copy)]
pub(super) enum File {
    Page,
    Roots,
    Chain,
    Key,
}

/// What is asked for.
pub(super) enum Asked {
    Trust(File),
    Leaf(u64),
    Serial(Vec<u8>),
    /// What somebody typed: where it leads.
    Typed(String),
    Nothing,
}

/// What a path means; `None`: it is no page's.
pub(super) fn meant(request: &HttpRequest) -> Option<Asked> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return None;
    }
    let path = request.uri().path();
    Some(match path {
        "/" | "/trust" => Asked::Trust(File::Page),
        "/trust/roots.pem" => Asked::Trust(File::Roots),
        "/trust/chain.pem" => Asked::Trust(File::Chain),
        "/trust/ledger.vkey" => Asked::Trust(File::Key),
        "/verify" => typed(request.query_string()).map_or(Asked::Nothing, Asked::Typed),
        _ => {
            if let Some(number) = path.strip_prefix("/ledger/leaf/") {
                number_of(number).map_or(Asked::Nothing, Asked::Leaf)
            } else {
                let serial = path.strip_prefix("/verify/")?;
                serial_of(serial).map_or(Asked::Nothing, Asked::Serial)
            }
        }
    })
}

/// A number, in one way only.
fn number_of(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// A serial, in one way only: pairs of lower-case hex digits, at most 20 octets (RFC 5280 §4.1.2.2).
fn serial_of(text: &str) -> Option<Vec<u8>> {
    let bytes = hex::decode(text).ok()?;
    ((1..=20).contains(&bytes.len()) && hex::encode(&bytes) == text).then_some(bytes)
}

/// A serial as people copy it: upper case, colons, blanks, `0x`, without the zeros that DER wants before it.
fn typed(query: &str) -> Option<String> {
    let value = query.strip_prefix("serial=")?;
    if value.len() > 240 {
        return None;
    }
    // In a form's spelling blanks are `+`, colons `%3A`; all other escapes are of nothing that a serial has.
    let text = value
        .replace("%3A", ":")
        .replace("%3a", ":")
        .replace("%20", " ")
        .replace('+', " ")
        .to_lowercase();
    let text: String = text.chars().filter(|c| !matches!(c, ':' | ' ' | '-')).collect();
    let text = text.strip_prefix("0x").unwrap_or(&text);
    let even = if text.len() % 2 == 1 {
        format!("0{text}")
    } else {
        text.to_owned()
    };
    // As in DER: a first bit that is set has an octet before it; people's tools leave that out.
    let first = serial_of(&even)?.first().copied()?;
    Some(if first & 0x80 == 0 { even } else { format!("00{even}") })
}

/// The answer.
pub(super) async fn answer(front: &Data<Front>, request: &HttpRequest, asked: Asked) -> HttpResponse {
    let found = match asked {
        Asked::Nothing => Ok(None),
        Asked::Typed(serial) => {
            let mut answer = HttpResponse::SeeOther();
            answer.insert_header((header::LOCATION, format!("/verify/{serial}")));
            let mut answer = answer.finish();
            answer.extensions_mut().insert(COUNTED);
            return answer;
        }
        Asked::Trust(file) => trust(front).await.map(|files| files.of(file)),
        Asked::Leaf(place) => worked(front, move |house| shown(house, Some(place))).await,
        Asked::Serial(serial) => worked(front, move |house| shown(house, page::place(house, &serial)?)).await,
    };
    match found {
        Ok(Some(document)) => {
            let mut answer = document.answer(request, AGE);
            dress(&mut answer, &front.pages.policy);
            answer
        }
        Ok(None) => nothing_here(front.clone()).await,
        Err(problem) => response(&front.manners.base_url, problem),
    }
}

/// 405 for what is a page to whoever reads it.
pub(super) fn only_read(front: &Front, request: &HttpRequest) -> Option<HttpResponse> {
    let path = request.uri().path();
    let read = request.method() == Method::GET || request.method() == Method::HEAD;
    let page = path == "/" || path == "/trust" || path == "/verify" || path.starts_with("/verify/");
    (page && !read).then(|| not_offered(front, "GET, HEAD"))
}

fn shown(house: &House, place: Option<u64>) -> Result<Option<Document>, Trouble> {
    let page = match place {
        Some(place) => page::leaf(house, place)?,
        None => None,
    };
    Ok(page.map(|page| Document::new(COUNTED, "text/html; charset=utf-8", page.into_bytes())))
}

async fn worked<T: Send + 'static>(
    front: &Data<Front>,
    work: impl FnOnce(&House) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Problem> {
    front.work(work).await?.map_err(|trouble| {
        tracing::warn!(%trouble, "a page cannot be made");
        Problem::new(ProblemCode::StorageUnavailable)
    })
}

async fn trust(front: &Data<Front>) -> Result<Files, Problem> {
    let now = front.house.clock.read().now.0;
    let kept = move |front: &Front| {
        let made = front.pages.made.lock().unwrap_or_else(PoisonError::into_inner);
        let young = made.as_ref().filter(|(at, _)| (0..FRESH).contains(&(now - at)));
        young.map(|(_, files)| files.clone())
    };
    if let Some(files) = kept(front) {
        return Ok(files);
    }
    let shared = front.clone();
    worked(front, move |house| {
        // Others may have waited for the same.
        if let Some(files) = kept(&shared) {
            return Ok(files);
        }
        let below = |path: &str| Some(published(shared.manners.published.as_deref()?, path)?.bytes.to_vec());
        let files = Files::new(page::trust(house, &shared.pages.authorities, below)?);
        let mut made = shared.pages.made.lock().unwrap_or_else(PoisonError::into_inner);
        *made = Some((now, files.clone()));
        Ok(files)
    })
    .await
}

/// What keeps a page to itself.
fn dress(answer: &mut HttpResponse, policy: &str) {
    let headers = answer.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), microphone=(), geolocation=()",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_as_people_copy_it() {
        for (query, serial) in [
            ("serial=0A0b", Some("0a0b")),
            ("serial=0A%3A0B%3A0c", Some("0a0b0c")),
            ("serial=0x1f+2b", Some("1f2b")),
            ("serial=abc", Some("0abc")),
            ("serial=8001", Some("008001")),
            ("serial=008001", Some("008001")),
            ("serial=", None),
            ("serial=xyz", None),
            ("serial=%3Cscript%3E", None),
            ("other=00", None),
            ("serial=00&x=1", None),
        ] {
            assert_eq!(typed(query).as_deref(), serial, "{query}");
        }
        assert_eq!(typed(&format!("serial={}", "0".repeat(42))), None);
        assert_eq!(typed(&format!("serial={}", "0".repeat(300))), None);
    }

    #[test]
    fn one_path_for_one_thing() {
        assert_eq!(number_of("0"), Some(0));
        assert_eq!(number_of("18446744073709551615"), Some(u64::MAX));
        for text in ["", "00", "01", "+1", "-1", "1 ", "18446744073709551616", "0x1"] {
            assert_eq!(number_of(text), None, "{text}");
        }
        assert_eq!(serial_of("0a"), Some(vec![10]));
        for text in ["", "0A", "a", "0g", &"00".repeat(21)] {
            assert_eq!(serial_of(text), None, "{text}");
        }
    }
}
