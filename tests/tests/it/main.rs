//! Real relays, real clients: one binary, a module for each subject.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod auth;
mod backup;
mod clients;
mod closing;
mod consent;
mod corpus;
mod crash;
mod delivery;
mod faults;
mod limits;
mod malicious;
mod renewals;
mod routing;
mod secrecy;
mod several;
mod terminal;
mod tls;
mod transcripts;
