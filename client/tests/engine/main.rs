//! Engines against each other through a relay in memory: the whole path, every refusal, every crash point.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod clocks;
mod false_agents;
mod false_customers;
mod files;
mod floods;
mod handshakes;
mod lying_relay;
mod raw;
mod reassignment;
mod refusals;
mod reliability;
mod revoked;
mod schedules;
mod talk;
mod vault;
mod waiting;
