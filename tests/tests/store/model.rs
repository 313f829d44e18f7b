//! Random histories, played on SQLite, on PostgreSQL and in memory: every answer and every record is the same.

use std::collections::BTreeMap;

use attest::UnixTime;
use issuance::{Intent, Order, RecordError, Recorder as _};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use schema::{AllowDevice, CertificateState, DeviceFilter, NewDeviceError, RevokeError, Store};
use wire::revocation::RevocationReason::{self, CertificateHold, KeyCompromise, Superseded};
use wire::revocation::RevocationState::{self, OnHold, Released, Revoked};

use crate::kit::*;

/// One event. Small numbers name things, so that they meet.
#[derive(Clone, Debug)]
enum Event {
    Allow {
        name: u8,
        ek: Option<u8>,
        window: Option<i64>,
    },
    Hold {
        name: u8,
        held: bool,
    },
    Block {
        key: u8,
    },
    Fail {
        challenge: u8,
    },
    Intend {
        challenge: u8,
        device: Option<(u8, u8)>,
        intents: Vec<Wish>,
        at: i64,
    },
    Issue {
        challenge: u8,
        serials: Vec<u8>,
    },
    Recover {
        older_than: i64,
    },
    /// A step of a revocation; no reason: a release.
    Step {
        serial: u8,
        reason: Option<RevocationReason>,
        at: i64,
    },
}

#[derive(Clone, Debug)]
struct Wish {
    serial: u8,
    profile: u8,
    key: u8,
    life: i64,
}

fn event() -> impl Strategy<Value = Event> {
    let wish = (0..12_u8, 0..2_u8, 0..5_u8, 0..40_i64).prop_map(|(serial, profile, key, life)| Wish {
        serial,
        profile,
        key,
        life,
    });
    let reason = prop_oneof![1 => Just(Superseded), 1 => Just(KeyCompromise), 4 => Just(CertificateHold)];
    let device = prop_oneof![9 => (0..4_u8, 0..4_u8).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        3 => (0..4_u8, proptest::option::of(0..4_u8), proptest::option::weighted(0.8, 0..60_i64))
            .prop_map(|(name, ek, window)| Event::Allow { name, ek, window }),
        1 => (0..4_u8, any::<bool>()).prop_map(|(name, held)| Event::Hold { name, held }),
        1 => (3..5_u8).prop_map(|key| Event::Block { key }),
        1 => (0..3_u8).prop_map(|challenge| Event::Fail { challenge }),
        8 => (0..12_u8, device, proptest::collection::vec(wish, 0..3), 0..60_i64)
            .prop_map(|(challenge, device, intents, at)| Event::Intend { challenge, device, intents, at }),
        5 => (0..12_u8, proptest::collection::vec(0..12_u8, 0..3))
            .prop_map(|(challenge, serials)| Event::Issue { challenge, serials }),
        1 => (0..60_i64).prop_map(|older_than| Event::Recover { older_than }),
        7 => (0..12_u8, proptest::option::weighted(0.6, reason), 0..60_i64)
            .prop_map(|(serial, reason, at)| Event::Step { serial, reason, at }),
    ]
}

fn wished(wishes: &[Wish], at: i64) -> Vec<Intent> {
    let make = |w: &Wish| {
        let mut intent = intent(
            &format!("s{}", w.serial),
            &format!("p{}", w.profile),
            &format!("k{}", w.key),
        );
        intent.not_after = UnixTime(at + w.life);
        intent
    };
    wishes.iter().map(make).collect()
}

fn ordered(challenge: u8, device: Option<(u8, u8)>, at: i64) -> Order {
    let label = format!("c{challenge}");
    let mut order = match device {
        Some((name, tpm)) => order(&label, &format!("x{name}"), &format!("t{tpm}")),
        None => ceremony(&label),
    };
    order.at = UnixTime(at);
    order
}

