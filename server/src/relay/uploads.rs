//! What attachments take of the disk in all, and which of them may still grow.
//!
//! An attachment counts with its whole length from its announcement until its file is deleted. One that is not whole a
//! day after it was last announced is given up; clients announce again on each connection.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sealdesk_protocol::ids::{BlobId, ConversationId};

/// Everything that was announced.
#[derive(Debug)]
pub struct Uploads {
    most: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    held: u64,
    /// Announced since the start and not whole: for which conversation.
    under_way: HashMap<BlobId, ConversationId>,
}

impl Uploads {
    /// At most `most` bytes, of which `held` are taken.
    pub fn new(most: u64, held: u64) -> Self {
        Self { most, state: Mutex::new(State { held, under_way: HashMap::new() }) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Bytes that are taken.
    pub fn held(&self) -> u64 {
        self.with(|state| state.held)
    }

    /// Whether so many more fit.
    pub fn have_room(&self, bytes: u64) -> bool {
        self.with(|state| state.held.saturating_add(bytes) <= self.most)
    }

    /// A new attachment takes its bytes. False: they do not fit, or it was begun a moment ago.
    pub fn begin(&self, id: BlobId, conversation: ConversationId, bytes: u64) -> bool {
        self.with(|state| {
            let held = state.held.saturating_add(bytes);
            if held > self.most || state.under_way.contains_key(&id) {
                return false;
            }
            state.held = held;
            state.under_way.insert(id, conversation);
            true
        })
    }

    /// One that was announced before may grow again. Answers the conversation that it was first announced for, as far as
    /// that is known: it does not pass to another.
    pub fn resume(&self, id: BlobId, conversation: ConversationId) -> ConversationId {
        self.with(|state| *state.under_way.entry(id).or_insert(conversation))
    }

    /// For which conversation it grows; none: it was not announced since the start, or is whole.
    pub fn conversation(&self, id: &BlobId) -> Option<ConversationId> {
        self.with(|state| state.under_way.get(id).copied())
    }

    /// It is whole.
    pub fn whole(&self, id: &BlobId) {
        self.with(|state| state.under_way.remove(id));
    }

    /// It is gone, and its bytes with it.
    pub fn gone(&self, id: &BlobId, bytes: u64) {
        self.with(|state| {
            state.held = state.held.saturating_sub(bytes);
            state.under_way.remove(id);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_until_they_are_gone() {
        let (one, other) = (ConversationId([1; 32]), ConversationId([2; 32]));
        let id = |n: u8| BlobId([n; 16]);
        let uploads = Uploads::new(10, 3);
        assert!(uploads.have_room(7) && !uploads.have_room(8) && !uploads.have_room(u64::MAX));
        assert!(!uploads.begin(id(1), one, 8));
        assert!(uploads.begin(id(1), one, 6));
        assert!(!uploads.begin(id(1), one, 1), "once");
        assert!(!uploads.begin(id(2), one, 2));
        assert_eq!(uploads.resume(id(1), other), one, "stays where it was announced");
        uploads.whole(&id(1));
        assert_eq!((uploads.conversation(&id(1)), uploads.held()), (None, 9));
        uploads.gone(&id(1), 6);
        assert!(uploads.begin(id(2), other, 7));
        uploads.gone(&id(2), 7);
        assert_eq!((uploads.conversation(&id(2)), uploads.held()), (None, 3));
        assert_eq!(uploads.resume(id(3), other), other, "from before the start");
        assert_eq!(uploads.held(), 3);
    }
}
