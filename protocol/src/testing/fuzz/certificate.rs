//! Signed things: certificate chains, revocations, org.json, statements.

use alloc::string::String;
use alloc::vec::Vec;

use super::world::{NOW, World, world};
use super::{Raw, Sink, case, edit};
use crate::conversation::governance::{Governance, MAX_EPOCHS};
use crate::conversation::statements::{Action, Statement, VerifiedStatement};
use crate::conversation::{Member, Role, Roster, conversation_id};
use crate::crypto::certificate::{
    CLOCK_SKEW, CertificateChain, DEVICE_LIFE, MAX_DISPLAY_NAME, Revocations, SignedRevocations,
};
use crate::crypto::identity::{DeviceSecret, SignedBytes};
use crate::crypto::{codec, labels};
use crate::org::Floor;
use crate::testing::handle;

const MAX: usize = 16 * 1024 * 1024;

/// Case 0: a chain, altered. 1: at any time. 2: a device certificate of an issuer's own bad making. 3: revocations,
/// altered. 4: org.json, altered. 5: an open statement, altered. 6: statements of both sides' own bad making.
///
/// # Panics
/// When anything but the genuine verifies, or a verified thing breaks its invariants.
pub fn certificate(data: &[u8]) {
    let Some((case, rest)) = case(data) else { return };
    let world = world();
    match case % 7 {
        0 => chain(world, &edit(&codec::encode(&world.chain), rest)),
        1 => time(world, rest),
        2 => own_making(world, &edit(world.chain.device.body(), rest)),
        3 => revocations(world, rest),
        4 => org(world, rest),
        5 => statement(world, &edit(&codec::encode(&open(world).sign(&world.customer)), rest)),
        _ => statements(world, rest),
    }
}

fn chain(world: &World, bytes: &[u8]) {
    let Ok(chain) = codec::decode::<CertificateChain>(bytes, MAX) else { return };
    let verdict = chain.verify(world.verified.pins(), world.verified.revocations(), NOW);
    assert_eq!(verdict.is_ok(), chain == world.chain, "only the genuine chain verifies");
}

fn time(world: &World, rest: &[u8]) {
    let Some(bytes) = rest.first_chunk::<8>() else { return };
    let now = u64::from_le_bytes(*bytes);
    let verdict = world.chain.verify(world.verified.pins(), world.verified.revocations(), now);
    let valid = now.saturating_add(CLOCK_SKEW) >= NOW && now < NOW + DEVICE_LIFE;
    assert_eq!(verdict.is_ok(), valid, "at {now}");
}

fn own_making(world: &World, body: &[u8]) {
    let device = SignedBytes::sign(labels::AGENT_DEVICE, &Raw(body), &world.org.issuer);
    let chain = CertificateChain { issuer: world.chain.issuer.clone(), device };
    let Ok(verified) = chain.verify(world.verified.pins(), world.verified.revocations(), NOW) else { return };
    let certificate = verified.certificate();
    let name = verified.display_name();
    assert!(!name.trim().is_empty() && name.len() <= MAX_DISPLAY_NAME);
    assert!(!crate::names::deceives(name));
    assert!(certificate.teams.is_sorted() && certificate.roles.is_sorted());
    assert_eq!(certificate.root, world.verified.root());
    assert!(certificate.not_after > NOW && verified.valid_until() <= certificate.not_after);
    assert!(certificate.not_after - certificate.not_before <= DEVICE_LIFE);
}

fn revocations(world: &World, script: &[u8]) {
    let genuine = world.org.revocations.as_ref().unwrap();
    let Ok(signed) = codec::decode::<SignedRevocations>(&edit(&codec::encode(genuine), script), MAX) else {
        return;
    };
    let verdict = Revocations::verify(&signed, world.verified.pins());
    assert_eq!(verdict.is_ok(), signed == *genuine, "only the genuine list verifies");
}

fn org(world: &World, rest: &[u8]) {
    let Some((field, script)) = case(rest) else { return };
    let mut file = world.file.clone();
    let text = match field % 4 {
        0 => &mut file.pins,
        1 => &mut file.issuer,
        2 => &mut file.settings,
        _ => file.revocations.get_or_insert_default(),
    };
    let Ok(bent) = String::from_utf8(edit(text.as_bytes(), script)) else { return };
    *text = bent;
    if let Ok(verified) = file.verify(&world.verified.root(), &Floor::default(), NOW) {
        assert!(verified == world.verified, "an altered org.json verified to something else");
    }
}

/// The open statement of the two devices.
fn open(world: &World) -> Statement {
    let (root, nonce) = (world.verified.root(), [4; 16]);
    let member = |role, agent, device: &DeviceSecret| Member { role, agent, device: device.public() };
    let members = alloc::vec![
        member(Role::Customer, None, &world.customer),
        member(Role::Agent, Some(handle("mira")), &world.agent),
    ];
    let action = Action::Open {
        roster: Roster::try_from(members).unwrap(),
        topic: handle("general"),
        language: String::from("en"),
        consent: [5; 32],
        nonce,
    };
    Statement {
        root,
        conversation: conversation_id(&root, &world.customer.public(), &nonce),
        epoch: 1,
        signer: world.customer.hash(),
        time: NOW,
        expires: u64::MAX,
        action,
    }
}

fn statement(world: &World, bytes: &[u8]) {
    let Ok(signed) = codec::decode::<SignedBytes>(bytes, MAX) else { return };
    let verdict = VerifiedStatement::verify(&signed, &world.customer.public());
    let genuine = open(world).sign(&world.customer);
    assert_eq!(verdict.is_ok(), signed == genuine, "only the genuine statement verifies");
    assert!(VerifiedStatement::verify(&signed, &world.agent.public()).is_err());
}

