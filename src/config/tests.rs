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
         properties = { acks = '0' }\n[journal]\nretain_for = 5\n[topics]\nfop = 'no spaces'\n[nonsense]\n",
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
        "nonsense: unknown key",
        "topics.fop: must be a Kafka topic",
    ] {
        assert!(
            faults.iter().any(|fault| fault.starts_with(expected)),
            "{expected} is not in {faults:#?}"
        );
    }
    assert_eq!(faults.len(), 11, "{faults:#?}");
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
fn a_password_in_the_configuration_is_never_shown() {
    let secret = "hunter2";
    for text in [
        format!("[kafka]\nproperties = '{secret}'\n"),
        format!("[kafka.properties]\n'sasl.password' = ['{secret}']\n"),
        format!("[kafka.properties]\n'sasl.password' = {secret}\n"),
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
