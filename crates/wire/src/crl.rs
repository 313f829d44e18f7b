//! CRLs: what people see of them, and ask for.

use serde::{Deserialize, Serialize};

/// Every place where a CRL of the issuing CA is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrlPage {
    /// Places, the oldest first.
    pub items: Vec<CrlPlace>,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrlPlace {
    /// URL.
    pub url: String,
    /// It lists every certificate of the CA; else those that carry this URL.
    pub complete: bool,
    /// What is published there.
    pub published: Option<CrlPublished>,
    /// The delta CRL beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<CrlDelta>,
    /// How many steps of revocations are not in it yet.
    pub behind: i64,
    /// What is wrong, as this server knows.
    pub alarms: Vec<CrlAlarm>,
}

/// A published delta CRL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrlDelta {
    /// URL.
    pub url: String,
    /// Number of the complete CRL it stands on.
    pub base: u64,
    /// The rest; its entries are what differs.
    pub published: CrlPublished,
}

/// A published CRL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrlPublished {
    /// CRLNumber.
    pub number: u64,
    /// Unix seconds.
    pub this_update: i64,
    /// Unix seconds.
    pub next_update: i64,
    /// How many certificates it lists.
    pub entries: i64,
    /// When it was published, unix seconds.
    pub published_at: i64,
}

/// A person should look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrlAlarm {
    /// Reason code in capitals.
    pub reason: String,
    /// In words.
    pub detail: String,
    /// Since when, unix seconds.
    pub since: i64,
}

/// Ask for new CRLs now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishCrl {
    /// Only the one of this URL; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrlPublications {
    /// One for each place that was asked for.
    pub items: Vec<CrlPublication>,
}

/// What came of it at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrlPublication {
    /// URL.
    pub url: String,
    /// How it ended.
    pub outcome: PublicationOutcome,
    /// CRLNumber, when published.
    pub number: Option<u64>,
    /// How many certificates it lists, when published.
    pub entries: Option<u64>,
    /// Reason code in capitals, when it failed.
    pub reason: Option<String>,
    /// In words, when it failed.
    pub detail: Option<String>,
}

/// How an attempt to publish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublicationOutcome {
    /// It is out.
    Published,
    /// Another server was faster; its CRL is out.
    Overtaken,
    /// Not published; the old one stays.
    Failed,
}
