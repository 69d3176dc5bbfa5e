//! Revocation lists: what they hit, and which may follow which.

use sealdesk_protocol::crypto::certificate::*;
use sealdesk_protocol::crypto::identity::{SignedBytes, SigningSecret};
use sealdesk_protocol::org::*;
use sealdesk_protocol::testing::{TestOrg, handle, rng};

use crate::*;

#[test]
fn revocations_hit_certificate_device_and_issuer_and_never_go_back() {
    let mut org = org();
    let key = device(2);
    let chain = org.agent_chain("mira", "Mira", key.public());
    let id = certificate_id(&chain.device);
    for what in [Revoked::Certificate(id), Revoked::Device(key.hash())] {
        org.revoke(1, NOW, vec![what]);
        assert_eq!(verify(&org, &chain, NOW), Err(CertificateError::Revoked));
    }
    org.revoke(2, NOW, vec![Revoked::Certificate(certificate_id(&org.issuer_certificate))]);
    assert!(verify(&org, &chain, NOW).is_ok(), "another kind of id does not match");

    let list = org.verified().revocations().clone();
    org.revoke(1, NOW, vec![]);
    let older = org.verified().revocations().clone();
    assert_eq!(list.clone().newest(older.clone()).number(), 2);
    assert_eq!(older.newest(list).number(), 2);

    let issuer = certificate_id(&org.issuer_certificate);
    org.revoke(3, NOW, vec![Revoked::Issuer(issuer)]);
    let refused = org.file().verify(&org.root_hash(), &Floor::default(), NOW);
    assert_eq!(refused.err(), Some(OrgError::Issuer(CertificateError::Revoked)));
}

#[test]
fn a_revoked_device_does_not_endorse() {
    let mut org = org();
    let (first, second) = (device(2), device(3));
    let mut body = org.certificate("mira", "Mira", &["support"], second.public());
    body.device_number = 2;
    let vouched = EndorsementBody { root: org.root_hash(), agent: handle("mira"), device: second.hash() };
    body.endorsement = Some(endorse(&first, &vouched));
    org.revoke(1, NOW, vec![Revoked::Device(first.hash())]);
    assert!(verify(&org, &org.chain(&body), NOW).unwrap().is_new_device());
}

#[test]
fn a_revoked_issuer_does_not_take_its_revocation_back() {
    let org = org();
    let first = org.issuer_certificate.clone();
    let second = SigningSecret::generate(&mut rng(9));
    let certificate = IssuerCertificate {
        root: org.root_hash(),
        root_version: 1,
        key: second.verify_key(),
        serial: 2,
        not_before: NOW,
        not_after: NOW + ISSUER_LIFE,
    }
    .sign(&org.root);
    let pins = org.verified().pins().clone();
    let list = |number, revoked, issuer: &SignedBytes, key: &SigningSecret| {
        let list = RevocationList { root: org.root_hash(), number, issued: NOW, revoked }.sign(key);
        Revocations::verify(&SignedRevocations { issuer: issuer.clone(), list }, &pins).unwrap()
    };
    let revoking = list(5, vec![Revoked::Issuer(certificate_id(&first))], &certificate, &second);
    let stolen = list(6, vec![], &first, &org.issuer);
    assert!(!stolen.may_follow(&revoking));
    assert_eq!(revoking.clone().newest(stolen.clone()), revoking);
    // Also one whose serial is the later one.
    let back = list(1, vec![Revoked::Issuer(certificate_id(&certificate))], &first, &org.issuer);
    assert!(!revoking.may_follow(&back));
    // Without that revocation, and by the issuer that stays, newer lists are taken as ever.
    assert!(stolen.may_follow(&Revocations::none()));
    let next = list(6, vec![], &certificate, &second);
    assert_eq!(revoking.clone().newest(next.clone()), next);
    // Nor does an org.json that it signs, with any list or none, pass for whoever knows the revocation.
    let file = org.verified();
    assert_eq!(file.check_issuer(&Revocations::none()), Ok(()));
    assert_eq!(file.check_issuer(&revoking), Err(OrgError::Issuer(CertificateError::Revoked)));
}

