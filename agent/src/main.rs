//! The command line of procagent: parse, do it, and say what went wrong.

use clap::Parser as _;
use procagent::cli::{Cli, Command, ConfigCommand};
use procagent::commands::{Failure, config, metrics, run};
#[cfg(target_os = "linux")]
use procagent::commands::{doctor, explain};
use std::error::Error as _;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Usage errors end here, with exit code 2.
    let cli = Cli::parse();
    let done = match cli.command {
        None => run::run(&cli.run),
        Some(Command::Config { command: ConfigCommand::Init }) => config::init(),
        Some(Command::Config { command: ConfigCommand::Check { file, no_scan } }) => {
            config::check(file, no_scan)
        }
        #[cfg(target_os = "linux")]
        Some(Command::Explain(options)) => explain::run(&options),
        #[cfg(target_os = "linux")]
        Some(Command::Doctor(options)) => doctor::run(&options),
        Some(Command::Metrics { format }) => metrics::run(format),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The failure and what lies below it. Nothing can be done where standard error is closed.
fn complain(failure: &Failure) {
    let mut text = format!("procagent: {failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    let _nobody_reads = writeln!(std::io::stderr(), "{text}");
}
