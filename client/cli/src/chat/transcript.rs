//! Reading a transcript page by page.

use sealdesk_client::{Message, Problem};
use sealdesk_native::Handle;
use sealdesk_protocol::conversation::content::Attachment;
use sealdesk_protocol::conversation::{Kind, MessageId};
use sealdesk_protocol::ids::ConversationId;

use super::book::refused;

/// Entries in one page.
const PAGE: u16 = 100;

/// The attachment that a message holds.
///
/// # Errors
/// [`Problem`] when there is no such message, or it holds none.
pub(crate) async fn find_attachment(
    handle: &Handle,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Attachment, Problem> {
    let mut before = u64::MAX;
    loop {
        let page = handle.page(conversation, before, PAGE).await?;
        let Some(first) = page.first() else {
            return Err(refused(
                "unknown_message",
                "There is no such message.",
                "Ids stand in `message` lines.",
            ));
        };
        before = first.place;
        if let Some(message) = page.into_iter().find(|m| m.id == id) {
            return match message.kind {
                Kind::Attachment(attachment) => Ok(attachment),
                _ => {
                    Err(refused("no_file", "That message holds no file.", "Choose a message of kind `file`."))
                }
            };
        }
    }
}

/// The peer's messages that do not count as read, oldest first.
///
/// # Errors
/// [`Problem`].
pub(crate) async fn unread(handle: &Handle, conversation: ConversationId) -> Result<Vec<Message>, Problem> {
    let number = async || {
        let views = handle.conversations().await?;
        Ok(views.into_iter().find(|view| view.id == conversation).map_or(0, |view| view.unread))
    };
    counted(number, async |count| newest(handle, conversation, count).await).await
}

/// Reads the newest, as many as there are: one that came between counting and reading would stand in the place of an
/// older one.
async fn counted<T>(
    number: impl AsyncFn() -> Result<u32, Problem>,
    read: impl AsyncFn(u32) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let mut count = number().await?;
    loop {
        let found = read(count).await?;
        let now = number().await?;
        if now == count {
            return Ok(found);
        }
        count = now;
    }
}

/// The newest `count` messages of the peer, oldest first.
async fn newest(handle: &Handle, conversation: ConversationId, count: u32) -> Result<Vec<Message>, Problem> {
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    let mut found: Vec<Message> = Vec::new();
    let mut before = u64::MAX;
    while found.len() < wanted {
        let mut page = handle.page(conversation, before, PAGE).await?;
        let Some(first) = page.first() else { break };
        before = first.place;
        page.retain(|m| !m.mine);
        page.append(&mut found);
        found = page;
    }
    let skip = found.len().saturating_sub(wanted);
    found.drain(..skip);
    Ok(found)
}

/// The last `count` messages before a place, oldest first.
///
/// # Errors
/// [`Problem`].
pub(crate) async fn last(
    handle: &Handle,
    conversation: ConversationId,
    mut before: u64,
    count: usize,
) -> Result<Vec<Message>, Problem> {
    let mut found: Vec<Message> = Vec::new();
    while found.len() < count {
        let wanted = u16::try_from(count - found.len()).unwrap_or(PAGE).min(PAGE);
        let mut page = handle.page(conversation, before, wanted).await?;
        let Some(first) = page.first() else { break };
        before = first.place;
        page.append(&mut found);
        found = page;
    }
    Ok(found)
}

/// The whole transcript, oldest first, handed on page by page from the beginning.
///
/// # Errors
/// [`Problem`], or what `each` says.
pub(crate) async fn all(handle: &Handle, conversation: ConversationId) -> Result<Vec<Message>, Problem> {
    let mut whole: Vec<Message> = Vec::new();
    let mut before = u64::MAX;
    loop {
        let mut page = handle.page(conversation, before, PAGE).await?;
        let Some(first) = page.first() else { return Ok(whole) };
        before = first.place;
        page.append(&mut whole);
        whole = page;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn what_comes_while_the_unread_are_read_hides_none_of_them() {
        let there = Cell::new(2u32);
        let number = async || Ok(there.get());
        // One more comes before the first two readings.
        let newest = async |count: u32| {
            there.set((there.get() + 1).min(4));
            Ok((there.get() - count..there.get()).collect::<Vec<_>>())
        };
        assert_eq!(counted(number, newest).await.unwrap(), [0, 1, 2, 3]);
    }
}
