//! Acknowledgements of one connection: gathered, one write at a time, of the newest. However many a client sends, they
//! cost no more.

use sealdesk_protocol::wire::Ack;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Acks {
    /// The newest that is not under way.
    newest: Option<Box<Ack>>,
    under_way: bool,
}

impl Acks {
    /// One more, also when it says less than an earlier one.
    pub fn gather(&mut self, ack: Ack) {
        match &mut self.newest {
            Some(newest) => {
                newest.up_to = newest.up_to.max(ack.up_to);
                newest.vault = ack.vault.or(newest.vault);
            }
            None => self.newest = Some(Box::new(ack)),
        }
    }

    /// The one to carry out now, unless one is under way.
    pub fn due(&mut self) -> Option<Ack> {
        let next = if self.under_way { None } else { self.newest.take() };
        next.map(|ack| *ack)
    }

    /// The one that was carried out now waits for the disk.
    pub fn begun(&mut self) {
        self.under_way = true;
    }

    /// It is durable.
    pub fn done(&mut self) {
        self.under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use sealdesk_protocol::wire::Position;

    use super::*;

    fn ack(seq: u64) -> Ack {
        Ack { up_to: Position { store_epoch: 1, seq }, vault: None }
    }

    #[test]
    fn one_is_under_way_and_the_newest_follows() {
        let mut acks = Acks::default();
        assert_eq!(acks.due(), None);
        for seq in [3, 5, 4] {
            acks.gather(ack(seq));
        }
        assert_eq!(acks.due(), Some(ack(5)));
        acks.begun();
        for seq in [6, 9, 7] {
            acks.gather(ack(seq));
            assert_eq!(acks.due(), None, "one is under way");
        }
        acks.done();
        assert_eq!(acks.due(), Some(ack(9)));
        assert_eq!(acks.due(), None);
    }
}
