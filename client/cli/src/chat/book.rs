//! What a chat knows of its conversations: the newest view of each, and how people and programs name them.

use std::collections::BTreeMap;

use sealdesk_client::{ConversationView, Phase, Problem, Reader};
use sealdesk_protocol::conversation::{MessageId, Role};
use sealdesk_protocol::ids::ConversationId;
use sealdesk_protocol::wire::Fault;

/// Conversations by id.
#[derive(Debug, Default)]
pub(crate) struct Book {
    views: BTreeMap<ConversationId, ConversationView>,
}

/// A problem of what was typed.
pub(crate) fn refused(code: &'static str, text: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem { code, fault: Fault::You, text: text.into(), hint: hint.into() }
}

/// Whether it takes part in talking.
pub(crate) fn is_open(view: &ConversationView) -> bool {
    !matches!(view.phase, Phase::Closed | Phase::Lost)
}

/// The device on the other side that reads now: the agent's for a customer, the customer's for an agent.
pub(crate) fn peer(view: &ConversationView) -> Option<&Reader> {
    let me_customer = view.readers.iter().any(|r| r.me && r.role == Role::Customer);
    let wanted = |r: &&Reader| if me_customer { r.role == Role::Agent } else { r.role == Role::Customer };
    view.readers.iter().filter(|r| r.current && !r.me).find(wanted)
}

/// The only one of these conversations that begins like that.
///
/// # Errors
/// `unknown_conversation` with `none`, or `ambiguous_conversation`.
pub(crate) fn named<'a>(
    prefix: &str,
    of: impl Iterator<Item = &'a ConversationId>,
    none: &'static str,
) -> Result<ConversationId, Problem> {
    if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(refused(
            "unknown_conversation",
            "A conversation is named by the beginning of its id, in hexadecimal digits.",
            "Take it from a line of output, or from what `list` answers.",
        ));
    }
    let prefix = prefix.to_ascii_lowercase();
    let mut found = of.filter(|id| id.to_string().starts_with(&prefix));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(*id),
        (None, _) => {
            Err(refused("unknown_conversation", none, "Choose one of the conversations that are listed."))
        }
        (Some(_), Some(_)) => Err(refused(
            "ambiguous_conversation",
            "More than one conversation begins like that.",
            "Give more digits of its id.",
        )),
    }
}

impl Book {
    pub(crate) fn put(&mut self, view: ConversationView) {
        self.views.insert(view.id, view);
    }

    /// It is gone from the vault: nothing names it any more. False: it was not there.
    pub(crate) fn remove(&mut self, id: &ConversationId) -> bool {
        self.views.remove(id).is_some()
    }

    pub(crate) fn get(&self, id: &ConversationId) -> Option<&ConversationView> {
        self.views.get(id)
    }

    /// Newest change first.
    pub(crate) fn newest_first(&self) -> Vec<&ConversationView> {
        let mut views: Vec<_> = self.views.values().collect();
        views.sort_by(|a, b| b.updated.cmp(&a.updated).then(a.id.cmp(&b.id)));
        views
    }

    /// The conversation that a beginning of its id means; without one, the open one that was opened last (nothing that
    /// others write changes which one that is), or the only one.
    pub(crate) fn resolve(&self, prefix: Option<&str>) -> Result<ConversationId, Problem> {
        let Some(prefix) = prefix else { return self.current() };
        named(prefix, self.views.keys(), "This vault holds no such conversation.")
    }

    fn current(&self) -> Result<ConversationId, Problem> {
        let mut views = self.newest_first();
        views.sort_by_key(|view| core::cmp::Reverse(view.opened));
        let mut open = views.iter().filter(|v| is_open(v));
        let is_agent = views.iter().any(|v| v.readers.iter().any(|r| r.me && r.role != Role::Customer));
        match (open.next(), open.next()) {
            (Some(_), Some(_)) if is_agent => Err(refused(
                "conversation_needed",
                "There are several conversations.",
                "Say which one: `conversation`.",
            )),
            (Some(view), _) => Ok(view.id),
            (None, _) => views.first().map(|v| v.id).ok_or_else(|| {
                refused("no_conversation", "There is no conversation yet.", "A customer opens one first.")
            }),
        }
    }
}

/// `DEVICE:COUNTER`.
pub(crate) fn message_name(id: &MessageId) -> String {
    format!("{}:{}", id.device, id.counter)
}

