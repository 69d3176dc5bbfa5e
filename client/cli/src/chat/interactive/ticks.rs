//! What became of own messages, said once it has settled: in a lively chat one line, not three for each message.

use std::collections::BTreeMap;

use sealdesk_client::MessageState;
use sealdesk_protocol::ids::ConversationId;
use tokio::time::{Duration, Instant};

/// Within this time "sent", "delivered" and "read" come in a row when somebody is there.
const SETTLE: Duration = Duration::from_millis(700);

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// By conversation and counter: the state, and how the message begins.
    waiting: BTreeMap<(ConversationId, u64), (MessageState, String)>,
    due: Option<Instant>,
}

/// How far a message came; none for what no later message's state tells.
fn rank(state: MessageState) -> Option<u8> {
    match state {
        MessageState::Read => Some(3),
        MessageState::Delivered => Some(2),
        MessageState::Sent => Some(1),
        _ => None,
    }
}

impl Ticks {
    /// A message has a new state.
    pub(super) fn put(
        &mut self,
        conversation: ConversationId,
        counter: u64,
        state: MessageState,
        text: String,
    ) {
        self.waiting.insert((conversation, counter), (state, text));
        self.due.get_or_insert_with(|| Instant::now() + SETTLE);
    }

    /// Waits until something is to be said; for ever when nothing is.
    pub(super) async fn settled(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => core::future::pending().await,
        }
    }

    /// What to say now. What holds for a later message holds for those before it, unless one did not arrive.
    pub(super) fn take(&mut self) -> Vec<(ConversationId, MessageState, String)> {
        self.due = None;
        let mut said: Vec<(ConversationId, MessageState, String)> = Vec::new();
        for ((conversation, _), (state, text)) in core::mem::take(&mut self.waiting).into_iter().rev() {
            let covered = rank(state).is_some()
                && said.iter().any(|(other, later, _)| *other == conversation && rank(*later) >= rank(state));
            if !covered {
                said.push((conversation, state, text));
            }
        }
        said.reverse();
        said
    }
}

#[cfg(test)]
mod tests {
    use MessageState::{Delivered, Read, Sent, Undelivered};
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_line_for_what_came_in_a_row() {
        let (one, other) = (ConversationId([1; 32]), ConversationId([2; 32]));
        let mut ticks = Ticks::default();
        let mut put = |id, counter, state| ticks.put(id, counter, state, format!("message {counter}"));
        for state in [Sent, Delivered, Read] {
            put(one, 1, state);
        }
        put(one, 2, Delivered);
        put(one, 3, Delivered);
        put(one, 4, Sent);
        put(other, 1, Sent);
        ticks.settled().await;
        let said: Vec<_> = ticks.take().into_iter().map(|(id, state, text)| (id.0[0], state, text)).collect();
        let expected = [
            (1, Read, "message 1"),
            (1, Delivered, "message 3"),
            (1, Sent, "message 4"),
            (2, Sent, "message 1"),
        ];
        assert_eq!(said, expected.map(|(id, state, text)| (id, state, text.to_string())));
        assert!(ticks.settled().now_or_never().is_none(), "and then nothing is said");
    }

    #[test]
    fn what_did_not_arrive_is_said_whatever_a_later_message_says() {
        let id = ConversationId([1; 32]);
        for later in [Sent, Delivered, Read, Undelivered] {
            let mut ticks = Ticks::default();
            ticks.put(id, 1, Undelivered, "lost".into());
            ticks.put(id, 2, later, "later".into());
            assert_eq!(ticks.take(), [(id, Undelivered, "lost".into()), (id, later, "later".into())]);
        }
    }
}
