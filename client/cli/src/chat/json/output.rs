//! Lines of output: exactly one kind each, with `conversation` and `id` beside it (docs/cli.md).

use sealdesk_client::{
    ConversationView, LinkState, Message, MessageState, Phase, Problem, Reader, TransferState, Upload,
};
use sealdesk_protocol::conversation::content::Text;
use sealdesk_protocol::conversation::{Kind, Role};
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::org::Settings;
use sealdesk_protocol::wire::WaitingEntry;
use serde_json::{Value, json};

use crate::args::role_name;
use crate::chat::AWAITED;
use crate::chat::book::{message_name, peer};
use crate::error::Error;

/// A line of output: the kind first, so that people can read along.
pub(crate) fn line(
    kind: &'static str,
    body: &Value,
    conversation: Option<&ConversationId>,
    id: Option<&Value>,
) -> String {
    let mut line = format!("{{\"{kind}\":{body}");
    if let Some(conversation) = conversation {
        line += &format!(",\"conversation\":\"{conversation}\"");
    }
    if let Some(id) = id {
        line += &format!(",\"id\":{id}");
    }
    line + "}"
}

/// Topics as `ready` and `org show` name them.
pub(crate) fn topics(settings: &Settings) -> Value {
    settings.topics.iter().map(|t| json!({"id": t.id, "team": t.team, "names": t.names})).collect()
}

/// Notices with their hashes.
pub(crate) fn notices(settings: &Settings) -> Value {
    let notice = |n: &sealdesk_protocol::org::Notice| json!({"language": n.language, "hash": n.hash().to_string(), "text": n.text});
    settings.notices.iter().map(notice).collect()
}

/// What org.json offers, as `ready` shows it too.
pub(crate) fn organisation(settings: &Settings) -> Value {
    json!({"organisation": settings.name, "topics": topics(settings), "notices": notices(settings)})
}

pub(crate) fn problem(problem: &Problem) -> Value {
    json!({"code": problem.code, "fault": problem.fault.as_str(), "text": problem.text, "hint": problem.hint})
}

pub(crate) fn error(error: &Error) -> Value {
    json!({"code": error.code(), "fault": error.fault(), "text": error.to_string(), "hint": error.hint()})
}

pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Queued => "queued",
        Phase::Assigned => "assigned",
        Phase::Active => "active",
        Phase::Closed => "closed",
        Phase::Lost => "lost",
    }
}

pub(crate) fn role(role: Role) -> &'static str {
    match role {
        Role::Customer => "customer",
        Role::Agent => "agent",
        _ => "supervisor",
    }
}

fn roles(reader: &Reader) -> Vec<&'static str> {
    reader.roles.iter().map(role_name).collect()
}

fn reader(r: &Reader) -> Value {
    json!({
        "role": role(r.role),
        "agent": r.agent,
        "name": r.name,
        "device": r.device.to_string(),
        "roles": roles(r),
        "new_device": r.new_device,
        "refused": r.refused,
        "current": r.current,
        "me": r.me,
    })
}

fn readers(view: &ConversationView) -> Vec<Value> {
    view.readers.iter().map(reader).collect()
}

pub(crate) fn state(view: &ConversationView) -> Value {
    json!({
        "phase": phase(view.phase),
        "topic": view.topic,
        "language": view.language,
        "opened": view.opened,
        "updated": view.updated,
        "epoch": view.epoch,
        "unread": view.unread,
        "countersigned": view.countersigned,
        "reassignment_waits": view.reassignment_waits,
        "safety_number": view.safety_number,
        "profile": view.profile,
        "readers": readers(view),
        "uploads": view.uploads.iter().map(upload).collect::<Vec<_>>(),
    })
}

fn upload(u: &Upload) -> Value {
    json!({
        "transfer": u.transfer.to_string(),
        "name": u.name,
        "type": u.media_type,
        "length": u.length,
        "time": u.time,
    })
}

