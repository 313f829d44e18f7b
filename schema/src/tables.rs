//! The tables, as both engines have them.

use diesel::prelude::*;

diesel::table! {
    device (id) {
        id -> BigInt,
        name -> Text,
        ek_spki_sha256 -> Nullable<Binary>,
        first_contact_until -> Nullable<BigInt>,
        held -> Bool,
        batch -> Nullable<Text>,
        dns_names -> Text,
        spiffe_id -> Nullable<Text>,
        ek_certificate_sha256 -> Nullable<Binary>,
        manufacturer -> Nullable<Text>,
        model -> Nullable<Text>,
        version -> Nullable<Text>,
        assurance -> Nullable<Text>,
        anchor -> Nullable<Text>,
        created_at -> BigInt,
        iak_spki_sha256 -> Nullable<Binary>,
    }
}

diesel::table! {
    ek_allowed (ek_spki_sha256) {
        ek_spki_sha256 -> Binary,
        kind -> Text,
        actor -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    enrollment (id) {
        id -> BigInt,
        challenge -> Binary,
        request_sha256 -> Binary,
        device_id -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    evidence (enrollment_id) {
        enrollment_id -> BigInt,
        digest -> Binary,
        bytes -> Binary,
    }
}

diesel::table! {
    transcript (enrollment_id) {
        enrollment_id -> BigInt,
        digest -> Binary,
        bytes -> Binary,
        path -> Binary,
    }
}

diesel::table! {
    certificate (id) {
        id -> BigInt,
        serial -> Binary,
        issuer_key_id -> Binary,
        enrollment_id -> BigInt,
        device_id -> Nullable<BigInt>,
        profile -> Text,
        profile_sha256 -> Binary,
        key_role -> Text,
        spki_sha256 -> Binary,
        tbs -> Binary,
        #[sql_name = "certificate"]
        der -> Nullable<Binary>,
        state -> Text,
        not_before -> BigInt,
        not_after -> BigInt,
        created_at -> BigInt,
        decision -> Text,
    }
}

diesel::table! {
    identity (id) {
        id -> BigInt,
        device_id -> BigInt,
        profile -> Text,
        certificate_id -> BigInt,
        not_after -> Nullable<BigInt>,
    }
}

diesel::table! {
    key_owner (id) {
        id -> BigInt,
        spki_sha256 -> Binary,
        device_id -> Nullable<BigInt>,
        ek_spki_sha256 -> Nullable<Binary>,
    }
}

diesel::table! {
    challenge_attempt (id) {
        id -> BigInt,
        challenge -> Binary,
        failures -> BigInt,
        last_at -> BigInt,
    }
}

diesel::table! {
    blocked_key (id) {
        id -> BigInt,
        spki_sha256 -> Binary,
        reason -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    audit (id) {
        id -> BigInt,
        at -> BigInt,
        action -> Text,
        actor -> Text,
        subject -> Text,
        reason -> Text,
        detail -> Text,
        entry_id -> Nullable<BigInt>,
        before_sha256 -> Nullable<Binary>,
        after_sha256 -> Nullable<Binary>,
    }
}

diesel::table! {
    archive (id) {
        id -> BigInt,
        sha256 -> Binary,
        bytes -> Binary,
    }
}

diesel::table! {
    standing (id) {
        id -> BigInt,
        what -> Text,
        archive_id -> BigInt,
        since -> BigInt,
        entry_id -> BigInt,
    }
}

diesel::joinable!(standing -> archive (archive_id));
diesel::allow_tables_to_appear_in_same_query!(standing, archive);
diesel::allow_tables_to_appear_in_same_query!(audit, ledger_entry);

diesel::table! {
    revocation (id) {
        id -> BigInt,
        certificate_id -> BigInt,
        step -> BigInt,
        state -> Text,
        reason -> Text,
        at -> BigInt,
        since -> BigInt,
        actor -> Text,
        comment -> Text,
    }
}

diesel::table! {
    crl_entry (certificate_id) {
        certificate_id -> BigInt,
        issuer_key_id -> Binary,
        crl_url -> Nullable<Text>,
        serial -> Binary,
        not_after -> BigInt,
    }
}

diesel::table! {
    crl_sequence (id) {
        id -> BigInt,
        issuer_key_id -> Binary,
        number -> BigInt,
    }
}

diesel::table! {
    crl_point (id) {
        id -> BigInt,
        issuer_key_id -> Binary,
        url -> Text,
        complete -> BigInt,
        crl_id -> Nullable<BigInt>,
        number -> Nullable<BigInt>,
        this_update -> Nullable<BigInt>,
        next_update -> Nullable<BigInt>,
        entries -> Nullable<BigInt>,
        steps -> Nullable<BigInt>,
        published_at -> Nullable<BigInt>,
        der -> Nullable<Binary>,
        delta_url -> Nullable<Text>,
    }
}

diesel::table! {
    crl (id) {
        id -> BigInt,
        issuer_key_id -> Binary,
        number -> BigInt,
        crl_point_id -> BigInt,
        created_at -> BigInt,
        this_update -> Nullable<BigInt>,
        next_update -> Nullable<BigInt>,
        entries -> Nullable<BigInt>,
        steps -> Nullable<BigInt>,
        tbs_sha256 -> Nullable<Binary>,
        base -> Nullable<BigInt>,
    }
}

diesel::table! {
    crl_delta (crl_point_id) {
        crl_point_id -> BigInt,
        crl_id -> BigInt,
        base -> BigInt,
        number -> BigInt,
        this_update -> BigInt,
        next_update -> BigInt,
        entries -> BigInt,
        steps -> BigInt,
        published_at -> BigInt,
        der -> Binary,
    }
}

diesel::table! {
    renewal (certificate_id) {
        certificate_id -> BigInt,
        replaces_id -> BigInt,
    }
}

diesel::table! {
    replacement (id) {
        id -> BigInt,
        device_id -> BigInt,
        old_ek -> Binary,
        new_ek -> Nullable<Binary>,
        first_contact_for -> Nullable<BigInt>,
        revocation -> Text,
        reason -> Text,
        requested_by -> Text,
        requested_at -> BigInt,
        expires_at -> BigInt,
        state -> Text,
        decided_by -> Nullable<Text>,
        decided_at -> Nullable<BigInt>,
        comment -> Nullable<Text>,
        old_kind -> Text,
        new_kind -> Text,
    }
}

diesel::table! {
    ek_owner (id) {
        id -> BigInt,
        ek_spki_sha256 -> Binary,
        device_id -> BigInt,
        since -> BigInt,
        shown -> Text,
        ak_spki_sha256 -> Nullable<Binary>,
        evidence -> Nullable<Binary>,
        replacement_id -> Nullable<BigInt>,
        ek_certificate_sha256 -> Nullable<Binary>,
        manufacturer -> Nullable<Text>,
        model -> Nullable<Text>,
        version -> Nullable<Text>,
        assurance -> Nullable<Text>,
        anchor -> Nullable<Text>,
    }
}

diesel::table! {
    renewal_call (id) {
        id -> BigInt,
        device_id -> BigInt,
        upto -> BigInt,
        at -> BigInt,
        within -> BigInt,
        actor -> Text,
        reason -> Text,
    }
}

diesel::joinable!(renewal_call -> device (device_id));
diesel::allow_tables_to_appear_in_same_query!(renewal_call, device);

diesel::table! {
    iak_proof (enrollment_id) {
        enrollment_id -> BigInt,
        certificate_sha256 -> Binary,
        spki_sha256 -> Binary,
        issuer -> Binary,
        serial -> Binary,
        idevid_sha256 -> Nullable<Binary>,
        ek_spki_sha256 -> Nullable<Binary>,
        anchor -> Text,
        assurance -> Text,
        manifest_id -> Nullable<BigInt>,
        manifest_position -> Nullable<BigInt>,
    }
}

diesel::table! {
    manifest (id) {
        id -> BigInt,
        root -> Binary,
        signer_sha256 -> Binary,
        kind -> Text,
        lot -> Text,
        header -> Text,
        seal -> Text,
        entries -> BigInt,
        all_or_nothing -> BigInt,
        imported_by -> Text,
        imported_at -> BigInt,
        state -> Text,
        lines_read -> BigInt,
        lines_refused -> BigInt,
        tree -> Binary,
        last_serial -> Text,
    }
}

diesel::table! {
    expected (id) {
        id -> BigInt,
        manifest_id -> BigInt,
        position -> BigInt,
        serial -> Text,
        ek_spki_sha256 -> Binary,
        gone -> BigInt,
    }
}

diesel::table! {
    expected_identity (id) {
        id -> BigInt,
        manifest_id -> BigInt,
        position -> BigInt,
        serial -> Text,
        kind -> Text,
        certificate_sha256 -> Binary,
    }
}

diesel::table! {
    refused_line (id) {
        id -> BigInt,
        manifest_id -> BigInt,
        position -> BigInt,
        reason -> Text,
    }
}

diesel::table! {
    review (id) {
        id -> BigInt,
        ek_spki_sha256 -> Binary,
        ek_certificate_sha256 -> Binary,
        device -> Text,
        named_by -> Text,
        reason -> Text,
        issuer -> Text,
        manufacturer -> Text,
        tpm -> Text,
        asked_at -> BigInt,
        expires_at -> BigInt,
        state -> Text,
        kind -> Nullable<Text>,
        decided_by -> Nullable<Text>,
        decided_at -> Nullable<BigInt>,
        comment -> Nullable<Text>,
    }
}

diesel::joinable!(expected -> manifest (manifest_id));
diesel::joinable!(expected_identity -> manifest (manifest_id));
diesel::allow_tables_to_appear_in_same_query!(expected, expected_identity, manifest, device);

diesel::table! {
    ledger_entry (id) {
        id -> BigInt,
        bytes -> Binary,
        certificate_id -> Nullable<BigInt>,
        salt -> Nullable<Binary>,
        created_at -> BigInt,
        position -> Nullable<BigInt>,
    }
}

diesel::table! {
    ledger_tile (id) {
        id -> BigInt,
        level -> BigInt,
        number -> BigInt,
        hashes -> Binary,
    }
}

diesel::table! {
    ledger (id) {
        id -> BigInt,
        size -> BigInt,
        root -> Binary,
        signed_size -> Nullable<BigInt>,
        checkpoint -> Nullable<Text>,
        signed_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    tpm_clock (device_id, ak_spki_sha256) {
        device_id -> BigInt,
        ak_spki_sha256 -> Binary,
        clock -> BigInt,
        reset_count -> BigInt,
        restart_count -> BigInt,
        safe -> Bool,
        seen_at -> BigInt,
        alarmed_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    iak_gone (iak_spki_sha256) {
        iak_spki_sha256 -> Binary,
        device_id -> BigInt,
        replacement_id -> BigInt,
    }
}

diesel::joinable!(iak_gone -> device (device_id));
diesel::allow_tables_to_appear_in_same_query!(iak_gone, device);

diesel::joinable!(tpm_clock -> device (device_id));
diesel::allow_tables_to_appear_in_same_query!(tpm_clock, device);

diesel::table! {
    epoch (id) {
        id -> BigInt,
        number -> BigInt,
        since -> BigInt,
        moved -> BigInt,
        actor -> Text,
        reason -> Text,
    }
}

diesel::joinable!(iak_proof -> enrollment (enrollment_id));
diesel::joinable!(enrollment -> device (device_id));
diesel::joinable!(replacement -> device (device_id));
diesel::joinable!(ek_owner -> device (device_id));
diesel::joinable!(ek_owner -> replacement (replacement_id));
diesel::joinable!(evidence -> enrollment (enrollment_id));
diesel::joinable!(transcript -> enrollment (enrollment_id));
diesel::joinable!(certificate -> enrollment (enrollment_id));
diesel::joinable!(certificate -> device (device_id));
diesel::joinable!(identity -> certificate (certificate_id));
diesel::joinable!(key_owner -> device (device_id));
diesel::joinable!(revocation -> certificate (certificate_id));
diesel::allow_tables_to_appear_in_same_query!(
    device,
    enrollment,
    evidence,
    transcript,
    certificate,
    identity,
    key_owner,
    revocation,
    crl_entry,
    renewal,
    replacement,
    ek_owner,
    iak_proof
);
diesel::allow_tables_to_appear_in_same_query!(crl, crl_point);
diesel::allow_tables_to_appear_in_same_query!(crl_delta, crl_point);

/// A row to be written into `certificate`.
#[derive(Insertable, Clone, Debug)]
#[diesel(table_name = certificate)]
pub(crate) struct NewCertificate {
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer_key_id: Vec<u8>,
    pub(crate) enrollment_id: i64,
    pub(crate) device_id: Option<i64>,
    pub(crate) profile: String,
    pub(crate) profile_sha256: Vec<u8>,
    pub(crate) key_role: &'static str,
    pub(crate) spki_sha256: Vec<u8>,
    pub(crate) tbs: Vec<u8>,
    pub(crate) state: &'static str,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    pub(crate) created_at: i64,
    pub(crate) decision: String,
}

/// A row to be written into `ledger_entry`.
#[derive(Insertable, Clone, Debug)]
#[diesel(table_name = ledger_entry)]
pub(crate) struct NewEntry {
    pub(crate) bytes: Vec<u8>,
    pub(crate) certificate_id: Option<i64>,
    pub(crate) salt: Option<Vec<u8>>,
    pub(crate) created_at: i64,
}

/// What is written into `audit`, beside the leaf that holds it to what it says.
#[derive(Clone, Debug)]
pub(crate) struct NewAudit {
    pub(crate) at: i64,
    pub(crate) action: String,
    pub(crate) actor: String,
    pub(crate) subject: String,
    pub(crate) reason: String,
    pub(crate) detail: String,
    /// What it is about, as it was and as it became ([`crate::seal`]).
    pub(crate) before: Option<[u8; 32]>,
    /// The same, afterwards.
    pub(crate) after: Option<[u8; 32]>,
}

impl NewAudit {
    /// The same, about what was and became.
    pub(crate) fn changed(&self, before: Option<[u8; 32]>, after: Option<[u8; 32]>) -> Self {
        Self {
            before,
            after,
            ..self.clone()
        }
    }
}
