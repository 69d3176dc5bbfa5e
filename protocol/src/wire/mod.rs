//! The relay's frames: what travels in one WebSocket binary message (docs/protocol.md §12).
//!
//! ```text
//! frame = number (1 byte) | postcard body
//! ```
//!
//! Numbers are fixed in the two tables, [`ToRelay`] and [`ToClient`], and never reused; fields and variants are only
//! appended. A frame above [`MAX_FRAME`] bytes is refused before it is decoded; bytes left over after the body are an error.
//! Golden vectors pin every frame (`protocol/tests/vectors`).

pub mod envelope;
mod errors;
mod frame;
mod to_client;
mod to_relay;
mod types;

pub use errors::{Code, Fault};
pub use frame::{FrameError, MAX_FRAME, PROTOCOL_VERSION};
pub use to_client::*;
pub use to_relay::*;
pub use types::*;
