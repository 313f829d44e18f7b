//! What reading manifests needs beside their format.
#![cfg(feature = "online")]

pub(crate) mod distinct;