/// Reads [`message_name`].
pub(crate) fn parse_message_name(text: &str) -> Option<MessageId> {
    let (device, counter) = text.split_once(':')?;
    Some(MessageId { device: device.parse().ok()?, counter: counter.parse().ok()? })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sealdesk_protocol::ids::DeviceKeyHash;

    /// A conversation whose own side is a customer or an agent.
    pub(crate) fn view(first: u8, phase: Phase, updated: u64, me: Role) -> ConversationView {
        let reader = |role, device| Reader {
            role,
            device: DeviceKeyHash([device; 32]),
            agent: (role == Role::Agent).then(|| "mira".parse().unwrap()),
            name: (role == Role::Agent).then(|| "Mira K.".into()),
            roles: vec![],
            new_device: false,
            refused: None,
            gone: false,
            current: true,
            me: role == me,
        };
        ConversationView {
            id: ConversationId([first; 32]),
            phase,
            topic: "general".parse().unwrap(),
            language: "en".into(),
            opened: 1,
            readers: vec![reader(Role::Customer, 1), reader(Role::Agent, 2)],
            safety_number: Some("01234 56789".into()),
            epoch: 1,
            countersigned: true,
            unread: 0,
            updated,
            reassignment_waits: false,
            closing: false,
            profile: None,
            uploads: vec![],
            delivered: 0,
            read: 0,
        }
    }

    #[test]
    fn conversations_are_named_by_their_beginning_or_not_at_all() {
        let mut book = Book::default();
        assert_eq!(book.resolve(None).unwrap_err().code, "no_conversation");
        book.put(view(0xab, Phase::Closed, 9, Role::Customer));
        book.put(view(0xac, Phase::Active, 8, Role::Customer));
        book.put(ConversationView { opened: 2, ..view(0xad, Phase::Queued, 7, Role::Customer) });
        let newest = book.resolve(None).unwrap();
        assert_eq!(newest, ConversationId([0xad; 32]), "opened last, though the other one changed later");
        assert_eq!(book.resolve(Some("AB")).unwrap(), ConversationId([0xab; 32]));
        assert_eq!(book.resolve(Some("a")).unwrap_err().code, "ambiguous_conversation");
        for unknown in ["ff", "", "zz", "ab\u{202e}", "é"] {
            assert_eq!(book.resolve(Some(unknown)).unwrap_err().code, "unknown_conversation", "{unknown}");
        }
    }

    #[test]
    fn what_is_gone_is_named_by_nothing() {
        let mut book = Book::default();
        book.put(view(0xab, Phase::Closed, 9, Role::Agent));
        book.put(view(0xac, Phase::Active, 8, Role::Agent));
        let id = ConversationId([0xab; 32]);
        assert!(book.remove(&id) && !book.remove(&id));
        assert_eq!(book.resolve(Some("ab")).unwrap_err().code, "unknown_conversation");
        assert_eq!(
            book.resolve(Some("a")).unwrap(),
            ConversationId([0xac; 32]),
            "it makes no name ambiguous"
        );
        assert_eq!(book.newest_first().len(), 1);
    }

    #[test]
    fn an_agent_with_several_has_to_say_which() {
        let mut book = Book::default();
        book.put(view(1, Phase::Active, 5, Role::Agent));
        assert_eq!(book.resolve(None).unwrap(), ConversationId([1; 32]));
        book.put(view(2, Phase::Lost, 6, Role::Agent));
        assert_eq!(book.resolve(None).unwrap(), ConversationId([1; 32]));
        book.put(view(3, Phase::Assigned, 6, Role::Agent));
        assert_eq!(book.resolve(None).unwrap_err().code, "conversation_needed");
    }

    #[test]
    fn the_peer_is_the_other_side() {
        assert_eq!(
            peer(&view(1, Phase::Active, 1, Role::Customer)).unwrap().name.as_deref(),
            Some("Mira K.")
        );
        assert_eq!(peer(&view(1, Phase::Active, 1, Role::Agent)).unwrap().role, Role::Customer);
    }

    #[test]
    fn message_names_go_round() {
        let id = MessageId { device: DeviceKeyHash([7; 32]), counter: 12 };
        assert_eq!(parse_message_name(&message_name(&id)), Some(id));
        for bad in ["", ":", "07:1", "x:y", &format!("{}:-1", DeviceKeyHash([7; 32]))] {
            assert_eq!(parse_message_name(bad), None, "{bad}");
        }
    }
}
