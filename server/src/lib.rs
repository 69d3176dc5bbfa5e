//! The Sealdesk relay: durable mailboxes, routing and limits over ciphertext. It never sees content.
//!
//! ```text
//! config      one file, checked once
//! lifecycle   open, run, stop
//! listen      accept loop, TLS, HTTP  ->  routes  ->  socket: upgrade, greeting, connection
//! auth        challenge and certificates
//! relay       the rules: envelopes, prekeys, assign, statements, attachments
//! routing     which agent gets which conversation
//! registry    who is connected
//! limits      rates and numbers
//! policy      org.json;  stamp: whether a file changed
//! store       durable memory (sled);  blobs: attachments' files;  folder: who may read them
//! control     what the operator asks;  upkeep: what the clock asks
//! audit, metrics
//! ```

pub mod audit;
pub mod auth;
pub mod backup;
pub mod blobs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod folder;
pub mod lifecycle;
pub mod limits;
pub mod listen;
pub mod metrics;
pub mod policy;
pub mod registry;
pub mod relay;
pub mod routes;
pub mod routing;
pub mod socket;
pub mod stamp;
pub mod store;
pub mod tls;
pub mod upkeep;

// The organisation of the tests over sockets names this crate.
#[cfg(test)]
extern crate self as sealdesk_relay;
#[cfg(test)]
mod testing;

pub use config::{Config, RawConfig};
pub use lifecycle::{Listeners, RunError, run};
