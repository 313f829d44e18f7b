//! `TBSCertList`, read back as slices of what is really there; lenient where a lint has something to say.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5280;

use super::RevocationReason;
use super::entry::{CrlEntry, Mark};
use super::scope::CrlScope;
use super::statement::{CrlNumber, Statement};
use crate::Serial;
use crate::encode::{ENUMERATED, GENERALIZED_TIME, INTEGER, SEQUENCE, UTC_TIME, context, context_constructed};
use crate::lint::crl_distribution_points;
use crate::view::{Element, Extension, Malformed, Reader, extension_list, extensions, only, time};

/// `TBSCertList`, field by field.
#[derive(Debug, Clone)]
pub(crate) struct TbsCrl<'a> {
    /// All of it.
    pub(crate) raw: &'a [u8],
    /// Content of the INTEGER, absent in version 1.
    pub(crate) version: Option<&'a [u8]>,
    /// `AlgorithmIdentifier`, tag and length included.
    pub(crate) algorithm: &'a [u8],
    /// Issuer `Name`, tag and length included.
    pub(crate) issuer: &'a [u8],
    pub(crate) this_update: Element<'a>,
    pub(crate) next_update: Option<Element<'a>>,
    /// Content of revokedCertificates, absent when the list is.
    pub(crate) revoked: Option<&'a [u8]>,
    pub(crate) extensions: Vec<Extension<'a>>,
}

/// One of revokedCertificates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryView<'a> {
    /// Content octets.
    pub(crate) serial: &'a [u8],
    pub(crate) date: Element<'a>,
    /// Content of crlEntryExtensions.
    pub(crate) extensions: Option<&'a [u8]>,
}

/// The entries one after the other; ends at the first that cannot be read.
pub(crate) struct Entries<'a>(Reader<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Result<EntryView<'a>, Malformed>;
    fn next(&mut self) -> Option<Self::Item> {
        let read = self.0.next().transpose()?.and_then(EntryView::read);
        if read.is_err() {
            self.0 = Reader(&[]);
        }
        Some(read)
    }
}

impl<'a> EntryView<'a> {
    fn read(element: Element<'a>) -> Result<Self, Malformed> {
        if element.tag != SEQUENCE {
            return Err(Malformed("revoked certificate"));
        }
        let mut fields = Reader(element.value);
        let serial = fields.expect(INTEGER, "userCertificate")?.value;
        let date = fields.next()?.ok_or(Malformed("revocationDate"))?;
        let extensions = fields.optional(SEQUENCE)?.map(|e| e.value);
        fields.end("bytes after a revoked certificate")?;
        Ok(Self {
            serial,
            date,
            extensions,
        })
    }
    pub(crate) fn extensions(&self) -> Result<Vec<Extension<'a>>, Malformed> {
        self.extensions.map_or(Ok(Vec::new()), extension_list)
    }
    /// The serial, if this CA could have drawn it.
    pub(crate) fn serial(&self) -> Option<Serial> {
        Serial::from_octets(self.serial.try_into().ok()?)
    }
    /// What is said; no reasonCode says [`RevocationReason::Unspecified`].
    pub(crate) fn mark(&self) -> Result<Mark, Malformed> {
        let extensions = self.extensions()?;
        let Some(extension) = extensions.first() else {
            return Ok(Mark::Revoked(RevocationReason::Unspecified));
        };
        if extensions.len() > 1 || extension.oid != rfc5280::ID_CE_CRL_REASONS {
            return Err(Malformed("an entry extension besides reasonCode"));
        }
        let code = only(extension.value, ENUMERATED, "reasonCode")?.value;
        let [code] = code else {
            return Err(Malformed("reasonCode"));
        };
        Mark::from_code(*code).ok_or(Malformed("no such reasonCode"))
    }
}

