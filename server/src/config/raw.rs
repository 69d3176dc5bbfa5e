//! The file as written: every key, its default, unknown keys refused.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// Path of org.json.
    pub org: PathBuf,
    /// Root hash in hex.
    pub root: Option<String>,
    /// The relay's name.
    pub name: String,
    /// Data folder.
    pub data: PathBuf,
    /// Address for clients.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// Address for health and metrics.
    pub admin_listen: Option<SocketAddr>,
    /// Plaintext beyond loopback.
    #[serde(default)]
    pub plaintext: bool,
    /// Allowed web origins.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    /// Believed proxies.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// Certificate and key.
    pub tls: Option<RawTls>,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
    /// Routing.
    #[serde(default)]
    pub routing: Routing,
    /// Store.
    #[serde(default)]
    pub store: StoreLimits,
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8443))
}

/// PEM files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

/// Defines a section whose keys all have defaults.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$key_doc:meta])* $key:ident: $kind:ty = $default:expr,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$key_doc])* pub $key: $kind,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $name {
            /// Each key with its value, to check that none is zero.
            pub(super) fn values(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($key), u64::from(self.$key)),)+]
            }
        }
    };
}

section! {
    /// `[limits]`; units are in the names.
    Limits {
        /// Connections in all.
        connections: u32 = 20_000,
        /// Connections of one address prefix.
        connections_per_prefix: u32 = 200,
        /// New connections of one address prefix.
        connects_per_minute: u32 = 120,
        /// Unfinished handshakes in all.
        handshakes: u32 = 2_048,
        /// Unfinished handshakes of one address prefix.
        handshakes_per_prefix: u32 = 64,
        /// From TCP accept to authentication.
        handshake_seconds: u32 = 10,
        /// Silence after which a connection ends.
        idle_seconds: u32 = 120,
        /// Longest wait for a client to read.
        write_seconds: u32 = 20,
        /// Frames of one connection.
        frames_per_second: u32 = 200,
        /// Frames of one device.
        device_frames_per_second: u32 = 200,
        /// New conversations of one address prefix.
        conversations_per_hour: u32 = 60,
        /// Undelivered items of a mailbox.
        mailbox_items: u32 = 20_000,
        /// Undelivered MiB of a mailbox.
        mailbox_mib: u32 = 256,
        /// Undelivered items of one sender in a mailbox.
        mailbox_share_items: u32 = 1_000,
        /// Undelivered MiB of one sender in a mailbox.
        mailbox_share_mib: u32 = 16,
        /// Life of undelivered items, attachments, closed conversations.
        ttl_days: u32 = 30,
        /// Largest attachment.
        attachment_mib: u32 = 100,
        /// All attachments of one conversation.
        conversation_attachments_mib: u32 = 1_000,
        /// All attachments of one conversation that nobody accepted yet.
        unaccepted_attachments_mib: u32 = 10,
        /// All attachments that are kept.
        attachments_mib: u32 = 20_000,
        /// Attachments of one device.
        attachments_per_hour: u32 = 120,
        /// MiB of attachments of one device.
        attachments_mib_per_hour: u32 = 500,
        /// MiB of attachments of the customers of one address prefix.
        attachments_mib_per_prefix_hour: u32 = 1_000,
        /// Uploads of prekeys by one device.
        prekey_uploads_per_hour: u32 = 60,
        /// Agents named for one conversation.
        assignments_per_conversation_hour: u32 = 6,
        /// Bundles of a device's prekeys to one conversation.
        prekeys_per_conversation_hour: u32 = 12,
        /// Bundles of a device's prekeys for assignments, and for resets.
        prekeys_per_device_hour: u32 = 100,
    }
}

section! {
    /// `[routing]`.
    Routing {
        /// Time to accept while online.
        accept_seconds: u32 = 60,
        /// Time to sign for the agent who is named.
        sign_seconds: u32 = 120,
        /// Silence after which an open conversation is no load.
        idle_hours: u32 = 24,
        /// Capacity of an agent who set none.
        default_capacity: u16 = 8,
    }
}

section! {
    /// `[store]`.
    StoreLimits {
        /// Page cache.
        cache_mib: u32 = 64,
        /// Length at which the journal is brought into the store; about twice as much is held in memory.
        journal_mib: u32 = 32,
        /// Free space below which nothing new is accepted.
        min_free_mib: u32 = 256,
        /// Life of audit entries.
        audit_days: u32 = 365,
    }
}
