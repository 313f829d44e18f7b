//! What holds audit records to what they say: a tree of their own, over records that are each salted, so that one can be
//! shown without the others, and its digest tells nothing of any.

use serde::Serialize;

use crate::hash::{Hash, empty_root, join, leaf_hash, peaks};

/// An audit record, as it is hashed: compact JSON, members in this order.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AuditLine<'a> {
    /// When, unix seconds.
    pub at: i64,
    /// What.
    pub action: &'a str,
    /// Who.
    pub actor: &'a str,
    /// Of what.
    pub subject: &'a str,
    /// Why, in capitals.
    pub reason: &'a str,
    /// More, for people.
    pub detail: &'a str,
    /// SHA-256 of what it is about, as it was; absent where there was nothing, or nothing changed.
    #[serde(with = "crate::entry::perhaps", skip_serializing_if = "Option::is_none")]
    pub before: Option<Hash>,
    /// The same, as it became.
    #[serde(with = "crate::entry::perhaps", skip_serializing_if = "Option::is_none")]
    pub after: Option<Hash>,
}

/// The salt of one of the records that share a salt.
#[must_use]
pub fn line_salt(salt: &[u8; 16], place: u32) -> [u8; 32] {
    let mut hash = openssl::sha::Sha256::new();
    hash.update(b"holdfast-audit/v1\n");
    hash.update(salt);
    hash.update(&place.to_be_bytes());
    hash.finish()
}

/// The leaf of a record under its own salt.
#[must_use]
pub fn line_hash(salt: &[u8; 32], line: &AuditLine<'_>) -> Hash {
    let mut leaf = salt.to_vec();
    // Text and a number: JSON can say nothing else.
    leaf.extend(serde_json::to_vec(line).unwrap_or_default());
    leaf_hash(&leaf)
}

/// The digest over records, in their order: the root of the tree of RFC 6962 over their leaves.
#[must_use]
pub fn audit_digest<'a>(salt: &[u8; 16], lines: impl IntoIterator<Item = AuditLine<'a>>) -> Hash {
    let leaves: Vec<Hash> = (0_u32..)
        .zip(lines)
        .map(|(place, line)| line_hash(&line_salt(salt, place), &line))
        .collect();
    join(&peaks(&leaves), None).unwrap_or_else(empty_root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::tests::naive;

    const LINE: AuditLine<'_> = AuditLine {
        at: 1,
        action: "a",
        actor: "b",
        subject: "c",
        reason: "D",
        detail: "e\n\"",
        before: None,
        after: None,
    };

    #[test]
    fn every_member_every_place_and_the_salt_count() {
        let salt = [7; 16];
        let all = audit_digest(&salt, [LINE, LINE, LINE]);
        for changed in [
            AuditLine { at: 2, ..LINE },
            AuditLine { action: "x", ..LINE },
            AuditLine { actor: "x", ..LINE },
            AuditLine { subject: "x", ..LINE },
            AuditLine { reason: "x", ..LINE },
            AuditLine { detail: "x", ..LINE },
            AuditLine {
                before: Some([1; 32]),
                ..LINE
            },
            AuditLine {
                after: Some([1; 32]),
                ..LINE
            },
        ] {
            for lines in [[changed, LINE, LINE], [LINE, LINE, changed]] {
                assert_ne!(audit_digest(&salt, lines), all);
            }
            assert_ne!(
                audit_digest(&salt, [changed, LINE]),
                audit_digest(&salt, [LINE, changed])
            );
        }
        assert_ne!(audit_digest(&salt, [LINE, LINE]), all);
        assert_ne!(audit_digest(&[8; 16], [LINE, LINE, LINE]), all);
    }

    #[test]
    fn one_can_be_shown_without_the_others() {
        let salt = [7; 16];
        let leaves: Vec<Hash> = (0..3).map(|i| line_hash(&line_salt(&salt, i), &LINE)).collect();
        assert_eq!(naive(&leaves), audit_digest(&salt, [LINE; 3]));
        assert_ne!(leaves[0], leaves[1]);
    }

    /// The form is for others to compute, too.
    #[test]
    fn the_form_of_a_line() {
        let text = r#"{"at":1,"action":"a","actor":"b","subject":"c","reason":"D","detail":"e\n\""}"#;
        let own = line_salt(&[7; 16], 0);
        assert_eq!(line_hash(&own, &LINE), leaf_hash(&[&own, text.as_bytes()].concat()));
        let changed = AuditLine {
            before: Some([1; 32]),
            after: Some([2; 32]),
            ..LINE
        };
        let more = format!(
            ",\"before\":\"{}\",\"after\":\"{}\"}}",
            "01".repeat(32),
            "02".repeat(32)
        );
        let text = text.replace("\"}", "\"") + &more;
        assert_eq!(line_hash(&own, &changed), leaf_hash(&[&own, text.as_bytes()].concat()));
    }
}
