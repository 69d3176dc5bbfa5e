//! Forward secrecy and healing, shown by attackers who use all that they are given.
//!
//! The [`Thief`] follows a recorded conversation by the equations of §5, with an implementation of his own over whatever
//! secrets he holds. Each claim has its control: the same thief with both halves of the keys reads everything, so that a
//! failure to read is the protocol's doing, not the thief's clumsiness.

use alloc::vec::Vec;

use super::chain::{ChainHash, ChainKey, ChainPart};
use super::header::{HeaderKey, SmallHeader};
use super::root::{self, Target};
use super::send::Sealed;
use super::two_parties::Side::{self, Agent, Customer};
use super::two_parties::{CLEAR, Wire, World};
use super::{Ratchet, Turn, body_aad};
use crate::conversation::padding;
use crate::crypto::codec;
use crate::crypto::dh::DhSecret;
use crate::crypto::handshake;
use crate::crypto::kem::{KemPublic, KemSecret};
use crate::ids::SessionId;
use crate::secret::Secret;

/// What he knows of one direction.
struct Direction {
    /// Opens the next chain part of this direction.
    next_header: HeaderKey,
    /// Chains that he is in: header key, name, key, number.
    chains: Vec<(HeaderKey, ChainHash, ChainKey, u32)>,
    /// The keys that the next chain of this direction is opened towards.
    target: Option<([u8; 32], KemPublic)>,
}

/// Follows a conversation by the equations of §5.
struct Thief {
    session: SessionId,
    root: Secret<32>,
    customer: Direction,
    agent: Direction,
    x: Vec<DhSecret>,
    kem: Vec<KemSecret>,
    /// Guesses for either half: all 32-byte strings of what he stole, and zero.
    guesses: Vec<Secret<32>>,
}

impl Thief {
    /// With a copy of a party's whole state.
    fn with_state_of(side: Side, stolen: &[u8]) -> Self {
        let state: Ratchet = codec::decode(stolen, 1 << 16).unwrap();
        let (mut x, mut kem) = (Vec::new(), Vec::new());
        let mut own = Direction { next_header: state.next_send, chains: Vec::new(), target: None };
        let mut other = Direction { next_header: state.next_receive, chains: Vec::new(), target: None };
        match state.turn {
            Turn::Mine { peer, .. } => own.target = Some((peer.x, peer.kem)),
            Turn::Theirs { me, sending } => {
                other.target = Some((*me.x.public(), KemPublic::validate(me.kem.public()).unwrap()));
                x.push(me.x);
                kem.push(me.kem);
                own.chains.extend(sending.map(|s| (s.header, s.hash, s.chain, s.number)));
            }
        }
        other.chains.extend(state.receiving.map(|r| (r.header, r.hash, r.chain, r.number)));
        let (customer, agent) = if side == Customer { (own, other) } else { (other, own) };
        let guesses = windows(stolen);
        Self { session: state.session, root: state.root, customer, agent, x, kem, guesses }
    }

    /// From the handshake, with every X25519 secret, or every ML-KEM secret, or both, or none; and with `stolen` bytes as
    /// guesses for what he lacks.
    fn from_handshake(world: &World, x: bool, kem: bool, stolen: &[u8]) -> Option<Self> {
        let verified = world.preamble.verify(&world.devices[0].public()).unwrap();
        let none: Vec<Secret<32>> = Vec::new();
        // dh1..dh4 by any of the two secrets each; without them, or without ss0, a guess.
        let dh = |secret: &DhSecret, public: &[u8; 32]| secret.agree(public).unwrap();
        let ephemeral = *world.x[0].public();
        let [last_resort, one_time] = &world.prekeys;
        let known_dh = x.then(|| {
            [
                dh(&last_resort.x, &world.devices[0].public().x),
                dh(world.devices[1].agreement(), &ephemeral),
                dh(&last_resort.x, &ephemeral),
                dh(&one_time.x, &ephemeral),
            ]
        });
        let known_ss = kem.then(|| one_time.kem.decapsulate(&world.preamble.ciphertext_for_tests()));
        let guesses = windows(stolen);
        let candidates = match (&known_dh, &known_ss) {
            (Some(dh), Some(ss)) => Vec::from([shared(dh, ss)]),
            (Some(dh), None) => guesses.iter().map(|guess| shared(dh, guess)).collect(),
            (None, Some(ss)) => guesses
                .iter()
                .map(|g| shared(&[g.duplicate(), g.duplicate(), g.duplicate(), g.duplicate()], ss))
                .collect(),
            (None, None) => Vec::from([none]),
        };
        let first = &world.wire[0].sealed;
        let keys = candidates.into_iter().find_map(|candidate| {
            let keys = handshake::session_keys_for_tests(&verified, &candidate.iter().collect::<Vec<_>>());
            // The right keys open the first header.
            let header = HeaderKey::new(keys.initiator_header.duplicate());
            SmallHeader::open(&header, &first.nonce, CLEAR, &first.header).map(|_| keys)
        })?;
        let target = (*last_resort.x.public(), KemPublic::validate(one_time.kem.public()).unwrap());
        let direction =
            |next, target| Direction { next_header: HeaderKey::new(next), chains: Vec::new(), target };
        let mut thief = Self {
            session: keys.session,
            root: keys.root,
            customer: direction(keys.initiator_header, Some(target)),
            agent: direction(keys.responder_header, None),
            x: Vec::new(),
            kem: Vec::new(),
            guesses,
        };
        thief.learn(world, x, kem);
        Some(thief)
    }

