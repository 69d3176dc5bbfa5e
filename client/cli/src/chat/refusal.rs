//! Why a chat could not deliver although the network is there, as last heard: the relay refused the device, the device's
//! certificate does not count, the relay has another name than org.json says, its TLS certificate is not trusted. A network that
//! is away is no such reason: that passes by itself.

use sealdesk_client::{Event, LinkState, Problem};
use sealdesk_protocol::wire::{Code, Fault};

use crate::error::{Error, Exit};

/// The relay does not say which of the two it was; org.json does.
const REVOKED: &str = "An administrator revoked this device, or the key that certified it: the relay takes nothing of it any more.";

/// What stands in the way, if anything does.
#[derive(Debug, Default)]
pub(crate) struct Refusal(Option<Problem>);

impl Refusal {
    pub(crate) fn heard(&mut self, event: &Event) {
        match event {
            Event::Link { state: LinkState::Online, .. } => self.0 = None,
            Event::Link { state: LinkState::Refused(why) | LinkState::Uncertified(why), .. } => {
                self.0 = Some(why.clone());
            }
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
                let text = if why.code == Code::Revoked.as_str() { REVOKED.into() } else { why.text };
                Error::Problem(Problem { text, hint, ..why }, Exit::Relay)
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
        let ended = || link(LinkState::Uncertified(refused("own_certificate", "It has ended.", "Renew it.")));
        for (heard, exit) in [
            (vec![ended(), link(LinkState::Offline)], Exit::Relay),
            (vec![ended(), link(LinkState::Online)], Exit::Undelivered),
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
