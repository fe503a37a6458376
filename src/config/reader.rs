//! Takes typed values out of a TOML table and collects every fault on the way.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::{Table, Value};

use super::units::{parse_duration, parse_size};

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The key, `section.key`; empty for the file as a whole.
    pub key: String,
    /// What is wrong and what would be right.
    pub what: String,
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            f.write_str(&self.what)
        } else {
            write!(f, "{}: {}", self.key, self.what)
        }
    }
}

/// Faults found so far, and which keys the environment set.
#[derive(Default)]
pub(super) struct Faults {
    found: RefCell<Vec<Fault>>,
    from_environment: BTreeMap<String, String>,
}

impl Faults {
    pub(super) fn new(from_environment: BTreeMap<String, String>) -> Self {
        Self {
            found: RefCell::default(),
            from_environment,
        }
    }

    pub(super) fn add(&self, key: impl Into<String>, what: impl Into<String>) {
        let key = key.into();
        let mut what = what.into();
        if let Some(variable) = self.from_environment.get(&key) {
            what.push_str(&format!(" (from {variable})"));
        }
        self.found.borrow_mut().push(Fault { key, what });
    }

    pub(super) fn into_vec(self) -> Vec<Fault> {
        self.found.into_inner()
    }
}

/// One table, whose keys are taken out one by one; what is left at the end is unknown.
pub(super) struct Section<'a> {
    path: String,
    table: Table,
    asked: BTreeSet<&'static str>,
    faults: &'a Faults,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: Table, faults: &'a Faults) -> Self {
        Self {
            path: String::new(),
            table,
            asked: BTreeSet::new(),
            faults,
        }
    }

    /// A nested table; empty when absent.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let table = self.optional(key, "a table", |value| match value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        Section {
            path: self.name(key),
            table: table.unwrap_or_default(),
            asked: BTreeSet::new(),
            faults: self.faults,
        }
    }

    /// A nested table, if it is there.
    pub(super) fn optional_section(&mut self, key: &'static str) -> Option<Section<'a>> {
        self.asked.insert(key);
        self.table.contains_key(key).then(|| self.section(key))
    }

    /// An array of tables; empty when absent.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let tables = self.optional(key, "an array of tables", |value| match value {
            Value::Array(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::Table(table) => Some(table),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>(),
            _ => None,
        });
        let path = self.name(key);
        let faults = self.faults;
        tables
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .map(|(index, table)| Section {
                path: format!("{path}[{index}]"),
                table,
                asked: BTreeSet::new(),
                faults,
            })
            .collect()
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<String> {
        self.optional(key, "a string", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.string(key).and_then(|text| {
            if text.is_empty() {
                self.fault(key, "names no file");
                return None;
            }
            Some(PathBuf::from(text))
        })
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        self.optional(key, "true or false", |value| value.as_bool())
    }

    /// A whole number within `range`.
    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        self.optional(key, &wanted, |value| {
            value.as_integer().filter(|number| range.contains(number))
        })
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.optional(
            key,
            "a duration such as \"250ms\", \"30s\" or \"24h\"",
            |value| parse_duration(value.as_str()?),
        )
    }

    pub(super) fn size(&mut self, key: &'static str) -> Option<u64> {
        self.optional(
            key,
            "a size such as \"256KiB\" or \"8GiB\"",
            |value| match value {
                Value::String(text) => parse_size(&text),
                Value::Integer(bytes) => u64::try_from(bytes).ok(),
                _ => None,
            },
        )
    }

    /// A word of a closed set.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<_> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        self.optional(key, &names.join(" or "), |value| {
            let text = value.as_str()?;
            words
                .iter()
                .find(|(word, _)| *word == text)
                .map(|&(_, meaning)| meaning)
        })
    }

    /// Text that a type can be parsed from.
    pub(super) fn parsed<T: FromStr>(&mut self, key: &'static str, wanted: &str) -> Option<T> {
        self.optional(key, wanted, |value| value.as_str()?.parse().ok())
    }

    /// A list of texts that a type can be parsed from.
    pub(super) fn list<T: FromStr>(&mut self, key: &'static str, wanted: &str) -> Option<Vec<T>> {
        let unfit: Vec<String> = match self.table.get(key) {
            Some(Value::Array(items)) => items
                .iter()
                .filter(|item| item.as_str().is_none_or(|text| text.parse::<T>().is_err()))
                .map(Value::to_string)
                .collect(),
            _ => Vec::new(),
        };
        if !unfit.is_empty() {
            self.asked.insert(key);
            self.table.remove(key);
            self.fault(
                key,
                format!("expected {wanted}, found in it {}", unfit.join(", ")),
            );
            return None;
        }
        self.optional(key, wanted, |value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.as_str()?.parse().ok())
                .collect()
        })
    }

    /// A table from text to text; numbers and booleans are taken as they are written.
    pub(super) fn map(&mut self, key: &'static str) -> Option<BTreeMap<String, String>> {
        self.optional(key, "a table of strings", |value| match value {
            Value::Table(table) => table
                .into_iter()
                .map(|(name, value)| {
                    let text = match value {
                        Value::String(text) => text,
                        Value::Integer(number) => number.to_string(),
                        Value::Boolean(truth) => truth.to_string(),
                        _ => return None,
                    };
                    Some((name, text))
                })
                .collect(),
            _ => None,
        })
    }

    /// Reports a fault of this section's `key`.
    pub(super) fn fault(&self, key: &str, what: impl Into<String>) {
        self.faults.add(self.name(key), what);
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let near = self.asked.iter().find(|known| near(known, key));
            let hint = near
                .map(|known| format!("; did you mean `{known}`?"))
                .unwrap_or_default();
            self.faults
                .add(self.name(key), format!("unknown key{hint}"));
        }
    }

    fn optional<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl Fn(Value) -> Option<T>,
    ) -> Option<T> {
        self.asked.insert(key);
        let value = self.table.remove(key)?;
        let shown = shown(key, &value);
        let read_as_written = read(value.clone());
        let result = match (read_as_written, &value) {
            (None, Value::String(text))
                if self.faults.from_environment.contains_key(&self.name(key)) =>
            {
                // A variable holds text; what is no text is written in it as TOML.
                toml::from_str::<Table>(&format!("value = {text}"))
                    .ok()
                    .and_then(|mut table| table.remove("value"))
                    .and_then(read)
            }
            (result, _) => result,
        };
        if result.is_none() {
            self.fault(key, format!("expected {wanted}, found {shown}"));
        }
        result
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// A value as a fault shows it; never one that may hold a password.
fn shown(key: &str, value: &Value) -> String {
    match value {
        Value::Table(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        _ if key == "properties" => "something else".to_owned(),
        other => other.to_string(),
    }
}

/// Whether two keys differ by one slip: a letter too many, too few, wrong, or two swapped.
fn near(known: &str, written: &str) -> bool {
    let (known, written) = (known.as_bytes(), written.as_bytes());
    let same_start = known
        .iter()
        .zip(written)
        .take_while(|(a, b)| a == b)
        .count();
    let rest = (&known[same_start..], &written[same_start..]);
    let same_end = rest
        .0
        .iter()
        .rev()
        .zip(rest.1.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let left = (rest.0.len() - same_end, rest.1.len() - same_end);
    matches!(left, (0..=1, 0..=1))
        || (left == (2, 2) && rest.0[0] == rest.1[1] && rest.0[1] == rest.1[0])
}
