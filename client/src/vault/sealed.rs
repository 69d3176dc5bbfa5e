//! Sealing and opening of rows, and the keys that do it.

use std::collections::BTreeMap;

use rand_core::CryptoRng;
use sealdesk_protocol::crypto::{aead, kdf, labels};
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::secret::Secret;
use zeroize::Zeroizing;

use super::{Corrupt, Key, Kind, VaultKey};
use crate::engine::{Name, Row};

const FORMAT: u8 = 1;
const TAG: usize = 8;
const HEAD: usize = 1 + TAG + 8;
const NONCE: usize = 24;

/// Says under which key a row is sealed, without saying which conversation it is.
type KeyTag = [u8; TAG];

/// Rows that belong to no conversation.
const VAULT_TAG: KeyTag = [0; TAG];

/// An opened row.
pub(crate) struct Opened {
    pub(crate) kind: Kind,
    /// The conversation whose key sealed it; none for the vault's own.
    pub(crate) conversation: Option<ConversationId>,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// The vault's keys.
pub(crate) struct Vault {
    id: [u8; 16],
    names: Secret<32>,
    records: Secret<32>,
    wrap: Secret<32>,
    conversations: BTreeMap<ConversationId, (KeyTag, Secret<32>)>,
    tags: BTreeMap<KeyTag, ConversationId>,
    generation: u64,
}

impl core::fmt::Debug for Vault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Vault(generation {}, {} conversation keys)", self.generation, self.conversations.len())
    }
}

impl Vault {
    pub(crate) fn new(key: &VaultKey) -> Self {
        let id: Secret<16> = kdf::expand(&key.0, labels::VAULT_RECORD, &[b"id"]);
        Self {
            id: *id.expose(),
            names: kdf::expand(&key.0, labels::VAULT_NAME, &[]),
            records: kdf::expand(&key.0, labels::VAULT_RECORD, &[b"key"]),
            wrap: kdf::expand(&key.0, labels::VAULT_CONVERSATION, &[]),
            conversations: BTreeMap::new(),
            tags: BTreeMap::new(),
            generation: 0,
        }
    }

    /// Batches written so far.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn set_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Blinded name.
    pub(crate) fn name(&self, key: Key) -> Name {
        let mac = kdf::hmac(self.names.expose(), &key.to_bytes());
        let mut name = [0; 33];
        name[0] = key.kind() as u8;
        name[1..].copy_from_slice(mac.expose());
        Name(name)
    }

    /// Makes a conversation's record key; its row is to be written with [`Self::seal_conversation_key`]. A key that is held
    /// stays: its rows would be lost without it.
    pub(crate) fn add_conversation(&mut self, conversation: ConversationId, rng: &mut dyn CryptoRng) {
        if !self.holds(&conversation) {
            self.insert_key(conversation, Secret::random(rng));
        }
    }

    fn insert_key(&mut self, conversation: ConversationId, key: Secret<32>) {
        let mac = kdf::hmac(self.names.expose(), &[b"tag", &conversation.as_bytes()[..]].concat());
        let mut tag = [0; TAG];
        tag.copy_from_slice(&mac.expose()[..TAG]);
        self.conversations.insert(conversation, (tag, key));
        self.tags.insert(tag, conversation);
    }

    /// Forgets a conversation's key: with its row deleted, nothing opens the conversation's other rows again.
    pub(crate) fn shred(&mut self, conversation: &ConversationId) {
        if let Some((tag, _)) = self.conversations.remove(conversation) {
            self.tags.remove(&tag);
        }
    }

    pub(crate) fn holds(&self, conversation: &ConversationId) -> bool {
        self.conversations.contains_key(conversation)
    }

    /// The row that keeps a conversation's key.
    pub(crate) fn seal_conversation_key(
        &self,
        conversation: &ConversationId,
        rng: &mut dyn CryptoRng,
    ) -> Option<Row> {
        let (_, key) = self.conversations.get(conversation)?;
        let mut text = Vec::with_capacity(1 + 32 + 32 + aead::TAG_LEN);
        text.push(1);
        text.extend_from_slice(conversation.as_bytes());
        text.extend_from_slice(key.expose());
        Some(self.seal_with(&self.wrap, VAULT_TAG, Key::Wrapped(*conversation), text, rng))
    }

    /// Reads a row of [`Self::seal_conversation_key`].
    pub(crate) fn load_conversation_key(&mut self, row: &Row) -> Result<(), Corrupt> {
        let damaged = Corrupt::Record(Kind::ConversationKey as u8);
        let text = self.open_with(&self.wrap, row).map_err(|_| damaged)?;
        let (version, text) = text.split_first().ok_or(damaged)?;
        if *version != 1 {
            return Err(Corrupt::Newer(Kind::ConversationKey as u8));
        }
        let (id, key) = text.split_at_checked(ConversationId::LEN).ok_or(damaged)?;
        let conversation = ConversationId::try_from(id).map_err(|_| damaged)?;
        let key = Secret::from_slice(key).ok_or(damaged)?;
        self.insert_key(conversation, key);
        Ok(())
    }

