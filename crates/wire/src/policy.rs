//! Stored evidence decided again under a policy that is not in force, over the administration socket.

use serde::{Deserialize, Serialize};

/// A file of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Its name.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Rules and their schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRules {
    /// The schema.
    pub schema: String,
    /// The rules.
    pub files: Vec<PolicyFile>,
}

/// Body of `POST /v1/policy-replays`: what is left out is as it is in force. Changes nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayPolicy {
    /// Other rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<PolicyRules>,
    /// Other profiles: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profiles: Option<Vec<PolicyFile>>,
    /// A site's own advisories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advisories: Option<PolicyFile>,
    /// Older than this one ([`PolicyReplay::next`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// At most so many: 1 to 200.
    pub limit: u32,
}

/// Answer to it, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyReplay {
    /// SHA-256 of the rules that were tried.
    pub policy_sha256: String,
    /// SHA-256 of the rules in force.
    pub in_force_sha256: String,
    /// What was decided.
    pub items: Vec<Replayed>,
    /// Where the next page begins; none: this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// One enrollment, decided again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replayed {
    /// Enrollment id.
    pub enrollment: String,
    /// Device.
    pub device: String,
    /// When it was decided, unix seconds.
    pub decided_at: i64,
    /// Why it was not decided again; then there is nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// Whether the policy that is tried decides otherwise than the one in force.
    pub changes: bool,
    /// Under the policy in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<Outcome>,
    /// Under the policy that is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Outcome>,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// Certificates would be granted.
    Granted(Vec<WouldGrant>),
    /// Nothing would be.
    Denied {
        /// Ids of the rules.
        rules: Vec<String>,
        /// Why.
        reason: String,
    },
}

/// A certificate that would be granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WouldGrant {
    /// Profile.
    pub profile: String,
    /// Seconds it would live; none: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<i64>,
    /// Ids of the rules.
    pub rules: Vec<String>,
    /// Their reasons.
    pub reasons: Vec<String>,
}
