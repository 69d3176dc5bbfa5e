//! Published vectors (Wycheproof) through our own wrappers, and libcrux's ML-KEM against the crate `ml-kem`.

use alloc::vec::Vec;

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use ml_kem::kem::KeyExport;
use proptest::prelude::*;
use wycheproof::TestResult;
use wycheproof::{aead as aead_vectors, eddsa, hkdf, mac, mlkem, xdh};

use super::dh::{DhSecret, LowOrder};
use super::identity::VerifyKey;
use super::kem::{CIPHERTEXT_LEN, KEY_LEN, Kem, KemPublic, KemSecret, MlKem768, SEED_LEN};
use super::{aead, kdf};
use crate::secret::Secret;

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

#[test]
fn x25519_and_all_zero_outputs_refused() {
    let (mut agreed, mut refused) = (0, 0);
    for test in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups.iter().flat_map(|g| &g.tests) {
        let secret = DhSecret::from_secret(&Secret::new(array(&test.private_key)));
        let result = secret.agree(&array(&test.public_key));
        if test.flags.contains(&xdh::TestFlag::ZeroSharedSecret) || test.shared_secret.iter().all(|b| *b == 0)
        {
            assert_eq!(result, Err(LowOrder), "{}", test.tc_id);
            refused += 1;
        } else {
            assert_eq!(result.unwrap().expose()[..], test.shared_secret[..], "{}", test.tc_id);
            agreed += 1;
        }
    }
    assert!(agreed > 450 && refused > 20, "{agreed} agreed, {refused} refused");
}

#[test]
fn ed25519() {
    let mut count = 0;
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = VerifyKey(array(&group.key.pk));
        for test in group.tests {
            let verified = test.sig[..].try_into().is_ok_and(|sig| key.verify_raw(&test.msg, sig).is_ok());
            assert_eq!(verified, test.result == TestResult::Valid, "{}", test.tc_id);
            count += 1;
        }
    }
    assert_eq!(count, 151);
}

/// Small-order keys verify anything in lax implementations.
#[test]
fn ed25519_refuses_small_order_keys() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(VerifyKey(identity).verify_raw(b"anything", &signature).is_err());
}

#[test]
fn chacha20_poly1305_both_nonce_lengths() {
    type Seal<const N: usize> = fn(&Secret<32>, &[u8; N], &[u8], Vec<u8>) -> Vec<u8>;
    type Open<const N: usize> = fn(&Secret<32>, &[u8; N], &[u8], &[u8]) -> Result<Vec<u8>, aead::OpenError>;
    fn run<const N: usize>(name: aead_vectors::TestName, seal: Seal<N>, open: Open<N>) -> usize {
        let mut count = 0;
        for group in aead_vectors::TestSet::load(name).unwrap().test_groups {
            for test in group.tests.iter().filter(|t| t.nonce.len() == N) {
                let (key, nonce) = (Secret::new(array(&test.key)), array(&test.nonce));
                let sealed = [&test.ct[..], &test.tag[..]].concat();
                let opened = open(&key, &nonce, &test.aad, &sealed);
                if test.result == TestResult::Valid {
                    assert_eq!(opened.as_deref(), Ok(&test.pt[..]), "{}", test.tc_id);
                    assert_eq!(seal(&key, &nonce, &test.aad, test.pt.to_vec()), sealed, "{}", test.tc_id);
                } else {
                    assert_eq!(opened, Err(aead::OpenError), "{}", test.tc_id);
                }
                count += 1;
            }
        }
        count
    }
    // The others have nonces of other lengths, which our types do not allow.
    assert_eq!(run::<12>(aead_vectors::TestName::ChaCha20Poly1305, aead::seal, aead::open), 316);
    assert_eq!(run::<24>(aead_vectors::TestName::XChaCha20Poly1305, aead::seal_x, aead::open_x), 306);
    assert_eq!(
        aead::open(&Secret::new([0; 32]), &[0; 12], b"", &[0; 15]),
        Err(aead::OpenError),
        "no room for a tag"
    );
}

#[test]
fn hkdf_sha256() {
    let mut count = 0;
    for test in
        hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap().test_groups.iter().flat_map(|g| &g.tests)
    {
        let okm = kdf::hkdf_with_info(&test.ikm, &test.salt, &test.info, test.size);
        let expected = (test.result == TestResult::Valid).then(|| test.okm.to_vec());
        assert_eq!(okm, expected, "{}", test.tc_id);
        count += 1;
    }
    assert_eq!(count, 86);
}

#[test]
fn hmac_sha256() {
    let mut count = 0;
    for group in mac::TestSet::load(mac::TestName::HmacSha256).unwrap().test_groups {
        for test in &group.tests {
            let tag = kdf::hmac(&test.key, &test.msg);
            let equal = tag.expose()[..group.tag_size / 8] == test.tag[..];
            assert_eq!(equal, test.result == TestResult::Valid, "{}", test.tc_id);
            count += 1;
        }
    }
    assert_eq!(count, 174);
    // The chain step is HMAC of one byte.
    let key = Secret::new([7; 32]);
    let (one, two) = kdf::hmac_pair(&key);
    assert_eq!((one, two), (kdf::hmac(key.expose(), &[1]), kdf::hmac(key.expose(), &[2])));
}

