//! Answers of the relay, led back to what was asked.

use sealdesk_protocol::ids::DeviceKeyHash;
use sealdesk_protocol::wire::{Code, Error, ToClient};

use super::context::Cx;
use super::link::Request;
use super::state::Engine;
use super::{Event, Problem};

/// A refused request is repeated after this long, ms, unless the relay names a time.
const AGAIN: u64 = 2_000;

impl Engine {
    fn take_request(&mut self, hash: &DeviceKeyHash, number: u32) -> Option<Request> {
        self.devices.get_mut(hash)?.link.online_mut()?.answered(number)
    }

    pub(super) fn answer(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, frame: ToClient) {
        match frame {
            ToClient::Done(done) => {
                if let Some(request) = self.take_request(&hash, done.req) {
                    self.carried_out(cx, hash, request);
                }
            }
            ToClient::PrekeyCount(count) => {
                if let Some(number) = count.req {
                    self.take_request(&hash, number);
                }
                self.prekeys_counted(&hash, count.one_time_left, count.req.is_some());
            }
            ToClient::Prekeys(prekeys) => {
                if let Some(Request::Fetch { conversation, device }) = self.take_request(&hash, prekeys.req) {
                    self.prekeys_fetched(cx, conversation, device, &prekeys.bundle);
                }
            }
            ToClient::Revocations(revocations) => self.take_revocations(cx, &revocations.list),
            ToClient::Queued(queued) => {
                queued.req.and_then(|number| self.take_request(&hash, number));
                self.asked(&hash, queued.conversation);
            }
            ToClient::Assignment(assignment) => {
                assignment.req.and_then(|number| self.take_request(&hash, number));
                self.asked(&hash, assignment.conversation);
                self.assigned(cx, hash, assignment);
            }
            ToClient::Unaccepted(unaccepted) => self.nobody_accepted(hash, unaccepted.conversation),
            ToClient::Certificate(certificate) => {
                if let Some(Request::Certificate(conversation)) = self.take_request(&hash, certificate.req) {
                    self.certificate_fetched(cx, conversation, &certificate.chain);
                }
            }
            ToClient::Waiting(waiting) if self.is_agent() => cx.event(Event::Waiting(waiting.entries)),
            ToClient::Deliver(deliver) => self.deliver(cx, hash, deliver),
            ToClient::Ephemeral(ephemeral) => self.ephemeral(cx, hash, &ephemeral.envelope),
            ToClient::BlobStatus(status) => {
                if let Some(request) = self.take_request(&hash, status.req) {
                    self.blob_status(cx, &request, &status);
                }
            }
            ToClient::BlobBytes(bytes) => {
                if let Some(Request::BlobRead(blob)) = self.take_request(&hash, bytes.req) {
                    self.blob_bytes(cx, blob, bytes);
                }
            }
            _ => {}
        }
    }

    fn carried_out(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, request: Request) {
        match request {
            Request::Statement(conversation) => self.statement_stored(cx, conversation),
            Request::Envelope { conversation, order } => self.envelope_stored(cx, &conversation, order),
            Request::Claim { command, conversation } => cx.done(command, Some(conversation)),
            Request::Prekeys => self.prekeys_counted(&hash, u16::MAX, true),
            _ => {}
        }
    }

    /// The relay refused something; nothing of it was stored.
    pub(super) fn refused(&mut self, cx: &mut Cx<'_>, hash: DeviceKeyHash, error: &Error) {
        if self.devices.get(&hash).is_none_or(|d| d.link.online().is_none()) {
            return self.refused_greeting(cx, hash, error.code);
        }
        let Some(request) = error.req.and_then(|number| self.take_request(&hash, number)) else {
            return cx.problem(None, Problem::from(error.code));
        };
        let pause = error.retry_after.map_or(AGAIN, u64::from).min(600_000);
        let at = cx.now.mono_ms + pause + cx.jitter(pause / 4 + 1);
        match request {
            Request::Envelope { conversation, order } => {
                self.envelope_refused(cx, &conversation, order, error.code, at);
            }
            Request::Statement(conversation) => self.statement_refused(cx, conversation, error.code, at),
            Request::Assignment(conversation) => self.assignment_refused(cx, conversation, error.code, at),
            Request::Prekeys => {
                if let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) {
                    online.publishing = false;
                    online.publish_at = at;
                }
                // A customer's device serves one conversation, which is told of the same refusal once.
                let conversation = self.devices.get(&hash).and_then(|d| d.record.conversation);
                match conversation {
                    _ if is_passing(error.code) => {}
                    Some(conversation) => self.tell_once(cx, conversation, error.code),
                    None => cx.problem(None, Problem::from(error.code)),
                }
            }
            Request::Fetch { conversation, device } => {
                if let Some(c) = self.conversations.get_mut(&conversation) {
                    c.waits.fetching.remove(&device);
                    c.waits.send_at = at;
                    c.waits.attention = true;
                }
                self.tell_once(cx, conversation, error.code);
            }
            Request::Certificate(_) => {}
            Request::Claim { command, .. } => cx.failed(command, Problem::from(error.code)),
            Request::Availability => {
                if let Some(online) = self.devices.get_mut(&hash).and_then(|d| d.link.online_mut()) {
                    online.told_availability = !is_passing(error.code);
                }
                cx.problem(None, Problem::from(error.code));
            }
            Request::BlobCreate(blob) => self.blob_refused(cx, blob, true, error.code, at),
            Request::BlobWrite(blob) | Request::BlobRead(blob) => {
                self.blob_refused(cx, blob, false, error.code, at);
            }
        }
    }

    /// Tells a refusal once, until something works again.
    pub(super) fn tell_once(
        &mut self,
        cx: &mut Cx<'_>,
        conversation: sealdesk_protocol::ids::ConversationId,
        code: Code,
    ) {
        if let Some(c) = self.conversations.get_mut(&conversation)
            && c.waits.told != Some(code.as_str())
        {
            c.waits.told = Some(code.as_str());
            cx.problem(Some(conversation), Problem::from(code));
        }
    }
}

/// Refusals that pass by themselves.
pub(super) fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::RateLimited
            | Code::MailboxFull
            | Code::MailboxBytes
            | Code::Unavailable
            | Code::Internal
            | Code::NoPrekeys
    )
}
