//! Stored state of sessions, prekeys and conversations: refused, or safe to go on with.

use alloc::string::String;
use alloc::vec::Vec;

use super::world::{EPOCH, NOW, ROSTER, World, freeze, thaw, world};
use super::{Sink, case, edit};
use crate::conversation::Governance;
use crate::crypto::codec;
use crate::crypto::prekeys::PrekeySecret;
use crate::session::{Session, StoredError};
use crate::testing::rng;

const MAX: usize = 64 * 1024;

/// Case 0: any bytes as a session. 1: the receiving session, altered. 2: the sending one, altered. 3: a skipped key's
/// record, altered. 4 and 5: a prekey, any bytes and altered. 6: a conversation's state.
///
/// # Panics
/// When damaged state panics in use, does not round-trip, or a failed operation changes it.
pub fn stored_state(data: &[u8]) {
    let Some((case, rest)) = case(data) else { return };
    let world = world();
    match case % 7 {
        0 => session(world, rest, &[]),
        1 => session(world, &edit(&world.session.0, rest), &world.session.1),
        2 => session(world, &edit(&world.sender.0, rest), &[]),
        3 => {
            let records: Vec<Vec<u8>> = world.session.1.iter().map(|record| edit(record, rest)).collect();
            session(world, &world.session.0, &records);
        }
        4 => prekey(rest),
        5 => prekey(&edit(&world.last_resort.to_stored(), rest)),
        _ => conversation(rest),
    }
}

fn session(world: &World, stored: &[u8], skipped: &[Vec<u8>]) {
    let loaded = Session::from_stored(stored).and_then(|mut session| {
        skipped.iter().try_for_each(|record| session.load_skipped(record))?;
        Ok(session)
    });
    let mut session = match loaded {
        Ok(session) => session,
        Err(StoredError::Version(version)) => {
            assert!(stored.first() == Some(&version) || skipped.iter().any(|r| r.first() == Some(&version)));
            return;
        }
        Err(StoredError::Damaged) => return,
    };
    let frozen = freeze(&session);
    let again = thaw(&frozen);
    assert!(freeze(&again) == frozen, "what loads is stored again as the same");
    for sent in &world.stored {
        let before = freeze(&session);
        match session.decrypt(&sent.envelope, NOW) {
            Ok(opened) => assert_eq!(opened.content, sent.content, "damaged state opened another text"),
            Err(_) => assert!(freeze(&session) == before, "a refused envelope changed the session"),
        }
    }
    let before = freeze(&session);
    match session.encrypt(b"after damage", EPOCH, ROSTER, &mut rng(3)) {
        Ok(_) => assert!(freeze(&session) != before, "a key would be used twice"),
        Err(_) => assert!(freeze(&session) == before, "a refused encryption changed the session"),
    }
    drop(session.encrypt_ephemeral(b"typing", &mut rng(4)));
    session.expire(u64::MAX);
    assert_eq!(session.skipped_names().count(), 0, "all keys have expired at the end of time");
}

fn prekey(stored: &[u8]) {
    let Ok(prekey) = PrekeySecret::from_stored(stored) else { return };
    let again = prekey.to_stored();
    assert_eq!(PrekeySecret::from_stored(&again).unwrap().to_stored(), again);
}

fn conversation(stored: &[u8]) {
    let Ok(governance) = codec::decode::<Governance>(stored, MAX) else { return };
    let again = codec::encode(&governance);
    assert_eq!(codec::decode::<Governance>(&again, MAX).as_ref(), Ok(&governance));
    assert!(governance.ever_listed(&governance.current().roster.customer().hash()).is_some());
    assert!(!governance.could_have_read().is_empty());
}

pub(super) fn seeds(sink: Sink<'_>) {
    let world = world();
    let raw = |case: u8, bytes: &[u8]| [&[case], bytes].concat();
    sink(String::from("session-raw"), raw(0, &world.session.0));
    sink(String::from("prekey-raw"), raw(4, &world.one_time.to_stored()));
    sink(String::from("empty"), alloc::vec![0]);
    sink(String::from("newer-version"), raw(0, &[9, 0, 0]));
    for (case, name) in [(1u8, "receiver"), (2, "sender"), (3, "skipped"), (5, "prekey")] {
        sink(alloc::format!("{name}-untouched"), alloc::vec![case]);
        for place in [0u16, 1, 2, 40, 66, 70, 82, 118, 150, 190, 250, 300, 400, 1400, 1600, 2600] {
            let [low, high] = place.to_le_bytes();
            sink(alloc::format!("{name}-flip-{place}"), alloc::vec![case, 0, low, high, 1]);
            sink(alloc::format!("{name}-max-{place}"), alloc::vec![case, 1, low, high, 0xff]);
        }
        sink(alloc::format!("{name}-cut"), alloc::vec![case, 4, 64, 0, 0]);
    }
    sink(String::from("conversation-none"), alloc::vec![6]);
    // Root, conversation, no epoch at all, nothing else.
    sink(String::from("conversation-without-epoch"), raw(6, &[&[1; 64][..], &[0; 6]].concat()));
    sink(String::from("conversation"), raw(6, &super::certificate::stored_conversation(world)));
}
