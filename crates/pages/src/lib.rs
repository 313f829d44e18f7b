//! What strangers read in a browser: who this CA is, how its certificates are verified, and the proof that an entry is in
//! its ledger, drawn ([ADR 0026](../../../docs/adr/0026-pages.md)).
//!
//! Complete documents without a script, an image or a font from elsewhere; everything variable is escaped by `maud`. Only
//! what is public already: CA certificates, CRLs, the ledger. Pure: data in, text out.

mod authority;
mod facts;
mod frame;
mod howto;
mod leaf;
mod merkle;
mod time;
mod trust;
mod witness;

pub use authority::{Authority, AuthorityError};
pub use facts::{Crl, Lists, Trust};
pub use frame::policy;
pub use leaf::{Leaf, Standing};
pub use witness::LedgerHead;

/// How a level of assurance is named on the page: its policy OID (docs/reference/rot-binding.md).
const LEVELS: [(&str, &str); 5] = [
    (
        "1.3.6.1.4.1.32473.27071.2.1",
        "a hardware TPM whose maker vouches for it",
    ),
    (
        "1.3.6.1.4.1.32473.27071.2.2",
        "a hardware TPM by an administrator’s word",
    ),
    ("1.3.6.1.4.1.32473.27071.2.3", "a virtual TPM"),
    ("1.3.6.1.4.1.32473.27071.2.4", "a software TPM: demonstrations only"),
    (
        "1.3.6.1.4.1.32473.27071.2.5",
        "a hardware TPM by the word of the device’s manufacturer",
    ),
];