/// A list of the issuer that signs for `org` now.
fn list_of(org: &TestOrg, number: u64, issued: u64, revoked: Vec<Revoked>) -> SignedRevocations {
    let list = RevocationList { root: org.root_hash(), number, issued, revoked }.sign(&org.issuer);
    SignedRevocations { issuer: org.issuer_certificate.clone(), list }
}

#[test]
fn what_a_later_issuer_signs_is_newer_than_any_number_of_an_earlier_one() {
    let mut org = org();
    let pins = org.verified().pins().clone();
    let verified = |signed: &SignedRevocations| Revocations::verify(signed, &pins).unwrap();
    let old_settings = {
        org.settings.version = u32::MAX;
        org.verified().floor()
    };
    let old = verified(&list_of(&org, u64::MAX, NOW, vec![]));
    org.next_issuer(9);
    org.settings.version = 1;
    org.revocations = Some(list_of(&org, 1, NOW, vec![]));
    let new = verified(org.revocations.as_ref().unwrap());
    assert!(new.may_follow(&old) && !old.may_follow(&new));
    assert_eq!(old.clone().newest(new.clone()), new);
    assert_eq!(new.clone().newest(old.clone()), new);
    // So do the floors: the later issuer's file is taken, and the earlier one's is old from then on.
    let floor = Floor { revocations: old.edition(), ..old_settings };
    let file = org.file();
    let taken = file.verify(&org.root_hash(), &floor, NOW).unwrap().floor();
    assert_eq!(taken.raise(floor), taken);
    for behind in
        [Floor { settings: floor.settings, ..taken }, Floor { revocations: floor.revocations, ..taken }]
    {
        assert_eq!(taken.raise(behind), taken);
    }
}

#[test]
fn an_issuer_that_expired_signs_no_new_list() {
    let mut org = org();
    let pins = org.verified().pins().clone();
    let known = Revocations::verify(&list_of(&org, 1, NOW, vec![]), &pins).unwrap();
    let after = NOW + ISSUER_LIFE;
    // The signer chooses the time of signing; the reader's clock decides whether a new list is taken.
    let signed = list_of(&org, 2, NOW, vec![]);
    assert_eq!(known.successor(&signed, &pins, after), Err(CertificateError::Expired));
    assert!(known.successor(&signed, &pins, after - 1).unwrap().is_some());
    assert_eq!(known.successor(&list_of(&org, 1, NOW, vec![]), &pins, after), Ok(None), "known already");
    // One that was taken before stays.
    assert!(Revocations::verify(&signed, &pins).is_ok());
    // Outside of the issuer's validity nothing was ever signed.
    for issued in [NOW - CLOCK_SKEW - 1, after] {
        assert!(Revocations::verify(&list_of(&org, 2, issued, vec![]), &pins).is_err(), "{issued}");
    }
    // Nor does its list stand in the file of a later issuer.
    org.revocations = Some(signed);
    org.next_issuer(9);
    assert_eq!(org.file().verify(&org.root_hash(), &Floor::default(), NOW).err(), Some(OrgError::ListIssuer));
}

#[test]
fn a_list_for_another_organisation_is_refused() {
    let (ours, theirs) = (org(), TestOrg::new(7, NOW));
    let list = RevocationList { root: theirs.root_hash(), number: 1, issued: NOW, revoked: vec![] };
    let signed = SignedRevocations { issuer: ours.issuer_certificate.clone(), list: list.sign(&ours.issuer) };
    assert_eq!(Revocations::verify(&signed, ours.verified().pins()), Err(CertificateError::Foreign));
}

#[test]
fn a_revocation_list_by_another_key_is_refused() {
    let mut org = org();
    let stranger = SigningSecret::generate(&mut rng(5));
    let body = RevocationList { root: org.root_hash(), number: 9, issued: NOW, revoked: vec![] };
    org.revocations =
        Some(SignedRevocations { issuer: org.issuer_certificate.clone(), list: body.sign(&stranger) });
    let refused = org.file().verify(&org.root_hash(), &Floor::default(), NOW);
    assert_eq!(refused.err(), Some(OrgError::Issuer(CertificateError::Signature)));
}
