//! Do `serve`, `check` and the other commands say all that is wrong, and change nothing by saying it?

use std::net::TcpListener;

use serde_json::Value;

use crate::support::bridge::Home;
use crate::support::damage::overwrite;

const ITINERARY: &str = "/postback?type=itinerary&oauth_token_key=nqp8WxIsZ1lZ3uR7";

#[test]
fn every_file_that_cannot_serve_is_listed_by_serve_and_check_and_nothing_is_made() {
    let home = Home::new(&[
        ("AUTH__PATH_SECRET_FILE", "/nope1"),
        ("AUTH__BASIC_FILE", "/nope2"),
        ("AUTH__ESS__SIGNATURE", "observe"),
        ("AUTH__ESS__KEYS", "[\"/nope3\", \"/nope4\"]"),
        ("INGRESS__TLS__CERTIFICATE", "/nope5"),
        ("INGRESS__TLS__KEY", "/nope6"),
        ("INGRESS__TLS__CLIENT_CA", "/nope7"),
        ("ADMIN__TOKEN_FILE", "/nope8"),
    ]);
    let keys = home.dir.path().join("keys");
    let unusable = keys.join("fingerprint.key");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(&unusable, "no key").unwrap();
    let expected: Vec<_> = (1..=8)
        .map(|number| format!("/nope{number}: "))
        .chain([unusable.display().to_string()])
        .collect();
    for command in ["serve", "check"] {
        let output = home.run(&[command]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}: {stderr}");
        for fault in &expected {
            assert!(
                stderr.contains(fault),
                "{command}: {fault} is not in {stderr}"
            );
        }
    }
    assert!(!home.journal().exists() && !keys.join("token.key").exists());
}

#[test]
fn check_sees_what_serve_would_meet_and_prints_json_whatever_is_wrong() {
    let home = Home::new(&[]);
    let faults = |settings: &[(&str, &str)]| {
        let mut command = home.command(&["check", "--json"]);
        for (key, value) in settings {
            command.env(format!("CONCUR_BRIDGE_{key}"), value);
        }
        let output = command.output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "nobody is where Kafka should be"
        );
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(findings["ok"], false);
        findings["faults"].to_string()
    };
    let too_much = [("JOURNAL__MIN_FREE", "1000000GiB")];
    assert!(faults(&too_much).contains("journal.min_free"));
    assert!(
        faults(&[("JOURNAL__DIR", "/dev/null/journal")]).contains("/dev/null is not a directory")
    );
    let wrong = faults(&[("KAFKA__DELIVERY", "maybe"), ("JOURNAL__MAX_SIZ", "1GiB")]);
    assert!(
        wrong.contains("kafka.delivery: expected") && wrong.contains("journal.max_siz: "),
        "{wrong}"
    );

    let bridge = home.serve();
    assert_eq!(bridge.stop(), 0);
    std::fs::remove_file(home.dir.path().join("keys/fingerprint.key")).unwrap();
    let one_key = faults(&[]);
    assert!(
        !one_key.contains("fingerprint.key"),
        "serve makes it: {one_key}"
    );
    let prefix = faults(&[("KAFKA__TRANSACTIONAL_ID_PREFIX", "other")]);
    assert!(
        prefix.contains("kafka.transactional_id_prefix is \\\"other\\\""),
        "{prefix}"
    );
}

