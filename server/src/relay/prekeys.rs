//! Prekeys: uploads are verified, one-time pairs leave at most once ever, draining them is limited.

use sealdesk_protocol::crypto::identity::mailbox_of;
use sealdesk_protocol::crypto::prekeys::{PrekeyBundle, PrekeyKind, SignedPrekey};
use sealdesk_protocol::ids::{DeviceKeyHash, PrekeyId};
use sealdesk_protocol::wire::{
    Certificate, Code, FetchCertificate, FetchPrekeys, MAX_PREKEYS, PrekeyCount, Prekeys, PublishPrekeys,
    ToClient,
};

use super::Relay;
use crate::clock::{DAY_MS, now_ms};
use crate::limits::issue::{Issue, Purpose};
use crate::socket::connection::Session;
use crate::store::{LastResort, Prekey, StoreError};

/// One-time pairs that an agent's device may keep here.
const AGENT_PAIRS: usize = 200;
/// One-time pairs that a customer's device may upload and keep here.
const CUSTOMER_PAIRS: usize = 10;
/// At this many or fewer an agent's device is asked for more.
const TOP_UP: usize = 25;
/// Longest life of a pair that is accepted, days.
const LONGEST_DAYS: u64 = 120;
/// A customer's pairs are kept for as long as messages are, and a rotation of the last resort.
const ROTATION_DAYS: u64 = 7;

impl Relay {
    /// The last-resort pair of a device, with its id.
    pub(crate) async fn last_resort(
        &self,
        device: DeviceKeyHash,
    ) -> Result<Option<(PrekeyId, SignedPrekey)>, StoreError> {
        let stored = self.store.last_resort(device, now_ms()).await?;
        let decode = |bytes: Vec<u8>| postcard::from_bytes(&bytes);
        stored.map(decode).transpose().map_err(|_| StoreError::Corrupt("last-resort prekey"))
    }

    /// A bundle of a device for a conversation: refused as a whole beyond the draining limits.
    pub(crate) async fn issue(&self, issue: Issue) -> Result<PrekeyBundle, Code> {
        let device = issue.device;
        let code = |cause: StoreError| self.store_code(&cause);
        let Some((_, last_resort)) = self.last_resort(device).await.map_err(code)? else {
            return Err(Code::NoPrekeys);
        };
        self.limits.prekeys(&issue).map_err(|_| {
            self.metrics.rate_limited.up();
            Code::RateLimited
        })?;
        let taken = self.store.take_prekey(device, now_ms()).await.map_err(code)?;
        let one_time = taken.map(|bytes| postcard::from_bytes(&bytes));
        let one_time = one_time.transpose().map_err(|_| Code::Internal)?;
        match one_time {
            Some(_) => self.metrics.prekeys_issued.up(),
            None => self.metrics.last_resort_issued.up(),
        }
        self.ask_for_more(device).await.map_err(code)?;
        Ok(PrekeyBundle { last_resort, one_time })
    }

    /// Tells a connected device that it runs short.
    async fn ask_for_more(&self, device: DeviceKeyHash) -> Result<(), StoreError> {
        let Some(connected) = self.registry.get(&mailbox_of(&device)) else { return Ok(()) };
        let left = self.store.count_prekeys(device).await?;
        let enough = if connected.who.agent.is_some() { TOP_UP } else { 1 };
        if left <= enough {
            connected.inbox.frame(&PrekeyCount { req: None, one_time_left: count(left) }.into());
        }
        Ok(())
    }
}

fn count(left: usize) -> u16 {
    u16::try_from(left).unwrap_or(u16::MAX)
}

