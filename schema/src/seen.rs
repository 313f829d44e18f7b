//! The decision over an order, on what was seen in the transaction that will record it. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use attest::tpm::Follows;
use diesel::prelude::*;
use issuance::RecordError;

use crate::change::{Binding, BoundRoot, NewOrder, TpmFacts};
use crate::clock::{Attested, Clocks};
use crate::rows::IakProofRow;
use crate::tables::device;

/// A device as far as orders are concerned.
#[derive(Queryable, Selectable, Debug, Clone)]
#[diesel(table_name = device)]
pub(crate) struct Known {
    id: i64,
    name: String,
    ek_spki_sha256: Option<Vec<u8>>,
    first_contact_until: Option<i64>,
    held: bool,
    ek_certificate_sha256: Option<Vec<u8>>,
    manufacturer: Option<String>,
    model: Option<String>,
    version: Option<String>,
    assurance: Option<String>,
    anchor: Option<String>,
    iak_spki_sha256: Option<Vec<u8>>,
}

/// A certificate that is to be replaced.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) id: i64,
    pub(crate) device: Option<i64>,
    pub(crate) profile: String,
    /// Signed and recorded.
    pub(crate) issued: bool,
    /// Neither revoked nor on hold.
    pub(crate) good: bool,
    /// Its last second.
    pub(crate) not_after: i64,
    /// Another one has replaced it, or is about to.
    pub(crate) replaced: bool,
}

/// The certificate that stands for a device under a profile.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    /// Which; none: it is an intent of this very batch.
    pub(crate) certificate: Option<i64>,
    /// Its signature got lost.
    pub(crate) orphan: bool,
    /// It is revoked, for good.
    pub(crate) revoked: bool,
    /// Its last second.
    pub(crate) not_after: i64,
}

/// Whose an EK is.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) device: String,
    /// It went when the device's TPM was replaced.
    pub(crate) replaced: bool,
}

/// What the records say, and what the accepted orders of this batch add to it.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    devices: HashMap<String, Known>,
    by_ek: HashMap<Vec<u8>, Owner>,
    by_iak: HashMap<Vec<u8>, String>,
    /// Challenges already used.
    pub(crate) used: HashSet<Vec<u8>>,
    /// Keys blocked.
    pub(crate) blocked: HashSet<Vec<u8>>,
    /// Keys certified before, and the device they belong to; none: the CA's own.
    pub(crate) owners: HashMap<Vec<u8>, Option<String>>,
    /// AKs of TPMs that were replaced, and whose they were.
    pub(crate) gone: HashMap<Vec<u8>, String>,
    /// Certificates to be replaced, by issuer and serial.
    pub(crate) renewed: HashMap<(Vec<u8>, Vec<u8>), Standing>,
    /// Who stands for (device, profile).
    pub(crate) identities: HashMap<(i64, String), Holder>,
    /// EKs that came first, and when, by device.
    pub(crate) bound: BTreeMap<i64, ([u8; 32], i64)>,
    /// IAKs to bind, and the EKs that their certificates name where none was known, by device.
    pub(crate) vouched: BTreeMap<i64, ([u8; 32], Option<[u8; 32]>)>,
    /// Bindings and facts to write, by device.
    pub(crate) changed: BTreeMap<i64, ([u8; 32], TpmFacts)>,
    /// What attestation keys said last about their TPMs' clocks.
    pub(crate) clocks: Clocks,
    /// Keys that had an owner before this batch.
    pub(crate) owned_before: HashSet<Vec<u8>>,
}

impl Seen {
    /// Note a device of the inventory.
    pub(crate) fn know(&mut self, known: Known) {
        if let Some(iak) = &known.iak_spki_sha256 {
            self.by_iak.insert(iak.clone(), known.name.clone());
        }
        self.devices.insert(known.name.clone(), known);
    }

    /// Note whose an EK is.
    pub(crate) fn know_ek(&mut self, ek: Vec<u8>, owner: Owner) {
        self.by_ek.insert(ek, owner);
    }

    /// Row ids of the devices seen.
    pub(crate) fn ids(&self) -> Vec<i64> {
        self.devices.values().map(|d| d.id).collect()
    }

    /// Row id of a device.
    pub(crate) fn id_of(&self, name: &str) -> Option<i64> {
        self.devices.get(name).map(|d| d.id)
    }