    /// Seals a record under the conversation's key, or the vault's. None when the conversation was shredded.
    pub(crate) fn seal(
        &self,
        key: Key,
        conversation: Option<&ConversationId>,
        text: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Option<Row> {
        let (tag, secret) = match conversation {
            None => (VAULT_TAG, &self.records),
            Some(id) => self.conversations.get(id).map(|(tag, secret)| (*tag, secret))?,
        };
        let mut buffer = Vec::with_capacity(text.len() + aead::TAG_LEN);
        buffer.extend_from_slice(text);
        Some(self.seal_with(secret, tag, key, buffer, rng))
    }

    fn seal_with(
        &self,
        secret: &Secret<32>,
        tag: KeyTag,
        key: Key,
        text: Vec<u8>,
        rng: &mut dyn CryptoRng,
    ) -> Row {
        let name = self.name(key);
        let mut head = [0; HEAD];
        head[0] = FORMAT;
        head[1..=TAG].copy_from_slice(&tag);
        head[1 + TAG..].copy_from_slice(&self.generation.to_be_bytes());
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let ciphertext = aead::seal_x(secret, &nonce, &self.aad(&name, &head), text);
        let mut sealed = Vec::with_capacity(HEAD + NONCE + ciphertext.len());
        sealed.extend_from_slice(&head);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Row { name, sealed }
    }

    fn aad(&self, name: &Name, head: &[u8]) -> Vec<u8> {
        [labels::VAULT_RECORD.as_bytes(), &self.id, &name.0, head].concat()
    }

    /// Opens a row of any kind but the conversation keys.
    pub(crate) fn open(&self, row: &Row) -> Result<Opened, Corrupt> {
        let number = row.name.0[0];
        let damaged = Corrupt::Record(number);
        let kind = Kind::from_number(number).ok_or(Corrupt::Newer(number))?;
        let tag: KeyTag = row.sealed.get(1..=TAG).and_then(|t| t.try_into().ok()).ok_or(damaged)?;
        let (conversation, secret) = if tag == VAULT_TAG {
            (None, &self.records)
        } else {
            let id =
                self.tags.get(&tag).ok_or(Corrupt::Inconsistent("a record's conversation key is missing"))?;
            (Some(*id), self.conversations.get(id).map(|(_, secret)| secret).ok_or(damaged)?)
        };
        let bytes = self.open_with(secret, row)?;
        Ok(Opened { kind, conversation, bytes })
    }

    fn open_with(&self, secret: &Secret<32>, row: &Row) -> Result<Zeroizing<Vec<u8>>, Corrupt> {
        let damaged = Corrupt::Record(row.name.0[0]);
        let (head, rest) = row.sealed.split_first_chunk::<HEAD>().ok_or(damaged)?;
        if head[0] > FORMAT {
            return Err(Corrupt::Newer(row.name.0[0]));
        }
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE>().ok_or(damaged)?;
        let text =
            aead::open_x(secret, nonce, &self.aad(&row.name, head), ciphertext).map_err(|_| damaged)?;
        let written = head.last_chunk::<8>().map_or(0, |g| u64::from_be_bytes(*g));
        // While the generation row itself is being read, the vault's own generation is still 0.
        if self.generation > 0 && written > self.generation {
            return Err(Corrupt::Inconsistent("a record is newer than the vault"));
        }
        Ok(Zeroizing::new(text))
    }
}

#[cfg(test)]
mod tests {
    use sealdesk_protocol::testing::rng;

    use super::*;

    fn vault() -> (Vault, ConversationId) {
        let id = ConversationId([7; 32]);
        let mut vault = Vault::new(&VaultKey::new([1; 32]));
        vault.set_generation(3);
        vault.add_conversation(id, &mut rng(1));
        (vault, id)
    }

    #[test]
    fn names_hide_what_they_name_and_differ_by_kind_and_vault() {
        let (vault, id) = vault();
        let name = vault.name(Key::Conversation(id));
        assert_eq!(name.0[0], Kind::Conversation as u8);
        assert!(!name.0.windows(4).any(|w| w == &id.0[..4]));
        assert_ne!(name.0[1..], vault.name(Key::Counters(id)).0[1..]);
        assert_ne!(name, Vault::new(&VaultKey::new([2; 32])).name(Key::Conversation(id)));
    }

    #[test]
    fn rows_are_bound_to_name_generation_key_and_vault() {
        let (vault, id) = vault();
        let row = vault.seal(Key::Counters(id), Some(&id), b"text", &mut rng(2)).unwrap();
        assert_eq!(*vault.open(&row).unwrap().bytes, b"text");
        for at in 0..row.sealed.len() {
            let mut bad = row.clone();
            bad.sealed[at] ^= 1;
            assert!(vault.open(&bad).is_err(), "byte {at}");
        }
        let renamed = Row { name: vault.name(Key::Counters(ConversationId([8; 32]))), ..row.clone() };
        assert!(vault.open(&renamed).is_err());
        let mut older = vault;
        older.set_generation(2);
        assert_eq!(
            older.open(&row).err(),
            Some(Corrupt::Inconsistent("a record is newer than the vault")),
            "a row of a later copy"
        );
        let mut other = Vault::new(&VaultKey::new([2; 32]));
        other.add_conversation(id, &mut rng(1));
        assert!(other.open(&row).is_err());
    }

    #[test]
    fn without_the_wrapped_key_nothing_of_a_conversation_opens() {
        let (mut vault, id) = vault();
        let kept = vault.seal_conversation_key(&id, &mut rng(3)).unwrap();
        let row = vault.seal(Key::Message(id, 1), Some(&id), b"secret", &mut rng(4)).unwrap();
        vault.shred(&id);
        assert!(vault.open(&row).is_err());
        assert!(vault.seal(Key::Message(id, 2), Some(&id), b"x", &mut rng(5)).is_none());
        vault.load_conversation_key(&kept).unwrap();
        assert_eq!(*vault.open(&row).unwrap().bytes, b"secret");
    }

    #[test]
    fn debug_shows_no_key() {
        let (vault, _) = vault();
        assert_eq!(format!("{vault:?}"), "Vault(generation 3, 1 conversation keys)");
        assert_eq!(format!("{:?}", VaultKey::new([0x41; 32])), "VaultKey(Secret(..))");
    }
}
