//! Chains, org.json and its floor.

use sealdesk_protocol::crypto::certificate::*;
use sealdesk_protocol::crypto::edition::Edition;
use sealdesk_protocol::crypto::identity::{DevicePublic, SignedBytes, SigningSecret};
use sealdesk_protocol::org::*;
use sealdesk_protocol::testing::{TestOrg, handle, rng};

use crate::*;

#[test]
fn a_good_chain_verifies_and_tells_who_it_is() {
    let mut org = org();
    let key = device(2);
    let chain = org.agent_chain("mira", "Mira K.", key.public());
    let certificate = verify(&org, &chain, NOW).unwrap();
    assert_eq!(certificate.display_name(), "Mira K.");
    assert_eq!(certificate.device(), &key.public());
    assert!(certificate.in_team(&handle("support")) && !certificate.in_team(&handle("billing")));
    assert!(!certificate.is_new_device());
    assert_eq!(certificate.clone().require(AgentRole::Supervisor), Err(CertificateError::Role));
    assert!(certificate.require(AgentRole::Agent).is_ok());
}

#[test]
fn validity_is_a_half_open_interval_with_skew_only_at_the_start() {
    let mut org = org();
    let chain = org.agent_chain("mira", "Mira", device(2).public());
    assert!(verify(&org, &chain, NOW - CLOCK_SKEW).is_ok());
    assert_eq!(verify(&org, &chain, NOW - CLOCK_SKEW - 1), Err(CertificateError::NotYetValid));
    assert!(verify(&org, &chain, NOW + DEVICE_LIFE - 1).is_ok());
    assert_eq!(verify(&org, &chain, NOW + DEVICE_LIFE), Err(CertificateError::Expired));
    // The issuer's end also ends what is under it.
    let mut late = org.certificate("mira", "Mira", &["support"], device(2).public());
    late.not_before = NOW + ISSUER_LIFE - DAY;
    late.not_after = NOW + ISSUER_LIFE + DAY;
    let chain = org.chain(&late);
    let last = verify(&org, &chain, NOW + ISSUER_LIFE - 1).unwrap();
    assert_eq!(last.valid_until(), NOW + ISSUER_LIFE);
    assert_eq!(verify(&org, &chain, NOW + ISSUER_LIFE), Err(CertificateError::Expired));
}

#[test]
fn a_life_longer_than_allowed_is_refused() {
    let mut org = org();
    let mut long = org.certificate("mira", "Mira", &["support"], device(2).public());
    long.not_after = NOW + DEVICE_LIFE + 1;
    assert_eq!(verify(&org, &org.chain(&long), NOW), Err(CertificateError::Lifetime));
    long.not_after = long.not_before;
    assert_eq!(verify(&org, &org.chain(&long), NOW), Err(CertificateError::Lifetime));

    let issuer = SigningSecret::generate(&mut rng(9));
    let body = IssuerCertificate {
        root: org.root_hash(),
        root_version: 1,
        key: issuer.verify_key(),
        serial: 2,
        not_before: NOW,
        not_after: NOW + ISSUER_LIFE + 1,
    };
    let pins = org.verified();
    assert_eq!(verify_issuer(&body.sign(&org.root), pins.pins(), NOW), Err(CertificateError::Lifetime));
}

#[test]
fn foreign_and_mixed_chains_are_refused() {
    let mut ours = org();
    let mut theirs = TestOrg::new(7, NOW);
    let chain = theirs.agent_chain("mira", "Mira", device(2).public());
    assert_eq!(verify(&ours, &chain, NOW), Err(CertificateError::Signature));
    // Our issuer, their device certificate.
    let own = ours.agent_chain("mira", "Mira", device(2).public());
    let mixed = CertificateChain { issuer: own.issuer.clone(), device: chain.device.clone() };
    assert_eq!(verify(&ours, &mixed, NOW), Err(CertificateError::Signature));
    // A device certificate that our issuer signed for another organisation.
    let mut body = ours.certificate("mira", "Mira", &["support"], device(2).public());
    body.root = theirs.root_hash();
    assert_eq!(verify(&ours, &ours.chain(&body), NOW), Err(CertificateError::Foreign));
    // The same issuer key under a second issuer certificate: ids must match.
    let second = IssuerCertificate {
        root: ours.root_hash(),
        root_version: 1,
        key: ours.issuer.verify_key(),
        serial: 2,
        not_before: NOW,
        not_after: NOW + DAY,
    }
    .sign(&ours.root);
    let crossed = CertificateChain { issuer: second, device: own.device };
    assert_eq!(verify(&ours, &crossed, NOW), Err(CertificateError::Issuer));
    // An issuer certificate for another organisation, signed by our root.
    let foreign = IssuerCertificate {
        root: theirs.root_hash(),
        root_version: 1,
        key: ours.issuer.verify_key(),
        serial: 3,
        not_before: NOW,
        not_after: NOW + DAY,
    }
    .sign(&ours.root);
    assert_eq!(verify_issuer(&foreign, ours.verified().pins(), NOW), Err(CertificateError::Foreign));
    // A root version that org.json does not list.
    let unknown = IssuerCertificate {
        root: ours.root_hash(),
        root_version: 2,
        key: ours.issuer.verify_key(),
        serial: 3,
        not_before: NOW,
        not_after: NOW + DAY,
    }
    .sign(&ours.root);
    assert_eq!(verify_issuer(&unknown, ours.verified().pins(), NOW), Err(CertificateError::RootVersion));
}

