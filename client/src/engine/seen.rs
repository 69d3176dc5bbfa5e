//! What was received before: hashes of opened envelopes, replay marks of handshakes, hashes of counted contents.
//!
//! Kept for as long as a repetition can come (§5, §9.4), in small pages, so that each receipt writes one small row and
//! memory stays bounded.

use std::collections::{BTreeMap, VecDeque};

use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::crypto::kdf::sha256;
use sealdesk_protocol::ids::{ConversationId, DeviceKeyHash};

use super::records::{SeenEntry, SeenPage};

const PER_PAGE: usize = 32;
/// Most pages of one device: 64 Ki envelopes. The oldest go first.
const MAX_PAGES: usize = 2_048;

/// What was seen of one mailbox.
#[derive(Debug)]
pub(crate) struct Seen {
    device: DeviceKeyHash,
    pages: VecDeque<SeenPage>,
    hashes: BTreeMap<[u8; 16], ()>,
    contents: BTreeMap<[u8; 16], [u8; 16]>,
}

pub(super) fn half(hash: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash[..16]);
    out
}

/// Identity and bytes of a counted content as they are remembered.
pub(super) fn content_marks(
    conversation: &ConversationId,
    id: &MessageId,
    bytes: &[u8],
) -> ([u8; 16], [u8; 16]) {
    let identity = [&conversation.0[..], &id.device.0, &id.counter.to_be_bytes()].concat();
    (half(&sha256(&identity)), half(&sha256(bytes)))
}

impl Seen {
    pub(super) fn new(device: DeviceKeyHash) -> Self {
        Self { device, pages: VecDeque::new(), hashes: BTreeMap::new(), contents: BTreeMap::new() }
    }

    /// Takes a stored page in; pages come in any order.
    pub(super) fn load(&mut self, page: SeenPage) {
        page.entries.iter().for_each(|e| self.index(e));
        let at = self.pages.partition_point(|p| p.number < page.number);
        self.pages.insert(at, page);
    }

    fn index(&mut self, entry: &SeenEntry) {
        self.hashes.insert(entry.hash, ());
        if let Some((id, content)) = entry.content {
            self.contents.insert(id, content);
        }
    }

    pub(super) fn contains(&self, hash: &[u8; 32]) -> bool {
        self.hashes.contains_key(&half(hash))
    }

    /// The remembered hash of a content with this identity.
    pub(super) fn content(&self, identity: &[u8; 16]) -> Option<&[u8; 16]> {
        self.contents.get(identity)
    }

    /// Remembers; answers the numbers of the pages to write or delete.
    pub(super) fn insert(&mut self, entry: SeenEntry) -> Vec<u64> {
        self.index(&entry);
        let mut changed = Vec::with_capacity(2);
        match self.pages.back_mut() {
            Some(page) if page.entries.len() < PER_PAGE => page.entries.push(entry),
            last => {
                let number = last.map_or(1, |page| page.number + 1);
                self.pages.push_back(SeenPage { device: self.device, number, entries: vec![entry] });
            }
        }
        changed.extend(self.pages.back().map(|p| p.number));
        if self.pages.len() > MAX_PAGES {
            changed.extend(self.drop_oldest());
        }
        changed
    }

    fn drop_oldest(&mut self) -> Option<u64> {
        let page = self.pages.pop_front()?;
        for entry in &page.entries {
            self.hashes.remove(&entry.hash);
            if let Some((id, _)) = entry.content {
                self.contents.remove(&id);
            }
        }
        Some(page.number)
    }

    /// Forgets pages whose newest entry is older than `before` (ms); answers their numbers.
    pub(super) fn expire(&mut self, before: u64) -> Vec<u64> {
        let mut gone = Vec::new();
        while self.pages.len() > 1
            && self.pages.front().is_some_and(|p| p.entries.last().is_none_or(|e| e.time < before))
        {
            gone.extend(self.drop_oldest());
        }
        gone
    }

    pub(super) fn page(&self, number: u64) -> Option<&SeenPage> {
        let at = self.pages.partition_point(|p| p.number < number);
        self.pages.get(at).filter(|p| p.number == number)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.pages.iter().map(|p| p.number)
    }
}
