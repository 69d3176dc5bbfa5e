//! Attachments beside an exported transcript.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sealdesk_client::{Event, LinkState, Message, Owner};
use sealdesk_native::private_file::create_folder;
use sealdesk_native::{Client, Desk, EventStream, Options};
use sealdesk_protocol::conversation::Kind;

use crate::args::ExportArgs;
use crate::chat;
use crate::display::{file_name, line};
use crate::error::Error;

/// Longest wait for one attachment.
const PATIENCE: Duration = Duration::from_secs(60);

/// `NAME.files` beside a transcript.
pub(crate) fn folder_beside(transcript: &Path) -> PathBuf {
    let mut folder = transcript.file_name().unwrap_or_default().to_os_string();
    folder.push(".files");
    transcript.with_file_name(folder)
}

/// A safe name in that folder: the message's place keeps equal names apart.
pub(crate) fn file_in(folder: &Path, place: u64, name: &str) -> PathBuf {
    folder.join(format!("{place}-{}", file_name(name)))
}

/// Waits until the relay cannot be reached, or refuses this device; why.
async fn unreachable(events: &mut EventStream) -> String {
    loop {
        match events.next().await {
            Some(Event::Problem { problem, .. }) if problem.code == "relay_unreachable" => {
                return problem.text;
            }
            Some(Event::Link { state: LinkState::Refused(problem), .. }) => return problem.text,
            Some(_) => {}
            None => return "the client has stopped".to_owned(),
        }
    }
}

/// Fetches every attachment; returns where each was saved, by the place of its message. What cannot be fetched is said,
/// and the transcript is written without it.
pub(super) fn attachments(
    desk: Desk,
    args: &ExportArgs,
    messages: &[Message],
) -> Result<BTreeMap<u64, String>, Error> {
    let mut saved = BTreeMap::new();
    if !messages.iter().any(|m| matches!(m.kind, Kind::Attachment(_))) {
        return Ok(saved);
    }
    let folder = folder_beside(&args.out);
    let owner = if desk.engine().agent_public().is_some() { Owner::Agent } else { Owner::Customer };
    let network = chat::network(desk.engine().org(), &args.relay);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Error::Terminal)?;
    runtime.block_on(async {
        let (handle, mut events) =
            Client::start(Options { desk, owner, network }).map_err(chat::start_error)?;
        for message in messages {
            let Kind::Attachment(file) = &message.kind else { continue };
            create_folder(&folder)?;
            let to = file_in(&folder, message.place, &file.name);
            let fetched =
                async { handle.save_file(message.conversation, message.id, file.blob, &to).await?.await };
            let why = tokio::select! {
                fetched = fetched => match fetched {
                    Ok(_) => {
                        saved.insert(message.place, to.display().to_string());
                        continue;
                    }
                    Err(problem) => problem.text,
                },
                // Nothing else will come then either.
                why = unreachable(&mut events) => {
                    eprintln!("warning: the files of this conversation are not fetched: {}", line(&why));
                    break;
                }
                () = tokio::time::sleep(PATIENCE) => "the relay did not give it within a minute".to_owned(),
            };
            eprintln!("warning: {} is not fetched: {}", line(&file.name), line(&why));
        }
        handle.shutdown(Duration::ZERO).await;
        // Only when nothing is in it.
        let _ = std::fs::remove_dir(&folder);
        Ok(saved)
    })
}
