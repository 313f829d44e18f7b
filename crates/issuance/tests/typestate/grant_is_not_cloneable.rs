//! A grant is permission for exactly one certificate.
use issuance::{Draft, Issuer, Serial};
use policies::Grant;

fn twice(grant: Grant, issuer: &Issuer, serial: Serial) {
    let _ = Draft::new(grant.clone(), issuer, serial);
    let _ = Draft::new(grant, issuer, serial);
}

fn main() {}