#[test]
fn names_that_deceive_and_lists_out_of_order_are_refused() {
    let mut org = org();
    let good = org.certificate("mira", "Mira", &["support"], device(2).public());
    let long = "m".repeat(65);
    let bidi = ["Mira\u{202e}", "Mira\u{2066}x", "\u{61c}Mira", "Mira\u{200f}"];
    let invisible = [
        "\u{200b}",
        "Mira\u{200b}",
        "Mi\u{ad}ra",
        "Mira\u{2060}",
        "\u{feff}Mira",
        "Mira\u{e0041}",
        "Mira\u{fe0f}",
        "\u{3164}",
        "Mira\u{200d}",
        "\u{200c}Mira",
        "Mira \u{200c}K",
        "Mira\u{180e}",
        "Mira\u{1d173}",
    ];
    let lines = ["Mi\nra", "Mi\u{2028}ra", "Mira\u{2029}", "\u{1b}[31mMira"];
    for name in [&bidi[..], &invisible, &lines, &["", "   ", &long]].concat() {
        let bad = DeviceCertificate { display_name: name.into(), ..good.clone() };
        assert_eq!(verify(&org, &org.chain(&bad), NOW), Err(CertificateError::Fields), "{name:?}");
    }
    for name in ["ميرا", "米拉 🙂", "Ó Súilleabháin", "علی\u{200c}رضا", "ක්\u{200d}රිස්ටි"]
    {
        let fine = DeviceCertificate { display_name: name.into(), ..good.clone() };
        assert!(verify(&org, &org.chain(&fine), NOW).is_ok(), "{name}");
    }
    let unsorted = DeviceCertificate { teams: vec![handle("b"), handle("a")], ..good.clone() };
    assert_eq!(verify(&org, &org.chain(&unsorted), NOW), Err(CertificateError::Fields));
    let teams = |n: u8| (0..n).map(|at| handle(&format!("team-{at:02}"))).collect();
    let most = DeviceCertificate { teams: teams(32), ..good.clone() };
    assert!(verify(&org, &org.chain(&most), NOW).is_ok());
    let more = DeviceCertificate { teams: teams(33), ..good.clone() };
    assert_eq!(verify(&org, &org.chain(&more), NOW), Err(CertificateError::Fields));
    let twice = DeviceCertificate { roles: vec![AgentRole::Agent, AgentRole::Agent], ..good.clone() };
    assert_eq!(verify(&org, &org.chain(&twice), NOW), Err(CertificateError::Fields));
    let zeroth = DeviceCertificate { device_number: 0, ..good };
    assert_eq!(verify(&org, &org.chain(&zeroth), NOW), Err(CertificateError::Fields));
}

#[test]
fn a_further_device_is_new_unless_an_earlier_one_endorsed_it() {
    let mut org = org();
    let (first, second) = (device(2), device(3));
    let mut body = org.certificate("mira", "Mira", &["support"], second.public());
    body.device_number = 2;
    assert!(verify(&org, &org.chain(&body), NOW).unwrap().is_new_device());
    let vouched = EndorsementBody { root: org.root_hash(), agent: handle("mira"), device: second.hash() };
    body.endorsement = Some(endorse(&first, &vouched));
    assert!(!verify(&org, &org.chain(&body), NOW).unwrap().is_new_device());
    // An endorsement of another device or agent is no endorsement.
    let other = EndorsementBody { agent: handle("nils"), ..vouched };
    body.endorsement = Some(endorse(&first, &other));
    assert_eq!(verify(&org, &org.chain(&body), NOW), Err(CertificateError::Signature));
    // Nor may a device endorse itself.
    let own = EndorsementBody { root: org.root_hash(), agent: handle("mira"), device: second.hash() };
    body.endorsement = Some(endorse(&second, &own));
    assert_eq!(verify(&org, &org.chain(&body), NOW), Err(CertificateError::Fields));
    // Nor with another key agreement half beside its signing key.
    let bent = DevicePublic { x: device(4).public().x, ..second.public() };
    body.endorsement = Some(Endorsement { by: bent, ..endorse(&second, &own) });
    assert_eq!(verify(&org, &org.chain(&body), NOW), Err(CertificateError::Fields));
}

