//! `policies/cases/*.toml`: facts -> verdict and the rules that decided. The policy's own test.

// The whole file is test code; said here too for readers of this file alone.
#[cfg(test)]
use std::collections::BTreeMap;
use std::path::Path;

use attest::csr::CsrRequest;
use attest::ek::EkTemplate;
use attest::{Assurance, EkFacts, IakFacts, KeyAlgorithm, KeyFacts, Root, UnixTime};
use der::Encode as _;
use serde::Deserialize;

use super::facts::Facts;
use super::{Denial, DenialCode, InventoryEntry, Mode, PolicySet, judge};
use crate::{Grant, Profiles, Rdn, RdnKind, SanEntry, Subject, place};

pub(super) const NOW: UnixTime = UnixTime(1_800_000_000);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    given: Given,
    then: Then,
}

/// Facts; what is not written is the plain case: a device bound to a hardware TPM, in production.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Given {
    mode: String,
    profile: String,
    attestation_profile: Option<String>,
    claims: Option<String>,
    level: String,
    /// `ek-activation` or `iak-certified`.
    basis: String,
    /// SHA-256 of the EK that the IAK's certificate names: `this`, or `none`.
    iak_names_ek: String,
    /// IAK the entry is bound to: `this`, `other` or `none`.
    iak_bound_to: String,
    manufacturer: String,
    authority_key_id: String,
    ek_serial: String,
    ak: String,
    key: String,
    /// Whose key the identity key is: its own, the AK's or the EK's.
    key_is: String,
    /// In the inventory at all.
    known: bool,
    name: String,
    /// `this`, `other` or `none`.
    bound_to: String,
    first_contact_open: bool,
    held: bool,
    batch: Option<String>,
    dns_names: Vec<String>,
    spiffe_id: Option<String>,
    csr: Csr,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Csr {
    organization: Option<String>,
    common_name: Option<String>,
    serial_number: Option<String>,
    dns: Vec<String>,
    uri: Vec<String>,
    ip: Vec<core::net::IpAddr>,
    permanent_identifier: Vec<String>,
    extensions: Vec<String>,
    attributes: Vec<String>,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            mode: "production".into(),
            profile: "device-ldevid".into(),
            attestation_profile: None,
            claims: None,
            level: "hardware-verified".into(),
            basis: "ek-activation".into(),
            iak_names_ek: "none".into(),
            iak_bound_to: "none".into(),
            manufacturer: "id:49465800".into(),
            authority_key_id: "a1b2".into(),
            ek_serial: "04d5".into(),
            ak: "p-256".into(),
            key: "p-256".into(),
            key_is: "own".into(),
            known: true,
            name: "unit-17".into(),
            bound_to: "this".into(),
            first_contact_open: false,
            held: false,
            batch: None,
            dns_names: Vec::new(),
            spiffe_id: None,
            csr: Csr::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Then {
    /// `permit`, or the class of the denial.
    verdict: String,
    /// Permit: rules by profile. Denial: rules under the profile it is about.
    #[serde(default)]
    rules: BTreeMap<String, Vec<String>>,
    /// Denial: what the detail says, in full.
    detail: Option<String>,
}

fn key(tag: u8, algorithm: KeyAlgorithm) -> KeyFacts {
    KeyFacts {
        name: [&[0, 11][..], &[tag; 32]].concat(),
        public: vec![tag],
        spki: vec![0x30, tag],
        algorithm,
        attributes: 0,
    }
}

fn algorithm(word: &str) -> KeyAlgorithm {
    use KeyAlgorithm::{P256, P384, Rsa2048, Rsa3072};
    let all = [Rsa2048, Rsa3072, P256, P384];
    all.into_iter()
        .find(|a| a.as_str() == word)
        .unwrap_or_else(|| panic!("no algorithm `{word}`"))
}

fn level(word: &str) -> Assurance {
    Assurance::ALL
        .into_iter()
        .find(|a| a.as_str() == word)
        .unwrap_or_else(|| panic!("no level `{word}`"))
}

/// A device bound to a hardware TPM that asks for `profile` and nothing else.
pub(super) fn facts(profile: &str) -> Facts {
    Facts {
        profile: profile.into(),
        attestation_profile: None,
        claimed: None,
        requested: CsrRequest {
            subject: vec![0x30, 0],
            ..CsrRequest::default()
        },
        root: Root::Ek(EkFacts {
            certificate_sha256: [0xec; 32],
            spki_sha256: [0xee; 32],
            template: EkTemplate::L2,
            manufacturer: "id:49465800".into(),
            model: "SLB9672".into(),
            // 15.24, of which no advisory says more than that the chip is in a thief's hand.
            version: "id:000F0018".into(),
            authority_key_id: "a1b2".into(),
            serial: "04d5".into(),
            anchor: "infineon".into(),
            anchor_sha256: [0xaa; 32],
            assurance: Assurance::HardwareVerified,
            passed: Vec::new(),
            path: Vec::new(),
        }),
        ak: key(1, KeyAlgorithm::P256),
        attestation: Some(key(1, KeyAlgorithm::P256)),
        identity: key(2, KeyAlgorithm::P256),
        evidence: [0x55; 32],
    }
}

/// The same device, on the word of its manufacturer.
pub(super) fn iak_facts() -> IakFacts {
    IakFacts {
        certificate_sha256: [0x1c; 32],
        spki_sha256: [0x1a; 32],
        issuer: vec![0x30, 0],
        serial: vec![0x12],
        idevid_sha256: None,
        hardware_serial: None,
        permanent_id: None,
        ek_spki_sha256: None,
        anchor: "acme-devices".into(),
        anchor_sha256: [0xab; 32],
        assurance: Assurance::ManufacturerVerified,
        path: Vec::new(),
    }
}

/// The entry of that device.
pub(super) fn entry() -> InventoryEntry {
    InventoryEntry {
        name: "unit-17".into(),
        ek_spki_sha256: Some([0xee; 32]),
        iak_spki_sha256: None,
        first_contact_open: false,
        held: false,
        batch: None,
        dns_names: Vec::new(),
        spiffe_id: None,
        accepted_advisories: Vec::new(),
    }
}

impl Given {
    fn facts(&self) -> Facts {
        let mut facts = facts(&self.profile);
        facts.attestation_profile.clone_from(&self.attestation_profile);
        facts.claimed.clone_from(&self.claims);
        facts.requested = self.csr.request();
        facts.ak = key(1, algorithm(&self.ak));
        facts.attestation = Some(facts.ak.clone());
        facts.identity = key(2, algorithm(&self.key));
        match self.basis.as_str() {
            "ek-activation" => {
                if let Root::Ek(ek) = &mut facts.root {
                    ek.manufacturer.clone_from(&self.manufacturer);
                    ek.authority_key_id.clone_from(&self.authority_key_id);
                    ek.serial.clone_from(&self.ek_serial);
                    ek.assurance = level(&self.level);
                }
            }
            "iak-certified" => {
                facts.root = Root::Iak(IakFacts {
                    assurance: level(&self.level),
                    ek_spki_sha256: (self.iak_names_ek == "this").then_some([0xee; 32]),
                    ..iak_facts()
                });
                facts.attestation = Some(key(3, KeyAlgorithm::P256));
            }
            other => panic!("no basis `{other}`"),
        }
        match (self.key_is.as_str(), &mut facts.root) {
            ("own", _) => {}
            ("the-ak", _) => facts.identity.spki = facts.ak.spki.clone(),
            ("the-ek", Root::Ek(ek)) => ek.spki_sha256 = attest::sha256(&facts.identity.spki),
            (other, _) => panic!("whose key is `{other}`"),
        }
        facts
    }

    fn entry(&self, root: &Root) -> Option<InventoryEntry> {
        self.known.then(|| InventoryEntry {
            iak_spki_sha256: match self.iak_bound_to.as_str() {
                "this" => Some([0x1a; 32]),
                "other" => Some([0x1f; 32]),
                "none" => None,
                other => panic!("bound to IAK `{other}`"),
            },
            name: self.name.clone(),
            ek_spki_sha256: match self.bound_to.as_str() {
                "this" => Some(root.ek().map_or([0xee; 32], |ek| ek.spki_sha256)),
                "other" => Some([0x0e; 32]),
                "none" => None,
                other => panic!("bound to `{other}`"),
            },
            first_contact_open: self.first_contact_open,
            held: self.held,
            batch: self.batch.clone(),
            dns_names: self.dns_names.clone(),
            spiffe_id: self.spiffe_id.clone(),
            accepted_advisories: Vec::new(),
        })
    }
}

impl Csr {
    fn request(&self) -> CsrRequest {
        let rdns = [
            (RdnKind::Organization, &self.organization),
            (RdnKind::CommonName, &self.common_name),
            (RdnKind::SerialNumber, &self.serial_number),
        ];
        let subject = Subject(
            rdns.into_iter()
                .filter_map(|(kind, value)| {
                    Some(Rdn {
                        kind,
                        value: value.clone()?,
                    })
                })
                .collect(),
        );
        let assigner = attest::rot::TCG_ON_EK_PERM_ID_SHA256;
        let san: Vec<_> = (self.dns.iter().map(|text| SanEntry::Dns(text.clone())))
            .chain(self.uri.iter().map(|text| SanEntry::Uri(text.clone())))
            .chain(self.ip.iter().map(|ip| match ip {
                core::net::IpAddr::V4(v4) => SanEntry::Ip(v4.octets().to_vec()),
                core::net::IpAddr::V6(v6) => SanEntry::Ip(v6.octets().to_vec()),
            }))
            .chain(
                self.permanent_identifier
                    .iter()
                    .map(|text| SanEntry::PermanentIdentifier(text.clone(), assigner)),
            )
            .map(|entry| entry.to_general_name().unwrap())
            .collect();
        CsrRequest {
            subject: subject.to_name().unwrap().to_der().unwrap(),
            subject_alt_name: (!san.is_empty()).then(|| san.to_der().unwrap()),
            other_extensions: self.extensions.clone(),
            other_attributes: self.attributes.clone(),
        }
    }
}

fn word(code: DenialCode) -> &'static str {
    match code {
        DenialCode::Profile => "deny-profile",
        DenialCode::Csr => "deny-csr",
        DenialCode::Key => "deny-key",
        DenialCode::IdBound => "deny-id-bound",
        DenialCode::NotInInventory => "deny-not-in-inventory",
        DenialCode::TpmDenied => "tpm-denied",
        DenialCode::TpmQuarantined => "tpm-quarantined",
        DenialCode::Policy => "deny-policy",
    }
}

