//! Root and issuer key, each in its own encrypted file.
//!
//! ```text
//! { "sealdesk_key": 1, "kind": "issuer", "root": hex, "serial": 1, "stretch": {..}, "nonce": base64, "sealed": base64 }
//! sealed = XChaCha20-Poly1305(Argon2id(passphrase), nonce, aad = "sealdesk-key" | 1 | kind | root | serial, seed)
//! ```
//!
//! The root hash is bound into the sealed part: whoever opens the key knows to which organisation it belongs, whatever
//! stands in the org.json beside it.

use std::path::Path;

use base64ct::{Base64, Encoding};
use rand_core::CryptoRng;
use sealdesk_native::passphrase::{Passphrase, Stretch};
use sealdesk_native::private_file::{self, Access};
use sealdesk_protocol::crypto::aead;
use sealdesk_protocol::crypto::identity::SigningSecret;
use sealdesk_protocol::ids::RootHash;
use sealdesk_protocol::secret::Secret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::Error;

const FORMAT: u32 = 1;
const MAX_FILE: u64 = 16 * 1024;

/// Which key a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// The organisation's root key.
    Root,
    /// An issuer key.
    Issuer,
}

/// An opened key.
#[derive(Debug)]
pub struct AdminKey {
    /// Which.
    pub kind: KeyKind,
    /// The organisation.
    pub root: RootHash,
    /// Root version, or serial of the issuer certificate.
    pub serial: u64,
    /// The key.
    pub secret: SigningSecret,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    sealdesk_key: u32,
    kind: KeyKind,
    root: String,
    serial: u64,
    stretch: Stretch,
    nonce: String,
    sealed: String,
}

impl KeyKind {
    fn name(self) -> &'static str {
        match self {
            Self::Root => "root key",
            Self::Issuer => "issuer key",
        }
    }
}

fn malformed(path: &Path, what: &'static str) -> Error {
    Error::Malformed { path: path.into(), what }
}

fn read(path: &Path, what: &'static str) -> Result<KeyFile, Error> {
    let bytes = private_file::read(path, MAX_FILE)?;
    let file: KeyFile = serde_json::from_slice(&bytes).map_err(|_| malformed(path, what))?;
    if file.sealdesk_key == FORMAT { Ok(file) } else { Err(malformed(path, what)) }
}

fn aad(kind: KeyKind, root: &RootHash, serial: u64) -> Vec<u8> {
    let kind = match kind {
        KeyKind::Root => 0u8,
        KeyKind::Issuer => 1,
    };
    [b"sealdesk-key".as_slice(), &FORMAT.to_be_bytes(), &[kind], root.as_bytes(), &serial.to_be_bytes()]
        .concat()
}

impl AdminKey {
    /// The encrypted file's bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] never in practice: the text is made here.
    pub fn seal(&self, passphrase: &Passphrase, rng: &mut dyn CryptoRng) -> Result<Vec<u8>, Error> {
        let malformed = || Error::Malformed { path: "a key".into(), what: "key" };
        let stretch = Stretch::fresh(rng);
        let mut nonce = [0; 24];
        rng.fill_bytes(&mut nonce);
        let mut seed = Vec::with_capacity(32 + aead::TAG_LEN);
        seed.extend_from_slice(self.secret.to_seed().expose());
        let key = stretch.key(passphrase).map_err(|_| malformed())?;
        let sealed = aead::seal_x(&key, &nonce, &aad(self.kind, &self.root, self.serial), seed);
        let file = KeyFile {
            sealdesk_key: FORMAT,
            kind: self.kind,
            root: self.root.to_string(),
            serial: self.serial,
            stretch,
            nonce: Base64::encode_string(&nonce),
            sealed: Base64::encode_string(&sealed),
        };
        let mut text = serde_json::to_vec_pretty(&file).map_err(|_| malformed())?;
        text.push(b'\n');
        Ok(text)
    }

