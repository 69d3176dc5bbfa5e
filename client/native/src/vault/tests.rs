use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::*;

const ROOT: RootHash = RootHash([7; 32]);

fn name(kind: u8, number: u32) -> Name {
    let mut bytes = [0; 33];
    bytes[0] = kind;
    bytes[1..5].copy_from_slice(&number.to_be_bytes());
    Name(bytes)
}

fn put(kind: u8, number: u32, sealed: &[u8]) -> Write {
    Write::Put(Row { name: name(kind, number), sealed: sealed.to_vec() })
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.into())).unwrap()
}

fn rng() -> crate::random::SystemRng {
    crate::random::system().unwrap()
}

fn fresh(home: &Path) -> (Vault, VaultKey) {
    create(home, &ROOT, None, &mut rng()).unwrap()
}

#[test]
fn what_was_committed_is_there_again_hot_rows_first() {
    let home = tempfile::tempdir().unwrap();
    let (vault, key) = fresh(home.path());
    let writes =
        vec![put(0x80, 1, b"cold"), put(0x07, 2, b"two"), put(0x07, 1, b"one"), put(0x01, 9, b"gone")];
    vault.commit(&Batch { writes, generation: 1 }).unwrap();
    let writes = vec![Write::Delete(name(0x01, 9)), Write::Delete(name(0x01, 10))];
    vault.commit(&Batch { writes, generation: 2 }).unwrap();
    drop(vault);
    let (vault, again, root) = open(home.path(), None).unwrap();
    assert_eq!((again.expose(), root), (key.expose(), ROOT));
    let hot: Vec<_> = vault.hot_rows().unwrap().into_iter().map(|r| r.sealed).collect();
    assert_eq!(hot, [b"one".to_vec(), b"two".to_vec()]);
    let cold = vault.rows(&[name(0x80, 1), name(0x80, 2)]).unwrap();
    assert_eq!(cold, [Row { name: name(0x80, 1), sealed: b"cold".to_vec() }]);
}

#[test]
fn a_folder_that_cannot_be_looked_into_is_not_an_empty_one() {
    let home = tempfile::tempdir().unwrap();
    assert!(matches!(key_kept(home.path()), Err(VaultError::Missing(_))));
    // What fails for everybody, whatever the user's rights.
    let file = home.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(matches!(key_kept(&file), Err(VaultError::File(FileError::Io { .. }))));
}

#[test]
fn the_passphrase_opens_and_nothing_else_does() {
    let home = tempfile::tempdir().unwrap();
    let (vault, key) = create(home.path(), &ROOT, Some(&passphrase("correct horse")), &mut rng()).unwrap();
    drop(vault);
    assert_eq!(key_kept(home.path()).unwrap(), KeyKept::Passphrase);
    assert!(matches!(open(home.path(), None), Err(VaultError::PassphraseNeeded)));
    let wrong = open(home.path(), Some(&passphrase("correct house")));
    assert!(matches!(wrong, Err(VaultError::WrongPassphrase)));
    let (_, again, _) = open(home.path(), Some(&passphrase("correct horse"))).unwrap();
    assert_eq!(again.expose(), key.expose());
    let stored = std::fs::read(database_path(home.path())).unwrap();
    assert!(!stored.windows(32).any(|w| w == key.expose()), "the key is nowhere in the file");
}

#[cfg(unix)]
#[test]
fn a_key_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    drop(fresh(home.path()));
    assert_eq!(key_kept(home.path()).unwrap(), KeyKept::KeyFile);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&key_path(home.path())), 0o600);
    assert_eq!(mode(&database_path(home.path())), 0o600);
    assert!(matches!(open(home.path(), Some(&passphrase("12345678"))), Err(VaultError::NoPassphrase)));
    std::fs::set_permissions(key_path(home.path()), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(open(home.path(), None), Err(VaultError::File(FileError::Exposed(_)))));
}

