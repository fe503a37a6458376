//! `concur-bridge health`

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::ConfigArgs;
use super::output::{block_on, complain, print, print_json};
use crate::exit::Exit;

/// How long a probe may take: health checks of containers give a few seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Ask a running bridge whether it is ready; exit 0 when it is, 1 otherwise. For health checks.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The admin port [default: that of the configuration].
    #[arg(long, value_name = "URL", value_parser = http_url)]
    url: Option<Url>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn run(args: Args) -> Exit {
    let base = match args.url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => match args.config.load() {
            Ok(config) => format!("http://{}", reachable(config.admin.listen)),
            Err(exit) => return exit,
        },
    };
    block_on(async move {
        match ask(&format!("{base}/readyz")).await {
            Ok((ready, body)) => {
                if !args.json {
                    print(&body.trim());
                } else if let Ok(body) = serde_json::from_str::<Value>(&body) {
                    print_json(&body);
                } else {
                    complain(&format_args!("{base} does not answer as a bridge does"));
                    return Exit::Failure;
                }
                if ready { Exit::Success } else { Exit::Failure }
            }
            Err(error) => {
                complain(&format_args!("{base} does not answer: {error}"));
                Exit::Failure
            }
        }
    })
}

fn http_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| ["http", "https"].contains(&url.scheme()))
        .ok_or_else(|| "not a URL such as http://127.0.0.1:8081".to_owned())
}

async fn ask(url: &str) -> reqwest::Result<(bool, String)> {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .build()?;
    let response = client.get(url).send().await?;
    Ok((response.status().is_success(), response.text().await?))
}

/// Where to reach a listener of this machine.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
