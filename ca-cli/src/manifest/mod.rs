//! What making and reading manifests needs beside their format.
#![cfg(feature = "online")]

pub(crate) mod bad;
pub(crate) mod distinct;
pub(crate) mod leaves;
mod nameless;
pub(crate) mod progress;
pub(crate) mod sorted;
