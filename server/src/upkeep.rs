//! What a relay does by the clock: expiry, free space, changed files, certificates that ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sealdesk_protocol::wire::{Code, Reason, Revocations};
use tokio::time::{Duration, Instant, MissedTickBehavior};

use crate::audit::Event;
use crate::auth::certificate_code;
use crate::clock::{DAY_MS, now_ms};
use crate::policy::Org;
use crate::relay::Relay;
use crate::socket::error;
use crate::store::{Store, StoreError};

/// Between two looks at free space and changed files.
const LOOK: Duration = Duration::from_secs(2);
/// From when on the end of the issuer's and of the TLS certificate is told, once a day.
const SOON: Duration = Duration::from_secs(14 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);
/// Looks between two sweeps: one a minute.
const SWEEP_EVERY: u32 = 30;

/// Runs until the relay stops.
pub async fn run(relay: Arc<Relay>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0u32;
    let (mut issuer, mut tls) = (Daily::default(), Daily::default());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = relay.stopped() => return,
        }
        check_space(&relay);
        refresh_files(&relay).await;
        if count.is_multiple_of(SWEEP_EVERY) {
            sweep(&relay).await;
            relay.limits.tidy();
        }
        relay.metrics.attachment_bytes.set(relay.uploads.held());
        let left = issuer_ends(&relay, now_ms());
        if left < SOON && issuer.due() {
            tracing::warn!(
                days = left.as_secs() / DAY.as_secs(),
                "the issuer's certificate ends soon, and every chat with it: `sealdesk org renew-issuer`, then give out org.json"
            );
        }
        if let Some(left) = tls_ends(&relay, now_ms())
            && left < SOON
            && tls.due()
        {
            tracing::warn!(
                days = left.as_secs() / DAY.as_secs(),
                "the TLS certificate ends soon, and nobody connects after that: put a renewed one in its place"
            );
        }
        expel(&relay, now_ms()).await;
        count = count.wrapping_add(1);
    }
}

/// How long the issuer's certificate still holds; it goes into the metrics.
fn issuer_ends(relay: &Relay, now: u64) -> Duration {
    let end = relay.policy.org().verified.issuer().not_after;
    let left = Duration::from_millis(end.saturating_sub(now));
    relay.metrics.issuer_ends_seconds.set(left.as_secs());
    left
}

/// How long the TLS certificate in force still holds, if there is one; it goes into the metrics.
fn tls_ends(relay: &Relay, now: u64) -> Option<Duration> {
    let left = Duration::from_millis(relay.tls.as_ref()?.ends_ms().saturating_sub(now));
    relay.metrics.tls_ends_seconds.set(left.as_secs());
    Some(left)
}

/// What is said at most once a day.
#[derive(Debug, Default)]
struct Daily(Option<Instant>);

