//! A client that sees bytes.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::bench::within;

/// A client that writes and reads bytes.
pub(super) struct Client<T> {
    pub(super) stream: T,
    /// Whether the next answer is to HEAD: it announces a body and has none.
    pub(super) is_head: bool,
    read: Vec<u8>,
}

/// One answer, as its bytes say.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Client<T> {
    pub(super) fn new(stream: T) -> Self {
        Self {
            stream,
            is_head: false,
            read: Vec::new(),
        }
    }

    /// Sends bytes; a peer that closed meanwhile is no failure here.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within(self.stream.write_all(bytes.as_ref())).await;
        let _ = within(self.stream.flush()).await;
    }

    /// The next answer; `None` when the connection ended without one.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        loop {
            if let Some(answer) = self.take_answer() {
                return Some(answer);
            }
            let mut chunk = [0; 8192];
            match within(self.stream.read(&mut chunk)).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.read.extend_from_slice(&chunk[..read]),
            }
        }
    }

    /// Sends a request and gives its answer.
    pub(super) async fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Option<Answer> {
        self.send(bytes).await;
        self.answer().await
    }

    /// Whether the server has nothing more to say and closes.
    pub(super) async fn is_closed(&mut self) -> bool {
        self.answer().await.is_none()
    }

    /// How long it takes until the server closes. It must not say anything before.
    pub(super) async fn closed_after(&mut self) -> Duration {
        let began = Instant::now();
        assert!(self.is_closed().await);
        began.elapsed()
    }

    /// Sends one byte after the other, one every `pace`, until the server closes; how long that takes.
    pub(super) async fn drip(&mut self, bytes: &[u8], pace: Duration) -> Duration {
        let began = Instant::now();
        for &byte in bytes {
            self.send([byte]).await;
            if timeout(pace, self.is_closed()).await == Ok(true) {
                return began.elapsed();
            }
        }
        panic!("still open after {:?}", began.elapsed());
    }

    fn take_answer(&mut self) -> Option<Answer> {
        let end = self
            .read
            .windows(4)
            .position(|window| window == b"\r\n\r\n")?
            + 4;
        let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
        let status: u16 = head[9..12].parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
        };
        let length: usize = match status {
            100 => 0,
            _ if self.is_head => 0,
            _ => answer.header("content-length").unwrap().parse().unwrap(),
        };
        if self.read.len() < end + length {
            return None;
        }
        answer.body = self.read[end..end + length].to_vec();
        self.read.drain(..end + length);
        Some(answer)
    }
}
