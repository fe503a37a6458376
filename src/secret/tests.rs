use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::config::{PublishToken, Tokens};

fn tokens(dir: &Path, publish: PublishToken) -> Tokens {
    Tokens {
        publish,
        key_file: dir.join("keys/token.key"),
        fingerprint_key_file: dir.join("keys/fingerprint.key"),
        key_files_given: true,
    }
}

#[test]
fn key_files_are_made_private_and_only_when_absent() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path(), PublishToken::Encrypted);
    assert!(matches!(
        Vault::open(&tokens, false),
        Err(KeyError::Io { .. })
    ));
    Vault::open(&tokens, true).map(drop).unwrap();
    for file in [&tokens.key_file, &tokens.fingerprint_key_file] {
        assert_eq!(
            std::fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    let before = std::fs::read(&tokens.key_file).unwrap();
    Vault::open(&tokens, true).map(drop).unwrap();
    assert_eq!(std::fs::read(&tokens.key_file).unwrap(), before);
    assert_eq!(
        std::fs::read_dir(dir.path().join("keys")).unwrap().count(),
        2,
        "nothing is left aside"
    );
}

#[test]
fn what_one_key_sealed_opens_after_rotation_and_not_after_the_key_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path(), PublishToken::Encrypted);
    let vault = Vault::open(&tokens, true).unwrap();
    let old_file = std::fs::read(&tokens.key_file).unwrap();
    let old = vault.seal(b"secret").unwrap();

    let kid = rotate_key_file(&tokens.key_file).unwrap();
    vault.reload(&tokens).unwrap();
    let new = vault.seal(b"secret").unwrap();
    assert_ne!(
        old.split('.').next(),
        new.split('.').next(),
        "the new key seals"
    );
    assert_eq!(vault.open_jwe(&old).unwrap().as_slice(), b"secret");
    assert_eq!(vault.open_jwe(&new).unwrap().as_slice(), b"secret");

    std::fs::write(&tokens.key_file, old_file).unwrap();
    vault.reload(&tokens).unwrap();
    assert_eq!(
        vault.open_jwe(&new).unwrap_err(),
        OpenError::UnknownKey(kid)
    );
}

#[test]
fn a_bad_key_file_keeps_the_keys_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path(), PublishToken::Encrypted);
    let vault = Vault::open(&tokens, true).unwrap();
    let sealed = vault.seal(b"secret").unwrap();
    for bad in [
        "",
        "{}",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}"#,
        r#"{"keys":[{"kty":"RSA","kid":"a","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#,
    ] {
        std::fs::write(&tokens.key_file, bad).unwrap();
        let error = vault.reload(&tokens).unwrap_err().to_string();
        assert!(
            error.contains("token.key") && !error.contains("AAAA"),
            "{error}"
        );
        assert_eq!(vault.open_jwe(&sealed).unwrap().as_slice(), b"secret");
    }
}

#[test]
fn a_jwe_is_one_that_any_jose_library_opens_and_no_altered_one_opens() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = tokens(dir.path(), PublishToken::Encrypted);
    let vault = Vault::open(&tokens, true).unwrap();
    let jwe = vault.seal("tökén".as_bytes()).unwrap();

    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&tokens.key_file).unwrap()).unwrap();
    let jwk = josekit::jwk::Jwk::from_map(file["keys"][0].as_object().unwrap().clone()).unwrap();
    let decrypter = josekit::jwe::Dir.decrypter_from_jwk(&jwk).unwrap();
    let (plain, header) = josekit::jwe::deserialize_compact(&jwe, &decrypter).unwrap();
    assert_eq!(plain, "tökén".as_bytes());
    assert_eq!(header.claim("kid"), Some(&file["keys"][0]["kid"]));
    assert_eq!(
        (header.algorithm(), header.content_encryption()),
        (Some("dir"), Some("A256GCM"))
    );

    for part in [0, 2, 3, 4] {
        let mut parts: Vec<_> = jwe.split('.').map(str::to_owned).collect();
        let first = parts[part].remove(0);
        parts[part].insert(0, if first == 'A' { 'B' } else { 'A' });
        assert!(vault.open_jwe(&parts.join(".")).is_err(), "part {part}");
    }
    assert_eq!(vault.open_jwe("not a jwe").unwrap_err(), OpenError::NotOurs);
}

#[test]
fn each_mode_shows_what_it_says_and_the_fingerprint_is_always_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let token = Token::new("nqp8WxIsZ1lZ3uR7".to_owned());
    let sealed: Vec<_> = [
        PublishToken::Encrypted,
        PublishToken::Fingerprint,
        PublishToken::Plain,
    ]
    .map(|publish| {
        Vault::open(&tokens(dir.path(), publish), true)
            .unwrap()
            .seal_token(&token)
            .unwrap()
    })
    .into();
    assert!(
        sealed.iter().all(
            |token| token.fingerprint == sealed[0].fingerprint && token.fingerprint.len() == 43
        )
    );
    assert!(sealed[0].jwe.is_some() && sealed[0].value.is_none());
    assert!(sealed[1].jwe.is_none() && sealed[1].value.is_none());
    assert!(sealed[2].jwe.is_none() && sealed[2].value.as_deref() == Some("nqp8WxIsZ1lZ3uR7"));
}

#[test]
fn a_token_cannot_be_printed() {
    assert_eq!(
        format!("{:?}", Token::new("nqp8WxIsZ1lZ3uR7".to_owned())),
        "[token]"
    );
}
