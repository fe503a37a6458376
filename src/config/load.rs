//! Where the configuration comes from: one file, and variables that override it key by key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::reader::{Fault, Faults, Section};
use super::{Config, sections};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "concur-bridge.toml";

/// What every variable starts with.
const PREFIX: &str = "CONCUR_BRIDGE_";

/// The keys that are in no section.
const ALONE: [&str; 2] = ["INSTANCE", "SUBSCRIPTIONS"];

/// Everything that is wrong with the configuration. Exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<Fault>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the configuration has {} fault{}:",
            self.0.len(),
            if self.0.len() == 1 { "" } else { "s" }
        )?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl Config {
    /// Reads the file, or `./concur-bridge.toml` when none is named and it exists, and the process's environment.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_and(file, |_| Vec::new())
    }

    /// The same. Only when there are faults, `further` adds those that it finds in what could be read, so that all are told
    /// at once. What could not be read has its default there.
    ///
    /// # Errors
    /// As there.
    pub fn load_and(
        file: Option<&Path>,
        further: impl FnOnce(&Self) -> Vec<Fault>,
    ) -> Result<Self, ConfigError> {
        let named = file.map(Path::to_owned);
        let file = named.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()));
        let text = match &file {
            Some(path) => std::fs::read_to_string(path).map_err(|error| {
                ConfigError(vec![Fault {
                    key: String::new(),
                    what: format!("{}: {error}", path.display()),
                }])
            })?,
            None => String::new(),
        };
        // A variable whose name or value is not UTF-8 cannot be one of ours.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::parse_and(&text, environment, further)
    }

    /// Reads a file's text and an environment.
    ///
    /// # Errors
    /// Every fault at once; a text that is no TOML is one.
    pub fn parse(
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::parse_and(text, environment, |_| Vec::new())
    }

    fn parse_and(
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
        further: impl FnOnce(&Self) -> Vec<Fault>,
    ) -> Result<Self, ConfigError> {
        let mut table: Table = toml::from_str(text).map_err(|error| {
            ConfigError(vec![Fault {
                key: String::new(),
                what: format!("not TOML: {}", first_lines(&error.to_string())),
            }])
        })?;
        let mut from_environment = BTreeMap::new();
        let mut misnamed = Vec::new();
        // By name: whatever stands for a whole comes before its parts.
        let environment: BTreeMap<String, String> = environment.collect();
        for (name, value) in environment {
            let Some(path) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if path.contains("__") || ALONE.contains(&path) {
                let keys: Vec<_> = path.split("__").map(str::to_ascii_lowercase).collect();
                from_environment.insert(keys.join("."), name.clone());
                if !overlay(&mut table, &keys, value) {
                    let what = "names a key within something that has none".to_owned();
                    misnamed.push((name, what));
                }
            } else if is_section(path) {
                let what = format!("names a section, not a key: {PREFIX}{path}__ and the key");
                misnamed.push((name.clone(), what));
            } else if let Some((section, key)) = split_section(path) {
                let what = format!(
                    "names no key: the parts of a key are joined by two underscores, {PREFIX}{section}__{key}"
                );
                misnamed.push((name.clone(), what));
            }
        }
        let faults = Faults::new(from_environment);
        for (name, what) in misnamed {
            faults.add(name, what);
        }
        let mut root = Section::root(table, &faults);
        let config = sections::read(&mut root);
        root.finish();
        let mut found = faults.into_vec();
        if found.is_empty() {
            return Ok(config);
        }
        found.extend(further(&config));
        found.sort();
        Err(ConfigError(found))
    }
}

/// Whether a variable names a section as a whole.
fn is_section(path: &str) -> bool {
    sections::NAMES
        .iter()
        .any(|name| path.eq_ignore_ascii_case(name))
}

/// The section and key of a variable whose parts were joined by one underscore. Orchestrators set variables of other
/// forms for a service named like the bridge (`CONCUR_BRIDGE_SERVICE_HOST`, `CONCUR_BRIDGE_PORT`): those are not ours.
fn split_section(path: &str) -> Option<(&str, &str)> {
    sections::NAMES.iter().find_map(|name| {
        let (section, rest) = path.split_at_checked(name.len())?;
        let key = rest.strip_prefix('_')?;
        section.eq_ignore_ascii_case(name).then_some((section, key))
    })
}

/// Puts a value into its place. Whether there is one: a key within a list or a number has none.
fn overlay(table: &mut Table, keys: &[String], value: String) -> bool {
    match keys {
        [] => false,
        [key] => {
            table.insert(key.clone(), Value::String(value));
            true
        }
        [key, rest @ ..] => {
            let nested = table
                .entry(key.clone())
                .or_insert_with(|| Value::Table(Table::new()));
            match nested {
                Value::Table(nested) => overlay(nested, rest, value),
                _ => false,
            }
        }
    }
}

/// The parser's place and sentence, without the line it quotes: that line may hold a password.
fn first_lines(message: &str) -> String {
    let mut lines = message.lines();
    let place = lines.next().unwrap_or_default();
    let what = lines
        .rfind(|line| !line.trim_start().starts_with(['|', '^']) && !line.contains(" | "))
        .unwrap_or_default();
    format!("{place}: {what}")
}