#[test]
fn ml_kem_768_key_generation() {
    let mut count = 0;
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768KeyGenSeed).unwrap();
    for test in set.test_groups.iter().flat_map(|g| &g.tests) {
        let seed = Secret::new(array(test.seed.as_ref().unwrap()));
        let (secret, public) = MlKem768::key_pair(&seed);
        assert_eq!(public[..], test.encaps_key.as_ref().unwrap()[..], "{}", test.tc_id);
        assert_eq!(secret.as_bytes()[..], test.decaps_key.as_ref().unwrap()[..], "{}", test.tc_id);
        count += 1;
    }
    assert_eq!(count, 100);
}

#[test]
fn ml_kem_768_encapsulation_and_key_validation() {
    let (mut valid, mut refused) = (0, 0);
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768Encaps).unwrap();
    for test in set.test_groups.iter().flat_map(|g| &g.tests) {
        let key = KemPublic::validate(test.encaps_key.as_ref().unwrap());
        if test.result == TestResult::Valid {
            let message = Secret::new(array(test.msg.as_ref().unwrap()));
            let (ciphertext, shared) = MlKem768::encapsulate(key.unwrap().as_bytes(), &message);
            assert_eq!(ciphertext[..], test.ct.as_ref().unwrap()[..], "{}", test.tc_id);
            assert_eq!(shared.expose()[..], test.shared_secret.as_ref().unwrap()[..], "{}", test.tc_id);
            valid += 1;
        } else {
            assert!(key.is_err(), "{}", test.tc_id);
            refused += 1;
        }
    }
    assert_eq!((valid, refused), (133, 132));
}

#[test]
fn ml_kem_768_decapsulation() {
    let (mut valid, mut refused) = (0, 0);
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768).unwrap();
    for test in set.test_groups.iter().flat_map(|g| &g.tests) {
        let seed = test.seed.as_ref().unwrap();
        let ciphertext: Result<[u8; CIPHERTEXT_LEN], _> = test.ct.as_ref().unwrap()[..].try_into();
        let Some((seed, ciphertext)) = Secret::from_slice(seed).zip(ciphertext.ok()) else {
            assert_eq!(test.result, TestResult::Invalid, "{}", test.tc_id);
            refused += 1;
            continue;
        };
        assert_eq!(test.result, TestResult::Valid, "{}", test.tc_id);
        let secret = KemSecret::from_seed(seed);
        assert_eq!(secret.public()[..], test.encaps_key.as_ref().unwrap()[..], "{}", test.tc_id);
        let shared = secret.decapsulate(&ciphertext);
        assert_eq!(shared.expose()[..], test.shared_secret.as_ref().unwrap()[..], "{}", test.tc_id);
        valid += 1;
    }
    assert_eq!((valid, refused), (161, 40));
}

/// The crate `ml-kem` behind our trait.
struct Oracle;

impl Kem for Oracle {
    type Decapsulation = ml_kem::ml_kem_768::DecapsulationKey;

    fn key_pair(seed: &Secret<SEED_LEN>) -> (Self::Decapsulation, [u8; KEY_LEN]) {
        let secret = Self::Decapsulation::from_seed((*seed.expose()).into());
        let public = secret.encapsulation_key().to_bytes();
        (secret, array(&public))
    }

    fn is_valid(key: &[u8; KEY_LEN]) -> bool {
        ml_kem::ml_kem_768::EncapsulationKey::new(&(*key).into()).is_ok()
    }

    fn encapsulate(key: &[u8; KEY_LEN], message: &Secret<32>) -> ([u8; CIPHERTEXT_LEN], Secret<32>) {
        let key = ml_kem::ml_kem_768::EncapsulationKey::new(&(*key).into()).unwrap();
        let (ciphertext, shared) = key.encapsulate_deterministic(&(*message.expose()).into());
        (array(&ciphertext), Secret::new(array(&shared)))
    }

    fn decapsulate(key: &Self::Decapsulation, ciphertext: &[u8; CIPHERTEXT_LEN]) -> Secret<32> {
        use ml_kem::kem::Decapsulate;
        Secret::new(array(&key.decapsulate(&(*ciphertext).into())))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn libcrux_agrees_with_the_oracle(seed in any::<u64>(), bit in 0..CIPHERTEXT_LEN * 8, key_byte in 0..KEY_LEN) {
        let rng = &mut ChaCha20Rng::seed_from_u64(seed);
        let (seed, message) = (Secret::random(rng), Secret::random(rng));
        let ((ours, public), (theirs, same)) = (MlKem768::key_pair(&seed), Oracle::key_pair(&seed));
        prop_assert_eq!(public, same);
        let (ciphertext, shared) = MlKem768::encapsulate(&public, &message);
        prop_assert_eq!((&ciphertext, &shared), (&Oracle::encapsulate(&public, &message).0, &Oracle::encapsulate(&public, &message).1));
        prop_assert_eq!(&MlKem768::decapsulate(&ours, &ciphertext), &shared);
        prop_assert_eq!(&Oracle::decapsulate(&theirs, &ciphertext), &shared);
        // A forged ciphertext gives both the same other secret (implicit rejection).
        let mut forged = ciphertext;
        forged[bit / 8] ^= 1 << (bit % 8);
        let rejected = MlKem768::decapsulate(&ours, &forged);
        prop_assert_ne!(&rejected, &shared);
        prop_assert_eq!(&rejected, &Oracle::decapsulate(&theirs, &forged));
        // Both judge an altered key alike.
        let mut bent = public;
        bent[key_byte] = 0xFF;
        prop_assert_eq!(MlKem768::is_valid(&bent), Oracle::is_valid(&bent));
    }
}
