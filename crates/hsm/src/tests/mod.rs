//! Tests on real SoftHSM tokens. A module reads its configuration once per process, so every test here runs in a
//! process of its own: see [`kit`].

mod attributes;
mod custody;
mod keys;
mod kit;
mod login;
mod memo;
mod pool;
mod provision;
