//! The relay over real sockets: one integration binary.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "tests")]

mod assignment;
mod attachments;
mod authentication;
mod backup;
mod claims;
mod client;
mod consent;
mod full_disk;
mod harness;
mod http;
mod limits;
mod mailboxes;
mod operation;
mod organisation;
mod prekeys;
mod program;
mod reassignment;
mod refusals;
mod statements;
mod talk;