    /// Is given all X25519 secrets, or all ML-KEM secrets, of both parties.
    fn learn(&mut self, world: &World, x: bool, kem: bool) {
        if x {
            self.x.extend(world.x.iter().map(DhSecret::duplicate));
        }
        if kem {
            self.kem.extend(world.kem.iter().map(KemSecret::duplicate));
        }
    }

    /// The content, if he can.
    fn read(&mut self, wire: &Wire) -> Option<Vec<u8>> {
        let sealed = &wire.sealed;
        let (own, other) = match wire.from {
            Customer => (&mut self.customer, &mut self.agent),
            Agent => (&mut self.agent, &mut self.customer),
        };
        for (header_key, _, chain, number) in &own.chains {
            if let Some(header) = SmallHeader::open(header_key, &sealed.nonce, CLEAR, &sealed.header) {
                let (_, chain) = chain.skip(*number, header.number).ok()?;
                return open(&chain, sealed);
            }
        }
        let part = ChainPart::open(&own.next_header, &self.session, &sealed.chain).ok()?;
        let header = SmallHeader::open(&own.next_header, &sealed.nonce, CLEAR, &sealed.header)?;
        let (target_x, target_kem) = own.target.as_ref()?;
        // Either party's secret gives dh; the receiver's gives ss.
        let x = self.x.iter().flat_map(|s| [s.agree(part.x().unwrap()), s.agree(target_x)]).flatten();
        let mut dh: Vec<Secret<32>> = x.collect();
        let mut ss: Vec<Secret<32>> =
            self.kem.iter().map(|s| s.decapsulate(part.ciphertext().unwrap())).collect();
        // Guessing one half makes sense with the other half known.
        let guess = |of: &[Secret<32>]| of.iter().map(Secret::duplicate).collect::<Vec<_>>();
        let (full_dh, full_ss) = (guess(&dh), guess(&ss));
        dh.extend(guess(&self.guesses));
        ss.extend(guess(&self.guesses));
        let pairs = full_dh
            .iter()
            .flat_map(|d| ss.iter().map(move |s| (d, s)))
            .chain(full_ss.iter().flat_map(|s| dh.iter().map(move |d| (d, s))));
        let target = Target { x: target_x, kem: target_kem.as_bytes() };
        for (dh, ss) in pairs {
            let step = root::step(&self.root, &self.session, dh, ss, part.as_bytes(), &target);
            let (_, chain) = step.chain.skip(0, header.number).ok()?;
            let Some(content) = open(&chain, sealed) else { continue };
            other.target = Some((*part.x().unwrap(), part.kem().unwrap()));
            let header_key = core::mem::replace(&mut own.next_header, step.next_header);
            own.chains.insert(0, (header_key, header.chain, chain, header.number));
            self.root = step.root;
            return Some(content);
        }
        None
    }
}

/// The key of this number opens the body?
fn open(chain: &ChainKey, sealed: &Sealed) -> Option<Vec<u8>> {
    let aad = body_aad(CLEAR, &sealed.nonce, &sealed.header);
    let padded = chain.step().0.open(&sealed.nonce, &aad, &sealed.body).ok()?;
    padding::unpad(padded).ok()
}

fn shared(dh: &[Secret<32>; 4], ss: &Secret<32>) -> Vec<Secret<32>> {
    dh.iter().chain([ss]).map(Secret::duplicate).collect()
}

/// Every 32-byte string in stolen bytes, and zero.
fn windows(stolen: &[u8]) -> Vec<Secret<32>> {
    let all = stolen.windows(32).filter_map(Secret::from_slice);
    all.chain([Secret::new([0; 32])]).collect()
}

fn steal(ratchet: &Ratchet) -> Vec<u8> {
    let mut stolen = codec::encode(ratchet);
    for name in ratchet.skipped_names() {
        stolen.extend_from_slice(&ratchet.skipped_record(name).unwrap());
    }
    stolen
}

/// A conversation of several turns with several messages each.
const TALK: [Side; 9] = [Customer, Customer, Agent, Agent, Customer, Agent, Agent, Customer, Agent];

#[test]
fn stolen_state_opens_nothing_before_it() {
    for cut in [2, 4, 7] {
        let mut world = World::new();
        world.say_all(&TALK[..cut]);
        for ratchet in [&world.customer, &world.agent] {
            let stolen = steal(ratchet);
            // Any 32 bytes of the state as message key or as chain key of the next few numbers.
            for guess in windows(&stolen) {
                for (number, wire) in world.wire.iter().enumerate() {
                    let chain = ChainKey::new(guess.duplicate());
                    assert!(open(&chain, &wire.sealed).is_none(), "message {number} of {cut}");
                    let (_, chain) = chain.skip(0, 2).unwrap();
                    assert!(open(&chain, &wire.sealed).is_none(), "message {number} of {cut}");
                }
            }
        }
    }
}

