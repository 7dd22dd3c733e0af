//! The running agent: which thread owns what, and the bounded queues between them.
//!
//! ```text
//! scan thread ──full (1)──▶ judge thread ──watch──▶ main thread: HTTP, signals
//!      ▲                        │
//!      └──────free (2)──────────┘        two snapshots go round; none free = a missed scan
//! ```

use crate::clock;
use crate::config::Config;
use crate::judge::{Judge, Limits, describe};
use crate::outputs::http::{self, Health};
use crate::own::ScanCounts;
use procagent_core::Error;
use procagent_core::plugin::Needs;
use procagent_core::registry::Families;
use procagent_core::snapshot::{Snapshot, Source};
use procagent_core::time::Ns;
use procagent_sources::procfs::{self, OpenError, Procfs};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Why the agent could not start or go on. Exit code 1.
#[derive(Debug)]
pub enum AgentError {
    /// The host cannot be read.
    Source(OpenError),
    /// The first scan failed.
    Scan(Error),
    /// The address of /metrics cannot be had.
    Listen(SocketAddr, io::Error),
    /// The system refused a thread, the runtime or a signal handler.
    System(&'static str, io::Error),
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
            AgentError::Thread(name) => write!(f, "the {name} thread has ended unexpectedly"),
        }
    }
}

impl std::error::Error for AgentError {}

/// Runs until SIGTERM or SIGINT.
pub fn run(config: &Config) -> Result<(), AgentError> {
    let (source, judge) = prepare(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| AgentError::System("start the I/O runtime", error))?;
    runtime.block_on(serve(config, source, judge))
}

/// Scans once and returns the page.
pub fn once(config: &Config) -> Result<Families, AgentError> {
    let (mut source, mut judge) = prepare(config)?;
    let mut snapshot = Snapshot::default();
    scan(&mut source, judge.needs(), &mut snapshot).map_err(AgentError::Scan)?;
    Ok(judge.tick(&snapshot, ScanCounts::default()))
}

fn prepare(config: &Config) -> Result<(Procfs, Judge), AgentError> {
    let settings = procfs::Settings {
        root: config.host.root.clone(),
        descriptors: config.host.descriptors,
        ..procfs::Settings::default()
    };
    let ticks_per_second = settings.ticks_per_second;
    let source = Procfs::open(settings).map_err(AgentError::Source)?;
    let collectors = procagent_collectors::ALL
        .iter()
        .filter_map(|plugin| Some((plugin.name, (plugin.build)(&config.collectors)?)))
        .collect();
    let limits = Limits {
        remember: config.remember,
        groups: config.groups.limit,
        forget: config.groups.forget.into(),
        series: config.outputs.series_limit,
        collector: config.interval.into(),
    };
    let judge = Judge::new(collectors, limits, source.offers(), ticks_per_second, clock::now);
    Ok((source, judge))
}

async fn serve(config: &Config, source: Procfs, judge: Judge) -> Result<(), AgentError> {
    let handler = |kind, what| signal(kind).map_err(|error| AgentError::System(what, error));
    let mut terminate = handler(SignalKind::terminate(), "handle SIGTERM")?;
    let mut interrupt = handler(SignalKind::interrupt(), "handle SIGINT")?;
    let mut hangup = handler(SignalKind::hangup(), "handle SIGHUP")?;
    let (families, mut frozen) = watch::channel(Arc::new(Families::default()));
    let last_tick = Arc::new(AtomicU64::new(clock::now().mono.0));
    let interval = Ns::from(config.interval);
    let health = Health::new(Arc::clone(&last_tick), interval, clock::now);
    if let Some(prometheus) = config.outputs.prometheus.on() {
        let listener =
            http::bind(prometheus.listen).map_err(|error| AgentError::Listen(prometheus.listen, error))?;
        tokio::spawn(http::serve(listener, frozen.clone(), health));
        tracing::info!("serving http://{}/metrics", prometheus.listen);
    } else {
        tracing::warn!("outputs.prometheus is off: nothing will be served");
    }
    start_threads(source, judge, interval, families, last_tick)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => tracing::warn!("SIGHUP: this version reads its configuration at start only; restart to apply changes"),
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
    source: Procfs,
    judge: Judge,
    interval: Ns,
    families: watch::Sender<Arc<Families>>,
    last_tick: Arc<AtomicU64>,
) -> Result<(), AgentError> {
    let needs = judge.needs();
    let counts = Arc::new(Counts::default());
    let (full_in, full_out) = sync_channel(1);
    let (free_in, free_out) = sync_channel(2);
    for _ in 0..2 {
        free_in.send(Snapshot::default()).map_err(|_| AgentError::Thread("scan"))?;
    }
    let scan_counts = Arc::clone(&counts);
    thread::Builder::new()
        .name("scan".into())
        .spawn(move || scan_loop(source, needs, interval, &free_out, &full_in, &scan_counts))
        .map_err(|error| AgentError::System("start the scan thread", error))?;
    thread::Builder::new()
        .name("judge".into())
        .spawn(move || judge_loop(judge, &full_out, &free_in, &counts, &families, &last_tick))
        .map_err(|error| AgentError::System("start the judge thread", error))?;
    Ok(())
}

