//! `procagent config init` and `procagent config check`.

use super::{Failure, print};
use crate::agent::{self, AgentError};
use crate::clock;
use crate::config::{Config, Request, Variables, load};
use crate::judge::Standing;
use procagent_core::duration;
use procagent_core::snapshot::Snapshot;
use procagent_core::time::Ns;
use std::path::PathBuf;
use std::time::Duration;

/// The default configuration with an explanation of every key.
pub const DEFAULT: &str = include_str!("../../../deploy/agent.yaml");

/// Prints [`DEFAULT`].
pub fn init() -> Result<(), Failure> {
    print(DEFAULT)
}

/// How long is waited between the two scans of [`check`].
const PAUSE: Duration = Duration::from_millis(500);

/// Says `ok` and what the configuration amounts to, or what is wrong with it. Scans the host twice to say what it
/// makes of this host, unless `no_scan` or the host cannot be read.
pub fn check(file: PathBuf, no_scan: bool) -> Result<(), Failure> {
    let request = Request { file: Some(file), ..Request::default() };
    let config = load(request, &Variables::of_this_process())?.config;
    print(&format!("ok\n{}", summary(&config)))?;
    if no_scan {
        return Ok(());
    }
    match trial(&config) {
        Ok(trial) => print(&trial_text(&config, &trial)),
        // It may be meant for another host.
        Err(error) => print(&format!("not tried out on this host: {error}\n")),
    }
}

/// What a configuration makes of a host.
struct Trial {
    standing: Standing,
    /// Samples that found no room below `outputs.series_limit`.
    refused: u64,
    /// CPU time of a tick.
    cost: Ns,
}

fn trial(config: &Config) -> Result<Trial, AgentError> {
    let (mut source, mut judge) = agent::prepare(config)?;
    let mut snapshot = Snapshot::default();
    agent::scan_into(&mut *source, &mut judge, &mut snapshot)?;
    std::thread::sleep(PAUSE.min(config.interval));
    // The second one is as all others will be: it knows what it looks at.
    let before = clock::cpu_time();
    agent::scan_into(&mut *source, &mut judge, &mut snapshot)?;
    let cost = clock::cpu_time().since(before);
    Ok(Trial { standing: judge.standing(), refused: judge.refused(), cost })
}

fn trial_text(config: &Config, trial: &Trial) -> String {
    let Trial { standing, refused, cost } = trial;
    let share = cost.as_secs_f64() / config.interval.as_secs_f64() * 100.0;
    let mut text = format!(
        "on this host now\n  {} processes in {} groups with {} series\n  {} groups fold into `other`\n  \
         a scan costs {:.1} ms of CPU time: {share:.2} % of one CPU\n",
        standing.processes,
        standing.groups,
        standing.series,
        standing.folded,
        cost.as_secs_f64() * 1000.0,
    );
    if *refused > 0 {
        text.push_str(&format!("  {refused} samples find no room below outputs.series_limit\n"));
    }
    text
}

fn summary(config: &Config) -> String {
    let prometheus = match config.outputs.prometheus.on() {
        Some(prometheus) => format!("http://{}/metrics", prometheus.listen),
        None => "off".to_owned(),
    };
    format!(
        "  scans {} every {}\n  serves {prometheus}\n  rules of groups: {}\n  groups: at most {}; series: at most {}\n  log level: {}\n",
        config.host.root.display(),
        duration::display(config.interval),
        config.groups.rules.len(),
        config.groups.limit,
        config.outputs.series_limit,
        config.log.level,
    )
}
