//! The vault file: redb, one atomic and durable batch for each step, exclusive to one program.
//!
//! ```text
//! HOME/vault.redb   tables: `header` (format, how the key is kept, fence) and `rows` (blinded name -> sealed record)
//! HOME/vault.key    only without passphrase: the vault key, 0600; whoever copies both files can read the vault
//! HOME/vault.pid    who has it open, for the error that another program gets
//! ```
//!
//! The fence counts openings, the generation counts batches. Every commit checks both in its own transaction: nobody opened
//! the vault since, and the batch follows the one before.

mod error;
mod header;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rand_core::CryptoRng;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use sealdesk_client::{Batch, Name, Row, VaultKey, Write, is_hot};
use sealdesk_protocol::ids::RootHash;

pub use error::VaultError;
use header::Header;
pub use header::KeyKept;

use crate::passphrase::Passphrase;
use crate::private_file::{self, Access, FileError};

const HEADER: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("header");
const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// Pages kept in memory, bytes; history stays on disk.
const CACHE: usize = 16 * 1024 * 1024;

/// An open vault, fenced against every other opening.
pub struct Vault {
    database: Database,
    fence: u64,
    home: PathBuf,
}

impl core::fmt::Debug for Vault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Vault({}, fence {})", self.home.display(), self.fence)
    }
}

fn database_path(home: &Path) -> PathBuf {
    home.join("vault.redb")
}

fn key_path(home: &Path) -> PathBuf {
    home.join("vault.key")
}

fn holder_path(home: &Path) -> PathBuf {
    home.join("vault.pid")
}

/// Whether `home` holds a vault.
pub fn exists(home: &Path) -> bool {
    database_path(home).exists()
}

/// Makes a vault in `home`, bound to an organisation. Without passphrase its key lies beside it as a 0600 file.
///
/// # Errors
/// [`VaultError::Exists`], or what the disk says.
pub fn create(
    home: &Path,
    root: &RootHash,
    passphrase: Option<&Passphrase>,
    rng: &mut dyn CryptoRng,
) -> Result<(Vault, VaultKey), VaultError> {
    private_file::create_folder(home)?;
    let path = database_path(home);
    if path.exists() {
        return Err(VaultError::Exists(path));
    }
    let key = VaultKey::random(rng);
    let header = Header::new(&key, root, passphrase, rng)?;
    match passphrase {
        None => private_file::replace(&key_path(home), key.expose(), Access::Owner)?,
        // Of an attempt that did not come to its end.
        Some(_) => remove_key_file(home)?,
    }
    // Built under another name: a crash on the way leaves no half vault behind.
    let building = home.join("vault.redb.new");
    let _ = std::fs::remove_file(&building);
    drop(private_file::open_new(&building, Access::Owner).map_err(FileError::at(&building))?);
    let database = Database::builder().set_cache_size(CACHE).create(&building)?;
    let transaction = database.begin_write()?;
    transaction.open_table(HEADER)?.insert("header", header.encode()?.as_slice())?;
    for number in ["fence", "generation"] {
        transaction.open_table(HEADER)?.insert(number, 0u64.to_be_bytes().as_slice())?;
    }
    drop(transaction.open_table(ROWS)?);
    transaction.commit()?;
    drop(database);
    std::fs::rename(&building, &path).map_err(FileError::at(&path))?;
    private_file::sync_folder(&path)?;
    let (vault, _) = Vault::open_database(home)?;
    Ok((vault, key))
}

/// Opens the vault in `home`: takes the file's lock, raises the fence and unwraps the key.
///
/// # Errors
/// [`VaultError`]; damaged files are errors, never panics.
pub fn open(home: &Path, passphrase: Option<&Passphrase>) -> Result<(Vault, VaultKey, RootHash), VaultError> {
    let (vault, header) = Vault::open_database(home)?;
    let key = header.key(passphrase, &key_path(home))?;
    if header.has_passphrase() {
        // It was set, and the program ended before the file was gone: whoever copies both opens the vault without it.
        remove_key_file(home)?;
    }
    let root = header.root;
    Ok((vault, key, root))
}

/// Removes the file with the key that lies beside the vault, if there is one.
fn remove_key_file(home: &Path) -> Result<(), VaultError> {
    let path = key_path(home);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FileError::at(&path)(error).into()),
        _ => Ok(()),
    }
}

/// Wraps the vault's key under a new passphrase, in one transaction. A vault without passphrase gets its first.
///
/// # Errors
/// [`VaultError`], or whatever `new` says; the old passphrase opens as before then, unless it is the file with the key that
/// cannot be removed, which is named.
pub fn change_passphrase<E: From<VaultError>>(
    home: &Path,
    old: Option<&Passphrase>,
    new: impl FnOnce() -> Result<Passphrase, E>,
    rng: &mut dyn CryptoRng,
) -> Result<(), E> {
    let (vault, header) = Vault::open_database(home)?;
    // The old one has to open it before a new one is asked for.
    let key = header.key(old, &key_path(home))?;
    let header = Header::new(&key, &header.root, Some(&new()?), rng)?;
    vault.replace_header(&header)?;
    // It still opens the vault: its key stays the same. Cut off before this, the next opening does it.
    remove_key_file(home)?;
    Ok(private_file::sync_folder(&key_path(home)).map_err(VaultError::from)?)
}

