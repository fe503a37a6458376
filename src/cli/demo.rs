//! `concur-bridge demo`: the whole bridge, with a broker and a Concur inside the process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::output::{block_on, complain, print, print_json};
use crate::app::{App, Mode};
use crate::concur::notifications::{Feature, Level};
use crate::config::{Config, parse_duration};
use crate::exit::Exit;
use crate::publish::demo::{Consumed, DemoBroker, DemoConsumer};
use crate::shutdown::Shutdown;
use crate::simulator::{Answer, Outcome, Parcel, Simulator, Target};
use crate::telemetry;

/// How long the last events may take from their answer to the consumer.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// Run the whole bridge on a broker inside this process, with a simulated Concur: nothing to install.
///
/// Shows each postback, its answer, and the event as a consumer reads it from Kafka. Nothing is left behind: journal and
/// keys are in a temporary directory.
#[derive(clap::Args)]
pub(super) struct Args {
    /// End after this long, e.g. 10s [default: at Ctrl-C]
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    run_for: Option<Duration>,
    /// Postbacks a second
    #[arg(long, value_name = "N", default_value = "2", value_parser = rate)]
    rate: f64,
    /// Print nothing but the counts, as JSON, at the end
    #[arg(long)]
    json: bool,
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    /// Whether only the counts are printed.
    json: bool,
    answered: AtomicU64,
    refused: AtomicU64,
    consumed: AtomicU64,
    over: AtomicBool,
}

pub(super) fn run(args: Args) -> Exit {
    block_on(async {
        match demo(args).await {
            Ok(exit) => exit,
            Err(error) => {
                complain(&error);
                Exit::Failure
            }
        }
    })
}