/// Play one event on a store; its answer in words.
fn play(store: &Store, event: &Event) -> String {
    match event {
        Event::Allow { name, ek, window } => {
            let device = AllowDevice {
                iak_spki_sha256: None,
                ek_spki_sha256: ek.map(|t| digest(&format!("t{t}"))),
                first_contact_until: *window,
                ..open_device(&format!("x{name}"))
            };
            match store.allow_device(&device, &audit(0, "allow", "-")) {
                Ok(row) => format!("device {}", row.name),
                Err(NewDeviceError::Store(e)) => panic!("{e}"),
                Err(e) => e.to_string(),
            }
        }
        Event::Hold { name, held } => {
            let known = store
                .hold_device(&format!("x{name}"), *held, &audit(0, "hold", "-"))
                .unwrap();
            format!("known {known}")
        }
        Event::Block { key } => {
            store
                .block_key(&digest(&format!("k{key}")), "-", &audit(0, "block", "-"))
                .unwrap();
            "blocked".to_owned()
        }
        Event::Fail { challenge } => {
            let count = store
                .record_failed_attempt(&id(&format!("c{challenge}")), &audit(0, "fail", "-"))
                .unwrap();
            format!("failures {count}")
        }
        Event::Intend {
            challenge,
            device,
            intents,
            at,
        } => told(store.intend(&ordered(*challenge, *device, *at), &wished(intents, *at))),
        Event::Issue { challenge, serials } => {
            let signatures: Vec<_> = serials
                .iter()
                .map(|s| signed(&intent(&format!("s{s}"), "-", "-")))
                .collect();
            told(store.issued(&id(&format!("c{challenge}")), &signatures))
        }
        Event::Recover { older_than } => {
            let orphans = store.recover(*older_than, 99).unwrap();
            let list: Vec<String> = orphans.iter().map(|o| hex::encode(&o.serial)).collect();
            format!("orphans {}", list.join(" "))
        }
        Event::Step { serial: n, reason, at } => {
            let Some(row) = store.certificate(serial(&format!("s{n}")).octets()).unwrap() else {
                return "no certificate".to_owned();
            };
            let about = audit(*at, "step", "-");
            let taken = match reason {
                Some(reason) => store.revoke(row.id, *reason, "", &about),
                None => store.release(row.id, "", &about),
            };
            match taken {
                Ok(step) => format!(
                    "stands {:?} {} since {} at {}",
                    step.state, step.reason, step.since, step.at
                ),
                Err(RevokeError::Store(e)) => panic!("{e}"),
                Err(e) => e.to_string(),
            }
        }
    }
}

fn told(verdict: Result<(), RecordError>) -> String {
    match verdict {
        Ok(()) => "written".to_owned(),
        Err(RecordError::Unavailable(e) | RecordError::Unknown(e)) => panic!("{e}"),
        Err(e) => e.to_string(),
    }
}

/// Everything a store says about itself in the end.
fn records(store: &Store) -> Vec<String> {
    let mut all = Vec::new();
    for device in store.find_devices(&DeviceFilter::default(), None, 99).unwrap().items {
        let ek = device.ek_spki_sha256.map(hex::encode);
        all.push(format!(
            "{} {ek:?} held {} seen {:?}",
            device.name, device.held, device.last_seen_at
        ));
        for profile in ["p0", "p1"] {
            let live = store.live_identity(&device.name, profile, 30).unwrap();
            all.push(format!("{profile} {:?}", live.map(|c| hex::encode(c.serial))));
        }
    }
    for n in 0..12 {
        if let Some(row) = store.enrollment(&id(&format!("c{n}"))).unwrap() {
            all.push(format!("c{n} at {} for {:?}", row.created_at, row.device));
            for c in row.certificates {
                all.push(format!(
                    "{} {} {:?} {} {:?}",
                    hex::encode(&c.serial),
                    c.profile,
                    c.state,
                    c.not_after,
                    c.revocation.map(|r| (r.state, r.reason, r.since, r.at))
                ));
            }
        }
    }
    all
}

/// The same rules, written down a second time, as simply as they can be said.
#[derive(Default)]
struct Model {
    devices: Vec<Device>,
    blocked: Vec<u8>,
    failures: BTreeMap<u8, u32>,
    enrollments: BTreeMap<u8, (i64, Option<u8>)>,
    certificates: Vec<Certificate>,
}

struct Device {
    name: u8,
    ek: Option<u8>,
    named: bool,
    window: Option<i64>,
    held: bool,
}

