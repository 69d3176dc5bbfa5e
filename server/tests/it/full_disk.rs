//! A disk that is really full: a small tmpfs, where this user may mount one.

use std::path::Path;
use std::process::Command;

use sealdesk_protocol::wire::envelope::Class;
use sealdesk_protocol::wire::{Code, Send, ToClient};

use crate::client::{envelope, next};
use crate::program::Program;

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

fn mount(options: &str, at: &Path) -> bool {
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
    status.is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_relay_and_loses_nothing_that_was_accepted() {
    // Nothing but the disk is in the way.
    let program = Program::new(
        "[limits]\nframes_per_second = 100000\ndevice_frames_per_second = 100000\nmailbox_share_items = 100000\n\
         mailbox_items = 100000\nmailbox_share_mib = 256",
    );
    let text = std::fs::read_to_string(&program.config).unwrap();
    std::fs::write(&program.config, text.replace("min_free_mib = 1", "min_free_mib = 0")).unwrap();
    let data = program.folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    if !mount("size=6m", &data) {
        eprintln!("SKIPPED: mounting a tmpfs needs a privilege; run this test as root to try a full disk");
        return;
    }
    let _mounted = Mounted(&data);
    let mut running = program.serve();
    let (agent, party, mut customer, talk) = program.talk(running.address).await;
    let mut accepted = Vec::new();
    loop {
        let req = customer.number();
        let message = envelope(agent.device.public().mailbox(), Class::Store);
        customer.send(Send { req, conversation: talk.id, message: message.clone() }).await;
        match next(&mut customer.socket).await {
            Some(ToClient::Done(_)) => accepted.push(message.envelope),
            refused => {
                let full = |frame: &ToClient| match frame {
                    ToClient::Error(error) => error.code == Code::Unavailable,
                    frame => matches!(frame, ToClient::Goodbye(_)),
                };
                assert!(refused.as_ref().is_none_or(full), "{refused:?}");
                break;
            }
        }
        assert!(accepted.len() < 10_000, "the disk is never full");
    }
    assert!(accepted.len() > 50, "{}", accepted.len());
    assert_eq!(running.child.wait().unwrap().code(), Some(1));
    let log = std::fs::read_to_string(program.folder.path().join("relay.log")).unwrap();
    assert!(log.contains("free disk space"), "{log}");

    assert!(mount("remount,size=64m", &data));
    let running = program.serve();
    let mut agent = agent.reconnect(running.address, party).await;
    for envelope in &accepted {
        assert_eq!(agent.delivered_envelope().await, *envelope);
    }
}
