//! Files that are read again when they change: secrets, keys, certificates.
//!
//! **What it does.** [`Reloader::watch`] reads a value now and remembers how; [`Reloader::run`] looks at the files once a
//! second (modification time, inode, size: what a rename, a rewrite or a Kubernetes secret's symlink swap changes) and
//! reads what changed. Whoever holds the [`Live`] value gets the new one at its next [`Live::get`]; nothing is
//! interrupted.
//!
//! **When it fails.** At start a file that makes no sense is a [`LoadError`]. Later the old value stays in force,
//! `concur_bridge_reload_failed{what}` is 1 and an error is logged, until the file makes sense again. A file that
//! changes while it is being read is read again at the next look, since its stamp is taken first.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Why a file cannot serve. The text names the file and quotes nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {file}: {reason}")]
pub struct LoadError {
    /// What the file is for.
    pub what: &'static str,
    /// The file.
    pub file: String,
    /// What is wrong.
    pub reason: String,
}

/// A value that follows its file.
pub struct Live<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Live<T> {
    /// A value without a file.
    pub fn fixed(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// The value in force.
    pub fn get(&self) -> Arc<T> {
        match self.0.read() {
            Ok(value) => Arc::clone(&value),
            // A writer only swaps a pointer: the value is whole even if its thread panicked.
            Err(poisoned) => Arc::clone(&poisoned.into_inner()),
        }
    }

    fn set(&self, value: T) {
        let value = Arc::new(value);
        match self.0.write() {
            Ok(mut slot) => *slot = value,
            Err(poisoned) => *poisoned.into_inner() = value,
        }
    }
}

/// All files that are watched.
#[derive(Default)]
pub struct Reloader {
    entries: Vec<Entry>,
}

struct Entry {
    what: &'static str,
    paths: Vec<PathBuf>,
    seen: Vec<Option<Stamp>>,
    reload: Box<dyn Fn() -> Result<(), LoadError> + Send + Sync>,
    reloads: Counter,
    failed: Gauge,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Reloader {
    /// Reads a value from `paths` with `load`, now and whenever one of them changes. `what` is a metric label: a word
    /// for the kind of file, from the source code.
    ///
    /// # Errors
    /// What `load` says now; later it is logged and the old value stays.
    pub fn watch<T, F>(
        &mut self,
        what: &'static str,
        paths: &[PathBuf],
        load: F,
    ) -> Result<Live<T>, LoadError>
    where
        T: Send + Sync + 'static,
        F: Fn() -> Result<T, LoadError> + Send + Sync + 'static,
    {
        let seen = stamps(paths);
        let live = Live::fixed(load()?);
        let slot = live.clone();
        let failed = gauge!("concur_bridge_reload_failed", "what" => what);
        failed.set(0.0);
        self.entries.push(Entry {
            what,
            paths: paths.to_vec(),
            seen,
            reload: Box::new(move || load().map(|value| slot.set(value))),
            reloads: counter!("concur_bridge_reloads_total", "what" => what),
            failed,
        });
        Ok(live)
    }

    /// [`Reloader::watch`] for one file of text.
    ///
    /// # Errors
    /// As there; `parse` must quote nothing of the text.
    pub fn text<T: Send + Sync + 'static>(
        &mut self,
        what: &'static str,
        path: &Path,
        parse: fn(&str) -> Result<T, String>,
    ) -> Result<Live<T>, LoadError> {
        let file = path.to_owned();
        self.watch(what, &[path.to_owned()], move || {
            let text = read(what, &file)?;
            let text =
                std::str::from_utf8(&text).map_err(|_| error_in(what, &file, "it is not UTF-8"))?;
            parse(text).map_err(|reason| error_in(what, &file, reason))
        })
    }

