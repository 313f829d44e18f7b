//! What the operator says about CAs: trusted, known, unknown, refused.

use crate::AnchorKind;
use crate::x509::{Certificate, Leniencies};

/// One root we trust for claims about TPMs.
#[derive(Clone, Debug)]
pub struct AnchorSource {
    /// Name for records and screens, for example `infineon-optiga-ecc-root-2`.
    pub name: String,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// What kind of TPM it speaks for.
    pub kind: AnchorKind,
    /// Manufacturer ids (`id:` and 8 hex digits) it may speak for; never empty. Of a device manufacturer always empty.
    pub manufacturers: Vec<String>,
    /// Whether expiry of EK certificates and intermediates below it, and its own, refuses (`true`) or is let pass.
    pub enforce_expiry: bool,
}

/// What was decided about a CA that is no anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing that leads through it is believed, whichever anchor stands above it.
    Refused,
    /// Its vendor is known, and it is not trusted.
    Known,
    /// Nobody has decided.
    Unknown,
}

/// A CA that is no anchor. Unless it is refused it may still be a link between an anchor and an EK certificate: then it is
/// the anchor that is believed.
#[derive(Clone, Debug)]
pub struct CaSource {
    /// Name for records and screens.
    pub name: String,
    /// The certificate, DER. A refused one is refused by the hash of this certificate and by its key.
    pub certificate: Vec<u8>,
    /// What was decided.
    pub standing: Standing,
}

/// A CA refused by a hash alone, for those whose certificate is not at hand.
#[derive(Clone, Debug)]
pub struct RefusedHash {
    /// Name for records and screens.
    pub name: String,
    /// Of what.
    pub of: HashOf,
}

/// What a SHA-256 is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashOf {
    /// A certificate, DER: this one, and no other of the same key.
    Certificate([u8; 32]),
    /// A canonical SubjectPublicKeyInfo ([`crate::ek::canonical_spki`]): every certificate of that key.
    Key([u8; 32]),
}

/// Whose claims anchors are believed for. What was decided for the one says nothing for the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum About {
    /// TPM manufacturers: endorsement keys.
    #[default]
    Tpm,
    /// Device manufacturers: initial attestation keys (IAK).
    Iak,
}

impl About {
    /// The word of trust files: `tpm`, `iak`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tpm => "tpm",
            Self::Iak => "iak",
        }
    }
}

/// All that [`super::Anchors::of`] is made from.
#[derive(Clone, Debug, Default)]
pub struct TrustSources {
    /// Whose claims they are about.
    pub about: About,
    /// Roots that are trusted.
    pub anchors: Vec<AnchorSource>,
    /// CAs that are not.
    pub others: Vec<CaSource>,
    /// Refusals by hash.
    pub refused: Vec<RefusedHash>,
    /// Intermediates, DER, that only build paths.
    pub intermediates: Vec<Vec<u8>>,
    /// CRLs of the CAs among them, DER.
    pub crls: Vec<Vec<u8>>,
    /// Names of the anchors below which a current CRL of every CA of a path is demanded. Without it, what the CRLs say
    /// counts, and where they say nothing, or are past their time, is recorded.
    pub demand_crl: Vec<String>,
}

impl TrustSources {
    /// Add what another file says; both are about the same.
    pub fn merge(&mut self, other: Self) {
        self.anchors.extend(other.anchors);
        self.others.extend(other.others);
        self.refused.extend(other.refused);
        self.intermediates.extend(other.intermediates);
        self.crls.extend(other.crls);
        self.demand_crl.extend(other.demand_crl);
    }
}

/// A CA certificate as a person has to see it before he decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaFacts {
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// SHA-256 of the canonical SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Name, DER.
    pub subject: Vec<u8>,
    /// Name, DER.
    pub issuer: Vec<u8>,
    /// Whether its own key signed it: only then it can be an anchor.
    pub self_signed: bool,
    /// First second of validity.
    pub not_before: crate::UnixTime,
    /// Last second of validity.
    pub not_after: crate::UnixTime,
}

impl CaFacts {
    /// Read a certificate (DER). Only the signature of a self-issued one is checked; nothing is believed.
    ///
    /// # Errors
    /// Why it can never issue EK certificates: broken DER, no CA, a weak key, constraints that are not processed.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::parse(der, Leniencies::VENDOR).map_err(|error| error.to_string())?;
        let issuer = super::Issuer::new(&certificate)?;
        Ok(Self {
            sha256: issuer.sha256,
            spki_sha256: issuer.spki_sha256,
            subject: certificate.subject.to_vec(),
            issuer: certificate.issuer.to_vec(),
            self_signed: super::self_signed(der).is_ok(),
            not_before: issuer.not_before,
            not_after: issuer.not_after,
        })
    }
}
