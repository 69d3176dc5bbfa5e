//! Sealdesk's client engine, sans-io: bytes, time and randomness in; frames, writes and events out (docs/protocol.md §9).
//!
//! ```text
//! engine      inputs -> state change and batch -> outputs; one file for each concept
//! vault       sealed records: keys, blinded names, versions (§11)
//! transcript  what people read, page by page
//! testing     two engines, a fake clock and a bad link (feature `testing`)
//! ```

pub mod engine;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transcript;
pub mod vault;

pub use engine::*;
pub use vault::{Corrupt, VaultKey, is_hot};
