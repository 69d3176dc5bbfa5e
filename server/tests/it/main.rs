//! The relay over real sockets: one integration binary.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, reason = "tests")]

mod assignment;
mod attachments;
mod authentication;
mod client;
mod full_disk;
mod harness;
mod http;
mod limits;
mod mailboxes;
mod operation;
mod organisation;
mod prekeys;
mod refusals;
mod statements;
