//! Why the relay itself kept a chat from delivering, as last heard: it refused the device, it has another name than org.json
//! says, its TLS certificate is not trusted. A network that is away is no such reason: that passes by itself.

use sealdesk_client::{Event, LinkState, Problem};
use sealdesk_protocol::wire::Fault;

use crate::error::{Error, Exit};

/// What stands in the way, if anything does.
#[derive(Debug, Default)]
pub(crate) struct Refusal(Option<Problem>);

impl Refusal {
    pub(crate) fn heard(&mut self, event: &Event) {
        match event {
            Event::Link { state: LinkState::Online, .. } => self.0 = None,
            Event::Link { state: LinkState::Refused(why), .. } => self.0 = Some(why.clone()),
            Event::Problem { problem, .. } if problem.code == "relay_unreachable" => {
                self.0 = (problem.fault == Fault::Relay).then(|| problem.clone());
            }
            _ => {}
        }
    }

    /// How a chat ends that could not deliver everything.
    pub(crate) fn end(self) -> Error {
        match self.0 {
            None => Error::Undelivered,
            Some(why) => {
                // This program does not try again by itself any more.
                let hint = why.hint.replace(" It is tried again by itself.", "");
                let hint = format!(
                    "{hint} What was not delivered is kept: start the chat again with the same --home."
                );
                Error::Problem(Problem { hint, ..why }, Exit::Relay)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::book::refused;

    fn link(state: LinkState) -> Event {
        Event::Link { conversation: None, state }
    }

    fn unreachable(fault: Fault) -> Event {
        let problem =
            Problem { fault, ..refused("relay_unreachable", "No.", "Look. It is tried again by itself.") };
        Event::Problem { conversation: None, problem }
    }

    #[test]
    fn only_what_the_relay_refuses_and_refuses_still_ends_as_its_refusal() {
        let wrong = || link(LinkState::Refused(refused("wrong_relay", "Another name.", "Look.")));
        let other = || Event::Problem { conversation: None, problem: refused("gap", "A gap.", "Wait.") };
        for (heard, exit) in [
            (vec![], Exit::Undelivered),
            (vec![wrong(), other(), link(LinkState::Offline)], Exit::Relay),
            (vec![wrong(), link(LinkState::Online)], Exit::Undelivered),
            (vec![unreachable(Fault::Relay)], Exit::Relay),
            (vec![unreachable(Fault::Relay), unreachable(Fault::Network)], Exit::Undelivered),
        ] {
            let mut refusal = Refusal::default();
            heard.iter().for_each(|event| refusal.heard(event));
            let end = refusal.end();
            assert_eq!(end.exit(), exit, "{heard:?}");
            assert!(!end.hint().contains("tried again"), "{}", end.hint());
        }
    }
}
