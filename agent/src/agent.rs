//! The running agent: which thread owns what, and the bounded queues between them.
//!
//! ```text
//! scan thread ───scans───▶┐             ┌──watch──▶ main thread: HTTP, control socket, configuration, signals
//!   ▲    ▲                ├▶ judge ─────┤              │
//!   │    └─pace───────────│ thread      └──replies──▶  │
//!   └──────free (2)───────┘◀───────questions, changes──┘
//! ```
//!
//! Two snapshots go round; none free is a missed scan. Scans, questions and changes of the configuration reach the
//! judge through one queue, so that a question need not wait for a scan, nor a scan for a lock.
//!
//! | module | part |
//! |---|---|
//! | [`scanning`] | the scan thread |
//! | [`judging`] | the judge thread and what it is sent |
//! | [`questions`] | questions to the judge, with a deadline |
//! | `limit` | the limit on open files |
//! | [`source`] | opens the source that the configuration names |

pub mod judging;
#[cfg(target_os = "linux")]
mod limit;
pub mod questions;
pub mod scanning;
pub mod source;

use crate::clock;
use crate::config::{Config, Loaded};
#[cfg(target_os = "linux")]
use crate::control;
use crate::judge::{Change, Grouping, Judge, Limits, describe};
use crate::logging::LogLevel;
use crate::outputs::http::{self, Health};
use crate::own::ScanCounts;
use crate::reload::{Follower, Origin, Reach, Story};
use crate::signals::{Hangup, Stop};
use judging::{Message, Reloads, Shared};
use procagent_collectors::Settings;
use procagent_core::Error;
use procagent_core::plugin::Collector;
use procagent_core::registry::Families;
use procagent_core::snapshot::{Snapshot, Source};
#[cfg(target_os = "linux")]
use questions::Asker;
use scanning::{Counts, Pace};
use source::Opened;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use tokio::sync::watch;

/// Why the agent could not start or go on. Exit code 1.
#[derive(Debug)]
pub enum AgentError {
    /// The host cannot be read.
    Source(Error),
    /// The first scan failed.
    Scan(Error),
    /// The address of /metrics cannot be had.
    Listen(SocketAddr, io::Error),
    /// The system refused a thread, the runtime or a signal handler.
    System(&'static str, io::Error),
    /// An expected group has failed, and `groups.health.exit_on_failed` is set.
    GroupFailed(String),
    /// A thread of the agent ended by itself, which is a fault of the agent; the log says where.
    Thread(&'static str),
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgentError::Source(error) => error.fmt(f),
            AgentError::Scan(error) => write!(f, "the first scan of the host failed: {}", describe(error)),
            AgentError::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "cannot listen on {address}: the port is taken; stop what listens there (ss -ltnp shows it) or set \
                 outputs.prometheus.listen or --listen"
            ),
            AgentError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            AgentError::System(what, error) => write!(f, "cannot {what}: {error}"),
            AgentError::GroupFailed(name) => write!(
                f,
                "the expected group {name} has failed: it has had no member for groups.health.retries periods, and \
                 groups.health.exit_on_failed is set"
            ),
            AgentError::Thread(name) => write!(f, "the {name} thread has ended unexpectedly"),
        }
    }
}

impl std::error::Error for AgentError {}