#[test]
fn changing_the_quarantine_of_no_journal_makes_none() {
    let home = Home::new(&[]);
    for action in ["requeue", "discard"] {
        let output = home.run(&["quarantine", action, "q-1"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(!home.journal().exists(), "{action}");
    }
    let bridge = home.serve();
    assert_eq!(bridge.stop(), 0);
    std::fs::remove_file(home.dir.path().join("keys/token.key")).unwrap();
    let generation = || home.json(&["journal", "status", "--json"])[0]["generation"].clone();
    let before = generation();
    let output = home.run(&["quarantine", "discard", "q-1"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(
        generation(),
        before,
        "the journal was opened without its keys"
    );
}

#[test]
fn every_command_that_prints_a_result_prints_it_as_json() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    let url = format!("http://{}", bridge.admin());
    assert_eq!(
        home.json(&["health", "--json", "--url", &url])[0]["ready"],
        true
    );
    for what in ["asyncapi", "fop"] {
        let printed = home.json(&["schema", "--json", what]);
        assert!(printed.len() == 1 && printed[0].is_object(), "{printed:?}");
    }

    let token = "nqp8WxIsZ1lZ3uR7";
    assert_eq!(
        bridge
            .post(
                ITINERARY,
                "",
                b"<Notification><TripId>T1</TripId><EventType>CREATE</EventType></Notification>"
            )
            .status,
        200
    );
    let event = &home.json(&["journal", "export"])[0]["event"];
    let jwe = home.dir.path().join("jwe");
    std::fs::write(&jwe, event["data"]["token"]["jwe"].as_str().unwrap()).unwrap();
    let output = home
        .command(&["tokens", "decrypt", "--json"])
        .stdin(std::fs::File::open(jwe).unwrap())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("\"{token}\"\n")
    );

    let summary = home.json(&["demo", "--json", "--for", "500ms", "--rate", "20"]);
    assert_eq!(summary.len(), 1, "{summary:?}");
    assert_eq!(summary[0]["refused"], 0, "{summary:?}");
    assert_eq!(
        summary[0]["consumed"], summary[0]["answered"],
        "{summary:?}"
    );
}

#[test]
fn a_start_that_fails_is_one_json_object_in_a_json_log_and_plain_text_in_a_text_log() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = |format| {
        let home = Home::new(&[("INGRESS__LISTEN", &address), ("LOG__FORMAT", format)]);
        String::from_utf8(home.run(&["serve"]).stderr).unwrap()
    };
    let json = ended("json");
    let lines: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let said = lines
        .iter()
        .filter(|line| line.to_string().contains("in use"));
    assert_eq!(said.count(), 1, "{json}");
    let text = ended("text");
    assert_eq!(text.matches("in use").count(), 1, "{text}");
    assert!(text.contains("concur-bridge: ingress.listen: "), "{text}");
}

#[test]
fn a_key_inside_the_journals_directory_is_warned_of_however_the_paths_are_written() {
    let home = Home::new(&[("TOKENS__KEY_FILE", "link/../link/keys/token.key")]);
    std::fs::create_dir(home.journal()).unwrap();
    std::os::unix::fs::symlink(home.journal(), home.dir.path().join("link")).unwrap();
    let warning = "is inside journal.dir";
    let output = home.run(&["check", "--json"]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        findings["warnings"].to_string().contains(warning),
        "{findings}"
    );
    let bridge = home.serve();
    assert_eq!(bridge.log().matches(warning).count(), 1, "{}", bridge.log());
}

#[test]
fn nobody_else_may_read_what_lies_beside_the_journal() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new(&[]);
    std::fs::create_dir(home.journal()).unwrap();
    let address = home.journal().join("admin.addr");
    // As an earlier version left it.
    std::fs::write(&address, "127.0.0.1:1").unwrap();
    std::fs::set_permissions(&address, std::fs::Permissions::from_mode(0o644)).unwrap();
    let bridge = home.serve();
    for entry in std::fs::read_dir(home.journal()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
    }
    assert_eq!(
        std::fs::read_to_string(&address).unwrap(),
        bridge.admin().to_string()
    );
}

#[test]
fn faults_of_keys_and_of_files_are_listed_together() {
    let home = Home::new(&[
        ("LOG__LEVL", "info"),
        ("INGRESS__MAX_BODY", "0"),
        ("JOURNAL__MAX_SIZE", "1KiB"),
        ("AUTH__ALLOW_FROM", "[\"10.0.0.0/8\", \"10.0.0.0/33\"]"),
        ("AUTH__BASIC_FILE", "/nope"),
    ]);
    let expected = ["log.levl", "max_body", "max_size", "10.0.0.0/33", "/nope"];
    for command in ["serve", "check"] {
        let output = home.run(&[command]);
        assert_eq!(output.status.code(), Some(2), "{command}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        for fault in expected {
            assert!(said.contains(fault), "{command}, {fault}: {said}");
        }
    }
}

