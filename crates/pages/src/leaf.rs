//! One entry of the ledger, with its proof: what it says, the way to the root, who signed that, and how to check it.

use core::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ledger::{Entry, Event, Hash, Inclusion, Issuance, ProofError, Step, leaf_hash};
use maud::{Markup, html};

use crate::frame::{Frame, code, hash};
use crate::howto::shell;
use crate::merkle::Way;
use crate::time::utc;
use crate::witness::LedgerHead;

/// What is said of a certificate now, as OCSP says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Good; its last second, unix.
    Good {
        /// Last second of validity, unix seconds.
        until: i64,
    },
    /// Over.
    Expired {
        /// Last second of validity, unix seconds.
        since: i64,
    },
    /// Revoked, or on hold.
    Revoked {
        /// `revoked` or `on hold`.
        state: &'static str,
        /// Why, as CRLs have it.
        reason: String,
        /// Since when, unix seconds.
        since: i64,
    },
}

/// An entry that is to be shown.
#[derive(Clone, Debug)]
pub struct Leaf<'a> {
    /// Name of the CA.
    pub name: &'a str,
    /// Whether it may not be relied upon.
    pub rehearsal: bool,
    /// The entry, as it is in the tree.
    pub entry: &'a [u8],
    /// Its way to the root.
    pub inclusion: &'a Inclusion,
    /// The tree.
    pub ledger: LedgerHead,
    /// What is said of its certificate now, if it is of one.
    pub standing: Option<Standing>,
    /// Where the trust page is, if there is one.
    pub home: Option<&'a str>,
    /// Where the proof as a file is, if it is anywhere.
    pub file: Option<String>,
}

