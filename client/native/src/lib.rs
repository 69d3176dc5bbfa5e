//! Native driver of the Sealdesk engine: vault file, network, files and clocks around the sans-io engine.
//!
//! ```text
//! passphrase     Argon2id: passphrase -> key, with its parameters
//! private_file   small files: written beside, synced, renamed; owner only
//! random, clock  what the machine gives
//! vault          redb: one atomic, durable, fenced batch for each step
//! desk           engine and vault: step, commit, outputs
//! transport      WebSocket over rustls or, to loopback, plain
//! transfers      files that are sent and saved, and the spool of ciphertext between
//! driver         one task owns the desk: inputs, step, commit, then perform
//! client         start, commands, transcript pages, shutdown
//! ```

#![warn(missing_docs)]

mod client;
pub mod clock;
mod desk;
mod driver;
pub mod passphrase;
pub mod private_file;
pub mod random;
mod transfers;
pub mod transport;
pub mod vault;

pub use client::{Answer, Client, Done, EventStream, Handle, Options, StartError};
pub use desk::{Desk, DeskError};
