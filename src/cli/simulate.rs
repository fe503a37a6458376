//! `simulate`: plays Concur. The simulator is [`crate::simulator`]; here are arguments, the progress bar, signals
//! and the summary.

mod args;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::{block_on, complain, print, print_json};
pub(super) use args::Args;

use crate::exit::Exit;
use crate::simulator::{Running, StartError, Summary};

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
    let simulator = match args.simulator() {
        Ok(simulator) => simulator,
        Err(fault) => {
            complain(&fault);
            return Exit::Usage;
        }
    };
    // Before the first request: whoever sees one may ask for the end.
    let asked = asked_to_end(run_for);
    tokio::pin!(asked);
    let mut running = match simulator.start().await {
        Ok(running) => running,
        Err(error) => {
            complain(&error);
            return match error {
                StartError::Listen(..) => Exit::Failure,
                StartError::Trust(_) => Exit::Usage,
            };
        }
    };
    if let Some(address) = running.address() {
        tell_address(address, json);
    }
    let bar = progress_bar(count);
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

/// Listens for SIGINT and SIGTERM from now on. The future ends at one of them, or when the time is up, which it counts from
/// its first poll.
fn asked_to_end(run_for: Option<Duration>) -> impl Future<Output = ()> {
    let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        let time_is_up = async {
            match run_for {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = time_is_up => {}
            () = received(interrupt) => {}
            () = received(terminate) => {}
        }
    }
}

/// Returns at the signal; never, where it cannot be listened to.
async fn received(signal: std::io::Result<Signal>) {
    match signal {
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
