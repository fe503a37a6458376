use super::*;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment = environment
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    Config::parse(text, environment)
        .map_err(|error| error.0.iter().map(ToString::to_string).collect())
}

#[test]
fn the_example_file_is_the_defaults_and_names_every_key() {
    let text = include_str!("../../concur-bridge.example.toml");
    let example = parse(text, &[]).unwrap();
    assert_eq!(
        format!("{example:?}"),
        format!("{:?}", parse("", &[]).unwrap())
    );
    // Every commented-out key is a key too: with the comment signs removed nothing is unknown.
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix("#: ").unwrap_or(line))
        .fold(String::new(), |mut whole, line| {
            whole.push_str(line);
            whole.push('\n');
            whole
        });
    assert_ne!(uncommented, text);
    if let Err(faults) = parse(&uncommented, &[]) {
        assert!(
            faults.iter().all(|fault| !fault.contains("unknown key")),
            "{faults:#?}"
        );
    }
}

#[test]
fn every_fault_is_reported_at_once() {
    let faults = parse(
        "instanze = 'x'\n[ingress]\nlisten = 'here'\nmax_body = 3.5\npath = 'postback'\n[kafka]\ndelivery = 'maybe'\n\
         properties = { acks = '0', 'linger.mss' = '1', 'sasl.pasword' = 'hunter2', 'socket.timeout.ms' = 'soon', 'statistics.interval.ms' = '0' }\n[journal]\nretain_for = 5\n[topics]\nfop = 'no spaces'\n[nonsense]\n",
        &[("CONCUR_BRIDGE_KAFKA__PARTITIONS", "many"), ("CONCUR_BRIDGE_KAFKA_BROKERS", "x:1")],
    )
    .unwrap_err();
    for expected in [
        "CONCUR_BRIDGE_KAFKA_BROKERS: names no key: the parts of a key are joined by two underscores, CONCUR_BRIDGE_KAFKA__BROKERS",
        "ingress.listen: expected an address",
        "ingress.max_body: expected a size",
        "ingress.path: must be an absolute path",
        "instanze: unknown key; did you mean `instance`?",
        "journal.retain_for: expected a duration",
        "kafka.delivery: expected \"exactly_once\" or \"at_least_once\", found \"maybe\"",
        "kafka.partitions: expected a whole number from 1 to 100000, found \"many\" (from CONCUR_BRIDGE_KAFKA__PARTITIONS)",
        "kafka.properties: `acks` belongs to the bridge",
        "kafka.properties: property linger.mss is not valid: No such configuration property",
        "kafka.properties: property sasl.pasword is not valid: No such configuration property",
        "kafka.properties: property socket.timeout.ms is not valid: Invalid value for configuration property",
        "nonsense: unknown key",
        "topics.fop: must be a Kafka topic",
    ] {
        assert!(
            faults.iter().any(|fault| fault.starts_with(expected)),
            "{expected} is not in {faults:#?}"
        );
    }
    assert_eq!(faults.len(), 14, "{faults:#?}");
    assert!(
        faults.iter().all(|fault| !fault.contains("hunter2")),
        "{faults:#?}"
    );
}