impl Session {
    /// Takes pairs that verify; one that does not refuses the whole upload.
    ///
    /// Of customers, only of those who asked for a conversation here, which is limited by address: strangers cannot fill
    /// the disk with keys.
    pub(super) async fn publish_prekeys(&self, frame: PublishPrekeys) -> Result<ToClient, Code> {
        let relay = &self.relay;
        let code = |cause: StoreError| relay.store_code(&cause);
        relay.check_space()?;
        let agent = self.who.agent.is_some();
        let (most, cap) = if agent { (MAX_PREKEYS, AGENT_PAIRS) } else { (CUSTOMER_PAIRS, CUSTOMER_PAIRS) };
        if frame.one_time.len() > most {
            return Err(Code::TooLarge);
        }
        if !agent && relay.store.device(self.who.hash).await.map_err(code)?.is_none() {
            return Err(Code::UnknownConversation);
        }
        // Each pair costs a signature check and a key validation.
        relay.limits.prekey_upload(&self.who.hash).map_err(|_| Code::RateLimited)?;
        let now = now_ms();
        let kept = if agent { u64::MAX } else { relay.expiry(now) + ROTATION_DAYS * DAY_MS };
        let verify = |pair: &SignedPrekey, kind: PrekeyKind| {
            let verified = pair.verify(&self.who.device, now).map_err(|_| Code::BadSignature)?;
            if verified.kind() != kind || verified.expires() > now + LONGEST_DAYS * DAY_MS {
                return Err(Code::Malformed);
            }
            Ok((verified.id(), verified.expires().min(kept)))
        };
        let last_resort = frame.last_resort.map(|pair| -> Result<_, Code> {
            let (id, expires_ms) = verify(&pair, PrekeyKind::LastResort)?;
            let bytes = postcard::to_allocvec(&(id, pair)).map_err(|_| Code::Internal)?;
            Ok(LastResort { bytes, expires_ms })
        });
        let last_resort: Option<LastResort> = last_resort.transpose()?;
        let one_time = frame.one_time.iter().map(|pair| {
            let (id, expires_ms) = verify(pair, PrekeyKind::OneTime)?;
            let bytes = postcard::to_allocvec(pair).map_err(|_| Code::Internal)?;
            Ok(Prekey { id, bytes, expires_ms })
        });
        let one_time: Vec<Prekey> = one_time.collect::<Result<_, Code>>()?;
        let left = relay.store.put_prekeys(self.who.hash, last_resort, one_time, cap).await.map_err(code)?;
        relay.router.notify_one();
        Ok(PrekeyCount { req: Some(frame.req), one_time_left: count(left) }.into())
    }

    /// The newest certificates of an agent device that this device shares a conversation with.
    pub(super) async fn fetch_certificate(&self, frame: &FetchCertificate) -> Result<ToClient, Code> {
        let loaded = self.relay.conversation(frame.conversation).await;
        let loaded =
            loaded.map_err(|cause| self.relay.store_code(&cause))?.ok_or(Code::UnknownConversation)?;
        if !loaded.lists(&self.who.hash) || !loaded.lists(&frame.device) {
            return Err(Code::NotListed);
        }
        let org = self.relay.policy.org();
        let agent = self.relay.routing.agent(&frame.device);
        let agent = agent.filter(|agent| org.certificate(&agent.chain).is_ok());
        let agent = agent.ok_or(Code::CertificateExpired)?;
        Ok(Certificate { req: frame.req, chain: agent.chain }.into())
    }

    /// Hands out another device's prekeys, for a reset (§4.6): both are listed now.
    pub(super) async fn fetch_prekeys(&self, frame: &FetchPrekeys) -> Result<ToClient, Code> {
        let loaded = self.relay.conversation(frame.conversation).await;
        let loaded =
            loaded.map_err(|cause| self.relay.store_code(&cause))?.ok_or(Code::UnknownConversation)?;
        let both = loaded.lists_now(&self.who.hash) && loaded.lists_now(&frame.device);
        if !both || frame.device == self.who.hash {
            return Err(Code::NotListed);
        }
        // A session that is lost after the end stays lost: what closes a conversation closes the way to its keys.
        if loaded.record.closed_ms.is_some() {
            return Err(Code::Closed);
        }
        let issue = Issue {
            conversation: frame.conversation,
            device: frame.device,
            purpose: Purpose::Reset,
            prefix: Some(self.permit.prefix),
            connected: self.relay.registry.is_online(&mailbox_of(&frame.device)),
            earlier: 0,
        };
        let bundle = self.relay.issue(issue).await?;
        Ok(Prekeys { req: frame.req, bundle }.into())
    }
}
