//! Envelopes: decoding, and refusal of every altered one.

use alloc::string::String;

use super::world::{NOW, freeze, thaw, world};
use super::{Sink, case, edit};
use crate::session::Quarantine;
use crate::wire::envelope::{Envelope, MAX_ENVELOPE};

/// Case 0: any bytes. Case n: envelope n of a real session, altered.
///
/// # Panics
/// When an altered envelope opens or changes the session, or the genuine one does not open afterwards.
pub fn envelope(data: &[u8]) {
    let Some((case, rest)) = case(data) else { return };
    let world = world();
    match usize::from(case) % (world.stored.len() + 2) {
        0 => drop(decoded(rest)),
        1 => ephemeral(&edit(&world.typing.bytes, rest)),
        n => stored(n - 2, &edit(&world.stored[n - 2].bytes, rest)),
    }
}

/// Decodes; what decodes encodes to the same again.
fn decoded(bytes: &[u8]) -> Option<Envelope> {
    let envelope = Envelope::decode(bytes).ok()?;
    assert!(bytes.len() <= MAX_ENVELOPE);
    let again = envelope.encode();
    assert!(again.len() <= bytes.len(), "the encoding is the shortest");
    assert_eq!(Envelope::decode(&again).as_ref(), Ok(&envelope));
    Some(envelope)
}

fn stored(which: usize, bytes: &[u8]) {
    let genuine = &world().stored[which];
    let mut session = thaw(&world().session);
    if let Some(envelope) = decoded(bytes).filter(|e| *e != genuine.envelope) {
        let before = freeze(&session);
        let verdict = session.decrypt(&envelope, NOW);
        assert!(verdict.is_err(), "an altered envelope opened");
        assert!(session.decrypt_ephemeral(&envelope).is_err());
        assert!(freeze(&session) == before, "a refused envelope changed the session");
    }
    let opened = session.decrypt(&genuine.envelope, NOW).unwrap();
    assert_eq!(opened.content, genuine.content);
    assert_eq!(session.decrypt(&genuine.envelope, NOW).unwrap_err(), Quarantine::Duplicate);
}

fn ephemeral(bytes: &[u8]) {
    let world = world();
    let mut session = thaw(&world.session);
    // Its chain is known from the third on.
    session.decrypt(&world.stored[2].envelope, NOW).unwrap();
    if let Some(envelope) = decoded(bytes).filter(|e| *e != world.typing.envelope) {
        let before = freeze(&session);
        assert!(session.decrypt_ephemeral(&envelope).is_err(), "an altered ephemeral envelope opened");
        assert!(session.decrypt(&envelope, NOW).is_err());
        assert!(freeze(&session) == before, "a refused envelope changed the session");
    }
    assert_eq!(session.decrypt_ephemeral(&world.typing.envelope).unwrap(), world.typing.content);
}

pub(super) fn seeds(sink: Sink<'_>) {
    let world = world();
    let raw = |bytes: &[u8]| [&[0], bytes].concat();
    sink(String::from("raw-first"), raw(&world.first.bytes));
    sink(String::from("raw-ephemeral"), raw(&world.typing.bytes));
    sink(String::from("raw-empty"), raw(&[]));
    for n in 1..world.stored.len() as u8 + 2 {
        sink(alloc::format!("untouched-{n}"), alloc::vec![n]);
        // A bit in the clear part, nonce, header, body; a byte more, a byte less; cut.
        let at = |place: u16| place.to_le_bytes();
        for place in [0u16, 1, 20, 40, 49, 60, 2300, 2500, 2560, 3000, 3700] {
            let [low, high] = at(place);
            sink(alloc::format!("flip-{n}-{place}"), alloc::vec![n, 0, low, high, 1]);
        }
        sink(alloc::format!("insert-{n}"), alloc::vec![n, 3, 1, 0, 0x80]);
        sink(alloc::format!("remove-{n}"), alloc::vec![n, 2, 60, 0, 0]);
        sink(alloc::format!("cut-{n}"), alloc::vec![n, 4, 100, 0, 0]);
    }
}
