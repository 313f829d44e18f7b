//! Everything on record, read again from the first row to the last: does it hold together?

use core::fmt;
use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use issuance::crl::RawCrl;
use ledger::{Checkpoint, Edge, Entry, Event, Hash, Note, audit_digest, leaf_hash};
use openssl::sha::sha256;
use openssl::x509::X509;

use super::catalog::{Catalog, lines, number};
use super::{Progress, VaultError};
use crate::AuditRow;
use crate::link::{Link, on};
use crate::read::{AUDIT, StoredAudit, audit_row};
use crate::tables::{
    audit, certificate, crl, crl_point, evidence, ledger as tree, ledger_entry, ledger_tile, transcript,
};

/// Rows that are read at once.
const PAGE: i64 = 1000;
/// More than this is not told of one check: it would say nothing new.
const TOLD: usize = 20;

/// Something that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which check found it.
    pub check: &'static str,
    /// What.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}

/// What came of checking a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What was looked at, and how often.
    pub checked: BTreeMap<&'static str, u64>,
    /// What is wrong, at most twenty of each check.
    pub wrong: Vec<Finding>,
}

impl Findings {
    pub(super) fn wrong(&mut self, check: &'static str, what: impl Into<String>) {
        if self.wrong.iter().filter(|finding| finding.check == check).count() < TOLD {
            self.wrong.push(Finding {
                check,
                what: what.into(),
            });
        }
    }

    fn looked(&mut self, check: &'static str, at: usize) {
        *self.checked.entry(check).or_default() += u64::try_from(at).unwrap_or(u64::MAX);
    }
}

/// Look at everything; the link stands in a transaction.
pub(super) fn verify(link: &mut Link, progress: Progress<'_>) -> Result<Findings, VaultError> {
    let mut findings = Findings::default();
    engine(link, &mut findings)?;
    references(link, &mut findings)?;
    certificates(link, &mut findings, progress)?;
    evidences(link, &mut findings, progress)?;
    leaves(link, &mut findings, progress)?;
    ledger(link, &mut findings, progress)?;
    crls(link, &mut findings)?;
    rules(link, &mut findings)?;
    Ok(findings)
}

/// The file is whole, and no rule of the tables was switched off.
fn engine(link: &mut Link, findings: &mut Findings) -> Result<(), VaultError> {
    match link {
        Link::Sqlite(_) => {
            let said = lines(
                link,
                "SELECT integrity_check AS value FROM pragma_integrity_check LIMIT 20",
            )?;
            for line in said.iter().filter(|line| *line != "ok") {
                findings.wrong("file", line);
            }
            findings.looked("file", 1);
            let rules = number(
                link,
                "SELECT count(*) AS value FROM sqlite_schema WHERE type = 'trigger'",
            )?;
            let fresh = fresh_triggers()?;
            if rules != fresh {
                findings.wrong("triggers", format!("{rules} where {fresh} belong"));
            }
            findings.looked("triggers", usize::try_from(rules).unwrap_or_default());
        }
        Link::Postgres(_) => {
            const OURS: &str = "FROM pg_trigger AS g JOIN pg_class AS t ON t.oid = g.tgrelid \
                WHERE t.relnamespace = current_schema()::regnamespace";
            let off = format!("SELECT g.tgname || ' on ' || t.relname AS value {OURS} AND g.tgenabled <> 'O'");
            for name in lines(link, &off)? {
                findings.wrong("triggers", format!("{name} is switched off"));
            }
            // Twins, but for those that refuse TRUNCATE, which SQLite does not have.
            let rules = format!(
                "SELECT count(*) AS value {OURS} AND NOT g.tgisinternal AND g.tgname NOT LIKE '%#_whole' ESCAPE '#'"
            );
            let (rules, fresh) = (number(link, &rules)?, fresh_triggers()?);
            if rules != fresh {
                findings.wrong("triggers", format!("{rules} where {fresh} belong"));
            }
            findings.looked("triggers", usize::try_from(rules).unwrap_or_default());
            let loose = "SELECT conname AS value FROM pg_constraint WHERE connamespace = current_schema()::regnamespace \
                AND (NOT convalidated OR condeferrable)";
            for name in lines(link, loose)? {
                findings.wrong("constraints", format!("{name} is not held at once"));
            }
        }
    }
    Ok(())
}