/// Two bytes of a note's kind and of script length, then the script, again and again: a sequence of statements, each
/// altered from a sensible one and then really signed by one of the two devices.
fn statements(world: &World, mut rest: &[u8]) {
    let genuine = open(world).sign(&world.customer);
    let first = VerifiedStatement::verify(&genuine, &world.customer.public()).unwrap();
    let mut governance = Governance::open(world.verified.root(), &first).unwrap();
    while let [kind, len, tail @ ..] = rest {
        let (script, next) = tail.split_at(tail.len().min(usize::from(len % 32)));
        rest = next;
        let signer = if kind & 1 == 0 { &world.customer } else { &world.agent };
        let sensible = codec::encode(&Statement {
            epoch: governance.current().number + u32::from(kind >> 1 & 7 == 0),
            signer: signer.hash(),
            action: action(kind >> 1 & 7, &governance, world),
            ..open(world)
        });
        let signed = SignedBytes::sign(labels::STATEMENT, &Raw(&edit(&sensible, script)), signer);
        let Ok(verified) = VerifiedStatement::verify(&signed, &signer.public()) else { continue };
        let before = governance.clone();
        match governance.apply(&verified, Some(NOW)) {
            Ok(_) => invariants(world, &before, &governance, &verified),
            Err(_) => assert!(governance == before, "a refused statement changed the conversation"),
        }
    }
}

fn action(kind: u8, governance: &Governance, world: &World) -> Action {
    let current = governance.current().statement;
    match kind {
        0 => Action::Reassign { previous: current, roster: governance.current().roster.clone() },
        1 => Action::Accept { current },
        2 => Action::Countersign { current },
        3 => Action::Close { current, heads: Vec::new() },
        4 => Action::Reset {
            current,
            peer: world.agent.hash(),
            old: crate::ids::SessionId([1; 16]),
            new: crate::ids::SessionId([2; 16]),
            generation: 1,
        },
        5 => Action::Offer {
            current,
            agent: handle("mira"),
            device: world.agent.public(),
            heads: Vec::new(),
            history: crate::conversation::statements::History::None,
            reason: String::from("because"),
        },
        6 => Action::Withdraw { current, offer: current },
        _ => open(world).action,
    }
}

fn invariants(world: &World, before: &Governance, after: &Governance, statement: &VerifiedStatement) {
    assert!(after.epochs().starts_with(before.epochs()), "history is never rewritten");
    assert!(after.epochs().len() <= before.epochs().len() + 1);
    assert!(after.current().number <= MAX_EPOCHS);
    assert_eq!(after.current().number as usize, after.epochs().len());
    assert_eq!(after.current().roster.customer().hash(), world.customer.hash());
    assert!(!before.is_accepted() || after.is_accepted());
    assert!(before.closed().is_none() || after.closed() == before.closed());
    let signer = statement.get().signer;
    if after.is_accepted() && !before.is_accepted() {
        assert_eq!(signer, after.current().roster.agent().hash(), "only the named agent accepts");
    }
    if after.is_countersigned() && !before.is_countersigned() {
        assert_eq!(signer, world.customer.hash(), "only the customer countersigns");
    }
    let stored = codec::encode(after);
    assert_eq!(codec::decode::<Governance>(&stored, MAX).as_ref(), Ok(after));
}

pub(super) fn seeds(sink: Sink<'_>) {
    let flips = |prefix: &[u8], name: &str, sink: &mut dyn FnMut(String, Vec<u8>)| {
        sink(alloc::format!("{name}-untouched"), prefix.to_vec());
        for place in [0u16, 1, 2, 34, 70, 100, 140, 180, 220, 260, 300, 340] {
            let [low, high] = place.to_le_bytes();
            sink(alloc::format!("{name}-flip-{place}"), [prefix, &[0, low, high, 1]].concat());
        }
        sink(alloc::format!("{name}-insert"), [prefix, &[3, 0, 0, 0x80]].concat());
        sink(alloc::format!("{name}-cut"), [prefix, &[4, 40, 0, 0]].concat());
    };
    flips(&[0], "chain", sink);
    for (name, time) in [("before", NOW - CLOCK_SKEW - 1), ("skew", NOW - CLOCK_SKEW), ("now", NOW)] {
        sink(alloc::format!("time-{name}"), [&[1], &time.to_le_bytes()[..]].concat());
    }
    for (name, time) in [("last", NOW + DEVICE_LIFE - 1), ("end", NOW + DEVICE_LIFE), ("max", u64::MAX)] {
        sink(alloc::format!("time-{name}"), [&[1], &time.to_le_bytes()[..]].concat());
    }
    flips(&[2], "own", sink);
    flips(&[3], "revocations", sink);
    for field in 0..4 {
        flips(&[4, field], &alloc::format!("org-{field}"), sink);
    }
    flips(&[5], "open", sink);
    // Each kind by each side alone, then a whole life: accept, countersign, offer, reset, close, close again.
    for kind in 0..16 {
        sink(alloc::format!("signed-{kind}"), alloc::vec![6, kind, 0]);
    }
    sink(String::from("signed-life"), alloc::vec![6, 3, 0, 4, 0, 11, 0, 8, 0, 9, 0, 6, 0, 7, 0, 4, 0]);
    sink(String::from("signed-altered"), alloc::vec![6, 3, 4, 0, 70, 0, 1, 3, 4, 0, 33, 0, 1, 6, 0]);
}

/// A conversation as it is stored.
pub(super) fn stored_conversation(world: &World) -> Vec<u8> {
    let genuine = open(world).sign(&world.customer);
    let first = VerifiedStatement::verify(&genuine, &world.customer.public()).unwrap();
    codec::encode(&Governance::open(world.verified.root(), &first).unwrap())
}
