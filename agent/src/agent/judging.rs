//! The judge thread: takes scans, changes of the configuration and questions from one queue, in their order.

use super::questions::Question;
use super::scanning::{Counts, Pace};
use crate::clock;
use crate::judge::{Change, Judge};
use crate::own::{ConfigState, ScanCounts};
use procagent_core::registry::Families;
use procagent_core::snapshot::Snapshot;
use procagent_core::time::Ns;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;
use tokio::sync::watch;

/// Messages that wait for the judge at most. Scans cannot fill it: there are two snapshots. Questions that find no
/// room are refused.
pub const QUEUE: usize = 16;

/// Who must be heard and finds the queue full tries again after this time.
pub const RETRY: Duration = Duration::from_millis(100);

/// What the judge is sent.
#[expect(clippy::large_enum_variant, reason = "nearly every message is a scan, and there are few of any")]
pub enum Message {
    /// A scan.
    Scanned(Snapshot),
    /// Another configuration, checked.
    Change(Change),
    /// A question.
    Ask(Question),
    /// The scan thread has ended.
    NoMoreScans,
}

/// How the last attempt to load the configuration ended, for all threads.
#[derive(Debug)]
pub struct Reloads {
    time: AtomicU64,
    success: AtomicBool,
}

impl Reloads {
    /// At start: loaded at this time, wall clock.
    pub fn new(at: Ns) -> Reloads {
        Reloads { time: AtomicU64::new(at.0), success: AtomicBool::new(true) }
    }

    /// The configuration was loaded at this time, wall clock.
    pub fn succeeded(&self, at: Ns) {
        self.time.store(at.0, Ordering::Relaxed);
        self.success.store(true, Ordering::Relaxed);
    }

    /// The configuration was refused.
    pub fn failed(&self) {
        self.success.store(false, Ordering::Relaxed);
    }

    /// As it is now.
    pub fn state(&self) -> ConfigState {
        let time = Some(Ns(self.time.load(Ordering::Relaxed)));
        ConfigState { time, success: self.success.load(Ordering::Relaxed) }
    }
}

/// What the judge thread shares with others.
pub struct Shared {
    /// The scan thread's counts.
    pub counts: Arc<Counts>,
    /// The scan thread's pace, which follows the configuration.
    pub pace: Arc<Pace>,
    /// How the configuration fares.
    pub reloads: Arc<Reloads>,
    /// Where families go.
    pub families: watch::Sender<Arc<Families>>,
    /// Monotonic nanoseconds at which a scan was last judged.
    pub last_tick: Arc<AtomicU64>,
    /// The group whose failure ends the agent.
    pub fatal: watch::Sender<Option<String>>,
}

/// Judges until there are no more scans or nobody takes them back.
pub fn judge_loop(mut judge: Judge, queue: &Receiver<Message>, free: &SyncSender<Snapshot>, shared: &Shared) {
    while let Ok(message) = queue.recv() {
        match message {
            Message::Scanned(snapshot) => {
                let counts = ScanCounts {
                    missed: shared.counts.missed.load(Ordering::Relaxed),
                    failed: shared.counts.failed.load(Ordering::Relaxed),
                };
                judge.set_config_state(shared.reloads.state());
                shared.families.send_replace(Arc::new(judge.tick(&snapshot, counts)));
                if let Some(group) = judge.fatal() {
                    shared.fatal.send_replace(Some(group));
                }
                shared.counts.done.fetch_add(1, Ordering::Relaxed);
                shared.last_tick.store(clock::now().mono.0, Ordering::Relaxed);
                if free.send(snapshot).is_err() {
                    return;
                }
            }
            Message::Change(change) => {
                let (interval, budgets) = (change.limits.collector, change.budgets);
                judge.change(change);
                shared.pace.change(interval, judge.needs(), budgets);
            }
            Message::Ask(question) => question.answer(&judge),
            Message::NoMoreScans => return,
        }
    }
}
