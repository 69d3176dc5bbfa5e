//! Events, messages and conversations as the objects that web/src/worker/protocol.ts describes.

use sealdesk_client::{
    ConversationView, Corrupt, Event, LinkState, Message, MessageState, Phase, Problem, Reader,
    TransferState, Upload,
};
use sealdesk_protocol::conversation::content::{Attachment, Text};
use sealdesk_protocol::conversation::{Kind, Role};
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::wire::Fault;
use wasm_bindgen::JsValue;

use crate::object::{Fields, list, number, or_null, time};

pub(crate) fn problem(problem: &Problem) -> JsValue {
    Fields::new()
        .with("code", problem.code)
        .with("fault", problem.fault.as_str())
        .with("text", problem.text.as_str())
        .with("hint", problem.hint.as_str())
        .into()
}

/// None for what a customer's page has no use for.
pub(crate) fn event(event: &Event) -> Option<JsValue> {
    let fields = match event {
        Event::Done { id, conversation, message } => Fields::of("done")
            .with("id", number(*id))
            .with("conversation", hex(conversation.as_ref()))
            .with("device", or_null(message.map(|m| m.device.to_string())))
            .with("counter", or_null(message.map(|m| number(m.counter)))),
        Event::Failed { id, problem: why } => {
            Fields::of("failed").with("id", number(*id)).with("problem", problem(why))
        }
        Event::Link { conversation, state } => {
            let (name, why) = link(state);
            Fields::of("link")
                .with("conversation", hex(conversation.as_ref()))
                .with("state", name)
                .with("problem", or_null(why))
        }
        Event::Conversation(view) => Fields::of("conversation").with("conversation", conversation(view)),
        Event::Message(entry) => Fields::of("message").with("message", message(entry)),
        Event::Typing { conversation, on, .. } => {
            Fields::of("typing").with("conversation", conversation.to_string()).with("on", *on)
        }
        Event::Transfer { transfer, conversation, done, total, state } => {
            let (name, why) = transfer_state(state);
            Fields::of("transfer")
                .with("transfer", transfer.to_string())
                .with("conversation", conversation.to_string())
                .with("done", number(*done))
                .with("total", number(*total))
                .with("state", name)
                .with("problem", or_null(why))
        }
        Event::Problem { conversation, problem: what } => Fields::of("problem")
            .with("conversation", hex(conversation.as_ref()))
            .with("problem", problem(what)),
        Event::Resolved { conversation, code, .. } => {
            Fields::of("resolved").with("conversation", hex(conversation.as_ref())).with("code", *code)
        }
        _ => return None,
    };
    Some(fields.into())
}

fn hex(id: Option<&ConversationId>) -> JsValue {
    or_null(id.map(ToString::to_string))
}

fn link(state: &LinkState) -> (&'static str, Option<JsValue>) {
    match state {
        LinkState::Offline => ("offline", None),
        LinkState::Connecting => ("connecting", None),
        LinkState::Online => ("online", None),
        LinkState::Replaced => ("replaced", None),
        // A customer has no certificate.
        LinkState::Refused(why) | LinkState::Uncertified(why) => ("refused", Some(problem(why))),
    }
}

fn transfer_state(state: &TransferState) -> (&'static str, Option<JsValue>) {
    match state {
        TransferState::Sealing => ("sealing", None),
        TransferState::Uploading => ("uploading", None),
        TransferState::Uploaded(_) => ("uploaded", None),
        TransferState::Downloading => ("downloading", None),
        TransferState::Opening => ("opening", None),
        TransferState::Saved => ("saved", None),
        TransferState::Failed(why) => ("failed", Some(problem(why))),
    }
}

