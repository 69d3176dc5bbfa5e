//! The relay's rules: what a device may ask for, and what is stored, forwarded or refused.
//!
//! - [`envelopes`]: send, acknowledge, forward
//! - [`prekeys`]: upload, hand out
//! - [`assign`]: a customer asks for an agent; an agent claims
//! - [`naming`]: which agent that is
//! - [`statements`]: the compare-and-swap of a conversation
//! - [`attachments`]: files in chunks; [`uploads`]: what they take in all
//! - [`record`]: what is kept of a conversation
//! - [`presence`]: agents come and go

pub mod assign;
pub mod attachments;
pub mod envelopes;
pub mod naming;
pub mod prekeys;
pub mod presence;
pub mod record;
pub mod statements;
pub mod uploads;

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::wire::{Code, Done, Pong, ToClient, ToRelay};
use tokio::sync::{Notify, watch};
use tokio::time::Duration;

use self::naming::Turns;
use self::record::{Conversations, Loaded, Record};
use self::uploads::Uploads;
use crate::blobs::Blobs;
use crate::clock::{DAY_MS, now_ms};
use crate::config::Config;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::registry::Registry;
use crate::routing::Routing;
use crate::socket::connection::Session;
use crate::socket::{error, greeting};
use crate::store::{Limit, Store, StoreError};
use crate::tls::Tls;

/// One running relay; everything that its connections share.
pub struct Relay {
    /// Checked configuration.
    pub config: Config,
    /// Durable memory.
    pub store: Arc<dyn Store>,
    /// Attachments' files.
    pub blobs: Blobs,
    /// What they take of the disk.
    pub uploads: Uploads,
    /// The organisation's rules.
    pub policy: Policy,
    /// Certificate and key; none: plaintext.
    pub tls: Option<Tls>,
    /// Rates and numbers.
    pub limits: Arc<Limits>,
    /// Who is connected.
    pub registry: Arc<Registry>,
    /// Which conversation goes to whom.
    pub routing: Routing,
    /// Conversations in use.
    pub conversations: Conversations,
    /// Counters.
    pub metrics: Metrics,
    /// True once the relay stops.
    pub shutdown: watch::Receiver<bool>,
    /// The router has something to look at.
    pub router: Notify,
    /// One at a time looks for an agent for a conversation.
    pub turns: Turns,
    /// Too little free disk space: nothing new is stored.
    pub low_space: AtomicBool,
    /// Less than twice of that: no attachments, so that they do not stop messages.
    pub tight_space: AtomicBool,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("name", &self.config.name).finish_non_exhaustive()
    }
}

impl Relay {
    /// Whether something can be stored now.
    ///
    /// # Errors
    /// Why not, for the operator.
    pub fn readiness(&self) -> Result<(), String> {
        self.store.health().map_err(|error| format!("{error}; restart the relay"))?;
        if self.low_space.load(Ordering::Relaxed) {
            let least = self.config.store.min_free_mib;
            return Err(format!("less than {least} MiB are free on the data folder's disk: free some"));
        }
        Ok(())
    }

    /// Resolves when the relay stops.
    pub async fn stopped(&self) {
        let mut shutdown = self.shutdown.clone();
        // An error means that the sender is gone: stopped as well.
        let _ = shutdown.wait_for(|stopping| *stopping).await;
    }

    /// Refuses what would need new space.
    pub(crate) fn check_space(&self) -> Result<(), Code> {
        if self.low_space.load(Ordering::Relaxed) {
            self.metrics.unavailable.up();
            return Err(Code::Unavailable);
        }
        Ok(())
    }

    /// Refuses what would need new space for an attachment.
    pub(crate) fn check_attachment_space(&self) -> Result<(), Code> {
        if self.tight_space.load(Ordering::Relaxed) {
            self.metrics.unavailable.up();
            return Err(Code::Unavailable);
        }
        self.check_space()
    }

