//! The configuration: what the agent is told, checked and complete.
//!
//! It comes in layers, each laid over the one before: defaults, `PROCAGENT_*` variables, the file, the command
//! line. Whatever is wrong is a [`ConfigError`] that says where and what would be right.
//!
//! | module | part |
//! |---|---|
//! | [`layer`] | the keys, all of them optional, and what they may hold |
//! | [`mod@load`] | finds the file and lays the layers over each other |
//! | `yaml` | the one place that knows the YAML library |
//! | `follow` | key paths and `${NAME}` on the way from YAML to types |
//! | [`variables`] | the environment |
//! | [`error`], `snippet` | what is shown to people |

pub mod error;
mod follow;
pub mod layer;
pub mod load;
pub mod rules;
mod snippet;
pub mod variables;
mod yaml;

pub use error::ConfigError;
pub use load::{Loaded, Request, load};
pub use rules::CheckedRule;
pub use variables::Variables;

use clap::ValueEnum;
use procagent_core::group::{self, Label, Unmatched};
use procagent_core::switch::Switch;
use serde::Deserialize;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything the agent is told. The names are those of the file's keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Time between two scans; at least 10 ms.
    pub interval: Duration,
    /// What reads the processes.
    pub source: SourceChoice,
    /// Ended processes kept for ancestry.
    pub remember: usize,
    /// The host.
    pub host: Host,
    /// Groups of processes.
    pub groups: Groups,
    /// Settings of collectors.
    pub collectors: procagent_collectors::Settings,
    /// Where numbers go.
    pub outputs: Outputs,
    /// The agent's own log.
    pub log: Log,
}

/// What reads the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceChoice {
    /// The first that works.
    Auto,
    /// `/proc`.
    Procfs,
    /// The crate `sysinfo`, in builds with the feature `portable`.
    Portable,
}

/// The host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Where its `/proc` and `/sys` are found.
    pub root: PathBuf,
    /// Descriptors of `/proc` kept open at most; 0 keeps none.
    pub descriptors: usize,
}

/// Groups of processes.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// Labels on top of the name.
    pub labels: Vec<Label>,
    /// At most this many; the smallest others fold into `other`.
    pub limit: usize,
    /// One without members for this long ends, unless it is expected.
    pub forget: Duration,
    /// Where processes go that no rule matches.
    pub unmatched: Unmatched,
    /// Those of the file, then those of its presets. The first that matches holds.
    pub rules: Vec<CheckedRule>,
    /// When an expected group has failed.
    pub health: Health,
}

impl Groups {
    /// The same in the words of the core.
    pub fn settings(&self) -> group::Settings {
        group::Settings {
            rules: self.rules.iter().map(|checked| checked.rule().clone()).collect(),
            labels: self.labels.clone(),
            limit: self.limit,
            forget: self.forget.into(),
            unmatched: self.unmatched,
            health: group::Health { every: self.health.every.into(), retries: self.health.retries },
        }
    }
}

/// When an expected group has failed, and what then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// A period.
    pub every: Duration,
    /// A group that has had no member in so many periods, one after the other, has failed.
    pub retries: u32,
    /// The agent ends then, with exit code 1.
    pub exit_on_failed: bool,
}

/// Where numbers go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// Series in all, at most.
    pub series_limit: usize,
    /// The web server with `/metrics`.
    pub prometheus: Switch<Prometheus>,
    /// The local socket by which the running agent is asked.
    pub control: Control,
}

/// The local socket by which the running agent is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// In the folder for files of running services.
    Usual,
    /// At this path.
    At(PathBuf),
    /// None.
    Off,
}

/// The web server with `/metrics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// Where it listens. Port 0 is any free port; the log names it.
    pub listen: SocketAddr,
}

/// The agent's own log, on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// What is worth a line.
    pub level: Level,
    /// How lines look.
    pub format: LogFormat,
}

/// What is worth a line in the log: this and all that is graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What does not work.
    Error,
    /// What may surprise.
    Warn,
    /// What happens.
    Info,
    /// What helps to find faults.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn parse(text: &str) -> Result<Level, String> {
        <Level as ValueEnum>::from_str(text, false).map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            format!("`{shown}` is no log level: write error, warn, info, debug or trace")
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        })
    }
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            interval: Duration::from_secs(5),
            source: SourceChoice::Auto,
            remember: 10_000,
            host: Host { root: PathBuf::from("/"), descriptors: 4096 },
            groups: Groups::default(),
            collectors: procagent_collectors::Settings::default(),
            outputs: Outputs {
                series_limit: 50_000,
                prometheus: Switch::On(Prometheus::default()),
                control: Control::Usual,
            },
            log: Log { level: Level::Info, format: LogFormat::Text },
        }
    }
}

impl Default for Groups {
    fn default() -> Groups {
        Groups {
            labels: Vec::new(),
            limit: 500,
            forget: Duration::from_secs(3600),
            unmatched: Unmatched::Name,
            rules: Vec::new(),
            health: Health::default(),
        }
    }
}

impl Default for Health {
    fn default() -> Health {
        Health { every: Duration::from_secs(10), retries: 10, exit_on_failed: false }
    }
}

impl Default for Prometheus {
    fn default() -> Prometheus {
        Prometheus { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9257)) }
    }
}
