//! The head of the ledger, and who signed it.

use ledger::{CA_KEY, Cosignature, Head, NoteSignature, SignedCheckpoint, VerifierKey, ca_key_line};
use maud::{Markup, html};

use crate::frame::hash;
use crate::time::utc;

/// The signed tree, and whose word is known to whoever makes the page.
#[derive(Clone, Debug)]
pub struct LedgerHead {
    /// The ledger's key.
    pub key: VerifierKey,
    /// What it signed.
    pub signed: SignedCheckpoint,
    /// Witnesses whose keys are known.
    pub witnesses: Vec<VerifierKey>,
    /// SubjectPublicKeyInfo of the CA whose key signs beside the ledger's, DER; empty: not known.
    pub ca_spki: Vec<u8>,
}

/// What is said of a line under a checkpoint.
enum Signer {
    Ledger,
    Ca,
    Witness(u64),
    /// Of a known witness, but wrong.
    Wrong,
    Unknown,
}

impl LedgerHead {
    pub(crate) fn head(&self) -> &Head {
        self.signed.head()
    }

    fn signer(&self, line: &NoteSignature) -> Signer {
        if self.key.made(line) {
            return Signer::Ledger;
        }
        if let Some(witness) = self.witnesses.iter().find(|key| key.made(line)) {
            let seen = Cosignature::of(self.signed.note(), witness);
            return seen.map_or(Signer::Wrong, |seen| Signer::Witness(seen.time));
        }
        let of_ca = ca_key_line(self.key.name(), &self.ca_spki, Vec::new());
        if !self.ca_spki.is_empty() && of_ca.id == line.id && of_ca.name == line.name {
            Signer::Ca
        } else {
            Signer::Unknown
        }
    }

    /// When the last witness saw it, unix seconds.
    fn seen(&self) -> Option<u64> {
        let all = self.witnesses.iter();
        all.filter_map(|key| Cosignature::of(self.signed.note(), key).ok())
            .map(|seen| seen.time)
            .max()
    }

    /// Name, entries, root and, where it is known, time.
    pub(crate) fn facts(&self, newest: Option<i64>) -> Markup {
        html! {
            dl {
                dt { "Name" } dd { (self.signed.checkpoint().origin.as_str()) }
                dt { "Entries" } dd { (self.head().size) }
                dt { "Root" } dd { (hash(&self.head().root)) }
                @if let Some(at) = newest { dt { "Newest entry" } dd { (utc(at)) } }
                @if let Some(at) = self.seen() {
                    dt { "Seen by witnesses" } dd { (utc(i64::try_from(at).unwrap_or(i64::MAX))) }
                }
                dt { "Verifier key" } dd .hash #ledger-key { (self.key) }
            }
        }
    }

    /// A row for each signature.
    pub(crate) fn signatures(&self) -> Markup {
        html! {
            table {
                thead { tr { th scope="col" { "Signed by" } th scope="col" { "Key" } th scope="col" { "What it says" } } }
                tbody {
                    @for line in self.signed.note().signatures() {
                        tr {
                            th scope="row" { (line.name.as_str()) }
                            td .hash data-of="Key" { (hex::encode(line.id)) }
                            td data-of="Says" {
                                @match self.signer(line) {
                                    Signer::Ledger => { "The ledger: this is my tree, and it holds every earlier one. Checked." }
                                    Signer::Ca => { "The issuing CA’s key in its HSM (" code { (CA_KEY) } "): the same." }
                                    Signer::Witness(at) => {
                                        "A witness saw it " (utc(i64::try_from(at).unwrap_or(i64::MAX)))
                                        ": it continued all that it saw before. Checked."
                                    }
                                    Signer::Wrong => { "Claims to be of a known witness, and is not." }
                                    Signer::Unknown => { "Of a key that this page does not know." }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
