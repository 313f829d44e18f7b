//! OCSP: a question is looked up in the record, always; its answer is signed, or was signed before and still says what
//! the record says. Why this is never `good` after a revocation was answered: docs/adr/0011-ocsp.md.

mod answer;
mod delegate;

pub use answer::{Asked, asked, reply, said, usable};
pub use delegate::{DelegateFault, Standing, renew};
