//! The agent's own log, on standard error.

use crate::config::{Level, Log, LogFormat};
use std::io::{self, IsTerminal as _};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Changes what is worth a line while the agent runs.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<LevelFilter, Registry>);

impl LogLevel {
    /// From the next line on.
    pub fn set(&self, level: Level) {
        // Fails only where the log is gone.
        let _gone = self.0.reload(filter(level));
    }
}

/// Starts the log for the rest of the process. Must be called once; a second call starts nothing.
pub fn start(log: Log) -> LogLevel {
    let level = filter(log.level);
    let (threshold, handle) = reload::Layer::new(level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(level >= LevelFilter::DEBUG);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Fails only where a log was started before.
    let _started_before = tracing_subscriber::registry().with(threshold).with(lines).try_init();
    LogLevel(handle)
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