    /// How long a client may take to read.
    pub fn write_limit(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.limits.write_seconds))
    }

    /// Until when something stored now is kept.
    pub fn expiry(&self, now: u64) -> u64 {
        now + u64::from(self.config.limits.ttl_days) * DAY_MS
    }

    /// Until when a device seen now is remembered.
    pub fn forget_device_at(&self, now: u64) -> u64 {
        greeting::forget_at(now, self.config.limits.ttl_days)
    }

    /// A conversation's record.
    pub(crate) async fn conversation(&self, id: ConversationId) -> Result<Option<Arc<Loaded>>, StoreError> {
        self.conversations.load(self.store.as_ref(), id).await
    }

    /// Takes a record as it was stored, for everybody who decides by it.
    pub(crate) fn keep(&self, id: ConversationId, version: u64, record: Record) {
        self.conversations.keep_and(id, version, record, |record| self.routing.note(id, record, now_ms()));
    }

    /// The answer to a failed store operation; counted and logged.
    pub(crate) fn store_code(&self, error: &StoreError) -> Code {
        match error {
            StoreError::MailboxFull { limit } => {
                self.metrics.quota_refusals.up();
                match limit {
                    Limit::Items | Limit::ShareItems => Code::MailboxFull,
                    Limit::Bytes | Limit::ShareBytes => Code::MailboxBytes,
                }
            }
            StoreError::Conflict { .. } => Code::Conflict,
            StoreError::Busy | StoreError::Failed(_) | StoreError::Open(_) | StoreError::InUse { .. } => {
                self.metrics.unavailable.up();
                Code::Unavailable
            }
            StoreError::Corrupt(_) => {
                tracing::error!(%error, "a request failed");
                Code::Internal
            }
        }
    }
}

impl Session {
    /// Carries out every request but `Send` and `Ack`. Answers what goes back.
    pub async fn request(&self, frame: Box<ToRelay>) -> Vec<ToClient> {
        let (req, result) = match *frame {
            ToRelay::Ping(ping) => return vec![Pong { nonce: ping.nonce }.into()],
            ToRelay::SendEphemeral(frame) => {
                self.forward(&frame).await;
                return Vec::new();
            }
            ToRelay::PublishPrekeys(frame) => (frame.req, self.publish_prekeys(frame).await),
            ToRelay::FetchPrekeys(frame) => (frame.req, self.fetch_prekeys(&frame).await),
            ToRelay::FetchCertificate(frame) => (frame.req, self.fetch_certificate(&frame).await),
            ToRelay::RequestAssignment(frame) => (frame.req, self.request_assignment(frame).await),
            ToRelay::PostStatement(frame) => (frame.req, self.post_statement(frame).await),
            ToRelay::SetAvailability(frame) => (frame.req, self.set_availability(&frame).await),
            ToRelay::Claim(frame) => (frame.req, self.claim(&frame).await),
            ToRelay::BlobCreate(frame) => (frame.req, self.blob_create(&frame).await),
            ToRelay::BlobWrite(frame) => (frame.req, self.blob_write(frame).await),
            ToRelay::BlobRead(frame) => (frame.req, self.blob_read(&frame).await),
            // A second Authenticate, or a frame of a later version that this one does not carry out.
            _ => return vec![error(None, Code::Malformed)],
        };
        vec![result.unwrap_or_else(|code| error(Some(req), code))]
    }
}

pub(crate) fn done(req: u32) -> ToClient {
    Done { req }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Running;

    #[tokio::test]
    async fn each_quota_has_its_code() {
        let running = Running::start().await;
        let code = |limit| running.relay.store_code(&StoreError::MailboxFull { limit });
        for limit in [Limit::Items, Limit::ShareItems] {
            assert_eq!(code(limit), Code::MailboxFull);
        }
        for limit in [Limit::Bytes, Limit::ShareBytes] {
            assert_eq!(code(limit), Code::MailboxBytes);
        }
    }
}
