use proptest::prelude::*;

use super::*;

fn trusted(text: &str) -> bool {
    is_trusted(text, &ObjectUriHosts::default())
}

#[test]
fn a_concur_url_over_https_is_trusted_as_sent() {
    for text in [
        "https://www.concursolutions.com/api/travel/trip/v1.1/naIzQJ0y2DBWjCIQOb2SHTsozwBsHDkdP",
        "https://us.api.concursolutions.com/travel/v4/trips/51519e89-2c1d-47ec-bd93-7c4ace9c57e6",
        "https://www.concur.com",
        "https://www.concur.com/",
        "https://www.concur.com:443",
        "https://www.concur.com:443/a",
        "HTTPS://WWW.ConcurSolutions.COM/Api",
        "https://a.b.c.concurcdc.cn/x?y=z&a=%20#f",
        "https://www.concur.com/@evil.example/",
        "https://www.concur.com/a//b/;p=1,2/(c)!*'$",
        "https://www.concur.com/a%2eb/%2F/c",
        "https://www.concur.com/[token]/x?t=[token]",
        "https://www.concur.com/?a=https://evil.example/../x",
        "https://127.0.0.1.concur.com/x",
    ] {
        assert!(trusted(text), "{text}");
    }
}

#[test]
fn nothing_that_some_parser_reads_as_another_host_is_trusted() {
    for text in [
        // no URL, or none of that kind
        "",
        " ",
        "naIzQJ0y2DBWjCIQOb2SHTsozwBsHDkdP",
        "/api/travel/trip",
        "//www.concur.com/x",
        "www.concur.com/x",
        "https:",
        "https://",
        "https:///",
        "https:www.concur.com/x",
        "https:/www.concur.com/x",
        "https:///www.concur.com/x",
        "http://www.concur.com/x",
        "httpss://www.concur.com/x",
        "ftp://www.concur.com/x",
        "javascript://www.concur.com/%0aalert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "jar:https://www.concur.com/x",
        "view-source:https://www.concur.com/x",
        // other hosts
        "https://evil.example/x",
        "https://concur.com/x",
        "https://concursolutions.com/x",
        "https://evilconcur.com/x",
        "https://www.concur.com.evil.example/x",
        "https://www.concur.comevil.example/x",
        "https://evil.example/www.concur.com",
        "https://evil.example?www.concur.com",
        "https://evil.example#www.concur.com",
        "https://www.concur.co/x",
        "https://localhost/x",
        "https://.concur.com/x",
        "https://www..concur.com/x",
        "https://www.concur.com./x",
        "https://www.concur.com../x",
        // addresses
        "https://127.0.0.1/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://0177.0.0.1/x",
        "https://127.1/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[fe80::1%25eth0]/x",
        "https://www.concur.com.127.0.0.1/x",
        // userinfo
        "https://user@www.concur.com/x",
        "https://user:pw@www.concur.com/x",
        "https://@www.concur.com/x",
        "https://:@www.concur.com/x",
        "https://www.concur.com@evil.example/x",
        "https://www.concur.com:443@evil.example/x",
        "https://www.concur.com%40evil.example/x",
        "https://evil.example\\@www.concur.com/x",
        "https://evil.example?@www.concur.com/x",
        "https://evil.example#@www.concur.com/x",
        "https://www.concur.com?@evil.example/x",
        "https://www.concur.com#@evil.example/x",
        // ports
        "https://www.concur.com:80/x",
        "https://www.concur.com:8443/x",
        "https://www.concur.com:/x",
        "https://www.concur.com:0443/x",
        "https://www.concur.com:443:443/x",
        "https://www.concur.com:99999/x",
        "https://www.concur.com:4 43/x",
        // backslashes, blanks, control characters
        "https:\\\\www.concur.com\\x",
        "https://www.concur.com\\x",
        "https://www.concur.com/\\evil.example",
        "https://evil.example\\.www.concur.com/x",
        "https://www.concur.com\\.evil.example/x",
        " https://www.concur.com/x",
        "https://www.concur.com/x ",
        "https://www.concur.com/a b",
        "https://www.con\tcur.com/x",
        "https://www.concur.com/a\tb",
        "htt\nps://www.concur.com/x",
        "https://www.concur.com/a\r\nHost: evil.example",
        "https://www.concur.com\n.evil.example/x",
        "https://www.concur.com/\0",
        "https://www.concur.com/\u{7f}",
        "\u{feff}https://www.concur.com/x",
        // escapes and Unicode in the host, or that become something else
        "https://www%2econcur.com/x",
        "https://www.concur.com%2eevil.example/x",
        "https://www.concur.com%2f.evil.example/x",
        "https://www.concur.com%00.evil.example/x",
        "https://%77ww.concur.com/x",
        "https://www。concur。com/x",
        "https://www.concur.com．evil.example/x",
        "https://ｗｗｗ.concur.com/x",
        "https://www.cоncur.com/x",
        "https://www.concur.com／.evil.example/x",
        "https://www.concur.com\u{200b}/x",
        "https://www.con\u{ad}cur.com/x",
        "https://www.concur.com/\u{10a}x",
        "https://www.concur.com/é",
        // what RFC 3986 does not know, and some parsers throw at
        "https://www.concur.com/a%zzb",
        "https://www.concur.com/a%2",
        "https://www.concur.com/a%",
        "https://www.concur.com/a[b]",
        "https://www.concur.com/[token",
        "https://www.concur.com/?a=[1]",
        "https://xn--cncur-jua.com/x",
        "https://xn--a.concur.com/x",
        "https://www_1.concur.com/x",
        "https://*.concur.com/x",
        "https://[token].concur.com/x",
        // dot segments: another path than the text says
        "https://www.concur.com/../x",
        "https://www.concur.com/a/../../x",
        "https://www.concur.com/a/./b",
        "https://www.concur.com/a/%2e%2e/b",
        "https://www.concur.com/a/.%2E/b",
        "https://www.concur.com/%2e/b",
        "https://www.concur.com/..",
        // characters that RFC 3986 leaves out
        "https://www.concur.com/<script>",
        "https://www.concur.com/\"x",
        "https://www.concur.com/{a}",
        "https://www.concur.com/a|b",
        "https://www.concur.com/a^b`",
    ] {
        assert!(!trusted(text), "{text:?}");
        let placed = place(Some(text.to_owned()), &ObjectUriHosts::default());
        assert_eq!(placed.object_uri, None);
        assert_eq!(placed.object_uri_untrusted.as_deref(), Some(text));
    }
}

