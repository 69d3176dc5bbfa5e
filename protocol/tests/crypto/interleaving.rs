//! Any interleaving of two parties with loss, repetition, reordering, corruption and restart from stored state: each
//! delivered message decrypts exactly once, to what was sent.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sealdesk_protocol::session::{MAX_RETIRED, Quarantine, Session, SkippedChanges, SkippedName};
use sealdesk_protocol::wire::envelope::Envelope;

use crate::world::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A side sends; the length picks a padding bucket.
    Send { agent: bool, len: u16 },
    /// Some envelope that is under way, or was delivered before, arrives.
    Deliver { pick: usize },
    /// Some envelope arrives with a flipped bit.
    Corrupt { pick: usize, bit: usize },
    /// Some envelope is lost.
    Lose { pick: usize },
    /// A side restarts from what it wrote.
    Restart { agent: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 0..5000u16).prop_map(|(agent, len)| Step::Send { agent, len }),
        6 => any::<usize>().prop_map(|pick| Step::Deliver { pick }),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(pick, bit)| Step::Corrupt { pick, bit }),
        1 => any::<usize>().prop_map(|pick| Step::Lose { pick }),
        1 => any::<bool>().prop_map(|agent| Step::Restart { agent }),
    ]
}

/// A party with its vault: state, and one record for each skipped key, kept by the changes that it is told.
#[derive(Default)]
struct Party {
    session: Option<Session>,
    stored: Vec<u8>,
    records: BTreeMap<SkippedName, Vec<u8>>,
    /// Which of our chains is open, counted by turns; the peer's chains received.
    sent_chains: usize,
    received_chains: usize,
    my_turn: bool,
}

impl Party {
    fn persist(&mut self, changes: &SkippedChanges) {
        let session = self.session.as_ref().unwrap();
        for name in &changes.added {
            assert!(self.records.insert(*name, session.skipped(name).unwrap().to_vec()).is_none());
        }
        for name in &changes.removed {
            assert!(self.records.remove(name).is_some());
        }
        assert!(session.skipped_names().eq(self.records.keys()), "the changes describe the whole difference");
        self.stored = session.to_stored().to_vec();
    }

    fn restart(&mut self) {
        if self.session.is_some() {
            let mut session = Session::from_stored(&self.stored).unwrap();
            self.records.values().for_each(|record| session.load_skipped(record).unwrap());
            self.session = Some(session);
        }
    }
}

struct Message {
    from_agent: bool,
    content: Vec<u8>,
    bytes: Vec<u8>,
    chain: usize,
    opened: bool,
    lost: bool,
}

struct Run {
    world: World,
    parties: [Party; 2],
    messages: Vec<Message>,
}

impl Run {
    fn new(seed: u64, one_time: bool) -> Self {
        let mut world = World::new(seed, one_time);
        let mut parties = [Party::default(), Party::default()];
        parties[0].session = Some(world.initiate());
        parties[0].my_turn = true;
        parties[0].persist(&SkippedChanges::default());
        Self { world, parties, messages: Vec::new() }
    }

    fn send(&mut self, agent: bool, len: u16) {
        let party = &mut self.parties[usize::from(agent)];
        let Some(session) = &mut party.session else { return };
        if std::mem::take(&mut party.my_turn) {
            party.sent_chains += 1;
        }
        let content = vec![self.messages.len() as u8; usize::from(len)];
        let envelope = session.encrypt(&content, EPOCH, ROSTER, &mut self.world.rng).unwrap();
        party.persist(&SkippedChanges::default());
        self.messages.push(Message {
            from_agent: agent,
            content,
            bytes: envelope.encode(),
            chain: party.sent_chains,
            opened: false,
            lost: false,
        });
    }

    /// What the receiver makes of these bytes.
    fn arrive(&mut self, to_agent: bool, bytes: &[u8]) -> Result<Vec<u8>, Quarantine> {
        let envelope = Envelope::decode(bytes).map_err(|_| Quarantine::Malformed)?;
        let party = &mut self.parties[usize::from(to_agent)];
        let opened = match &mut party.session {
            Some(session) => session.decrypt(&envelope, NOW)?,
            None => {
                let accepted = self.world.accept(&envelope)?;
                party.session = Some(accepted.session);
                accepted.opened
            }
        };
        party.persist(&opened.changes);
        Ok(opened.content)
    }

    fn deliver(&mut self, pick: usize) {
        let Some(index) = pick.checked_rem(self.messages.len()) else { return };
        if self.messages[index].lost {
            return;
        }
        let (to_agent, bytes) = (!self.messages[index].from_agent, self.messages[index].bytes.clone());
        let got = self.arrive(to_agent, &bytes);
        let party = &mut self.parties[usize::from(to_agent)];
        let message = &mut self.messages[index];
        let forgotten = message.chain + MAX_RETIRED < party.received_chains;
        if forgotten {
            assert_eq!(got, Err(Quarantine::NoHeaderKey));
        } else if message.opened {
            assert_eq!(got, Err(Quarantine::Duplicate));
        } else {
            assert_eq!(got.as_ref(), Ok(&message.content));
            message.opened = true;
            if message.chain > party.received_chains {
                party.received_chains = message.chain;
                party.my_turn = true;
            }
        }
    }

    fn corrupt(&mut self, pick: usize, bit: usize) {
        let Some(index) = pick.checked_rem(self.messages.len()) else { return };
        let to_agent = !self.messages[index].from_agent;
        let mut bytes = self.messages[index].bytes.clone();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let state = |run: &Self| run.parties[usize::from(to_agent)].session.as_ref().map(freeze);
        let before = state(self);
        assert!(self.arrive(to_agent, &bytes).is_err());
        assert_eq!(state(self), before);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send { agent, len } => self.send(agent, len),
            Step::Deliver { pick } => self.deliver(pick),
            Step::Corrupt { pick, bit } => self.corrupt(pick, bit),
            Step::Lose { pick } => {
                if let Some(index) = pick.checked_rem(self.messages.len()) {
                    self.messages[index].lost = true;
                }
            }
            Step::Restart { agent } => self.parties[usize::from(agent)].restart(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_delivered_message_opens_once(
        seed in any::<u64>(),
        one_time in any::<bool>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut run = Run::new(seed, one_time);
        run.send(false, 10);
        for step in steps {
            run.step(step);
        }
        // Whatever is still under way arrives in the end, oldest last.
        for index in (0..run.messages.len()).rev() {
            run.deliver(index);
        }
    }
}
