//! "Your message was sealed for an epoch that has passed": the same content, sealed anew (§7).

use sealdesk_protocol::conversation::content::StaleEpoch;
use sealdesk_protocol::ids::ConversationId;

use super::state::Engine;
use super::trust::Correspondent;

impl Engine {
    /// Only a statement that is the current one here justifies sealing anew; until it arrives the content waits, and the
    /// peer repeats its answer when the repetition comes.
    pub(super) fn take_stale(&mut self, id: ConversationId, from: Correspondent, stale: &StaleEpoch) {
        let Some(c) = self.conversations.get(&id) else { return };
        let Some(governance) = &c.record.governance else { return };
        let current = governance.current();
        if current.statement != stale.current {
            return;
        }
        if !c.contents.contains_key(&stale.counter) {
            return;
        }
        let orders: Vec<u64> = c
            .envelopes
            .values()
            .filter(|e| e.counter == stale.counter && e.to == from.device())
            .map(|e| e.order)
            .collect();
        orders.into_iter().for_each(|order| self.drop_envelope(&id, order));
        if let Some(c) = self.conversations.get_mut(&id) {
            c.counters.sent = c.counters.sent.min(stale.counter - 1);
            c.waits.attention = true;
        }
        self.mark(crate::vault::Key::Counters(id));
    }
}
