//! X.509 frames parsed in place: every check and every signature is over the bytes received, nothing is re-encoded.
//!
//! Strict DER with exact lengths; the departures of real certificates that are accepted are named in [`Leniency`].

pub(crate) mod asn1;
mod certificate;
mod crl;
mod extension;
mod key;
mod leniency;
pub(crate) mod oid;
mod signature;
mod time;

#[cfg(test)]
mod tests;

pub(crate) use certificate::{Certificate, name, name_is_empty};
pub(crate) use crl::Crl;
pub(crate) use extension::{Extensions, KeyUsage, general_names};
pub(crate) use key::PublicKey;
pub(crate) use leniency::{Leniencies, Leniency};
pub(crate) use signature::SignatureAlgorithm;
