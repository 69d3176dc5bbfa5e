//! Limits by rate and number, of connections, devices, conversations and address prefixes.

mod budget;
mod count;
pub mod issue;
mod prefix;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};

use self::budget::{Budget, Share};
use self::count::Count;
use self::issue::{Issue, Issued};
pub use self::prefix::Prefix;
use self::prefix::{ByPrefix, Pseudonyms, WIDE};
use crate::config;

const HOUR: Duration = Duration::from_secs(3600);
/// A burst is this many seconds of the steady rate.
const BURST_SECONDS: u32 = 4;

/// Whose announcements of attachments are counted, and what of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Announced {
    Number(DeviceKeyHash),
    Bytes(DeviceKeyHash),
    Prefix([u8; 16]),
    Wide([u8; 16]),
}

/// Whose resets are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Resets {
    Device(ConversationId, DeviceKeyHash),
    Prefix([u8; 16]),
    Wide([u8; 16]),
}

/// Of a device in a conversation: an honest one makes one an hour, and nobody takes more of a peer (§9.8).
const RESETS_A_DAY: u64 = 32;
/// Of all customers of an address prefix in an hour.
const RESETS_OF_PREFIX: u64 = 200;

/// Within an hour.
#[derive(Clone, Copy, Debug)]
struct MostAnnounced {
    number: u64,
    bytes: u64,
    bytes_of_prefix: u64,
}

/// Every limit of one relay.
pub struct Limits {
    pseudonyms: Pseudonyms,
    connects: ByPrefix,
    conversations: ByPrefix,
    device_frames: DefaultKeyedRateLimiter<DeviceKeyHash>,
    attachments: Budget<Announced>,
    most_announced: MostAnnounced,
    prekey_uploads: DefaultKeyedRateLimiter<DeviceKeyHash>,
    prekeys_issued: Issued,
    resets: Budget<Resets>,
    connection_frames: Quota,
    handshakes: Arc<Count>,
    open: Arc<Count>,
}

impl core::fmt::Debug for Limits {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Limits").field("open", &self.open.total()).finish_non_exhaustive()
    }
}

/// Too much; try again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded;

/// An attachment that was counted.
#[derive(Debug)]
pub struct Announcement(Vec<Share<Announced>>);

/// A reset that was counted.
#[derive(Debug)]
pub struct Reset(Vec<Share<Resets>>);

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct Permit {
    /// Of the connection's address.
    pub prefix: Prefix,
    _counted: count::Permit,
}

/// A handshake that is counted until this is dropped.
#[derive(Debug)]
pub struct Handshake {
    _counted: count::Permit,
}

