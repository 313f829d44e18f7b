//! One attack, looked at from all sides: what the outsider sees, what the record says, what was stored.

use std::sync::atomic::{AtomicU32, Ordering};

use wire::enrollment::{ActivationRequest, EnrollmentChallenge, EnrollmentRequest, EnrollmentResult, RotEvidence};
use wire::problem::ProblemCode;
use wire::{Bytes, EnrollmentId};

use crate::rig::{Client, Raw, Rig, Rows};
use crate::soft_tpm::SoftTpm;

/// Say how often a test played its fault, for the report (`scripts/report.py`): a line in the file that
/// `HOLDFAST_TRIALS` names. Called when nothing was found: a test that found something does not come so far.
///
/// # Panics
/// When the line cannot be written.
pub fn played(test: &str, trials: usize) {
    use std::io::Write as _;
    if let Some(path) = std::env::var_os("HOLDFAST_TRIALS") {
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .expect("a report");
        let line = serde_json::json!({"test": test, "trials": trials, "violations": 0});
        file.write_all(format!("{line}\n").as_bytes()).expect("a report");
    }
}

/// What must come of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Code of the answer.
    pub code: ProblemCode,
    /// Reason in the audit record.
    pub reason: &'static str,
}

impl Verdict {
    /// Some check of the attestation: the outsider is told that one failed, the record which one.
    #[must_use]
    pub fn attestation(reason: &'static str) -> Self {
        Self {
            code: ProblemCode::AttestationRejected,
            reason,
        }
    }

    /// Another code.
    #[must_use]
    pub fn of(code: ProblemCode, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// The one body of all attestation failures, its incident left out.
const COARSE: &str = "{\"type\":\"/problems/attestation_rejected\",\"title\":\"The attestation was not accepted\",\
\"status\":403,\"code\":\"attestation_rejected\",\"retry\":\"never\",\"incident\":\"\"}";

/// Headers that come with it; the length counts an incident.
const COARSE_HEADERS: [(&str, &str); 3] = [
    ("cache-control", "no-store"),
    ("content-length", "193"),
    ("content-type", "application/problem+json"),
];

/// Refused as `verdict` says: what an outsider sees. Gives the incident.
///
/// # Panics
/// When the answer is another one.
pub fn outsider_sees(answer: &Raw, verdict: Verdict) -> String {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, verdict.code.status(), "{verdict:?}: {text}");
    let problem = answer.problem();
    assert_eq!(problem.code, verdict.code, "{verdict:?}: {text}");
    let incident = problem.incident.expect("an incident");
    let digits = incident.strip_prefix("inc_").unwrap_or_default();
    assert!(
        digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "{incident}"
    );
    if verdict.code == ProblemCode::AttestationRejected {
        assert_eq!(
            text.replace(&incident, ""),
            COARSE,
            "every attestation failure looks the same"
        );
        let mut headers: Vec<(&str, &str)> = answer
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        headers.sort_unstable();
        assert_eq!(headers, COARSE_HEADERS, "every attestation failure looks the same");
    }
    incident
}

/// A device name that no other test of this process has.
#[must_use]
pub fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("ATK-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// What is inside the evidence of a request.
pub struct EvidenceFields<'a> {
    /// EK certificate.
    pub ek_certificate: &'a mut Bytes,
    /// CA certificates sent along.
    pub ek_chain: &'a mut Vec<Bytes>,
    /// EK public area.
    pub ek_public: &'a mut Bytes,
    /// AK public area.
    pub ak_public: &'a mut Bytes,
}

/// The evidence of a request, to be changed.
pub fn evidence(request: &mut EnrollmentRequest) -> EvidenceFields<'_> {
    let RotEvidence::Tpm20 {
        ek_certificate,
        ek_chain,
        ek_public,
        ak_public,
    } = &mut request.rot;
    EvidenceFields {
        ek_certificate,
        ek_chain,
        ek_public,
        ak_public,
    }
}

impl Rig {
    /// The honest first call of `tpm`, with one thing changed: refused. The honest one gets its question.
    ///
    /// # Panics
    /// When either is otherwise.
    pub fn attack_begin(&self, tpm: &SoftTpm, change: impl FnOnce(&mut EnrollmentRequest), verdict: Verdict) {
        let honest = tpm.request("device-ldevid", None, None);
        let mut attack = honest.clone();
        change(&mut attack);
        let client = self.client();
        self.refuses_begin(&client, &attack, verdict);
        client.begin(&honest).expect("the honest twin gets its question");
    }

    /// A device, put into the inventory, answers a challenge with one thing changed: refused. The honest answer to the
    /// same challenge gets its certificate.
    ///
    /// # Panics
    /// When either is otherwise.
    pub fn attack_activation(
        &self,
        tpm: &SoftTpm,
        change: impl FnOnce(&EnrollmentChallenge, &mut ActivationRequest),
        verdict: Verdict,
    ) -> EnrollmentResult {
        let name = fresh_name();
        self.allow(&name, tpm);
        let client = self.client();
        let challenge = client
            .begin(&tpm.request("device-ldevid", None, None))
            .expect("a question");
        let honest = tpm.answer(&challenge).expect("the credential is for this TPM");
        let mut attack = honest.clone();
        change(&challenge, &mut attack);
        self.refuses_activation(&client, challenge.id, &attack, verdict);
        let result = client
            .activate(challenge.id, &honest)
            .expect("the honest twin gets its certificate");
        assert_eq!(result.device, name);
        result
    }