/// How many triggers the migrations make.
fn fresh_triggers() -> Result<i64, VaultError> {
    let connection = diesel::SqliteConnection::establish(":memory:")
        .map_err(|e| VaultError::Strange(format!("SQLite in memory: {e}")))?;
    let mut link = Link::Sqlite(connection);
    crate::migrations::run(&mut link)?;
    number(
        &mut link,
        "SELECT count(*) AS value FROM sqlite_schema WHERE type = 'trigger'",
    )
}

/// Who is named is there.
fn references(link: &mut Link, findings: &mut Findings) -> Result<(), VaultError> {
    let catalog = Catalog::of(link)?;
    for reference in &catalog.references {
        let (from, column) = (&reference.from, &reference.column);
        let (to, target) = (&reference.to, &reference.target);
        let lost = number(
            link,
            &format!(
                "SELECT count(*) AS value FROM \"{from}\" AS a WHERE a.\"{column}\" IS NOT NULL \
                 AND NOT EXISTS (SELECT 1 FROM \"{to}\" AS b WHERE b.\"{target}\" = a.\"{column}\")"
            ),
        )?;
        if lost > 0 {
            findings.wrong(
                "references",
                format!("{lost} rows of {from} name a {to} that is not there"),
            );
        }
    }
    findings.looked("references", catalog.references.len());
    Ok(())
}

/// A certificate on record.
#[derive(Queryable, Selectable)]
#[diesel(table_name = certificate)]
struct Certificate {
    id: i64,
    serial: Vec<u8>,
    issuer_key_id: Vec<u8>,
    spki_sha256: Vec<u8>,
    tbs: Vec<u8>,
    der: Option<Vec<u8>>,
    state: String,
    profile: String,
    profile_sha256: Vec<u8>,
}

/// Each parses, and is the one its row speaks of; its leaf in the ledger is of it.
fn certificates(link: &mut Link, findings: &mut Findings, progress: Progress<'_>) -> Result<(), VaultError> {
    let mut last = 0;
    let mut done = 0;
    loop {
        let page: Vec<Certificate> = on!(link, c => certificate::table
            .filter(certificate::id.gt(last))
            .order(certificate::id)
            .limit(PAGE)
            .select(Certificate::as_select())
            .load(c))?;
        let (Some(first), Some(end)) = (page.first(), page.last()) else {
            return Ok(());
        };
        let leaves: Vec<(Option<i64>, Vec<u8>)> = on!(link, c => ledger_entry::table
            .filter(ledger_entry::certificate_id.between(first.id, end.id))
            .select((ledger_entry::certificate_id, ledger_entry::bytes))
            .load(c))?;
        let leaves: HashMap<i64, Vec<u8>> = leaves
            .into_iter()
            .filter_map(|(id, bytes)| Some((id?, bytes)))
            .collect();
        last = end.id;
        done += page.len();
        for row in &page {
            let leaf = leaves.get(&row.id);
            if let Err(what) = fits(row, leaf) {
                findings.wrong(
                    "certificates",
                    format!("{} (row {}): {what}", hex::encode(&row.serial), row.id),
                );
            }
        }
        findings.looked("certificates", page.len());
        progress("certificates", u64::try_from(done).unwrap_or_default());
    }
}

fn fits(row: &Certificate, leaf: Option<&Vec<u8>>) -> Result<(), String> {
    let Some(der) = &row.der else {
        return if row.state == "issued" {
            Err("issued, and not there".to_owned())
        } else {
            Ok(())
        };
    };
    let parsed = X509::from_der(der).map_err(|e| format!("no certificate: {e}"))?;
    if parsed.to_der().ok().as_ref() != Some(der) {
        return Err("something follows it".to_owned());
    }
    if !der.windows(row.tbs.len()).any(|part| part == row.tbs) {
        return Err("it is not what was to be signed".to_owned());
    }
    let serial = parsed.serial_number().to_bn().map_err(|e| e.to_string())?.to_vec();
    let wanted: Vec<u8> = row.serial.iter().copied().skip_while(|byte| *byte == 0).collect();
    if serial != wanted {
        return Err(format!("its serial is {}", hex::encode(serial)));
    }
    if parsed.authority_key_id().map(|id| id.as_slice()) != Some(&row.issuer_key_id) {
        return Err("it is of another issuer".to_owned());
    }
    let key = parsed.public_key().and_then(|key| key.public_key_to_der());
    let key = key.map_err(|e| format!("its key: {e}"))?;
    if sha256(&key).as_slice() != row.spki_sha256 {
        return Err("it is of another key".to_owned());
    }
    // Before the ledger there were none.
    let Some(leaf) = leaf else { return Ok(()) };
    match Entry::parse(leaf).map(|entry| entry.event) {
        Ok(Event::Issued(said))
            if said.certificate == sha256(der)
                && said.serial == row.serial
                && said.issuer == row.issuer_key_id
                && said.profile == row.profile
                && said.profile_sha256.as_slice() == row.profile_sha256 =>
        {
            Ok(())
        }
        Ok(_) => Err("its leaf in the ledger says something else".to_owned()),
        Err(error) => Err(format!("its leaf in the ledger: {error}")),
    }
}

