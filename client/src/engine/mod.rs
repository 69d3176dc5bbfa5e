//! The engine: what goes in, what comes out, and the rules between.
//!
//! One step: inputs change the state -> what is due is done (`run`) -> everything that changed becomes one batch -> the
//! outputs, which the driver performs only after it committed the batch. A driver that cannot commit drops the engine and
//! opens it again from the vault.
//!
//! ```text
//! input, output   the engine's shape          state, records   in memory; as stored (meta: the vault itself)
//! commands        what people ask for         load, flush      rows <-> state
//! connection, link one link for each device    auth, requests   challenge and welcome; answers
//! prekeys, trust  upkeep; certificates        customer, agent  open and assignment; acceptance, countersignature, close
//! statements      ours                        received, opening others'; how a conversation begins at an agent
//! delivery        mailbox -> session          judging          roster_check, and what waits for it
//! contents        counters, heads, receipts   outbox, sending  frozen bytes -> envelopes; envelopes -> relay
//! ephemeral       typing                      stale, reset     sealing anew; new sessions
//! aside, seen     set aside, quarantine; repetitions           transfer files
//! timers, expiry  what is due when; what is too old                              deletion  conversations that go
//! ```

pub(crate) mod agent;
pub(crate) mod aside;
pub(crate) mod auth;
pub(crate) mod commands;
pub(crate) mod connection;
pub(crate) mod contents;
pub(crate) mod context;
pub(crate) mod customer;
pub(crate) mod deletion;
pub(crate) mod delivery;
pub(crate) mod enrolment;
pub(crate) mod ephemeral;
pub(crate) mod expiry;
pub(crate) mod flush;
mod input;
pub(crate) mod judging;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod meta;
pub(crate) mod opening;
pub(crate) mod outbox;
mod output;
pub(crate) mod prekeys;
pub(crate) mod problem;
pub(crate) mod received;
pub(crate) mod records;
pub(crate) mod requests;
pub(crate) mod reset;
pub(crate) mod seen;
pub(crate) mod sending;
pub(crate) mod stale;
pub(crate) mod state;
pub(crate) mod statements;
pub(crate) mod timers;
pub(crate) mod transfer;
pub(crate) mod trust;
pub(crate) mod view;

use std::collections::{BTreeMap, BTreeSet};

use rand_core::CryptoRng;
use sealdesk_protocol::crypto::certificate::Revocations;
use sealdesk_protocol::crypto::identity::SigningSecret;
use sealdesk_protocol::org::VerifiedOrg;

pub use enrolment::Enrolment;
pub use input::*;
pub use output::*;
pub use state::Engine;

use crate::vault::{Corrupt, Key, Vault, VaultKey};
use context::Cx;
use records::{Availability, Meta, StoredOwner};

/// Whose vault is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A customer: a device for each conversation.
    Customer,
    /// An agent: one device, made here, whose keys never leave the vault.
    Agent,
}

impl Engine {
    /// A new vault. Commit the step's batch before anything else.
    pub fn create(
        key: VaultKey,
        owner: Owner,
        org: VerifiedOrg,
        now: Now,
        rng: &mut dyn CryptoRng,
    ) -> (Self, Step) {
        let agent =
            (owner == Owner::Agent).then(|| sealdesk_protocol::crypto::identity::DeviceSecret::generate(rng));
        let stored_owner = match &agent {
            Some(device) => StoredOwner::Agent { device: device.hash() },
            None => StoredOwner::Customer { profile: SigningSecret::generate(rng) },
        };
        let meta = Meta {
            owner: stored_owner,
            root: org.root(),
            created: now.wall_ms,
            floor: org.floor(),
            revocations: None,
            availability: Availability { available: true, capacity: DEFAULT_CAPACITY, manual: false },
        };
        let revocations = org.revocations().clone();
        let mut engine = Self::idle(Vault::new(&key), org, meta, revocations, now);
        engine.mark(Key::Meta);
        if let Some(secret) = agent {
            let hash = secret.hash();
            engine.devices.insert(hash, state::Device::new(secret, None));
            engine.mark(Key::Device(hash));
            engine.mark(Key::Cursor(hash));
        }
        let step = engine.step(now, rng, Vec::new());
        (engine, step)
    }

