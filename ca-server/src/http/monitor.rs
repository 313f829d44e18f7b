//! What supervisors see: metrics, liveness, readiness.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use super::answers::{nothing_here, only_get};
use super::front::Front;
use crate::house::House;

/// Every route of the metrics listener.
pub fn routes(service: &mut web::ServiceConfig) {
    service
        .service(get("/metrics", web::get().to(metrics)))
        .service(get("/livez", web::get().to(livez)))
        .service(get("/readyz", web::get().to(readyz)))
        .default_service(web::to(nothing_here));
}

fn get(path: &str, route: actix_web::Route) -> actix_web::Resource {
    web::resource(path).route(route).default_service(web::to(only_get))
}

/// The process answers.
pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .body("ok\n")
}

async fn metrics(front: web::Data<Front>) -> HttpResponse {
    let house = &front.house;
    let schema::ClockAlarms { alarm, refuse, hold } = house.store.clock_alarms();
    let alarms = [("alarm", alarm), ("refuse", refuse), ("hold", hold)];
    house.metrics.tpm_clocks(alarms);
    let text = house
        .metrics
        .render(house.signer.away().is_none(), house.halt.reason().is_some());
    HttpResponse::Ok()
        .insert_header((
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ))
        .body(text)
}

/// Whether requests should be sent here: 200 or 503. With `?verbose`, one line for each check and each alarm.
pub(super) async fn readyz(front: web::Data<Front>, request: HttpRequest) -> HttpResponse {
    let stale = i64::try_from(front.manners.signer_stale.as_secs()).unwrap_or(i64::MAX);
    let checks = front
        .work_aside(move |house| (checks(house, stale), house.alarms.all()))
        .await;
    let Ok((checks, alarms)) = checks else {
        return answer(false, "busy\n".to_owned());
    };
    let ready = checks.iter().all(|(_, state)| state.is_ok());
    let verbose = request
        .query_string()
        .split('&')
        .any(|q| q == "verbose" || q.starts_with("verbose="));
    let mut text = String::new();
    if verbose {
        for (name, state) in &checks {
            match state {
                Ok(()) => text.push_str(&format!("[+] {name} ok\n")),
                Err(why) => text.push_str(&format!("[-] {name} {why}\n")),
            }
        }
        // Whoever is told "not ready" sends devices elsewhere, where the same CRL is late.
        for (url, alarm) in alarms {
            let line = format!("[!] crl {} {url}: {}", alarm.reason, alarm.detail);
            text.push_str(&line.replace(char::is_control, " "));
            text.push('\n');
        }
    }
    text.push_str(if ready { "ready\n" } else { "not ready\n" });
    answer(ready, text)
}

fn answer(ready: bool, text: String) -> HttpResponse {
    let mut answer = if ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    answer
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

fn checks(house: &House, stale: i64) -> [(&'static str, Result<(), String>); 5] {
    let moment = house.clock.read();
    let signer = match (house.signer.away(), house.signer.last_signed()) {
        (Some(why), _) => Err(format!("away: {why}")),
        (None, Some(at)) if moment.now.0.saturating_sub(at) <= stale => Ok(()),
        (None, _) => Err("has not signed for too long".to_owned()),
    };
    [
        ("database", house.store.ping().map_err(|e| e.to_string())),
        ("signer", signer),
        ("audit", house.audit.check().map_err(|e| e.to_string())),
        (
            "clock",
            if moment.ran_back {
                Err("stands before the newest record".to_owned())
            } else {
                Ok(())
            },
        ),
        (
            "halt",
            match house.halt.reason() {
                Some(why) => Err(why.to_owned()),
                None => Ok(()),
            },
        ),
    ]
}
