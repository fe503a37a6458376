//! The files that the configuration names, looked at before anything is opened: every fault at once, nothing made.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::Mode;
use crate::config::{AcknowledgeAfter, Config, Fault};
use crate::console;
use crate::ingress;
use crate::journal::DATABASE;
use crate::reload::{LoadError, Reloader};
use crate::secret::KeySet;

/// Everything that is wrong with secrets, keys and certificates, as far as this mode needs them. Reads, makes and binds
/// nothing.
pub(crate) fn faults(config: &Config, mode: Mode) -> Vec<Fault> {
    let mut faults: Vec<LoadError> = key_files(config)
        .iter()
        .filter_map(|file| key_fault(file, may_make_keys(config)))
        .collect();
    faults.extend(config.admin.token_file.as_deref().and_then(|file| {
        Reloader::default()
            .text("admin_token", file, console::parse_tokens)
            .err()
    }));
    if mode == Mode::Serve {
        faults.extend(ingress::check(&config.ingress, &config.auth));
    }
    faults.into_iter().map(Fault::from).collect()
}

/// What an operator ought to know about the key files.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    if config.ingress.acknowledge_after == AcknowledgeAfter::Kafka {
        return Vec::new();
    }
    let journal = resolved(&config.journal.dir);
    let inside = key_files(config)
        .into_iter()
        .filter(|file| resolved(file).starts_with(&journal))
        .map(|file| {
            format!(
                "{} is inside journal.dir: one backup would hold both the sealed tokens and their key",
                file.display()
            )
        });
    let is_new = !config.journal.dir.join(DATABASE).exists();
    let missing = keys_to_make(config)
        .into_iter()
        .filter(|_| !is_new)
        .map(|file| {
            format!(
                "{} is missing beside a journal that is there, and is made anew: who holds the old key cannot use what is \
                 made with the new one; if there is a backup of it, stop and put it back",
                file.display()
            )
        });
    inside.chain(missing).collect()
}

/// The key files that the start of `serve` makes.
pub(crate) fn keys_to_make(config: &Config) -> Vec<&Path> {
    let mut files = key_files(config).to_vec();
    files.retain(|file| may_make_keys(config) && is_absent(file));
    files
}

/// Replicas without a disk share their keys: one that made its own would seal what nobody else opens.
pub(super) fn may_make_keys(config: &Config) -> bool {
    config.ingress.acknowledge_after == AcknowledgeAfter::Journal
}

/// The nearest of the directories above a path that is there, or what is there in its stead.
pub(crate) fn nearest_existing(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("/"))
        .to_owned()
}

/// Why nothing can be made in `parent`, if nothing can.
pub(crate) fn unwritable(parent: &Path) -> Option<String> {
    let reason = if !parent.is_dir() {
        "is not a directory"
    } else if rustix::fs::access(parent, rustix::fs::Access::WRITE_OK).is_err() {
        "cannot be written"
    } else {
        return None;
    };
    Some(format!("{} {reason}", parent.display()))
}

/// The place a path leads to, whether it is there already or will be made: absolute, links followed.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = path.ancestors().find_map(|ancestor| {
        let rest = path.strip_prefix(ancestor).ok()?;
        Some((ancestor.canonicalize().ok()?, rest))
    });
    let Some((mut real, rest)) = real else {
        return path;
    };
    for part in rest.components() {
        match part {
            Component::ParentDir => {
                real.pop();
            }
            part => real.push(part),
        }
    }
    real
}

fn key_files(config: &Config) -> [&Path; 2] {
    [&config.tokens.key_file, &config.tokens.fingerprint_key_file]
}

fn key_fault(file: &Path, may_make: bool) -> Option<LoadError> {
    const WHAT: &str = "token_keys";
    if !(may_make && is_absent(file)) {
        return KeySet::read(file, false)
            .err()
            .map(|error| error.into_load_error(WHAT));
    }
    let parent = nearest_existing(file.parent().unwrap_or(file));
    unwritable(&parent).map(|reason| LoadError {
        what: WHAT,
        file: file.display().to_string(),
        reason: format!("cannot be made: {reason}"),
    })
}

fn is_absent(file: &Path) -> bool {
    fs::metadata(file).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        Self {
            key: error.what.to_owned(),
            what: format!("{}: {}", error.file, error.reason),
        }
    }
}
