//! Requests of one connection that wait for the disk. Most connections have none most of the time, and then this is one
//! empty pointer.

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use sealdesk_protocol::wire::ToClient;

/// A request that waits for the disk; resolves to the answer, if the frame has one.
pub type Pending = BoxFuture<'static, Option<ToClient>>;

/// See the module's text.
#[derive(Default)]
pub struct InFlight(Option<Box<FuturesUnordered<Pending>>>);

impl core::fmt::Debug for InFlight {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "InFlight({})", self.len())
    }
}

impl InFlight {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more.
    pub fn push(&mut self, pending: Pending) {
        self.0.get_or_insert_default().push(pending);
    }

    /// The next that is done; waits for ever when there is none.
    pub async fn next(&mut self) -> Option<ToClient> {
        if let Some(waiting) = &mut self.0
            && let Some(answer) = waiting.next().await
        {
            return answer;
        }
        core::future::pending().await
    }

    /// One that is done already; frees the memory with the last.
    pub fn ready(&mut self) -> Option<Option<ToClient>> {
        match self.0.as_mut()?.next().now_or_never() {
            Some(Some(answer)) => Some(answer),
            Some(None) => {
                self.0 = None;
                None
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealdesk_protocol::wire::Done;

    #[tokio::test]
    async fn answers_come_as_they_are_done_and_the_memory_goes() {
        let mut waiting = InFlight::default();
        assert!(waiting.next().now_or_never().is_none());
        assert!(waiting.ready().is_none());
        waiting.push(core::future::pending().boxed());
        waiting.push(core::future::ready(Some(Done { req: 1 }.into())).boxed());
        waiting.push(core::future::ready(None).boxed());
        assert_eq!(waiting.len(), 3);
        assert_eq!(waiting.next().await, Some(Done { req: 1 }.into()));
        assert_eq!(waiting.ready(), Some(None));
        assert!(waiting.ready().is_none() && waiting.len() == 1);
        let mut waiting = InFlight::default();
        waiting.push(core::future::ready(None).boxed());
        assert_eq!(waiting.ready(), Some(None));
        assert!(waiting.ready().is_none());
        assert!(waiting.0.is_none());
    }
}