/// The verified peer, once there is one.
pub(crate) fn assigned(view: &ConversationView) -> Option<Value> {
    let number = view.safety_number.as_ref()?;
    let accepted = match view.phase {
        Phase::Assigned => false,
        Phase::Active => true,
        _ => return None,
    };
    let peer = peer(view).filter(|peer| peer.refused.is_none())?;
    Some(match peer.role {
        Role::Customer => json!({
            "topic": view.topic,
            "language": view.language,
            "profile": view.profile,
            "safety_number": number,
            "accepted": accepted,
        }),
        _ => json!({
            "agent": peer.agent,
            "name": peer.name,
            "roles": roles(peer),
            "new_device": peer.new_device,
            "safety_number": number,
            "accepted": accepted,
        }),
    })
}

pub(crate) fn verified(view: &ConversationView) -> Value {
    json!({"safety_number": view.safety_number, "readers": readers(view)})
}

pub(crate) fn link(state: &LinkState) -> Value {
    match state {
        LinkState::Offline => json!({"state": "offline"}),
        LinkState::Connecting => json!({"state": "connecting"}),
        LinkState::Online => json!({"state": "online"}),
        LinkState::Replaced => json!({"state": "replaced"}),
        LinkState::Refused(why) => json!({"state": "refused", "problem": problem(why)}),
        LinkState::Uncertified(why) => {
            let why = Problem { hint: AWAITED.into(), ..why.clone() };
            json!({"state": "uncertified", "problem": problem(&why)})
        }
    }
}

pub(crate) fn transfer(transfer: &str, state: &TransferState, done: u64, total: u64) -> Value {
    let name = match state {
        TransferState::Sealing => "sealing",
        TransferState::Uploading => "uploading",
        TransferState::Uploaded(_) => "uploaded",
        TransferState::Downloading => "downloading",
        TransferState::Opening => "opening",
        TransferState::Saved => "saved",
        TransferState::Failed(_) => "failed",
    };
    let mut body = json!({"transfer": transfer, "state": name, "done": done, "total": total});
    match state {
        TransferState::Failed(why) => body["problem"] = problem(why),
        TransferState::Uploaded(message) => body["message"] = message_name(message).into(),
        _ => {}
    }
    body
}

pub(crate) fn waiting(entries: &[WaitingEntry]) -> Value {
    let entry = |e: &WaitingEntry| json!({"conversation": e.conversation.to_string(), "topic": e.topic, "language": e.language, "since": e.since});
    json!({"conversations": entries.iter().map(entry).collect::<Vec<_>>()})
}

/// Name of an own message's state, as receipts carry it; none before the relay has it.
pub(crate) fn receipt(state: MessageState) -> Option<&'static str> {
    match state {
        MessageState::Sent => Some("sent"),
        MessageState::Delivered => Some("delivered"),
        MessageState::Read => Some("read"),
        MessageState::Undelivered => Some("undelivered"),
        MessageState::Waiting | MessageState::Received | MessageState::ReceivedAfterClose => None,
    }
}

/// A message of a transcript; `from` says whose.
pub(crate) fn message(message: &Message, from: &str) -> Value {
    let mut body = json!({
        "id": message_name(&message.id),
        "from": from,
        "name": message.author,
        "time": message.time,
        "late": message.state == MessageState::ReceivedAfterClose,
        "weak_start": message.weak_start,
    });
    let kind = match &message.kind {
        Kind::Text(Text(text)) => {
            body["text"] = text.as_str().into();
            "text"
        }
        Kind::Attachment(file) => {
            body["file"] = json!({"name": file.name, "type": file.media_type, "length": file.length});
            "file"
        }
        Kind::Rating((stars, Text(text))) => {
            body["rating"] = (*stars).into();
            body["text"] = text.as_str().into();
            "rating"
        }
        Kind::Edit(edit) => {
            body["target"] = format!("{}:{}", message.id.device, edit.target).into();
            body["text"] = edit.text.as_str().into();
            "edit"
        }
        Kind::Delete(target) => {
            body["target"] = format!("{}:{target}", message.id.device).into();
            "delete"
        }
        Kind::Reaction(reaction) => {
            body["target"] = message_name(&reaction.target).into();
            body["emoji"] = reaction.emoji.as_str().into();
            "reaction"
        }
        Kind::FormAnswers(answers) => {
            body["answers"] = answers.iter().map(|a| json!({"field": a.field, "value": a.value})).collect();
            "form"
        }
        Kind::Profile(_) => "profile",
        _ => "unknown",
    };
    body["kind"] = kind.into();
    body
}