struct Certificate {
    serial: u8,
    challenge: u8,
    device: Option<u8>,
    profile: u8,
    key: u8,
    state: CertificateState,
    not_after: i64,
    created_at: i64,
    /// Stands for its device.
    stands: bool,
    /// State, reason, since, at.
    step: Option<(RevocationState, RevocationReason, i64, i64)>,
}

impl Certificate {
    fn is(&self, states: &[RevocationState]) -> bool {
        self.step.is_some_and(|step| states.contains(&step.0))
    }
}

impl Model {
    /// Steps meet certificates that are there, and lone signatures intents that are open: else they rarely would.
    fn aimed(&self, event: &Event) -> Event {
        let nth = |n: u8, open: bool| {
            let all = self.certificates.iter();
            let fit: Vec<_> = all.filter(|c| !open || c.state == CertificateState::Intent).collect();
            (!fit.is_empty()).then(|| fit[usize::from(n) % fit.len()])
        };
        match event {
            Event::Step { serial, reason, at } => Event::Step {
                serial: nth(*serial, false).map_or(*serial, |c| c.serial),
                reason: *reason,
                at: *at,
            },
            Event::Issue { serials, .. } if serials.len() == 1 => match nth(serials[0], true) {
                Some(c) => Event::Issue {
                    challenge: c.challenge,
                    serials: vec![c.serial],
                },
                None => event.clone(),
            },
            other => other.clone(),
        }
    }

    fn play(&mut self, event: &Event) -> String {
        match event {
            Event::Allow { name, ek, window } => self.allow(*name, *ek, *window),
            Event::Hold { name, held } => {
                let known = self
                    .devices
                    .iter_mut()
                    .find(|d| d.name == *name)
                    .map(|d| d.held = *held)
                    .is_some();
                format!("known {known}")
            }
            Event::Block { key } => {
                self.blocked.push(*key);
                "blocked".to_owned()
            }
            Event::Fail { challenge } => {
                let count = self.failures.entry(*challenge).or_default();
                *count += 1;
                format!("failures {count}")
            }
            Event::Intend {
                challenge,
                device,
                intents,
                at,
            } => told(self.intend(*challenge, *device, intents, *at)),
            Event::Issue { challenge, serials } => told(self.issue(*challenge, serials)),
            Event::Recover { older_than } => {
                let mut list = Vec::new();
                for c in &mut self.certificates {
                    if c.state == CertificateState::Intent && c.created_at <= *older_than {
                        c.state = CertificateState::Orphan;
                        c.stands = false;
                        list.push(serial(&format!("s{}", c.serial)).hex());
                    }
                }
                format!("orphans {}", list.join(" "))
            }
            Event::Step { serial, reason, at } => self.step(*serial, *reason, *at),
        }
    }

    fn step(&mut self, serial: u8, reason: Option<RevocationReason>, at: i64) -> String {
        let Some(c) = self.certificates.iter_mut().find(|c| c.serial == serial) else {
            return "no certificate".to_owned();
        };
        let next = match (reason, c.step) {
            (None, Some((OnHold, why, ..))) => (Released, why, at, at),
            (None, Some(stands @ (Released, ..))) => stands,
            (None, _) => return RevokeError::NotOnHold.to_string(),
            (Some(CertificateHold), Some(stands @ (OnHold, ..))) => stands,
            (Some(reason), Some(stands @ (Revoked, before, ..))) if reason == before => stands,
            (Some(KeyCompromise), Some((Revoked | OnHold, _, since, _))) => (Revoked, KeyCompromise, since, at),
            (Some(_), Some((Revoked, before, ..))) => return RevokeError::Final(before).to_string(),
            (Some(reason), Some((OnHold, _, since, _))) => (Revoked, reason, since, at),
            (Some(CertificateHold), _) => (OnHold, CertificateHold, at, at),
            (Some(reason), _) => (Revoked, reason, at, at),
        };
        c.step = Some(next);
        if next.1 == KeyCompromise {
            self.blocked.push(c.key);
        }
        let (state, reason, since, at) = next;
        format!("stands {state:?} {reason} since {since} at {at}")
    }