    /// Without devices and conversations, and with nothing to write.
    fn idle(vault: Vault, org: VerifiedOrg, meta: Meta, revocations: Revocations, now: Now) -> Self {
        Self {
            vault,
            org,
            meta,
            revocations,
            devices: BTreeMap::new(),
            conversations: BTreeMap::new(),
            transfers: BTreeMap::new(),
            dirty: BTreeSet::new(),
            cold: Vec::new(),
            deleted: Vec::new(),
            retries: BTreeSet::new(),
            retrying: false,
            refused_list: None,
            network: true,
            next_connection: 1,
            told: (now.mono_ms, BTreeMap::new()),
            upkeep_at: now.mono_ms,
            last_run: now.mono_ms,
            last_wall: now.wall_ms,
        }
    }

    /// Opens a vault from its hot rows (see [`is_hot`](crate::is_hot)). The step writes nothing; perform its outputs, and
    /// step again when it says.
    ///
    /// # Errors
    /// [`Corrupt`]: the key is wrong, rows are damaged or do not fit together, or org.json is another organisation's or older
    /// than before.
    pub fn open(key: VaultKey, org: VerifiedOrg, hot: &[Row], now: Now) -> Result<(Self, Step), Corrupt> {
        let engine = Self::load(&key, org, hot, now)?;
        let step = Step {
            persist: Batch { writes: Vec::new(), generation: engine.vault.generation() },
            then: Vec::new(),
            // Connecting takes randomness, which the first step brings.
            wake_at: Some(now.mono_ms),
        };
        Ok((engine, step))
    }

    /// Many inputs, one batch. A bad frame is an event, never a panic. Commit `persist`, then perform `then`.
    pub fn step(&mut self, now: Now, rng: &mut dyn CryptoRng, inputs: Vec<Input>) -> Step {
        let mut cx = Cx { now, rng, out: Vec::new() };
        for input in inputs {
            self.input(&mut cx, input);
        }
        self.run(&mut cx);
        self.tell_views(&mut cx);
        self.tell_in_measure(&mut cx);
        let persist = self.flush(cx.rng);
        self.after_flush(&mut cx);
        Step { persist, wake_at: self.wake_at(now), then: cx.out }
    }

    fn input(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::User { id, command } => self.command(cx, id, command),
            Input::Opened(number) => self.connection_opened(cx, number),
            Input::Frame(number, bytes) => self.frame(cx, number, &bytes),
            Input::Closed(number) => self.connection_closed(cx, number),
            Input::Tick => {}
            Input::Online(up) => self.network_changed(cx, up),
            Input::Chunk { transfer, part, offset, bytes: FileBytes(bytes) } => {
                self.chunk_read(cx, transfer, part, offset, &bytes)
            }
            Input::ChunkStored { transfer, part, offset } => self.chunk_stored(cx, transfer, part, offset),
            Input::ChunkFailed { transfer, part } => self.chunk_failed(cx, transfer, part),
        }
    }

    /// Whoever sends what cannot be used, frame after frame, fills no screen and no queue of a driver: of one problem of one
    /// conversation so many are told in a minute.
    fn tell_in_measure(&mut self, cx: &mut Cx<'_>) {
        const EACH: u32 = 32;
        let (since, told) = &mut self.told;
        if cx.now.mono_ms >= *since + 60_000 {
            *since = cx.now.mono_ms;
            told.clear();
        }
        cx.out.retain(|output| match output {
            Output::Event(Event::Problem { conversation, problem }) => {
                let count = told.entry((*conversation, problem.code)).or_default();
                *count += 1;
                *count <= EACH
            }
            _ => true,
        });
    }

    /// What has to say the vault's generation: it counts the batch that the outputs wait for.
    fn after_flush(&mut self, cx: &mut Cx<'_>) {
        for hash in self.device_names() {
            let Some(device) = self.devices.get(&hash) else { continue };
            let (challenged, received) = (device.link.challenge.is_some(), device.link.ack_due);
            if challenged {
                self.authenticate(cx, hash);
            }
            if received {
                self.acknowledge(cx, hash);
            }
        }
    }
}

/// Conversations at once, until the agent says otherwise.
const DEFAULT_CAPACITY: u16 = 50;
