//! A real client: `sealdesk customer chat --json` or `sealdesk agent chat --json` as a child process.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::office::Office;
use crate::process::program;
use crate::{PATIENCE, Site, within};

/// A running client and everything that it wrote.
#[derive(Debug)]
pub struct Client {
    arguments: Vec<String>,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    /// Every line, oldest first.
    pub seen: Vec<Value>,
    /// Lines that `find` may still pick.
    from: Vec<usize>,
    next_id: u64,
}

impl Client {
    /// A customer with a home of this name, whose key lies beside the vault.
    pub fn customer(office: &Office, url: &str, home: &str, more: &[&str]) -> Self {
        let org = office.org_json().to_str().unwrap().to_string();
        let home = office.text(home);
        let base = ["customer", "chat", "--json", "--org", &org, "--relay", url, "--home", &home];
        Self::start(&[&base, more].concat())
    }

    /// The agent of this id, who accepts by itself.
    pub fn agent(office: &Office, url: &str, id: &str, more: &[&str]) -> Self {
        let (home, pass) = (office.text(id), office.text("agent.pass"));
        let base = [
            "agent",
            "chat",
            "--json",
            "--relay",
            url,
            "--home",
            &home,
            "--passphrase-file",
            &pass,
            "--capacity",
            "100",
        ];
        Self::start(&[&base, more].concat())
    }

    /// Starts the program with these arguments.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let (child, input, output) = spawn(&arguments);
        Self { arguments, child, input: Some(input), output, seen: Vec::new(), from: Vec::new(), next_id: 0 }
    }

    /// Writes one line.
    pub async fn write(&mut self, line: &Value) {
        let input = self.input.as_mut().expect("an open stdin");
        // A client that has ended is what the test finds out when it reads.
        let _ = input.write_all(format!("{line}\n").as_bytes()).await;
        let _ = input.flush().await;
    }

    /// Writes a command with a fresh id and waits for `done`.
    ///
    /// # Panics
    /// When it is refused, with the error.
    pub async fn command(&mut self, command: Value) -> Value {
        let answer = self.attempt(command).await;
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    }

    /// Writes a command with a fresh id and waits for what answers it.
    pub async fn attempt(&mut self, mut command: Value) -> Value {
        self.next_id += 1;
        let id = json!(format!("t{}", self.next_id));
        command["id"] = id.clone();
        self.write(&command).await;
        self.find(|line| {
            let answer = ["done", "error", "verified"].iter().any(|kind| line.get(kind).is_some());
            (line["id"] == id && answer).then(|| line.clone())
        })
        .await
    }

    /// The next new line; none at the end.
    pub async fn line(&mut self) -> Option<Value> {
        let text = within(self.output.next_line()).await.unwrap()?;
        let line: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON line: {text}"));
        self.seen.push(line.clone());
        Some(line)
    }

    /// The first line, passed over before or new, from which `pick` takes something; it is not found again.
    ///
    /// # Panics
    /// When the client ends before, or says nothing at all for long.
    pub async fn find<T>(&mut self, mut pick: impl FnMut(&Value) -> Option<T>) -> T {
        let found = self.from.iter().enumerate().find_map(|(n, at)| Some((n, pick(&self.seen[*at])?)));
        if let Some((n, value)) = found {
            self.from.remove(n);
            return value;
        }
        // What is awaited may take long in all; a client that says something still works.
        let deadline = tokio::time::Instant::now() + 6 * PATIENCE;
        loop {
            let silence = tokio::time::Instant::now() + PATIENCE;
            let Ok(next) = tokio::time::timeout_at(silence.min(deadline), self.line()).await else {
                panic!(
                    "{:?} did not say what was awaited; its last lines:\n{}",
                    &self.arguments[..2],
                    self.tail()
                );
            };
            let Some(line) = next else {
                panic!("{:?} ended; its last lines:\n{}", &self.arguments[..2], self.tail());
            };
            match pick(&line) {
                Some(value) => return value,
                None => self.from.push(self.seen.len() - 1),
            }
        }
    }

    /// The last lines, for messages of assertions.
    pub fn tail(&self) -> String {
        let last = self.seen.iter().rev().take(25).rev().map(ToString::to_string);
        last.collect::<Vec<_>>().join("\n")
    }

    /// The next line of a kind: its content.
    pub async fn kind(&mut self, kind: &str) -> Value {
        self.find(|line| line.get(kind).cloned()).await
    }

    /// The next `error` line with this code.
    pub async fn problem(&mut self, code: &str) -> Value {
        self.find(|line| line.get("error").filter(|error| error["code"] == code).cloned()).await
    }

    /// Opens a conversation about `general`; its id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn open(&mut self) -> String {
        let done = self.command(json!({"open": {"topic": "general"}})).await;
        done["conversation"].as_str().expect("a conversation's id").into()
    }

    /// Sends a text in the newest conversation; the message's id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn say(&mut self, text: &str) -> String {
        let done = self.command(json!({"send": {"text": text}})).await;
        done["done"]["message"].as_str().expect("a message's id").into()
    }

    /// Sends a text in a conversation.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn say_in(&mut self, conversation: &str, text: &str) -> String {
        let done = self.command(json!({"send": {"text": text}, "conversation": conversation})).await;
        done["done"]["message"].as_str().expect("a message's id").into()
    }

    /// The next text of the peer: conversation and text.
    pub async fn hear(&mut self) -> (String, String) {
        self.find(|line| {
            let text = line.get("message")?.get("text")?.as_str()?;
            Some((line["conversation"].as_str()?.to_string(), text.to_string()))
        })
        .await
    }

    /// Waits until this agent's acceptance of a conversation is stored: only then may it answer.
    pub async fn accepted(&mut self, conversation: &str) {
        self.find(|line| {
            let accepted = line.get("assigned")?["accepted"] == true;
            (accepted && line["conversation"] == conversation).then_some(())
        })
        .await;
    }

    /// Waits until a message got this state.
    pub async fn receipt(&mut self, message: &str, state: &str) {
        self.find(|line| {
            let receipt = line.get("receipt")?;
            (receipt["message"] == message && receipt["state"] == state).then_some(())
        })
        .await;
    }

    /// SIGKILL; returns when the process is gone. Lines that it wrote before stay in [`Client::seen`].
    pub async fn kill(&mut self) {
        within(self.child.kill()).await.unwrap();
        self.drain().await;
    }

    async fn drain(&mut self) {
        while let Ok(Some(text)) = within(self.output.next_line()).await {
            // A line that was cut by the kill is none.
            if let Ok(line) = serde_json::from_str(&text) {
                self.seen.push(line);
                self.from.push(self.seen.len() - 1);
            }
        }
    }

    /// Starts again with the same home; what was seen stays.
    pub fn restart(&mut self) {
        let (child, input, output) = spawn(&self.arguments);
        (self.child, self.input, self.output) = (child, Some(input), output);
    }

    /// End of input; the exit code when everything is delivered, or not.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn leave(&mut self) -> Option<i32> {
        drop(self.input.take());
        self.drain().await;
        within(self.child.wait()).await.unwrap().code()
    }
}

fn spawn(arguments: &[String]) -> (Child, ChildStdin, Lines<BufReader<ChildStdout>>) {
    let mut command = Command::new(program("client-under-test"));
    command.args(arguments).kill_on_drop(true).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::inherit()).env("RUST_BACKTRACE", "0");
    let mut child = command.spawn().unwrap();
    let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (child, input, BufReader::new(output).lines())
}
