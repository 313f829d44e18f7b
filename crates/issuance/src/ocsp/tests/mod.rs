use super::*;
use lint::example::{House, good, ocsp_spec, revoked};

mod corridor;
mod hostile;
mod others;
mod requests;
mod responders;
mod seeds;

/// The whole corridor.
fn made(house: &House, spec: OcspSpec) -> OcspResponse {
    let draft = OcspDraft::new(spec, &house.responder).unwrap();
    draft.lint().unwrap().sign(&house.key).unwrap()
}
