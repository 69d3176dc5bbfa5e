//! A driver with a vault in memory.

use std::collections::BTreeMap;

use chacha20::ChaCha20Rng;
use sealdesk_protocol::ids::BlobId;
use sealdesk_protocol::org::VerifiedOrg;

use crate::engine::{
    Command, Engine, Event, FileBytes, Input, Message, Name, Now, Output, Owner, Part, Row, Step, Write,
};
use crate::{Corrupt, VaultKey, is_hot};

/// Where a program dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Before the batch was committed: neither rows nor outputs exist.
    BeforeCommit,
    /// After the commit: the rows exist, the outputs do not.
    AfterCommit,
}

/// One program with its vault.
#[derive(Debug)]
pub struct Client {
    key: [u8; 32],
    org: VerifiedOrg,
    /// Committed rows.
    pub rows: BTreeMap<Name, Vec<u8>>,
    /// Generation of the last committed batch.
    pub generation: u64,
    /// The engine, when the program runs.
    pub engine: Engine,
    rng: ChaCha20Rng,
    /// Everything told, oldest first.
    pub events: Vec<Event>,
    /// Files and spools.
    pub files: BTreeMap<(BlobId, Part), Vec<u8>>,
    /// Chunks of this part that are read are answered by [`Self::release_chunks`] only.
    pub hold_reads: Option<Part>,
    /// And those that are written.
    pub hold_writes: Option<Part>,
    held_chunks: Vec<Input>,
    /// How far this device's wall clock is off, ms.
    pub clock_off: i64,
    /// Dies in the next step that writes something.
    pub crash: Option<Crash>,
    /// Writing steps before the crash.
    spare: u64,
    /// Rows written in all, and in the last step.
    pub written: (usize, usize),
    pub(super) wake_at: Option<u64>,
    pub(super) outputs: Vec<Output>,
    inputs: Vec<Input>,
    next_command: u64,
}

impl Client {
    /// Creates a vault and commits it.
    pub fn new(seed: u64, owner: Owner, org: VerifiedOrg, now: Now) -> Self {
        let mut rng = sealdesk_protocol::testing::rng(seed);
        let key = [u8::try_from(seed % 251).unwrap_or(1) + 1; 32];
        let (engine, step) = Engine::create(VaultKey::new(key), owner, org.clone(), now, &mut rng);
        let mut client = Self {
            key,
            org,
            rows: BTreeMap::new(),
            generation: 0,
            engine,
            rng,
            events: Vec::new(),
            files: BTreeMap::new(),
            hold_reads: None,
            hold_writes: None,
            held_chunks: Vec::new(),
            clock_off: 0,
            crash: None,
            spare: 0,
            written: (0, 0),
            wake_at: None,
            outputs: Vec::new(),
            inputs: Vec::new(),
            next_command: 1,
        };
        client.commit(step);
        client
    }

