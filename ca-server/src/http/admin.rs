//! What people on this host see, over the administration socket.

use actix_web::{HttpRequest, HttpResponse, web};
use attest::AnchorKind;
use issuance::AuditRecord;
use schema::{AuditFilter, DeviceFilter, DeviceRow, NewDeviceError, StoreError};
use wire::EnrollmentId;
use wire::admin::{
    AllowDevice, AuditPage, Device, DevicePage, DeviceTree, EkKind, EnrollmentEvidence, Orphan, OrphanPage,
};
use wire::firmware::FirmwareRule;
use wire::problem::{Problem, ProblemCode};

use super::answers::{not_offered, nothing_here, only_get, settle};
use super::body::Whole;
use super::extract;
use super::front::Front;
use super::peer::actor;
use super::problem::trouble;
use super::public::issuers;
use super::query::{limit, number, query};
use super::shown::{device_in_full, device_of, device_with, sha256_of};
use crate::flow::Trouble;
use crate::house::House;

/// Every route of the administration socket.
pub fn routes(service: &mut web::ServiceConfig) {
    service
        .service(
            web::resource("/v1/devices")
                .route(web::post().to(allow))
                .route(web::get().to(find))
                .default_service(web::to(get_or_post)),
        )
        .service(get("/v1/devices/{name:[^/]*}", web::get().to(show)))
        .service(get("/v1/devices/{name:[^/]*}/tree", web::get().to(tree)))
        .configure(super::device::routes)
        .configure(super::replacement::routes)
        .configure(super::manifest::routes)
        .configure(super::review::routes)
        .configure(super::revocation::routes)
        .configure(super::crl::routes)
        .configure(super::evidence::routes)
        .configure(super::auditor::routes)
        .configure(super::policy::routes)
        .service(get("/v1/audit", web::get().to(audit)))
        .service(get("/v1/orphans", web::get().to(orphans)))
        .service(get("/v1/issuers", web::get().to(issuers)))
        .service(get("/readyz", web::get().to(super::monitor::readyz)))
        .default_service(web::to(nothing_here));
}

fn get(path: &str, route: actix_web::Route) -> actix_web::Resource {
    web::resource(path).route(route).default_service(web::to(only_get))
}

async fn get_or_post(front: web::Data<Front>) -> HttpResponse {
    not_offered(&front, "GET, POST")
}

async fn allow(front: web::Data<Front>, request: HttpRequest, body: web::ReqData<Whole>) -> HttpResponse {
    let outcome = async {
        let body: AllowDevice = extract::json(&request, &body.0)?;
        let actor = actor(&request);
        let device = front
            .work_aside(move |house| allow_device(house, &actor, body))
            .await??;
        Ok(HttpResponse::Created().json(device))
    };
    settle(&front, outcome.await)
}

fn allow_device(house: &House, actor: &str, body: AllowDevice) -> Result<Device, Problem> {
    let malformed = |what: String| Problem::new(ProblemCode::Malformed).with_detail(what);
    policies::name::device(&body.name).map_err(|e| malformed(format!("name: {e}")))?;
    for name in &body.dns_names {
        policies::name::dns(name).map_err(|e| malformed(format!("dns_names: {e}")))?;
    }
    if let Some(id) = &body.spiffe_id {
        policies::name::spiffe(id).map_err(|e| malformed(format!("spiffe_id: {e}")))?;
    }
    if let Some(batch) = &body.batch {
        policies::name::directory_string(batch).map_err(|e| malformed(format!("batch: {e}")))?;
    }
    if let Some(reason) = &body.reason
        && (reason.len() > 500 || reason.contains(char::is_control))
    {
        return Err(malformed("reason: at most 500 bytes, no control characters".to_owned()));
    }
    let ek = match &body.ek_spki_sha256 {
        None => None,
        Some(text) => {
            Some(sha256_of(text).ok_or_else(|| malformed("ek_spki_sha256: 64 lower-case hex digits".to_owned()))?)
        }
    };
    let iak = match &body.iak_spki_sha256 {
        None => None,
        Some(text) => {
            Some(sha256_of(text).ok_or_else(|| malformed("iak_spki_sha256: 64 lower-case hex digits".to_owned()))?)
        }
    };
    if ek.is_none() && body.ek_kind.is_some() {
        return Err(malformed("ek_kind: only together with ek_spki_sha256".to_owned()));
    }
    if ek.is_none() && iak.is_none() && body.first_contact_until.is_none() {
        return Err(malformed(
            "name the TPM (ek_spki_sha256, or iak_spki_sha256) or open a window for the first one (first_contact_until)".to_owned(),
        ));
    }
    let audit = AuditRecord {
        at: house.clock.read().now,
        action: "device.allowed".to_owned(),
        actor: actor.to_owned(),
        subject: body.name.clone(),
        reason: "ADMIN".to_owned(),
        detail: body.reason.clone().unwrap_or_default(),
    };
    let device = schema::AllowDevice {
        iak_spki_sha256: iak,
        name: body.name,
        ek_spki_sha256: ek,
        ek_kind: body.ek_kind.map(|kind| match kind {
            EkKind::Hardware => AnchorKind::Hardware,
            EkKind::Virtual => AnchorKind::Virtual,
            EkKind::Software => AnchorKind::Software,
        }),
        first_contact_until: body.first_contact_until,
        dns_names: body.dns_names,
        spiffe_id: body.spiffe_id,
        batch: body.batch,
    };
    match house.store.allow_device(&device, &audit) {
        Ok(row) => device_of(&house.store, row).map_err(away),
        Err(
            taken @ (NewDeviceError::NameTaken(_)
            | NewDeviceError::EkTaken(_)
            | NewDeviceError::EkReplaced(_)
            | NewDeviceError::EkKind(_)
            | NewDeviceError::IakTaken(_)
            | NewDeviceError::IakReplaced(_)),
        ) => Err(Problem::new(ProblemCode::IdentityConflict).with_detail(taken.to_string())),
        Err(NewDeviceError::Store(error)) => Err(away(error)),
    }
}