/// What the scan thread tells the judge besides snapshots.
#[derive(Default)]
struct Counts {
    missed: AtomicU64,
    failed: AtomicU64,
}

/// Scans at a fixed rate. What comes too late is left out and counted, never made up for.
fn scan_loop(
    mut source: Procfs,
    needs: Needs,
    interval: Ns,
    free: &Receiver<Snapshot>,
    full: &SyncSender<Snapshot>,
    counts: &Counts,
) {
    let mut due = clock::now().mono;
    let mut failing = false;
    let mut spare = None;
    loop {
        let (next, missed) = schedule(due, clock::now().mono, interval);
        counts.missed.fetch_add(missed, Ordering::Relaxed);
        due = next;
        thread::sleep(due.since(clock::now().mono).into());
        due = due.plus(interval);
        let mut snapshot: Snapshot = match spare.take().map_or_else(|| free.try_recv(), Ok) {
            Ok(snapshot) => snapshot,
            Err(TryRecvError::Empty) => {
                counts.missed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Err(TryRecvError::Disconnected) => return,
        };
        match scan(&mut source, needs, &mut snapshot) {
            Ok(()) => {
                failing = false;
                if full.send(snapshot).is_err() {
                    return;
                }
            }
            Err(error) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                if !failing {
                    tracing::error!("the scan failed, the last numbers stay: {}", describe(&error));
                }
                failing = true;
                spare = Some(snapshot);
            }
        }
    }
}

/// When the next scan is due, and how many were due before it and are too late by a whole interval.
fn schedule(due: Ns, now: Ns, interval: Ns) -> (Ns, u64) {
    let late = now.since(due).0 / interval.0.max(1);
    (due.plus(Ns(late.saturating_mul(interval.0))), late)
}

fn scan(source: &mut dyn Source, needs: Needs, into: &mut Snapshot) -> Result<(), Error> {
    into.clear();
    into.begun = clock::now();
    source.scan(needs, into)?;
    into.ended = clock::now();
    Ok(())
}

fn judge_loop(
    mut judge: Judge,
    full: &Receiver<Snapshot>,
    free: &SyncSender<Snapshot>,
    counts: &Counts,
    families: &watch::Sender<Arc<Families>>,
    last_tick: &AtomicU64,
) {
    while let Ok(snapshot) = full.recv() {
        let counts = ScanCounts {
            missed: counts.missed.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
        };
        families.send_replace(Arc::new(judge.tick(&snapshot, counts)));
        last_tick.store(clock::now().mono.0, Ordering::Relaxed);
        if free.send(snapshot).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a11_a_late_scan_keeps_the_rate_and_counts_the_missed() {
        let interval = Ns(100);
        assert_eq!(schedule(Ns(1000), Ns(950), interval), (Ns(1000), 0), "early: wait");
        assert_eq!(
            schedule(Ns(1000), Ns(1050), interval),
            (Ns(1000), 0),
            "a little late: at once, same rhythm"
        );
        assert_eq!(
            schedule(Ns(1000), Ns(1320), interval),
            (Ns(1300), 3),
            "three are gone, the fourth is due"
        );
    }
}