impl Leaf<'_> {
    /// The page; only of what leads to the root that was signed.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn html(&self) -> Result<String, ProofError> {
        let (index, head) = (self.inclusion.index, self.ledger.head());
        let leaf = leaf_hash(self.entry);
        self.inclusion.verify(&leaf, head)?;
        let steps = self.inclusion.steps(&leaf, head.size)?;
        let way = Way {
            index,
            leaf,
            steps: &steps,
        };
        let read = Entry::parse(self.entry).ok();
        let title = format!("Entry {index} of the ledger");
        let frame = Frame {
            title: &title,
            over: self.name,
            lead: html! {
                p {
                    "It is one of the first " (head.size) " entries: this page shows the proof. "
                    "You need not believe the page; what follows is all that a check needs."
                }
            },
            rehearsal: self.rehearsal,
            parts: &[
                ("entry", "What it says"),
                ("path", "The path"),
                ("head", "The signatures"),
                ("check", "Check it"),
            ],
            foot: html! {
                @if let Some(home) = self.home { a href=(home) { "Whom you trust, and how to check" } ". " }
                "A proof against a later tree is as good: every later tree holds this entry, as it is."
            },
        };
        Ok(frame.around(&html! {
            section #entry aria-labelledby="entry-title" {
                h2 #entry-title { "What it says" }
                div .card {
                    @if let Some(entry) = &read { (of_event(entry)) } @else { p { "This page cannot read it." } }
                    @if let Some(standing) = &self.standing { (of_standing(standing)) }
                    (code("leaf", "The entry as it is in the tree", &String::from_utf8_lossy(self.entry)))
                }
            }
            section #path aria-labelledby="path-title" {
                h2 #path-title { "The path to the root" }
                p {
                    "Two neighbours make one hash, again and again; whoever changed the entry would reach another root. "
                    "With " (steps.len()) " hashes it is shown that this is one of " (head.size) " entries."
                }
                div .path {
                    figure .card {
                        (way.drawn())
                        figcaption { "In colour what is computed, plain what the proof brings." }
                    }
                    div { (way.told()) }
                }
            }
            section #head aria-labelledby="head-title" {
                h2 #head-title { "Who signed the root" }
                div .card { (self.ledger.facts(None)) (self.ledger.signatures()) }
            }
            (self.check(&leaf, &steps))
        }))
    }

    fn check(&self, leaf: &Hash, steps: &[Step]) -> Markup {
        html! {
            section #check aria-labelledby="check-title" {
                h2 #check-title { "Check it yourself" }
                div .card {
                    h3 { "The path, in Python" }
                    p { "Standard library alone. It must end with the root above." }
                    (code("do-path", "Program in Python: the path", &self.python(leaf, steps)))
                }
                @if let Some(commands) = self.signature() {
                    div .card {
                        h3 { "The ledger’s signature, in OpenSSL" }
                        p { "Take the key from where you believe it, not from here." }
                        (code("do-signature", "Commands: the signature", &commands))
                    }
                }
                @if let Some(file) = &self.file {
                    p { "The same proof as a file, for other tools (C2SP tlog-proof): " a href=(file) { "proof" } "." }
                }
            }
        }
    }

    fn python(&self, leaf: &Hash, steps: &[Step]) -> String {
        let mut text = String::from("from hashlib import sha256\n\nentry = bytes.fromhex(\n");
        for part in hex::encode(self.entry).as_bytes().chunks(76) {
            let _ = writeln!(text, "    \"{}\"", String::from_utf8_lossy(part));
        }
        text.push_str(")\nprint(entry.decode())\nnode = sha256(b\"\\x00\" + entry).digest()\n");
        let _ = writeln!(
            text,
            "assert node.hex() == \"{}\"\nfor side, other in [",
            hex::encode(leaf)
        );
        for step in steps {
            let side = if step.left { "left" } else { "right" };
            let _ = writeln!(text, "    (\"{side}\", \"{}\"),", hex::encode(step.sibling));
        }
        text.push_str(
            "]:\n    other = bytes.fromhex(other)\n    pair = other + node if side == \"left\" else node + other\n    \
             node = sha256(b\"\\x01\" + pair).digest()\nprint(node.hex())\n",
        );
        let _ = writeln!(
            text,
            "assert node.hex() == \"{}\"",
            hex::encode(self.ledger.head().root)
        );
        text
    }

    /// Checkpoint, key and signature as OpenSSL takes them.
    fn signature(&self) -> Option<String> {
        let note = self.ledger.signed.note();
        let line = note.signatures().iter().find(|line| self.ledger.key.made(line))?;
        let key = self.ledger.key.to_string();
        // Name and id have no `+`; the last part may.
        let raw = BASE64.decode(key.splitn(3, '+').nth(2)?).ok()?;
        // RFC 8410 §4: SubjectPublicKeyInfo of Ed25519; before it stands the kind of the key.
        let spki = [&hex::decode("302a300506032b6570032100").ok()?, raw.get(1..)?].concat();
        let mut text = String::from("printf '%s\\n'");
        for line in note.text().lines() {
            let _ = write!(text, " {}", shell(line));
        }
        let _ = write!(
            text,
            " > checkpoint\necho {} | openssl base64 -A -d > ledger-key.der\necho {} | openssl base64 -A -d > signature\n\
             openssl pkeyutl -verify -pubin -keyform DER -inkey ledger-key.der -rawin -in checkpoint -sigfile signature\n",
            BASE64.encode(spki),
            BASE64.encode(&line.signature)
        );
        Some(text)
    }
}

fn of_event(entry: &Entry) -> Markup {
    match &entry.event {
        Event::Issued(issuance) => of_issuance(entry.at, issuance),
        Event::Status {
            issuer,
            serial,
            state,
            reason,
        } => html! {
            span .tag { "Revocation" }
            h3 { "A certificate was " (word(state)) }
            dl {
                dt { "Recorded" } dd { (utc(entry.at)) }
                dt { "Serial" } dd .hash { (hex::encode(serial)) }
                dt { "Issuer’s key id" } dd .hash { (hex::encode(issuer)) }
                dt { "Reason" } dd { (reason) }
            }
        },
        Event::Changed { what, before, after } => of_change(entry.at, what, before.as_ref(), after),
        Event::Audit { records, digest } => html! {
            span .tag { "Audit" }
            h3 { "Acts and decisions were recorded" }
            dl {
                dt { "Recorded" } dd { (utc(entry.at)) }
                dt { "Records" } dd { (records) }
                dt { "Digest" } dd { (hash(digest)) }
            }
            p { "The digest is salted: it tells nothing of them, and holds them to what they say." }
        },
    }
}

