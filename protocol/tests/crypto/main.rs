//! Tests of handshake, ratchet, envelope, prekeys and attachments through the public interface.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod session;
mod world;
