//! A certificate in words, one line per fact.

use super::{CertificateView, oids};
use crate::fingerprint;
use crate::output::fields;
use crate::words::date;

impl CertificateView {
    /// For people.
    pub(crate) fn words(&self, now: i64) -> String {
        let subject = if self.subject.is_empty() {
            "(empty: the names below are the identity)".to_owned()
        } else {
            self.subject.clone()
        };
        let mut lines = vec![
            ("subject", subject),
            ("issuer", self.issuer.clone()),
            ("serial", self.serial.clone()),
            ("valid from", date(self.not_before, now)),
            ("expires", date(self.not_after, now)),
            ("key", self.key.clone()),
            ("key sha256", self.spki_sha256.clone()),
            ("signed with", self.signature_algorithm.clone()),
        ];
        if self.ca {
            let length = self.path_length.map_or_else(|| "any".to_owned(), |n| n.to_string());
            lines.push(("may issue", format!("yes, path length {length}")));
        }
        let listed = |label, items: &[String]| (!items.is_empty()).then(|| (label, items.join(", ")));
        lines.extend(listed("key usage", &self.key_usage));
        lines.extend(listed("for", &self.extended_key_usage));
        lines.extend(self.subject_alternative_names.iter().map(|n| ("name", n.clone())));
        let policy = |dotted: &String| dotted.parse().map_or_else(|_| dotted.clone(), |oid| oids::word(&oid));
        lines.extend(self.policies.iter().map(|p| ("proven", policy(p))));
        lines.extend(self.binding());
        if self.rehearsal {
            lines.push(("REHEARSAL", "made in a rehearsal; worth nothing outside it".into()));
        }
        lines.extend(
            self.unknown_critical
                .iter()
                .map(|o| ("UNKNOWN", format!("critical extension {o}"))),
        );
        lines.extend(self.unreadable.iter().map(|e| ("UNREADABLE", format!("extension {e}"))));
        let sha256 = hex::decode(&self.sha256).unwrap_or_default();
        let groups = fingerprint::groups(&sha256);
        let labels = ["sha256"].into_iter().chain(std::iter::repeat(""));
        lines.extend(labels.zip(groups.lines().map(str::to_owned)));
        fields(&lines)
    }

    fn binding(&self) -> Vec<(&'static str, String)> {
        let Some(rot) = &self.rot_binding else {
            return Vec::new();
        };
        let by_iak = rot.iak_certificate_sha256.is_some();
        let mut lines = vec![
            ("bound to", format!("a root of trust of kind {}", rot.kind)),
            ("  basis", rot.basis.to_owned()),
        ];
        lines.extend(rot.iak_certificate_sha256.iter().map(|iak| ("  IAK cert", iak.clone())));
        let ek = if by_iak { "  EK, told" } else { "  EK sha256" };
        lines.extend(rot.ek_spki_sha256.iter().map(|digest| (ek, digest.clone())));
        lines.extend([
            (if by_iak { "  IAK Name" } else { "  AK Name" }, rot.ak_name.clone()),
            ("  key Name", rot.ik_name.clone()),
            ("  evidence", rot.evidence_sha256.clone()),
        ]);
        lines.extend(rot.parent_rot.iter().map(|parent| ("  host EK", parent.clone())));
        lines
    }
}