    /// Judge an order; when it stands, the next one is judged on top of it.
    pub(crate) fn accept(&mut self, order: &NewOrder) -> Result<(), RecordError> {
        if self.used.contains(order.challenge.as_slice()) {
            return Err(RecordError::ChallengeUsed);
        }
        let id = match &order.device {
            Some(binding) => Some(self.may_bind(binding, order.at)?),
            None => None,
        };
        // Before all else that could be wrong with it: that a TPM was copied is worth knowing in any case.
        let clock = match (id, order.attested()) {
            (Some(id), Some(attested)) => Some((id, self.follows(id, &attested)?, attested)),
            _ => None,
        };
        let replaced = self.may_replace(order, id)?;
        let name = order.device.as_ref().map(|b| b.name.as_str());
        if let Some(binding) = &order.device {
            self.may_attest(binding)?;
        }
        let mut profiles = HashSet::new();
        for intent in &order.intents {
            let key = intent.spki_sha256.as_slice();
            if self.blocked.contains(key) {
                return Err(RecordError::KeyBlocked);
            }
            let taken = |device: &str| RecordError::IdentityExists {
                device: device.to_owned(),
                profile: intent.profile.clone(),
            };
            match (self.owners.get(key), name) {
                // One identity key, one identity (ISO/IEC 27071 5.2).
                (Some(Some(owner)), _) if Some(owner.as_str()) != name => return Err(taken(owner)),
                // A key of the CA itself.
                (Some(None), Some(_)) => return Err(RecordError::KeyBlocked),
                _ => {}
            }
            if let (Some(id), Some(name)) = (id, name) {
                let twice = !profiles.insert(intent.profile.as_str());
                let holder = self.identities.get(&(id, intent.profile.clone()));
                // A renewal says what it replaces: that one does not stand in its way.
                let in_the_way = |h: &Holder| h.stands(order.at) && (replaced.is_none() || h.certificate != replaced);
                if twice || holder.is_some_and(in_the_way) {
                    return Err(taken(name));
                }
            }
        }
        if let Some((id, follows, attested)) = clock {
            self.clocks.note(id, &attested, follows);
        }
        self.add(order, id);
        Ok(())
    }

    /// Whether the TPM's clock and counters follow those that this key reported last.
    fn follows(&mut self, id: i64, attested: &Attested) -> Result<Follows, RecordError> {
        let verdict = self.clocks.judge(id, attested);
        if let Err(RecordError::ClockBack { device, held: true, .. }) = &verdict
            && let Some(known) = self.devices.get_mut(device)
        {
            known.held = true;
        }
        verdict
    }

    /// The certificate that the order replaces, if it is a renewal: good, of this device, under the same profile.
    fn may_replace(&self, order: &NewOrder, id: Option<i64>) -> Result<Option<i64>, RecordError> {
        let Some(renews) = order.renews.as_deref() else {
            return Ok(None);
        };
        let refuse = |why: &str| Err(RecordError::NotRenewable(why.to_owned()));
        let Some(standing) = self.renewed.get(renews) else {
            return refuse("it is not on record");
        };
        let [intent] = order.intents.as_slice() else {
            return refuse("one certificate replaces one");
        };
        if standing.replaced {
            return Err(RecordError::Replaced);
        }
        if id.is_none() || standing.device != id || standing.profile != intent.profile {
            return refuse("it is of another device or profile");
        }
        if !standing.issued || !standing.good {
            return refuse("it is revoked or on hold");
        }
        if standing.not_after < order.at {
            return refuse("it has ended");
        }
        Ok(Some(standing.id))
    }

    fn may_bind(&self, binding: &Binding, at: i64) -> Result<i64, RecordError> {
        let name = &binding.name;
        // Proven, or by the word of the IAK's issuer.
        let ek = binding.ek().map(<[u8; 32]>::as_slice);
        let owner = ek.and_then(|ek| self.by_ek.get(ek));
        match owner {
            Some(owner) if owner.replaced => return Err(RecordError::EkReplaced(owner.device.clone())),
            Some(owner) if owner.device != *name => return Err(RecordError::EkBoundElsewhere(owner.device.clone())),
            _ => {}
        }
        let iak = binding.iak().map(|proof| proof.spki_sha256.as_slice());
        if let Some(owner) = iak.and_then(|iak| self.gone.get(iak)) {
            return Err(RecordError::EkReplaced(owner.clone()));
        }
        if let Some(other) = iak.and_then(|iak| self.by_iak.get(iak))
            && other != name
        {
            return Err(RecordError::EkBoundElsewhere(other.clone()));
        }
        let closed = || RecordError::DeviceNotOpen(name.clone());
        let known = self.devices.get(name).ok_or_else(closed)?;
        let elsewhere = || Err(RecordError::DeviceBoundElsewhere(name.clone()));
        let same_iak = match (&known.iak_spki_sha256, iak) {
            (Some(of), Some(iak)) if of != iak => return elsewhere(),
            (Some(_), Some(_)) => true,
            _ => false,
        };
        // Its own, or a second one of the same TPM.
        let same_ek = match (&known.ek_spki_sha256, ek) {
            (Some(_), Some(_)) if owner.is_none() => return elsewhere(),
            (Some(_), Some(_)) => true,
            _ => false,
        };
        let bound = known.ek_spki_sha256.is_some() || known.iak_spki_sha256.is_some();
        match bound {
            _ if same_iak || same_ek => {}
            // Known by the one, asking with the other, and nobody says that they are of one TPM.
            true => return elsewhere(),
            false if known.first_contact_until.is_some_and(|end| at <= end) => {}
            false => return Err(closed()),
        }
        if known.held {
            return Err(closed());
        }
        Ok(known.id)
    }