/// How the key of the vault in `home` is kept, so that a program knows whether to ask for a passphrase. Reads without
/// raising the fence.
///
/// # Errors
/// [`VaultError`].
pub fn key_kept(home: &Path) -> Result<KeyKept, VaultError> {
    // The key file is there exactly when no passphrase is needed; the header decides at opening.
    let path = database_path(home);
    // A folder that may not be looked into is not an empty one.
    if !path.try_exists().map_err(FileError::at(&path))? {
        return Err(VaultError::Missing(path));
    }
    Ok(if key_path(home).exists() { KeyKept::KeyFile } else { KeyKept::Passphrase })
}

/// Opens the vault in `home` again, which this program had open under `fence`.
///
/// # Errors
/// [`VaultError::Fenced`] when another program opened it in between.
pub(crate) fn reopen(home: &Path, fence: u64) -> Result<Vault, VaultError> {
    let (vault, _) = Vault::open_database(home)?;
    if Some(vault.fence) == fence.checked_add(1) { Ok(vault) } else { Err(VaultError::Fenced) }
}

impl Vault {
    fn open_database(home: &Path) -> Result<(Self, Header), VaultError> {
        let path = database_path(home);
        if !path.exists() {
            return Err(VaultError::Missing(path));
        }
        // The check of every page's sum turns a damaged file into an error; a plain open may panic on one.
        let database = Database::builder()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(true)
            .open(&path)
            .map_err(|error| VaultError::opening(error, &path, &holder_path(home)))?;
        let transaction = database.begin_write()?;
        let (header, fence) = {
            let mut table = transaction.open_table(HEADER)?;
            let header = match table.get("header")? {
                Some(bytes) => Header::decode(bytes.value())?,
                None => return Err(VaultError::Damaged("it has no header".into())),
            };
            let fence = read_number(&table, "fence")?.checked_add(1).ok_or(VaultError::Fenced)?;
            table.insert("fence", fence.to_be_bytes().as_slice())?;
            (header, fence)
        };
        transaction.commit()?;
        let holder = format!("{} {}", std::process::id(), program_name());
        private_file::replace(&holder_path(home), holder.as_bytes(), Access::Owner)?;
        Ok((Self { database, fence, home: home.into() }, header))
    }

    fn replace_header(&self, header: &Header) -> Result<(), VaultError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(HEADER)?.insert("header", header.encode()?.as_slice())?;
        transaction.commit()?;
        Ok(())
    }

    /// Counts openings.
    pub(crate) fn fence(&self) -> u64 {
        self.fence
    }

    /// The folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// All rows that the engine wants at opening, in the order of their names.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn hot_rows(&self) -> Result<Vec<Row>, VaultError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(ROWS)?;
        let mut rows = Vec::new();
        for entry in table.iter()? {
            let (name, sealed) = entry?;
            let name = name_of(name.value())?;
            if !is_hot(name.0[0]) {
                // Names are ordered by their kind, and the cold kinds come last.
                break;
            }
            rows.push(Row { name, sealed: sealed.value().to_vec() });
        }
        Ok(rows)
    }

    /// The rows with these names; those that are not there are left out.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn rows(&self, names: &[Name]) -> Result<Vec<Row>, VaultError> {
        let transaction = self.database.begin_read()?;
        let table = transaction.open_table(ROWS)?;
        let mut rows = Vec::with_capacity(names.len());
        for name in names {
            if let Some(sealed) = table.get(name.0.as_slice())? {
                rows.push(Row { name: *name, sealed: sealed.value().to_vec() });
            }
        }
        Ok(rows)
    }

    /// Writes a batch: all of it durable on return, or none.
    ///
    /// # Errors
    /// [`VaultError::Fenced`] when another program opened the vault since: stop for good. Any other: nothing is known of
    /// the batch; drop what follows from it and reopen.
    pub fn commit(&self, batch: &Batch) -> Result<(), VaultError> {
        if batch.writes.is_empty() {
            return Ok(());
        }
        let transaction = self.database.begin_write()?;
        {
            let mut header = transaction.open_table(HEADER)?;
            let follows = read_number(&header, "generation")?.checked_add(1) == Some(batch.generation);
            if read_number(&header, "fence")? != self.fence || !follows {
                return Err(VaultError::Fenced);
            }
            header.insert("generation", batch.generation.to_be_bytes().as_slice())?;
        }
        {
            let mut table = transaction.open_table(ROWS)?;
            for write in &batch.writes {
                match write {
                    Write::Put(row) => drop(table.insert(row.name.0.as_slice(), row.sealed.as_slice())?),
                    Write::Delete(name) => drop(table.remove(name.0.as_slice())?),
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(holder_path(&self.home));
    }
}

fn read_number(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &'static str,
) -> Result<u64, VaultError> {
    let malformed = || VaultError::Damaged(format!("its {name} is malformed"));
    let bytes = table.get(name)?.ok_or_else(malformed)?;
    bytes.value().try_into().map(u64::from_be_bytes).map_err(|_| malformed())
}

fn name_of(bytes: &[u8]) -> Result<Name, VaultError> {
    bytes.try_into().map(Name).map_err(|_| VaultError::Damaged("a record's name is malformed".into()))
}

/// Name of the running program, for the error that others get.
fn program_name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().map_or_else(|| "a program".into(), |n| n.to_string_lossy().into_owned())
}