async fn demo(args: Args) -> Result<Exit, Box<dyn std::error::Error>> {
    let directory = TemporaryDirectory::new()?;
    let broker = DemoBroker::start(&configuration(&directory.0, "127.0.0.1:1")?.topics)?;
    let config = configuration(&directory.0, &broker.bootstrap())?;
    telemetry::init_logs(&config.log);

    let shutdown = Shutdown::new();
    shutdown.listen()?;
    let app = App::start(
        &config,
        Mode::Serve,
        telemetry::init_metrics()?,
        shutdown.clone(),
    )
    .await?;
    let ingress = app.ingress().ok_or("the ingress is not bound")?;
    let admin = app.admin();
    let bridge = tokio::spawn(app.run());
    if !args.json {
        print(&format_args!(
            "bridge http://{ingress}/postback · console http://{admin}/ · Kafka {}\n",
            broker.bootstrap()
        ));
    }

    let bar = if args.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?)
    };
    let seen = Arc::new(Seen {
        json: args.json,
        ..Seen::default()
    });
    let consumer = broker.consumer()?;
    let reading = {
        let (bar, seen) = (bar.clone(), Arc::clone(&seen));
        tokio::task::spawn_blocking(move || read(&consumer, &bar, &seen))
    };
    let observer = {
        let (bar, seen) = (bar.clone(), Arc::clone(&seen));
        Arc::new(move |parcel: &Parcel, outcome: &Outcome| {
            show_request(&bar, &seen, parcel, outcome)
        })
    };
    let simulator = Simulator {
        target: Some(Target::parse(&format!("http://{ingress}/postback"))?),
        subscribed: [Level::Company, Level::User]
            .into_iter()
            .flat_map(|level| Feature::ALL.map(|feature| (level, feature)))
            .collect(),
        rate: Some(args.rate),
        connections: 1,
        observer: Some(observer),
        ..Simulator::new(rand::random())
    };
    let concur = simulator.start().await?;
    let end = async {
        match args.run_for {
            Some(run_for) => tokio::time::sleep(run_for).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = end => {}
        _ = shutdown.wait() => {}
        () = keep_summary(&bar, &seen) => {}
    }
    concur.stop().await;
    let all_read = async {
        while seen.consumed.load(Ordering::Relaxed) < seen.answered.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // With Ctrl-C the bridge stops by itself: what it has not published yet is durable, and not seen here.
    let _ = tokio::time::timeout(LAST_EVENTS, all_read).await;
    shutdown.request(Exit::Success);
    let exit = bridge.await?;
    seen.over.store(true, Ordering::Relaxed);
    reading.await?;
    bar.finish_and_clear();
    if args.json {
        print_json(&seen.counts());
    } else {
        print(&seen.in_words());
    }
    Ok(exit)
}

/// The defaults, on free ports, with everything in one directory.
fn configuration(directory: &Path, brokers: &str) -> Result<Config, crate::config::ConfigError> {
    let values = [
        ("INGRESS__LISTEN", "127.0.0.1:0".to_owned()),
        ("ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
        (
            "JOURNAL__DIR",
            directory.join("journal").display().to_string(),
        ),
        (
            "TOKENS__KEY_FILE",
            directory.join("keys/token.key").display().to_string(),
        ),
        (
            "TOKENS__FINGERPRINT_KEY_FILE",
            directory.join("keys/fingerprint.key").display().to_string(),
        ),
        ("KAFKA__BROKERS", brokers.to_owned()),
        // The broker inside the process has its topics already, and no API to make or describe any.
        ("KAFKA__CREATE_TOPICS", "false".to_owned()),
        // It is alone, which is worth no warning here.
        ("LOG__LEVEL", "error".to_owned()),
    ];
    Config::parse(
        "",
        values
            .into_iter()
            .map(|(key, value)| (format!("CONCUR_BRIDGE_{key}"), value)),
    )
}

fn show_request(bar: &ProgressBar, seen: &Seen, parcel: &Parcel, outcome: &Outcome) {
    let answer = match &outcome.answer {
        Answer::Status(status, body) => {
            let count = if *status == 200 {
                &seen.answered
            } else {
                &seen.refused
            };
            count.fetch_add(1, Ordering::Relaxed);
            format!("{status} {}", String::from_utf8_lossy(body).trim())
        }
        Answer::None(why) => format!("no answer: {why}"),
    };
    seen.tell(bar, &format!("→ POST {}", parcel.shown()));
    seen.tell(
        bar,
        &format!(
            "← {answer}  ({:.1} ms)",
            outcome.latency.as_secs_f64() * 1000.0
        ),
    );
}

/// Shows what the consumer reads until the demo is over.
fn read(consumer: &DemoConsumer, bar: &ProgressBar, seen: &Seen) {
    while !seen.over.load(Ordering::Relaxed) {
        let Some(Consumed { topic, key, value }) = consumer.next(Duration::from_millis(100)) else {
            continue;
        };
        seen.consumed.fetch_add(1, Ordering::Relaxed);
        seen.tell(
            bar,
            &format!(
                "⇒ {topic}  key {}  {}",
                key.as_deref().unwrap_or("none"),
                shortened(&value)
            ),
        );
    }
}

/// The event on one line, its sealed token cut short.
fn shortened(event: &str) -> String {
    let Ok(mut event) = serde_json::from_str::<Value>(event) else {
        return event.to_owned();
    };
    if let Some(Value::String(jwe)) = event.pointer_mut("/data/token/jwe") {
        jwe.truncate(12);
        jwe.push('…');
    }
    event.to_string()
}

async fn keep_summary(bar: &ProgressBar, seen: &Seen) {
    loop {
        bar.set_message(seen.in_words());
        bar.tick();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

impl Seen {
    /// A line above the summary; without a terminal, a line.
    fn tell(&self, bar: &ProgressBar, text: &str) {
        if self.json {
            // Whatever reads JSON reads one document.
        } else if bar.is_hidden() {
            print(&text)
        } else {
            bar.println(text)
        }
    }

    fn counts(&self) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "answered": count(&self.answered),
            "refused": count(&self.refused),
            "consumed": count(&self.consumed),
        })
    }

    fn in_words(&self) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "{} answered 200, {} refused, {} events read from Kafka",
            count(&self.answered),
            count(&self.refused),
            count(&self.consumed)
        )
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a duration such as 10s".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate| (0.01..=100_000.0).contains(rate))
        .ok_or_else(|| "expected a number above 0".to_owned())
}

/// A directory that goes when the demo does.
struct TemporaryDirectory(std::path::PathBuf);

impl TemporaryDirectory {
    fn new() -> std::io::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("concur-bridge-demo-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
