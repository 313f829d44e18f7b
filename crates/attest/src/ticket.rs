//! A [`Pending`] that travels: the server keeps nothing between question and answer.
//!
//! ```text
//! ticket  = version (01) || key id (4) || nonce (12) || AES-256-GCM(fields) || tag (16)
//! AAD     = "holdfast-ticket-v1" || 00 || key id || enrollment id; of a renewal "holdfast-renewal-ticket-v1"
//! fields  = each as u32 big-endian length || bytes, in the order of `encode`
//! ```

use crate::binding::{get, put};
use crate::ek::EkTemplate;
use crate::evidence::ChallengeContext;
use crate::renewal::{RenewalPending, Renewed};
use crate::tpm::{AttestationKey, TpmtPublic};
use crate::{Assurance, ChallengeError, EkFacts, Entropy, Pending, UnixTime};
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const ENROLLMENT: &[u8] = b"holdfast-ticket-v1\0";
const RENEWAL: &[u8] = b"holdfast-renewal-ticket-v1\0";

/// AES-256-GCM keys that seal a [`Pending`] into a ticket; the first seals, all open. Shared by all replicas.
///
/// Nonces are random: change the key before 2^32 tickets (SP 800-38D, 8.3).
pub struct SealKey {
    current: Key,
    previous: Vec<Key>,
}

struct Key {
    id: [u8; 4],
    /// In one place: a key inside of the structure would leave a copy wherever that was moved from.
    bytes: Box<Zeroizing<[u8; 32]>>,
}

/// A ticket that does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not a ticket, or not one of ours, or altered, or of another enrollment.
    #[error("the ticket was not made here for this enrollment")]
    Forged,
    /// Older than its last second.
    #[error("the challenge has expired")]
    Expired,
}

impl Key {
    fn new(from: &[u8; 32]) -> Self {
        let mut hash = openssl::sha::Sha256::new();
        hash.update(b"holdfast-ticket-key-id\0");
        hash.update(from);
        let [a, b, c, d, ..] = hash.finish();
        let mut bytes = Box::new(Zeroizing::new([0; 32]));
        bytes.copy_from_slice(from);
        Self {
            id: [a, b, c, d],
            bytes,
        }
    }

    fn aad(&self, context: &[u8], enrollment: &[u8; 16]) -> Vec<u8> {
        [context, &self.id, enrollment].concat()
    }
}

impl SealKey {
    /// The first key seals; all open (rotation). By reference: who holds them wipes them where they are.
    #[must_use]
    pub fn new(current: &[u8; 32], previous: &[&[u8; 32]]) -> Self {
        Self {
            current: Key::new(current),
            previous: previous.iter().map(|bytes| Key::new(bytes)).collect(),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        core::iter::once(&self.current).chain(&self.previous)
    }
}

impl core::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list()
            .entries(self.keys().map(|key| hex::encode(key.id)))
            .finish()
    }
}

impl Pending {
    /// Seal into an opaque ticket. Holds only a hash of the activation secret.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn seal(self, key: &SealKey, entropy: &mut dyn Entropy) -> Result<Vec<u8>, ChallengeError> {
        seal(key, ENROLLMENT, &self.context.id, &encode(&self), entropy)
    }

    /// Open a ticket made by [`Pending::seal`] for enrollment `id`.
    ///
    /// # Errors
    /// [`TicketError`].
    pub fn open(key: &SealKey, id: &[u8; 16], ticket: &[u8], now: UnixTime) -> Result<Self, TicketError> {
        let pending = unseal(key, ENROLLMENT, id, ticket)
            .and_then(|fields| decode(&fields))
            .ok_or(TicketError::Forged)?;
        pending.of(id, now)
    }

    fn of(self, id: &[u8; 16], now: UnixTime) -> Result<Self, TicketError> {
        if self.context.id != *id {
            return Err(TicketError::Forged);
        }
        if now > self.context.expires_at {
            return Err(TicketError::Expired);
        }
        Ok(self)
    }
}

impl RenewalPending {
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
        seal(key, RENEWAL, &self.pending.context.id, &fields, entropy)
    }

    /// Open a ticket made by [`RenewalPending::seal`] for renewal `id` of the certificate with this SHA-256.
    ///
    /// # Errors
    /// [`TicketError`]; a ticket for another certificate is [`TicketError::Forged`].
    pub fn open(
        key: &SealKey,
        id: &[u8; 16],
        certificate_sha256: &[u8; 32],
        ticket: &[u8],
        now: UnixTime,
    ) -> Result<Self, TicketError> {
        let opened = unseal(key, RENEWAL, id, ticket).and_then(|fields| {
            let rest = &mut fields.as_slice();
            let renewed = Renewed {
                certificate_sha256: get_array(rest)?,
                serial: get(rest)?.to_vec(),
                issuer_key_id: get(rest)?.to_vec(),
                spki_sha256: get_array(rest)?,
            };
            let pending = decode(get(rest)?)?;
            rest.is_empty().then_some(Self { pending, renewed })
        });
        let Self { pending, renewed } = opened.ok_or(TicketError::Forged)?;
        if renewed.certificate_sha256 != *certificate_sha256 {
            return Err(TicketError::Forged);
        }
        Ok(Self {
            pending: pending.of(id, now)?,
            renewed,
        })
    }
}

