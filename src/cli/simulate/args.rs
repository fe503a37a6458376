//! Arguments of `simulate`, and the simulator they ask for.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

use crate::concur::notifications::{Feature, Level};
use crate::simulator::{
    Certificates, Clock, Faults, ObjectBase, Salt, SigningKey, Simulator, Target, Topic, Trust,
};

/// Answers the subscription API, serves trips and travel profiles, and posts what happens to --target. Ends after --count, after --for, or at SIGINT or SIGTERM, with a summary on stdout. Exit code 0; 1 when nothing it
/// sent was ever answered; 2 for wrong usage.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Address of the APIs and resources; port 0 takes a free one, told on stderr
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The registered postback URL; a path secret is simply part of it, `user:password@` becomes HTTP basic
    #[arg(long, value_name = "URL", value_parser = Target::parse)]
    target: Option<Target>,
    /// The target takes ESS webhooks, not v1 postbacks
    #[arg(long, requires = "target", conflicts_with = "ess_target")]
    ess: bool,
    /// Send ESS webhooks there, besides what --target gets
    #[arg(long, value_name = "URL", value_parser = Target::parse)]
    ess_target: Option<Target>,
    /// File with `user:password` for HTTP basic, for both targets
    #[arg(long, value_name = "FILE")]
    basic_file: Option<PathBuf>,
    #[command(flatten)]
    identity: IdentityArgs,
    /// Postbacks a second; 0: as fast as they are taken
    #[arg(long, value_name = "N", default_value = "10", value_parser = rate)]
    rate: Rate,
    /// Postbacks in all; without it, until stopped
    #[arg(long, value_name = "N")]
    pub(super) count: Option<u64>,
    /// How long to run, e.g. 30s
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(super) run_for: Option<Duration>,
    /// What is subscribed to from the start; `none`: only what the subscription API is asked for
    #[arg(
        long,
        value_name = "TYPES",
        value_enum,
        value_delimiter = ',',
        default_value = "itinerary,fop,profile"
    )]
    types: Vec<TypeArg>,
    /// The level of what is subscribed to from the start
    #[arg(long, value_enum, default_value = "company")]
    level: LevelArg,
    /// Connections to the target, each with one request under way
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Tells the same story again, times included; without it each run differs
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Share of postbacks sent twice, byte for byte, e.g. 5%
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent, hide_default_value = true)]
    duplicate: f64,
    /// Share of postbacks got wrong, e.g. 1%
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent, hide_default_value = true)]
    malformed: f64,
    /// Share of postbacks whose body comes in drops; 10% when no number is given
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent, hide_default_value = true,
          num_args = 0..=1, default_missing_value = "10%", require_equals = true)]
    slow: f64,
    /// What the URLs of trips begin with; `self`: the simulator's own resources [default: Concur's]
    #[arg(long, value_name = "URL")]
    object_base: Option<String>,
    /// After --count, serve trips and profiles until --for or a signal
    #[arg(long)]
    pub(super) keep_serving: bool,
    /// Make and sign all of --count before the first is sent: signing costs more than sending
    #[arg(long, requires = "count")]
    prepare: bool,
    /// Print the summary, and on stderr the address, as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TypeArg {
    Itinerary,
    Fop,
    Profile,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LevelArg {
    Company,
    User,
    Both,
}

/// Who the simulator says it is, and whom it trusts.
#[derive(Debug, clap::Args)]
struct IdentityArgs {
    /// Private key, PEM, that signs ESS webhooks; made when there is none [default: a new one each run]
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
    /// Write the public key there, for the bridge's `auth.ess.keys`
    #[arg(long, value_name = "FILE")]
    write_signing_key: Option<PathBuf>,
    /// Salt of the signatures: as much as fits, or as long as the hash
    #[arg(long, value_enum, default_value = "maximum")]
    signature_salt: SaltArg,
    /// Send ESS webhooks without a signature
    #[arg(long, conflicts_with_all = ["signing_key", "write_signing_key"])]
    unsigned: bool,
    /// Directory with a throw-away authority, made when there is none: ca.pem; client.pem, Concur's name, to show to the
    /// bridge; server.pem and server.key, for the bridge's `ingress.tls`
    #[arg(long, value_name = "DIR")]
    mtls_dir: Option<PathBuf>,
    /// Authorities of the target's certificate, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    target_ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SaltArg {
    Maximum,
    Digest,
}

/// Postbacks a second; `None` is as fast as they are taken.
#[derive(Debug, Clone, Copy)]
struct Rate(Option<f64>);