fn at_least_one(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

fn over(most: u32, period: Duration) -> Quota {
    let most = at_least_one(most);
    Quota::with_period(period / most.get()).unwrap_or(Quota::per_hour(most)).allow_burst(most)
}

impl Limits {
    /// From the checked configuration.
    pub fn new(limits: &config::Limits) -> Self {
        let burst = |rate: u32| {
            Quota::per_second(at_least_one(rate))
                .allow_burst(at_least_one(rate.saturating_mul(BURST_SECONDS)))
        };
        Self {
            pseudonyms: Pseudonyms::default(),
            connects: ByPrefix::new(limits.connects_per_minute, Duration::from_secs(60)),
            conversations: ByPrefix::new(limits.conversations_per_hour, HOUR),
            device_frames: RateLimiter::keyed(burst(limits.device_frames_per_second)),
            attachments: Budget::new(),
            most_announced: MostAnnounced {
                number: limits.attachments_per_hour.into(),
                bytes: u64::from(limits.attachments_mib_per_hour) << 20,
                bytes_of_prefix: u64::from(limits.attachments_mib_per_prefix_hour) << 20,
            },
            prekey_uploads: RateLimiter::keyed(over(limits.prekey_uploads_per_hour, HOUR)),
            prekeys_issued: Issued::new(limits),
            resets: Budget::new(),
            connection_frames: burst(limits.frames_per_second),
            handshakes: Count::new(limits.handshakes, limits.handshakes_per_prefix),
            open: Count::new(limits.connections, limits.connections_per_prefix),
        }
    }

    /// The pseudonyms of an address' prefixes: the address (IPv4), or its /64 and its /48 (IPv6).
    pub fn prefix(&self, address: IpAddr) -> Prefix {
        self.pseudonyms.prefix(address)
    }

    /// Counts a socket until its handshake is over. Whoever only connects uses up the share of its own prefix, and not
    /// the place of everybody. A trusted proxy speaks for many (`None`): only the number in all counts there.
    ///
    /// # Errors
    /// `Exceeded`: too many unfinished ones.
    pub fn handshake(&self, prefix: Option<Prefix>) -> Result<Handshake, Exceeded> {
        Ok(Handshake { _counted: self.handshakes.admit(prefix)? })
    }

    /// Counts a new connection.
    ///
    /// # Errors
    /// `Exceeded`: too many open, or too many new ones.
    pub fn admit(&self, prefix: Prefix) -> Result<Permit, Exceeded> {
        self.connects.check(Instant::now(), &prefix)?;
        Ok(Permit { prefix, _counted: self.open.admit(Some(prefix))? })
    }

    /// Connections counted now.
    pub fn open_connections(&self) -> u32 {
        self.open.total()
    }

    /// The limiter of one connection's frames.
    pub fn connection(&self) -> DefaultDirectRateLimiter {
        RateLimiter::direct(self.connection_frames)
    }

    /// One more frame of a device.
    pub fn device_frame(&self, device: &DeviceKeyHash) -> Result<(), Exceeded> {
        self.device_frames.check_key(device).map_err(|_| Exceeded)
    }

    /// One more conversation of an address prefix.
    pub fn conversation(&self, prefix: &Prefix) -> Result<(), Exceeded> {
        self.conversations.check(Instant::now(), prefix)
    }

    /// One more attachment of so many bytes, of a device and, where it is nobody's whom the organisation knows, of its
    /// address prefix. They count when they are announced.
    pub fn attachment(
        &self,
        device: &DeviceKeyHash,
        prefix: Option<&Prefix>,
        bytes: u64,
    ) -> Result<Announcement, Exceeded> {
        let most = self.most_announced;
        let share = |key, most| Share { key, amount: bytes, most, period: HOUR, longest: HOUR };
        let mut shares = vec![
            Share { amount: 1, ..share(Announced::Number(*device), most.number) },
            share(Announced::Bytes(*device), most.bytes),
        ];
        if let Some(Prefix { own, wide }) = prefix.copied() {
            shares.push(share(Announced::Prefix(own), most.bytes_of_prefix));
            let wider = most.bytes_of_prefix.saturating_mul(WIDE.into());
            shares.extend(wide.map(|wide| share(Announced::Wide(wide), wider)));
        }
        self.attachments.take(Instant::now(), &shares)?;
        Ok(Announcement(shares))
    }

    /// That attachment was not announced: it does not count.
    pub fn not_announced(&self, announcement: &Announcement) {
        self.attachments.give_back(&announcement.0);
    }

    /// One more upload of prekeys by a device.
    pub fn prekey_upload(&self, device: &DeviceKeyHash) -> Result<(), Exceeded> {
        self.prekey_uploads.check_key(device).map_err(|_| Exceeded)
    }

    /// One more bundle of a device's prekeys.
    pub fn prekeys(&self, issue: &Issue) -> Result<(), Exceeded> {
        self.prekeys_issued.take(Instant::now(), issue)
    }

    /// Whether there could be one more bundle; nothing is taken.
    pub fn has_prekeys(&self, issue: &Issue) -> bool {
        self.prekeys_issued.has(Instant::now(), issue)
    }

    /// One more reset that a device signs in a conversation; of a customer, at an address.
    pub fn reset(
        &self,
        conversation: &ConversationId,
        device: &DeviceKeyHash,
        prefix: Option<&Prefix>,
    ) -> Result<Reset, Exceeded> {
        let share = |key, most, period| Share { key, amount: 1, most, period, longest: period };
        let mut shares = vec![share(Resets::Device(*conversation, *device), RESETS_A_DAY, 24 * HOUR)];
        if let Some(Prefix { own, wide }) = prefix.copied() {
            shares.push(share(Resets::Prefix(own), RESETS_OF_PREFIX, HOUR));
            let wider = RESETS_OF_PREFIX * u64::from(WIDE);
            shares.extend(wide.map(|wide| share(Resets::Wide(wide), wider, HOUR)));
        }
        self.resets.take(Instant::now(), &shares)?;
        Ok(Reset(shares))
    }

    /// That reset was not stored: it does not count.
    pub fn not_reset(&self, reset: &Reset) {
        self.resets.give_back(&reset.0);
    }

    /// Forgets who has been quiet; call it every minute.
    pub fn tidy(&self) {
        let now = Instant::now();
        self.connects.tidy(now);
        self.conversations.tidy(now);
        self.device_frames.retain_recent();
        self.attachments.tidy(now);
        self.prekey_uploads.retain_recent();
        self.prekeys_issued.tidy(now);
        self.resets.tidy(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(change: impl Fn(&mut config::Limits)) -> Arc<Limits> {
        let mut values = config::Limits::default();
        change(&mut values);
        Arc::new(Limits::new(&values))
    }

    #[test]
    fn resets_are_limited_by_device_and_prefix() {
        let capped = limits(|_| {});
        let prefix = |own: u8, wide: Option<u8>| Prefix { own: [own; 16], wide: wide.map(|n| [n; 16]) };
        // Each of a device and a conversation of its own.
        let mut count = 0u32;
        let mut taken = |from: Option<Prefix>, most: usize| {
            (0..most)
                .filter(|_| {
                    count += 1;
                    let mut device = [0; 32];
                    device[..4].copy_from_slice(&count.to_be_bytes());
                    capped.reset(&ConversationId([1; 32]), &DeviceKeyHash(device), from.as_ref()).is_ok()
                })
                .count()
        };
        assert_eq!(taken(Some(prefix(1, None)), 210), 200);
        assert_eq!(taken(Some(prefix(2, None)), 210), 200, "not another's");
        assert_eq!(taken(None, 400), 400, "an agent's has none");
        assert_eq!((10..26).map(|n| taken(Some(prefix(n, Some(9))), 200)).sum::<usize>(), 3_200);
        assert_eq!(taken(Some(prefix(26, Some(9))), 10), 0, "the wider prefix'");

        let one = DeviceKeyHash([9; 32]);
        let of = |conversation: u8| capped.reset(&ConversationId([conversation; 32]), &one, None);
        let all: Vec<_> = (0..32).map(|_| of(1).unwrap()).collect();
        assert!(of(1).is_err(), "the device's in this conversation");
        assert!(of(2).is_ok());
        capped.not_reset(&all[0]);
        assert!(of(1).is_ok(), "what was not stored does not count");
        assert!(of(1).is_err());
    }

    #[test]
    fn bytes_of_attachments_are_limited_by_device_and_prefix() {
        const MIB: u64 = 1 << 20;
        let new = || {
            limits(|l| {
                (l.attachments_mib_per_hour, l.attachments_mib_per_prefix_hour) = (10, 25);
                l.attachments_per_hour = 4;
            })
        };
        let capped = new();
        let device = |n: u8| DeviceKeyHash([n; 32]);
        let prefix = |own: u8, wide: Option<u8>| Prefix { own: [own; 16], wide: wide.map(|n| [n; 16]) };
        let from = |n: u8, prefix: Prefix, mib: u64| capped.attachment(&device(n), Some(&prefix), mib * MIB);
        let one = prefix(1, None);
        assert!(from(1, one, 11).is_err(), "never as much");
        assert!(from(1, one, 10).is_ok());
        assert!(from(1, one, 1).is_err(), "the device's");
        assert!(from(2, one, 10).is_ok());
        assert!(from(3, one, 6).is_err(), "the prefix'");
        assert!(from(4, prefix(2, None), 10).is_ok(), "not another's");
        for n in 5..=8 {
            assert!(capped.attachment(&device(n), None, 10 * MIB).is_ok(), "an agent's has none");
        }

        let capped = new();
        for n in 0..40 {
            let own = capped.attachment(&device(n), Some(&prefix(n, Some(99))), 10 * MIB);
            assert!(own.is_ok(), "{n}");
        }
        let wide = capped.attachment(&device(40), Some(&prefix(40, Some(99))), MIB);
        assert!(wide.is_err(), "the prefix around it has 16 times as much");

        let capped = new();
        for _ in 0..4 {
            assert!(capped.attachment(&device(1), Some(&one), 1).is_ok());
        }
        assert!(capped.attachment(&device(1), Some(&one), 1).is_err(), "by number as well");
    }
}
