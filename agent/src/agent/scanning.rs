//! The scan thread: scans at a fixed rate, whatever becomes of what it saw.

use super::judging::Message;
use crate::clock;
use crate::judge::describe;
use procagent_core::Error;
use procagent_core::plugin::Needs;
use procagent_core::snapshot::{Budgets, Snapshot, Source};
use procagent_core::time::Ns;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What the scan thread counts for others to read.
#[derive(Debug, Default)]
pub struct Counts {
    /// Scans that were judged.
    pub done: AtomicU64,
    /// Scans left out.
    pub missed: AtomicU64,
    /// Scans that failed as a whole.
    pub failed: AtomicU64,
}

/// How often to scan, and what to read. Others may change it while the thread sleeps.
#[derive(Debug)]
pub struct Pace {
    beat: Mutex<Beat>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug)]
struct Beat {
    interval: Ns,
    needs: Needs,
    budgets: Budgets,
    /// Counts the changes.
    version: u64,
}

impl Pace {
    /// At first.
    pub fn new(interval: Ns, needs: Needs, budgets: Budgets) -> Pace {
        Pace { beat: Mutex::new(Beat { interval, needs, budgets, version: 0 }), changed: Condvar::new() }
    }

    /// From now on. The next scan begins at once, so that what was changed shows.
    pub fn change(&self, interval: Ns, needs: Needs, budgets: Budgets) {
        let mut beat = self.lock();
        *beat = Beat { interval, needs, budgets, version: beat.version + 1 };
        self.changed.notify_all();
    }

    fn now(&self) -> Beat {
        *self.lock()
    }

    /// Sleeps, unless the beat is another than `known` or becomes so. Returns it then.
    fn sleep(&self, time: Ns, known: Beat) -> Option<Beat> {
        let same = |beat: &mut Beat| beat.version == known.version;
        let waited = self.changed.wait_timeout_while(self.lock(), time.into(), same);
        let beat = *waited.unwrap_or_else(PoisonError::into_inner).0;
        (beat.version != known.version).then_some(beat)
    }

    fn lock(&self) -> MutexGuard<'_, Beat> {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that there are no more scans when it is dropped, also by a panic.
struct LastWord<'a>(&'a SyncSender<Message>);

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        let _gone_already = self.0.send(Message::NoMoreScans);
    }
}

/// Scans until nobody listens. What comes too late is left out and counted, never made up for.
pub fn scan_loop(
    source: &mut dyn Source,
    pace: &Pace,
    free: &Receiver<Snapshot>,
    judge: &SyncSender<Message>,
    counts: &Counts,
) {
    let _last_word = LastWord(judge);
    let mut beat = pace.now();
    source.set_budgets(beat.budgets);
    let mut due = clock::now().mono;
    let mut failing = false;
    let mut spare = None;
    loop {
        let (next, missed) = schedule(due, clock::now().mono, beat.interval);
        counts.missed.fetch_add(missed, Ordering::Relaxed);
        due = next;
        if let Some(changed) = pace.sleep(due.since(clock::now().mono), beat) {
            (beat, due) = (changed, clock::now().mono);
            source.set_budgets(beat.budgets);
        }
        due = due.plus(beat.interval);
        let mut snapshot: Snapshot = match spare.take().map_or_else(|| free.try_recv(), Ok) {
            Ok(snapshot) => snapshot,
            Err(TryRecvError::Empty) => {
                counts.missed.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            Err(TryRecvError::Disconnected) => return,
        };
        match scan(source, beat.needs, &mut snapshot) {
            Ok(()) => {
                failing = false;
                if judge.send(Message::Scanned(snapshot)).is_err() {
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

/// One scan.
pub fn scan(source: &mut dyn Source, needs: Needs, into: &mut Snapshot) -> Result<(), Error> {
    into.clear();
    into.begun = clock::now();
    source.scan(needs, into)?;
    into.ended = clock::now();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

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

    #[test]
    fn a_change_of_pace_ends_the_sleep() {
        let pace = Arc::new(Pace::new(Ns::from_secs(3600), Needs::NOTHING, Budgets::default()));
        let known = pace.now();
        assert!(pace.sleep(Ns(1), known).is_none());
        let other = Arc::clone(&pace);
        let sleeper = std::thread::spawn(move || other.sleep(Ns::from_secs(3600), known));
        pace.change(Ns(5), Needs::IO, Budgets::default());
        let beat = sleeper.join().unwrap().unwrap();
        assert_eq!((beat.interval, beat.needs), (Ns(5), Needs::IO));
        assert!(pace.sleep(Ns::from_secs(3600), known).is_some(), "also when it came before the sleep");
    }
}
