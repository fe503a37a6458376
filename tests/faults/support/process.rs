//! A child process under control: signals, exit code, memory, descriptors, what it writes.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::failure::{Doing, Failure, Outcome};
use super::wait;

/// A child that is killed when dropped. Its standard error goes to a file.
pub struct Process {
    id: u32,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, its output appended to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Outcome<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .doing(format!("starting {}", command.get_program().display()))?;
        Ok(Self {
            id: child.id(),
            child: Mutex::new(child),
            log: log.to_owned(),
        })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What it has written.
    pub fn output(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Where it writes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Outcome {
        let pid = i32::try_from(self.id())
            .ok()
            .and_then(Pid::from_raw)
            .doing("no process id")?;
        kill_process(pid, signal).doing(format!("sending {signal:?}"))
    }

    /// Whether SIGSTOP has stopped every thread of it. A thread may still be on its way after the signal was sent, and may
    /// have started another until it stops: only two looks that find the same threads, all stopped, are believed.
    pub fn is_stopped(&self) -> bool {
        let first = self.stopped_threads();
        first.is_some() && first == self.stopped_threads()
    }

    /// The ids of its threads; none when one of them is not stopped.
    fn stopped_threads(&self) -> Option<BTreeSet<String>> {
        let mut threads = BTreeSet::new();
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.id)).ok()? {
            let thread = thread.ok()?;
            let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
            // The name before the state may hold anything but stands in parentheses.
            if !stat.rsplit_once(") ")?.1.starts_with('T') {
                return None;
            }
            threads.insert(thread.file_name().to_string_lossy().into_owned());
        }
        (!threads.is_empty()).then_some(threads)
    }

    /// SIGSTOP, until every thread has stopped: from then on it writes nothing.
    pub fn stop_whole(&self, limit: Duration) -> Outcome {
        self.signal(Signal::STOP)?;
        self.wait_stopped(limit)
    }

    /// Waits until every thread has stopped.
    pub fn wait_stopped(&self, limit: Duration) -> Outcome {
        let what = format!("every thread of process {} to stop", self.id);
        wait::until(limit, &what, || {
            if let Some(status) = self.ended()? {
                return Err(Failure::broken(format!(
                    "ended by itself instead of being stopped, {status} (log: {})",
                    self.log.display()
                )));
            }
            Ok(self.is_stopped().then_some(()))
        })
    }

    /// SIGKILL, and the end.
    pub fn kill9(&mut self) -> Outcome {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// How it ended, if it did.
    pub fn ended(&self) -> Outcome<Option<ExitStatus>> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(child.try_wait()?)
    }

    /// Waits for its end and returns the exit code. Only a crash ends it by a signal, since nobody here has sent one.
    pub fn wait_exit(&self, limit: Duration) -> Outcome<i32> {
        let what = format!("process {} to end (log: {})", self.id, self.log.display());
        let status = wait::until(limit, &what, || self.ended())?;
        status.code().ok_or_else(|| {
            Failure::broken(format!(
                "ended by a signal, {status} (log: {})",
                self.log.display()
            ))
        })
    }

    /// Resident memory, in KiB.
    pub fn resident_kib(&self) -> Outcome<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse()
                    .ok()
            })
            .doing("no VmRSS")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A child that has ended already is no error.
        let _ = self.kill9();
    }
}

/// Runs a tool of the suite to its end and returns what it printed; a failure carries its standard error. Commands of the
/// bridge are run by [`Replica::run`](super::bridge::Replica::run).
pub fn run(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().doing(&name)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Failure::not_shown(format!(
        "{name} {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// Moves the real-time clock of a process that is yet to be started, by libfaketime. The monotonic clock stays: faking
/// it makes absolute sleeps fail with EINVAL, which no real clock does.
///
/// An artefact of libfaketime: it does not know C11's `cnd_timedwait`, through which librdkafka waits. Such a wait is
/// computed with the moved clock and sat out on the real one, so with a clock `n` hours ahead each lasts `n` hours longer
/// and nothing is published; with one behind each ends at once. A clock that is really wrong moves both alike.
pub fn shift_clock(command: &mut Command, by: &str) -> Outcome {
    let library = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
    ]
    .iter()
    .map(|dir| Path::new(dir).join("faketime/libfaketimeMT.so.1"))
    .find(|path| path.exists())
    .doing("libfaketime is missing; install it with: apt-get install -y faketime")?;
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", by)
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Ok(())
}
