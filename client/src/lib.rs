//! Sealdesk's client engine, sans-io: bytes, time and randomness in; frames, writes and events out (docs/protocol.md §9).

pub mod engine;

pub use engine::*;