fn evidences(link: &mut Link, findings: &mut Findings, progress: Progress<'_>) -> Result<(), VaultError> {
    macro_rules! pages {
        ($table:ident, $check:literal) => {{
            let (mut last, mut done) = (0, 0);
            loop {
                let page: Vec<(i64, Vec<u8>, Vec<u8>)> = on!(link, c => $table::table
                    .filter($table::enrollment_id.gt(last))
                    .order($table::enrollment_id)
                    .limit(PAGE)
                    .select(($table::enrollment_id, $table::digest, $table::bytes))
                    .load(c))?;
                let Some((end, ..)) = page.last() else { break };
                last = *end;
                done += page.len();
                for (id, digest, bytes) in &page {
                    // What was erased left its digest.
                    if !bytes.is_empty() && sha256(bytes).as_slice() != digest {
                        findings.wrong($check, format!("of enrollment {id}: its digest is another"));
                    }
                }
                findings.looked($check, page.len());
                progress($check, u64::try_from(done).unwrap_or_default());
            }
        }};
    }
    pages!(evidence, "evidence");
    pages!(transcript, "transcripts");
    Ok(())
}

/// An audit record: its leaf, and what it says.
type Record = (Option<i64>, AuditRow);

/// The audit records say what their leaves hold them to.
fn leaves(link: &mut Link, findings: &mut Findings, progress: Progress<'_>) -> Result<(), VaultError> {
    type Leaf = (i64, Vec<u8>, Option<Vec<u8>>);
    let mut last = 0;
    let mut done = 0;
    loop {
        let page: Vec<Leaf> = on!(link, c => ledger_entry::table
            .filter(ledger_entry::id.gt(last))
            .order(ledger_entry::id)
            .limit(PAGE)
            .select((ledger_entry::id, ledger_entry::bytes, ledger_entry::salt))
            .load(c))?;
        let (Some((first, ..)), Some((end, ..))) = (page.first(), page.last()) else {
            return Ok(());
        };
        let records: Vec<(Option<i64>, StoredAudit)> = on!(link, c => audit::table
            .filter(audit::entry_id.between(*first, *end))
            .order(audit::id)
            .select((audit::entry_id, AUDIT))
            .load(c))?;
        let records: Vec<Record> = records
            .into_iter()
            .map(|(leaf, stored)| Ok((leaf, audit_row(stored)?)))
            .collect::<Result<_, crate::link::Fault>>()?;
        let mut by_leaf: HashMap<i64, Vec<&Record>> = HashMap::new();
        for record in &records {
            by_leaf.entry(record.0.unwrap_or_default()).or_default().push(record);
        }
        last = *end;
        done += page.len();
        for (id, bytes, salt) in &page {
            let held = by_leaf.get(id).map_or([].as_slice(), Vec::as_slice);
            if let Err(what) = holds(bytes, salt.as_deref(), held) {
                findings.wrong("audit", format!("leaf {id}: {what}"));
            }
        }
        findings.looked("audit", records.len());
        progress("audit", u64::try_from(done).unwrap_or_default());
    }
}

fn holds(bytes: &[u8], salt: Option<&[u8]>, held: &[&Record]) -> Result<(), String> {
    let entry = Entry::parse(bytes).map_err(|e| e.to_string())?;
    let Event::Audit { records, digest } = entry.event else {
        return if held.is_empty() {
            Ok(())
        } else {
            Err("audit records stand on a leaf that is of something else".to_owned())
        };
    };
    let salt: [u8; 16] = salt.and_then(|salt| salt.try_into().ok()).ok_or("it has no salt")?;
    let lines = held.iter().map(|(_, row)| row.line());
    if usize::try_from(records) == Ok(held.len()) && audit_digest(&salt, lines) == digest {
        Ok(())
    } else {
        Err("its audit records are not those it was made of".to_owned())
    }
}

