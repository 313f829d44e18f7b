//! CRLs, over the administration socket.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use wire::crl::{
    CrlAlarm, CrlDelta, CrlPage, CrlPlace, CrlPublication, CrlPublications, CrlPublished, PublicationOutcome,
    PublishCrl,
};
use wire::problem::{Problem, ProblemCode};

use super::answers::{only_get, only_post, settle};
use super::body::Whole;
use super::extract;
use super::front::Front;
use super::problem::trouble;
use super::query::query;
use crate::flow::publish::{Published, publish};
use crate::house::House;

/// Its routes.
pub(super) fn routes(service: &mut web::ServiceConfig) {
    service
        .service(
            web::resource("/v1/crls")
                .route(web::get().to(list))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/v1/crls/der")
                .route(web::get().to(der))
                .default_service(web::to(only_get)),
        )
        .service(
            web::resource("/v1/crls/publications")
                .route(web::post().to(publications))
                .default_service(web::to(only_post)),
        );
}

async fn list(front: web::Data<Front>, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        query(&request, &[])?;
        let page = front.work_aside(page).await?.map_err(|e| trouble(&e.into()))?;
        Ok(HttpResponse::Ok().json(page))
    };
    settle(&front, outcome.await)
}

fn page(house: &House) -> Result<CrlPage, schema::StoreError> {
    let points = house.store.crl_points(house.issuer.key_id())?;
    let steps = house.store.crl_steps(house.issuer.key_id())?;
    let alarms = house.alarms.all();
    let items = points.into_iter().map(|point| CrlPlace {
        complete: point.complete,
        behind: steps.of(&point) - point.steps(),
        published: point.published.map(on_record),
        delta: house.delta_url(&point).zip(point.delta).map(|(url, delta)| CrlDelta {
            url,
            base: delta.base.get(),
            published: on_record(delta.published),
        }),
        alarms: alarms
            .iter()
            .filter(|(url, _)| *url == point.url || house.delta_url(&point).as_ref() == Some(url))
            .map(|(_, alarm)| CrlAlarm {
                reason: alarm.reason.to_owned(),
                detail: alarm.detail.clone(),
                since: alarm.since,
            })
            .collect(),
        url: point.url,
    });
    Ok(CrlPage { items: items.collect() })
}

fn on_record(published: schema::PublishedCrl) -> CrlPublished {
    CrlPublished {
        number: published.number.get(),
        this_update: published.this_update,
        next_update: published.next_update,
        entries: published.entries,
        published_at: published.published_at,
    }
}

/// The published CRL of a URL, complete or delta, from the record.
async fn der(front: web::Data<Front>, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        let url = query(&request, &["url"])?
            .remove("url")
            .ok_or_else(|| Problem::new(ProblemCode::Malformed).with_detail("which url?"))?;
        let der = front
            .work_aside(move |house| -> Result<_, schema::StoreError> {
                let points = house.store.crl_points(house.issuer.key_id())?;
                if let Some(point) = points.iter().find(|point| point.url == url) {
                    return house.store.published_crl(point.id);
                }
                match points
                    .iter()
                    .find(|point| house.delta_url(point).as_ref() == Some(&url))
                {
                    Some(point) => house.store.published_delta(point.id),
                    None => Ok(None),
                }
            })
            .await?
            .map_err(|e| trouble(&e.into()))?;
        let (_, der) = der.ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
        Ok(HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "application/pkix-crl"))
            .body(der))
    };
    settle(&front, outcome.await)
}

async fn publications(front: web::Data<Front>, request: HttpRequest, body: web::ReqData<Whole>) -> HttpResponse {
    let outcome = async {
        let body: PublishCrl = extract::json(&request, &body.0)?;
        let actor = super::peer::actor(&request);
        let items = front
            .work_aside(move |house| publish_now(house, &actor, &body))
            .await??;
        Ok(HttpResponse::Ok().json(CrlPublications { items }))
    };
    settle(&front, outcome.await)
}

fn publish_now(house: &House, actor: &str, body: &PublishCrl) -> Result<Vec<CrlPublication>, Problem> {
    let points = house
        .store
        .crl_points(house.issuer.key_id())
        .map_err(|e| trouble(&e.into()))?;
    let wanted = |url: &String| body.url.as_ref().is_none_or(|only| only == url);
    let points: Vec<_> = points.into_iter().filter(|point| wanted(&point.url)).collect();
    if points.is_empty() {
        return Err(Problem::new(ProblemCode::NotFound).with_detail("no CRL is published there"));
    }
    // Who wanted it is written down before anything is signed for it.
    let asked = issuance::AuditRecord {
        at: house.clock.read().now,
        action: "crl.requested".to_owned(),
        actor: actor.to_owned(),
        subject: body.url.clone().unwrap_or_else(|| "all".to_owned()),
        reason: "ADMIN".to_owned(),
        detail: format!("{} places", points.len()),
    };
    house.store.audit(&asked).map_err(|e| trouble(&e.into()))?;
    tracing::info!(actor, count = points.len(), "CRLs asked for");
    let items = points.into_iter().map(|point| {
        let outcome = publish(house, &point, true);
        let mut item = CrlPublication {
            url: point.url,
            outcome: PublicationOutcome::Overtaken,
            number: None,
            entries: None,
            reason: None,
            detail: None,
        };
        match outcome {
            Ok(Published::Done { number, entries }) => {
                item.outcome = PublicationOutcome::Published;
                item.number = Some(number.get());
                item.entries = u64::try_from(entries).ok();
            }
            Ok(Published::Overtaken | Published::InHand) => {}
            Err(error) => {
                item.outcome = PublicationOutcome::Failed;
                item.reason = Some(error.reason().to_owned());
                item.detail = Some(error.to_string());
            }
        }
        item
    });
    Ok(items.collect())
}
