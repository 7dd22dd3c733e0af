//! What the commands of the command line do, one a file.

pub mod config;
#[cfg(target_os = "linux")]
pub mod doctor;
#[cfg(target_os = "linux")]
pub mod explain;
pub mod metrics;
pub mod run;
#[cfg(target_os = "linux")]
mod text;

use crate::agent::AgentError;
use crate::config::ConfigError;
use serde::Serialize;
use std::fmt;
use std::io::{self, Write as _};

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is wrong.
    Config(ConfigError),
    /// The agent could not start or go on.
    Agent(AgentError),
    /// A question has no answer; why.
    Unanswered(String),
    /// Standard output does not take what is written to it.
    Output(io::Error),
}

impl Failure {
    /// The exit code, as `--help` documents it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Agent(_) | Failure::Unanswered(_) | Failure::Output(_) => 1,
            Failure::Config(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Config(error) => error.fmt(f),
            Failure::Agent(error) => error.fmt(f),
            Failure::Unanswered(why) => f.write_str(why),
            Failure::Output(error) => write!(f, "cannot write to standard output: {error}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Failures print their causes themselves; these are what lies below.
        match self {
            Failure::Config(error) => error.source(),
            Failure::Agent(error) => error.source(),
            Failure::Unanswered(_) | Failure::Output(_) => None,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Config(error)
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Failure {
        Failure::Agent(error)
    }
}

/// Prints a value as JSON for people who read it and programs alike.
fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let json =
        serde_json::to_string_pretty(value).map_err(|error| Failure::Output(io::Error::other(error)))?;
    print(&format!("{json}\n"))
}

/// Prints to standard output. A reader that has seen enough, as `head` does, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}