impl Daily {
    /// Whether it is to be said now.
    fn due(&mut self) -> bool {
        let due = self.0.is_none_or(|at| at.elapsed() >= DAY);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// Notes whether the disk has room.
pub fn check_space(relay: &Relay) {
    let least = u64::from(relay.config.store.min_free_mib) << 20;
    let Ok(disk) = rustix::fs::statvfs(&relay.config.data) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let (low, tight) = (free < least, free < 2 * least);
    if relay.tight_space.swap(tight, Ordering::Relaxed) != tight {
        if tight {
            tracing::error!("the data folder's disk fills up: no more attachments until space is freed");
        } else {
            tracing::info!("the data folder's disk has room for attachments again");
        }
    }
    if relay.low_space.swap(low, Ordering::Relaxed) != low {
        if low {
            tracing::error!(
                "the data folder's disk is nearly full: nothing new is accepted until space is freed"
            );
        } else {
            tracing::info!("the data folder's disk has room again");
        }
    }
}

async fn refresh_files(relay: &Relay) {
    if let Some(tls) = &relay.tls {
        match tls.refresh() {
            Ok(true) => {
                tracing::info!("a new TLS certificate is in force");
                relay.metrics.tls_taken.up();
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "the changed TLS files are not used, the old ones stay");
                relay.metrics.tls_refused.up();
            }
        }
    }
    match relay.policy.refresh() {
        Ok(false) => {}
        Ok(true) => {
            tracing::info!("a new org.json is in force");
            organisation_changed(relay).await;
            relay.metrics.organisation_taken.up();
        }
        Err(error) => {
            tracing::error!(%error, "the changed org.json is not used, the old one stays");
            relay.metrics.organisation_refused.up();
        }
    }
}

/// Keeps what may not go down, so that a restart does not let an older file in.
///
/// # Errors
/// The store's.
pub async fn remember_organisation(store: &dyn Store, org: &Org) -> Result<(), StoreError> {
    let bytes = postcard::to_allocvec(&org.remember()).map_err(|_| StoreError::Corrupt("organisation"))?;
    if store.organisation().await?.as_ref() != Some(&bytes) {
        store.put_organisation(bytes).await?;
    }
    Ok(())
}

async fn organisation_changed(relay: &Relay) {
    let org = relay.policy.org();
    if let Err(cause) = remember_organisation(relay.store.as_ref(), &org).await {
        tracing::error!(%cause, "the versions of the new org.json were not stored");
    }
    let floor = org.verified.floor();
    let event = Event::Organisation {
        pins: floor.pins,
        settings: org.verified.settings().version,
        revocations: org.verified.revocations().number(),
    };
    if let Err(cause) = relay.store.audit_append(event.entry()).await {
        tracing::error!(%cause, "the audit entry of the new org.json was not stored");
    }
    expel(relay, 0).await;
    // Whoever is not certified any more is named to nobody, connected or not.
    for (device, chain) in relay.routing.serving() {
        if org.certificate(&chain).is_err() {
            relay.routing.retire(&device, &chain);
        }
    }
    for id in relay.routing.named() {
        if let Err(code) = relay.drop_dead_nominee(id).await {
            tracing::warn!(conversation = ?id, code = code.as_str(), "a named agent was not checked again");
        }
    }
    if let Some(list) = &org.revocations {
        let news = Revocations { list: list.clone() }.into();
        relay.registry.all().iter().for_each(|connected| connected.inbox.frame(&news));
    }
    relay.router.notify_one();
}

/// Ends connections of agents whose certificate does not hold any more. Looks at those that end by `ended_by`; 0: at all,
/// after a change of the rules.
async fn expel(relay: &Relay, ended_by: u64) {
    let org = relay.policy.org();
    for connected in relay.registry.all() {
        let Some(agent) = &connected.who.agent else { continue };
        if ended_by > 0 && agent.certificate.valid_until() > ended_by {
            continue;
        }
        let Err(cause) = org.certificate(&agent.chain) else { continue };
        let code = certificate_code(cause);
        connected.inbox.frame(&error(None, code));
        let reason = if code == Code::Revoked { Reason::Revoked } else { Reason::Violation };
        connected.inbox.goodbye(reason);
        relay.routing.retire(&connected.who.hash, &agent.chain);
        let event = Event::Expelled { device: connected.who.hash };
        if let Err(cause) = relay.store.audit_append(event.entry()).await {
            tracing::error!(%cause, "an audit entry was not stored");
        }
    }
}

async fn sweep(relay: &Relay) {
    loop {
        let now = now_ms();
        let audit_before = now.saturating_sub(u64::from(relay.config.store.audit_days) * DAY_MS);
        let swept = match relay.store.sweep(now, audit_before).await {
            Ok(swept) => swept,
            Err(cause) => return tracing::error!(%cause, "expired items were not removed"),
        };
        relay.metrics.items_expired.add(swept.items);
        for (blob, bytes) in swept.blobs {
            match relay.blobs.delete(blob).await {
                Ok(()) => relay.uploads.gone(&blob, bytes),
                // Counted until the next start, which deletes it.
                Err(cause) => tracing::error!(%cause, "an expired attachment was not deleted"),
            }
        }
        if !swept.more {
            break;
        }
    }
    relay.conversations.forget_closed();
}

#[cfg(test)]
mod tests {
    use sealdesk_protocol::ids::{BlobId, ConversationId, DeviceKeyHash};

    use super::*;
    use crate::config::RawTls;
    use crate::store::BlobRecord;
    use crate::testing::Running;

    #[tokio::test]
    async fn the_issuers_end_is_told_before_it_comes() {
        let running = Running::start().await;
        let relay = &running.relay;
        let end = relay.policy.org().verified.issuer().not_after;
        assert_eq!(issuer_ends(relay, end - 14 * DAY_MS), SOON);
        assert_eq!(relay.metrics.issuer_ends_seconds.get(), SOON.as_secs());
        assert_eq!(issuer_ends(relay, end - 5_000).as_secs(), 5);
        assert_eq!(issuer_ends(relay, end + 1), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_end_of_the_tls_certificate_is_told_before_it_comes() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut certificate = rcgen::CertificateParams::new(vec!["relay.test".to_owned()]).unwrap();
        certificate.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let files =
            RawTls { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        std::fs::write(&files.certificate, certificate.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        let running = Running::with(|raw| raw.tls = Some(files)).await;
        let (relay, end) = (&running.relay, 4_102_444_800_000);
        assert_eq!(tls_ends(relay, end - 14 * DAY_MS), Some(SOON));
        assert_eq!(relay.metrics.tls_ends_seconds.get(), SOON.as_secs());
        assert_eq!(tls_ends(relay, end + 1), Some(Duration::ZERO));
        assert_eq!(tls_ends(&Running::start().await.relay, end), None);
    }

    #[test]
    fn a_warning_is_due_once_a_day() {
        let mut daily = Daily::default();
        assert!(daily.due());
        assert!(!daily.due());
        let yesterday = Instant::now().checked_sub(DAY).unwrap();
        assert!(Daily(Some(yesterday)).due());
    }

    #[tokio::test]
    async fn what_expired_gives_its_bytes_back() {
        let running = Running::start().await;
        let relay = &running.relay;
        let (old, young) = (BlobId([1; 16]), BlobId([2; 16]));
        for (id, expires_ms) in [(old, 0), (young, u64::MAX)] {
            assert!(relay.uploads.begin(id, ConversationId([3; 32]), 100));
            let uploader = DeviceKeyHash([4; 32]);
            let record =
                BlobRecord { capability: [5; 32], uploader, length: 100, complete: false, expires_ms };
            relay.store.put_blob(id, record).await.unwrap();
        }
        sweep(relay).await;
        assert_eq!(relay.uploads.held(), 100);
        assert_eq!(relay.uploads.conversation(&old), None);
        assert!(relay.uploads.conversation(&young).is_some());
    }
}