#[test]
fn org_json_is_bound_to_the_pinned_root() {
    let (ours, theirs) = (org(), TestOrg::new(7, NOW));
    let refused = theirs.file().verify(&ours.root_hash(), &Floor::default(), NOW);
    assert_eq!(refused.err(), Some(OrgError::WrongRoot));
    // Their settings under our pins.
    let mixed = OrgFile { settings: theirs.file().settings, ..ours.file() };
    assert_eq!(mixed.verify(&ours.root_hash(), &Floor::default(), NOW).err(), Some(OrgError::Signature));
    // Settings that our issuer signed for another organisation.
    let mut foreign = ours.settings.clone();
    foreign.root = theirs.root_hash();
    let mixed = OrgFile::assemble(
        &ours.root_hash(),
        &ours.pins,
        &ours.issuer_certificate,
        &foreign.sign(&ours.issuer),
        None,
    );
    assert_eq!(mixed.verify(&ours.root_hash(), &Floor::default(), NOW).err(), Some(OrgError::WrongRoot));
}

#[test]
fn org_json_never_goes_back() {
    let mut org = org();
    let root = org.root_hash();
    let file = org.file();
    let issuer = org.verified().issuer().clone();
    let next = IssuerCertificate { serial: 2, ..issuer.clone() };
    for floor in [
        Floor { pins: 2, ..Floor::default() },
        Floor { settings: Edition::new(&issuer, 2), ..Floor::default() },
        Floor { settings: Edition::new(&next, 1), ..Floor::default() },
        Floor { revocations: Edition::new(&issuer, 1), ..Floor::default() },
    ] {
        assert_eq!(file.verify(&root, &floor, NOW).err(), Some(OrgError::Rollback), "{floor:?}");
    }
    let floor = Floor { log: true, ..Floor::default() };
    assert_eq!(file.verify(&root, &floor, NOW).err(), Some(OrgError::LogDropped));
    org.settings.version = 2;
    let settings = Edition::new(&issuer, 2);
    let verified = org.file().verify(&root, &Floor { settings, ..Floor::default() }, NOW).unwrap();
    assert_eq!(verified.floor(), Floor { pins: 1, settings, ..Floor::default() });
}

#[test]
fn every_flipped_bit_of_org_json_and_certificates_is_refused() {
    let mut org = org();
    let root = org.root_hash();
    let chain = org.agent_chain("mira", "Mira", device(2).public());
    let good = org.verified();
    let bend = |signed: &SignedBytes, bit: usize| -> Option<SignedBytes> {
        let mut bytes = postcard::to_allocvec(signed).unwrap();
        *bytes.get_mut(bit / 8)? ^= 1 << (bit % 8);
        postcard::take_from_bytes(&bytes).ok().filter(|(_, rest)| rest.is_empty()).map(|(s, _)| s)
    };
    let bits = |signed: &SignedBytes| postcard::to_allocvec(signed).unwrap().len() * 8;
    for bit in 0..bits(&chain.device) {
        let Some(device) = bend(&chain.device, bit) else { continue };
        let bent = CertificateChain { issuer: chain.issuer.clone(), device };
        assert!(bent.verify(good.pins(), good.revocations(), NOW).is_err(), "device certificate, bit {bit}");
    }
    for bit in 0..bits(&chain.issuer) {
        let Some(issuer) = bend(&chain.issuer, bit) else { continue };
        let bent = CertificateChain { issuer, device: chain.device.clone() };
        assert!(bent.verify(good.pins(), good.revocations(), NOW).is_err(), "issuer certificate, bit {bit}");
    }
    for bit in 0..bits(&org.pins) {
        let Some(pins) = bend(&org.pins, bit) else { continue };
        let settings = org.settings.sign(&org.issuer);
        let bent = OrgFile::assemble(&root, &pins, &org.issuer_certificate, &settings, None);
        assert!(bent.verify(&root, &Floor::default(), NOW).is_err(), "pins, bit {bit}");
    }
}

