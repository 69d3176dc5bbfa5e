//! The real program as people, programs and administrators use it; no relay is there.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod administration;
mod chat;
mod codes;
mod desk;
mod docs;
mod enrolment;
mod keys;
