//! Documents under the paths of the URLs inside certificates: complete, cacheable, with a strong ETag.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::http::{Method, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use issuance::Issuer;

use super::Counted;
use crate::house::{Shelved, path_of, tag_of};
use crate::http::answers::not_offered;
use crate::http::front::Front;

/// How long a CA certificate may be kept, seconds. It never changes under its URL; a day heals a wrong one.
const CERTIFICATE_AGE: u64 = 86_400;

/// What does not change while the server runs, by path.
pub(in crate::http) struct Documents(HashMap<String, Document>);

/// Something to be fetched. Cheap to clone.
#[derive(Clone)]
pub(super) struct Document {
    pub(super) counted: Counted,
    pub(super) media_type: &'static str,
    pub(super) bytes: Bytes,
    /// Of exactly these bytes.
    pub(super) tag: String,
}

impl Document {
    pub(super) fn new(counted: Counted, media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            counted,
            media_type,
            tag: tag_of(&bytes),
            bytes: bytes.into(),
        }
    }

    /// The answer, or "not modified". `max_age`: seconds for which it need not be asked for again.
    pub(super) fn answer(&self, request: &HttpRequest, max_age: u64) -> HttpResponse {
        let tag = header::EntityTag::new_strong(self.tag.clone());
        let known = has(request, &tag);
        let mut answer = if known {
            HttpResponse::NotModified()
        } else {
            HttpResponse::Ok()
        };
        answer.insert_header(header::ETag(tag));
        answer.insert_header((
            header::CACHE_CONTROL,
            format!("public, max-age={max_age}, no-transform"),
        ));
        let mut answer = if known {
            answer.finish()
        } else {
            answer.insert_header((header::CONTENT_TYPE, self.media_type));
            answer.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
            answer.body(self.bytes.clone())
        };
        answer.extensions_mut().insert(self.counted);
        answer
    }
}

/// Whether the client says that it has this one (RFC 9110 §13.1.2).
pub(super) fn has(request: &HttpRequest, tag: &header::EntityTag) -> bool {
    use header::Header as _;
    match header::IfNoneMatch::parse(request) {
        Ok(header::IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(header::IfNoneMatch::Items(items)) => items.iter().any(|item| item.weak_eq(tag)),
        Err(_) => false,
    }
}

impl Documents {
    /// The certificate of the issuing CA under its URL.
    pub(in crate::http) fn of(issuer: &Issuer) -> Self {
        let mut all = HashMap::new();
        if let (Some(url), Some(certificate)) = (&issuer.urls().ca_issuers, issuer.chain().first()) {
            let document = Document::new(Counted("ca-certificate"), "application/pkix-cert", certificate.clone());
            all.insert(path_of(url).to_owned(), document);
        }
        Self(all)
    }
}

/// How long what a ceremony published may be kept, seconds: an hour, so that a new CRL is heard of soon.
const PUBLISHED_AGE: u64 = 3600;
/// The longest file that is served, in bytes.
const MAX_PUBLISHED: u64 = 64 << 20;

/// A file that `ca-cli ceremony import` put there: read anew each time, so that nothing needs a restart. Its name is
/// what stands after the last `/ca/`, and leads nowhere else.
pub(super) fn published(folder: &std::path::Path, path: &str) -> Option<Document> {
    let (_, name) = path.rsplit_once("/ca/")?;
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if name.len() > 100 || name.starts_with('.') || !name.chars().all(safe) {
        return None;
    }
    let (counted, media_type) = match name.rsplit_once('.')?.1 {
        "cer" => (Counted("ca-certificate"), "application/pkix-cert"),
        "crl" => (Counted("crl"), "application/pkix-crl"),
        "tar" => (Counted("ceremony"), "application/x-tar"),
        _ => return None,
    };
    let path = folder.join(name);
    let file = std::fs::symlink_metadata(&path).ok()?;
    if !file.is_file() || file.len() > MAX_PUBLISHED {
        return None;
    }
    Some(Document::new(counted, media_type, std::fs::read(path).ok()?))
}

/// A published CRL, without a copy of its bytes.
fn of_crl(shelved: Arc<Shelved>) -> Document {
    struct OfCrl(Arc<Shelved>);
    impl AsRef<[u8]> for OfCrl {
        fn as_ref(&self) -> &[u8] {
            &self.0.der
        }
    }
    Document {
        counted: Counted("crl"),
        media_type: "application/pkix-crl",
        tag: shelved.tag.clone(),
        bytes: Bytes::from_owner(OfCrl(shelved)),
    }
}

/// What lies under the path, and how long it may be kept, seconds.
pub(super) fn find(front: &Front, request: &HttpRequest) -> Option<(Document, u64)> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    if let Some(document) = front.documents.0.get(path) {
        return Some((document.clone(), CERTIFICATE_AGE));
    }
    let Some(shelved) = front.house.shelf.get(path) else {
        return published(front.manners.published.as_deref()?, path).map(|found| (found, PUBLISHED_AGE));
    };
    // A cache may keep it until its end; but what is revoked meanwhile should be heard of before.
    let left = shelved.next_update.saturating_sub(front.house.clock.read().now.0);
    let age = front.house.crl.max_age.as_secs().min(u64::try_from(left).unwrap_or(0));
    Some((of_crl(shelved), age))
}

/// GET and HEAD of it.
pub(super) fn fetch(front: &Front, request: &HttpRequest, (document, max_age): &(Document, u64)) -> HttpResponse {
    if request.method() == Method::GET || request.method() == Method::HEAD {
        document.answer(request, *max_age)
    } else {
        not_offered(front, "GET, HEAD")
    }
}