pub(crate) fn conversation(view: &ConversationView) -> JsValue {
    let phase = match view.phase {
        Phase::Queued => "queued",
        Phase::Assigned => "assigned",
        Phase::Active => "active",
        Phase::Closed => "closed",
        Phase::Lost => "lost",
    };
    Fields::new()
        .with("id", view.id.to_string())
        .with("phase", phase)
        .with("topic", view.topic.as_str())
        .with("language", view.language.as_str())
        .with("opened", time(view.opened))
        .with("updated", time(view.updated))
        .with("readers", list(view.readers.iter().map(reader)))
        .with("safetyNumber", or_null(view.safety_number.as_deref()))
        .with("unread", view.unread)
        .with("delivered", number(view.delivered))
        .with("read", number(view.read))
        .with("reassignmentWaits", view.reassignment_waits)
        .with("closing", view.closing)
        .with("uploads", list(view.uploads.iter().map(upload)))
        .into()
}

/// A file without its message yet.
fn upload(upload: &Upload) -> Fields {
    Fields::new()
        .with("kind", "file")
        .with("transfer", upload.transfer.to_string())
        .with("name", upload.name.as_str())
        .with("mediaType", upload.media_type.as_str())
        .with("length", number(upload.length))
        .with("time", time(upload.time))
}

fn reader(reader: &Reader) -> Fields {
    let role = match reader.role {
        Role::Customer => "customer",
        Role::Supervisor => "supervisor",
        _ => "agent",
    };
    Fields::new()
        .with("role", role)
        .with("device", reader.device.to_string())
        .with("agent", or_null(reader.agent.as_ref().map(|agent| agent.as_str())))
        .with("name", or_null(reader.name.as_deref()))
        .with("newDevice", reader.new_device)
        .with("refused", reader.refused.is_some())
        .with("gone", reader.gone)
        .with("current", reader.current)
        .with("me", reader.me)
}

pub(crate) fn message(message: &Message) -> JsValue {
    let state = match message.state {
        MessageState::Waiting => "waiting",
        MessageState::Sent => "sent",
        MessageState::Delivered => "delivered",
        MessageState::Read => "read",
        MessageState::Undelivered => "undelivered",
        MessageState::Received => "received",
        MessageState::ReceivedAfterClose => "receivedAfterClose",
    };
    Fields::new()
        .with("conversation", message.conversation.to_string())
        .with("device", message.id.device.to_string())
        .with("counter", number(message.id.counter))
        .with("place", number(message.place))
        .with("mine", message.mine)
        .with("author", or_null(message.author.as_deref()))
        .with("time", time(message.time))
        .with("state", state)
        .with("weakStart", message.weak_start)
        .with("body", body(&message.kind))
        .into()
}

fn body(kind: &Kind) -> Fields {
    let of = |name: &str| Fields::new().with("kind", name);
    match kind {
        Kind::Text(Text(text)) => of("text").with("text", text.as_str()),
        Kind::Attachment(file) => attachment(file),
        Kind::Edit(edit) => of("edit").with("target", number(edit.target)).with("text", edit.text.as_str()),
        Kind::Delete(target) => of("delete").with("target", number(*target)),
        Kind::Reaction(reaction) => of("reaction")
            .with("device", reaction.target.device.to_string())
            .with("target", number(reaction.target.counter))
            .with("emoji", reaction.emoji.as_str()),
        Kind::Rating((stars, Text(comment))) => {
            of("rating").with("stars", *stars).with("text", comment.as_str())
        }
        Kind::Unknown(_) => of("unknown"),
        _ => of("hidden"),
    }
}

/// Without key, capability and hash: these stay in the core.
fn attachment(file: &Attachment) -> Fields {
    Fields::new()
        .with("kind", "file")
        .with("transfer", file.blob.to_string())
        .with("name", file.name.as_str())
        .with("mediaType", file.media_type.as_str())
        .with("length", number(file.length))
}

/// Why the vault does not open, as a problem object.
pub(crate) fn corrupt(error: &Corrupt) -> JsValue {
    let (code, fault) = match error {
        Corrupt::ForeignOrganisation => ("vault_foreign", Fault::Organisation),
        Corrupt::OrganisationRollback => ("org_rollback", Fault::Organisation),
        Corrupt::Newer(_) => ("vault_newer", Fault::You),
        _ => ("vault_corrupt", Fault::You),
    };
    problem(&Problem {
        code,
        fault,
        text: error.to_string(),
        hint: "Load the page again; if it stays like this, clear this site's data and start a new chat."
            .into(),
    })
}
