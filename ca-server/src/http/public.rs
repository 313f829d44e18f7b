//! What devices see.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use wire::enrollment::{ActivationRequest, EnrollmentRequest, Issuers};
use wire::problem::{Problem, ProblemCode};

use super::answers::{activated, challenged, nothing_here, only_get, only_post, settle};
use super::body::Whole;
use super::extract::{self, caller, enrollment_id};
use super::front::Front;
use super::problem;
use crate::flow::enroll;

const PEM_CHAIN: &str = "application/pem-certificate-chain";
const DER: &str = "application/pkix-cert";

/// Every route of the public listener. Ids are taken whatever they look like, so that a wrong one is told apart from a
/// route that does not exist.
pub fn routes(service: &mut web::ServiceConfig) {
    service
        .configure(super::renewal::routes)
        .service(
            web::resource("/v1/enrollments")
                .route(web::post().to(begin))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/enrollments/{id:[^/]*}/activation")
                .route(web::post().to(activate))
                .default_service(web::to(only_post)),
        )
        .service(
            web::resource("/v1/enrollments/{id:[^/]*}")
                .route(web::get().to(state))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/v1/certificates/{serial:[^/]*}")
                .route(web::get().to(certificate))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/v1/issuers")
                .route(web::get().to(issuers))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/v1/issuers/chain.pem")
                .route(web::get().to(chain))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/problems/{code:[^/]*}")
                .route(web::get().to(explain))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/livez")
                .route(web::get().to(super::monitor::livez))
                .default_service(web::to(only_get)),
        )
        .default_service(web::to(nothing_here));
}

async fn begin(front: web::Data<Front>, request: HttpRequest, body: web::ReqData<Whole>) -> HttpResponse {
    let outcome = async {
        let body: EnrollmentRequest = extract::json(&request, &body.0)?;
        let caller = caller(&request);
        let challenge = front
            .work(move |house| enroll::begin(house, &caller, body))
            .await?
            .map_err(|failure| problem::begin(&failure))?;
        Ok(challenged(&front, &challenge))
    };
    settle(&front, outcome.await)
}

async fn activate(
    front: web::Data<Front>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::ReqData<Whole>,
) -> HttpResponse {
    let outcome = async {
        let id = enrollment_id(&id)?;
        let body: ActivationRequest = extract::json(&request, &body.0)?;
        let caller = caller(&request);
        let activation = front
            .work(move |house| enroll::activate(house, &caller, id, &body))
            .await?;
        activation
            .map(|activation| activated(&activation))
            .map_err(|failure| problem::activate(&failure))
    };
    settle(&front, outcome.await)
}

async fn state(front: web::Data<Front>, id: web::Path<String>) -> HttpResponse {
    let outcome = async {
        let id = enrollment_id(&id)?;
        let result = front
            .work(move |house| enroll::enrollment(house, id))
            .await?
            .map_err(|error| problem::lookup(&error))?;
        Ok(HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(result))
    };
    settle(&front, outcome.await)
}

async fn certificate(front: web::Data<Front>, request: HttpRequest, serial: web::Path<String>) -> HttpResponse {
    let outcome = async {
        let serial = serial_octets(&serial)?;
        let kind = preferred(&request, &["application/json", DER, PEM_CHAIN])?;
        let found = front
            .work(move |house| enroll::certificate(house, &serial).map(|found| (found, house.issuer.chain().to_vec())))
            .await?
            .map_err(|error| problem::lookup(&error))?;
        let (found, chain) = found;
        let mut answer = HttpResponse::Ok();
        answer
            .insert_header((header::CONTENT_TYPE, kind))
            .insert_header((header::VARY, "Accept"));
        Ok(match kind {
            DER => answer.body(found.certificate.0),
            PEM_CHAIN => answer.body(pem(core::iter::once(&found.certificate.0).chain(without_root(&chain)))?),
            _ => answer.json(found),
        })
    };
    settle(&front, outcome.await)
}

/// Who signs here, and what an agent pins.
pub(super) async fn issuers(front: web::Data<Front>) -> HttpResponse {
    let chain = front.house.issuer.chain();
    let root = chain.last().map(Vec::as_slice).unwrap_or_default();
    HttpResponse::Ok().json(Issuers {
        name: front.house.name.clone(),
        root_sha256: hex::encode(attest::sha256(root)),
        chain: chain.iter().map(|c| c.clone().into()).collect(),
    })
}

async fn chain(front: web::Data<Front>) -> HttpResponse {
    let outcome = pem(front.house.issuer.chain().iter()).map(|text| {
        HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, PEM_CHAIN))
            .body(text)
    });
    settle(&front, outcome)
}

async fn explain(front: web::Data<Front>, code: web::Path<String>) -> HttpResponse {
    match ProblemCode::from_text(&code) {
        None => nothing_here(front).await,
        Some(code) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
            .body(format!(
                "{code} (HTTP {})\n\n{}.\n{}\n",
                code.status(),
                code.title(),
                code.explanation()
            )),
    }
}

/// Lower-case hex only: one spelling for one serial.
pub(super) fn serial_octets(text: &str) -> Result<[u8; 16], Problem> {
    let mut serial = [0; 16];
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut serial) {
        Ok(()) if lower => Ok(serial),
        _ => Err(Problem::new(ProblemCode::Malformed).with_detail("a serial is 32 lower-case hex digits")),
    }
}

/// The first media type of `offered` that the client named first; without wishes, the first offered.
fn preferred(request: &HttpRequest, offered: &[&'static str]) -> Result<&'static str, Problem> {
    let refused =
        || Problem::new(ProblemCode::UnsupportedMedia).with_detail(format!("offered: {}", offered.join(", ")));
    let first = offered.first().copied().ok_or_else(refused)?;
    let Some(accept) = request.headers().get(header::ACCEPT) else {
        return Ok(first);
    };
    let accept = accept.to_str().map_err(|_| refused())?;
    for wish in accept.split(',') {
        let wish = wish.split(';').next().unwrap_or_default().trim();
        if wish == "*/*" || wish == "application/*" {
            return Ok(first);
        }
        if let Some(kind) = offered.iter().find(|kind| kind.eq_ignore_ascii_case(wish)) {
            return Ok(kind);
        }
    }
    Err(refused())
}

/// A relying party has the root from elsewhere, or not at all.
fn without_root(chain: &[Vec<u8>]) -> &[Vec<u8>] {
    match chain {
        [issuing @ .., _root] if !issuing.is_empty() => issuing,
        all => all,
    }
}

fn pem<'a>(certificates: impl Iterator<Item = &'a Vec<u8>>) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    for der in certificates {
        let one = openssl::x509::X509::from_der(der)
            .and_then(|certificate| certificate.to_pem())
            .map_err(|_| Problem::new(ProblemCode::Internal))?;
        text.extend(one);
    }
    Ok(text)
}
