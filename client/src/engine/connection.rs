//! The connection of one device to the relay.
//!
//! 1. `Idle` until the pause is over; `Connect(n)` -> `Connecting`.
//! 2. `Opened(n)` -> `Greeting`: the relay's challenge is awaited; its name is compared with org.json's (see `auth`).
//! 3. `Authenticate` -> `Welcoming`: `Welcome` is awaited; an old copy of the vault stops here (§9.2).
//! 4. `Online`: prekeys, assignment, statements, envelopes, files; a ping when nothing was heard for a while.
//! 5. Whatever ends it: exponential pauses with jitter. `Stopped` when another program took over or the relay refuses; an
//!    agent whose certificate does not count goes on with a newer one.

use sealdesk_protocol::ids::DeviceKeyHash;
use sealdesk_protocol::wire::{Code, Ping, Reason, ToClient, ToRelay};

use super::context::Cx;
use super::link::{Online, Phase, QUIET};
use super::state::{Device, Engine};
use super::{Event, LinkState, Output, Problem, problem};

/// Connecting and authenticating, ms.
const GREETING: u64 = 20_000;
/// First and longest pause between connections, ms.
const PAUSE: u64 = 500;
const LONGEST_PAUSE: u64 = 60_000;

impl Engine {
    /// Numbers of all devices, to walk over while the engine changes.
    pub(super) fn device_names(&self) -> Vec<DeviceKeyHash> {
        self.devices.keys().copied().collect()
    }

    fn device_by_connection(&self, number: u32) -> Option<DeviceKeyHash> {
        self.devices.iter().find(|(_, d)| d.link.number() == Some(number)).map(|(hash, _)| *hash)
    }

    /// Whether a device has a reason to be connected.
    pub(super) fn wants_link(&self, device: &Device, now: u64) -> bool {
        if device.record.stopped {
            return false;
        }
        match &device.record.conversation {
            None => device.certificate.is_some(),
            Some(id) => self.conversations.get(id).is_some_and(|c| c.wants_link(now)),
        }
    }

    /// Connects, times out, pings: whatever is due on any connection.
    pub(super) fn run_links(&mut self, cx: &mut Cx<'_>) {
        for hash in self.device_names() {
            let Some(device) = self.devices.get(&hash) else { continue };
            let now = cx.now.mono_ms;
            let wanted = self.network && self.wants_link(device, cx.now.wall_ms);
            match &device.link.phase {
                Phase::Idle { at } if wanted && *at <= now => self.connect(cx, hash),
                Phase::Connecting { number, by }
                | Phase::Greeting { number, by }
                | Phase::Welcoming { number, by }
                    if *by <= now || !wanted =>
                {
                    let number = *number;
                    cx.out.push(Output::Disconnect(number));
                    self.lost(cx, hash);
                }
                Phase::Online(online) => {
                    let overdue = online.requests.values().any(|(_, by)| *by <= now);
                    let silent = online.pong_by.is_some_and(|by| by <= now);
                    if overdue || silent || !wanted {
                        cx.out.push(Output::Disconnect(online.number));
                        self.lost(cx, hash);
                    } else if online.pong_by.is_none() && online.heard + QUIET <= now {
                        self.ping(cx, hash);
                    }
                }
                _ => {}
            }
        }
    }

    fn connect(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash) {
        let number = self.next_connection;
        self.next_connection = self.next_connection.wrapping_add(1).max(1);
        if let Some(device) = self.devices.get_mut(&hash) {
            device.link.phase = Phase::Connecting { number, by: cx.now.mono_ms + GREETING };
            cx.out.push(Output::Connect(number));
        }
        self.tell_link(cx, hash, LinkState::Connecting);
    }

