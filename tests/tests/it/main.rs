//! Real relays, real clients: one binary, a module for each subject.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod auth;
mod clients;
mod consent;
mod corpus;
mod delivery;
mod limits;
mod routing;
