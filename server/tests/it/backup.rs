//! Backup, restore, and whose the data folder is.

use std::path::Path;

use sealdesk_protocol::wire::envelope::Class;

use crate::client::envelope;
use crate::program::{Program, files, terminate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backup_while_running_restore_and_stats() {
    let program = Program::new("");
    let mut running = program.serve();
    let (mut agent, party, mut customer, talk) = program.talk(running.address).await;
    // Its acknowledgement of the statement is done when a later request is.
    agent.publish(1).await;
    let message = envelope(agent.mailbox(), Class::Store);
    customer.send_envelope(&talk, message.clone()).await.unwrap();
    let before = agent.welcome.as_ref().unwrap().store_epoch;

    let stats = program.output(&["stats"]).unwrap();
    assert_eq!((stats["devices"].as_u64(), stats["store"]["items"].as_u64()), (Some(2), Some(1)));
    let copy = program.folder.path().join("copy");
    let copy = copy.to_str().unwrap();
    assert!(program.output(&["backup", "--to", copy]).unwrap()["records"].as_u64().unwrap() > 3);
    let again = program.output(&["backup", "--to", copy]).unwrap_err();
    assert!(again.contains("new folder"), "{again}");
    let busy = program.output(&["restore", "--from", copy]).unwrap_err();
    assert!(busy.contains("stop that relay first"), "{busy}");
    assert!(terminate(&mut running));
    assert!(program.output(&["stats"]).unwrap()["devices"].is_null(), "without a running relay");

    std::fs::rename(program.folder.path().join("data"), program.folder.path().join("lost")).unwrap();
    let nothing = program.output(&["stats"]).unwrap_err();
    assert!(nothing.contains("is `data` right?"), "{nothing}");
    program.output(&["restore", "--from", copy]).unwrap();
    let running = program.serve();
    let mut agent = agent.reconnect(running.address, party).await;
    let welcome = agent.welcome.clone().unwrap();
    assert!(welcome.store_epoch > before, "a restored store says so");
    assert_eq!(welcome.one_time_left, 0, "one-time pairs are void");
    assert!(welcome.last_resort.is_some());
    assert_eq!(agent.delivered_envelope().await, message.envelope);
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_data_folder_is_the_relays_users_alone_whoever_made_it() {
    let program = Program::new("");
    let data = program.folder.path().join("data");
    let folders = [data.clone(), data.join("store"), data.join("blobs")];
    folders.iter().for_each(|path| open_to_all(path));
    let mut running = program.serve();
    for path in &folders {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    let copy = program.folder.path().join("copy");
    program.output(&["backup", "--to", copy.to_str().unwrap()]).unwrap();
    assert!(terminate(&mut running));
    let mut written = Vec::new();
    files(&data, &mut written);
    files(&copy, &mut written);
    for path in written {
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
    }
    std::fs::rename(&data, program.folder.path().join("lost")).unwrap();
    open_to_all(&data);
    program.output(&["restore", "--from", copy.to_str().unwrap()]).unwrap();
    for path in [&data, &data.join("store"), &data.join("blobs"), &copy] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
}

#[test]
fn a_backup_or_restore_that_failed_half_way_is_repeated() {
    let program = Program::new("");
    let mut running = program.serve();
    let data = program.folder.path().join("data");
    let copy = program.folder.path().join("copy");
    // Not a file: copying it fails after the records were written.
    let odd = data.join("blobs").join("odd");
    std::fs::create_dir(&odd).unwrap();
    program.output(&["backup", "--to", copy.to_str().unwrap()]).unwrap_err();
    std::fs::remove_dir(&odd).unwrap();
    program.output(&["backup", "--to", copy.to_str().unwrap()]).unwrap();
    assert!(terminate(&mut running));

    std::fs::rename(&data, program.folder.path().join("lost")).unwrap();
    let odd = copy.join("blobs").join("odd");
    std::fs::create_dir(&odd).unwrap();
    program.output(&["restore", "--from", copy.to_str().unwrap()]).unwrap_err();
    let half = program.output(&["serve"]).unwrap_err();
    assert!(half.contains("restore` again"), "no store without its attachments: {half}");
    std::fs::remove_dir(&odd).unwrap();
    program.output(&["restore", "--from", copy.to_str().unwrap()]).unwrap();
    drop(program.serve());
}

/// A copy of a backup that lost something on its way is no backup.
#[test]
fn a_backup_is_restored_with_all_that_it_was_written_with() {
    let program = Program::new("");
    let path = |name: &str| program.folder.path().join(name);
    let (data, copy) = (path("data"), path("copy"));
    let restore = || program.output(&["restore", "--from", copy.to_str().unwrap()]);
    let mut running = program.serve();
    let names = ["11".repeat(16), "22".repeat(16)];
    names.iter().for_each(|name| std::fs::write(data.join("blobs").join(name), b"sealed").unwrap());
    let written = program.output(&["backup", "--to", copy.to_str().unwrap()]).unwrap();
    assert_eq!(written["attachments"], 2);
    assert!(terminate(&mut running));
    std::fs::rename(&data, path("lost")).unwrap();

    let last = copy.join("blobs").join(&names[1]);
    std::fs::write(&last, b"seal").unwrap();
    let refused = restore().unwrap_err();
    assert!(refused.contains("1 of the backup's attachments") && refused.contains(&names[1]), "{refused}");
    std::fs::write(&last, b"sealed").unwrap();
    std::fs::rename(copy.join("blobs"), path("away")).unwrap();
    std::fs::create_dir(copy.join("blobs")).unwrap();
    let refused = restore().unwrap_err();
    assert!(
        refused.contains("2 of the backup's attachments") && refused.contains("copy the whole"),
        "{refused}"
    );
    std::fs::remove_dir(copy.join("blobs")).unwrap();
    std::fs::rename(path("away"), copy.join("blobs")).unwrap();
    for name in ["attachments.list", "store.backup"] {
        let file = copy.join(name);
        let whole = std::fs::read(&file).unwrap();
        for damaged in [&whole[..whole.len() - 1], &[&whole[..], b"x"].concat()] {
            std::fs::write(&file, damaged).unwrap();
            let refused = restore().unwrap_err();
            assert!(refused.contains(name) && refused.contains("altered, cut short"), "{refused}");
        }
        std::fs::write(&file, whole).unwrap();
    }
    assert!(!data.exists(), "nothing was begun");
    // One is lost for good, and its line was taken out.
    std::fs::remove_file(&last).unwrap();
    restore().unwrap_err();
    let list = std::fs::read_to_string(copy.join("attachments.list")).unwrap();
    let left: String =
        list.lines().filter(|line| !line.starts_with(&names[1])).map(|l| format!("{l}\n")).collect();
    std::fs::write(copy.join("attachments.list"), left).unwrap();
    assert_eq!(restore().unwrap()["attachments"], 1);
}

/// Whatever goes wrong around a restore, a store that it did not make stays.
#[test]
fn a_restore_never_removes_a_store_that_it_did_not_make() {
    let program = Program::new("");
    let path = |name: &str| program.folder.path().join(name);
    let (data, copy, lost) = (path("data"), path("copy"), path("lost"));
    let restore = || program.output(&["restore", "--from", copy.to_str().unwrap()]);
    let mut running = program.serve();
    program.output(&["backup", "--to", copy.to_str().unwrap()]).unwrap();
    // Marked as if it were what a restore left behind, but in use.
    let marks = [data.join("restoring"), data.join("store/restoring")];
    marks.iter().for_each(|mark| std::fs::write(mark, "").unwrap());
    restore().unwrap_err();
    assert!(marks.iter().all(|mark| mark.exists()), "a relay has it");
    marks.iter().for_each(|mark| std::fs::remove_file(mark).unwrap());
    assert!(terminate(&mut running));

    // Nothing is begun from what is no backup: the old folder, put back, is as it was.
    std::fs::create_dir(&lost).unwrap();
    let carry = |from: &std::path::Path, to: &std::path::Path| {
        for name in ["store", "blobs"] {
            std::fs::rename(from.join(name), to.join(name)).unwrap();
        }
    };
    carry(&data, &lost);
    program.output(&["restore", "--from", path("nowhere").to_str().unwrap()]).unwrap_err();
    std::fs::rename(copy.join("blobs"), path("blobs")).unwrap();
    let half = restore().unwrap_err();
    assert!(half.contains("copy/blobs"), "{half}");
    std::fs::rename(path("blobs"), copy.join("blobs")).unwrap();
    carry(&lost, &data);
    assert!(terminate(&mut program.serve()));

    // One that was begun and given up, and the old folder put back.
    carry(&data, &lost);
    let odd = copy.join("blobs").join("odd");
    std::fs::create_dir(&odd).unwrap();
    restore().unwrap_err();
    std::fs::remove_dir(&odd).unwrap();
    std::fs::create_dir(path("given-up")).unwrap();
    carry(&data, &path("given-up"));
    carry(&lost, &data);
    let refused = restore().unwrap_err();
    assert!(refused.contains("holds a store already"), "{refused}");
    assert!(data.join("store").exists());
    // Put away as it says: the restore comes to its end, and leaves no mark.
    carry(&data, &path("lost"));
    restore().unwrap();
    assert!(marks.iter().chain([&data.join("blobs/restoring")]).all(|mark| !mark.exists()));
    // Killed before it could take the mark off, it is whole all the same.
    std::fs::write(&marks[1], "").unwrap();
    drop(program.serve());
    assert!(!marks[1].exists());
}
