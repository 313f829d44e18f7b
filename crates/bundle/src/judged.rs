//! The record judged again, by the code that judged it for the CA.

use attest::iak::{IakEvidenceFields, IakReplay, Manufacturers};
use attest::trust::{About, AnchorSource, Anchors, TrustSources};
use attest::{AnchorKind, Endorsement, EvidenceFields, KeyFacts, Refusal, Replay, Root as Facts, UnixTime, sha256};
use policies::Shown;

use crate::transcript::{EkWord, IakWord, Root, Transcript, Word};

/// An evidence record, of either kind.
pub(crate) enum Fields<'a> {
    Ek(EvidenceFields<'a>),
    Iak(IakEvidenceFields<'a>),
}

impl<'a> Fields<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let ek = EvidenceFields::parse(bytes).map(Self::Ek);
        ek.or_else(|| IakEvidenceFields::parse(bytes).map(Self::Iak))
            .ok_or_else(|| "not an evidence record".to_owned())
    }

    /// Enrollment id, nonce, and the certificate that was renewed.
    pub(crate) fn conversation(&self) -> (&'a [u8], &'a [u8], Option<&'a [u8]>) {
        match self {
            Self::Ek(of) => (of.id, of.nonce, of.renewed),
            Self::Iak(of) => (of.id, of.nonce, of.renewed),
        }
    }
}

/// What each check of an enrollment finds now.
pub(crate) struct Judged {
    /// The root of trust: EK or IAK, its certificate and its path.
    pub(crate) root: Result<Facts, Refusal>,
    /// The attestation key that vouched.
    pub(crate) ak: Result<KeyFacts, Refusal>,
    /// The attestation key that may be certified: that one, or the one an IAK vouched for.
    pub(crate) attestation: Result<Option<KeyFacts>, Refusal>,
    pub(crate) certification: Result<(), Refusal>,
    pub(crate) identity: Result<KeyFacts, Refusal>,
    pub(crate) request: Result<attest::csr::CsrRequest, Refusal>,
}

fn kind(word: &str) -> Result<AnchorKind, String> {
    match word {
        "hardware" => Ok(AnchorKind::Hardware),
        "virtual" => Ok(AnchorKind::Virtual),
        "software" => Ok(AnchorKind::Software),
        _ => Err("the transcript names a kind of TPM that is not known here".to_owned()),
    }
}

impl Judged {
    /// Make the checks again, on the terms of the transcript.
    pub(crate) fn of(fields: &Fields<'_>, told: &Transcript, path: &[Vec<u8>]) -> Result<Self, String> {
        match (fields, &told.root) {
            (Fields::Ek(fields), Root::EkActivation(word)) => by_ek(*fields, word, told, path),
            (Fields::Iak(fields), Root::IakCertified(word)) => by_iak(fields, word, told, path),
            _ => Err("the transcript is of another kind of proof than the record".to_owned()),
        }
    }
}

fn by_ek(fields: EvidenceFields<'_>, word: &EkWord, told: &Transcript, path: &[Vec<u8>]) -> Result<Judged, String> {
    let kind = kind(&word.kind)?;
    let (anchor, offered) = match path.split_first() {
        Some((anchor, offered)) => (Some(anchor), offered),
        None => (None, &[] as &[Vec<u8>]),
    };
    let anchors = anchor.map(|certificate| AnchorSource {
        name: word.anchor.clone(),
        certificate: certificate.clone(),
        kind,
        manufacturers: word.manufacturers.clone(),
        enforce_expiry: word.enforce_expiry,
    });
    let anchors = Anchors::new(anchors.into_iter().collect(), Vec::new());
    // An anchor that is none is found by the check of the endorsement: here it is as good as no anchor.
    let anchors = match anchors {
        Ok(anchors) => anchors,
        Err(_) => Anchors::new(Vec::new(), Vec::new()).map_err(|e| e.to_string())?,
    };
    let endorsement = match word.word {
        Word::Chain => Endorsement::Chain {
            anchors: &anchors,
            offered,
        },
        Word::AllowList => Endorsement::Allowed(kind),
        Word::Review => Endorsement::Reviewed(kind),
    };
    let replay = Replay {
        evidence: fields,
        endorsement,
        at: UnixTime(told.challenged_at),
    };
    let all = replay.run();
    Ok(Judged {
        root: all.endorsement.map(Facts::Ek),
        attestation: all.attestation_key.clone().map(Some),
        ak: all.attestation_key,
        certification: all.certification,
        identity: all.identity_key,
        request: all.request,
    })
}

fn by_iak(
    fields: &IakEvidenceFields<'_>,
    word: &IakWord,
    told: &Transcript,
    path: &[Vec<u8>],
) -> Result<Judged, String> {
    let terms = word.terms.as_ref().ok_or(
        "it stands on a manufacturer's IAK, and is of before transcripts said on what terms one was believed: it cannot be \
         checked again",
    )?;
    let kind = kind(&terms.kind)?;
    let (anchor, between) = match path.split_first() {
        Some((anchor, between)) => (Some(anchor), between),
        None => (None, &[] as &[Vec<u8>]),
    };
    let anchors = anchor.map(|certificate| AnchorSource {
        name: word.anchor.clone(),
        certificate: certificate.clone(),
        kind,
        manufacturers: Vec::new(),
        enforce_expiry: terms.enforce_expiry,
    });
    let manufacturers = Manufacturers::of(TrustSources {
        about: About::Iak,
        anchors: anchors.into_iter().collect(),
        ..TrustSources::default()
    });
    let manufacturers = match manufacturers {
        Ok(manufacturers) => manufacturers,
        Err(_) => Manufacturers::none().map_err(|e| e.to_string())?,
    };
    let replay = IakReplay {
        evidence: fields.clone(),
        manufacturers: &manufacturers,
        between,
        at: UnixTime(told.challenged_at),
    };
    let all = replay.run();
    Ok(Judged {
        root: all.endorsement.map(Facts::Iak),
        ak: all.iak,
        attestation: all.lak,
        certification: all.certification,
        identity: all.identity_key,
        request: all.request,
    })
}

/// What was shown then, found by the code that found it then, for `policies::reconsider`; `path` is that of the transcript.
///
/// # Errors
/// In words: what of it is not what it must be.
pub fn shown(evidence: &[u8], told: &Transcript, path: &[Vec<u8>]) -> Result<Shown, String> {
    let fields = Fields::parse(evidence)?;
    Judged::of(&fields, told, path)?.shown(evidence, told)
}

impl Judged {
    pub(crate) fn shown(&self, evidence: &[u8], told: &Transcript) -> Result<Shown, String> {
        let mut root = self.root.clone().map_err(|e| e.to_string())?;
        if let (Facts::Ek(ek), Root::EkActivation(word)) = (&mut root, &told.root) {
            // What the anchor let pass is of that day, and CRLs of that day are not here.
            ek.passed.clone_from(&word.passed);
        }
        Ok(Shown {
            profile: told.asked.profile.clone(),
            attestation_profile: told.asked.attestation_profile.clone(),
            claimed: told.asked.device.clone(),
            requested: self.request.clone().map_err(|e| e.to_string())?,
            root,
            ak: self.ak.clone().map_err(|e| e.to_string())?,
            attestation: self.attestation.clone().map_err(|e| e.to_string())?,
            identity: self.identity.clone().map_err(|e| e.to_string())?,
            evidence: sha256(evidence),
            same_key: told.same_key,
        })
    }
}