    /// Writes a new file, 0600; an existing one is never overwritten.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_new(
        &self,
        path: &Path,
        passphrase: &Passphrase,
        rng: &mut dyn CryptoRng,
    ) -> Result<(), Error> {
        Ok(private_file::create(path, &self.seal(passphrase, rng)?, Access::Owner)?)
    }

    /// Which key a file holds, as it says; what it says is proven when it is opened.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::File`].
    pub fn kind_of(path: &Path) -> Result<KeyKind, Error> {
        read(path, "key").map(|file| file.kind)
    }

    /// Root version or issuer serial of a file, as it says.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::File`].
    pub fn serial_of(path: &Path, kind: KeyKind) -> Result<u64, Error> {
        read(path, kind.name()).map(|file| file.serial)
    }

    /// Opens a file that has to hold this kind of key.
    ///
    /// # Errors
    /// [`Error::PassphraseWrong`], [`Error::Malformed`], [`Error::File`].
    pub fn open(
        path: &Path,
        kind: KeyKind,
        passphrase: impl FnOnce() -> Result<Passphrase, Error>,
    ) -> Result<Self, Error> {
        let malformed = || malformed(path, kind.name());
        let file = read(path, kind.name())?;
        if file.kind != kind {
            return Err(malformed());
        }
        let root: RootHash = file.root.parse().map_err(|_| malformed())?;
        let nonce: [u8; 24] =
            Base64::decode_vec(&file.nonce).ok().and_then(|n| n.try_into().ok()).ok_or_else(malformed)?;
        let sealed = Base64::decode_vec(&file.sealed).map_err(|_| malformed())?;
        let key = file.stretch.key(&passphrase()?).map_err(|_| malformed())?;
        let seed = aead::open_x(&key, &nonce, &aad(kind, &root, file.serial), &sealed)
            .map_err(|_| Error::PassphraseWrong(path.into()))?;
        let seed = Secret::from_slice(&Zeroizing::new(seed)).ok_or_else(malformed)?;
        Ok(Self { kind, root, serial: file.serial, secret: SigningSecret::from_seed(&seed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Result<Passphrase, Error> {
        Ok(Passphrase::new(Zeroizing::new(text.into()))?)
    }

    #[test]
    fn a_key_opens_with_its_passphrase_only_and_no_field_can_be_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("issuer.key");
        let mut rng = sealdesk_native::random::system().unwrap();
        let secret = SigningSecret::generate(&mut rng);
        let key = AdminKey { kind: KeyKind::Issuer, root: RootHash([5; 32]), serial: 3, secret };
        key.write_new(&path, &passphrase("correct horse").unwrap(), &mut rng).unwrap();
        let open = |kind, text: &str| AdminKey::open(&path, kind, || passphrase(text));
        let again = open(KeyKind::Issuer, "correct horse").unwrap();
        assert_eq!((again.root, again.serial), (key.root, 3));
        assert_eq!(again.secret.verify_key(), key.secret.verify_key());
        assert!(matches!(open(KeyKind::Issuer, "correct house"), Err(Error::PassphraseWrong(_))));
        assert!(matches!(open(KeyKind::Root, "correct horse"), Err(Error::Malformed { .. })));
        let refused = key.write_new(&path, &passphrase("correct horse").unwrap(), &mut rng);
        assert!(matches!(refused, Err(Error::File(private_file::FileError::Exists(_)))));

        let good = std::fs::read_to_string(&path).unwrap();
        assert!(!good.contains("seed"));
        for (from, to) in [
            ("\"serial\": 3", "\"serial\": 4"),
            ("\"kind\": \"issuer\"", "\"kind\": \"root\""),
            ("0505050505", "0505050506"),
            ("\"passes\": 3", "\"passes\": 2"),
            ("\"sealdesk_key\": 1", "\"sealdesk_key\": 2"),
        ] {
            assert!(good.contains(from), "{from}");
            std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
            let kind = if to.contains("root") { KeyKind::Root } else { KeyKind::Issuer };
            assert!(open(kind, "correct horse").is_err(), "{to}");
        }
    }
    #[test]
    fn debug_never_shows_the_key() {
        let key = AdminKey {
            kind: KeyKind::Root,
            root: RootHash([5; 32]),
            serial: 3,
            secret: SigningSecret::from_seed(&Secret::new([0xab; 32])),
        };
        let shown =
            "AdminKey { kind: Root, root: RootHash(05050505..), serial: 3, secret: SigningSecret(..) }";
        assert_eq!(format!("{key:?}"), shown);
    }
}
