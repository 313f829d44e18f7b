//! The device kit: real parts and forged ones, for the tests of the whole house.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the kit is test code: what cannot be built must stop the test that asked for it"
)]

pub mod clients;
pub mod der;
pub mod dice;
pub mod endorsement;
pub mod fleet;
pub mod holder;
pub mod issuing;
pub mod keys;
pub mod others;
pub mod postgres;
pub mod proxy;
pub mod rig;
pub mod small_disk;
pub mod soft_tpm;
pub mod swtpm;
pub mod trial;
pub mod vendor;
pub mod verifiers;
