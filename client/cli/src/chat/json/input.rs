//! One line of input: exactly one command, perhaps with `id` and `conversation` (docs/cli.md).

use std::path::PathBuf;

use sealdesk_client::Problem;
use sealdesk_protocol::ids::{Handle, NoticeHash};
use serde::Deserialize;
use serde_json::Value;

use crate::chat::book::refused;

/// Longest line, bytes; a text above the protocol's limit is refused later, with a better word.
pub const MAX_LINE: usize = 1024 * 1024;

/// What a program may want.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "docs/cli.md describes each")]
pub enum Request {
    Open { topic: Handle, language: String, notice: Option<NoticeHash> },
    Text(String),
    File { path: PathBuf, name: Option<String>, media_type: Option<String> },
    Rating { stars: u8, text: String },
    Save { message: String, to: PathBuf },
    Typing(bool),
    Accept,
    Claim,
    Available { on: bool, capacity: Option<u16> },
    Reassign,
    Verify,
    List,
    Close,
}

/// A parsed line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Echoed in the answer.
    pub id: Option<Value>,
    /// Beginning of a conversation's id.
    pub conversation: Option<String>,
    /// The command.
    pub request: Request,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default, rename = "id")]
    _id: Option<Value>,
    conversation: Option<String>,
    open: Option<Open>,
    send: Option<Send>,
    save: Option<Save>,
    typing: Option<Switch>,
    accept: Option<Nothing>,
    claim: Option<Nothing>,
    available: Option<Available>,
    reassign: Option<Nothing>,
    verify: Option<Nothing>,
    list: Option<Nothing>,
    close: Option<Nothing>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    topic: Handle,
    language: Option<String>,
    notice: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Send {
    text: Option<String>,
    file: Option<PathBuf>,
    name: Option<String>,
    #[serde(rename = "type")]
    media_type: Option<String>,
    rating: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Save {
    message: String,
    to: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    on: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Available {
    on: bool,
    capacity: Option<u16>,
}

const KINDS: &str = "open, send, save, typing, accept, claim, available, reassign, verify, list, close";

/// Parses a line. On a refusal the `id`, if one could be read, is returned for the answer.
///
/// # Errors
/// [`Problem`] with code `bad_input`; at fault: the program that wrote it.
pub fn parse(line: &[u8]) -> Result<Line, (Option<Value>, Problem)> {
    let bad = |text: String, hint: &str| refused("bad_input", text, hint);
    let value: Value = serde_json::from_slice(line).map_err(|e| {
        (None, bad(format!("This line is no JSON: {e}."), "Write one JSON object a line, in UTF-8."))
    })?;
    let id = match value.get("id") {
        Some(id @ (Value::String(_) | Value::Number(_))) => Some(id.clone()),
        Some(Value::Null) | None => None,
        Some(_) => {
            return Err((
                None,
                bad("`id` is a string or a number.".into(), "Leave it out, or choose one of those."),
            ));
        }
    };
    let raw: Raw = serde_json::from_value(value).map_err(|e| {
        (id.clone(), bad(format!("This is no command: {e}."), "docs/cli.md shows every command."))
    })?;
    let conversation = raw.conversation.clone();
    match request(raw) {
        Ok(request) => Ok(Line { id, conversation, request }),
        Err(problem) => Err((id, problem)),
    }
}

fn request(raw: Raw) -> Result<Request, Problem> {
    let mut found = Vec::new();
    if let Some(open) = raw.open {
        let notice = open.notice.map(|hash| hash.parse()).transpose();
        let notice = notice.map_err(|_| {
            refused(
                "bad_input",
                "`notice` is the hash of a notice, 64 hexadecimal digits.",
                "`ready` shows the hashes.",
            )
        })?;
        let language = open.language.unwrap_or_else(|| "en".into());
        found.push(Request::Open { topic: open.topic, language, notice });
    }
    if let Some(send) = raw.send {
        found.push(sending(send)?);
    }
    found.extend(raw.save.map(|s| Request::Save { message: s.message, to: s.to }));
    found.extend(raw.typing.map(|t| Request::Typing(t.on)));
    found.extend(raw.accept.map(|_| Request::Accept));
    found.extend(raw.claim.map(|_| Request::Claim));
    found.extend(raw.available.map(|a| Request::Available { on: a.on, capacity: a.capacity }));
    found.extend(raw.reassign.map(|_| Request::Reassign));
    found.extend(raw.verify.map(|_| Request::Verify));
    found.extend(raw.list.map(|_| Request::List));
    found.extend(raw.close.map(|_| Request::Close));
    match (found.pop(), found.pop()) {
        (Some(request), None) => Ok(request),
        (None, _) => {
            Err(refused("bad_input", "The line holds no command.", format!("Write one of: {KINDS}.")))
        }
        _ => Err(refused("bad_input", "The line holds more than one command.", "Write one command a line.")),
    }
}

fn sending(send: Send) -> Result<Request, Problem> {
    match send {
        Send { text: Some(text), file: None, name: None, media_type: None, rating: None } => {
            Ok(Request::Text(text))
        }
        Send { text: None, file: Some(path), name, media_type, rating: None } => {
            Ok(Request::File { path, name, media_type })
        }
        Send { text, file: None, name: None, media_type: None, rating: Some(stars) } => {
            match u8::try_from(stars) {
                Ok(stars @ 1..=5) => Ok(Request::Rating { stars, text: text.unwrap_or_default() }),
                _ => {
                    Err(refused("bad_input", "A rating is a whole number from 1 to 5.", "Give one of these."))
                }
            }
        }
        _ => Err(refused(
            "bad_input",
            "`send` takes a text, or a file (with name and type), or a rating (with a text).",
            "Write one of them.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn code(line: &str) -> (Option<Value>, &'static str) {
        let (id, problem) = parse(line.as_bytes()).unwrap_err();
        (id, problem.code)
    }

    #[test]
    fn commands_ids_and_conversations() {
        let line = parse(br#"{"send":{"text":"hi"},"id":7,"conversation":"1f"}"#).unwrap();
        assert_eq!((line.id, line.conversation.as_deref()), (Some(json!(7)), Some("1f")));
        assert_eq!(line.request, Request::Text("hi".into()));
        let open = parse(br#"{"open":{"topic":"general"}}"#).unwrap().request;
        let general = "general".parse().unwrap();
        assert_eq!(open, Request::Open { topic: general, language: "en".into(), notice: None });
        let rating = parse(br#"{"send":{"rating":5,"text":"kind"}}"#).unwrap().request;
        assert_eq!(rating, Request::Rating { stars: 5, text: "kind".into() });
        assert_eq!(parse(br#"  {"close":{}}  "#).unwrap().request, Request::Close);
    }

    #[test]
    fn what_is_no_command_is_refused_with_its_id() {
        for line in [
            "",
            "hello",
            "{",
            "[]",
            "1",
            "null",
            "\"close\"",
            "{}",
            "{\"close\":{}}{}",
            "\u{0}",
            "{\"id\":[1]}",
        ] {
            assert_eq!(code(line), (None, "bad_input"), "{line:?}");
        }
        for line in [
            r#"{"id":"a"}"#,
            r#"{"id":"a","close":{},"list":{}}"#,
            r#"{"id":"a","close":{"now":true}}"#,
            r#"{"id":"a","shout":{}}"#,
            r#"{"id":"a","open":{"topic":"No Topic"}}"#,
            r#"{"id":"a","open":{"topic":"general","notice":"12"}}"#,
            r#"{"id":"a","send":{}}"#,
            r#"{"id":"a","send":{"text":"x","file":"y"}}"#,
            r#"{"id":"a","send":{"text":"x","name":"y"}}"#,
            r#"{"id":"a","send":{"rating":256}}"#,
            r#"{"id":"a","send":{"rating":0}}"#,
            r#"{"id":"a","send":{"rating":6}}"#,
            r#"{"id":"a","send":{"rating":-3}}"#,
            r#"{"id":"a","conversation":5,"close":{}}"#,
        ] {
            assert_eq!(code(line), (Some(json!("a")), "bad_input"), "{line}");
        }
        let (_, problem) = parse(br#"{"send":{"rating":7}}"#).unwrap_err();
        assert!(problem.text.contains("from 1 to 5"), "{}", problem.text);
        assert_eq!(parse(&[0xff, 0xfe]).unwrap_err().1.code, "bad_input");
        let deep = "[".repeat(100_000);
        assert_eq!(code(&deep), (None, "bad_input"));
    }
}
