//! The archived policy, and the decision made again under it: one thing wrong each.

use attest::sha256;
use bundle::{Decided, Transcript};
use device_kit::der::name;
use policies::SanEntry;
use serde_json::Value;

use crate::world::{Fault, subject};

/// The text does not hold, so nothing can be decided under it.
const NO_TEXT: &[&str] = &["policy", "decision"];

/// Another text, named by the transcript; with the digest of its rules, so that nothing but what it says is wrong.
fn amended(policy: &mut Vec<u8>, told: &mut Transcript, change: impl FnOnce(String) -> String) {
    let before = String::from_utf8(policy.clone()).unwrap();
    let after = change(before.clone());
    assert_ne!(after, before);
    *policy = after.into_bytes();
    told.policy = Some(hex::encode(sha256(policy)));
    let value: Value = serde_json::from_slice(policy).unwrap();
    let rules = value["rules"].as_array().unwrap().iter().map(|one| &one["text"]);
    let digest = [&value["schema"]].into_iter().chain(rules).flat_map(|text| {
        let text = text.as_str().unwrap();
        [&(text.len() as u64).to_be_bytes(), text.as_bytes()].concat()
    });
    decided(told).policy_sha256 = hex::encode(sha256(&digest.collect::<Vec<u8>>()));
}

fn decided(told: &mut Transcript) -> &mut Decided {
    &mut told.decisions[0]
}

pub(crate) fn all() -> Vec<Fault> {
    let mut all = texts();
    all.extend(decisions());
    all
}

fn texts() -> Vec<Fault> {
    vec![
        Fault {
            bundle: |_, bundle| bundle.policy.as_mut().unwrap()[900] ^= 1,
            ..Fault::of("another text of the policy", NO_TEXT)
        },
        Fault {
            bundle: |_, bundle| bundle.policy = Some(Vec::new()),
            ..Fault::of("no text of the policy", NO_TEXT)
        },
        Fault {
            bundle: |_, bundle| bundle.policy = None,
            ..Fault::of("policy taken out of the file", NO_TEXT)
        },
        Fault {
            transcript: |told| told.inventory = None,
            bundle: |_, bundle| bundle.policy = None,
            ..Fault::of("export of before policies were in it", &[])
        },
        Fault {
            transcript: |told| told.inventory = None,
            ..Fault::of("transcript of before it had the inventory", &[])
        },
        Fault {
            transcript: |told| told.inventory = None,
            policy: |_, told| told.policy = None,
            ..Fault::of("transcript of before policies were archived", &[])
        },
        Fault {
            policy: |policy, told| {
                policy.push(b' ');
                told.policy = Some(hex::encode(sha256(policy)));
            },
            ..Fault::of("policy in another spelling", NO_TEXT)
        },
        Fault {
            policy: |policy, told| amended(policy, told, |text| text.replacen("policy/v1", "policy/v2", 1)),
            ..Fault::of("policy of tomorrow", NO_TEXT)
        },
        Fault {
            policy: |policy, told| amended(policy, told, |text| text.replacen("365d", "364d", 9)),
            ..Fault::of("policy with another profile of the name", &["policy"])
        },
        Fault {
            policy: |policy, told| {
                amended(policy, told, |text| {
                    text.replace("{ context.held }", "{ context.hold }")
                })
            },
            ..Fault::of("policy that does not load", &["decision"])
        },
        Fault {
            policy: |policy, told| {
                amended(policy, told, |text| {
                    text.replace("{ context.held }", "{ !context.held }")
                })
            },
            ..Fault::of("policy that forbids it", &["decision"])
        },
        Fault {
            policy: |policy, told| {
                amended(policy, told, |text| {
                    text.replace(
                        "@id(\\\"local-identity\\\")",
                        "// @id(\\\"local-identity\\\")\\n@id(\\\"other\\\")",
                    )
                });
            },
            ..Fault::of("rule that is a comment", NO_TEXT)
        },
    ]
}

fn decisions() -> Vec<Fault> {
    vec![
        Fault {
            transcript: |told| decided(told).policy_sha256 = "00".repeat(32),
            ..Fault::of("decided by other rules", &["policy"])
        },
        Fault {
            transcript: |told| decided(told).profile_sha256 = "00".repeat(32),
            ..Fault::of("granted another profile of the name", &["ledger", "policy"])
        },
        Fault {
            transcript: |told| decided(told).rules = vec!["by-favour".to_owned()],
            ..Fault::of("rule that there is not", NO_TEXT)
        },
        Fault {
            transcript: |told| decided(told).rules.push("advisory:NOT-THERE".to_owned()),
            ..Fault::of("advisory that there is not", NO_TEXT)
        },
        Fault {
            transcript: |told| decided(told).rules = vec!["virtual-machine".to_owned()],
            ..Fault::of("rule that did not permit it", &["decision"])
        },
        Fault {
            transcript: |told| decided(told).rules.clear(),
            ..Fault::of("no rule permitted it", &["decision"])
        },
        Fault {
            certificate: |_, said| said.subject = subject("GW-2"),
            ..Fault::of("certificate of another device's name", &["decision"])
        },
        Fault {
            certificate: |_, said| said.subject = name(&[("2.5.4.3", "GW-1")]),
            ..Fault::of("certificate of a common name", &["decision"])
        },
        Fault {
            certificate: |_, said| said.alternative.push(SanEntry::Dns("gw.example".to_owned())),
            ..Fault::of("certificate with a name that nobody granted", &["decision"])
        },
        Fault {
            certificate: |_, said| said.alternative.truncate(1),
            ..Fault::of("certificate without a name that was granted", &["decision"])
        },
        Fault {
            certificate: |_, said| said.alternative.clear(),
            ..Fault::of("certificate without the names that were granted", &["decision"])
        },
        Fault {
            transcript: |told| decided(told).reasons = vec!["why not".to_owned()],
            ..Fault::of("another reason", &["decision"])
        },
        Fault {
            transcript: |told| told.inventory.as_mut().unwrap().held = true,
            ..Fault::of("device was held", &["decision"])
        },
        Fault {
            transcript: |told| {
                told.inventory.as_mut().unwrap().bound = false;
                told.asked.device = None;
            },
            ..Fault::of("first contact of nobody", &["decision"])
        },
        Fault {
            transcript: |told| told.asked.device = Some("GW-9".to_owned()),
            ..Fault::of("claimed another name", &["decision"])
        },
        Fault {
            transcript: |told| told.asked.profile = "device-idevid".to_owned(),
            ..Fault::of("asked for another profile", &["decision"])
        },
        Fault {
            transcript: |told| told.asked.attestation_profile = Some("device-lak".to_owned()),
            ..Fault::of("half of what was asked for", &["decision"])
        },
        Fault {
            transcript: |told| told.renewed = Some("00".repeat(32)),
            ..Fault::of("renewal that does not say of which key", &["transcript", "decision"])
        },
    ]
}
