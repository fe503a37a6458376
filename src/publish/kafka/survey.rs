//! What is there: the cluster, its topics, their configuration; and making topics.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigEntry, ConfigResource, NewTopic as AdminTopic,
    OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};

use super::super::failure::{Failure, FailureKind};
use super::super::topics::{Facts, NewTopic, Seen};
use super::errors;
use super::listener::Listener;
use super::settings::ClientSettings;

/// For one question to the brokers.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// More errors than these, one a broker and address, say nothing new.
const HEARD_ERRORS: u32 = 16;
/// For making topics: the controller answers when they are made.
const CREATE_TIMEOUT: Duration = Duration::from_secs(10);

/// The id of the cluster, and the state of each topic.
///
/// A consumer asks, because a producer's question would make brokers with `auto.create.topics.enable` create the topic.
pub(super) fn survey(
    settings: &ClientSettings,
    topics: &[&str],
) -> Result<(Option<String>, Vec<Seen>), Failure> {
    let consumer = connect(settings, &settings.asking())?;
    let listener = consumer.context();
    let mut seen = Vec::with_capacity(topics.len());
    for topic in topics {
        let metadata = consumer
            .fetch_metadata(Some(topic), ASK_TIMEOUT)
            .map_err(|error| {
                hear_out(&consumer);
                errors::failure("no Kafka broker answers", &error, listener)
            })?;
        let state = metadata
            .topics()
            .iter()
            .find(|known| known.name() == *topic)
            .map_or_else(
                || {
                    Err(errors::coded(
                        topic,
                        RDKafkaErrorCode::UnknownTopicOrPartition,
                    ))
                },
                state_of,
            );
        seen.push(Seen {
            name: (*topic).to_owned(),
            state,
        });
    }
    let cluster_id = consumer.client().fetch_cluster_id(ASK_TIMEOUT);
    add_configuration(settings, &mut seen);
    Ok((cluster_id, seen))
}

/// Serves the errors that librdkafka has queued, so that the reason is known.
fn hear_out(consumer: &BaseConsumer<Listener>) {
    let mut left = HEARD_ERRORS;
    while left > 0 && consumer.poll(Duration::from_millis(20)).is_some() {
        left -= 1;
    }
}

/// Makes topics.
pub(super) fn create(settings: &ClientSettings, topics: &[NewTopic]) -> Result<(), Failure> {
    let admin = admin(settings, &settings.asking())?;
    let new: Vec<AdminTopic<'_>> = topics
        .iter()
        .map(|topic| AdminTopic {
            name: &topic.name,
            num_partitions: topic.partitions,
            replication: TopicReplication::Fixed(topic.replication_factor),
            config: topic.settings.clone(),
        })
        .collect();
    let options = AdminOptions::new()
        .request_timeout(Some(CREATE_TIMEOUT))
        .operation_timeout(Some(CREATE_TIMEOUT));
    let results = wait_for(admin.create_topics(&new, &options)).and_then(|done| {
        done.map_err(|error| {
            errors::failure("topics cannot be created", &error, admin.inner().context())
        })
    })?;
    let failures = results
        .into_iter()
        .filter_map(Result::err)
        .filter(|(_, code)| *code != RDKafkaErrorCode::TopicAlreadyExists)
        .map(|(name, code)| uncreated(&name, code))
        .collect();
    match super::super::topics::combine(failures) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn uncreated(name: &str, code: RDKafkaErrorCode) -> Failure {
    let hint = match code {
        RDKafkaErrorCode::InvalidReplicationFactor => {
            " (more replicas than brokers that are up: see kafka.replication_factor, or a broker is starting or shutting down)"
        }
        _ => "",
    };
    errors::coded(&format!("topic {name} cannot be created{hint}"), code)
}

fn state_of(topic: &MetadataTopic) -> Result<Facts, Failure> {
    if let Some(code) = topic.error() {
        return Err(errors::coded(
            &format!("topic {}", topic.name()),
            code.into(),
        ));
    }
    Ok(Facts {
        partitions: topic.partitions().len(),
        replicas: topic
            .partitions()
            .first()
            .map_or(0, |partition| partition.replicas().len()),
        leaderless: topic
            .partitions()
            .iter()
            .find(|partition| partition.leader() < 0)
            .map(MetadataPartition::id),
        ..Facts::default()
    })
}

/// Adds what the topics are configured to be. Without the right to see it, it stays unknown.
fn add_configuration(settings: &ClientSettings, seen: &mut [Seen]) {
    let Ok(admin) = admin(settings, &settings.asking()) else {
        return;
    };
    let names: Vec<ResourceSpecifier<'_>> = seen
        .iter()
        .filter(|topic| topic.state.is_ok())
        .map(|topic| ResourceSpecifier::Topic(&topic.name))
        .collect();
    if names.is_empty() {
        return;
    }
    let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
    let described: Vec<ConfigResource> = match wait_for(admin.describe_configs(&names, &options)) {
        Ok(Ok(resources)) => resources.into_iter().filter_map(Result::ok).collect(),
        Ok(Err(error)) => {
            tracing::debug!("topic configuration cannot be read: {error}");
            return;
        }
        Err(failure) => {
            tracing::debug!("topic configuration cannot be read: {failure}");
            return;
        }
    };
    for resource in described {
        let OwnedResourceSpecifier::Topic(name) = &resource.specifier else {
            continue;
        };
        if let Some(topic) = seen.iter_mut().find(|topic| topic.name == *name)
            && let Ok(facts) = &mut topic.state
        {
            read_configuration(facts, &resource.entries);
        }
    }
}

fn read_configuration(facts: &mut Facts, entries: &[ConfigEntry]) {
    let value = |name: &str| {
        entries
            .iter()
            .find(|entry| entry.name == name)
            .and_then(|entry| entry.value.as_deref())
    };
    facts.max_message_bytes = value("max.message.bytes").and_then(|text| text.parse().ok());
    facts.min_insync_replicas = value("min.insync.replicas").and_then(|text| text.parse().ok());
    facts.create_time = value("message.timestamp.type").map(|text| text == "CreateTime");
    facts.compacted = value("cleanup.policy").map(|text| text.contains("compact"));
}

pub(super) fn connect(
    settings: &ClientSettings,
    config: &ClientConfig,
) -> Result<BaseConsumer<Listener>, Failure> {
    let listener = settings.listener();
    config
        .create_with_context(listener.clone())
        .map_err(|error| errors::failure("no Kafka client can be made", &error, &listener))
}

fn admin(
    settings: &ClientSettings,
    config: &ClientConfig,
) -> Result<AdminClient<Listener>, Failure> {
    let listener = settings.listener();
    let admin: KafkaResult<AdminClient<Listener>> = config.create_with_context(listener.clone());
    admin.map_err(|error| errors::failure("no Kafka client can be made", &error, &listener))
}

/// Waits for an admin operation on this thread; each has a timeout of its own.
fn wait_for<T>(operation: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| {
            Failure::new(
                FailureKind::Abortable,
                format!("cannot wait for Kafka: {error}"),
            )
        })?;
    Ok(runtime.block_on(operation))
}

/// Whether a broker answers a question about `topic` in time.
pub(super) fn probe(
    client: &Client<impl rdkafka::ClientContext>,
    topic: &str,
    timeout: Duration,
) -> bool {
    client.fetch_metadata(Some(topic), timeout).is_ok()
}
