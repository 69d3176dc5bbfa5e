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

/// The newest `count` messages of the peer, oldest first.
///
/// # Errors
/// [`Problem`].
pub(crate) async fn unread(
    handle: &Handle,
    conversation: ConversationId,
    count: u32,
) -> Result<Vec<Message>, Problem> {
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
