//! The client engine for the browser's worker: inputs as typed calls, each step as one JavaScript object.
//!
//! ```text
//! organisation  org.json's fields -> a verified organisation, or why not
//! core          the engine: queue inputs, step, read transcript pages
//! view          events, messages and conversations as the objects of web/src/worker/protocol.ts
//! object        building JavaScript objects
//! ```
//!
//! Secrets do not cross: the vault key comes in once and is wiped on both sides, attachments' keys and capabilities
//! stay here.

mod core;
mod object;
mod organisation;
mod view;

pub use self::core::{Core, Rows};
pub use organisation::Organisation;
