//! Tests of handshake, ratchet, envelope, prekeys and stored state through the public interface.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod flips;
mod golden;
mod interleaving;
mod limits;
mod session;
mod world;
