use super::*;
use crate::fixture::Hierarchy;
use lint::example::{crl_spec, delta_spec, released, revoked};

mod comparison;
mod corridor;
mod delta;
mod delta_comparison;
mod hostile;
mod others;
mod seeds;

/// The whole corridor.
fn made(hierarchy: &Hierarchy, spec: CrlSpec) -> Crl {
    let draft = CrlDraft::new(spec, &hierarchy.issuer).unwrap();
    draft.lint().unwrap().sign(&hierarchy.key).unwrap()
}

fn complete(hierarchy: &Hierarchy, number: u64, revoked: Vec<Revoked>) -> Crl {
    made(hierarchy, crl_spec(number, CrlScope::Complete, revoked))
}
