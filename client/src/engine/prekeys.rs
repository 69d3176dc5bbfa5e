//! Prekey upkeep (§3): one-time pairs topped up in chunks, the last-resort pair rotated weekly.

use sealdesk_protocol::crypto::prekeys::{PrekeyKind, PrekeySecret};
use sealdesk_protocol::ids::{DeviceKeyHash, PrekeyId};
use sealdesk_protocol::wire::{MAX_PREKEYS, PublishPrekeys};

use super::context::Cx;
use super::link::Request;
use super::state::{Device, Engine};
use crate::vault::Key;

const DAY: u64 = 24 * 60 * 60 * 1000;
/// A last-resort pair is replaced after this long, ms.
pub(super) const ROTATION: u64 = 7 * DAY;
/// Mailbox TTL as long as no relay named its own, ms.
pub(super) const DEFAULT_TTL: u64 = 30 * DAY;
/// How long a published one-time pair may be used by others, ms. A last-resort pair, which many use, ends with the rotation
/// after its own: until then the relay may hand it out whatever was uploaded since.
const LIFE: u64 = 90 * DAY;
/// Uploads wait for this long when a day's pairs are used up, ms.
const ENOUGH: u64 = 60 * 60 * 1000;

/// Unused one-time pairs made in one day, and kept in all, in full supplies. The relay says how many are left: whatever it
/// says, a pair that it handed out lives for days.
const SUPPLIES_A_DAY: usize = 4;
const SUPPLIES_KEPT: usize = 20;

/// One-time pairs: how many the relay is to hold, and below how many it is topped up.
fn target(device: &Device) -> (u16, u16) {
    if device.record.conversation.is_some() { (5, 3) } else { (100, 25) }
}

impl Device {
    /// How long the relay keeps this device's items, ms; a day to a year, whatever the relay says.
    pub(super) fn ttl(&self) -> u64 {
        self.record.limits.map_or(DEFAULT_TTL, |l| l.mailbox_ttl.clamp(DAY, 12 * DEFAULT_TTL))
    }

    fn last_resort(&self) -> Option<&PrekeySecret> {
        self.record.last_resort.as_ref().and_then(|id| self.prekeys.get(id))
    }
}

impl Engine {
    /// Uploads what is missing, a chunk at a time.
    pub(super) fn run_prekeys(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash) {
        let Some(device) = self.devices.get_mut(&hash) else { return };
        // The relay takes a customer's pairs once it knows the conversation.
        let asked = device.record.conversation.is_none_or(|id| {
            self.conversations.get(&id).is_some_and(|c| c.waits.known || c.record.governance.is_some())
        });
        if !asked {
            return;
        }
        let (most, least) = target(device);
        let rotate = device.last_resort().is_none_or(|p| p.created() + ROTATION <= cx.now.wall_ms);
        let in_force = device.record.last_resort;
        let Some(online) = device.link.online_mut() else { return };
        if online.publishing || online.publish_at > cx.now.mono_ms {
            return;
        }
        let upload_last = rotate || online.last_resort != in_force;
        let young = |p: &&PrekeySecret| p.kind() == PrekeyKind::OneTime && p.created() + DAY > cx.now.wall_ms;
        let today = device.prekeys.values().filter(young).count();
        let room = (usize::from(most) * SUPPLIES_A_DAY).saturating_sub(today);
        online.topping_up = online.one_time_left < if online.topping_up { most } else { least };
        let missing = if online.topping_up { most.saturating_sub(online.one_time_left) } else { 0 };
        if missing > 0 && room == 0 {
            online.publish_at = cx.now.mono_ms + ENOUGH;
        }
        let count = usize::from(missing).min(MAX_PREKEYS).min(room);
        if !upload_last && count == 0 {
            return;
        }
        online.publishing = true;
        let req = online.request(Request::Prekeys, cx.now.mono_ms);

        if rotate {
            let id = self.make_prekey(cx, hash, PrekeyKind::LastResort);
            if let Some(device) = self.devices.get_mut(&hash) {
                device.record.last_resort = id;
                self.mark(Key::Device(hash));
            }
        }
        let ids: Vec<PrekeyId> =
            (0..count).filter_map(|_| self.make_prekey(cx, hash, PrekeyKind::OneTime)).collect();
        let Some(device) = self.devices.get_mut(&hash) else { return };
        let publish = |id: &PrekeyId| device.prekeys.get(id).map(|p| p.publish(&device.record.secret));
        let one_time = ids.iter().filter_map(publish).collect();
        let last_resort =
            if upload_last { device.record.last_resort.as_ref().and_then(publish) } else { None };
        let in_force = device.record.last_resort;
        if let Some(online) = device.link.online_mut() {
            online.last_resort = in_force;
        }
        self.drop_surplus(&hash, usize::from(most) * SUPPLIES_KEPT);
        self.send(cx, hash, PublishPrekeys { req, last_resort, one_time });
    }

    fn make_prekey(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, kind: PrekeyKind) -> Option<PrekeyId> {
        let now = cx.now.wall_ms;
        let life = match kind {
            PrekeyKind::LastResort => 2 * ROTATION,
            PrekeyKind::OneTime => LIFE,
        };
        let pair = PrekeySecret::generate(kind, now, now + life, cx.rng);
        let id = pair.id();
        self.devices.get_mut(&hash)?.prekeys.insert(id, pair);
        self.mark(Key::Prekey(hash, id));
        Some(id)
    }

    /// The oldest one-time pairs above the bound.
    fn drop_surplus(&mut self, hash: &DeviceKeyHash, most: usize) {
        let Some(device) = self.devices.get_mut(hash) else { return };
        let mut one_time: Vec<(u64, PrekeyId)> = device
            .prekeys
            .values()
            .filter(|p| p.kind() == PrekeyKind::OneTime)
            .map(|p| (p.created(), p.id()))
            .collect();
        one_time.sort_unstable();
        let surplus = one_time.len().saturating_sub(most);
        for (_, id) in one_time.into_iter().take(surplus) {
            device.prekeys.remove(&id);
            self.dirty.insert(Key::Prekey(*hash, id));
        }
    }

    /// Hourly: pairs past their use. Rotated last-resort pairs stay for the mailbox TTL and one rotation.
    pub(super) fn expire_prekeys(&mut self, now: u64) {
        for (hash, device) in &mut self.devices {
            // First flights wait in the mailbox for its TTL; a relay that claims a longer one keeps no secret alive.
            let kept = device.ttl().min(DEFAULT_TTL) + ROTATION;
            let current = device.record.last_resort;
            let gone: Vec<PrekeyId> = device
                .prekeys
                .values()
                .filter(|p| match p.kind() {
                    PrekeyKind::LastResort => Some(p.id()) != current && p.created() + ROTATION + kept <= now,
                    PrekeyKind::OneTime => p.expires() + kept <= now,
                })
                .map(PrekeySecret::id)
                .collect();
            for id in gone {
                device.prekeys.remove(&id);
                self.dirty.insert(Key::Prekey(*hash, id));
            }
        }
    }

    pub(super) fn prekeys_counted(&mut self, hash: &DeviceKeyHash, left: u16, answered: bool) {
        if let Some(online) = self.devices.get_mut(hash).and_then(|d| d.link.online_mut()) {
            online.one_time_left = left;
            if answered {
                online.publishing = false;
            }
        }
    }
}
