//! A16 and A22 by name: who asks for what is not his.

use device_kit::rig::Rig;
use device_kit::soft_tpm::SoftTpm;
use device_kit::trial::{Verdict, activate_raw, evidence, fresh_name, outsider_sees};
use wire::problem::ProblemCode;

use crate::house;

/// The device claims `claim`: refused at the answer. Claiming its own name, or none, it is served.
fn claims(rig: &Rig, tpm: &SoftTpm, own: &str, claim: &str, verdict: Verdict) {
    let client = rig.client();
    let challenge = client
        .begin(&tpm.request("device-ldevid", None, Some(claim)))
        .unwrap_or_else(|e| panic!("{claim}: {e:?}"));
    let answer = tpm.answer(&challenge).unwrap();
    rig.refuses_activation(&client, challenge.id, &answer, verdict);
    let result = client
        .enroll(tpm, &tpm.request("device-ldevid", None, Some(own)))
        .expect("the honest twin");
    assert_eq!(result.device, own);
}

#[test]
fn a22_a_tpm_that_asks_for_the_name_of_another() {
    let rig = house();
    let (tpm, victim) = (SoftTpm::p256(&rig.vendor), SoftTpm::p256(&rig.vendor));
    let (own, other) = (fresh_name(), fresh_name());
    rig.allow(&own, &tpm);
    rig.allow(&other, &victim);
    claims(&rig, &tpm, &own, &other, Verdict::attestation("ID_BOUND"));
    assert_eq!(
        rig.device(&other).unwrap().state,
        "allowed",
        "and nothing changed for the victim"
    );
}

#[test]
fn a22_a_tpm_that_asks_for_a_name_nobody_has() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let own = fresh_name();
    rig.allow(&own, &tpm);
    claims(&rig, &tpm, &own, "ATK-free", Verdict::attestation("ID_BOUND"));
}

#[test]
fn a22_another_spelling_of_a_name_is_another_name() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let own = fresh_name();
    rig.allow(&own, &tpm);
    claims(&rig, &tpm, &own, &own.to_lowercase(), Verdict::attestation("ID_BOUND"));
    claims(
        &rig,
        &tpm,
        &own,
        &own.replace('-', "."),
        Verdict::attestation("ID_BOUND"),
    );
    // What looks alike is not even a name.
    for claim in [
        own.replace('A', "\u{410}"),
        own.replace('A', "\u{ff21}"),
        format!("{own}."),
        format!("{own} "),
        format!("{own}\u{200b}"),
        format!("{own}\0"),
    ] {
        let request = tpm.request("device-ldevid", None, Some(&claim));
        rig.refuses_begin(
            &rig.client(),
            &request,
            Verdict::of(ProblemCode::Malformed, "MALFORMED"),
        );
    }
}

/// A genuine TPM of the right vendor that nobody put into the inventory, with and without a claim.
#[test]
fn a22_a_tpm_that_nobody_expects() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let client = rig.client();
    for claim in [None, Some("ATK-free")] {
        let challenge = client.begin(&tpm.request("device-ldevid", None, claim)).unwrap();
        let answer = tpm.answer(&challenge).unwrap();
        let verdict = Verdict::attestation("NOT_IN_INVENTORY");
        rig.refuses_activation(&client, challenge.id, &answer, verdict);
    }
    let name = fresh_name();
    rig.allow(&name, &tpm);
    client
        .enroll(&tpm, &tpm.request("device-ldevid", None, None))
        .expect("the honest twin");
}

/// First contact needs the claim: without it nothing connects this TPM with an open name.
#[test]
fn a22_an_open_name_is_not_given_to_who_does_not_claim_it() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let name = fresh_name();
    rig.expect_device(&name);
    let client = rig.client();
    let challenge = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
    let answer = tpm.answer(&challenge).unwrap();
    rig.refuses_activation(&client, challenge.id, &answer, Verdict::attestation("NOT_IN_INVENTORY"));
    client
        .enroll(&tpm, &tpm.request("device-ldevid", None, Some(&name)))
        .expect("the honest twin");
}

/// What the challenge was for is sealed into the ticket: nobody asks for one profile and gets another.
#[test]
fn a16_an_answer_cannot_change_what_was_asked_for() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let name = fresh_name();
    rig.allow(&name, &tpm);
    let client = rig.client();
    let local = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
    let initial = client
        .begin(&tpm.request("device-idevid", Some("device-iak"), None))
        .unwrap();
    let local_answer = tpm.answer(&local).unwrap();
    let initial_answer = tpm.answer(&initial).unwrap();
    let mut mixed = local_answer.clone();
    mixed.ticket = initial_answer.ticket.clone();
    let forged = Verdict::attestation("TICKET");
    rig.refuses_activation_freely(&client, local.id, &mixed, forged);
    let mut flipped = local_answer.clone();
    for at in [0, 1, 5, 17, 40, flipped.ticket.0.len() - 1] {
        flipped.ticket = local_answer.ticket.clone();
        flipped.ticket.0[at] ^= 1;
        rig.refuses_activation_freely(&client, local.id, &flipped, forged);
    }
    for length in [0, 1, 16, 32] {
        flipped.ticket = local_answer.ticket.0[..length].to_vec().into();
        rig.refuses_activation_freely(&client, local.id, &flipped, forged);
    }
    let result = client.activate(local.id, &local_answer).expect("the honest twin");
    assert_eq!(result.certificates[0].profile, "device-ldevid");
}

/// Every reason looks the same from outside, at either call.
#[test]
fn a_failure_at_either_call_looks_the_same() {
    let rig = house();
    let tpm = SoftTpm::p256(&rig.vendor);
    let client = rig.client();
    let mut bad = tpm.request("device-ldevid", None, None);
    *evidence(&mut bad).ak_public = tpm.identity.public.clone().into();
    let first = client.post_raw(
        "/v1/enrollments",
        "application/json",
        &serde_json::to_vec(&bad).unwrap(),
    );
    let challenge = client.begin(&tpm.request("device-ldevid", None, None)).unwrap();
    let second = activate_raw(&client, challenge.id, &tpm.answer(&challenge).unwrap());
    let incidents = [
        outsider_sees(&first, Verdict::attestation("AK_ATTR")),
        outsider_sees(&second, Verdict::attestation("NOT_IN_INVENTORY")),
    ];
    assert_ne!(incidents[0], incidents[1]);
}
