//! Pool against raw C_Sign.
fn main() {}
