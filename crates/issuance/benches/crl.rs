//! CRLs of ten thousand and a million entries: `cargo bench -p issuance --bench crl`.
//!
//! Time of each step and the peak of memory so far, for one CRL and for the same entries in 128 shards; growth as a ratio; and
//! OpenSSL reading and verifying the same bytes, in the same run.
#![expect(clippy::unwrap_used, reason = "a program that stops where it cannot go on")]

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use attest::UnixTime;
use issuance::crl::{Crl, CrlSpec, Known, Revoked, compare};
use issuance::{
    CaKey, CrlDraft, CrlNumber, CrlScope, Issuer, IssuerUrls, KeyError, RawCrl, RevocationReason, Serial,
    SignatureAlgorithm, ToSign,
};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Crl, X509NameBuilder};

const NOW: i64 = 1_795_348_800;
const SHARDS: NonZeroU16 = NonZeroU16::new(128).unwrap();

struct Key {
    key: PKey<Private>,
    spki: Vec<u8>,
}

impl CaKey for Key {
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256Sha256
    }
    fn spki(&self) -> &[u8] {
        &self.spki
    }
    fn sign(&self, what: ToSign<'_>) -> Result<Vec<u8>, KeyError> {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).unwrap();
        Ok(signer.sign_oneshot_to_vec(what.bytes()).unwrap())
    }
}

fn root(key: &PKey<Private>) -> Vec<u8> {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "Bench Root").unwrap();
    let name = name.build();
    let mut b = X509::builder().unwrap();
    b.set_version(2).unwrap();
    b.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap())
        .unwrap();
    b.set_subject_name(&name).unwrap();
    b.set_issuer_name(&name).unwrap();
    b.set_not_before(&Asn1Time::from_unix(NOW - 1).unwrap()).unwrap();
    b.set_not_after(&Asn1Time::from_unix(NOW + 1_000_000_000).unwrap())
        .unwrap();
    b.set_pubkey(key).unwrap();
    b.append_extension(BasicConstraints::new().critical().ca().build().unwrap())
        .unwrap();
    b.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap())
        .unwrap();
    let key_id = SubjectKeyIdentifier::new()
        .build(&b.x509v3_context(None, None))
        .unwrap();
    b.append_extension(key_id).unwrap();
    b.sign(key, MessageDigest::sha256()).unwrap();
    b.build().to_der().unwrap()
}

fn entries(count: u32) -> Vec<Revoked> {
    let mut octets = [0; 16];
    (0..count)
        .zip(RevocationReason::ALL.into_iter().cycle())
        .map(|(n, reason)| {
            openssl::rand::rand_bytes(&mut octets).unwrap();
            octets[0] = octets[0] & 0x3f | 0x40;
            Revoked {
                serial: Serial::from_octets(octets).unwrap(),
                at: UnixTime(NOW - i64::from(n % 31_536_000)),
                reason,
            }
        })
        .collect()
}

fn spec(number: u64, scope: CrlScope, revoked: Vec<Revoked>) -> CrlSpec {
    CrlSpec {
        scope,
        number: CrlNumber::new(number).unwrap(),
        this_update: UnixTime(NOW),
        next_update: UnixTime(NOW + 604_800),
        revoked,
        delta_url: None,
    }
}

/// Seconds of what `work` does.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let out = work();
    (out, begun.elapsed())
}

/// VmHWM in MiB: only ever grows, so sizes run from small to large.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib / 1024)
}

fn whole(issuer: &Issuer, key: &Key, count: u32) -> Duration {
    let revoked = entries(count);
    let (draft, drafted) = timed(|| CrlDraft::new(spec(1, CrlScope::Complete, revoked.clone()), issuer).unwrap());
    let (linted, judged) = timed(|| draft.lint().unwrap());
    let (crl, signed) = timed(|| linted.sign(key).unwrap());
    let made = peak();
    let size = crl.der().len();
    let bytes = crl.der().to_vec();
    let (_, openssl) = timed(|| {
        let read = X509Crl::from_der(&bytes).unwrap();
        assert!(read.verify(&key.key).unwrap());
    });
    let (previous, read) = timed(|| RawCrl::decode(bytes).unwrap().verify(issuer).unwrap());
    drop(crl);
    let mut more = revoked;
    more.extend(entries(count / 100));
    let next: Crl = CrlDraft::new(spec(2, CrlScope::Complete, more), issuer)
        .and_then(CrlDraft::lint)
        .unwrap()
        .sign(key)
        .unwrap();
    let known = |_| -> Option<Known> { None };
    let (publishable, compared) = timed(|| compare(&previous, next, UnixTime(NOW), known).unwrap());
    assert!(publishable.crl().entries().len() >= previous.entries().len());
    println!(
        "{count:>9} entries, one CRL, {:>6} KiB: draft {drafted:.2?}, lint {judged:.2?}, sign and read back {signed:.2?} \
         (peak {made} MiB); read and verify {read:.2?} (OpenSSL {openssl:.2?}); compare {compared:.2?}; peak {} MiB",
        size / 1024,
        peak()
    );
    drafted + judged + signed + read + compared
}

fn sharded(issuer: &Issuer, key: &Key, count: u32) {
    let urls = issuer.urls();
    let mut shards: std::collections::BTreeMap<String, Vec<Revoked>> = std::collections::BTreeMap::new();
    for revoked in entries(count) {
        let url = urls.crl_url(revoked.serial.octets()).unwrap();
        shards.entry(url).or_default().push(revoked);
    }
    let (smallest, largest) = (
        shards.values().map(Vec::len).min().unwrap_or(0),
        shards.values().map(Vec::len).max().unwrap_or(0),
    );
    let number_of = shards.len();
    let (octets, took) = timed(|| {
        let mut octets = 0;
        for (number, (url, revoked)) in (1..).zip(shards) {
            let draft = CrlDraft::new(spec(number, CrlScope::Point(url), revoked), issuer);
            let crl = draft.and_then(CrlDraft::lint).unwrap().sign(key).unwrap();
            octets += crl.der().len();
        }
        octets
    });
    println!(
        "{count:>9} entries, {number_of} shards of {smallest} to {largest}, {:>6} KiB: all made in {took:.2?}",
        octets / 1024
    );
}

fn main() {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let chain = [root(&key)];
    let key = Key {
        spki: key.public_key_to_der().unwrap(),
        key,
    };
    let urls = IssuerUrls {
        ca_issuers: None,
        ocsp: None,
        crl: Some("http://pki.example.com/{shard}.crl".into()),
        crl_shards: Some(SHARDS),
    };
    let issuer = Issuer::from_chain(&chain, key.algorithm(), urls).unwrap();
    println!("before: peak {} MiB", peak());
    sharded(&issuer, &key, 10_000);
    let small = whole(&issuer, &key, 10_000);
    sharded(&issuer, &key, 1_000_000);
    let large = whole(&issuer, &key, 1_000_000);
    println!(
        "a hundred times the entries cost {:.0} times the time",
        large.as_secs_f64() / small.as_secs_f64()
    );
}
