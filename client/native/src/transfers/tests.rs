use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::*;

const BLOB: BlobId = BlobId([3; 16]);

fn started(home: &Path) -> (mpsc::Sender<Job>, Receiver<Input>) {
    let (told, answers) = mpsc::channel();
    let (jobs, _) = start(home, move |input| drop(told.send(input))).unwrap();
    (jobs, answers)
}

fn next(answers: &Receiver<Input>) -> Input {
    answers.recv_timeout(Duration::from_secs(60)).unwrap()
}

fn write(part: Part, offset: u64, bytes: &[u8]) -> Job {
    Job::Write { transfer: BLOB, part, offset, bytes: bytes.to_vec() }
}

#[test]
fn the_spool_outlives_the_thread() {
    let home = tempfile::tempdir().unwrap();
    let (jobs, answers) = started(home.path());
    jobs.send(write(Part::Spool, 0, b"hello ")).unwrap();
    jobs.send(write(Part::Spool, 6, b"world")).unwrap();
    assert!(matches!(next(&answers), Input::ChunkStored { transfer: BLOB, part: Part::Spool, offset: 0 }));
    assert!(matches!(next(&answers), Input::ChunkStored { offset: 6, .. }));
    drop((jobs, answers));
    let (jobs, answers) = started(home.path());
    jobs.send(Job::Read { transfer: BLOB, part: Part::Spool, offset: 3, len: 100 }).unwrap();
    assert!(matches!(next(&answers), Input::Chunk { bytes, offset: 3, .. } if bytes.0 == b"lo world"));
    jobs.send(Job::DropSpool(BLOB)).unwrap();
    jobs.send(Job::Read { transfer: BLOB, part: Part::Spool, offset: 0, len: 1 }).unwrap();
    assert!(matches!(next(&answers), Input::ChunkFailed { part: Part::Spool, .. }));
    assert_eq!(std::fs::read_dir(home.path().join("spool")).unwrap().count(), 0);
}

#[test]
fn a_saved_file_appears_whole_and_overwrites_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (jobs, answers) = started(home.path());
    let path = home.path().join("report.pdf");
    let save = |bytes: &[u8]| {
        jobs.send(Job::Target { transfer: BLOB, target: Target::create(&path).unwrap() }).unwrap();
        jobs.send(write(Part::File, 0, bytes)).unwrap();
        assert!(matches!(next(&answers), Input::ChunkStored { part: Part::File, .. }));
    };
    let finish = || {
        let (told, result) = mpsc::channel();
        let done = Box::new(move |r| drop(told.send(r)));
        jobs.send(Job::Finish { transfer: BLOB, done }).unwrap();
        result.recv_timeout(Duration::from_secs(60)).unwrap()
    };
    save(b"one");
    assert!(!path.exists(), "not before it is whole");
    finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"one");
    assert!(matches!(Target::create(&path), Err(FileError::Exists(_))));
    // Somebody makes a file of that name while ours is on its way.
    std::fs::remove_file(&path).unwrap();
    save(b"two");
    std::fs::write(&path, b"theirs").unwrap();
    assert!(matches!(finish(), Err(FileError::Exists(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
    std::fs::remove_file(&path).unwrap();
    save(b"three");
    jobs.send(Job::ForgetTarget(BLOB)).unwrap();
    assert!(finish().is_err());
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["spool"], "nothing is left beside");
}

#[test]
fn what_cannot_be_read_or_written_is_said() {
    let home = tempfile::tempdir().unwrap();
    let (jobs, answers) = started(home.path());
    jobs.send(Job::Read { transfer: BLOB, part: Part::File, offset: 0, len: 5 }).unwrap();
    assert!(matches!(next(&answers), Input::ChunkFailed { part: Part::File, .. }));
    jobs.send(write(Part::File, 0, b"no target")).unwrap();
    assert!(matches!(next(&answers), Input::ChunkFailed { part: Part::File, .. }));
    std::fs::remove_dir(home.path().join("spool")).unwrap();
    jobs.send(write(Part::Spool, 0, b"no folder")).unwrap();
    assert!(matches!(next(&answers), Input::ChunkFailed { part: Part::Spool, .. }));
}

#[test]
fn two_saves_to_one_path_do_not_meet() {
    let home = tempfile::tempdir().unwrap();
    let (jobs, answers) = started(home.path());
    let path = home.path().join("report.pdf");
    let other = BlobId([4; 16]);
    for (transfer, bytes) in [(BLOB, b"one"), (other, b"two")] {
        jobs.send(Job::Target { transfer, target: Target::create(&path).unwrap() }).unwrap();
        jobs.send(Job::Write { transfer, part: Part::File, offset: 0, bytes: bytes.to_vec() }).unwrap();
        assert!(matches!(next(&answers), Input::ChunkStored { part: Part::File, .. }));
    }
    let finish = |transfer| {
        let (told, result) = mpsc::channel();
        jobs.send(Job::Finish { transfer, done: Box::new(move |r| drop(told.send(r))) }).unwrap();
        result.recv_timeout(Duration::from_secs(60)).unwrap()
    };
    finish(BLOB).unwrap();
    assert!(matches!(finish(other), Err(FileError::Exists(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"one");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 2, "the spool, and the first one's file");
}