#[test]
fn of_single_characters_a_path_holds_those_that_rfc_3986_lets_stand() {
    // Unreserved marks, sub-delims, and the delimiters that a path, query or fragment may hold.
    let marks = concat!("-._~", "!$&'()*+,;=", ":@/?#");
    for byte in 0..=u8::MAX {
        let char = char::from(byte);
        let stands = char.is_ascii_alphanumeric() || marks.contains(char);
        assert_eq!(
            trusted(&format!("https://www.concur.com/a{char}b")),
            stands,
            "{char:?}"
        );
    }
}

#[test]
fn only_hosts_of_the_configuration_are_trusted() {
    let hosts = ObjectUriHosts::parse(&["trips.example", "*.travel.example"]).unwrap();
    assert!(is_trusted("https://trips.example/x", &hosts));
    assert!(is_trusted("https://eu.travel.example/x", &hosts));
    assert!(!is_trusted("https://www.trips.example/x", &hosts));
    assert!(!is_trusted("https://travel.example/x", &hosts));
    assert!(!is_trusted("https://www.concursolutions.com/x", &hosts));
    let none = ObjectUriHosts::parse::<&str>(&[]).unwrap();
    assert!(!is_trusted("https://www.concursolutions.com/x", &none));
}

/// How a careless consumer finds the host: up to the first slash, behind the last `@`, in front of the first colon.
fn naive_host(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap();
    let host = authority.rsplit('@').next().unwrap();
    host.split(':').next().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_is_trusted_leads_a_careless_parser_to_the_same_host(
        text in "(https://|https:/|HTTPS://|http://)(www\\.concur\\.com|evil\\.example|[@:/\\\\?#.%0-9\t ]|%2e){1,5}(/(\\.|%2e|@|\\\\|x){0,4})?"
    ) {
        if trusted(&text) {
            let host = naive_host(&text).to_ascii_lowercase();
            prop_assert!(ObjectUriHosts::default().allow(&host), "{}", text);
            let parsed = url::Url::parse(&text).unwrap();
            prop_assert_eq!(parsed.host_str(), Some(host.as_str()));
        }
    }
}
