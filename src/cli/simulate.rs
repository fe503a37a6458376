//! `simulate`: plays Concur. The simulator is [`crate::simulator`]; here are arguments, the progress bar, signals
//! and the summary.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::output::{block_on, complain, print, print_json};
use crate::concur::notifications::{Feature, Level};
use crate::exit::Exit;
use crate::simulator::{Clock, Faults, ObjectBase, Running, Simulator, Summary, Target};

/// Answers the subscription API, serves trips and travel profiles, and posts what happens to --target. Ends after --count, after --for, or at SIGINT or SIGTERM, with a summary on stdout. Exit code 0; 1 when nothing it
/// sent was ever answered; 2 for wrong usage.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address of the APIs and resources; port 0 takes a free one, told on stderr
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The registered postback URL; a path secret is simply part of it, `user:password@` becomes HTTP basic
    #[arg(long, value_name = "URL", value_parser = Target::parse)]
    target: Option<Target>,
    /// File with `user:password` for HTTP basic
    #[arg(long, value_name = "FILE", requires = "target")]
    basic_file: Option<PathBuf>,
    /// Postbacks a second; 0: as fast as they are taken
    #[arg(long, value_name = "N", default_value = "10", value_parser = rate)]
    rate: Rate,
    /// Postbacks in all; without it, until stopped
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// How long to run, e.g. 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    run_for: Option<Duration>,
    /// What is subscribed to from the start; `none`: only what the subscription API is asked for
    #[arg(
        long,
        value_name = "TYPES",
        value_enum,
        value_delimiter = ',',
        default_value = "itinerary,fop,profile"
    )]
    types: Vec<TypeArg>,
    /// The level of what is subscribed to from the start
    #[arg(long, value_enum, default_value = "company")]
    level: LevelArg,
    /// Connections to the target, each with one request under way
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Tells the same story again, times included; without it each run differs
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Share of postbacks sent twice, byte for byte, e.g. 5%
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent, hide_default_value = true)]
    duplicate: f64,
    /// Share of postbacks got wrong, e.g. 1%
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent, hide_default_value = true)]
    malformed: f64,
    /// Share of postbacks whose body comes in drops; 10% when no number is given
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent, hide_default_value = true,
          num_args = 0..=1, default_missing_value = "10%", require_equals = true)]
    slow: f64,
    /// What the URLs of trips begin with; `self`: the simulator's own resources [default: Concur's]
    #[arg(long, value_name = "URL")]
    object_base: Option<String>,
    /// After --count, serve trips and profiles until --for or a signal
    #[arg(long)]
    keep_serving: bool,
    /// Print the summary, and on stderr the address, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TypeArg {
    Itinerary,
    Fop,
    Profile,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LevelArg {
    Company,
    User,
    Both,
}

/// Postbacks a second; `None` is as fast as they are taken.
#[derive(Debug, Clone, Copy)]
struct Rate(Option<f64>);

/// Why the run ends.
enum End {
    Sent,
    Asked,
}

/// Runs until the end.
pub(super) fn run(args: Args) -> Exit {
    block_on(play(args))
}

async fn play(args: Args) -> Exit {
    let (json, keep_serving, run_for, count) =
        (args.json, args.keep_serving, args.run_for, args.count);
    let simulator = match simulator(args) {
        Ok(simulator) => simulator,
        Err(fault) => {
            complain(&fault);
            return Exit::Usage;
        }
    };
    let mut running = match simulator.start().await {
        Ok(running) => running,
        Err(error) => {
            complain(&format_args!("cannot listen: {error}"));
            return Exit::Failure;
        }
    };
    if let Some(address) = running.address() {
        tell_address(address, json);
    }
    let bar = progress_bar(count);
    let asked = asked_to_end(run_for);
    tokio::pin!(asked);
    let end = loop {
        tokio::select! {
            () = running.sent_all() => break End::Sent,
            () = &mut asked => break End::Asked,
            () = tokio::time::sleep(Duration::from_millis(100)) => show(&bar, &running),
        }
    };
    if matches!(end, End::Sent) && keep_serving {
        show(&bar, &running);
        asked.await;
    }
    let summary = running.stop().await;
    bar.finish_and_clear();
    if json {
        print_json(&summary);
    } else {
        print(&in_words(&summary));
    }
    if summary.sent > 0 && summary.answered.is_empty() {
        complain(&"nothing was answered: does anything listen at --target?");
        return Exit::Failure;
    }
    Exit::Success
}

