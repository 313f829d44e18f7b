//! Renewal: which certificate replaces which.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use wire::revocation::RevocationState;

use crate::change::NewOrder;
use crate::fixed::Orphaned;
use crate::link::{Fault, Link, insert, on};
use crate::revocation;
use crate::rows::RenewalCall;
use crate::seen::Standing;
use crate::tables::{NewAudit, certificate, device, renewal, renewal_call};

/// A certificate by issuer and serial.
type Key = (Vec<u8>, Vec<u8>);

/// The certificates that the orders want replaced, as they stand. The devices are locked: nobody revokes them meanwhile.
pub(crate) fn look(link: &mut Link, orders: &[&NewOrder]) -> Result<HashMap<Key, Standing>, Fault> {
    let wanted: HashSet<Key> = orders.iter().filter_map(|o| o.renews.as_deref().cloned()).collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let serials: Vec<&[u8]> = wanted.iter().map(|(_, serial)| serial.as_slice()).collect();
    type Loaded = (i64, Vec<u8>, Vec<u8>, Option<i64>, String, String, i64);
    let loaded: Vec<Loaded> = on!(link, c => certificate::table
        .filter(certificate::serial.eq_any(&serials))
        .select((
            certificate::id,
            certificate::issuer_key_id,
            certificate::serial,
            certificate::device_id,
            certificate::profile,
            certificate::state,
            certificate::not_after,
        ))
        .load(c))?;
    let ids: Vec<i64> = loaded.iter().map(|row| row.0).collect();
    let replaced = replaced(link, &ids)?;
    let steps = revocation::last(link, &ids)?;
    Ok(loaded
        .into_iter()
        .map(|(id, issuer, serial, device, profile, state, not_after)| {
            let standing = Standing {
                id,
                device,
                profile,
                issued: state == "issued",
                good: steps.get(&id).is_none_or(|s| s.state == RevocationState::Released),
                not_after,
                replaced: replaced.contains(&id),
            };
            ((issuer, serial), standing)
        })
        .collect())
}

/// Which of these certificates have been replaced: by one that is about to be signed, or was. An orphan does not count.
pub(crate) fn replaced(link: &mut Link, certificates: &[i64]) -> Result<HashSet<i64>, Fault> {
    let found: Vec<i64> = on!(link, c => renewal::table
        .inner_join(certificate::table.on(certificate::id.eq(renewal::certificate_id)))
        .filter(renewal::replaces_id.eq_any(certificates))
        .filter(certificate::state.ne(Orphaned))
        .select(renewal::replaces_id)
        .load(c))?;
    Ok(found.into_iter().collect())
}

/// Record what replaces what: (certificate, the one it replaces).
pub(crate) fn record(link: &mut Link, pairs: &[(i64, i64)]) -> Result<(), Fault> {
    let rows: Vec<_> = pairs
        .iter()
        .map(|(new, old)| (renewal::certificate_id.eq(*new), renewal::replaces_id.eq(*old)))
        .collect();
    insert!(link, renewal::table, &rows);
    Ok(())
}

/// Of these certificates, what each replaces.
pub(crate) fn replaces(link: &mut Link, certificates: &[i64]) -> Result<HashMap<i64, i64>, Fault> {
    let mut found = HashMap::new();
    for part in certificates.chunks(1000) {
        let rows: Vec<(i64, i64)> = on!(link, c => renewal::table
            .filter(renewal::certificate_id.eq_any(part))
            .select((renewal::certificate_id, renewal::replaces_id))
            .load(c))?;
        found.extend(rows);
    }
    Ok(found)
}

/// All certificates that descend from the same one by renewal, this one among them, oldest first.
pub(crate) fn lineage(link: &mut Link, certificate: i64) -> Result<Vec<i64>, Fault> {
    let mut found = HashSet::from([certificate]);
    let mut open = vec![certificate];
    while !open.is_empty() {
        let kin: Vec<(i64, i64)> = on!(link, c => renewal::table
            .filter(renewal::certificate_id.eq_any(&open).or(renewal::replaces_id.eq_any(&open)))
            .select((renewal::certificate_id, renewal::replaces_id))
            .load(c))?;
        open = kin
            .into_iter()
            .flat_map(|(new, old)| [new, old])
            .filter(|id| found.insert(*id))
            .collect();
    }
    let mut all: Vec<i64> = found.into_iter().collect();
    all.sort_unstable();
    Ok(all)
}

/// Call a device to renew what it has within so many seconds; whether there is such a device.
pub(crate) fn call(link: &mut Link, name: &str, within: i64, record: &NewAudit) -> Result<bool, Fault> {
    if name.contains('\0') {
        return Ok(false);
    }
    let found = device::table.filter(device::name.eq(name)).select(device::id);
    let id: Option<i64> = match link {
        Link::Sqlite(c) => found.first(c).optional()?,
        // Nobody certifies anything for it meanwhile: what comes later is not meant.
        Link::Postgres(c) => found.for_no_key_update().first(c).optional()?,
    };
    let Some(id) = id else { return Ok(false) };
    let upto: Option<i64> = on!(link, c => certificate::table
        .filter(certificate::device_id.eq(id))
        .select(diesel::dsl::max(certificate::id))
        .first(c))?;
    let call: i64 = on!(link, c => diesel::insert_into(renewal_call::table)
        .values((
            renewal_call::device_id.eq(id),
            renewal_call::upto.eq(upto.unwrap_or(0)),
            renewal_call::at.eq(record.at),
            renewal_call::within.eq(within.max(1)),
            renewal_call::actor.eq(&record.actor),
            renewal_call::reason.eq(&record.detail),
        ))
        .returning(renewal_call::id)
        .get_result(c))?;
    let after = crate::seal::row(link, "renewal_call", call)?;
    crate::keeping::audit(link, &[record.changed(None, after)])?;
    Ok(true)
}

/// The last call to a device.
pub(crate) fn called(link: &mut Link, name: &str) -> Result<Option<RenewalCall>, Fault> {
    if name.contains('\0') {
        return Ok(None);
    }
    let found: Option<(i64, i64, i64)> = on!(link, c => renewal_call::table
        .inner_join(device::table)
        .filter(device::name.eq(name))
        .order(renewal_call::id.desc())
        .select((renewal_call::upto, renewal_call::at, renewal_call::within))
        .first(c)
        .optional())?;
    Ok(found.map(|(upto, at, within)| RenewalCall { upto, at, within }))
}