    /// An AK lives in one TPM: one that was activated by another device's is not this one's.
    fn may_attest(&self, binding: &Binding) -> Result<(), RecordError> {
        let ak = binding.ak.as_slice();
        if self.blocked.contains(ak) {
            return Err(RecordError::KeyBlocked);
        }
        if let Some(owner) = self.gone.get(ak) {
            return Err(RecordError::EkReplaced(owner.clone()));
        }
        match self.owners.get(ak) {
            Some(Some(owner)) if *owner != binding.name => Err(RecordError::TpmOfAnother(owner.clone())),
            Some(None) => Err(RecordError::KeyBlocked),
            _ => Ok(()),
        }
    }

    fn add(&mut self, order: &NewOrder, id: Option<i64>) {
        self.used.insert(order.challenge.to_vec());
        if let (Some(binding), Some(id)) = (&order.device, id)
            && let Some(known) = self.devices.get_mut(&binding.name)
            && !known.has(binding)
        {
            let first = if known.ek_spki_sha256.is_none() {
                binding.ek()
            } else {
                None
            };
            if let Some(ek) = first {
                let owner = Owner {
                    device: binding.name.clone(),
                    replaced: false,
                };
                self.by_ek.insert(ek.to_vec(), owner);
                self.bound.insert(id, (*ek, order.at));
            }
            match &binding.root {
                BoundRoot::Ek { spki_sha256, facts } => {
                    known.take(spki_sha256, facts.clone());
                    self.changed.insert(id, (*spki_sha256, facts.clone()));
                }
                BoundRoot::Iak(proof) => {
                    known.vouched(proof);
                    self.by_iak.insert(proof.spki_sha256.to_vec(), binding.name.clone());
                    self.vouched.insert(id, (proof.spki_sha256, first.copied()));
                }
            }
        }
        if let Some(binding) = &order.device {
            let owner = self.owners.entry(binding.ak.to_vec());
            owner.or_insert_with(|| Some(binding.name.clone()));
        }
        if let Some(standing) = order.renews.as_deref().and_then(|r| self.renewed.get_mut(r)) {
            standing.replaced = true;
        }
        for intent in &order.intents {
            let key = intent.spki_sha256.to_vec();
            let owner = order.device.as_ref().map(|b| b.name.clone());
            self.owners.entry(key).or_insert(owner);
            if let Some(id) = id {
                let holder = Holder {
                    certificate: None,
                    orphan: false,
                    revoked: false,
                    not_after: intent.not_after,
                };
                self.identities.insert((id, intent.profile.clone()), holder);
            }
        }
    }
}

impl Known {
    /// Whether nothing about it is new. Of a second EK of its TPM nothing is noted here.
    fn has(&self, binding: &Binding) -> bool {
        match &binding.root {
            BoundRoot::Ek { spki_sha256, facts } => match self.ek_spki_sha256.as_deref() {
                Some(ek) if ek != spki_sha256 => true,
                None => false,
                Some(_) => {
                    self.ek_certificate_sha256.as_ref() == Some(&facts.ek_certificate_sha256)
                        && self.manufacturer.as_ref() == Some(&facts.manufacturer)
                        && self.model.as_ref() == Some(&facts.model)
                        && self.version.as_ref() == Some(&facts.version)
                        && self.assurance.as_ref() == Some(&facts.assurance)
                        && self.anchor.as_ref() == Some(&facts.anchor)
                }
            },
            BoundRoot::Iak(proof) => {
                self.iak_spki_sha256.as_deref() == Some(&proof.spki_sha256)
                    && (proof.ek_spki_sha256.is_none() || self.ek_spki_sha256.is_some())
            }
        }
    }

    fn take(&mut self, ek: &[u8; 32], facts: TpmFacts) {
        self.ek_spki_sha256 = Some(ek.to_vec());
        self.ek_certificate_sha256 = Some(facts.ek_certificate_sha256);
        self.manufacturer = Some(facts.manufacturer);
        self.model = Some(facts.model);
        self.version = Some(facts.version);
        self.assurance = Some(facts.assurance);
        self.anchor = Some(facts.anchor);
    }

    fn vouched(&mut self, proof: &IakProofRow) {
        self.iak_spki_sha256 = Some(proof.spki_sha256.to_vec());
        if self.ek_spki_sha256.is_none() {
            self.ek_spki_sha256 = proof.ek_spki_sha256.map(|ek| ek.to_vec());
        }
    }
}

impl Holder {
    /// Whether it keeps another certificate from taking its place at `at`: an orphan, a revoked or an expired one does
    /// not; one on hold does, or a hold would only be a reason to enroll again.
    ///
    /// A live one does, also against its own key: who asked twice at once is answered once. A renewal says in its order
    /// what it replaces.
    fn stands(&self, at: i64) -> bool {
        !self.orphan && !self.revoked && self.not_after >= at
    }
}
