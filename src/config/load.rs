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
        Self::parse(&text, environment)
    }

    /// Reads a file's text and an environment.
    ///
    /// # Errors
    /// Every fault at once; a text that is no TOML is one.
    pub fn parse(
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut table: Table = toml::from_str(text).map_err(|error| {
            ConfigError(vec![Fault {
                key: String::new(),
                what: format!("not TOML: {}", first_lines(&error.to_string())),
            }])
        })?;
        let mut from_environment = BTreeMap::new();
        let mut misnamed = Vec::new();
        for (name, value) in environment {
            let Some(path) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if path.contains("__") || path == "INSTANCE" {
                let keys: Vec<_> = path.split("__").map(str::to_ascii_lowercase).collect();
                from_environment.insert(keys.join("."), name.clone());
                overlay(&mut table, &keys, value);
            } else if let Some((section, key)) = split_section(path) {
                misnamed.push((name.clone(), format!("{PREFIX}{section}__{key}")));
            }
        }
        let faults = Faults::new(from_environment);
        for (name, meant) in misnamed {
            faults.add(
                name,
                format!("names no key: the parts of a key are joined by two underscores, {meant}"),
            );
        }
        let mut root = Section::root(table, &faults);
        let config = sections::read(&mut root);
        root.finish();
        let mut found = faults.into_vec();
        if found.is_empty() {
            return Ok(config);
        }
        found.sort();
        Err(ConfigError(found))
    }
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

fn overlay(table: &mut Table, keys: &[String], value: String) {
    match keys {
        [] => {}
        [key] => {
            table.insert(key.clone(), Value::String(value));
        }
        [key, rest @ ..] => {
            let nested = table
                .entry(key.clone())
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(nested) = nested {
                overlay(nested, rest, value);
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