    fn allow(&mut self, name: u8, ek: Option<u8>, window: Option<i64>) -> String {
        if let Some(known) = self.devices.iter().find(|d| d.name == name) {
            let asked = if known.named { known.ek } else { None };
            // A device bound at first contact is the same whether its EK is named now or not.
            let bound = !known.named && known.ek.is_some() && ek == known.ek;
            return if known.window == window && (asked == ek || bound || self.proven_and_open(known, ek)) {
                format!("device x{name}")
            } else {
                NewDeviceError::NameTaken(format!("x{name}")).to_string()
            };
        }
        if let Some(other) = self.devices.iter().find(|d| ek.is_some() && d.ek == ek) {
            return NewDeviceError::EkTaken(format!("x{}", other.name)).to_string();
        }
        self.devices.push(Device {
            name,
            ek,
            named: ek.is_some(),
            window,
            held: false,
        });
        format!("device x{name}")
    }

    /// A named EK that has enrolled inside a window cannot be told from a first contact.
    fn proven_and_open(&self, known: &Device, ek: Option<u8>) -> bool {
        let proven = self.enrollments.values().any(|(_, device)| *device == Some(known.name));
        ek.is_none() && proven && known.window.is_some()
    }

    fn intend(&mut self, challenge: u8, device: Option<(u8, u8)>, wishes: &[Wish], at: i64) -> Result<(), RecordError> {
        if self.enrollments.contains_key(&challenge) {
            return Err(RecordError::ChallengeUsed);
        }
        if let Some((name, tpm)) = device {
            if let Some(other) = self.devices.iter().find(|d| d.ek == Some(tpm) && d.name != name) {
                return Err(RecordError::EkBoundElsewhere(format!("x{}", other.name)));
            }
            let closed = RecordError::DeviceNotOpen(format!("x{name}"));
            let Some(known) = self.devices.iter().find(|d| d.name == name) else {
                return Err(closed);
            };
            if known.ek.is_some_and(|ek| ek != tpm) {
                return Err(RecordError::DeviceBoundElsewhere(format!("x{name}")));
            }
            if known.held || (known.ek.is_none() && known.window.is_none_or(|end| end < at)) {
                return Err(closed);
            }
        }
        let name = device.map(|(name, _)| name);
        for (n, wish) in wishes.iter().enumerate() {
            if self.blocked.contains(&wish.key) {
                return Err(RecordError::KeyBlocked);
            }
            let exists = |name: u8| {
                Err(RecordError::IdentityExists {
                    device: format!("x{name}"),
                    profile: format!("p{}", wish.profile),
                })
            };
            // The first certificate of a key says whose it is.
            if let Some(first) = self.certificates.iter().find(|c| c.key == wish.key) {
                match (first.device, name) {
                    (Some(owner), _) if Some(owner) != name => return exists(owner),
                    (None, Some(_)) => return Err(RecordError::KeyBlocked),
                    _ => {}
                }
            }
            if let Some(name) = name {
                let twice = wishes[..n].iter().any(|w| w.profile == wish.profile);
                let against = self
                    .certificates
                    .iter()
                    .filter(|c| c.stands && c.device == Some(name) && c.profile == wish.profile)
                    .any(|c| c.not_after >= at && !c.is(&[Revoked]));
                if twice || against {
                    return exists(name);
                }
            }
        }
        for (n, wish) in wishes.iter().enumerate() {
            let before = self
                .certificates
                .iter()
                .map(|c| c.serial)
                .chain(wishes[..n].iter().map(|w| w.serial));
            if before.into_iter().any(|s| s == wish.serial) {
                return Err(RecordError::SerialTaken);
            }
        }
        if let Some((name, tpm)) = device
            && let Some(known) = self.devices.iter_mut().find(|d| d.name == name)
        {
            known.ek = Some(tpm);
        }
        self.enrollments.insert(challenge, (at, name));
        for wish in wishes {
            for c in &mut self.certificates {
                if name.is_some() && c.device == name && c.profile == wish.profile {
                    c.stands = false;
                }
            }
            self.certificates.push(Certificate {
                serial: wish.serial,
                challenge,
                device: name,
                profile: wish.profile,
                key: wish.key,
                state: CertificateState::Intent,
                not_after: at + wish.life,
                created_at: at,
                stands: name.is_some(),
                step: None,
            });
        }
        Ok(())
    }