    /// Follows the files until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            // Reading a few small files is nothing a worker thread should wait for: they may be on a network.
            let looked = tokio::task::spawn_blocking(move || {
                self.look();
                self
            });
            match looked.await {
                Ok(reloader) => self = reloader,
                Err(lost) => {
                    error!(error = %lost, "files are no longer read again when they change");
                    return;
                }
            }
        }
    }

    /// One look at every file.
    pub fn look(&mut self) {
        for entry in &mut self.entries {
            entry.look();
        }
    }
}

impl Entry {
    fn look(&mut self) {
        let stamps = stamps(&self.paths);
        if stamps == self.seen {
            return;
        }
        self.seen = stamps;
        match (self.reload)() {
            Ok(()) => {
                self.reloads.increment(1);
                self.failed.set(0.0);
                info!(what = self.what, "reloaded");
            }
            Err(failure) => {
                self.failed.set(1.0);
                error!(what = self.what, error = %failure, "not reloaded, the old one stays in force");
            }
        }
    }
}

/// The bytes of a watched file.
///
/// # Errors
/// [`LoadError`] with what the system said.
pub fn read(what: &'static str, path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, LoadError> {
    fs::read(path)
        .map(zeroize::Zeroizing::new)
        .map_err(|error| error_in(what, path, error.to_string()))
}

/// A [`LoadError`] about `path`.
pub fn error_in(what: &'static str, path: &Path, reason: impl Into<String>) -> LoadError {
    LoadError {
        what,
        file: path.display().to_string(),
        reason: reason.into(),
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    paths
        .iter()
        .map(|path| {
            let meta = fs::metadata(path).ok()?;
            Some(Stamp {
                device: meta.dev(),
                inode: meta.ino(),
                bytes: meta.size(),
                modified: (meta.mtime(), meta.mtime_nsec()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_an_invalid_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        fs::write(&path, "1").unwrap();
        let mut reloader = Reloader::default();
        let parse = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
        let live = reloader.text("number", &path, parse).unwrap();
        assert_eq!(*live.get(), 1);

        let aside = dir.path().join("aside");
        for (text, expected) in [("22", 22), ("nonsense", 22), ("3", 3)] {
            fs::write(&aside, text).unwrap();
            fs::rename(&aside, &path).unwrap();
            reloader.look();
            assert_eq!(*live.get(), expected, "{text}");
        }
        fs::remove_file(&path).unwrap();
        reloader.look();
        assert_eq!(*live.get(), 3);
    }

    #[test]
    fn a_file_that_cannot_be_read_again_raises_the_alarm_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets");
        fs::write(&path, "1").unwrap();
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let rendered = recorder.handle();
        let mut reloader = Reloader::default();
        metrics::with_local_recorder(&recorder, || {
            reloader.text("secrets", &path, |text| {
                text.parse::<u32>().map_err(|_| String::new())
            })
        })
        .unwrap();
        for (text, failed) in [("x", 1), ("xx", 1), ("2", 0)] {
            fs::write(&path, text).unwrap();
            fs::File::open(&path)
                .unwrap()
                .set_modified(
                    std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(text.len() as u64),
                )
                .unwrap();
            reloader.look();
            let line = format!(r#"concur_bridge_reload_failed{{what="secrets"}} {failed}"#);
            assert!(
                rendered.render().contains(&line),
                "{text}: {}",
                rendered.render()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_followed_until_told_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        fs::write(&path, "1").unwrap();
        let mut reloader = Reloader::default();
        let live = reloader
            .text("number", &path, |text| {
                text.parse::<u32>().map_err(|_| String::new())
            })
            .unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(reloader.run(stop.clone()));
        fs::write(&path, "22").unwrap();
        // The clock stands still while the files are looked at.
        tokio::time::sleep(INTERVAL * 2).await;
        assert_eq!(*live.get(), 22);
        stop.cancel();
        running.await.unwrap();
    }

    #[test]
    fn at_start_a_file_that_makes_no_sense_is_an_error() {
        let missing = Path::new("/nonexistent/secrets");
        let result = Reloader::default().text("secrets", missing, |text| Ok(text.to_owned()));
        assert_eq!(result.err().map(|error| error.what), Some("secrets"));
    }
}