#[test]
fn a_vault_is_never_overwritten() {
    let home = tempfile::tempdir().unwrap();
    drop(fresh(home.path()));
    assert!(matches!(create(home.path(), &ROOT, None, &mut rng()), Err(VaultError::Exists(_))));
    assert!(matches!(open(&home.path().join("no"), None), Err(VaultError::Missing(_))));
}

#[test]
fn a_second_program_is_told_who_holds_it() {
    let home = tempfile::tempdir().unwrap();
    let (_vault, _) = fresh(home.path());
    match open(home.path(), None) {
        Err(error @ VaultError::Locked { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_commit_behind_a_later_opening_is_fenced() {
    let home = tempfile::tempdir().unwrap();
    let (vault, _) = fresh(home.path());
    vault.commit(&Batch { writes: vec![put(1, 1, b"before")], generation: 1 }).unwrap();
    // The file's lock keeps other programs out; where a file system has no locks, the fence does.
    let transaction = vault.database.begin_write().unwrap();
    transaction
        .open_table(HEADER)
        .unwrap()
        .insert("fence", (vault.fence + 1).to_be_bytes().as_slice())
        .unwrap();
    transaction.commit().unwrap();
    let refused = vault.commit(&Batch { writes: vec![put(1, 1, b"after")], generation: 2 });
    assert!(matches!(refused, Err(VaultError::Fenced)));
    assert_eq!(vault.rows(&[name(1, 1)]).unwrap()[0].sealed, b"before");
}

#[test]
fn a_batch_that_does_not_follow_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (vault, _) = fresh(home.path());
    vault.commit(&Batch { writes: vec![put(1, 1, b"first")], generation: 1 }).unwrap();
    for generation in [0, 1, 3, u64::MAX] {
        let refused = vault.commit(&Batch { writes: vec![put(1, 1, b"stray")], generation });
        assert!(matches!(refused, Err(VaultError::Fenced)), "{generation}");
    }
    assert_eq!(vault.rows(&[name(1, 1)]).unwrap()[0].sealed, b"first");
    vault.commit(&Batch { writes: vec![put(1, 1, b"second")], generation: 2 }).unwrap();
}

#[test]
fn reopening_fails_when_another_program_was_faster() {
    let home = tempfile::tempdir().unwrap();
    let (vault, _) = fresh(home.path());
    let fence = vault.fence;
    drop(vault);
    let again = reopen(home.path(), fence).unwrap();
    drop(again);
    assert!(matches!(reopen(home.path(), fence), Err(VaultError::Fenced)));
}

#[test]
fn every_opening_raises_the_fence() {
    let home = tempfile::tempdir().unwrap();
    let (vault, _) = fresh(home.path());
    let first = vault.fence;
    drop(vault);
    let (vault, ..) = open(home.path(), None).unwrap();
    assert_eq!(vault.fence, first + 1);
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let home = tempfile::tempdir().unwrap();
    let (vault, _) = fresh(home.path());
    let writes = (0..400).map(|i| put(0x07, i, &[i as u8; 300])).collect();
    vault.commit(&Batch { writes, generation: 1 }).unwrap();
    drop(vault);
    let path = database_path(home.path());
    let good = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        std::fs::write(&path, bytes).unwrap();
        match open(home.path(), None) {
            Err(VaultError::Damaged(_) | VaultError::Newer(_) | VaultError::Disk(_)) => true,
            Ok(_) => false,
            Err(other) => panic!("{what}: {other:?}"),
        }
    };
    for length in [0, 1, 100, 4096, good.len() / 2, good.len() - 1] {
        assert!(refused(&good[..length], "truncated"), "truncated to {length}");
    }
    assert!(refused(&vec![0xa5; good.len()], "noise"));
    // Single bytes: either noticed, or in a page that no table uses; what opens has every row.
    for at in (0..good.len()).step_by(good.len() / 200) {
        let mut bent = good.clone();
        bent[at] ^= 0x40;
        if !refused(&bent, "bent") {
            let (vault, ..) = open(home.path(), None).unwrap();
            assert_eq!(vault.hot_rows().unwrap().len(), 400, "byte {at}");
        }
    }
}

#[test]
fn a_header_of_a_later_format_is_told_from_a_damaged_one() {
    assert!(matches!(Header::decode(&[2, 1, 2, 3]), Err(VaultError::Newer(2))));
    assert!(matches!(Header::decode(&[1, 1, 2, 3]), Err(VaultError::Damaged(_))));
    assert!(matches!(Header::decode(&[]), Err(VaultError::Damaged(_))));
}

const CHILD: &str = "SEALDESK_TEST_VAULT";
const PER_BATCH: u32 = 8;

/// Not a test of its own: the process that the next test kills.
#[test]
fn child_that_is_killed() {
    let Some(home) = std::env::var_os(CHILD) else { return };
    let (vault, ..) = open(Path::new(&home), None).unwrap();
    let first = vault.hot_rows().unwrap().len() as u32 / PER_BATCH;
    for batch in first.. {
        let writes =
            (0..PER_BATCH).map(|i| put(0x07, batch * PER_BATCH + i, &batch.to_be_bytes().repeat(64)));
        vault.commit(&Batch { writes: writes.collect(), generation: u64::from(batch) + 1 }).unwrap();
        println!("committed {batch}");
    }
}

/// A program that ended between the two leaves a key beside a vault that has a passphrase.
#[test]
fn the_file_with_the_key_does_not_stay_beside_a_passphrase() {
    let home = tempfile::tempdir().unwrap();
    let (vault, key) = fresh(home.path());
    drop(vault);
    let stays = std::fs::read(key_path(home.path())).unwrap();
    let new = || Ok::<_, VaultError>(passphrase("a first passphrase"));
    change_passphrase(home.path(), None, new, &mut rng()).unwrap();
    assert!(!key_path(home.path()).exists());
    private_file::replace(&key_path(home.path()), &stays, Access::Owner).unwrap();
    let (vault, opened, _) = open(home.path(), Some(&passphrase("a first passphrase"))).unwrap();
    assert_eq!(opened.expose(), key.expose());
    assert!(!key_path(home.path()).exists(), "removed at the next opening");
    drop(vault);
    // A file that cannot be removed is named.
    std::fs::create_dir(key_path(home.path())).unwrap();
    let error = open(home.path(), Some(&passphrase("a first passphrase"))).unwrap_err().to_string();
    assert!(error.contains("vault.key"), "{error}");
}

#[test]
fn kill_9_keeps_every_committed_batch_whole() {
    let home = tempfile::tempdir().unwrap();
    drop(fresh(home.path()));
    let mut wait = 20;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "vault::tests::child_that_is_killed", "--nocapture"])
            .env(CHILD, home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (begun, first) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let told = lines.map_while(Result::ok).inspect(|_| begun.send(()).unwrap_or_default());
            told.filter_map(|l| l.strip_prefix("committed ").and_then(|n| n.parse::<u32>().ok())).last()
        });
        // The test's own head lines, and its first batch.
        for _ in 0..3 {
            first.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(wait));
        wait = (wait * 7 + 13) % 160;
        child.kill().unwrap();
        child.wait().unwrap();
        let told = reader.join().unwrap();
        let (vault, ..) = open(home.path(), None).unwrap();
        let rows = vault.hot_rows().unwrap();
        assert_eq!(rows.len() as u32 % PER_BATCH, 0, "round {round}: no half batch");
        let batches = rows.len() as u32 / PER_BATCH;
        assert!(told.is_none_or(|last| batches > last), "round {round}: {batches} batches, told {told:?}");
        for (row, i) in rows.iter().zip(0u32..) {
            assert_eq!(row.sealed, (i / PER_BATCH).to_be_bytes().repeat(64), "round {round}, row {i}");
        }
    }
    let (vault, ..) = open(home.path(), None).unwrap();
    assert!(vault.hot_rows().unwrap().len() as u32 > PER_BATCH * 8, "the rounds wrote something");
}