#[test]
fn a_key_that_is_missing_beside_a_journal_is_told_of() {
    let home = Home::new(&[]);
    assert_eq!(home.serve().stop(), 0);
    let key = home.dir.path().join("keys/token.key");
    let told = |findings: &Value| findings["warnings"].to_string().contains("is made anew");
    let check = || -> Value {
        let output = home.run(&["check", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert!(!told(&check()));
    std::fs::remove_file(&key).unwrap();
    assert!(told(&check()), "{}", check());
    let bridge = home.serve();
    assert!(bridge.log().contains("is made anew"), "{}", bridge.log());
    assert!(bridge.log().contains("made a key file"));
}

/// As a backup that was unpacked by another user leaves it.
#[test]
fn a_file_of_the_journal_that_cannot_be_written_is_named_by_serve_and_check() {
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::os::unix::process::CommandExt;

    const NOBODY: u32 = 65_534;
    let home = Home::new(&[]);
    assert_eq!(home.serve().stop(), 0);
    let is_root = rustix::process::geteuid().is_root();
    let binary = home.dir.path().join("concur-bridge");
    if is_root {
        // Permissions are nothing to root. The build directory may be closed to others.
        std::fs::copy(env!("CARGO_BIN_EXE_concur-bridge"), &binary).unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(home.dir.path(), open).unwrap();
        for dir in ["journal", "keys"] {
            let dir = home.dir.path().join(dir);
            let files = std::fs::read_dir(&dir).unwrap();
            let files = files.map(|entry| entry.unwrap().path());
            for path in files.chain([dir.clone()]) {
                chown(path, Some(NOBODY), None).unwrap();
            }
        }
    }
    let run = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        if is_root {
            let mut other = std::process::Command::new(&binary);
            other.args(arguments).current_dir(home.dir.path());
            other.envs(
                command
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            );
            other.uid(NOBODY);
            command = other;
        }
        command.output().unwrap()
    };
    let files = ["journal.db", "journal.mark", "journal.lock"];
    for (name, closed) in files
        .into_iter()
        .flat_map(|name| [(name, 0o400), (name, 0)])
    {
        let file = home.journal().join(name);
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&file, mode(closed)).unwrap();
        let named = format!("{name}: Permission denied");
        let output = run(&["serve"]);
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains(&named), "{name}: {log}");
        let output = run(&["check"]);
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
        let faults = String::from_utf8(output.stderr).unwrap();
        assert!(faults.contains(&named), "{name}: {faults}");
        std::fs::set_permissions(&file, mode(0o600)).unwrap();
    }
}

#[test]
fn a_mark_that_is_missing_is_told_of_by_serve_and_check() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    let body = b"<Notification><TripId>T1</TripId></Notification>";
    assert_eq!(bridge.post(ITINERARY, "", body).status, 200);
    assert_eq!(bridge.stop(), 0);
    std::fs::remove_file(home.journal().join("journal.mark")).unwrap();
    let output = home.run(&["check", "--json"]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = "journal.mark is missing or unreadable";
    assert!(
        findings["warnings"].to_string().contains(told),
        "{findings}"
    );
    assert!(home.serve().log().contains(told));
}

#[test]
fn what_is_no_url_is_wrong_usage_of_health() {
    let home = Home::new(&[]);
    for url in ["127.0.0.1:8081", "localhost:8081", "ftp://127.0.0.1"] {
        let output = home.run(&["health", "--url", url]);
        assert_eq!(output.status.code(), Some(2), "{url}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("not a URL such as"), "{url}: {said}");
    }
}

#[test]
fn a_collector_that_no_client_can_reach_is_a_fault_before_anything_is_made() {
    let home = Home::new(&[("OTEL__ENDPOINT", "https://collector.example:4318")]);
    for command in ["serve", "check"] {
        let output = home
            .command(&[command])
            .env("SSL_CERT_FILE", "/dev/null")
            .env("SSL_CERT_DIR", "/nope")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("otel.endpoint"), "{command}: {said}");
    }
    assert!(!home.dir.path().join("keys").exists());
    assert!(!home.journal().exists());
}

#[test]
fn damage_beyond_what_is_asked_for_is_no_matter() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    for trip in 1..=9 {
        let body = format!("<Notification><TripId>TRIP-{trip}</TripId></Notification>");
        assert_eq!(bridge.post(ITINERARY, "", body.as_bytes()).status, 200);
    }
    assert_eq!(bridge.stop(), 0);
    // The next start copies the log into the database.
    assert_eq!(home.serve().stop(), 0);
    let database = home.journal().join("journal.db");
    overwrite(&database, b"\"TRIP-6\"", b"\"TRIP-x\"");

    let positions = |arguments: &[&str]| -> (Option<i32>, usize) {
        let output = home.run(&[&["journal", "list", "--json"], arguments].concat());
        let lines = String::from_utf8(output.stdout).unwrap().lines().count();
        (output.status.code(), lines)
    };
    assert_eq!(positions(&["--to", "5"]), (Some(0), 5));
    assert_eq!(positions(&["--limit", "3"]), (Some(0), 3));
    assert_eq!(positions(&["--position", "9"]), (Some(0), 1));
    assert_eq!(positions(&["--from", "7"]), (Some(0), 3));
    assert_eq!(
        positions(&[]),
        (Some(3), 5),
        "up to the damage, then an error"
    );

    // What a start would find, a check finds.
    let output = home.run(&["check", "--json"]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        findings["faults"].to_string().contains("position 6"),
        "{findings}"
    );
}
