//! Which certificates are listed: entered with their first step, in its transaction.

use diesel::prelude::*;

use crate::link::{Fault, Link, on};
use crate::tables::{certificate, crl_entry, revocation};

/// Enter a certificate: the URL is read from the bytes that were signed, never computed.
pub(crate) fn enter(link: &mut Link, id: i64) -> Result<(), Fault> {
    let (issuer_key_id, serial, not_after, tbs): (Vec<u8>, Vec<u8>, i64, Vec<u8>) = on!(link, c => certificate::table
        .find(id)
        .select((
            certificate::issuer_key_id,
            certificate::serial,
            certificate::not_after,
            certificate::tbs,
        ))
        .first(c))?;
    let url = issuance::crl::crl_point(&tbs).unwrap_or_else(|error| {
        // Every lint read these bytes before they were signed. Revoking must succeed nevertheless; the complete CRL of
        // the issuer lists it.
        tracing::error!(serial = %hex::encode(&serial), %error, "a certificate on record does not say which CRL it has");
        None
    });
    on!(link, c => diesel::insert_into(crl_entry::table)
        .values((
            crl_entry::certificate_id.eq(id),
            crl_entry::issuer_key_id.eq(&issuer_key_id),
            crl_entry::crl_url.eq(&url),
            crl_entry::serial.eq(&serial),
            crl_entry::not_after.eq(not_after),
        ))
        .on_conflict(crl_entry::certificate_id)
        .do_nothing()
        .execute(c))?;
    Ok(())
}

/// Enter what was revoked before there was a list.
pub(crate) fn complete_entries(link: &mut Link) -> Result<(), Fault> {
    loop {
        let missing: Vec<i64> = on!(link, c => revocation::table
            .left_join(crl_entry::table.on(crl_entry::certificate_id.eq(revocation::certificate_id)))
            .filter(revocation::step.eq(1))
            .filter(crl_entry::certificate_id.nullable().is_null())
            .select(revocation::certificate_id)
            .limit(1000)
            .load(c))?;
        if missing.is_empty() {
            return Ok(());
        }
        link.begin()?;
        for id in missing {
            enter(link, id)?;
        }
        link.run("COMMIT")?;
    }
}

/// The URLs that listed certificates of an issuer carry.
pub(super) fn urls(link: &mut Link, issuer_key_id: &[u8]) -> Result<Vec<String>, Fault> {
    let found: Vec<Option<String>> = on!(link, c => crl_entry::table
        .filter(crl_entry::issuer_key_id.eq(issuer_key_id))
        .filter(crl_entry::crl_url.is_not_null())
        .select(crl_entry::crl_url)
        .distinct()
        .load(c))?;
    Ok(found.into_iter().flatten().collect())
}
