//! The unguessable path: `{path}/{secret}`.

use percent_encoding::percent_decode_str;

use crate::secret::{Secrets, lines};

/// One secret a line.
pub(super) fn parse(text: &str) -> Result<Secrets, String> {
    if lines(text).any(|line| line.contains(['/', '?'])) {
        return Err("a path secret cannot contain / or ?".into());
    }
    Secrets::new(lines(text))
}

/// Whether what follows the path is one of the secrets; it may be percent-encoded.
pub(super) fn passes(secrets: &Secrets, rest: Option<&str>) -> bool {
    let candidate: Vec<u8> = percent_decode_str(rest.unwrap_or_default()).collect();
    // An absent secret is compared too: the empty one is never among those of the file.
    secrets.contain(&candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_several_secrets_passes_and_nothing_else() {
        let secrets = parse("# rotated in May\n old-one \n\nnew=one\n").unwrap();
        for (rest, expected) in [
            (Some("old-one"), true),
            (Some("new=one"), true),
            (Some("new%3done"), true),
            (Some("old-one/"), false),
            (Some("old-on"), false),
            (Some("# rotated in May"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(passes(&secrets, rest), expected, "{rest:?}");
        }
    }

    #[test]
    fn a_file_without_a_secret_is_refused() {
        assert!(parse("\n# nothing\n").is_err());
        assert!(parse("a/b\n").is_err());
    }
}