    fn issue(&mut self, challenge: u8, serials: &[u8]) -> Result<(), RecordError> {
        let open = |s: &u8| {
            self.certificates
                .iter()
                .any(|c| c.serial == *s && c.challenge == challenge && c.state == CertificateState::Intent)
        };
        let twice = (1..serials.len()).any(|n| serials[..n].contains(&serials[n]));
        if serials.is_empty() || twice || !serials.iter().all(open) {
            return Err(RecordError::IntentClosed);
        }
        for c in self.certificates.iter_mut().filter(|c| serials.contains(&c.serial)) {
            c.state = CertificateState::Issued;
        }
        let mut issued = self.certificates.iter().filter(|c| serials.contains(&c.serial));
        if issued.any(|c| c.is(&[Revoked, OnHold])) {
            return Err(RecordError::Revoked);
        }
        Ok(())
    }

    fn records(&self) -> Vec<String> {
        let mut all = Vec::new();
        let hex_of = |c: &Certificate| serial(&format!("s{}", c.serial)).hex();
        for device in &self.devices {
            let ek = device.ek.map(|t| hex::encode(digest(&format!("t{t}"))));
            let issued = self.certificates.iter().filter(|c| c.state == CertificateState::Issued);
            let seen = issued
                .filter(|c| c.device == Some(device.name))
                .map(|c| c.created_at)
                .max();
            all.push(format!("x{} {ek:?} held {} seen {seen:?}", device.name, device.held));
            for profile in 0..2 {
                let live = self.certificates.iter().find(|c| {
                    let stands = c.stands && c.device == Some(device.name) && c.profile == profile;
                    let stands = stands && !c.is(&[Revoked, OnHold]);
                    stands && c.state == CertificateState::Issued && c.not_after >= 30
                });
                all.push(format!("p{profile} {:?}", live.map(hex_of)));
            }
        }
        for (challenge, (at, device)) in &self.enrollments {
            all.push(format!(
                "c{challenge} at {at} for {:?}",
                device.map(|d| format!("x{d}"))
            ));
            for c in self.certificates.iter().filter(|c| c.challenge == *challenge) {
                all.push(format!(
                    "{} p{} {:?} {} {:?}",
                    hex_of(c),
                    c.profile,
                    c.state,
                    c.not_after,
                    c.step
                ));
            }
        }
        all
    }
}

#[test]
fn both_engines_do_what_the_model_says() {
    let config = Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    };
    let histories = proptest::collection::vec(event(), 1..60);
    let mut met = BTreeMap::new();
    let counts = std::cell::RefCell::new(&mut met);
    TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    )
    .run(&histories, |history| {
        let benches = [Bench::sqlite(), Bench::postgres()];
        let stores = [benches[0].open(), benches[1].open()];
        let mut model = Model::default();
        for event in &history {
            let event = &model.aimed(event);
            let expected = model.play(event);
            let word = expected.split([' ', '`']).take(3).collect::<Vec<_>>().join(" ");
            *counts.borrow_mut().entry(word).or_insert(0) += 1;
            for store in &stores {
                prop_assert_eq!(&play(store, event), &expected, "{:?}", event);
            }
        }
        for store in &stores {
            prop_assert_eq!(records(store), model.records());
        }
        Ok(())
    })
    .unwrap();
    // The histories went everywhere.
    for word in [
        "written",
        "the challenge was",
        "the EK is",
        "the key is",
        "the serial exists",
        "the intent is",
        "the certificate was",
        "stands Revoked superseded",
        "stands Revoked keyCompromise",
        "stands OnHold certificateHold",
        "stands Released certificateHold",
        "it is revoked",
        "it is not",
    ] {
        assert!(met.get(word).is_some_and(|n| *n >= 3), "{word}: {met:?}");
    }
    let is = |part: &str| {
        met.iter()
            .filter(|(word, _)| word.starts_with(part))
            .map(|(_, n)| n)
            .sum::<i32>()
            >= 3
    };
    assert!(
        is("device") && is("this EK belongs") && is("orphans") && is("failures"),
        "{met:?}"
    );
}
