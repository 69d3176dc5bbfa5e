//! The agent of `demo --headless`: drives `sealdesk agent chat --json` and answers every text with "You said: ...".

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::data::Folder;
use crate::error::{Error, Result};

const LOG: &str = "agent.log";
const READY: Duration = Duration::from_secs(60);
/// Conversations at the same time.
const CAPACITY: &str = "100";

#[derive(Debug)]
pub(crate) struct Bot {
    pub(crate) child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    replies: Replies,
}

impl Bot {
    /// Starts the agent and waits until it is connected.
    pub(crate) async fn start(chat: std::process::Command, folder: &Folder) -> Result<Bot> {
        let log_path = folder.join(LOG);
        let log = File::create(&log_path).map_err(Error::file("create", &log_path))?;
        let mut chat = chat;
        // Ctrl-C reaches us alone, and everything stops in order.
        std::os::unix::process::CommandExt::process_group(&mut chat, 0);
        let mut child = Command::from(chat)
            .args(["--json", "--capacity", CAPACITY])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Error::Start { command: "sealdesk agent chat".to_owned(), source })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(broken("the agent has no pipes", folder));
        };
        let mut bot =
            Bot { child, input, output: BufReader::new(output).lines(), replies: Replies::default() };
        match timeout(READY, bot.until_online()).await {
            Ok(Ok(())) => Ok(bot),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(broken("the agent did not get online", folder)),
        }
    }

    async fn until_online(&mut self) -> Result<()> {
        loop {
            let line = self.next().await?;
            if line.pointer("/link/state").and_then(Value::as_str) == Some("online") {
                return Ok(());
            }
            self.answer(&line).await?;
        }
    }

    /// Answers until the agent's program ends.
    pub(crate) async fn run(&mut self) -> Result<()> {
        loop {
            let line = self.next().await?;
            self.answer(&line).await?;
        }
    }

    async fn next(&mut self) -> Result<Value> {
        let line = self.output.next_line().await.map_err(|source| said(&source))?;
        let line = line.ok_or_else(|| said(&"it ended"))?;
        serde_json::from_str(&line).map_err(|error| said(&error))
    }

    async fn answer(&mut self, line: &Value) -> Result<()> {
        for reply in self.replies.due(line) {
            let reply = format!("{reply}\n");
            self.input.write_all(reply.as_bytes()).await.map_err(|source| said(&source))?;
        }
        self.input.flush().await.map_err(|source| said(&source))
    }
}

/// Replies, held back as long as the agent has not accepted the conversation: a message may be read before that.
#[derive(Debug, Default)]
struct Replies {
    accepted: BTreeSet<String>,
    waiting: BTreeMap<String, Vec<Value>>,
}

impl Replies {
    /// What to write after this line.
    fn due(&mut self, line: &Value) -> Vec<Value> {
        let listed = line.pointer("/ready/conversations").and_then(Value::as_array);
        for view in listed.into_iter().flatten() {
            self.phase(view, view);
        }
        let Some(conversation) = line.get("conversation").and_then(Value::as_str) else { return Vec::new() };
        if let Some(state) = line.get("state") {
            self.phase(line, state);
        }
        let waiting = self.waiting.entry(conversation.to_owned()).or_default();
        waiting.extend(reply(line));
        if self.accepted.contains(conversation) { std::mem::take(waiting) } else { Vec::new() }
    }

    fn phase(&mut self, named: &Value, state: &Value) {
        let of = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        if let (Some(conversation), Some("active")) =
            (of(named, "conversation"), of(state, "phase").as_deref())
        {
            self.accepted.insert(conversation);
        }
    }
}

/// The line to write for a line that was read.
fn reply(line: &Value) -> Option<Value> {
    let message = line.get("message")?;
    let conversation = line.get("conversation")?;
    let text = match message.get("kind")?.as_str()? {
        "text" => format!("You said: {}", message.get("text")?.as_str()?),
        "file" => format!("You sent: {}", message.pointer("/file/name")?.as_str()?),
        _ => return None,
    };
    Some(json!({ "send": { "text": text }, "conversation": conversation }))
}

fn said(what: &dyn std::fmt::Display) -> Error {
    Error::Answer { program: "sealdesk agent chat".to_owned(), said: what.to_string() }
}

/// The agent's program failed; its log says why.
pub(crate) fn broken(what: &str, folder: &Folder) -> Error {
    Error::Broken { what: what.to_owned(), log: folder.join(LOG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_waits_until_the_conversation_is_accepted() {
        let mut replies = Replies::default();
        let message = |text: &str| json!({"message": {"kind": "text", "text": text}, "conversation": "1f00"});
        let state = |phase: &str| json!({"state": {"phase": phase}, "conversation": "1f00"});
        assert!(replies.due(&message("early")).is_empty());
        assert!(replies.due(&state("assigned")).is_empty());
        assert_eq!(replies.due(&state("active")).len(), 1);
        assert_eq!(replies.due(&message("later")).len(), 1);
        assert!(replies.due(&state("active")).is_empty(), "each once");
        // After a restart, what the vault holds is listed.
        let mut replies = Replies::default();
        replies.due(&json!({"ready": {"conversations": [{"conversation": "1f00", "phase": "active"}]}}));
        assert_eq!(replies.due(&message("again")).len(), 1);
    }

    #[test]
    fn texts_and_files_are_answered_in_their_conversation_and_nothing_else_is() {
        let line = json!({"message": {"kind": "text", "text": "مرحبا \"x\""}, "conversation": "1f00"});
        assert_eq!(
            reply(&line),
            Some(json!({"send": {"text": "You said: مرحبا \"x\""}, "conversation": "1f00"}))
        );
        let file = json!({"message": {"kind": "file", "file": {"name": "a.pdf"}}, "conversation": "1f00"});
        assert_eq!(reply(&file), Some(json!({"send": {"text": "You sent: a.pdf"}, "conversation": "1f00"})));
        for other in [
            json!({"receipt": {"message": "1", "state": "read"}, "conversation": "1f00"}),
            json!({"message": {"kind": "rating", "rating": 5}, "conversation": "1f00"}),
            json!({"message": {"kind": "text", "text": "no conversation"}}),
            json!("noise"),
        ] {
            assert_eq!(reply(&other), None, "{other}");
        }
    }
}
