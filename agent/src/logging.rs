//! The agent's own log, on standard error.

use crate::config::{Level, Log, LogFormat};
use std::io::{self, IsTerminal as _};
use tracing_subscriber::filter::LevelFilter;

/// Starts the log for the rest of the process. Must be called once; a second call changes nothing.
pub fn start(log: Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(level >= LevelFilter::DEBUG);
    // Fails only where a log was started before.
    let _started_before = match log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
