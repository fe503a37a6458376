//! What is subscribed, compared with what ought to be.

use std::fmt;

use super::subscriptions::Subscription;
use crate::config;

/// One difference, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// It ought to be there.
    Missing(config::Subscription),
    /// It is there, but not as it ought to be.
    Different {
        /// How it ought to be.
        wanted: config::Subscription,
        /// How it is, field by field: name, value.
        actual: Vec<(&'static str, String)>,
    },
    /// It is there and nobody wants it.
    Unwanted {
        /// Its id.
        id: String,
    },
}

/// All differences: first what is wanted, in its order, then what is not.
pub fn compare(wanted: &[config::Subscription], actual: &[Subscription]) -> Vec<Drift> {
    let of_wanted = wanted.iter().filter_map(|wanted| {
        let Some(actual) = actual.iter().find(|actual| actual.id == wanted.id) else {
            return Some(Drift::Missing(wanted.clone()));
        };
        let fields = [
            ("topic", &*wanted.topic, &*actual.topic),
            ("filter", &wanted.filter, &actual.filter),
            ("endpoint", &wanted.endpoint, actual.endpoint()),
        ];
        let differing = fields
            .into_iter()
            .filter(|(_, wanted, actual)| wanted != actual);
        let differing: Vec<_> = differing
            .map(|(name, _, actual)| (name, actual.to_owned()))
            .collect();
        (!differing.is_empty()).then(|| Drift::Different {
            wanted: wanted.clone(),
            actual: differing,
        })
    });
    let is_wanted = |actual: &&Subscription| wanted.iter().any(|wanted| wanted.id == actual.id);
    let unwanted = actual
        .iter()
        .filter(|actual| !is_wanted(actual))
        .map(|actual| Drift::Unwanted {
            id: actual.id.clone(),
        });
    of_wanted.chain(unwanted).collect()
}

impl Drift {
    /// The arguments of `concur-bridge subscriptions` that mend it.
    pub fn mend(&self) -> Vec<String> {
        match self {
            Self::Missing(wanted) | Self::Different { wanted, .. } => [
                "put",
                "--id",
                &wanted.id,
                "--topic",
                &wanted.topic,
                "--filter",
                &wanted.filter,
                "--endpoint",
                &wanted.endpoint,
            ]
            .map(str::to_owned)
            .to_vec(),
            Self::Unwanted { id } => vec!["delete".to_owned(), id.clone()],
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(wanted) => write!(f, "{} is not subscribed", wanted.id),
            Self::Different { wanted, actual } => {
                write!(f, "{} differs:", wanted.id)?;
                actual
                    .iter()
                    .try_for_each(|(name, value)| write!(f, " {name} is {value:?}"))
            }
            Self::Unwanted { id } => write!(f, "{id} is subscribed, but not configured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::concur::subscriptions::WebHook;

    fn wanted(id: &str) -> config::Subscription {
        config::Subscription {
            id: id.into(),
            topic: "t".into(),
            filter: ".*".into(),
            endpoint: "https://x".into(),
        }
    }

    fn actual(id: &str) -> Subscription {
        let web_hook = Some(WebHook {
            endpoint: "https://x".into(),
        });
        Subscription {
            id: id.into(),
            topic: "t".into(),
            filter: ".*".into(),
            web_hook,
            others: Default::default(),
        }
    }

    #[test]
    fn what_is_as_wanted_is_no_drift() {
        assert_eq!(
            compare(&[wanted("a"), wanted("b")], &[actual("b"), actual("a")]),
            []
        );
    }

    #[test]
    fn every_difference_is_found_and_has_its_command() {
        let mut other = actual("b");
        (other.topic, other.web_hook) = ("u".into(), None);
        let drifts = compare(&[wanted("a"), wanted("b")], &[other, actual("c")]);
        let said: Vec<_> = drifts.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "a is not subscribed",
                r#"b differs: topic is "u" endpoint is """#,
                "c is subscribed, but not configured"
            ]
        );
        assert_eq!(
            drifts[0].mend().join(" "),
            "put --id a --topic t --filter .* --endpoint https://x"
        );
        assert_eq!(
            drifts[1].mend().join(" "),
            "put --id b --topic t --filter .* --endpoint https://x"
        );
        assert_eq!(drifts[2].mend(), ["delete", "c"]);
    }
}