fn simulator(args: Args) -> Result<Simulator, String> {
    let levels: &[Level] = match args.level {
        LevelArg::Company => &[Level::Company],
        LevelArg::User => &[Level::User],
        LevelArg::Both => &[Level::Company, Level::User],
    };
    let features: Vec<Feature> = args
        .types
        .iter()
        .filter_map(|kind| kind.feature())
        .collect();
    if args.types.contains(&TypeArg::None) && args.types.len() > 1 {
        return Err("--types none stands alone".to_owned());
    }
    let target = match (args.target, args.basic_file) {
        (Some(target), Some(file)) => {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            let line = text
                .lines()
                .find(|line| line.contains(':'))
                .ok_or_else(|| format!("{}: no user:password", file.display()))?;
            Some(target.with_basic(line.trim().as_bytes()))
        }
        (target, _) => target,
    };
    let made_up = jiff::civil::datetime(2026, 1, 5, 8, 0, 0, 0);
    Ok(Simulator {
        listen: Some(args.listen),
        target,
        subscribed: levels
            .iter()
            .flat_map(|level| features.iter().map(|feature| (*level, *feature)))
            .collect(),
        rate: args.rate.0,
        count: args.count,
        connections: usize::from(args.connections),
        clock: if args.seed.is_some() {
            Clock::MadeUp(made_up)
        } else {
            Clock::Wall
        },
        faults: Faults {
            duplicate: args.duplicate,
            malformed: args.malformed,
            slow: args.slow,
        },
        object_base: match args.object_base.as_deref() {
            None => ObjectBase::Concur,
            Some("self") => ObjectBase::Own,
            Some(url) => ObjectBase::Url(url.trim_end_matches('/').to_owned()),
        },
        ..Simulator::new(args.seed.unwrap_or_else(rand::random))
    })
}

impl TypeArg {
    fn feature(self) -> Option<Feature> {
        match self {
            Self::Itinerary => Some(Feature::Itinerary),
            Self::Fop => Some(Feature::Fop),
            Self::Profile => Some(Feature::Profile),
            Self::None => None,
        }
    }
}

/// Returns at SIGINT, SIGTERM or when the time is up.
async fn asked_to_end(run_for: Option<Duration>) {
    let time_is_up = async {
        match run_for {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time_is_up => {}
        () = on(SignalKind::interrupt()) => {}
        () = on(SignalKind::terminate()) => {}
    }
}

/// Returns at the signal; never, where it cannot be listened to.
async fn on(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

/// A bar when the end is known, a spinner otherwise; nothing where nobody looks.
fn progress_bar(count: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match count {
        Some(count) => (ProgressBar::new(count), "{bar:40} {pos}/{len} {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} {msg}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show(bar: &ProgressBar, running: &Running) {
    if bar.is_hidden() {
        return;
    }
    let summary = running.summary();
    bar.set_position(summary.sent);
    bar.set_message(format!(
        "{:.0}/s  2xx {}  4xx {}  5xx {}  unanswered {}  p99 {:.1} ms",
        summary.events_per_second,
        summary.answered_in(2),
        summary.answered_in(4),
        summary.answered_in(5),
        summary.unanswered,
        summary.latency_ms.p99,
    ));
}

fn tell_address(address: SocketAddr, json: bool) {
    if json {
        let ready = json!({ "message": "ready", "simulator": address.to_string() });
        // Not a complaint, but a line for machines; nobody is left to tell when stderr is gone.
        let _ = writeln!(std::io::stderr().lock(), "{ready}");
    } else {
        complain(&format_args!("Concur is simulated at http://{address}"));
    }
}

fn in_words(summary: &Summary) -> String {
    let answers: Vec<_> = summary
        .answered
        .iter()
        .map(|(status, count)| format!("{count} × {status}"))
        .collect();
    format!(
        "sent {} in {:.1} s ({:.0} answers/s)\nanswered {}; unanswered {}, undelivered {}\n\
         retried {}, sent twice {}, malformed {}\nlatency p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        summary.sent,
        summary.seconds,
        summary.events_per_second,
        if answers.is_empty() {
            "nothing".to_owned()
        } else {
            answers.join(", ")
        },
        summary.unanswered,
        summary.undelivered,
        summary.retried,
        summary.duplicates,
        summary.malformed,
        summary.latency_ms.p50,
        summary.latency_ms.p99,
        summary.latency_ms.max,
    )
}

fn rate(text: &str) -> Result<Rate, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(Rate(None)),
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(Rate(Some(rate))),
        _ => Err("not a number of postbacks a second".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    text.trim_end_matches('%')
        .parse::<f64>()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "not a percentage such as 5%".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "not a duration such as 30s".to_owned())?;
    Duration::try_from(signed).map_err(|_| "must not be negative".to_owned())
}
