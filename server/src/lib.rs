//! The Sealdesk relay.

pub mod store;
