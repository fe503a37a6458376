//! A lane: one connection at a time to each receiver, one request at a time on it.
//!
//! News of one trip always take the same lane, so they arrive in their order. Retry rules are Concur's: a v1 postback
//! is sent once whatever comes of it; an ESS event is sent again after 5xx, 401, 403, 429 or no answer, until it is
//! taken or refused for good, and what follows in the lane waits meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::SendRequest;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connector::Connector;
use super::parcel::{Answer, Content, Outcome, Parcel};
use super::tally::Tally;
use super::target::Target;
use crate::postback::Dialect;

/// How long an answer is waited for (Concur's documented limit for ESS).
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(60);

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// First and longest pause before an ESS event is sent again. Concur's are longer; people who develop wait less.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// Pause after a connection that could not be made, so that a receiver that is away is not run against.
const AFTER_REFUSED: Duration = Duration::from_millis(100);

/// Sees every request and what came of it.
pub type Observer = Arc<dyn Fn(&Parcel, &Outcome) + Send + Sync>;

/// Sends what comes down its channel.
pub(super) struct Lane {
    pub(super) parcels: mpsc::Receiver<Parcel>,
    pub(super) connector: Arc<Connector>,
    pub(super) tally: Arc<Tally>,
    pub(super) observer: Option<Observer>,
    /// Ends waits and retries; what is under way is finished.
    pub(super) stop: CancellationToken,
    pub(super) open: Vec<(Arc<Target>, SendRequest<Content>)>,
}

/// What becomes of a parcel after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Done,
    SendAgain,
}

impl Lane {
    /// Runs until the channel is closed and empty, or the stop.
    pub(super) async fn run(mut self) {
        while let Some(parcel) = self.parcels.recv().await {
            if self.stop.is_cancelled() {
                break;
            }
            self.tally.note_news(parcel.malformation.is_some());
            self.deliver(&parcel).await;
            if parcel.is_doubled && !self.stop.is_cancelled() {
                self.tally.note_duplicate();
                self.deliver(&parcel).await;
            }
        }
    }

    async fn deliver(&mut self, parcel: &Parcel) {
        let mut attempt = 0;
        let mut pause = RETRY_FIRST;
        loop {
            attempt += 1;
            if attempt > 1 {
                self.tally.note_retry();
            }
            let answer = self.send(parcel, attempt).await;
            if verdict(parcel.dialect, &answer) == Verdict::Done {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(RETRY_LONGEST),
                () = self.stop.cancelled() => return self.tally.note_undelivered(),
            }
        }
    }

    /// One request; counted and shown.
    async fn send(&mut self, parcel: &Parcel, attempt: u32) -> Answer {
        let started = Instant::now();
        let answer = match tokio::time::timeout(ACKNOWLEDGE_WITHIN, self.exchange(parcel)).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                Answer::None(format!("no answer in {} s", ACKNOWLEDGE_WITHIN.as_secs()))
            }
        };
        let latency = started.elapsed();
        match &answer {
            Answer::Status(status, _) => self.tally.note_answer(*status, latency),
            Answer::None(_) => self.tally.note_unanswered(),
        }
        if let Some(observer) = &self.observer {
            observer(
                parcel,
                &Outcome {
                    attempt,
                    answer: answer.clone(),
                    latency,
                },
            );
        }
        answer
    }

    /// Sends on the kept connection. One that turns out to be closed before a byte was sent is replaced once.
    async fn exchange(&mut self, parcel: &Parcel) -> Answer {
        let mut request = parcel.request();
        for _ in 0..2 {
            let mut sender = match self.connection(&parcel.target).await {
                Ok(sender) => sender,
                Err(reason) => {
                    tokio::time::sleep(AFTER_REFUSED).await;
                    return Answer::None(reason);
                }
            };
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    return match Limited::new(response.into_body(), MAX_ANSWER_BYTES)
                        .collect()
                        .await
                    {
                        Ok(body) => {
                            self.open.push((Arc::clone(&parcel.target), sender));
                            Answer::Status(status, body.to_bytes())
                        }
                        Err(error) => Answer::None(format!("the answer broke off: {error}")),
                    };
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => {
                        return Answer::None(format!(
                            "the connection broke: {}",
                            error.into_error()
                        ));
                    }
                },
            }
        }
        Answer::None("the connection was closed twice before the request".to_owned())
    }

    /// Takes the kept connection, or makes one. A connection is kept again only after a whole answer.
    async fn connection(&mut self, target: &Arc<Target>) -> Result<SendRequest<Content>, String> {
        while let Some(index) = self.open.iter().position(|(other, _)| other == target) {
            let (_, sender) = self.open.swap_remove(index);
            if !sender.is_closed() {
                return Ok(sender);
            }
        }
        self.connector.connect(target).await
    }
}

/// Concur's retry rules (Event Subscription Service v4, "ESS Behavior"); v1 documents none.
fn verdict(dialect: Dialect, answer: &Answer) -> Verdict {
    match (dialect, answer) {
        (Dialect::V1, _) => Verdict::Done,
        (Dialect::Ess, Answer::None(_)) => Verdict::SendAgain,
        (Dialect::Ess, Answer::Status(401 | 403 | 429 | 500..=599, _)) => Verdict::SendAgain,
        (Dialect::Ess, Answer::Status(..)) => Verdict::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ess_is_sent_again_and_only_after_what_concur_names() {
        let answer = |status| Answer::Status(status, Default::default());
        for (status, expected) in [
            (200, Verdict::Done),
            (204, Verdict::Done),
            (302, Verdict::Done),
            (400, Verdict::Done),
            (401, Verdict::SendAgain),
            (403, Verdict::SendAgain),
            (404, Verdict::Done),
            (408, Verdict::Done),
            (413, Verdict::Done),
            (429, Verdict::SendAgain),
            (500, Verdict::SendAgain),
            (503, Verdict::SendAgain),
            (599, Verdict::SendAgain),
        ] {
            assert_eq!(verdict(Dialect::Ess, &answer(status)), expected, "{status}");
            assert_eq!(
                verdict(Dialect::V1, &answer(status)),
                Verdict::Done,
                "{status}"
            );
        }
        assert_eq!(
            verdict(Dialect::Ess, &Answer::None(String::new())),
            Verdict::SendAgain
        );
        assert_eq!(
            verdict(Dialect::V1, &Answer::None(String::new())),
            Verdict::Done
        );
    }
}
