//! `ResponseData`, read back as slices of what is really there; lenient where a lint has something to say.

use const_oid::db::rfc6960::ID_PKIX_OCSP_NONCE;
use wire::revocation::RevocationReason;

use super::cert_id::RawCertId;
use super::request::Nonce;
use super::statement::CertStatus;
use crate::encode::{ENUMERATED, OCTET_STRING, SEQUENCE, context, context_constructed};
use crate::view::{Element, Extension, Malformed, Reader, extensions, only, time};

/// `ResponseData`, field by field.
#[derive(Debug, Clone)]
pub(crate) struct TbsResponse<'a> {
    /// All of it.
    pub(crate) raw: &'a [u8],
    /// Content of `[0]`, absent when the version is left to its default.
    pub(crate) version: Option<&'a [u8]>,
    /// responderID, whichever choice.
    pub(crate) responder_id: Element<'a>,
    pub(crate) produced_at: Element<'a>,
    pub(crate) answers: Vec<AnswerView<'a>>,
    pub(crate) extensions: Vec<Extension<'a>>,
}

/// One `SingleResponse`.
#[derive(Debug, Clone)]
pub(crate) struct AnswerView<'a> {
    /// `CertID`, tag and length included.
    pub(crate) id: Element<'a>,
    /// certStatus, whichever choice.
    pub(crate) status: Element<'a>,
    pub(crate) this_update: Element<'a>,
    pub(crate) next_update: Option<Element<'a>>,
    pub(crate) extensions: Vec<Extension<'a>>,
}

/// `RevokedInfo`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RevokedView<'a> {
    pub(crate) at: Element<'a>,
    /// Content of the ENUMERATED.
    pub(crate) reason: Option<&'a [u8]>,
}

impl<'a> AnswerView<'a> {
    fn read(element: Element<'a>) -> Result<Self, Malformed> {
        if element.tag != SEQUENCE {
            return Err(Malformed("SingleResponse"));
        }
        let mut fields = Reader(element.value);
        let id = fields.expect(SEQUENCE, "certID")?;
        let status = fields.next()?.ok_or(Malformed("certStatus"))?;
        let this_update = fields.next()?.ok_or(Malformed("thisUpdate"))?;
        let next_update = match fields.optional(context_constructed(0))? {
            None => None,
            Some(outer) => Some(one(outer.value, "nextUpdate")?),
        };
        let single = match fields.optional(context_constructed(1))? {
            None => Vec::new(),
            Some(outer) => extensions(outer.value)?,
        };
        fields.end("bytes after a SingleResponse")?;
        let view = Self {
            id,
            status,
            this_update,
            next_update,
            extensions: single,
        };
        view.revoked()?;
        Ok(view)
    }
    /// The certificate it is about.
    pub(crate) fn id(&self) -> Result<RawCertId, Malformed> {
        RawCertId::read(self.id.value)
    }
    /// The content of `revoked`; `None` when it says `good`.
    pub(crate) fn revoked(&self) -> Result<Option<RevokedView<'a>>, Malformed> {
        let revoked = context_constructed(1);
        match (self.status.tag, self.status.value) {
            (tag, []) if tag == context(0) => Ok(None),
            (tag, value) if tag == revoked => {
                let mut fields = Reader(value);
                let at = fields.next()?.ok_or(Malformed("revocationTime"))?;
                let reason = match fields.optional(context_constructed(0))? {
                    None => None,
                    Some(outer) => Some(only(outer.value, ENUMERATED, "revocationReason")?.value),
                };
                fields.end("bytes after RevokedInfo")?;
                Ok(Some(RevokedView { at, reason }))
            }
            _ => Err(Malformed("neither good nor revoked")),
        }
    }
    /// What it says.
    pub(crate) fn status(&self) -> Result<CertStatus, Malformed> {
        let Some(revoked) = self.revoked()? else {
            return Ok(CertStatus::Good);
        };
        Ok(CertStatus::Revoked {
            since: time(revoked.at)?,
            reason: revoked.reason()?,
        })
    }
}

impl RevokedView<'_> {
    /// No reason says [`RevocationReason::Unspecified`].
    pub(crate) fn reason(&self) -> Result<RevocationReason, Malformed> {
        match self.reason {
            None => Ok(RevocationReason::Unspecified),
            Some([code]) => RevocationReason::ALL
                .into_iter()
                .find(|reason| reason.code() == *code)
                .ok_or(Malformed("no such revocationReason")),
            Some(_) => Err(Malformed("revocationReason")),
        }
    }
}

/// Exactly one element, whatever it is.
fn one<'a>(bytes: &'a [u8], what: &'static str) -> Result<Element<'a>, Malformed> {
    let mut reader = Reader(bytes);
    let element = reader.next()?.ok_or(Malformed(what))?;
    reader.end(what)?;
    Ok(element)
}

impl<'a> TbsResponse<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let whole = only(der, SEQUENCE, "ResponseData")?;
        let mut fields = Reader(whole.value);
        let version = fields.optional(context_constructed(0))?.map(|e| e.value);
        let responder_id = fields.next()?.ok_or(Malformed("responderID"))?;
        let produced_at = fields.next()?.ok_or(Malformed("producedAt"))?;
        let list = Reader(fields.expect(SEQUENCE, "responses")?.value).all()?;
        let answers = list.into_iter().map(AnswerView::read).collect::<Result<_, _>>()?;
        let extensions = match fields.optional(context_constructed(1))? {
            None => Vec::new(),
            Some(outer) => extensions(outer.value)?,
        };
        fields.end("bytes after the extensions")?;
        Ok(Self {
            raw: whole.raw,
            version,
            responder_id,
            produced_at,
            answers,
            extensions,
        })
    }
    /// KeyHash of a responder named by its key.
    pub(crate) fn key_hash(&self) -> Result<[u8; 20], Malformed> {
        const WHAT: Malformed = Malformed("a responder not named by its key");
        if self.responder_id.tag != context_constructed(2) {
            return Err(WHAT);
        }
        let hash = only(self.responder_id.value, OCTET_STRING, "KeyHash")?.value;
        hash.try_into().map_err(|_| WHAT)
    }
    /// The nonce it repeats.
    pub(crate) fn nonce(&self) -> Result<Option<Nonce>, Malformed> {
        let nonce = self.extensions.iter().find(|e| e.oid == ID_PKIX_OCSP_NONCE);
        nonce.map(|extension| Nonce::read(extension.value)).transpose()
    }
}
