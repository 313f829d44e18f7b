//! What a grant says, and that every item and every rule is really looked at.

use attest::csr::CsrRequest;
use attest::rot::{self, RotKind};
use attest::{Assurance, KeyAlgorithm, UnixTime};
use der::Encode as _;
use der::asn1::OctetString;
use proptest::prelude::*;

use super::cases::{NOW, entry, facts};
use super::facts::Facts;
use super::{Denial, DenialCode, InventoryEntry, Mode, PolicySet, judge};
use crate::{Grant, GrantKind, KeyRole, Profiles, RdnKind, SanEntry, Validity};

const SCHEMA: &str = include_str!("../../rules/schema.cedarschema");

fn rules(text: &str) -> Result<PolicySet, String> {
    PolicySet::from_sources(Mode::Production, SCHEMA, &[("test.cedar".into(), text.into())]).map_err(|e| e.0)
}

/// Permits everything: what refuses then is not a rule.
fn all() -> PolicySet {
    rules(r#"@id("all") @reason("test") permit (principal, action, resource);"#).unwrap()
}

fn profiles() -> Profiles {
    Profiles::builtin().unwrap().with_organization("Example").unwrap()
}

fn grants(facts: &Facts, entry: &InventoryEntry) -> Result<Vec<Grant>, Denial> {
    static LOADED: std::sync::OnceLock<(PolicySet, Profiles)> = std::sync::OnceLock::new();
    let (policy, profiles) = LOADED.get_or_init(|| (PolicySet::builtin(Mode::Production).unwrap(), profiles()));
    judge(policy, profiles, facts, Some(entry), NOW).map(|(_, grants)| grants)
}

fn pair() -> Facts {
    let mut facts = facts("device-idevid");
    facts.attestation_profile = Some("device-iak".into());
    facts
}

#[test]
fn initial_identity_says_what_was_proven() {
    let facts = pair();
    let [iak, idevid] = grants(&facts, &entry()).unwrap().try_into().unwrap();

    assert_eq!(iak.kind(), GrantKind::EndEntity(KeyRole::Attestation));
    assert_eq!(idevid.kind(), GrantKind::EndEntity(KeyRole::Identity));
    assert_eq!(iak.spki(), facts.ak.spki);
    assert_eq!(idevid.spki(), facts.identity.spki);
    assert_eq!(
        iak.policies(),
        [
            rot::TCG_VERIFIED_TPM_RESIDENCY,
            rot::TCG_VERIFIED_TPM_RESTRICTED,
            rot::ID_HARDWARE_VERIFIED
        ]
    );
    assert_eq!(
        idevid.policies(),
        [
            rot::TCG_VERIFIED_TPM_RESIDENCY,
            rot::TCG_VERIFIED_TPM_FIXED,
            rot::ID_HARDWARE_VERIFIED
        ]
    );
    for (grant, key) in [(&iak, &facts.ak), (&idevid, &facts.identity)] {
        let subject: Vec<_> = grant
            .subject()
            .0
            .iter()
            .map(|rdn| (rdn.kind, rdn.value.as_str()))
            .collect();
        assert_eq!(
            subject,
            [(RdnKind::Organization, "Example"), (RdnKind::SerialNumber, "unit-17")]
        );
        assert_eq!(
            grant.san(),
            [
                SanEntry::HardwareModuleName(rot::TCG_HW_TYPE_TPM20, b"49465800:a1b2:04d5".to_vec()),
                SanEntry::PermanentIdentifier("ec".repeat(32), rot::TCG_ON_EK_PERM_ID_SHA256),
            ]
        );
        assert_eq!(
            grant.validity(),
            Validity {
                not_before: UnixTime(NOW.0 - 300),
                not_after: Validity::NEVER
            }
        );
        let attest::rot::RotStatement::Activation(binding) = grant.rot().unwrap() else {
            panic!("another basis")
        };
        let octets = |bytes: &[u8]| OctetString::new(bytes).unwrap();
        assert_eq!((binding.version, binding.rot_kind), (1, RotKind::Tpm));
        assert_eq!(binding.ek_spki_sha256, octets(&[0xee; 32]));
        assert_eq!(binding.ak_name, octets(&facts.ak.name));
        assert_eq!(binding.ik_name, octets(&key.name));
        assert_eq!(binding.evidence_sha256, octets(&[0x55; 32]));
        assert_eq!(binding.parent_rot, None);
        assert!(!grant.rehearsal());
        assert_eq!(grant.decision().rules, ["initial-identity", "advisory:CVE-2024-45678"]);
        assert!(grant.decision().reasons[1].starts_with("CVE-2024-45678 (EUCLEAK): "));
        assert_eq!(grant.decision().reasons.len(), 2);
        assert_eq!(
            grant.decision().policy_sha256,
            PolicySet::builtin(Mode::Production).unwrap().sha256()
        );
    }
}

#[test]
fn each_level_has_its_own_policy() {
    for (level, oid, kind) in [
        (Assurance::HardwareVerified, rot::ID_HARDWARE_VERIFIED, RotKind::Tpm),
        (
            Assurance::HardwareAllowlisted,
            rot::ID_HARDWARE_ALLOWLISTED,
            RotKind::Tpm,
        ),
        (Assurance::Virtual, rot::ID_VIRTUAL, RotKind::Vtpm),
        (Assurance::Software, rot::ID_SOFTWARE, RotKind::Tpm),
    ] {
        let mut facts = facts("device-ldevid");
        if let attest::Root::Ek(ek) = &mut facts.root {
            ek.assurance = level;
        }
        let (_, grants) = judge(&all(), &profiles(), &facts, Some(&entry()), NOW).unwrap();
        assert_eq!(grants[0].policies().last(), Some(&oid));
        assert_eq!(grants[0].rot().unwrap().rot_kind(), kind);
    }
}

#[test]
fn a_service_carries_each_entitled_name_once() {
    let mut entry = entry();
    entry.dns_names = vec!["b.example".into(), "a.example".into(), "b.example".into()];
    entry.spiffe_id = Some("spiffe://example/unit".into());
    let [service] = grants(&facts("service"), &entry).unwrap().try_into().unwrap();
    assert!(service.subject().0.is_empty());
    assert_eq!(
        service.san(),
        [
            SanEntry::Dns("b.example".into()),
            SanEntry::Dns("a.example".into()),
            SanEntry::Uri("spiffe://example/unit".into())
        ]
    );
    let validity = service.validity();
    assert_eq!(validity.not_after.0 - validity.not_before.0 + 1, 7 * 86_400);
}

/// An empty subject needs a name elsewhere (RFC 5280 §4.1.2.6), whatever the rules say.
#[test]
fn a_certificate_without_any_name_is_refused_even_if_every_rule_permits() {
    let denial = judge(&all(), &profiles(), &facts("service"), Some(&entry()), NOW).unwrap_err();
    assert_eq!(denial.code, DenialCode::Policy);
    assert_eq!(denial.detail, "`service`: the certificate would carry no name");
}

#[test]
fn keys_outside_of_the_profile_are_refused() {
    let source = |name: &str, keys: &str| {
        let toml = format!("name = \"{name}\"\nkind = \"{name}\"\nlifetime = \"never\"\nkey_algorithms = [{keys}]\n");
        (format!("{name}.toml"), toml)
    };
    for (iak, idevid, about) in [
        ("\"p-256\"", "\"p-256\"", None),
        ("\"p-384\", \"rsa-2048\"", "\"p-256\"", Some("device-iak")),
        ("\"p-256\"", "\"p-384\", \"rsa-2048\"", Some("device-idevid")),
    ] {
        let profiles = Profiles::from_sources(&[source("device-iak", iak), source("device-idevid", idevid)]).unwrap();
        let outcome = judge(&all(), &profiles, &pair(), Some(&entry()), NOW);
        match about {
            None => assert!(outcome.is_ok()),
            Some(profile) => {
                let denial = outcome.unwrap_err();
                assert_eq!(denial.code, DenialCode::Key);
                assert_eq!(denial.detail, format!("`{profile}`: a p-256 key is not allowed"));
            }
        }
    }
}

/// Which of the two certificates a rule forbids is the one that the denial names.
#[test]
fn each_certificate_of_a_conversation_is_asked_for_itself() {
    for (forbidden, key) in [("device-iak", "p-384"), ("device-idevid", "p-256")] {
        let policy = rules(&format!(
            r#"@id("all") @reason("test") permit (principal, action, resource);
               @id("no") @reason("not this") forbid (principal, action, resource)
               when {{ context.key == Holdfast::Key::"{key}" }};"#
        ))
        .unwrap();
        let mut facts = pair();
        facts.ak.algorithm = KeyAlgorithm::P384;
        facts.attestation = Some(facts.ak.clone());
        let denial = judge(&policy, &profiles(), &facts, Some(&entry()), NOW).unwrap_err();
        assert_eq!(denial.rules, ["no"]);
        assert_eq!(denial.detail, format!("`{forbidden}`: not this"));
    }
}

#[test]
fn the_clock_must_fit_into_a_certificate() {
    for now in [i64::MIN, -1, 299, Validity::NEVER.0, i64::MAX] {
        let denial = judge(
            &all(),
            &profiles(),
            &facts("device-ldevid"),
            Some(&entry()),
            UnixTime(now),
        )
        .unwrap_err();
        assert_eq!(
            denial.detail,
            "`device-ldevid`: its life would not lie between 1970 and 9999, which is all that a certificate can say: is the clock right?"
        );
    }
}

#[test]
fn requests_that_cannot_be_read_are_refused() {
    let with = |change: &dyn Fn(&mut CsrRequest)| {
        let mut facts = facts("device-ldevid");
        change(&mut facts.requested);
        grants(&facts, &entry())
            .map(|_| ())
            .map_err(|denial| (denial.code, denial.detail))
    };
    let csr = |detail: &str| Err((DenialCode::Csr, format!("`device-ldevid`: {detail}")));
    assert_eq!(with(&|_| ()), Ok(()));
    for subject in [&[][..], &[0x30], &[0x30, 0, 0], &[0x31, 0], &[0x30, 0x80, 0, 0]] {
        assert_eq!(
            with(&|request| request.subject = subject.to_vec()),
            csr("the CSR's subject is not a Name")
        );
    }
    for san in [&[][..], &[0x30], &[0x30, 0, 0], &[0x30, 2, 0x82, 1]] {
        assert_eq!(
            with(&|request| request.subject_alt_name = Some(san.to_vec())),
            csr("the CSR's subjectAltName cannot be read")
        );
    }
    assert_eq!(
        with(&|request| request.subject_alt_name = Some(vec![0x30, 0])),
        csr("the CSR's subjectAltName is empty")
    );
}

/// The same characters in another string type are the same subject; a multi-valued RDN is not.
#[test]
fn a_requested_subject_is_compared_by_characters() {
    let organization = |tag: u8| [&[0x30, 0x0e, 6, 3, 0x55, 4, 0x0a, tag, 7][..], b"Example"].concat();
    let serial = |tag: u8| [&[0x30, 0x0e, 6, 3, 0x55, 4, 5, tag, 7][..], b"unit-17"].concat();
    let set = |parts: &[Vec<u8>]| {
        let content = parts.concat();
        [&[0x31, u8::try_from(content.len()).unwrap()][..], &content].concat()
    };
    let sequence = |sets: &[Vec<u8>]| {
        let content = sets.concat();
        [&[0x30, u8::try_from(content.len()).unwrap()][..], &content].concat()
    };
    let asked = |subject: Vec<u8>| {
        let mut facts = facts("device-ldevid");
        facts.requested.subject = subject;
        grants(&facts, &entry()).map(|_| ()).map_err(|denial| denial.code)
    };
    const UTF8: u8 = 0x0c;
    const PRINTABLE: u8 = 0x13;
    const T61: u8 = 0x14;
    for (o, s) in [
        (UTF8, PRINTABLE),
        (PRINTABLE, PRINTABLE),
        (UTF8, UTF8),
        (PRINTABLE, UTF8),
    ] {
        assert_eq!(asked(sequence(&[set(&[organization(o)]), set(&[serial(s)])])), Ok(()));
    }
    for subject in [
        sequence(&[set(&[organization(T61)]), set(&[serial(PRINTABLE)])]),
        sequence(&[set(&[serial(PRINTABLE)]), set(&[organization(UTF8)])]),
        sequence(&[set(&[serial(PRINTABLE), organization(UTF8)])]),
        sequence(&[
            set(&[organization(UTF8)]),
            set(&[serial(PRINTABLE)]),
            set(&[serial(PRINTABLE)]),
        ]),
    ] {
        assert_eq!(asked(subject), Err(DenialCode::Csr));
    }
}

#[test]
fn builtin_rules_load_and_say_why() {
    let production = PolicySet::builtin(Mode::Production).unwrap();
    let rehearsal = PolicySet::builtin(Mode::Rehearsal).unwrap();
    assert_eq!(production.sha256(), rehearsal.sha256());
    assert_eq!(
        (production.mode(), rehearsal.mode()),
        (Mode::Production, Mode::Rehearsal)
    );
    assert!(production.rules().count() >= 8);
    assert!(production.rules().all(|(_, reason)| reason.len() > 10));
}

/// What does not load: exactly one thing is wrong with each.
#[test]
fn rules_that_are_not_understood_do_not_load() {
    let when = |condition: &str| {
        format!(r#"@id("a") @reason("r") forbid (principal, action, resource) when {{ {condition} }};"#)
    };
    assert!(rules(&when("context.held")).is_ok());
    for (text, why) in [
        (when("context.hold"), "does not fit the schema"),
        (when("context.held == \"yes\""), "does not fit the schema"),
        (
            when("context.level == Holdfast::Level::\"hardware-verifed\""),
            "does not fit the schema",
        ),
        // The pitfall that turns a forbid into a yes: an optional attribute read without `has`.
        (when("context.batch == \"x\""), "does not fit the schema"),
        // A25: nothing here speaks of PCRs, least of all the resettable ones.
        (when("context.pcr16 == \"00\""), "does not fit the schema"),
        // Overflow is the only evaluation error left; a condition that is never true is a warning.
        (when("false"), "does not fit the schema"),
        (when("context.held").replace("@id(\"a\") ", ""), "has no @id"),
        (when("context.held").replace("(\"a\")", "(\"A b\")"), "has no @id"),
        (when("context.held").replace("@reason(\"r\") ", ""), "has no @reason"),
        (when("context.held").replace("(\"r\")", "(\" \")"), "has no @reason"),
        (when("context.held").repeat(2), "two rules have the id `a`"),
        (
            when("context.held").replace("principal,", "principal == ?principal,"),
            "template",
        ),
        (when("context.held").replace(';', ""), "test.cedar: "),
    ] {
        let error = rules(&text).unwrap_err();
        assert!(error.contains(why), "{text}\n{error}");
    }
    let schema = |from: &str, to: &str| {
        let changed = SCHEMA.replace(from, to);
        assert_ne!(changed, SCHEMA);
        let rule = ("test.cedar".to_owned(), when("context.held"));
        PolicySet::from_sources(Mode::Production, &changed, &[rule])
            .map(|_| ())
            .map_err(|e| e.0)
    };
    assert!(schema("held: Bool", "held: Boole").is_err());
    assert!(schema("held: Bool", "held: Long").is_err());
}

/// A rule that errors is a no, also when a permit stands beside it: Cedar by itself would say yes.
#[test]
fn a_rule_that_cannot_be_evaluated_denies() {
    let policy = rules(
        r#"@id("all") @reason("test") permit (principal, action, resource);
           @id("overflow") @reason("test") forbid (principal, action, resource)
           when { context.names + 9223372036854775807 < 0 };"#,
    )
    .unwrap();
    let mut entry = entry();
    assert!(judge(&policy, &profiles(), &facts("device-ldevid"), Some(&entry), NOW).is_ok());
    entry.dns_names = vec!["a.example".into()];
    let denial = judge(&policy, &profiles(), &facts("device-ldevid"), Some(&entry), NOW).unwrap_err();
    assert_eq!(denial.code, DenialCode::Policy);
    assert!(
        denial
            .detail
            .starts_with("`device-ldevid`: a rule could not be evaluated: "),
        "{}",
        denial.detail
    );
}

/// A schema that does not know a fact, or its word, denies at the request: facts are never left out.
#[test]
fn facts_that_do_not_fit_the_schema_deny() {
    for (from, to) in [
        ("\"L-2\", ", ""),
        ("        model?: String,\n", ""),
        ("held: Bool,", "held: Bool, more: Bool,"),
    ] {
        let schema = SCHEMA.replace(from, to);
        assert_ne!(schema, SCHEMA);
        let rule = r#"@id("all") @reason("test") permit (principal, action, resource);"#;
        let policy = PolicySet::from_sources(Mode::Production, &schema, &[("test.cedar".into(), rule.into())]).unwrap();
        let denial = judge(&policy, &profiles(), &facts("device-ldevid"), Some(&entry()), NOW).unwrap_err();
        assert!(denial.detail.contains("do not fit the schema"), "{}", denial.detail);
    }
}

#[test]
fn the_hash_covers_every_text() {
    let hash = |schema: &str, rules: &[(&str, &str)]| {
        let rules: Vec<_> = rules.iter().map(|(f, t)| ((*f).to_owned(), (*t).to_owned())).collect();
        PolicySet::from_sources(Mode::Production, schema, &rules)
            .unwrap()
            .sha256()
    };
    let a = r#"@id("a") @reason("r") permit (principal, action, resource);"#;
    let b = r#"@id("b") @reason("r") permit (principal, action, resource);"#;
    let both = hash(SCHEMA, &[("1", a), ("2", b)]);
    assert_eq!(
        both,
        hash(SCHEMA, &[("2", b), ("1", a)]),
        "the order given does not count"
    );
    assert_ne!(both, hash(SCHEMA, &[("1", &format!("{a}{b}"))]));
    assert_ne!(both, hash(&format!("{SCHEMA} "), &[("1", a), ("2", b)]));
    assert_ne!(both, hash(SCHEMA, &[("1", a)]));
}

const ENTITLED: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];

proptest! {
    /// The 2020 CAA bug: N names, one of them checked N times. Here the place of the one bad name, among any number of
    /// good ones in any order and repeated at will, is the place that is refused.
    #[test]
    fn the_requested_name_that_fails_is_the_one_that_is_named(
        good in proptest::collection::vec(0..ENTITLED.len(), 0..8),
        at in any::<prop::sample::Index>(),
        spoil in any::<bool>(),
    ) {
        let mut entry = entry();
        entry.dns_names = ENTITLED.map(str::to_owned).to_vec();
        let mut names: Vec<&str> = good.iter().map(|index| ENTITLED[*index]).collect();
        let at = at.index(names.len() + 1);
        names.insert(at, if spoil { "e.example" } else { ENTITLED[0] });
        let san: Vec<_> = names.iter().map(|n| SanEntry::Dns((*n).into()).to_general_name().unwrap()).collect();
        let mut facts = facts("service");
        facts.requested.subject_alt_name = Some(san.to_der().unwrap());
        let outcome = grants(&facts, &entry);
        if spoil {
            let detail = format!("`service`: the CSR asks for name {} of its subjectAltName, which is not issued", at + 1);
            prop_assert_eq!(outcome.unwrap_err().detail, detail);
        } else {
            prop_assert!(outcome.is_ok());
        }
    }

    /// The same for the names of the inventory.
    #[test]
    fn the_inventory_name_that_fails_is_the_one_that_is_named(
        good in proptest::collection::vec(0..ENTITLED.len(), 0..8),
        at in any::<prop::sample::Index>(),
    ) {
        let mut entry = entry();
        entry.dns_names = good.iter().map(|index| ENTITLED[*index].to_owned()).collect();
        let at = at.index(entry.dns_names.len() + 1);
        entry.dns_names.insert(at, "*.example".into());
        let detail = grants(&facts("service"), &entry).unwrap_err().detail;
        let place = format!("`service`: inventory: DNS name {}: ", at + 1);
        prop_assert!(detail.starts_with(&place), "{}", detail);
    }

    /// The same for the profiles: of two, whichever does not exist is named; permuted, the other role refuses.
    #[test]
    fn the_profile_that_fails_is_the_one_that_is_named(pair in prop::sample::subsequence(
        vec!["device-idevid", "device-iak", "issuing", "nothing"], 2).prop_shuffle()) {
        let mut facts = facts(pair[0]);
        facts.attestation_profile = Some(pair[1].into());
        let outcome = grants(&facts, &entry()).map(|_| ()).map_err(|denial| denial.detail);
        let expected = match (pair[1], pair[0]) {
            ("device-iak", "device-idevid") => Ok(()),
            ("device-iak", other) => Err(format!("`{other}`: no such profile for an identity key")),
            (other, _) => Err(format!("`{other}`: no such profile for an attestation key")),
        };
        prop_assert_eq!(outcome, expected);
    }

    /// No bytes in a request panic, and none but the two accepted forms of a subject are granted.
    #[test]
    fn any_bytes_in_a_request_are_answered(subject in any::<Vec<u8>>(), san in any::<Option<Vec<u8>>>()) {
        let mut facts = facts("device-ldevid");
        facts.requested.subject = subject.clone();
        facts.requested.subject_alt_name = san.clone();
        if grants(&facts, &entry()).is_ok() {
            prop_assert_eq!(subject, vec![0x30, 0]);
            prop_assert_eq!(san, None);
        }
    }
}

/// The same device, with another TPM.
fn with_tpm(manufacturer: &str, model: &str, version: &str) -> Facts {
    let mut facts = facts("device-ldevid");
    if let attest::Root::Ek(ek) = &mut facts.root {
        ek.manufacturer = manufacturer.into();
        ek.model = model.into();
        ek.version = version.into();
    }
    facts
}

#[test]
fn a36_a_tpm_of_which_an_advisory_speaks_is_denied_quarantined_or_told_of() {
    let code = |facts: &Facts| grants(facts, &entry()).map_err(|denial| (denial.code, denial.rules));
    let tpm_fail = code(&with_tpm("id:53544D20", "ST33HTPHAHB4", "id:00490004")).unwrap_err();
    assert_eq!(
        tpm_fail,
        (DenialCode::TpmDenied, vec!["advisory:CVE-2019-16863".to_owned()])
    );
    let amd = code(&with_tpm("id:414D4400", "AMD", "id:00030057")).unwrap_err();
    assert_eq!(amd, (DenialCode::TpmQuarantined, vec!["advisory:faulTPM".to_owned()]));
    // The firmware beside it.
    let [fixed] = code(&with_tpm("id:53544D20", "ST33HTPHAHB4", "id:00490014"))
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(fixed.decision().rules, ["local-identity"]);
    // A site that decides otherwise.
    let own = "[[advisory]]\nid = \"faulTPM\"\nmanufacturer = \"id:414D4400\"\nverdict = \"allow\"\nwhy = \"sealed\"\nsource = \"us\"\n";
    let table = crate::Advisories::builtin().unwrap().with("own.toml", own).unwrap();
    let policy = PolicySet::builtin(Mode::Production).unwrap().with_advisories(table);
    let facts = with_tpm("id:414D4400", "AMD", "id:00030057");
    let (_, granted) = judge(&policy, &profiles(), &facts, Some(&entry()), NOW).unwrap();
    assert!(granted[0].decision().rules.contains(&"advisory:faulTPM".to_owned()));
}

#[test]
fn a36_people_let_a_quarantined_tpm_in_by_the_advisory_and_never_a_denied_one() {
    let own = "[[advisory]]\nid = \"OTHER-1\"\nmanufacturer = \"id:414D4400\"\nverdict = \"quarantine\"\nwhy = \"new\"\nsource = \"us\"\n";
    let ask = |own: &str, accepted: &[&str]| {
        let table = crate::Advisories::builtin().unwrap().with("own.toml", own).unwrap();
        let policy = PolicySet::builtin(Mode::Production).unwrap().with_advisories(table);
        let entry = InventoryEntry {
            accepted_advisories: accepted.iter().map(|id| (*id).to_owned()).collect(),
            ..entry()
        };
        let facts = with_tpm("id:414D4400", "AMD", "id:00030057");
        judge(&policy, &profiles(), &facts, Some(&entry), NOW)
            .map(|(_, grants)| grants[0].decision().rules.clone())
            .map_err(|denial| (denial.code, denial.rules[0].clone()))
    };
    let rules = ask("", &["faulTPM"]).unwrap();
    for rule in ["advisory:faulTPM", "review:faulTPM"] {
        assert!(rules.contains(&rule.to_owned()), "{rules:?}");
    }
    // That an advisory only tells of is nobody's to accept.
    assert!(!rules.contains(&"review:CVE-2025-2884".to_owned()), "{rules:?}");
    // Another one beside it was not spoken of.
    let quarantined = |id: &str| Err((DenialCode::TpmQuarantined, format!("advisory:{id}")));
    assert_eq!(ask(own, &["faulTPM"]), quarantined("OTHER-1"));
    assert_eq!(ask(own, &["OTHER-1", "CVE-2025-2884"]), quarantined("faulTPM"));
    assert!(ask(own, &["faulTPM", "OTHER-1"]).is_ok());
    let denied = own.replace("quarantine", "deny");
    assert_eq!(
        ask(&denied, &["faulTPM", "OTHER-1"]),
        Err((DenialCode::TpmDenied, "advisory:OTHER-1".to_owned()))
    );
}

#[test]
fn an_ek_that_was_vouched_for_gets_no_initial_identity_and_no_names_of_a_certificate() {
    let vouched = |profile| {
        let mut facts = facts(profile);
        if let attest::Root::Ek(ek) = &mut facts.root {
            ek.certificate_sha256 = attest::sha256(b"");
            ek.assurance = Assurance::HardwareAllowlisted;
            for text in [&mut ek.manufacturer, &mut ek.model, &mut ek.version, &mut ek.serial] {
                text.clear();
            }
            ek.authority_key_id.clear();
        }
        facts
    };
    let [ldevid] = grants(&vouched("device-ldevid"), &entry()).unwrap().try_into().unwrap();
    assert_eq!(ldevid.san(), []);
    assert!(ldevid.policies().contains(&rot::ID_HARDWARE_ALLOWLISTED));
    let denial = grants(&vouched("device-idevid"), &entry()).unwrap_err();
    assert_eq!(denial.code, DenialCode::Policy);
}
