//! `concur-bridge tokens`

use std::io::{BufRead, Write};

use zeroize::Zeroizing;

use super::ConfigArgs;
use super::output::{complain, print, print_json};
use crate::exit::Exit;
use crate::secret::{KeySet, rotate_key_file};

/// Open sealed tokens, rotate the key that seals them.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Open compact JWEs, one a line on stdin, and print what was sealed, one a line on stdout.
    Decrypt {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print a JSON string a line.
        #[arg(long)]
        json: bool,
    },
    /// Put a new key in front of `tokens.key_file`: it seals from the next reload on, the old ones still open.
    /// A running bridge reloads by itself; copy the file to every replica and consumer first where they do not share it.
    Rotate {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: Command) -> Exit {
    match command {
        Command::Decrypt { config, json } => decrypt(&config, json),
        Command::Rotate { config, json } => rotate(&config, json),
    }
}

fn decrypt(config: &ConfigArgs, json: bool) -> Exit {
    let config = match config.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let keys = match KeySet::read(&config.tokens.key_file, false) {
        Ok(keys) => keys,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    let mut exit = Exit::Success;
    let mut stdout = std::io::stdout().lock();
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let opened = line.map_err(|error| error.to_string()).and_then(|line| {
            keys.open(line.trim().trim_matches('"'))
                .map_err(|error| error.to_string())
                .and_then(|plaintext| {
                    if json {
                        quoted(&plaintext)
                    } else {
                        Ok(plaintext)
                    }
                })
        });
        match opened {
            Ok(plaintext) => {
                let mut out = Zeroizing::new(plaintext.to_vec());
                out.push(b'\n');
                if stdout.write_all(&out).is_err() {
                    return exit;
                }
            }
            Err(error) => {
                complain(&format_args!("line {}: {error}", number + 1));
                exit = Exit::Failure;
            }
        }
    }
    exit
}

/// A plaintext as a JSON string.
fn quoted(plaintext: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = std::str::from_utf8(plaintext).map_err(|_| "it is not UTF-8, which JSON is")?;
    serde_json::to_vec(text)
        .map(Zeroizing::new)
        .map_err(|error| error.to_string())
}

fn rotate(config: &ConfigArgs, json: bool) -> Exit {
    let config = match config.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match rotate_key_file(&config.tokens.key_file) {
        Ok(kid) if json => {
            print_json(&serde_json::json!({ "kid": kid, "file": config.tokens.key_file }));
            Exit::Success
        }
        Ok(kid) => {
            print(&format_args!(
                "{}: key {kid} seals from now on",
                config.tokens.key_file.display()
            ));
            Exit::Success
        }
        Err(error) => {
            complain(&error);
            Exit::Usage
        }
    }
}