    fn ping(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash) {
        if let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) {
            online.pong_by = Some(cx.now.mono_ms + QUIET);
            let nonce = online.next_request;
            self.send(cx, hash, Ping { nonce });
        }
    }

    /// The connection is gone: pause, then again.
    fn lost(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash) {
        self.pause(cx, hash, LinkState::Offline);
    }

    fn pause(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, state: LinkState) {
        let Some(device) = self.devices.get_mut(&hash) else { return };
        let pause = (PAUSE << device.link.failures.min(10)).min(LONGEST_PAUSE);
        let pause = pause / 2 + cx.jitter(pause / 2 + 1);
        let link = &mut device.link;
        link.failures = link.failures.saturating_add(1);
        link.challenge = None;
        if !matches!(link.phase, Phase::Stopped) {
            link.phase = Phase::Idle { at: cx.now.mono_ms + pause };
        }
        self.forget_connection(&hash);
        self.tell_link(cx, hash, state);
    }

    /// What was on its way is not known to have arrived.
    fn forget_connection(&mut self, hash: &DeviceKeyHash) {
        for conversation in self.conversations.values_mut().filter(|c| c.record.device == *hash) {
            conversation.flying.clear();
            conversation.stored.clear();
            let waits = &mut conversation.waits;
            waits.posting = false;
            waits.assigning = false;
            waits.fetching.clear();
            waits.renew_at = 0;
            waits.typing = None;
            waits.attention = true;
        }
        self.forget_transfers(hash);
    }

    /// Ends a device's connection for good.
    pub(super) fn stop_link(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, state: LinkState) {
        if let Some(device) = self.devices.get_mut(&hash) {
            cx.out.extend(device.link.number().map(Output::Disconnect));
            device.link.phase = Phase::Stopped;
        }
        self.forget_connection(&hash);
        self.tell_link(cx, hash, state);
    }

    /// The relay passes on the certificates that it was shown at the beginning: a connection under others ends.
    pub(super) fn present_anew(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash) {
        if let Some(number) = self.devices.get(&hash).and_then(|d| d.link.number()) {
            cx.out.push(Output::Disconnect(number));
            self.lost(cx, hash);
        }
    }

    /// Lets a stopped device connect again, after what stopped it was mended.
    pub(super) fn revive_link(&mut self, hash: &DeviceKeyHash, now: u64) {
        if let Some(device) = self.devices.get_mut(hash)
            && matches!(device.link.phase, Phase::Stopped | Phase::Idle { .. })
        {
            device.link.phase = Phase::Idle { at: now };
            device.link.failures = 0;
        }
    }

    pub(super) fn tell_link(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, state: LinkState) {
        if let Some(device) = self.devices.get_mut(&hash)
            && device.link.told != state
        {
            device.link.told = state.clone();
            cx.event(Event::Link { conversation: device.record.conversation, state });
        }
    }

    /// Queues a frame on the device's connection, whatever phase it is in.
    pub(super) fn send(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, frame: impl Into<ToRelay>) {
        let Some(number) = self.devices.get(&hash).and_then(|d| d.link.number()) else { return };
        match frame.into().encode() {
            Ok(bytes) => cx.out.push(Output::Send(number, bytes)),
            // Sizes are checked where contents are made; a frame that is too large all the same is a fault of this program.
            Err(error) => cx.problem(None, problem::bad_frame(error)),
        }
    }

    pub(super) fn connection_opened(&mut self, cx: &mut Cx<'_>, number: u32) {
        let Some(hash) = self.device_by_connection(number) else { return };
        if let Some(device) = self.devices.get_mut(&hash)
            && matches!(device.link.phase, Phase::Connecting { .. })
        {
            device.link.phase = Phase::Greeting { number, by: cx.now.mono_ms + GREETING };
        }
    }

    pub(super) fn connection_closed(&mut self, cx: &mut Cx<'_>, number: u32) {
        if let Some(hash) = self.device_by_connection(number) {
            self.lost(cx, hash);
        }
    }

    pub(super) fn network_changed(&mut self, cx: &mut Cx<'_>, up: bool) {
        self.network = up;
        if up {
            for device in self.devices.values_mut() {
                device.link.failures = 0;
                if let Phase::Idle { at } = &mut device.link.phase {
                    *at = cx.now.mono_ms;
                }
            }
        }
    }

    /// One frame of the relay.
    pub(super) fn frame(&mut self, cx: &mut Cx<'_>, number: u32, bytes: &[u8]) {
        let Some(hash) = self.device_by_connection(number) else { return };
        let frame = match ToClient::decode(bytes) {
            Ok(frame) => frame,
            Err(error) => return cx.problem(None, problem::bad_frame(error)),
        };
        if let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) {
            online.heard = cx.now.mono_ms;
            online.pong_by = None;
        }
        match frame {
            ToClient::Challenge(challenge) => self.challenged(cx, hash, challenge),
            ToClient::Welcome(welcome) => self.welcomed(cx, hash, welcome),
            ToClient::Goodbye(goodbye) => self.goodbye(cx, hash, goodbye.reason),
            ToClient::Error(error) => self.refused(cx, hash, &error),
            ToClient::Pong(_) => {}
            // Nothing else counts before authentication.
            _ if self.devices.get(&hash).is_none_or(|d| d.link.online().is_none()) => {
                cx.problem(None, problem::bad_frame("a frame before authentication"));
            }
            frame => self.answer(cx, hash, frame),
        }
    }

    fn goodbye(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, reason: Reason) {
        match reason {
            Reason::Replaced => self.stop_link(cx, hash, LinkState::Replaced),
            Reason::Revoked => self.refused_greeting(cx, hash, Code::Revoked),
            _ => {
                if let Some(number) = self.devices.get(&hash).and_then(|d| d.link.number()) {
                    cx.out.push(Output::Disconnect(number));
                }
                self.lost(cx, hash);
            }
        }
    }

    /// Marks a connection as good after authentication.
    pub(super) fn online(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, online: Online) {
        if let Some(device) = self.devices.get_mut(&hash) {
            device.link.phase = Phase::Online(Box::new(online));
            device.link.failures = 0;
        }
        self.forget_connection(&hash);
        self.tell_link(cx, hash, LinkState::Online);
    }

    /// A refusal before authentication, or a revocation after it: for good, or worth another try.
    pub(super) fn refused_greeting(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, code: Code) {
        let for_good = matches!(
            code,
            Code::BadSignature
                | Code::CertificateRefused
                | Code::CertificateExpired
                | Code::Revoked
                | Code::Unsupported
        );
        let certificate = matches!(code, Code::CertificateRefused | Code::CertificateExpired | Code::Revoked);
        if certificate && self.is_agent() {
            return self.uncertified(cx, hash, code);
        }
        if for_good {
            self.stop_link(cx, hash, LinkState::Refused(Problem::from(code)));
        } else {
            let number = self.devices.get(&hash).and_then(|d| d.link.number());
            cx.out.extend(number.map(Output::Disconnect));
            self.lost(cx, hash);
        }
    }

    /// The relay does not take our certificate. When it is good here, one of the two has an older org.json: tried again, ever
    /// less often. What was revoked stays so: only a newer certificate or org.json helps.
    fn uncertified(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, code: Code) {
        self.check_own_certificate(cx);
        let Some(device) = self.devices.get(&hash).filter(|d| d.certificate.is_some()) else { return };
        let state = LinkState::Uncertified(code.into());
        if code == Code::Revoked {
            return self.stop_link(cx, hash, state);
        }
        cx.out.extend(device.link.number().map(Output::Disconnect));
        self.pause(cx, hash, state);
    }
}
