//! Counters for `/metrics`: sums only, no ids, no addresses.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// Defines the counters, and how they are shown.
macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $help:literal;)+) => {
        /// All counters of one relay.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[$doc])* pub $name: Metric,)+ }

        impl Metrics {
            /// Prometheus text format.
            pub fn render(&self) -> String {
                let mut out = String::new();
                $(
                    let name = concat!("sealdesk_", stringify!($name));
                    // Writing to a String does not fail.
                    let _ = write!(out, "# HELP {name} {}\n# TYPE {name} {}\n{name} {}\n", $help, $kind, self.$name.get());
                )+
                out
            }
        }
    };
}

/// One number.
#[derive(Debug, Default)]
pub struct Metric(AtomicU64);

impl Metric {
    /// Plus one.
    pub fn up(&self) {
        self.add(1);
    }

    /// Plus `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Minus one.
    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

metrics! {
    /// Open sockets.
    connections, "gauge", "Open connections";
    /// Authenticated devices.
    devices, "gauge", "Authenticated devices";
    /// Accepted sockets.
    accepted, "counter", "Connections accepted";
    /// Refused before authentication.
    refused, "counter", "Connections refused by a limit, an origin or a failed handshake";
    /// Failed authentications.
    auth_failures, "counter", "Authentications refused";
    /// Replaced connections.
    replaced, "counter", "Connections replaced by a newer one of the same device";
    /// Frames from clients.
    frames_in, "counter", "Frames received";
    /// Appended envelopes.
    envelopes_stored, "counter", "Envelopes stored durably";
    /// Deliver frames.
    items_delivered, "counter", "Items sent to connected devices, repetitions included";
    /// Ack frames.
    acks, "counter", "Acknowledgements";
    /// Ephemeral frames.
    ephemeral, "counter", "Ephemeral envelopes forwarded";
    /// Expired items.
    items_expired, "counter", "Items dropped unacknowledged after their time to live";
    /// Full mailboxes.
    quota_refusals, "counter", "Envelopes refused because a mailbox was full";
    /// Rate limits.
    rate_limited, "counter", "Requests refused by a rate limit";
    /// Slow consumers.
    slow_consumers, "counter", "Connections closed because the client did not read";
    /// Issued one-time pairs.
    prekeys_issued, "counter", "One-time prekey pairs handed out";
    /// Bundles without one-time pair.
    last_resort_issued, "counter", "Bundles handed out without a one-time pair";
    /// Statements.
    statements, "counter", "Statements stored";
    /// Opened conversations.
    conversations_opened, "counter", "Conversations opened";
    /// Waiting conversations.
    conversations_waiting, "gauge", "Conversations not accepted yet";
    /// Reassignments.
    reassignments, "counter", "Conversations given to another agent before acceptance";
    /// Closed conversations.
    conversations_closed, "counter", "Conversations closed";
    /// Announced attachments.
    attachment_bytes, "gauge", "Bytes of all attachments that were announced and not deleted yet";
    /// Attachment bytes.
    blob_bytes, "counter", "Attachment bytes stored";
    /// A newer org.json.
    organisation_taken, "counter", "Changed org.json files that came into force";
    /// An org.json that does not do.
    organisation_refused, "counter", "Changed org.json files that were refused, the one before stays in force";
    /// How long the issuer's certificate still holds.
    issuer_ends_seconds, "gauge", "Seconds until the certificate of org.json's issuer ends";
    /// How long the TLS certificate still holds; zero without TLS.
    tls_ends_seconds, "gauge", "Seconds until the TLS certificate in force ends; zero also when the relay has none";
    /// Newer TLS files.
    tls_taken, "counter", "Changed TLS files that came into force";
    /// TLS files that do not do.
    tls_refused, "counter", "Changed TLS files that were refused, the ones before stay in force";
    /// Refused for lack of space or after a failed write.
    unavailable, "counter", "Requests refused because nothing could be stored";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_format() {
        let metrics = Metrics::default();
        metrics.connections.up();
        metrics.frames_in.add(7);
        let text = metrics.render();
        assert!(text.contains("# TYPE sealdesk_connections gauge\nsealdesk_connections 1\n"), "{text}");
        assert!(text.contains("\nsealdesk_frames_in 7\n"));
    }
}