impl<'a> TbsCrl<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let whole = only(der, SEQUENCE, "TBSCertList")?;
        let mut fields = Reader(whole.value);
        let version = fields.optional(INTEGER)?.map(|e| e.value);
        let algorithm = fields.expect(SEQUENCE, "signature")?.raw;
        let issuer = fields.expect(SEQUENCE, "issuer")?.raw;
        let this_update = fields.next()?.ok_or(Malformed("thisUpdate"))?;
        let next_update = match fields.optional(UTC_TIME)? {
            None => fields.optional(GENERALIZED_TIME)?,
            utc => utc,
        };
        let revoked = fields.optional(SEQUENCE)?.map(|e| e.value);
        let extensions = match fields.optional(context_constructed(0))? {
            Some(outer) => extensions(outer.value)?,
            None => Vec::new(),
        };
        fields.end("bytes after the extensions")?;
        let tbs = Self {
            raw: whole.raw,
            version,
            algorithm,
            issuer,
            this_update,
            next_update,
            revoked,
            extensions,
        };
        for entry in tbs.entries() {
            entry?.extensions()?;
        }
        Ok(tbs)
    }
    pub(crate) fn entries(&self) -> Entries<'a> {
        Entries(Reader(self.revoked.unwrap_or_default()))
    }
    /// The first extension with this OID.
    pub(crate) fn extension(&self, oid: &ObjectIdentifier) -> Option<&Extension<'a>> {
        self.extensions.iter().find(|e| e.oid == *oid)
    }
    /// The identifier of the issuer's key.
    pub(crate) fn key_id(&self) -> Result<&'a [u8], Malformed> {
        let extension = self
            .extension(&rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER)
            .ok_or(Malformed("authorityKeyIdentifier missing"))?;
        let sequence = only(extension.value, SEQUENCE, "authorityKeyIdentifier")?;
        Ok(only(sequence.value, context(0), "keyIdentifier alone")?.value)
    }
    /// The number in the extension with this OID.
    pub(crate) fn number(&self, oid: &ObjectIdentifier) -> Result<Option<CrlNumber>, Malformed> {
        let Some(extension) = self.extension(oid) else {
            return Ok(None);
        };
        let octets = only(extension.value, INTEGER, "a CRL number")?.value;
        CrlNumber::from_octets(octets)
            .map(Some)
            .ok_or(Malformed("a CRL number out of range"))
    }
    /// The URL in issuingDistributionPoint; `None` without that extension.
    pub(crate) fn point(&self) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(extension) = self.extension(&rfc5280::ID_CE_ISSUING_DISTRIBUTION_POINT) else {
            return Ok(None);
        };
        let point = only(extension.value, SEQUENCE, "issuingDistributionPoint")?;
        let name = only(point.value, context_constructed(0), "distributionPoint alone")?;
        let full = only(name.value, context_constructed(0), "fullName")?;
        Ok(Some(only(full.value, context(6), "one URI")?.value))
    }

    /// The URL in freshestCRL; `None` without that extension.
    pub(crate) fn freshest(&self) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(extension) = self.extension(&rfc5280::ID_CE_FRESHEST_CRL) else {
            return Ok(None);
        };
        // RFC 5280 §5.2.6: the syntax of cRLDistributionPoints.
        crl_distribution_points::read(extension.value).map(Some)
    }

    /// What it says. Whether it says it in the one form this CA writes is for the caller to see.
    pub(super) fn statement(&self) -> Result<Statement, Malformed> {
        let scope = match self.point()? {
            None => CrlScope::Complete,
            Some(url) => CrlScope::Point(uri(url)?),
        };
        let delta_url = self.freshest()?.map(uri).transpose()?;
        // An entry has 35 octets at least and takes 32 in memory: never more than came in.
        let mut entries: Vec<CrlEntry> = Vec::with_capacity(self.revoked.unwrap_or_default().len() / 35);
        for entry in self.entries() {
            let view = entry?;
            let entry = CrlEntry {
                serial: view.serial().ok_or(Malformed("a serial this CA does not draw"))?,
                at: time(view.date)?,
                mark: view.mark()?,
            };
            if entries.last().is_some_and(|last| last.serial >= entry.serial) {
                return Err(Malformed("entries out of order, or one twice"));
            }
            entries.push(entry);
        }
        let base = self.number(&rfc5280::ID_CE_DELTA_CRL_INDICATOR)?;
        if base.is_none() && entries.iter().any(|entry| entry.mark == Mark::Removed) {
            return Err(Malformed("removeFromCRL in a complete CRL"));
        }
        if base.is_some() && delta_url.is_some() {
            return Err(Malformed("freshestCRL in a delta CRL"));
        }
        Ok(Statement {
            scope,
            number: self
                .number(&rfc5280::ID_CE_CRL_NUMBER)?
                .ok_or(Malformed("cRLNumber missing"))?,
            base,
            this_update: time(self.this_update)?,
            next_update: time(self.next_update.ok_or(Malformed("nextUpdate missing"))?)?,
            entries,
            delta_url,
        })
    }
}

fn uri(octets: &[u8]) -> Result<String, Malformed> {
    let text = std::str::from_utf8(octets).map_err(|_| Malformed("URI"))?;
    Ok(text.to_owned())
}
