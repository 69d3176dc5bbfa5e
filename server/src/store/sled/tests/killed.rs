//! kill -9 at any moment loses nothing that was acknowledged.

use super::*;

/// The child of the test below: appends from many tasks and prints what was acknowledged, until it is killed.
#[test]
#[ignore = "run by survives_kill_9 as its child"]
fn kill_9_child() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(open(Path::new(&folder), WIDE));
        let round: u64 = std::env::var("SEALDESK_TEST_ROUND").unwrap().parse().unwrap();
        let writers = (0..32u8).map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in 0u64.. {
                    let mut id = [writer; 16];
                    id[..8].copy_from_slice(&n.to_be_bytes());
                    id[8] = round as u8;
                    let mailbox = MailboxId([writer; 16]);
                    let bytes = vec![writer; 300];
                    let stored = store
                        .append(Append { mailbox, part: Part::Reserved, id, bytes, expires_ms: FAR })
                        .await
                        .unwrap();
                    // One write call per line, so that the parent sees whole lines.
                    let line = format!("@ {writer} {}\n", stored.seq);
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            })
        });
        futures_util::future::join_all(writers).await;
    });
}

#[tokio::test]
async fn survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut acknowledged: HashMap<u8, u64> = HashMap::new();
    for round in 0..4u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sled::tests::killed::kill_9_child", "--ignored", "--nocapture"])
            .env(CHILD_FOLDER, &path)
            .env("SEALDESK_TEST_ROUND", round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut note = |line: &str| {
            if let Some((writer, seq)) = line.strip_prefix("@ ").and_then(|rest| rest.split_once(' ')) {
                let seq: u64 = seq.parse().unwrap();
                let last = acknowledged.insert(writer.parse().unwrap(), seq).unwrap_or(0);
                assert!(seq > last, "positions rise");
                seen += 1;
            }
            seen
        };
        while let Some(Ok(line)) = lines.next() {
            if note(&line) >= 300 + round * 500 {
                break;
            }
        }
        child.kill().unwrap();
        lines.map_while(Result::ok).for_each(|line| {
            note(&line);
        });
        child.wait().unwrap();

        let begun = Instant::now();
        let store = open(&path, WIDE);
        assert!(begun.elapsed() < Duration::from_secs(60), "recovery takes a bounded time");
        for (writer, last) in &acknowledged {
            let items = store.read(MailboxId([*writer; 16]), 0, usize::MAX, usize::MAX).await.unwrap();
            let seqs: Vec<u64> = items.iter().map(|item| item.seq).collect();
            assert!(seqs.len() as u64 >= *last, "writer {writer}: {} of {last}", seqs.len());
            assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "in order, none twice");
        }
    }
    assert_eq!(acknowledged.len(), 32);
}
