//! The Sealdesk relay.

pub mod blobs;
pub mod config;
pub mod store;
