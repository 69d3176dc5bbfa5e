//! Engines against each other in memory: a fake clock, a link that fails, programs that crash (feature `testing`).
//!
//! [`Relay`] moves frames and obeys the rules that clients rely on; it can be told to misbehave. [`Client`] is a driver with
//! a vault in memory that keeps committed rows only, so that every crash point can be tried. [`World`] runs them on one
//! clock. Nothing here replaces a test against the real relay.

mod blobs;
mod client;
mod mailboxes;
mod relay;
mod rules;
mod world;

pub use client::{Client, Crash};
pub use relay::{Mischief, Relay};
pub use world::World;
