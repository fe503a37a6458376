//! The real binary as a process of its own, on free ports, in a directory of its own, with nobody where Kafka should be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::wait::{patience, wait_for};

/// How long anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where nobody listens: port 1 of loopback is never handed out.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

/// A directory with a journal and keys, and the variables that lead there.
pub(crate) struct Home {
    pub(crate) dir: TempDir,
    variables: Vec<(String, String)>,
}

/// `serve`, ready.
pub(crate) struct Bridge {
    child: Child,
    log: PathBuf,
    pub(crate) ready: Value,
}

/// An answer read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Home {
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let mut variables: Vec<(String, String)> = [
            ("INGRESS__LISTEN", "127.0.0.1:0".to_owned()),
            ("ADMIN__LISTEN", "127.0.0.1:0".to_owned()),
            ("JOURNAL__DIR", path("journal")),
            ("TOKENS__KEY_FILE", path("keys/token.key")),
            ("TOKENS__FINGERPRINT_KEY_FILE", path("keys/fingerprint.key")),
            ("KAFKA__BROKERS", NOBODY.to_owned()),
            ("LOG__FORMAT", "json".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        variables.extend(
            settings
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        Self { dir, variables }
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    /// The binary with these arguments, in this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_concur-bridge"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        for (key, value) in &self.variables {
            command.env(format!("CONCUR_BRIDGE_{key}"), value);
        }
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command that succeeds prints, one JSON document a line.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Starts `serve` and waits until it is ready.
    pub(crate) fn serve(&self) -> Bridge {
        self.serve_with(&[])
    }

    /// The same with further arguments.
    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Bridge {
        let log = self.dir.path().join("log");
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let already = std::fs::read_to_string(&log).unwrap().lines().count();
        let mut child = self
            .command(&["serve"])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        let ready = until("ready", || {
            assert!(
                child.try_wait().unwrap().is_none(),
                "{}",
                std::fs::read_to_string(&log).unwrap()
            );
            let text = std::fs::read_to_string(&log).unwrap();
            text.lines()
                .skip(already)
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|line| line["message"] == "ready")
        });
        Bridge { child, log, ready }
    }
}

impl Bridge {
    pub(crate) fn ingress(&self) -> SocketAddr {
        self.ready["ingress"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.ready["admin"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Posts a body to the ingress.
    pub(crate) fn post(&self, target: &str, headers: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: bridge\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
            body.len()
        );
        exchange(self.ingress(), &[head.as_bytes(), body].concat())
    }

    /// Asks the admin port.
    pub(crate) fn ask(&self, path: &str, headers: &str) -> Answer {
        let admin = self.admin();
        exchange(
            admin,
            format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n{headers}\r\n")
                .as_bytes(),
        )
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn stop(mut self) -> i32 {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        until("the end", || self.child.try_wait().unwrap())
            .code()
            .unwrap()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends bytes and reads the answer to the end of the connection.
pub(crate) fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(patience(PATIENCE))).unwrap();
    exchange_over(stream, request)
}

/// The same on a connection that is there.
pub(crate) fn exchange_over(mut stream: impl Read + Write, request: &[u8]) -> Answer {
    // A server that refuses before the body is read may close before all of it is written.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Looks until there is a value.
pub(crate) fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_for(what, PATIENCE, look)
}

/// Every byte of every file below a directory.
pub(crate) fn all_bytes(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() {
            all_bytes(&path)
        } else {
            std::fs::read(&path).unwrap()
        });
    }
    bytes
}