fn of_change(at: i64, what: &str, before: Option<&Hash>, after: &Hash) -> Markup {
    let (title, text) = match what {
        "policy" => (
            "The policy changed",
            "Rules, advisories and profiles by which certificates are granted. From here on the CA decides by what has the new digest.",
        ),
        "trust" => (
            "What the CA trusts changed",
            "The roots, refusals and signers whose word about TPMs and devices it takes. From here on it believes what has the new digest.",
        ),
        "issuer" => (
            "The issuing CA changed",
            "Its own certificates, issuing CA to root. From here on certificates are issued under what has the new digest.",
        ),
        _ => (
            "Something changed that this page does not know",
            "From here on what has the new digest counts.",
        ),
    };
    html! {
        span .tag { "Change" }
        h3 { @if before.is_none() { (title) ": said for the first time" } @else { (title) } }
        dl {
            dt { "Recorded" } dd { (utc(at)) }
            dt { "Until then" } dd { @if let Some(before) = before { (hash(before)) } @else { "nothing was said" } }
            dt { "From then on" } dd { (hash(after)) }
        }
        p { (text) " The CA keeps the text, and shows it to auditors; a bundle of a certificate has the policy that granted it." }
    }
}

fn word(state: &str) -> &str {
    match state {
        "on_hold" => "put on hold",
        other => other,
    }
}

fn of_issuance(at: i64, issuance: &Issuance) -> Markup {
    html! {
        span .tag { "Certificate" }
        h3 { "A certificate was issued" }
        dl {
            dt { "Recorded" } dd { (utc(at)) }
            dt { "Serial" } dd .hash { (hex::encode(&issuance.serial)) }
            dt { "Issuer’s key id" } dd .hash { (hex::encode(&issuance.issuer)) }
            dt { "Profile" } dd { (issuance.profile) }
            dt { "SHA-256 of it" } dd { (hash(&issuance.certificate)) }
            @if let Some(evidence) = &issuance.evidence { dt { "Of its evidence" } dd { (hash(evidence)) } }
            @if let Some(transcript) = &issuance.transcript { dt { "Of what was checked" } dd { (hash(transcript)) } }
            dt { "Of the profile" } dd { (hash(&issuance.profile_sha256)) }
        }
    }
}

fn of_standing(standing: &Standing) -> Markup {
    html! {
        p {
            @match standing {
                Standing::Good { until } => {
                    span .tag.good { "Good now" } " Its last second is " (utc(*until)) "."
                }
                Standing::Expired { since } => {
                    span .tag { "Expired" } " Its last second was " (utc(*since)) "."
                }
                Standing::Revoked { state, reason, since } => {
                    span .tag.bad { "Now " (state) } " Since " (utc(*since)) ", reason " (reason) "."
                }
            }
            " CRL and OCSP say the same, signed."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(what: &str, before: Option<Hash>) -> String {
        let event = Event::Changed {
            what: what.to_owned(),
            before,
            after: [0xab; 32],
        };
        of_event(&Entry::new(1_800_000_000, event)).into_string()
    }

    #[test]
    fn a_change_says_what_changed_and_from_what_to_what() {
        for (what, title) in [
            ("policy", "<h3>The policy changed</h3>"),
            ("trust", "<h3>What the CA trusts changed</h3>"),
            ("issuer", "<h3>The issuing CA changed</h3>"),
            ("weather", "<h3>Something changed that this page does not know</h3>"),
        ] {
            let page = page(what, Some([0xcd; 32]));
            assert!(page.contains(title), "{page}");
            for digest in [[0xab; 32], [0xcd; 32]] {
                assert!(page.contains(&hash(&digest).into_string()), "{page}");
            }
            assert!(page.contains(&utc(1_800_000_000)), "{page}");
        }
        let first = page("policy", None);
        assert!(
            first.contains("said for the first time") && first.contains("nothing was said"),
            "{first}"
        );
    }
}