    /// Reopens from what was committed.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub fn reopen(&mut self, now: Now) -> Result<(), Corrupt> {
        let hot: Vec<Row> = self
            .rows
            .iter()
            .filter(|(name, _)| is_hot(name.0[0]))
            .map(|(name, sealed)| Row { name: *name, sealed: sealed.clone() })
            .collect();
        let (engine, step) = Engine::open(VaultKey::new(self.key), self.org.clone(), &hot, now)?;
        self.generation = engine.generation();
        self.engine = engine;
        self.inputs.clear();
        self.outputs.clear();
        self.wake_at = step.wake_at;
        Ok(())
    }

    /// The clocks as this device reads them.
    pub(super) fn reads(&self, now: Now) -> Now {
        Now { wall_ms: now.wall_ms.saturating_add_signed(self.clock_off), ..now }
    }

    /// Puts other rows into the vault; reopen afterwards.
    pub fn take_over(&mut self, rows: &BTreeMap<Name, Vec<u8>>) {
        self.rows.clone_from(rows);
    }

    /// The vault key.
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Uses another vault key from the next opening on.
    pub fn set_key(&mut self, key: [u8; 32]) {
        self.key = key;
    }

    /// Dies in the n-th step from now that writes something (0: the next).
    pub fn crash_in(&mut self, steps: u64, crash: Crash) {
        self.crash = Some(crash);
        self.spare = steps;
    }

    /// Uses another org.json from the next opening on.
    pub fn set_org(&mut self, org: VerifiedOrg) {
        self.org = org;
    }

    /// Queues a command; answers its id.
    pub fn command(&mut self, command: Command) -> u64 {
        let id = self.next_command;
        self.next_command += 1;
        self.inputs.push(Input::User { id, command });
        id
    }

    /// Queues any input.
    pub fn input(&mut self, input: Input) {
        self.inputs.push(input);
    }

    /// Answers so many of the chunks that were held, oldest first.
    pub fn release_chunks(&mut self, most: usize) {
        let most = most.min(self.held_chunks.len());
        self.inputs.extend(self.held_chunks.drain(..most));
    }

    pub(super) fn is_due(&self, mono: u64) -> bool {
        !self.inputs.is_empty() || self.wake_at.is_some_and(|at| at <= mono)
    }

    /// One step; true when the program died and was started again.
    pub(super) fn step(&mut self, now: Now) -> Result<bool, Corrupt> {
        let inputs = core::mem::take(&mut self.inputs);
        let step = self.engine.step(now, &mut self.rng, inputs);
        let writes = self.crash.is_some() && !step.persist.writes.is_empty();
        if writes && self.spare > 0 {
            self.spare -= 1;
        } else if let Some(crash) = self.crash.filter(|_| writes) {
            self.crash = None;
            if crash == Crash::AfterCommit {
                self.commit(step);
            }
            self.reopen(now)?;
            return Ok(true);
        }
        self.commit(step);
        Ok(false)
    }

    fn commit(&mut self, step: Step) {
        let Step { persist, then, wake_at } = step;
        if !persist.writes.is_empty() {
            assert!(
                self.generation == 0 || persist.generation == self.generation + 1,
                "batches follow each other"
            );
            self.generation = persist.generation;
        }
        self.written = (self.written.0 + persist.writes.len(), persist.writes.len());
        for write in persist.writes {
            match write {
                Write::Put(row) => drop(self.rows.insert(row.name, row.sealed)),
                Write::Delete(name) => drop(self.rows.remove(&name)),
            }
        }
        self.wake_at = wake_at;
        for output in then {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::ReadChunk { transfer, part, offset, len } => {
                    let bytes = self.files.get(&(transfer, part)).and_then(|file| {
                        let start = usize::try_from(offset).ok()?;
                        let end = file.len().min(start.checked_add(len as usize)?);
                        file.get(start..end).map(<[u8]>::to_vec)
                    });
                    let answer = match bytes {
                        Some(bytes) => Input::Chunk { transfer, part, offset, bytes: FileBytes(bytes) },
                        None => Input::ChunkFailed { transfer, part },
                    };
                    let held = self.hold_reads == Some(part);
                    if held { &mut self.held_chunks } else { &mut self.inputs }.push(answer);
                }
                Output::WriteChunk { transfer, part, offset, bytes: FileBytes(bytes) } => {
                    let file = self.files.entry((transfer, part)).or_default();
                    let start = usize::try_from(offset).unwrap_or(usize::MAX);
                    file.resize(file.len().max(start + bytes.len()), 0);
                    file[start..start + bytes.len()].copy_from_slice(&bytes);
                    let held = self.hold_writes == Some(part);
                    let answer = Input::ChunkStored { transfer, part, offset };
                    if held { &mut self.held_chunks } else { &mut self.inputs }.push(answer);
                }
                Output::DropSpool(transfer) => drop(self.files.remove(&(transfer, Part::Spool))),
                other => self.outputs.push(other),
            }
        }
    }

    /// The transcript's last entries.
    ///
    /// # Errors
    /// [`Corrupt`].
    pub fn transcript(
        &self,
        conversation: &sealdesk_protocol::ids::ConversationId,
    ) -> Result<Vec<Message>, Corrupt> {
        let rows: Vec<Row> = self
            .engine
            .page_names(conversation, u64::MAX, u16::MAX)
            .into_iter()
            .filter_map(|name| self.rows.get(&name).map(|sealed| Row { name, sealed: sealed.clone() }))
            .collect();
        self.engine.page(&rows)
    }

    /// Events so far, taken.
    pub fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }
}