/// The leaves that have a place, in order; as far as there is one after the other.
fn placed(
    link: &mut Link,
    upto: u64,
    mut each: impl FnMut(&mut Link, &[Hash]) -> Result<(), VaultError>,
) -> Result<u64, VaultError> {
    let mut next = 0_i64;
    loop {
        let room = upto.saturating_sub(next.cast_unsigned()).min(PAGE.cast_unsigned());
        let page: Vec<(Option<i64>, Vec<u8>)> = on!(link, c => ledger_entry::table
            .filter(ledger_entry::position.ge(next))
            .order(ledger_entry::position)
            .limit(room.cast_signed())
            .select((ledger_entry::position, ledger_entry::bytes))
            .load(c))?;
        let hashes: Vec<Hash> = (next..)
            .zip(&page)
            .take_while(|(wanted, (position, _))| *position == Some(*wanted))
            .map(|(_, (_, bytes))| leaf_hash(bytes))
            .collect();
        if hashes.is_empty() {
            return Ok(next.cast_unsigned());
        }
        each(link, &hashes)?;
        next += i64::try_from(hashes.len()).unwrap_or_default();
        if hashes.len() < page.len() {
            return Ok(next.cast_unsigned());
        }
    }
}

/// The root over the first leaves; none when there are fewer.
pub(super) fn root_at(link: &mut Link, size: u64) -> Result<Option<Hash>, VaultError> {
    let mut edge = Edge::empty();
    let found = placed(link, size, |_, hashes| {
        edge.grow(hashes)
            .map(drop)
            .map_err(|e| VaultError::Strange(e.to_string()))
    })?;
    Ok((found == size).then(|| edge.head().root))
}

/// The tree, grown again out of its leaves: its tiles, its root, and what was signed of it.
fn ledger(link: &mut Link, findings: &mut Findings, progress: Progress<'_>) -> Result<(), VaultError> {
    type Row = (i64, Vec<u8>, Option<i64>, Option<String>);
    let (size, root, signed, checkpoint): Row = on!(link, c => tree::table
        .find(1)
        .select((tree::size, tree::root, tree::signed_size, tree::checkpoint))
        .first(c))?;
    let mut edge = Edge::empty();
    let mut wrong = Vec::new();
    let mut tiles = 0_usize;
    let found = placed(link, u64::MAX, |link, hashes| {
        for tile in edge.grow(hashes).map_err(|e| VaultError::Strange(e.to_string()))? {
            tiles += 1;
            let there: Option<Vec<u8>> = on!(link, c => ledger_tile::table
                .filter(ledger_tile::level.eq(i64::from(tile.level)).and(ledger_tile::number.eq(tile.index.cast_signed())))
                .select(ledger_tile::hashes)
                .first(c)
                .optional())?;
            if !there.is_some_and(|bytes| bytes.starts_with(&tile.hashes.concat())) {
                wrong.push(format!("tile {} of level {} is another", tile.index, tile.level));
            }
        }
        progress("ledger", edge.size());
        Ok(())
    })?;
    for what in wrong {
        findings.wrong("ledger", what);
    }
    if found != size.cast_unsigned() {
        findings.wrong("ledger", format!("the tree has {size} leaves, and {found} are there"));
    } else if edge.head().root.as_slice() != root {
        findings.wrong("ledger", "the leaves lead to another root".to_owned());
    }
    let placed = number(
        link,
        "SELECT count(*) AS value FROM ledger_entry WHERE position IS NOT NULL",
    )?;
    if placed.cast_unsigned() != found {
        findings.wrong("ledger", format!("{placed} leaves have a place, {found} in one row"));
    }
    if let (Some(signed), Some(text)) = (signed, checkpoint) {
        let said = Note::parse(text.as_bytes())
            .map_err(|e| e.to_string())
            .and_then(|note| Checkpoint::parse(note.text()).map_err(|e| e.to_string()));
        match said {
            Err(why) => findings.wrong("ledger", format!("its checkpoint: {why}")),
            Ok(said) => {
                let again = root_at(link, signed.cast_unsigned())?;
                if said.head.size != signed.cast_unsigned() || again != Some(said.head.root) {
                    findings.wrong("ledger", "what was signed is another tree".to_owned());
                }
            }
        }
    }
    findings.looked("ledger leaves", usize::try_from(found).unwrap_or_default());
    findings.looked("ledger tiles", tiles);
    Ok(())
}