/// `None` when the case says the truth, verdict and reason; what is otherwise.
fn differs(case: &Case, outcome: &Result<(InventoryEntry, Vec<Grant>), Denial>) -> Option<String> {
    let then = &case.then;
    match outcome {
        Ok((_, grants)) => {
            let rules: BTreeMap<String, Vec<String>> = grants
                .iter()
                .map(|grant| {
                    // What is known about the TPM is no rule.
                    let rules = grant.decision().rules.iter().filter(|id| !id.starts_with("advisory:"));
                    (grant.profile().name().to_owned(), rules.cloned().collect())
                })
                .collect();
            (then.verdict != "permit" || rules != then.rules || then.detail.is_some())
                .then(|| format!("permitted by {rules:?}"))
        }
        Err(denial) => {
            let expected: Vec<String> = then.rules.values().flatten().cloned().collect();
            let about = then
                .rules
                .keys()
                .all(|profile| denial.detail.starts_with(&format!("`{profile}`:")));
            let said = then.detail.as_ref().is_none_or(|detail| *detail == denial.detail);
            (then.verdict != word(denial.code) || expected != denial.rules || !about || !said)
                .then(|| format!("{} by {:?}: {}", word(denial.code), denial.rules, denial.detail))
        }
    }
}

fn cases() -> Vec<(String, Case)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
    {
        let text = std::fs::read_to_string(path).unwrap();
        let file: File =
            toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {}", path.display(), place::toml(&text, &e)));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        cases.extend(file.case.into_iter().map(|case| (name.clone(), case)));
    }
    cases
}

