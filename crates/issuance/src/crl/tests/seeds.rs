//! The seeds of the fuzz target: they stay CRLs of their issuer, or the target tests nothing.

use super::*;
use crate::{Issuer, IssuerUrls, SignatureAlgorithm};

fn seed(name: &str) -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/");
    std::fs::read(format!("{path}{name}")).unwrap()
}

#[test]
fn the_seeds_are_believed() {
    let algorithm = SignatureAlgorithm::EcdsaP256Sha256;
    let issuer = Issuer::from_chain(&[seed("crl-issuer.der")], algorithm, IssuerUrls::default()).unwrap();
    let read = |name| RawCrl::decode(seed(name)).unwrap().verify(&issuer).unwrap();
    let (complete, shard, delta) = (read("crl/complete"), read("crl/shard"), read("crl/delta"));
    assert_eq!(
        (complete.entries().len(), shard.entries().len(), delta.entries().len()),
        (9, 9, 2)
    );
    assert_eq!(*complete.scope(), CrlScope::Complete);
    assert_eq!(*shard.scope(), CrlScope::Point(lint::example::POINT.into()));
    assert_eq!(delta.base(), CrlNumber::new(1));
}
