//! Single requests, and one of which the last byte is held back: the bridge owes it an answer for as long as a line likes.

use std::net::SocketAddr;
use std::time::Duration;

use super::failure::{Doing, Outcome};
use super::http::Connection;
use super::patience::patience;
use super::sender::{Fate, Sent, fate};
use super::traffic::{self, Tag};

/// How long the answer may take once the request is whole.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A request of which the last byte has not been sent.
pub struct OpenRequest {
    connection: Connection,
    tag: Tag,
    last: u8,
}

impl OpenRequest {
    /// Sends all but the last byte.
    pub fn begin(ingress: SocketAddr, tag: Tag) -> Outcome<Self> {
        let mut bytes = traffic::request(tag, 0);
        let last = bytes.pop().doing("an empty request")?;
        let mut connection = Connection::open(ingress, patience(ANSWER_LIMIT))?;
        connection.send(&bytes)?;
        Ok(Self {
            connection,
            tag,
            last,
        })
    }

    /// Sends the last byte, and returns what became of the request.
    pub fn end(mut self) -> Outcome<Sent> {
        exchange(&mut self.connection, &[self.last], self.tag)
    }

    /// What the log says of it as long as it has no answer.
    pub fn unanswered(&self) -> Sent {
        sent(self.tag, Fate::Unanswered)
    }
}

/// Sends one whole request on a connection of its own, and returns what became of it.
pub fn post_once(ingress: SocketAddr, tag: Tag) -> Outcome<Sent> {
    let mut connection = Connection::open(ingress, patience(ANSWER_LIMIT))?;
    exchange(&mut connection, &traffic::request(tag, 0), tag)
}

/// A connection that ends without an answer leaves the request unanswered. No answer in time has shown nothing.
fn exchange(connection: &mut Connection, bytes: &[u8], tag: Tag) -> Outcome<Sent> {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    match connection.exchange(bytes) {
        Ok(answer) => Ok(sent(tag, fate(&answer))),
        Err(error) if matches!(error.kind(), TimedOut | WouldBlock) => {
            Err(error).doing(format!("waiting for the answer to {tag}"))
        }
        Err(_) => Ok(sent(tag, Fate::Unanswered)),
    }
}

fn sent(tag: Tag, fate: Fate) -> Sent {
    Sent {
        tag,
        fate,
        at: Duration::ZERO,
        took: Duration::ZERO,
    }
}
