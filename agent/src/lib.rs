//! The agent: one binary that scans the host, judges what it saw and serves the numbers.
//!
//! ```text
//! main ──▶ cli ──▶ commands ──▶ config ──▶ agent ──▶ judge ──▶ outputs
//! ```
//!
//! | module | part |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`commands`] | what each command does |
//! | [`config`] | the configuration: file, variables, defaults, and what is wrong with them |
//! | [`logging`] | the agent's own log |
//! | [`agent`] | threads and queues |
//! | [`reload`] | follows the configuration while the agent runs |
//! | [`control`] | the local socket by which the running agent is asked |
//! | [`explanation`] | why a process counts where it does |
//! | [`judge`] | one scan after the other: table, groups, collectors, registry |
//! | [`rights`] | what needs which right |
//! | [`own`] | the agent's own numbers |
//! | [`signals`] | how the system asks it to end or to reload |
//! | [`clock`] | the one place that reads the clock |
//! | [`outputs`] | where numbers leave the agent |
#![forbid(unsafe_code)]

pub mod agent;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
#[cfg(target_os = "linux")]
pub mod control;
pub mod explanation;
pub mod judge;
pub mod logging;
pub mod outputs;
pub mod own;
pub mod reload;
#[cfg(target_os = "linux")]
pub mod rights;
pub mod signals;

/// The version of the agent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The git revision this was built from, or `unknown`.
pub const REVISION: &str = env!("PROCAGENT_REVISION");