#[test]
fn a_variable_overrides_the_file_and_may_hold_any_type() {
    let config = parse(
        "[kafka]\nbrokers = 'file:1'\npartitions = 3\n",
        &[
            ("CONCUR_BRIDGE_KAFKA__BROKERS", "env:2"),
            ("CONCUR_BRIDGE_KAFKA__PARTITIONS", "12"),
            (
                "CONCUR_BRIDGE_KAFKA__PROPERTIES",
                "{ \"sasl.mechanism\" = \"PLAIN\" }",
            ),
            ("CONCUR_BRIDGE_AUTH__ALLOW_FROM", "[\"192.0.2.0/24\"]"),
            ("CONCUR_BRIDGE_INGRESS__PROXY_PROTOCOL", "false"),
            ("CONCUR_BRIDGE_INSTANCE", "replica-7"),
            ("CONCUR_BRIDGE_SERVICE_HOST", "10.0.0.1"),
            ("CONCUR_BRIDGE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("UNRELATED", "x"),
        ],
    )
    .unwrap();
    assert_eq!(config.kafka.brokers, "env:2");
    assert_eq!(config.kafka.partitions, 12);
    assert_eq!(config.kafka.properties.0["sasl.mechanism"], "PLAIN");
    assert_eq!(config.auth.v1.allow_from.len(), 1);
    assert_eq!(config.instance.as_deref(), Some("replica-7"));
}

#[test]
fn subscriptions_can_be_given_in_one_variable_and_a_section_cannot() {
    let one = r#"[{ id = "a", topic = "public.concur.request", filter = ".*", endpoint = "https://bridge.example/ess" }]"#;
    let config = parse(
        "[[subscriptions]]\nid = 'of the file'\n",
        &[("CONCUR_BRIDGE_SUBSCRIPTIONS", one)],
    )
    .unwrap();
    assert_eq!(config.subscriptions.len(), 1);
    assert_eq!(config.subscriptions[0].id, "a");

    let faults = parse(
        "",
        &[
            ("CONCUR_BRIDGE_SUBSCRIPTIONS", "many"),
            ("CONCUR_BRIDGE_AUTH", "{ allow_from = ['192.0.2.0/24'] }"),
        ],
    )
    .unwrap_err();
    assert_eq!(
        faults,
        [
            "CONCUR_BRIDGE_AUTH: names a section, not a key: CONCUR_BRIDGE_AUTH__ and the key",
            "subscriptions: expected an array of tables, found \"many\" (from CONCUR_BRIDGE_SUBSCRIPTIONS)",
        ]
    );

    let faults = parse(
        "[[subscriptions]]\nid = 'a'\ntopic = 't'\nfilter = '.*'\nendpoint = 'https://bridge.example/ess'\n",
        &[("CONCUR_BRIDGE_SUBSCRIPTIONS__ID", "b")],
    )
    .unwrap_err();
    assert_eq!(
        faults,
        ["CONCUR_BRIDGE_SUBSCRIPTIONS__ID: names a key within something that has none"]
    );

    let part = ("CONCUR_BRIDGE_TOPICS__ROUTES__A", "x");
    let whole = ("CONCUR_BRIDGE_TOPICS__ROUTES", "{ b = 'y' }");
    for environment in [[part, whole], [whole, part]] {
        let faults = parse("", &environment).unwrap_err();
        assert_eq!(
            faults,
            ["CONCUR_BRIDGE_TOPICS__ROUTES__A: names a key within something that has none"]
        );
    }
}

#[test]
fn the_collector_of_traces_is_a_plain_http_url() {
    let config = parse("[otel]\nendpoint = 'http://[::1]:4318'\n", &[]).unwrap();
    assert_eq!(config.otel.endpoint.unwrap().port(), Some(4318));
    for bad in [
        "127.0.0.1:4318",
        "grpc://collector:4317",
        "http://u:p@collector",
        "http://collector/?token=x",
    ] {
        let faults = parse(&format!("[otel]\nendpoint = '{bad}'\n"), &[]).unwrap_err();
        let is_named = faults.len() == 1 && faults[0].starts_with("otel.endpoint: ");
        assert!(is_named, "{bad}: {faults:#?}");
    }
}

#[test]
fn a_listener_beyond_loopback_needs_a_method_for_each_path() {
    let open = "[ingress]\nlisten = '0.0.0.0:8080'\n";
    let faults = parse(open, &[]).unwrap_err();
    assert!(
        faults[0].starts_with("auth: ") && faults[1].starts_with("auth.ess: "),
        "{faults:#?}"
    );
    for (closed, left) in [
        ("insecure_allow_unauthenticated = true\n", 0),
        (
            "[auth]\npath_secret_file = 's'\n[auth.ess]\nbasic_file = 'b'\n",
            0,
        ),
        ("[auth]\nallow_from = ['192.0.2.1/32']\n", 1),
        ("[auth.ess]\nsignature = 'observe'\nkeys = ['k.pem']\n", 2),
        (
            "[auth]\npath_secret_file = 's'\n[auth.ess]\nsignature = 'enforce'\nkeys = ['k.pem']\n",
            0,
        ),
        (
            "[ingress.tls]\ncertificate = 'c'\nkey = 'k'\nclient_ca = 'a'\n",
            0,
        ),
        ("[ingress.tls]\ncertificate = 'c'\nkey = 'k'\n", 2),
    ] {
        let faults = parse(&format!("{open}{closed}"), &[])
            .err()
            .unwrap_or_default();
        assert_eq!(faults.len(), left, "{closed}: {faults:#?}");
    }
}

#[test]
fn the_admin_port_is_not_the_ingress_port_on_any_address() {
    for (ingress, admin, left) in [
        ("127.0.0.1:18080", "127.0.0.1:18080", 1),
        ("0.0.0.0:18080", "127.0.0.1:18080", 1),
        ("[::1]:18080", "127.0.0.1:18080", 1),
        ("127.0.0.1:18080", "127.0.0.1:18081", 0),
        ("127.0.0.1:0", "127.0.0.1:0", 0),
    ] {
        let text = format!(
            "[ingress]\nlisten = '{ingress}'\ninsecure_allow_unauthenticated = true\n[admin]\nlisten = '{admin}'\n"
        );
        let faults = parse(&text, &[]).err().unwrap_or_default();
        assert_eq!(faults.len(), left, "{text}: {faults:#?}");
        let of_admin = |fault: &String| fault.starts_with("admin.listen: ");
        assert!(faults.iter().all(of_admin), "{faults:#?}");
    }
}

#[test]
fn a_password_in_the_configuration_is_never_shown() {
    let secret = "hunter2";
    for text in [
        format!("[kafka]\nproperties = '{secret}'\n"),
        format!("[kafka.properties]\n'sasl.password' = ['{secret}']\n"),
        format!("[kafka.properties]\n'sasl.password' = {secret}\n"),
        format!("[[kafka]]\nproperties = {{ 'sasl.password' = '{secret}' }}\n"),
    ] {
        let faults = parse(&text, &[]).unwrap_err();
        assert!(!faults.concat().contains(secret), "{faults:?}");
    }
    let config = parse(
        &format!("[kafka.properties]\n'sasl.password' = '{secret}'\n"),
        &[],
    )
    .unwrap();
    assert!(!format!("{config:?}").contains(secret));
}
