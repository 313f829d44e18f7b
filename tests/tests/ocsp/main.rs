//! The OCSP responder of real servers: asked by the clients of others, on two replicas, through the calendar.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

mod calendar;
mod clients;
mod kit;
mod replicas;
