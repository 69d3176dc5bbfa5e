//! Statements and governance: who may do what, in which order (§7).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod cast;
mod flows;
mod statements;
