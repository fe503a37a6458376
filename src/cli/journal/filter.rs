//! Which records a command is about.

use jiff::Timestamp;

use super::fail;
use crate::event::EventType;
use crate::exit::Exit;
use crate::journal::Inspector;
use crate::record::{Placed, Position};

/// Records read at a time.
const BATCH: usize = 1000;

/// Bytes read at a time.
const BATCH_BYTES: usize = 8 << 20;

/// Which records.
#[derive(clap::Args)]
pub(super) struct Filter {
    /// From this position on.
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// Up to and with this position.
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    /// This one position.
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "to"])]
    position: Option<u64>,
    /// Received at or after this time, RFC 3339.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Received before this time, RFC 3339.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Of this CloudEvents type, or of this stream (itinerary, fop, profile, other, quarantine).
    #[arg(long = "type", value_name = "TYPE", value_parser = kinds)]
    kinds: Option<Kinds>,
    /// With this Kafka key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// The types that a name stands for.
#[derive(Clone)]
struct Kinds(Vec<EventType>);

fn kinds(name: &str) -> Result<Kinds, String> {
    let kinds: Vec<_> = EventType::ALL
        .into_iter()
        .filter(|kind| kind.as_str() == name || kind.stream().name() == name)
        .collect();
    if kinds.is_empty() {
        Err("no such type or stream".to_owned())
    } else {
        Ok(Kinds(kinds))
    }
}

impl Filter {
    /// The one record at `position`.
    pub(super) fn one(position: u64) -> Self {
        Self {
            from: 1,
            to: None,
            position: Some(position),
            since: None,
            until: None,
            kinds: None,
            key: None,
            limit: None,
        }
    }

    /// Gives every record that passes to `each`, in order, until it says stop. How many there were.
    pub(super) fn walk(
        &self,
        inspector: &Inspector,
        mut each: impl FnMut(&Placed) -> Result<(), Exit>,
    ) -> Result<u64, Exit> {
        let (from, to) = match self.position {
            Some(position) => (position, position),
            None => (self.from, self.to.unwrap_or(u64::MAX)),
        };
        let mut after = Position(from.saturating_sub(1));
        let mut count = 0;
        while self.limit.is_none_or(|limit| count < limit) {
            // No further than asked: what is damaged beyond is nobody's matter here.
            let wanted = usize::try_from(to.saturating_sub(after.0)).unwrap_or(BATCH);
            let batch = inspector
                .read(after, wanted.min(BATCH), BATCH_BYTES)
                .map_err(|fatal| fail(&fatal))?;
            let Some(last) = batch.last() else {
                break;
            };
            after = last.position;
            for placed in &batch {
                if placed.position.0 > to || self.limit.is_some_and(|limit| count >= limit) {
                    return Ok(count);
                }
                if self.passes(placed) {
                    each(placed)?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    fn passes(&self, placed: &Placed) -> bool {
        let record = &placed.record;
        self.since.is_none_or(|since| record.received_at >= since)
            && self.until.is_none_or(|until| record.received_at < until)
            && self
                .kinds
                .as_ref()
                .is_none_or(|kinds| kinds.0.contains(&record.kind))
            && self
                .key
                .as_ref()
                .is_none_or(|key| record.key.as_ref() == Some(key))
    }
}
