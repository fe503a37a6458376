use base64::Engine;

use super::*;
use openssl::pkey::Private;
use openssl::rsa::Rsa;
use openssl::sign::Signer;

const BODY: &[u8] = br#"{"id":"1"}"#;

fn key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

fn sign(key: &PKey<Private>, hash: MessageDigest, mgf1: MessageDigest, salt: i32) -> Vec<u8> {
    let mut signer = Signer::new(hash, key).unwrap();
    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
    signer.set_rsa_mgf1_md(mgf1).unwrap();
    signer
        .set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt))
        .unwrap();
    signer.sign_oneshot_to_vec(BODY).unwrap()
}

fn keys(of: &[&PKey<Private>]) -> Keys {
    let pem: Vec<u8> = of
        .iter()
        .flat_map(|key| key.public_key_to_pem().unwrap())
        .collect();
    Keys::from_pem(&pem).unwrap()
}

#[test]
fn salts_of_32_bytes_and_the_longest_verify_and_no_other() {
    let key = key();
    let keys = keys(&[&key]);
    let sha256 = MessageDigest::sha256();
    // The longest salt of a 2048-bit key with SHA-256: 256 - 32 - 2.
    for (salt, expected) in [
        (32, true),
        (222, true),
        (0, false),
        (20, false),
        (221, false),
    ] {
        let signature = sign(&key, sha256, sha256, salt);
        assert_eq!(keys.verify(&signature, BODY), expected, "{salt}");
    }
}

#[test]
fn any_of_several_keys_verifies_and_a_foreign_one_does_not() {
    let (old, new, foreign) = (key(), key(), key());
    let keys = keys(&[&old, &new]);
    let sha256 = MessageDigest::sha256();
    for (key, expected) in [
        (&old, true),
        (&new, true),
        (&new, true),
        (&old, true),
        (&foreign, false),
    ] {
        assert_eq!(keys.verify(&sign(key, sha256, sha256, 32), BODY), expected);
    }
}

#[test]
fn another_hash_another_padding_and_every_flipped_bit_are_refused() {
    let key = key();
    let keys = keys(&[&key]);
    let (sha256, sha512) = (MessageDigest::sha256(), MessageDigest::sha512());
    assert!(!keys.verify(&sign(&key, sha512, sha512, 32), BODY));
    assert!(!keys.verify(&sign(&key, sha256, MessageDigest::sha1(), 32), BODY));
    let mut pkcs1 = Signer::new(sha256, &key).unwrap();
    assert!(!keys.verify(&pkcs1.sign_oneshot_to_vec(BODY).unwrap(), BODY));

    let good = sign(&key, sha256, sha256, 32);
    for bit in (0..good.len() * 8).step_by(13) {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!keys.verify(&flipped, BODY), "bit {bit}");
    }
    for bit in 0..BODY.len() * 8 {
        let mut flipped = BODY.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!keys.verify(&good, &flipped), "bit {bit} of the body");
    }
    assert!(!keys.verify(&good[..255], BODY));
    assert!(!keys.verify(&[], BODY));
}

#[test]
fn a_header_is_base64_with_or_without_padding() {
    assert_eq!(decode_header(b" AQID "), Some(vec![1, 2, 3]));
    assert_eq!(decode_header(b"AQI="), Some(vec![1, 2]));
    assert_eq!(decode_header(b"AQI"), Some(vec![1, 2]));
    for bad in [&b""[..], b"A", b"A_-A", b"AQ ID", &[b'A'; 2052]] {
        assert_eq!(decode_header(bad), None);
    }
}

#[test]
fn a_key_file_must_hold_keys_that_are_rsa_and_long_enough() {
    let small = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
    assert!(Keys::from_pem(&small.public_key_to_pem().unwrap()).is_err());
    let ed = PKey::generate_ed25519().unwrap();
    assert!(Keys::from_pem(&ed.public_key_to_pem().unwrap()).is_err());
    assert!(Keys::from_pem(&key().private_key_to_pem_pkcs8().unwrap()).is_err());
    assert!(Keys::from_pem(b"").is_err());
    assert!(
        Keys::from_pem(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").is_err()
    );
}

proptest::proptest! {
    #[test]
    fn what_was_encoded_is_decoded_and_any_other_bytes_do_no_harm(
        signature in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..1024),
        junk: Vec<u8>,
    ) {
        let encoded = base64::engine::general_purpose::STANDARD.encode(&signature);
        proptest::prop_assert_eq!(decode_header(encoded.as_bytes()), Some(signature));
        let _ = decode_header(&junk);
    }
}
