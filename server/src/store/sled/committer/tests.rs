use std::fs::File;
use std::path::Path;
use std::time::Instant;

use super::super::journal;
use super::super::keeper::Disk;
use super::*;

const EPOCH: u32 = 7;

/// A writer whose journal is old at once. `flushed`: the file that its keeper flushes.
fn writer(folder: &Path, flushed: &Path) -> Writer {
    let db = sled::Config::new().path(folder.join("sled")).open().unwrap();
    let (layers, health) = (Arc::new(Layers::over((*db).clone())), Arc::new(Health::default()));
    let disk = Disk { db, file: File::open(flushed).unwrap() };
    let keeper = Keeper::start(disk, Arc::clone(&layers), Arc::clone(&health), EPOCH).unwrap();
    let journal = journal::read(folder, EPOCH.into()).unwrap().begin(folder, EPOCH.into()).unwrap();
    Writer {
        layers,
        journal,
        keeper,
        health,
        next_audit: 1,
        journal_bytes: 1 << 20,
        journal_age: Duration::ZERO,
        watcher: Arc::default(),
    }
}

fn put(key: &'static [u8]) -> Request {
    Request::Run(
        0,
        Box::new(move |txn| {
            txn.put(key.to_vec(), b"stored".to_vec());
            Box::new(drop)
        }),
    )
}

fn commit(writer: &mut Writer, request: Request) {
    writer.commit(&mut HashMap::new(), &mut [request].into_iter().peekable());
}

fn held(folder: &Path) -> Vec<Vec<u8>> {
    journal::read(folder, EPOCH.into()).unwrap().layer.into_keys().collect()
}

/// The keeper fails in the middle of a commit that was begun when all was well.
#[test]
fn what_did_not_reach_sled_stays_in_the_journal() {
    // On a busy machine it fails before that begins; then nothing is stored, and there is nothing to see.
    let stored = (0..100).any(|_| {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), Path::new("/dev/full"));
        commit(&mut writer, put(b"first"));
        assert!(writer.journal.age().is_zero(), "the journal turned, and the first layer is on its way");
        let health = Arc::clone(&writer.health);
        let (told, outcome) = std::sync::mpsc::channel();
        let second = Request::Run(
            0,
            Box::new(move |txn| {
                let begun = Instant::now();
                while health.check().is_ok() {
                    assert!(begun.elapsed() < Duration::from_secs(60), "this device cannot be flushed");
                    std::thread::sleep(Duration::from_millis(1));
                }
                // The keeper says that it is through right after it failed.
                std::thread::sleep(Duration::from_millis(50));
                txn.put(b"second".to_vec(), b"stored".to_vec());
                Box::new(move |durable| told.send(durable.is_ok()).unwrap())
            }),
        );
        commit(&mut writer, second);
        drop(writer);
        let stored = outcome.recv().unwrap();
        let all = [&b"first"[..], b"second"];
        assert_eq!(held(folder.path()), all[..1 + usize::from(stored)]);
        stored
    });
    assert!(stored, "the keeper is never slower than the second commit");
}

/// Nothing is acknowledged into a file whose header is not there.
#[test]
fn a_turn_that_fails_under_a_backup_ends_writing() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), &folder.path().join("sled/db"));
    writer.journal_age = Duration::MAX;
    commit(&mut writer, put(b"first"));
    let file = writer.journal.fill_the_disk();
    let (answer, answered) = oneshot::channel();
    commit(&mut writer, Request::Backup(folder.path().join("copy"), answer));
    answered.blocking_recv().unwrap().unwrap_err();
    writer.journal.free_the_disk(file);
    let (told, outcome) = std::sync::mpsc::channel();
    let second = Request::Run(
        0,
        Box::new(move |txn| {
            txn.put(b"second".to_vec(), b"stored".to_vec());
            Box::new(move |durable| told.send(durable).unwrap())
        }),
    );
    commit(&mut writer, second);
    outcome.recv().unwrap().unwrap_err();
    writer.health.check().unwrap_err();
    drop(writer);
    assert_eq!(held(folder.path()), [b"first"]);
}

/// Also when more is asked for than any group holds: what waits is overtaken by nothing that is asked for later.
#[test]
fn operations_run_in_the_order_in_which_they_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(folder.path(), &folder.path().join("sled/db"));
    writer.journal_age = Duration::MAX;
    let committer = Committer::start(writer).unwrap();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let held = committer.submit(0, move |_| gate.recv().map_err(|_| StoreError::Corrupt("gate")));
    let ran = Arc::new(Mutex::new(Vec::new()));
    let answers: Vec<_> = (0..2 * GROUP + 1)
        .map(|n| {
            let ran = Arc::clone(&ran);
            committer.submit(0, move |_| {
                ran.lock().unwrap().push(n);
                Ok(())
            })
        })
        .collect();
    open.send(()).unwrap();
    // The last one first: none has to be polled to go on.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for answer in answers.into_iter().rev() {
            answer.await.unwrap();
        }
        held.await.unwrap();
    });
    assert!(ran.lock().unwrap().is_sorted());
}

/// What clients send while the disk stands still is refused before it fills the memory, also of those who have left.
#[test]
fn a_queue_that_holds_too_much_takes_no_more_until_it_is_worked_off() {
    let folder = tempfile::tempdir().unwrap();
    let committer = Committer::start(writer(folder.path(), &folder.path().join("sled/db"))).unwrap();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let held = committer.submit(0, move |_| gate.recv().map_err(|_| StoreError::Corrupt("gate")));
    const LARGE: usize = 1 << 20;
    let submit = || committer.submit(LARGE, |_| Ok(()));
    let taken = core::iter::repeat_with(|| drop(submit())).take(MOST_WAITING / (LARGE + OPERATION) - 1);
    taken.for_each(drop);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let refused: Vec<_> = (0..3).map(|_| runtime.block_on(async { submit().now_or_never() })).collect();
    assert_eq!(refused[1..], [const { Some(Err(StoreError::Busy)) }; 2], "{refused:?}");
    open.send(()).unwrap();
    runtime.block_on(held).unwrap();
    // All that waited is done with the answer to what came after it.
    while let Err(error) = runtime.block_on(committer.submit(0, |_| Ok(()))) {
        assert_eq!(error, StoreError::Busy);
    }
    assert_eq!(runtime.block_on(submit()), Ok(()));
    assert_eq!(committer.waiting.load(Ordering::Relaxed), 0);
}

/// A turn by length, or for a backup, leaves the bytes in the file that rests.
#[test]
fn what_rests_for_too_long_is_emptied_whatever_the_journal_turned_for() {
    let folder = tempfile::tempdir().unwrap();
    let flushed = folder.path().join("flushed");
    std::fs::write(&flushed, b"").unwrap();
    let mut writer = writer(folder.path(), &flushed);
    writer.journal_age = Duration::MAX;
    commit(&mut writer, put(b"first"));
    writer.turn().unwrap();
    writer.keeper.wait().unwrap();
    let nothing = || Request::Run(0, Box::new(|_| Box::new(drop)));
    commit(&mut writer, nothing());
    assert_eq!(held(folder.path()), [b"first"], "not old yet");
    writer.journal_age = Duration::ZERO;
    commit(&mut writer, nothing());
    assert_eq!(held(folder.path()), Vec::<Vec<u8>>::new());
    assert_eq!(writer.layers.get(b"first").unwrap().as_deref(), Some(&b"stored"[..]), "it is in sled");
}