/// What is published is a CRL of the number, and the issuer, it is said to be.
fn crls(link: &mut Link, findings: &mut Findings) -> Result<(), VaultError> {
    type Row = (String, Option<i64>, Option<Vec<u8>>);
    let rows: Vec<Row> = on!(link, c => crl_point::table
        .filter(crl_point::der.is_not_null())
        .order(crl_point::id)
        .select((crl_point::url, crl_point::number, crl_point::der))
        .load(c))?;
    findings.looked("crls", rows.len());
    let numbers: Vec<Option<i64>> = rows.iter().map(|(_, number, _)| *number).collect();
    let drafts: Vec<Option<Vec<u8>>> = on!(link, c => crl::table
        .filter(crl::number.eq_any(numbers.into_iter().flatten()))
        .select(crl::tbs_sha256)
        .load(c))?;
    let drafts: Vec<Vec<u8>> = drafts.into_iter().flatten().collect();
    for (url, number, der) in rows {
        let der = der.unwrap_or_default();
        match RawCrl::decode(der.clone()) {
            Err(error) => findings.wrong("crls", format!("{url}: {error}")),
            Ok(read) if Some(read.claimed_number().get().cast_signed()) != number => {
                findings.wrong("crls", format!("{url}: it is of another number"));
            }
            Ok(_) if !drafts.contains(&sha256(to_be_signed(&der).unwrap_or_default()).to_vec()) => {
                findings.wrong("crls", format!("{url}: it is not what was to be signed"));
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// The first element of a DER SEQUENCE, with its header.
fn to_be_signed(der: &[u8]) -> Option<&[u8]> {
    let (header, _) = element(der)?;
    let rest = der.get(header..)?;
    let (header, content) = element(rest)?;
    rest.get(..header.checked_add(content)?)
}

/// Lengths of an element's header and content.
fn element(der: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*der.get(1)?);
    if first < 0x80 {
        return Some((2, first));
    }
    let octets = der.get(2..2 + (first & 0x7f))?;
    if octets.len() > 4 {
        return None;
    }
    let length = octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
    Some((2 + octets.len(), length))
}

/// What the triggers hold while rows come and go, asked of all rows at once.
fn rules(link: &mut Link, findings: &mut Findings) -> Result<(), VaultError> {
    const RULES: [(&str, &str); 9] = [
        (
            "an issued certificate without its leaf in the ledger, beside others that have one",
            "FROM certificate AS c WHERE c.state = 'issued' AND NOT EXISTS (SELECT 1 FROM ledger_entry AS l \
             WHERE l.certificate_id = c.id) AND c.id > (SELECT min(l.certificate_id) FROM ledger_entry AS l)",
        ),
        (
            "a certificate of a device without evidence",
            "FROM certificate AS c WHERE c.device_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM evidence AS e \
             WHERE e.enrollment_id = c.enrollment_id)",
        ),
        (
            "an identity that is another device's certificate, or of another profile",
            "FROM identity AS i JOIN certificate AS c ON c.id = i.certificate_id \
             WHERE c.device_id IS NULL OR c.device_id <> i.device_id OR c.profile <> i.profile",
        ),
        (
            "a revoked certificate that is in no list of a CRL",
            "FROM revocation AS r WHERE NOT EXISTS (SELECT 1 FROM crl_entry AS e WHERE e.certificate_id = r.certificate_id)",
        ),
        (
            "steps of a revocation that are not one after the other",
            "FROM (SELECT 1 FROM revocation GROUP BY certificate_id \
             HAVING max(step) <> count(*) OR min(step) <> 1) AS broken",
        ),
        (
            "an entry of a CRL that is not of its certificate",
            "FROM crl_entry AS e JOIN certificate AS c ON c.id = e.certificate_id \
             WHERE e.serial <> c.serial OR e.issuer_key_id <> c.issuer_key_id OR e.not_after <> c.not_after",
        ),
        (
            "a number of a CRL beyond the last that was taken",
            "FROM crl AS c WHERE NOT EXISTS (SELECT 1 FROM crl_sequence AS s WHERE s.issuer_key_id = c.issuer_key_id \
             AND s.number >= c.number)",
        ),
        (
            "a published CRL that was not written down before",
            "FROM crl_point AS p WHERE p.crl_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM crl AS c WHERE c.id = p.crl_id \
             AND c.crl_point_id = p.id AND c.number = p.number)",
        ),
        (
            "a certificate that replaces one of another device",
            "FROM renewal AS r JOIN certificate AS a ON a.id = r.certificate_id JOIN certificate AS b \
             ON b.id = r.replaces_id WHERE a.device_id <> b.device_id OR a.profile <> b.profile",
        ),
    ];
    for (what, from) in RULES {
        let count = number(link, &format!("SELECT count(*) AS value {from}"))?;
        if count > 0 {
            findings.wrong("rules", format!("{count} times {what}"));
        }
    }
    findings.looked("rules", RULES.len());
    Ok(())
}