impl Args {
    /// The simulator asked for; a fault in words when the arguments do not fit together or a file is not as it should be.
    pub(super) fn simulator(self) -> Result<Simulator, String> {
        let args = self;
        if args.types.contains(&TypeArg::None) && args.types.len() > 1 {
            return Err("--types none stands alone".to_owned());
        }
        let levels: &[Level] = match args.level {
            LevelArg::Company => &[Level::Company],
            LevelArg::User => &[Level::User],
            LevelArg::Both => &[Level::Company, Level::User],
        };
        let features: Vec<Feature> = args
            .types
            .iter()
            .filter_map(|kind| kind.feature())
            .collect();
        let basic = args.basic_file.as_deref().map(basic).transpose()?;
        let with_basic = |target: Target| match &basic {
            Some(credentials) => target.with_basic(credentials.as_bytes()),
            None => target,
        };
        let target = args.target.map(with_basic);
        let (target, ess_target) = if args.ess {
            (None, target)
        } else {
            (target, args.ess_target.map(with_basic))
        };
        let made_up = jiff::civil::datetime(2026, 1, 5, 8, 0, 0, 0);
        Ok(Simulator {
            listen: Some(args.listen),
            target,
            subscribed: levels
                .iter()
                .flat_map(|level| features.iter().map(|feature| (*level, *feature)))
                .collect(),
            ess_target,
            ess_topics: args
                .types
                .iter()
                .flat_map(|kind| kind.topics())
                .copied()
                .collect(),
            signing: args.identity.signing()?,
            trust: args.identity.trust()?,
            rate: args.rate.0,
            count: args.count,
            prepare: args.prepare,
            connections: usize::from(args.connections),
            clock: if args.seed.is_some() {
                Clock::MadeUp(made_up)
            } else {
                Clock::Wall
            },
            faults: Faults {
                duplicate: args.duplicate,
                malformed: args.malformed,
                slow: args.slow,
            },
            object_base: match args.object_base.as_deref() {
                None => ObjectBase::Concur,
                Some("self") => ObjectBase::Own,
                Some(url) => ObjectBase::Url(url.trim_end_matches('/').to_owned()),
            },
            ..Simulator::new(args.seed.unwrap_or_else(rand::random))
        })
    }
}

/// The first `user:password` of a file.
fn basic(file: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| line.contains(':') && !line.starts_with('#'));
    line.map(str::to_owned)
        .ok_or_else(|| format!("{}: no user:password", file.display()))
}

impl IdentityArgs {
    fn signing(&self) -> Result<Option<SigningKey>, String> {
        if self.unsigned {
            return Ok(None);
        }
        let salt = match self.signature_salt {
            SaltArg::Maximum => Salt::Maximum,
            SaltArg::Digest => Salt::Digest,
        };
        let key = match &self.signing_key {
            Some(file) => SigningKey::open(file, salt),
            None => SigningKey::generate(salt),
        };
        let key = key.map_err(|error| error.to_string())?;
        if let Some(file) = &self.write_signing_key {
            let pem = key.public_pem().map_err(|error| error.to_string())?;
            std::fs::write(file, pem).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(Some(key))
    }

    fn trust(&self) -> Result<Trust, String> {
        let certificates = self
            .mtls_dir
            .as_deref()
            .map(Certificates::open)
            .transpose()
            .map_err(|error| error.to_string())?;
        Ok(Trust {
            authorities: self.target_ca.clone(),
            certificates,
        })
    }
}

impl TypeArg {
    fn feature(self) -> Option<Feature> {
        match self {
            Self::Itinerary => Some(Feature::Itinerary),
            Self::Fop => Some(Feature::Fop),
            Self::Profile => Some(Feature::Profile),
            Self::None => None,
        }
    }

    /// The topics of ESS that tell the same; there is none of payments.
    fn topics(self) -> &'static [Topic] {
        match self {
            Self::Itinerary => &[Topic::Itinerary],
            Self::Profile => &[Topic::TravelProfile, Topic::Identity],
            Self::Fop | Self::None => &[],
        }
    }
}

fn rate(text: &str) -> Result<Rate, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Ok(Rate(None)),
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(Rate(Some(rate))),
        _ => Err("not a number of postbacks a second".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    text.trim_end_matches('%')
        .parse::<f64>()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "not a percentage such as 5%".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "not a duration such as 30s".to_owned())?;
    Duration::try_from(signed).map_err(|_| "must not be negative".to_owned())
}