#[test]
fn decision_table() {
    let profiles = Profiles::builtin().unwrap().with_organization("Example").unwrap();
    let production = PolicySet::builtin(Mode::Production).unwrap();
    let rehearsal = PolicySet::builtin(Mode::Rehearsal).unwrap();
    let mut wrong = Vec::new();
    let mut decided: Vec<String> = Vec::new();
    let cases = cases();
    for (file, case) in &cases {
        let policy = match case.given.mode.as_str() {
            "production" => &production,
            "rehearsal" => &rehearsal,
            other => panic!("no mode `{other}`"),
        };
        let facts = case.given.facts();
        let entry = case.given.entry(&facts.root);
        let outcome = judge(policy, &profiles, &facts, entry.as_ref(), NOW);
        if let Some(found) = differs(case, &outcome) {
            wrong.push(format!("{file}: {}: {found}", case.name));
        }
        decided.extend(case.then.rules.values().flatten().cloned());
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    // A rule that decides no case has no test.
    for (rule, _) in production.rules() {
        assert!(
            decided.iter().any(|id| id == rule),
            "no case is decided by rule `{rule}`"
        );
    }
}

/// The table can fail: a right verdict for a wrong reason is a wrong case.
#[test]
fn a_case_with_another_reason_differs() {
    let denial = Denial {
        code: DenialCode::Policy,
        rules: vec!["held".into()],
        detail: "`device-ldevid`: an administrator holds the device".into(),
    };
    let case = |rules: &str| {
        let toml = format!("name = \"x\"\n[then]\nverdict = \"deny-policy\"\nrules = {rules}\n");
        toml::from_str::<Case>(&toml).unwrap()
    };
    assert_eq!(
        differs(&case("{ device-ldevid = [\"held\"] }"), &Err(denial.clone())),
        None
    );
    for other in [
        "{ device-ldevid = [\"iak-alone\"] }",
        "{ device-iak = [\"held\"] }",
        "{}",
    ] {
        assert!(differs(&case(other), &Err(denial.clone())).is_some(), "{other}");
    }
}