    /// An attack on the first call is refused: the audit file has one record, the database none, and nothing else.
    ///
    /// # Panics
    /// When it is not.
    pub fn refuses_begin(&self, client: &Client, request: &EnrollmentRequest, verdict: Verdict) {
        let body = serde_json::to_vec(request).expect("JSON");
        self.refuses_begin_bytes(client, &body, verdict);
    }

    /// [`Rig::refuses_begin`] for any body.
    ///
    /// # Panics
    /// When it is not refused.
    pub fn refuses_begin_bytes(&self, client: &Client, body: &[u8], verdict: Verdict) {
        let (rows, lines) = (self.rows(), self.audit_file_lines());
        let answer = client.post_raw("/v1/enrollments", "application/json", body);
        let incident = outsider_sees(&answer, verdict);
        self.file_says(&incident, "enrollment.begin.refused", verdict, lines);
        assert_eq!(self.rows(), rows, "{verdict:?}: nothing is stored");
    }

    /// An attack on the second call is refused: one record in the database and one in the file, one try counted, and
    /// nothing else.
    ///
    /// # Panics
    /// When it is not.
    pub fn refuses_activation(&self, client: &Client, id: EnrollmentId, request: &ActivationRequest, verdict: Verdict) {
        let (rows, lines) = (self.rows(), self.audit_file_lines());
        let answer = activate_raw(client, id, request);
        let incident = outsider_sees(&answer, verdict);
        self.file_says(&incident, "enrollment.refused", verdict, lines);
        let records = self.audit(&incident);
        assert_eq!(records.len(), 1, "{verdict:?}: one record in the database: {records:?}");
        assert_eq!(
            records.first().map(|r| (r.reason.as_str(), r.action.as_str())),
            Some((verdict.reason, "enrollment.refused")),
            "{records:?}"
        );
        assert_eq!(
            self.rows(),
            after_a_try(&rows, &self.rows()),
            "{verdict:?}: nothing is stored"
        );
    }

    /// An attack on the second call that may not even cost a try: the audit file has one record, and nothing else.
    ///
    /// # Panics
    /// When it is not.
    pub fn refuses_activation_freely(
        &self,
        client: &Client,
        id: EnrollmentId,
        request: &ActivationRequest,
        verdict: Verdict,
    ) {
        let (rows, lines) = (self.rows(), self.audit_file_lines());
        let answer = activate_raw(client, id, request);
        let incident = outsider_sees(&answer, verdict);
        self.file_says(&incident, "enrollment.refused", verdict, lines);
        assert_eq!(self.rows(), rows, "{verdict:?}: nothing is stored");
    }

    fn file_says(&self, incident: &str, action: &str, verdict: Verdict, lines: usize) {
        let records = self.audit_file(incident);
        assert_eq!(records.len(), 1, "{verdict:?}: one record in the file: {records:?}");
        let record = records.first().expect("a record");
        assert_eq!(
            (record.subject.as_str(), record.action.as_str(), record.reason.as_str()),
            (incident, action, verdict.reason),
            "{record:?}"
        );
        assert_eq!(self.audit_file_lines(), lines + 1, "{verdict:?}: and no other record");
    }
}

/// Whether one of `secrets` stands in `bytes`: raw, in hex of either case, or in base64.
#[must_use]
pub fn shows<S: AsRef<[u8]>>(bytes: &[u8], secrets: &[S]) -> bool {
    !places(bytes, secrets).is_empty()
}

/// Where in `bytes` one of `secrets` begins: raw, in hex of either case, or in base64. One pass, since tests are built
/// without optimisation.
#[must_use]
pub fn places<S: AsRef<[u8]>>(bytes: &[u8], secrets: &[S]) -> Vec<usize> {
    use base64::Engine as _;
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for secret in secrets.iter().map(AsRef::as_ref) {
        let hex = hex::encode(secret);
        forms.push(hex.to_ascii_uppercase().into_bytes());
        forms.push(hex.into_bytes());
        forms.push(base64::engine::general_purpose::STANDARD.encode(secret).into_bytes());
        forms.push(secret.to_vec());
    }
    let mut begins = vec![false; 1 << 16];
    for form in &forms {
        if let [a, b, ..] = form.as_slice()
            && let Some(begin) = begins.get_mut(usize::from(u16::from_be_bytes([*a, *b])))
        {
            *begin = true;
        }
    }
    let mut found = Vec::new();
    let mut pair = 0_usize;
    for (at, byte) in bytes.iter().enumerate() {
        pair = (pair << 8 | usize::from(*byte)) & 0xffff;
        if begins.get(pair) == Some(&true) {
            let here = bytes.get(at.saturating_sub(1)..).unwrap_or_default();
            if forms.iter().any(|form| here.starts_with(form)) {
                found.push(at.saturating_sub(1));
            }
        }
    }
    found
}

/// The raw answer to an activation.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn activate_raw(client: &Client, id: EnrollmentId, request: &ActivationRequest) -> Raw {
    let body = serde_json::to_vec(request).expect("JSON");
    client.post_raw(&format!("/v1/enrollments/{id}/activation"), "application/json", &body)
}

/// What may be in the tables after one more counted try: one audit record, and the challenge's counter.
fn after_a_try(before: &Rows, now: &Rows) -> Rows {
    let mut rows = before.clone();
    rows.entry("audit").and_modify(|n| *n += 1);
    // The counter is one row per challenge: the first try makes it.
    if now.get("challenge_attempt") == before.get("challenge_attempt").map(|n| n + 1).as_ref() {
        rows.entry("challenge_attempt").and_modify(|n| *n += 1);
    }
    rows
}