pub(crate) fn seal(
    key: &SealKey,
    context: &[u8],
    id: &[u8; 16],
    fields: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, ChallengeError> {
    let key = &key.current;
    // Drawn a little longer than needed: a watched source judges draws of 16 bytes and more.
    let mut drawn = [0; 16];
    entropy.fill(&mut drawn)?;
    let [nonce @ .., _, _, _, _] = drawn;
    let mut tag = [0; 16];
    let sealed = encrypt_aead(
        Cipher::aes_256_gcm(),
        &key.bytes[..],
        Some(&nonce),
        &key.aad(context, id),
        fields,
        &mut tag,
    )?;
    Ok([&[VERSION], &key.id[..], &nonce[..], &sealed, &tag].concat())
}

pub(crate) fn unseal(key: &SealKey, context: &[u8], id: &[u8; 16], ticket: &[u8]) -> Option<Vec<u8>> {
    let (&[VERSION], rest) = ticket.split_first_chunk()? else {
        return None;
    };
    let (key_id, rest) = rest.split_first_chunk::<4>()?;
    let (nonce, rest) = rest.split_first_chunk::<12>()?;
    let (sealed, tag) = rest.split_last_chunk::<16>()?;
    // Two keys may share an id once in 2^32: try each that has it.
    key.keys().filter(|key| key.id == *key_id).find_map(|key| {
        decrypt_aead(
            Cipher::aes_256_gcm(),
            &key.bytes[..],
            Some(nonce),
            &key.aad(context, id),
            sealed,
            tag,
        )
        .ok()
    })
}

fn encode(pending: &Pending) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let context = &pending.context;
    put(&mut out, &context.id);
    put(&mut out, context.profile.as_bytes());
    put_option(&mut out, context.attestation_profile.as_deref());
    put_option(&mut out, context.device.as_deref());
    put(&mut out, &context.issued_at.0.to_be_bytes());
    put(&mut out, &context.expires_at.0.to_be_bytes());
    put(&mut out, &pending.nonce);
    put(&mut out, &pending.secret_sha256);
    put(&mut out, &pending.ek_certificate);
    put(&mut out, &pending.ek_public);
    put(&mut out, &pending.ak.facts().public);
    let ek = &pending.ek;
    put(&mut out, &ek.certificate_sha256);
    put(&mut out, &ek.spki_sha256);
    put(&mut out, ek.template.as_str().as_bytes());
    for text in [
        &ek.manufacturer,
        &ek.model,
        &ek.version,
        &ek.authority_key_id,
        &ek.serial,
        &ek.anchor,
    ] {
        put(&mut out, text.as_bytes());
    }
    put(&mut out, &ek.anchor_sha256);
    put(&mut out, ek.assurance.as_str().as_bytes());
    put(&mut out, ek.passed.join(",").as_bytes());
    let mut path = Vec::new();
    for certificate in &ek.path {
        put(&mut path, certificate);
    }
    put(&mut out, &path);
    out
}

fn decode(fields: &[u8]) -> Option<Pending> {
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
    let secret_sha256 = get_array(rest)?;
    let ek_certificate = get(rest)?.to_vec();
    let ek_public = get(rest)?.to_vec();
    let ak_public = get(rest)?;
    let ek = EkFacts {
        certificate_sha256: get_array(rest)?,
        spki_sha256: get_array(rest)?,
        template: template(get(rest)?)?,
        manufacturer: get_text(rest)?,
        model: get_text(rest)?,
        version: get_text(rest)?,
        authority_key_id: get_text(rest)?,
        serial: get_text(rest)?,
        anchor: get_text(rest)?,
        anchor_sha256: get_array(rest)?,
        assurance: assurance(get(rest)?)?,
        passed: get_text(rest)?
            .split(',')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect(),
        path: {
            let path = &mut get(rest)?;
            let mut certificates = Vec::new();
            while !path.is_empty() {
                certificates.push(get(path)?.to_vec());
            }
            certificates
        },
    };
    rest.is_empty().then_some(())?;
    let ak = AttestationKey::judge(TpmtPublic::parse(ak_public).ok()?).ok()?;
    Some(Pending {
        context,
        ek_certificate,
        ek_public,
        ek,
        ak,
        nonce,
        secret_sha256,
    })
}

pub(crate) fn put_option(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put(out, &[&[1], text.as_bytes()].concat()),
        None => put(out, &[]),
    }
}

pub(crate) fn get_option(rest: &mut &[u8]) -> Option<Option<String>> {
    match get(rest)?.split_first() {
        None => Some(None),
        Some((1, text)) => Some(Some(String::from_utf8(text.to_vec()).ok()?)),
        Some(_) => None,
    }
}

pub(crate) fn get_text(rest: &mut &[u8]) -> Option<String> {
    String::from_utf8(get(rest)?.to_vec()).ok()
}

pub(crate) fn get_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    get(rest)?.try_into().ok()
}

fn template(word: &[u8]) -> Option<EkTemplate> {
    use EkTemplate::{H1, H2, H3, H4, H6, H7, L1, L2};
    [L1, L2, H1, H2, H3, H4, H6, H7]
        .into_iter()
        .find(|template| template.as_str().as_bytes() == word)
}

fn assurance(word: &[u8]) -> Option<Assurance> {
    Assurance::ALL
        .into_iter()
        .find(|assurance| assurance.as_str().as_bytes() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fuzz targets `ticket` and `answer` write fields past [`encode`]: what they begin with is one that opens.
    #[test]
    fn the_seed_of_the_fuzz_targets_is_a_ticket() {
        let seed = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/ticket/fields")).unwrap();
        assert_eq!(encode(&decode(&seed).unwrap()), seed);
    }
}
