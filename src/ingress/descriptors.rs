//! Room for connections among the process's file descriptors.
//!
//! Every connection is a descriptor, and so are the journal's files, the sockets to Kafka and those of the admin port.
//! If strangers could take the last one, the bridge could neither publish nor say how it fares. So the soft limit is
//! raised as far as `ingress.max_connections` needs and the system lets, and where that is not enough the cap is lower.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors left to everything else: a dozen for the journal, two per broker and client, the rest for the admin port.
const RESERVED: u64 = 256;

/// How many connections there is room for, at most `configured`.
pub(super) fn room_for(configured: usize) -> usize {
    let wanted = configured as u64 + RESERVED;
    let limit = getrlimit(Resource::Nofile);
    let raised = raise(limit, wanted);
    let current = match raised {
        Some(raised) if setrlimit(Resource::Nofile, raised).is_ok() => raised.current,
        Some(_) | None => limit.current,
    };
    let room = room(configured, current);
    if room < configured {
        warn!(
            max_connections = room,
            configured,
            "the limit of open files leaves room for fewer connections; raise it (ulimit -n, LimitNOFILE)"
        );
    }
    room
}

/// The limit to set, if that helps.
fn raise(limit: Rlimit, wanted: u64) -> Option<Rlimit> {
    let current = limit.current?;
    let reachable = limit.maximum.map_or(wanted, |maximum| wanted.min(maximum));
    (current < reachable).then_some(Rlimit {
        current: Some(reachable),
        maximum: limit.maximum,
    })
}

/// What `current` leaves room for; at least one connection.
fn room(configured: usize, current: Option<u64>) -> usize {
    let Some(current) = current else {
        return configured;
    };
    let room = usize::try_from(current.saturating_sub(RESERVED)).unwrap_or(usize::MAX);
    configured.min(room.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_as_far_as_needed_and_allowed() {
        let limit = |current, maximum| Rlimit { current, maximum };
        for (before, wanted, after) in [
            (limit(Some(1024), Some(524_288)), 4352, Some(4352)),
            (limit(Some(1024), Some(2048)), 4352, Some(2048)),
            (limit(Some(1024), None), 4352, Some(4352)),
            (limit(Some(1024), Some(1024)), 4352, None),
            (limit(Some(20_000), Some(20_000)), 4352, None),
            (limit(None, None), 4352, None),
        ] {
            let raised = raise(before, wanted);
            assert_eq!(
                raised.and_then(|raised| raised.current),
                after,
                "{before:?}"
            );
        }
    }

    #[test]
    fn what_others_need_is_never_given_to_connections() {
        for (current, expected) in [
            (None, 4096),
            (Some(524_288), 4096),
            (Some(4352), 4096),
            (Some(1024), 768),
            (Some(100), 1),
        ] {
            assert_eq!(room(4096, current), expected, "{current:?}");
        }
    }
}
