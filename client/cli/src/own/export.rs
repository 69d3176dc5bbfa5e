//! A transcript as a document: text for people, JSON for programs.

use sealdesk_client::{ConversationView, Message, MessageState};
use sealdesk_protocol::conversation::Kind;
use sealdesk_protocol::conversation::content::Text;
use serde_json::json;

use crate::args::Format;
use crate::chat::json as lines;
use crate::display::{line, text};
use crate::time;

/// What is exported.
pub(crate) struct Exported<'a> {
    pub(crate) organisation: &'a str,
    pub(crate) view: &'a ConversationView,
    pub(crate) messages: &'a [Message],
    /// Where an attachment was saved, relative to the document.
    pub(crate) files: &'a dyn Fn(&Message) -> Option<String>,
}

/// The document.
pub(crate) fn document(exported: &Exported<'_>, format: Format) -> String {
    match format {
        Format::Json => as_json(exported),
        Format::Text => as_text(exported),
    }
}

fn from(exported: &Exported<'_>, message: &Message) -> &'static str {
    let readers = &exported.view.readers;
    match readers.iter().find(|r| r.device == message.id.device) {
        Some(reader) => lines::role(reader.role),
        None if message.author.is_some() => "agent",
        None => "customer",
    }
}

fn as_json(exported: &Exported<'_>) -> String {
    let messages: Vec<_> = exported
        .messages
        .iter()
        .map(|m| {
            let mut body = lines::message(m, from(exported, m));
            body["mine"] = m.mine.into();
            if m.mine {
                body["state"] = lines::receipt(m.state).unwrap_or("waiting").into();
            }
            if let Some(path) = (exported.files)(m) {
                body["file"]["saved"] = path.into();
            }
            body
        })
        .collect();
    let document = json!({
        "sealdesk_transcript": 1,
        "organisation": exported.organisation,
        "conversation": exported.view.id.to_string(),
        "topic": exported.view.topic,
        "opened": exported.view.opened,
        "safety_number": exported.view.safety_number,
        "readers": lines::verified(exported.view)["readers"],
        "messages": messages,
    });
    format!("{document:#}\n")
}

/// What a message says, on one or more lines.
pub(crate) fn words(message: &Message) -> String {
    match &message.kind {
        Kind::Text(Text(said)) => text(said).into_owned(),
        Kind::Attachment(file) => {
            format!("[file] {} ({} bytes, {})", line(&file.name), file.length, line(&file.media_type))
        }
        Kind::Rating((stars, Text(said))) => format!("[rating] {stars}/5 {}", text(said)),
        Kind::Edit(edit) => format!("[changes message {}] {}", edit.target, text(&edit.text)),
        Kind::Delete(target) => format!("[deletes message {target}]"),
        Kind::Reaction(reaction) => {
            format!("[reaction to {}] {}", reaction.target.counter, line(&reaction.emoji))
        }
        Kind::FormAnswers(answers) => {
            let all: Vec<_> =
                answers.iter().map(|a| format!("{}: {}", line(&a.field), text(&a.value))).collect();
            format!("[form] {}", all.join("; "))
        }
        Kind::Profile(_) => "[a returning customer's profile]".into(),
        _ => "[update this program to see this]".into(),
    }
}

/// Who wrote a message.
pub(crate) fn author(message: &Message) -> String {
    match (&message.author, message.mine) {
        (_, true) => "you".into(),
        (Some(name), false) => line(name).into_owned(),
        (None, false) => "customer".into(),
    }
}

fn as_text(exported: &Exported<'_>) -> String {
    let view = exported.view;
    let mut out = format!(
        "{}\nConversation {} about {}, opened {}\n{}\n",
        line(exported.organisation),
        view.id,
        view.topic,
        time::full(view.opened),
        super::safety(view).lines().skip(2).collect::<Vec<_>>().join("\n"),
    );
    for message in exported.messages {
        let mut notes = String::new();
        notes += match message.state {
            MessageState::Undelivered => " (not delivered)",
            MessageState::Waiting => " (not sent)",
            _ => "",
        };
        if message.state == MessageState::ReceivedAfterClose {
            notes += " (arrived after closing)";
        }
        let said = words(message).replace('\n', "\n    ");
        out += &format!("\n{}  {}{notes}:\n    {said}\n", time::full(message.time), author(message));
        if let Some(path) = (exported.files)(message) {
            out += &format!("    saved as {path}\n");
        }
    }
    out
}
