//! Statements and rosters by themselves: signatures, forms, hashes.

use sealdesk_protocol::conversation::consent::ConsentReceipt;
use sealdesk_protocol::conversation::roster::RosterError;
use sealdesk_protocol::conversation::statements::{self, History, StatementError};
use sealdesk_protocol::conversation::*;
use sealdesk_protocol::crypto::identity::SignedBytes;
use sealdesk_protocol::ids::*;
use sealdesk_protocol::testing::handle;

use crate::cast::*;

#[test]
fn a_statement_verifies_only_under_the_device_that_it_names() {
    let c = cast();
    let statement = c.statement(&c.customer, 1, c.open_action());
    let signed = statement.sign(&c.customer);
    assert_eq!(VerifiedStatement::verify(&signed, &c.mira.public()), Err(StatementError::Signature));
    // Names the customer, but mira signs and is believed to be the signer.
    let forged = statement.sign(&c.mira);
    assert_eq!(VerifiedStatement::verify(&forged, &c.mira.public()), Err(StatementError::Signer));
    assert_eq!(VerifiedStatement::verify(&signed, &c.customer.public()).unwrap().get(), &statement);
}

#[test]
fn every_flipped_bit_of_a_statement_and_a_receipt_is_refused() {
    let c = cast();
    let bent = |signed: &SignedBytes| -> Vec<SignedBytes> {
        let bytes = postcard::to_allocvec(signed).unwrap();
        let flip = |bit: usize| {
            let mut b = bytes.clone();
            b[bit / 8] ^= 1 << (bit % 8);
            postcard::from_bytes(&b).ok()
        };
        (0..bytes.len() * 8).filter_map(flip).collect()
    };
    let statement = c.statement(&c.customer, 1, c.open_action()).sign(&c.customer);
    assert!(bent(&statement).iter().all(|s| VerifiedStatement::verify(s, &c.customer.public()).is_err()));

    let receipt = ConsentReceipt {
        root: ROOT,
        conversation: c.conversation(),
        device: c.customer.public(),
        notice: notice_hash("en", "text"),
        language: "en".into(),
        given: NOW,
    };
    let signed = receipt.sign(&c.customer);
    assert_eq!(ConsentReceipt::verify(&signed), Ok(receipt.clone()));
    assert!(bent(&signed).iter().all(|s| ConsentReceipt::verify(s).is_err()));
    assert!(ConsentReceipt::verify(&receipt.sign(&c.mira)).is_err(), "signed by another device");
}

#[test]
fn long_texts_and_bad_language_tags_are_refused() {
    let c = cast();
    for language in ["", "en us", "e\u{202e}n", &"a".repeat(36)] {
        let action = Action::Open {
            roster: c.roster("mira", &c.mira),
            topic: handle("general"),
            language: language.into(),
            consent: [1; 32],
            nonce: NONCE,
        };
        let signed = c.statement(&c.customer, 1, action).sign(&c.customer);
        assert_eq!(VerifiedStatement::verify(&signed, &c.customer.public()), Err(StatementError::Text));
    }
    let offer = Action::Offer {
        current: StatementHash([0; 32]),
        agent: handle("nils"),
        device: c.nils.public(),
        heads: vec![],
        history: History::None,
        reason: "x".repeat(statements::MAX_REASON + 1),
    };
    let signed = c.statement(&c.mira, 1, offer).sign(&c.mira);
    assert_eq!(VerifiedStatement::verify(&signed, &c.mira.public()), Err(StatementError::Text));
}

#[test]
fn the_roster_hash_binds_root_conversation_epoch_predecessor_and_members() {
    let c = cast();
    let id = c.conversation();
    let roster = c.roster("mira", &c.mira);
    let base = roster.hash(&ROOT, &id, 1, None);
    let others = [
        roster.hash(&RootHash([8; 32]), &id, 1, None),
        roster.hash(&ROOT, &ConversationId([0; 32]), 1, None),
        roster.hash(&ROOT, &id, 2, None),
        roster.hash(&ROOT, &id, 1, Some(&StatementHash([0; 32]))),
        c.roster("mirb", &c.mira).hash(&ROOT, &id, 1, None),
        c.roster("mira", &c.nils).hash(&ROOT, &id, 1, None),
        roster.with_supervisor(handle("sven"), c.sven.public()).unwrap().hash(&ROOT, &id, 1, None),
    ];
    assert!(others.iter().all(|o| *o != base));
}

#[test]
fn rosters_are_well_formed_or_refused_also_when_decoded() {
    let c = cast();
    let customer = Member { role: Role::Customer, agent: None, device: c.customer.public() };
    let mira = Member { role: Role::Agent, agent: Some(handle("mira")), device: c.mira.public() };
    let nils = Member { role: Role::Agent, agent: Some(handle("nils")), device: c.nils.public() };
    let nameless = Member { agent: None, ..mira.clone() };
    let both = Member { device: c.customer.public(), ..mira.clone() };
    let cases = [
        (vec![mira.clone()], RosterError::Customer),
        (vec![customer.clone(), customer.clone(), mira.clone()], RosterError::Customer),
        (vec![customer.clone()], RosterError::Agent),
        (vec![customer.clone(), mira.clone(), nils], RosterError::Agent),
        (vec![mira.clone(), customer.clone()], RosterError::Order),
        (vec![customer.clone(), nameless], RosterError::Id),
        (vec![customer.clone(), both], RosterError::Order),
        (vec![customer.clone(); 17], RosterError::Size),
    ];
    for (members, error) in cases {
        let bytes = postcard::to_allocvec(&members).unwrap();
        assert!(postcard::from_bytes::<Roster>(&bytes).is_err(), "{error:?}");
        assert_eq!(Roster::try_from(members), Err(error));
    }
    assert!(Roster::try_from(vec![customer, mira]).is_ok());
}
