//! The command line.

use crate::config::{Level, Request, layer};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `0.1.0 (revision 0123456789ab)`.
const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (revision ", env!("PROCAGENT_REVISION"), ")");

/// Watches every process of this host and exports what they use to Prometheus
#[derive(Debug, Parser)]
#[command(
    name = "procagent",
    version = LONG_VERSION,
    args_conflicts_with_subcommands = true,
    after_help = "Without --config, /etc/procagent/agent.yaml is read if there is one.\n\
                  Exit codes: 0 done or stopped by a signal; 1 failed at run time, such as a port that is taken or\n\
                  an unreadable /proc; 2 wrong configuration or usage."
)]
pub struct Cli {
    /// What to do; without a command, run.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run.
    #[command(flatten)]
    pub run: Run,
}

/// How to run.
#[derive(Debug, Args)]
pub struct Run {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Scan once, print the page to standard output, and exit
    #[arg(long)]
    pub once: bool,
    /// Address and port of /metrics, such as 127.0.0.1:9257
    #[arg(long, value_name = "ADDRESS", value_parser = layer::parse_address)]
    pub listen: Option<SocketAddr>,
    /// Time between two scans, such as 5s
    #[arg(long, value_name = "DURATION", value_parser = layer::parse_interval)]
    pub interval: Option<Duration>,
    /// Where the host's /proc and /sys are found
    #[arg(long, value_name = "FOLDER", value_parser = layer::parse_root)]
    pub host_root: Option<PathBuf>,
    /// What is worth a line in the log
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<Level>,
    /// The same as --log-level debug
    #[arg(long, conflicts_with = "log_level")]
    pub debug: bool,
}

impl Run {
    /// What it says about the configuration.
    pub fn request(&self) -> Request {
        Request {
            file: self.config.clone(),
            interval: self.interval,
            listen: self.listen,
            host_root: self.host_root.clone(),
            log_level: if self.debug { Some(Level::Debug) } else { self.log_level },
        }
    }
}

/// What to do besides running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print or check a configuration
    Config {
        /// Which.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Say which group a process counts in, and why; asks the running agent
    #[cfg(target_os = "linux")]
    Explain(Explain),
    /// Say what can be read on this host by this user, what not, and what would help
    #[cfg(target_os = "linux")]
    Doctor(Doctor),
    /// Print all metrics that there can be, with their labels and what they mean
    Metrics {
        /// How to print them
        #[arg(long, value_enum, default_value = "text")]
        format: CatalogueFormat,
    },
}

/// Commands about configurations.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the default configuration with an explanation of every key
    Init,
    /// Say whether a configuration file is right, and what is wrong with it
    Check {
        /// The file
        file: PathBuf,
        /// Only check; do not try it out on this host
        #[arg(long)]
        no_scan: bool,
    },
}

/// Which process to explain, and how.
#[derive(Debug, Args)]
pub struct Explain {
    /// Number of the process
    pub pid: u32,
    /// Control socket of the agent to ask; without it the one that the configuration names
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Configuration file, of which the socket and, where no agent runs, the rules are taken
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// What to look at, and how to print it.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the host's /proc and /sys are found
    #[arg(long, value_name = "FOLDER", value_parser = layer::parse_root)]
    pub host_root: Option<PathBuf>,
    /// Print the report for programs
    #[arg(long)]
    pub json: bool,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// How the catalogue of metrics is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CatalogueFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For the README
    Markdown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