async fn find(front: web::Data<Front>, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        let mut query = query(
            &request,
            &[
                "q",
                "batch",
                "manufacturer",
                "model",
                "firmware",
                "expires_before",
                "cursor",
                "limit",
            ],
        )?;
        let filter = DeviceFilter {
            name_contains: query.remove("q"),
            batch: query.remove("batch"),
            manufacturer: query.remove("manufacturer"),
            model: query.remove("model"),
            firmware: query.remove("firmware").map(|text| firmware(&text)).transpose()?,
            expires_before: number(&mut query, "expires_before")?,
        };
        let after = number(&mut query, "cursor")?;
        let limit = limit(&mut query)?;
        let page = front
            .work_aside(move |house| {
                let page = house.store.find_devices(&filter, after, limit)?;
                let items = page
                    .items
                    .into_iter()
                    .map(|row| device_of(&house.store, row))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(DevicePage {
                    items,
                    next: page.next.map(|next| next.to_string()),
                })
            })
            .await?
            .map_err(away)?;
        Ok(HttpResponse::Ok().json(page))
    };
    settle(&front, outcome.await)
}

fn firmware(text: &str) -> Result<FirmwareRule, Problem> {
    FirmwareRule::from_text(text)
        .map_err(|e| Problem::new(ProblemCode::Malformed).with_detail(format!("firmware: {e}")))
}

async fn show(front: web::Data<Front>, name: web::Path<String>) -> HttpResponse {
    let outcome = async {
        let name = name.into_inner();
        let device = front
            .work_aside(move |house| {
                let row = house.store.device_by_name(&name)?;
                row.map(|row| device_in_full(&house.store, row)).transpose()
            })
            .await?
            .map_err(away)?
            .ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
        Ok(HttpResponse::Ok().json(device))
    };
    settle(&front, outcome.await)
}

async fn tree(front: web::Data<Front>, name: web::Path<String>) -> HttpResponse {
    let outcome = async {
        let name = name.into_inner();
        let tree = front
            .work_aside(move |house| {
                let row = house.store.device_by_name(&name)?;
                row.map(|row| tree_of(house, row)).transpose()
            })
            .await?
            .map_err(away)?
            .ok_or_else(|| Problem::new(ProblemCode::NotFound))?;
        Ok(HttpResponse::Ok().json(tree))
    };
    settle(&front, outcome.await)
}

fn tree_of(house: &House, row: DeviceRow) -> Result<DeviceTree, StoreError> {
    let certificates = house.store.certificates_of(&row.name)?;
    let mut enrollments: Vec<[u8; 16]> = Vec::new();
    for certificate in &certificates {
        if !enrollments.contains(&certificate.enrollment_id) {
            enrollments.push(certificate.enrollment_id);
        }
    }
    let mut evidence = Vec::new();
    for id in enrollments {
        if let Some(stored) = house.store.evidence(&id)? {
            evidence.push(EnrollmentEvidence {
                enrollment: EnrollmentId(id),
                serials: certificates
                    .iter()
                    .filter(|certificate| certificate.enrollment_id == id)
                    .map(|certificate| hex::encode(&certificate.serial))
                    .collect(),
                sha256: hex::encode(stored.digest),
                bytes: stored.bytes.into(),
            });
        }
    }
    Ok(DeviceTree {
        device: device_with(&house.store, row, &certificates)?,
        issuers: house.issuer.chain().iter().map(|c| c.clone().into()).collect(),
        evidence,
    })
}

async fn audit(front: web::Data<Front>, request: HttpRequest) -> HttpResponse {
    let outcome = async {
        let mut query = query(&request, &["subject", "limit"])?;
        let filter = AuditFilter {
            subject: query.remove("subject"),
        };
        let limit = limit(&mut query)?;
        let records = front
            .work_aside(move |house| house.store.audit_entries(&filter, limit))
            .await?
            .map_err(away)?;
        let items = records.into_iter().map(crate::flow::auditor::shown).collect();
        Ok(HttpResponse::Ok().json(AuditPage { items }))
    };
    settle(&front, outcome.await)
}

async fn orphans(front: web::Data<Front>) -> HttpResponse {
    let outcome = async {
        let rows = front
            .work_aside(move |house| house.store.orphans())
            .await?
            .map_err(away)?;
        let items = rows
            .into_iter()
            .map(|row| Orphan {
                serial: hex::encode(&row.serial),
                issuer_key_id: hex::encode(&row.issuer_key_id),
                enrollment: EnrollmentId(row.enrollment_id),
                device: row.device,
                profile: row.profile,
                created_at: row.created_at,
            })
            .collect();
        Ok(HttpResponse::Ok().json(OrphanPage { items }))
    };
    settle(&front, outcome.await)
}

fn away(error: StoreError) -> Problem {
    tracing::warn!(%error, "storage");
    trouble(&Trouble::from(error))
}