/// The control of the search above: a chain key stolen before a message does open it.
#[test]
fn the_search_finds_a_chain_key_stolen_before() {
    let mut world = World::new();
    world.say_all(&TALK[..3]);
    let stolen = steal(&world.customer);
    world.say(Agent);
    let found =
        windows(&stolen).into_iter().any(|g| open(&ChainKey::new(g), &world.wire[3].sealed).is_some());
    assert!(found);
}

/// All X25519 secrets ever made, or all ML-KEM secrets ever made, and the state of both at the end: nothing of the past.
#[test]
fn the_past_stays_closed_when_one_half_is_given_away() {
    let mut world = World::new();
    world.say_all(&TALK);
    let stolen = [steal(&world.customer), steal(&world.agent)].concat();
    assert!(Thief::from_handshake(&world, true, false, &stolen).is_none(), "X25519 given away");
    assert!(Thief::from_handshake(&world, false, true, &stolen).is_none(), "ML-KEM given away");
    assert!(Thief::from_handshake(&world, false, false, &stolen).is_none(), "nothing given away");
    // Control: with both halves he reads it all.
    let mut thief = Thief::from_handshake(&world, true, true, &stolen).unwrap();
    for wire in &world.wire {
        assert_eq!(thief.read(wire).as_ref(), Some(&wire.content));
    }
}

/// The past stays closed even when the handshake's keys are known and one half of every ratchet key is given away: each
/// chain needs both.
#[test]
fn chains_stay_closed_when_one_half_is_given_away() {
    for (x, kem) in [(true, false), (false, true), (false, false)] {
        let mut world = World::new();
        world.say_all(&TALK);
        let mut thief = Thief::from_handshake(&world, true, true, &[]).unwrap();
        (thief.x, thief.kem) = (Vec::new(), Vec::new());
        thief.learn(&world, x, kem);
        thief.guesses = windows(&steal(&world.customer));
        for wire in &world.wire[..2] {
            assert_eq!(thief.read(wire), None, "X25519 {x}, ML-KEM {kem}");
        }
    }
}

/// A passive thief of a live state reads until one full round trip is over; with one half of all later keys as well.
#[test]
fn one_round_trip_heals() {
    for victim in [Customer, Agent] {
        for cut in 3..8 {
            for (x, kem) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut world = World::new();
                world.say_all(&TALK[..cut]);
                let state = if victim == Customer { &world.customer } else { &world.agent };
                let mut thief = Thief::with_state_of(victim, &steal(state));
                if cut != 4 {
                    // Guessing with all bytes takes seconds; once is enough.
                    thief.guesses = windows(&[]);
                }
                let from = world.wire.len();
                // Whatever was begun is finished first; then one round trip; then the rest.
                let peer = if victim == Customer { Agent } else { Customer };
                world.say_all(&[peer, victim, peer, victim, peer, victim]);
                thief.learn(&world, x, kem);
                let read: Vec<bool> =
                    world.wire[from..].iter().map(|w| thief.read(w).as_ref() == Some(&w.content)).collect();
                let note = alloc::format!("{victim:?}, {cut} messages, X25519 {x}, ML-KEM {kem}: {read:?}");
                if x && kem {
                    assert!(read.iter().all(|r| *r), "control: {note}");
                } else {
                    // peer, victim: the round trip after which nothing opens.
                    assert!(read[2..].iter().all(|r| !*r), "{note}");
                    // Control: he is no straw man, what the stolen keys open he reads.
                    assert!(read[0], "{note}");
                }
            }
        }
    }
}

/// Headers close one trip after the bodies.
#[test]
fn headers_close_one_trip_later() {
    let mut world = World::new();
    world.say_all(&TALK[..4]);
    let thief = Thief::with_state_of(Customer, &steal(&world.customer));
    world.say_all(&[Agent, Customer, Agent, Customer, Agent, Customer]);
    let keys: Vec<&HeaderKey> = [&thief.customer, &thief.agent]
        .into_iter()
        .flat_map(|d| d.chains.iter().map(|c| &c.0).chain([&d.next_header]))
        .collect();
    let opened: Vec<bool> = world.wire[4..]
        .iter()
        .map(|w| {
            keys.iter().any(|k| SmallHeader::open(k, &w.sealed.nonce, CLEAR, &w.sealed.header).is_some())
        })
        .collect();
    assert!(opened[0], "the chain in which he stole");
    assert!(opened[4..].iter().all(|o| !*o), "{opened:?}");
}

#[test]
fn debug_of_the_state_shows_no_byte_of_it() {
    let world = World::new();
    let shown = alloc::format!("{:?}", &world.customer);
    assert_eq!(shown, alloc::format!("Ratchet({:?}, ..)", world.customer.session()));
}
