//! Tickets of [`IakPending`]: as those of enrollments by an EK, and of kinds of their own.
//!
//! They carry the evidence and not what was found about it: it is judged again when the ticket is opened, by the anchors
//! and refusals of that moment.

use super::record::list;
use super::{IakBytes, IakEvidence, IakPending, IakRenewalPending, Manufacturers};
use crate::binding::{get, put};
use crate::evidence::ChallengeContext;
use crate::renewal::Renewed;
use crate::ticket::{self, SealKey, TicketError, get_array, get_option, get_text, put_option};
use crate::{ChallengeError, Entropy, UnixTime};

const ENROLLMENT: &[u8] = b"holdfast-iak-ticket-v1\0";
const RENEWAL: &[u8] = b"holdfast-iak-renewal-ticket-v1\0";

impl IakPending {
    /// Seal into an opaque ticket.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn seal(self, key: &SealKey, entropy: &mut dyn Entropy) -> Result<Vec<u8>, ChallengeError> {
        ticket::seal(key, ENROLLMENT, &self.context.id, &encode(&self), entropy)
    }

    /// Open a ticket made by [`IakPending::seal`] for enrollment `id`.
    ///
    /// # Errors
    /// [`TicketError`]; also [`TicketError::Forged`] when the manufacturer is not believed any more.
    pub fn open(
        key: &SealKey,
        id: &[u8; 16],
        ticket: &[u8],
        manufacturers: &Manufacturers,
        now: UnixTime,
    ) -> Result<Self, TicketError> {
        let fields = ticket::unseal(key, ENROLLMENT, id, ticket).ok_or(TicketError::Forged)?;
        decode(&fields)
            .ok_or(TicketError::Forged)?
            .judged(id, manufacturers, now)
    }
}

impl IakRenewalPending {
    /// Seal into an opaque ticket, of another kind than an enrollment's.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn seal(self, key: &SealKey, entropy: &mut dyn Entropy) -> Result<Vec<u8>, ChallengeError> {
        let mut fields = Vec::with_capacity(4096);
        put(&mut fields, &self.renewed.certificate_sha256);
        put(&mut fields, &self.renewed.serial);
        put(&mut fields, &self.renewed.issuer_key_id);
        put(&mut fields, &self.renewed.spki_sha256);
        put(&mut fields, &encode(&self.pending));
        ticket::seal(key, RENEWAL, &self.pending.context.id, &fields, entropy)
    }

    /// Open a ticket made by [`IakRenewalPending::seal`] for renewal `id` of the certificate with this SHA-256.
    ///
    /// # Errors
    /// As [`IakPending::open`]; a ticket for another certificate is [`TicketError::Forged`].
    pub fn open(
        key: &SealKey,
        id: &[u8; 16],
        certificate_sha256: &[u8; 32],
        ticket: &[u8],
        manufacturers: &Manufacturers,
        now: UnixTime,
    ) -> Result<Self, TicketError> {
        let fields = ticket::unseal(key, RENEWAL, id, ticket).ok_or(TicketError::Forged)?;
        let opened = (|| {
            let rest = &mut fields.as_slice();
            let renewed = Renewed {
                certificate_sha256: get_array(rest)?,
                serial: get(rest)?.to_vec(),
                issuer_key_id: get(rest)?.to_vec(),
                spki_sha256: get_array(rest)?,
            };
            let pending = decode(get(rest)?)?;
            (rest.is_empty() && renewed.certificate_sha256 == *certificate_sha256).then_some((renewed, pending))
        })();
        let (renewed, pending) = opened.ok_or(TicketError::Forged)?;
        Ok(Self {
            pending: pending.judged(id, manufacturers, now)?,
            renewed,
        })
    }
}

/// What a ticket carries.
struct Carried {
    context: ChallengeContext,
    nonce: [u8; 32],
    bytes: IakBytes,
}

impl Carried {
    fn judged(self, id: &[u8; 16], manufacturers: &Manufacturers, now: UnixTime) -> Result<IakPending, TicketError> {
        if self.context.id != *id {
            return Err(TicketError::Forged);
        }
        if now > self.context.expires_at {
            return Err(TicketError::Expired);
        }
        let vouched = IakEvidence::decode(self.bytes)
            .and_then(|evidence| evidence.verify(manufacturers, now))
            .map_err(|_| TicketError::Forged)?;
        Ok(IakPending {
            context: self.context,
            vouched,
            nonce: self.nonce,
        })
    }
}

fn encode(pending: &IakPending) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let (context, bytes) = (&pending.context, &pending.vouched.bytes);
    put(&mut out, &context.id);
    put(&mut out, context.profile.as_bytes());
    put_option(&mut out, context.attestation_profile.as_deref());
    put_option(&mut out, context.device.as_deref());
    put(&mut out, &context.issued_at.0.to_be_bytes());
    put(&mut out, &context.expires_at.0.to_be_bytes());
    put(&mut out, &pending.nonce);
    put(&mut out, &bytes.certificate);
    put(&mut out, bytes.idevid.as_deref().unwrap_or_default());
    let mut chain = Vec::new();
    for certificate in &bytes.chain {
        put(&mut chain, certificate);
    }
    put(&mut out, &chain);
    put(&mut out, &bytes.public);
    out
}

fn decode(fields: &[u8]) -> Option<Carried> {
    let rest = &mut &*fields;
    let context = ChallengeContext {
        id: get_array(rest)?,
        profile: get_text(rest)?,
        attestation_profile: get_option(rest)?,
        device: get_option(rest)?,
        issued_at: UnixTime(i64::from_be_bytes(get_array(rest)?)),
        expires_at: UnixTime(i64::from_be_bytes(get_array(rest)?)),
    };
    let nonce = get_array(rest)?;
    let certificate = get(rest)?.to_vec();
    let idevid = Some(get(rest)?.to_vec()).filter(|der| !der.is_empty());
    let chain = list(get(rest)?)?.into_iter().map(<[u8]>::to_vec).collect();
    let public = get(rest)?.to_vec();
    rest.is_empty().then_some(Carried {
        context,
        nonce,
        bytes: IakBytes {
            certificate,
            idevid,
            chain,
            public,
        },
    })
}
