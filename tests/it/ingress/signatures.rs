//! `Concur-Signature`: right, wrong, missing, rotated, observed and enforced.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use concur_bridge::config::SignatureMode;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};

use super::bench::{Bench, Setup, replace_file, request};

const BODY: &str = r#"{"id":"1"}"#;

fn key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

fn public(key: &PKey<Private>) -> String {
    String::from_utf8(key.public_key_to_pem().unwrap()).unwrap()
}

fn signature(key: &PKey<Private>, body: &str) -> String {
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
    signer.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
    signer
        .set_rsa_pss_saltlen(RsaPssSaltlen::MAXIMUM_LENGTH)
        .unwrap();
    let signature = signer.sign_oneshot_to_vec(body.as_bytes()).unwrap();
    format!("Concur-Signature: {}\r\n", STANDARD.encode(signature))
}

fn bench(mode: SignatureMode, keys: &Path) -> Bench {
    let mut setup = Setup::default();
    setup.auth.signature = mode;
    setup.auth.signature_keys = vec![keys.to_owned()];
    setup.start()
}

async fn status(bench: &Bench, path: &str, headers: &str, body: &str) -> u16 {
    let mut client = bench.connect().await;
    client
        .ask(request(path, headers, body))
        .await
        .unwrap()
        .status
}

#[tokio::test(start_paused = true)]
async fn enforced_signatures_let_in_only_what_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.pem");
    let (ours, foreign) = (key(), key());
    fs::write(&file, public(&ours)).unwrap();
    let bench = bench(SignatureMode::Enforce, &file);
    let good = signature(&ours, BODY);
    for (headers, body, expected) in [
        (good.clone(), BODY, 200),
        (String::new(), BODY, 401),
        (good.clone(), r#"{"id":"2"}"#, 401),
        (signature(&foreign, BODY), BODY, 401),
        (format!("{}AAAA\r\n", good.trim_end()), BODY, 401),
        ("concur-signature: \r\n".into(), BODY, 401),
        ("concur-signature: !!!!\r\n".into(), BODY, 401),
        (good[..60].to_owned() + "\r\n", BODY, 401),
        (good.clone() + &good, BODY, 401),
    ] {
        assert_eq!(
            status(&bench, "/ess", &headers, body).await,
            expected,
            "{headers}"
        );
    }
    assert_eq!(bench.seen().len(), 1);
    // v1 postbacks are not signed.
    assert_eq!(status(&bench, "/postback", "", BODY).await, 200);
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_the_signature_is_refused_for_that() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.pem");
    fs::write(&file, public(&key())).unwrap();
    let bench = bench(SignatureMode::Enforce, &file);
    assert_eq!(
        status(&bench, "/ess", "content-encoding: gzip\r\n", BODY).await,
        415
    );
    assert_eq!(status(&bench, "/ess", "", &"x".repeat(300_000)).await, 413);
}

#[tokio::test(start_paused = true)]
async fn observed_signatures_refuse_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.pem");
    let ours = key();
    fs::write(&file, public(&ours)).unwrap();
    let bench = bench(SignatureMode::Observe, &file);
    for headers in [
        signature(&ours, BODY),
        String::new(),
        signature(&key(), BODY),
    ] {
        assert_eq!(status(&bench, "/ess", &headers, BODY).await, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_rotated_on_an_open_connection_and_an_invalid_file_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.pem");
    let (old, new) = (key(), key());
    fs::write(&file, public(&old)).unwrap();
    let mut bench = bench(SignatureMode::Enforce, &file);
    let mut client = bench.connect().await;
    for (pem, with_old, with_new) in [
        (public(&old), 200, 401),
        (public(&old) + &public(&new), 200, 200),
        (public(&new), 401, 200),
        ("junk".to_owned(), 401, 200),
    ] {
        replace_file(&file, &pem);
        bench.reloader.look();
        for (key, expected) in [(&old, with_old), (&new, with_new)] {
            let answer = client
                .ask(request("/ess", &signature(key, BODY), BODY))
                .await;
            assert_eq!(answer.unwrap().status, expected);
        }
    }
}
