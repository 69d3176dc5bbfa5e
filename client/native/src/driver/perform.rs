//! Performing outputs: connections, files, answers, events. Everything here only enqueues.

use std::collections::HashMap;
use std::sync::mpsc as files;

use sealdesk_client::{Event, FileBytes, Input, Output, Problem};
use sealdesk_protocol::wire::Fault;
use tokio::runtime;
use tokio::sync::mpsc;

use super::{Pending, Signal};
use crate::client::Done;
use crate::transfers::Job;
use crate::transport::{NetEvent, Network};

/// Where outputs go.
pub(super) struct Outlets {
    pub(super) network: Network,
    pub(super) runtime: runtime::Handle,
    pub(super) signals: mpsc::WeakSender<Signal>,
    pub(super) events: mpsc::UnboundedSender<Event>,
    pub(super) jobs: files::Sender<Job>,
    pub(super) links: HashMap<u32, mpsc::UnboundedSender<Vec<u8>>>,
    /// Counts openings of the engine: connection numbers start again with each.
    pub(super) era: u64,
    pub(super) pending: HashMap<u64, Pending>,
    /// Why the relay could not be reached, as last told.
    pub(super) told: Option<String>,
}

impl Outlets {
    pub(super) fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Connect(number) => self.connect(number),
                Output::Send(number, bytes) => {
                    if let Some(link) = self.links.get(&number) {
                        // A connection that ended has told so already.
                        let _ = link.send(bytes);
                    }
                }
                Output::Disconnect(number) => drop(self.links.remove(&number)),
                Output::ReadChunk { transfer, part, offset, len } => {
                    self.job(Job::Read { transfer, part, offset, len });
                }
                Output::WriteChunk { transfer, part, offset, bytes: FileBytes(bytes) } => {
                    self.job(Job::Write { transfer, part, offset, bytes });
                }
                Output::DropSpool(transfer) => self.job(Job::DropSpool(transfer)),
                Output::Event(event) => self.event(event),
            }
        }
    }

    fn connect(&mut self, number: u32) {
        let (link, outgoing) = mpsc::unbounded_channel();
        self.links.insert(number, link);
        let (signals, era) = (self.signals.clone(), self.era);
        let tell = move |event| {
            let signals = signals.upgrade();
            async move {
                if let Some(signals) = signals {
                    let _ = signals.send(Signal::Net { era, number, event }).await;
                }
            }
        };
        self.runtime.spawn(self.network.clone().run(outgoing, tell));
    }

    /// What a connection told, for the engine; connections of an engine that fell are strangers.
    pub(super) fn net(&mut self, era: u64, number: u32, event: NetEvent) -> Option<Input> {
        if era != self.era {
            return None;
        }
        match event {
            NetEvent::Opened => {
                self.told = None;
                Some(Input::Opened(number))
            }
            NetEvent::Frame(bytes) => Some(Input::Frame(number, bytes)),
            NetEvent::Closed(problem) => {
                self.links.remove(&number);
                if let Some(problem) = problem
                    && self.told.as_ref() != Some(&problem.text)
                {
                    self.told = Some(problem.text.clone());
                    self.tell_problem(problem);
                }
                Some(Input::Closed(number))
            }
        }
    }

    pub(super) fn job(&self, job: Job) {
        if self.jobs.send(job).is_err() {
            tracing::error!("the thread for files has ended");
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Done { id, conversation, message } => {
                let Some(pending) = self.pending.remove(&id) else { return };
                let done = Done { conversation, message, transfer: pending.source };
                match pending.target {
                    None => drop(pending.reply.send(Ok(done))),
                    Some(transfer) => self.job(Job::Finish {
                        transfer,
                        done: Box::new(move |finished| {
                            let result = finished.map(|()| done).map_err(|error| Problem {
                                code: "file",
                                fault: Fault::You,
                                text: format!("{error}."),
                                hint: error.hint().into(),
                            });
                            drop(pending.reply.send(result));
                        }),
                    }),
                }
            }
            Event::Failed { id, problem } => {
                let Some(pending) = self.pending.remove(&id) else { return };
                self.abandon(&pending);
                let _ = pending.reply.send(Err(problem));
            }
            // Nobody listens any more: the client is being dropped.
            event => drop(self.events.send(event)),
        }
    }

    fn abandon(&self, pending: &Pending) {
        pending.source.into_iter().for_each(|transfer| self.job(Job::ForgetSource(transfer)));
        pending.target.into_iter().for_each(|transfer| self.job(Job::ForgetTarget(transfer)));
    }

    pub(super) fn tell_problem(&self, problem: Problem) {
        let _ = self.events.send(Event::Problem { conversation: None, problem });
    }

    /// The engine fell: its connections and commands are gone.
    pub(super) fn forget(&mut self, why: &Problem) {
        self.era += 1;
        self.links.clear();
        for (_, pending) in std::mem::take(&mut self.pending) {
            self.abandon(&pending);
            let _ = pending.reply.send(Err(why.clone()));
        }
    }
}
