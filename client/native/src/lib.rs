//! Native driver of the Sealdesk engine: vault file, network, files and clocks around the sans-io engine.
//!
//! ```text
//! passphrase     Argon2id: passphrase -> key, with its parameters
//! private_file   small files: written beside, synced, renamed; owner only
//! vault          redb: one atomic, durable, fenced batch for each step
//! transport      WebSocket over rustls or, to loopback, plain
//! transfers      files that are sent and saved, and the spool of ciphertext between
//! driver         one task owns engine and vault: inputs, step, commit, outputs
//! client         start, command, transcript pages, shutdown
//! ```

#![warn(missing_docs)]

pub mod passphrase;
pub mod private_file;
pub mod random;
pub mod vault;
