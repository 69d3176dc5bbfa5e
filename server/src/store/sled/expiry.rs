//! Expiry: whatever may expire is noted under the hour after its expiry; a sweep looks at the hours that passed and
//! judges each record by what it says now.

use sealdesk_protocol::ids::{BlobId, MailboxId};

use super::committer::Txn;
use super::keys::{self, prefix};
use super::value::split_number;
use super::{blob_record, long, mailbox};
use crate::store::{StoreError, Swept};

/// Notes looked at in one sweep at most.
const STEP: usize = 512;

pub(super) fn sweep(txn: &mut Txn<'_>, now_ms: u64, audit_before_ms: u64) -> Result<Swept, StoreError> {
    let now_bucket = keys::bucket(now_ms).saturating_sub(1);
    let mut swept = Swept::default();
    let notes = txn.scan(&[prefix::EXPIRY], STEP)?;
    swept.more = notes.len() == STEP;
    for (note, _) in notes {
        let Some((bucket, target)) = note.get(1..).and_then(|rest| rest.split_first_chunk::<4>()) else {
            tracing::error!("a note of what expires does not decode and is dropped");
            txn.remove(note);
            continue;
        };
        if u32::from_be_bytes(*bucket) > now_bucket {
            swept.more = false;
            break;
        }
        match judge(txn, target, now_ms, &mut swept) {
            // One record that does not decode shall not keep all others from expiring.
            Err(error @ StoreError::Corrupt(_)) => {
                tracing::error!(%error, "what may have expired is left as it is")
            }
            judged => judged?,
        }
        txn.remove(note);
    }
    let entries = txn.scan(&[prefix::AUDIT], STEP)?;
    let old = entries
        .into_iter()
        .take_while(|(_, value)| split_number(value).is_none_or(|(at_ms, _)| at_ms < audit_before_ms));
    let mut pruned = 0;
    for (key, _) in old {
        txn.remove(key);
        pruned += 1;
    }
    swept.more |= pruned == STEP;
    Ok(swept)
}

/// Removes `target` if it has expired by now; it may have been renewed since it was noted.
fn judge(txn: &mut Txn<'_>, target: &[u8], now_ms: u64, swept: &mut Swept) -> Result<(), StoreError> {
    let Some((kind, id)) = target.split_first() else { return Err(StoreError::Corrupt("expiry note")) };
    match *kind {
        prefix::ITEM => {
            let mailbox = MailboxId::try_from(id).map_err(|_| StoreError::Corrupt("expiry note"))?;
            swept.items += mailbox::sweep(txn, mailbox, now_ms)?;
        }
        prefix::BLOB => {
            let Some(stored) = txn.get(target)? else { return Ok(()) };
            let record = blob_record(&stored)?;
            if record.expires_ms <= now_ms {
                let id = BlobId::try_from(id).map_err(|_| StoreError::Corrupt("expiry note"))?;
                swept.blobs.push((id, record.length));
                txn.remove(target.to_vec());
            }
        }
        kind => {
            let Some(stored) = txn.get(target)? else { return Ok(()) };
            let (expires_ms, _) = split_number(&stored).ok_or(StoreError::Corrupt("expiring record"))?;
            // A conversation that was opened after it had been noted has no expiry any more.
            let stays = kind == prefix::CONVERSATION && expires_ms == 0;
            if expires_ms <= now_ms && !stays {
                long::remove(txn, target)?;
            }
        }
    }
    Ok(())
}
