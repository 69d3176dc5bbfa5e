//! The signed revocation list in org.json: entries are only ever added.

use sealdesk_protocol::crypto::certificate::{MAX_REVOCATIONS, RevocationList, Revoked, SignedRevocations};

use crate::error::Error;

/// Entries of the list before, which was verified with org.json.
pub(crate) fn entries(list: Option<&SignedRevocations>) -> Vec<Revoked> {
    let body: Option<RevocationList> = list.and_then(|l| l.list.peek(64 * 1024).ok());
    body.map(|b| b.revoked).unwrap_or_default()
}

/// Adds what is not listed yet; says how many were new.
pub(crate) fn add(list: &mut Vec<Revoked>, more: Vec<Revoked>) -> Result<usize, Error> {
    let before = list.len();
    for entry in more {
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
    if list.len() > MAX_REVOCATIONS {
        return Err(Error::usage(
            format!("the revocation list holds at most {MAX_REVOCATIONS} entries"),
            "Renew the issuer with `sealdesk org renew-issuer --revoke-old` instead.",
        ));
    }
    Ok(list.len() - before)
}
