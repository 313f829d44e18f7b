//! The device kit: real parts and forged ones, for the tests of the whole house.

pub mod swtpm;