/// Runs until SIGTERM or SIGINT.
pub fn run(loaded: Loaded, origin: Origin, log: LogLevel) -> Result<(), AgentError> {
    #[cfg(target_os = "linux")]
    limit::raise_descriptor_limit(loaded.config.host.descriptors);
    let (source, judge) = prepare(&loaded.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| AgentError::System("start the I/O runtime", error))?;
    let ended = runtime.block_on(serve(loaded.config, origin, log, source, judge));
    // A file that hangs while it is looked at must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// Scans once and returns the page.
pub fn once(config: &Config) -> Result<Families, AgentError> {
    let (mut source, mut judge) = prepare(config)?;
    let mut snapshot = Snapshot::default();
    scan_into(&mut *source, &mut judge, &mut snapshot)
}

/// One scan, judged.
pub fn scan_into(
    source: &mut dyn Source,
    judge: &mut Judge,
    snapshot: &mut Snapshot,
) -> Result<Families, AgentError> {
    scanning::scan(source, judge.needs(), snapshot).map_err(AgentError::Scan)?;
    Ok(judge.tick(snapshot, ScanCounts::default()))
}

/// A source and a judge as the configuration wants them.
pub fn prepare(config: &Config) -> Result<(Box<dyn Source>, Judge), AgentError> {
    let Opened { mut source, ticks_per_second } = source::open(config).map_err(AgentError::Source)?;
    source.set_budgets(config.collectors.budgets());
    let build = |(name, build): (_, fn(&Settings) -> _)| Some((name, build(&config.collectors)?));
    let collectors = procagent_collectors::ALL.iter().map(|plugin| (plugin.name, plugin.build));
    let collectors = collectors.filter_map(build).collect();
    let judge = Judge::new(
        collectors,
        grouping(config),
        limits(config),
        source.offers(),
        ticks_per_second,
        clock::now,
    );
    Ok((source, judge))
}

/// What takes a judge from one configuration to another. Collectors whose settings are the same are not touched.
pub fn change(old: &Config, new: &Config) -> Change {
    let differ = old.collectors.differing(&new.collectors);
    let plugins = procagent_collectors::ALL.iter().filter(|plugin| differ.contains(&plugin.name));
    let collectors: Vec<(&'static str, Option<Box<dyn Collector>>)> =
        plugins.map(|plugin| (plugin.name, (plugin.build)(&new.collectors))).collect();
    let grouping = (old.groups != new.groups).then(|| grouping(new));
    Change { limits: limits(new), budgets: new.collectors.budgets(), grouping, collectors }
}

fn limits(config: &Config) -> Limits {
    Limits {
        remember: config.remember,
        series: config.outputs.series_limit,
        collector: config.interval.into(),
    }
}

fn grouping(config: &Config) -> Grouping {
    Grouping {
        settings: config.groups.settings(),
        origins: config.groups.rules.iter().map(|rule| rule.origin.clone()).collect(),
        exit_on_failed: config.groups.health.exit_on_failed,
    }
}

async fn serve(
    config: Config,
    origin: Origin,
    log: LogLevel,
    source: Box<dyn Source>,
    judge: Judge,
) -> Result<(), AgentError> {
    let refused = |error| AgentError::System("handle signals", error);
    let (mut stop, hangup) = (Stop::handle().map_err(refused)?, Hangup::handle().map_err(refused)?);
    let started = clock::now();
    let (families, mut frozen) = watch::channel(Arc::new(Families::default()));
    let (fatal, mut failed) = watch::channel(None);
    let last_tick = Arc::new(AtomicU64::new(started.mono.0));
    let health = Health::new(Arc::clone(&last_tick), config.interval.into(), clock::now);
    tracing::info!("source {}, host {}", source.name(), config.host.root.display());
    if let Some(prometheus) = config.outputs.prometheus.on() {
        let refused = |error| AgentError::Listen(prometheus.listen, error);
        let listener = http::bind(prometheus.listen).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        tokio::spawn(http::serve(listener, frozen.clone(), health.clone()));
        tracing::info!("serving http://{address}/metrics");
    } else {
        tracing::warn!("outputs.prometheus is off: nothing will be served");
    }
    let (questions, queue) = sync_channel(judging::QUEUE);
    let reloads = Arc::new(Reloads::new(started.wall));
    let counts = Arc::new(Counts::default());
    let shared = Shared {
        counts: Arc::clone(&counts),
        pace: Arc::new(Pace::new(config.interval.into(), judge.needs(), config.collectors.budgets())),
        reloads: Arc::clone(&reloads),
        families,
        last_tick,
        fatal,
    };
    start_threads(source, judge, questions.clone(), queue, shared)?;
    let story = Arc::new(Story::default());
    #[cfg(target_os = "linux")]
    let site = control::Site {
        asker: Asker::new(questions.clone(), health.clone()),
        health: health.clone(),
        started: started.wall,
        counts,
        reloads: Arc::clone(&reloads),
        story: Arc::clone(&story),
        file: origin.file.clone(),
        reader: control::Reader::new(config.host.root.clone()),
    };
    // Removes the socket when dropped.
    #[cfg(target_os = "linux")]
    let _control = control::start(&config.outputs.control, &origin.variables, site).await;
    let reach = Reach { judge: questions, log, health, reloads, story };
    tokio::spawn(Follower::new(origin, config, reach).follow(hangup));
    loop {
        tokio::select! {
            () = stop.asked() => break,
            Ok(name) = failed.wait_for(Option::is_some) => {
                return Err(AgentError::GroupFailed(name.clone().unwrap_or_default()));
            }
            // The sender lives in the judge thread, the judge ends with the scan thread.
            changed = frozen.changed() => if changed.is_err() {
                return Err(AgentError::Thread("scan or judge"));
            },
        }
    }
    tracing::info!("stopping");
    Ok(())
}

/// Starts the two threads that turn scans into families. They end with the process: a read that hangs in the
/// kernel cannot be cancelled, and nothing they hold has to be flushed.
fn start_threads(
    mut source: Box<dyn Source>,
    judge: Judge,
    messages: SyncSender<Message>,
    queue: Receiver<Message>,
    shared: Shared,
) -> Result<(), AgentError> {
    let (free_in, free_out) = sync_channel(2);
    for _ in 0..2 {
        free_in.send(Snapshot::default()).map_err(|_| AgentError::Thread("scan"))?;
    }
    let (pace, counts) = (Arc::clone(&shared.pace), Arc::clone(&shared.counts));
    thread::Builder::new()
        .name("scan".into())
        .spawn(move || scanning::scan_loop(&mut *source, &pace, &free_out, &messages, &counts))
        .map_err(|error| AgentError::System("start the scan thread", error))?;
    thread::Builder::new()
        .name("judge".into())
        .spawn(move || judging::judge_loop(judge, &queue, &free_in, &shared))
        .map_err(|error| AgentError::System("start the judge thread", error))?;
    Ok(())
}