#[test]
fn a_root_rotates_only_with_both_signatures() {
    let org = org();
    let second = SigningSecret::generate(&mut rng(20));
    let first = RootVersion { version: 1, key: org.root.verify_key(), since: NOW };
    let next = RootVersion { version: 2, key: second.verify_key(), since: NOW };
    let file = |roots: Vec<SignedRoot>, signer: &SigningSecret, version: u32| {
        let pins = Pins { version: 2, issued: NOW, roots, log: None }.sign(signer);
        let issuer = IssuerCertificate {
            root: org.root_hash(),
            root_version: version,
            key: org.issuer.verify_key(),
            serial: 2,
            not_before: NOW,
            not_after: NOW + DAY,
        }
        .sign(signer);
        OrgFile::assemble(&org.root_hash(), &pins, &issuer, &org.settings.sign(&org.issuer), None)
    };
    let verify = |file: OrgFile| file.verify(&org.root_hash(), &Floor::default(), NOW).map(|_| ());
    let own = first.sign(&org.root, None);
    let good = vec![own.clone(), next.sign(&second, Some(&org.root))];
    assert_eq!(verify(file(good.clone(), &second, 2)), Ok(()));
    // Once rotated, the old root signs nothing any more: neither pins nor issuers.
    assert_eq!(verify(file(good.clone(), &org.root, 1)), Err(OrgError::Signature));
    let pins = Pins { version: 2, issued: NOW, roots: good, log: None }.sign(&second);
    let old_issuer = OrgFile::assemble(
        &org.root_hash(),
        &pins,
        &org.issuer_certificate,
        &org.settings.sign(&org.issuer),
        None,
    );
    assert_eq!(verify(old_issuer), Err(OrgError::Issuer(CertificateError::RootVersion)));
    // Without the old root's signature, or with a stranger's, or with a gap.
    assert_eq!(
        verify(file(vec![own.clone(), next.sign(&second, None)], &second, 2)),
        Err(OrgError::RootChain)
    );
    let stranger = SigningSecret::generate(&mut rng(21));
    let forged = vec![own.clone(), next.sign(&second, Some(&stranger))];
    assert_eq!(verify(file(forged, &second, 2)), Err(OrgError::Signature));
    let gap = RootVersion { version: 3, key: second.verify_key(), since: NOW };
    let gap = vec![own.clone(), gap.sign(&second, Some(&org.root))];
    assert_eq!(verify(file(gap, &second, 2)), Err(OrgError::RootChain));
    // Two bodies under one version: the old root signed something else.
    let other = RootVersion { since: NOW + 1, ..next.clone() };
    let mixed = SignedRoot {
        own: next.sign(&second, None).own,
        previous: other.sign(&second, Some(&org.root)).previous,
    };
    assert_eq!(verify(file(vec![own, mixed], &second, 2)), Err(OrgError::RootChain));
}

#[test]
fn roots_and_revocations_are_bounded() {
    let mut org = org();
    let entries = |n: usize| vec![Revoked::Device(device(2).hash()); n];
    org.revoke(1, NOW, entries(MAX_REVOCATIONS));
    assert!(org.file().verify(&org.root_hash(), &Floor::default(), NOW).is_ok());
    org.revoke(2, NOW, entries(MAX_REVOCATIONS + 1));
    let refused = org.file().verify(&org.root_hash(), &Floor::default(), NOW).err();
    assert_eq!(refused, Some(OrgError::Issuer(CertificateError::Fields)));

    let chain = |versions: u32| {
        let mut keys = vec![SigningSecret::from_seed(&org.root.to_seed())];
        let mut roots =
            vec![RootVersion { version: 1, key: org.root.verify_key(), since: NOW }.sign(&org.root, None)];
        for version in 2..=versions {
            let key = SigningSecret::generate(&mut rng(100 + u64::from(version)));
            let body = RootVersion { version, key: key.verify_key(), since: NOW };
            roots.push(body.sign(&key, keys.last()));
            keys.push(key);
        }
        let newest = keys.last().unwrap();
        let pins = Pins { version: 2, issued: NOW, roots, log: None }.sign(newest);
        let issuer = IssuerCertificate {
            root: org.root_hash(),
            root_version: versions,
            key: org.issuer.verify_key(),
            serial: 2,
            not_before: NOW,
            not_after: NOW + DAY,
        }
        .sign(newest);
        let settings = org.settings.sign(&org.issuer);
        let file = OrgFile::assemble(&org.root_hash(), &pins, &issuer, &settings, None);
        file.verify(&org.root_hash(), &Floor::default(), NOW).map(|_| ())
    };
    let most = u32::try_from(MAX_ROOTS).unwrap();
    assert_eq!(chain(most), Ok(()));
    assert_eq!(chain(most + 1), Err(OrgError::RootChain));
}

#[test]
fn malformed_org_files_are_errors_not_panics() {
    let org = org();
    let good = org.file();
    let root = org.root_hash();
    let cases = [
        OrgFile { sealdesk: 2, ..good.clone() },
        OrgFile { pins: String::new(), ..good.clone() },
        OrgFile { pins: "not base64!".into(), ..good.clone() },
        OrgFile { issuer: "AAAA".into(), ..good.clone() },
        OrgFile { settings: good.pins.clone() + "AAAA", ..good.clone() },
        OrgFile { revocations: Some("AAAA".into()), ..good.clone() },
        OrgFile { pins: "A".repeat(MAX_PART * 2 + 4), ..good },
    ];
    for case in cases {
        assert!(case.verify(&root, &Floor::default(), NOW).is_err());
    }
}
