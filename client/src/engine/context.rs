//! What one step carries along: clocks, randomness, and the outputs that wait for the commit.

use rand_core::CryptoRng;
use sealdesk_protocol::ids::ConversationId;

use super::{Event, Now, Output, Problem};

pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) rng: &'a mut dyn CryptoRng,
    pub(crate) out: Vec<Output>,
}

impl Cx<'_> {
    pub(crate) fn event(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    pub(crate) fn problem(&mut self, conversation: Option<ConversationId>, problem: Problem) {
        self.event(Event::Problem { conversation, problem });
    }

    /// Says it only of what concerns keys; other problems end by what people see.
    pub(crate) fn resolved(&mut self, conversation: Option<ConversationId>, code: &'static str) {
        if let Some(text) = super::problem::resolution(code) {
            self.event(Event::Resolved { conversation, code, text });
        }
    }

    pub(crate) fn failed(&mut self, id: u64, problem: Problem) {
        self.event(Event::Failed { id, problem });
    }

    pub(crate) fn done(&mut self, id: u64, conversation: Option<ConversationId>) {
        self.event(Event::Done { id, conversation, message: None });
    }

    /// A random number below `bound`.
    pub(crate) fn jitter(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.rng.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes) % bound.max(1)
    }
}
