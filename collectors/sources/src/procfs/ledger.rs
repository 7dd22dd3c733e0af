//! What the threads of one process have used, each since it was last read: a thread that ends takes nothing back,
//! and one that begins counts whole. A thread is its number and its start, for numbers are reused.

use super::parse::Schedstat;
use procagent_core::process::{Delay, Switches};
use procagent_core::time::Ns;

/// One thread as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thread {
    pub tid: u32,
    /// In clock ticks since boot.
    pub start: u64,
    pub switches: Switches,
    /// All zeros where the kernel does not account for it.
    pub schedstat: Schedstat,
    /// Waiting for storage.
    pub block_io: Ns,
}

impl Thread {
    /// The highest of each number: a kernel that contradicts itself is not credited twice.
    fn high_water(self, before: &Thread) -> Thread {
        let Schedstat { runtime, run_delay, timeslices } = before.schedstat;
        Thread {
            switches: Switches {
                voluntary: self.switches.voluntary.max(before.switches.voluntary),
                involuntary: self.switches.involuntary.max(before.switches.involuntary),
            },
            schedstat: Schedstat {
                runtime: self.schedstat.runtime.max(runtime),
                run_delay: self.schedstat.run_delay.max(run_delay),
                timeslices: self.schedstat.timeslices.max(timeslices),
            },
            block_io: self.block_io.max(before.block_io),
            ..self
        }
    }
}

/// Sums that never fall, and the threads that they are made of.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    switches: Switches,
    run_delay: Ns,
    block_io: Ns,
    /// The next pass only says where the threads stand.
    standing: bool,
    /// A thread has run without being accounted for.
    no_schedstat: bool,
    /// As last read, by ascending number; whether the present pass has met it.
    threads: Vec<(Thread, bool)>,
    /// When the last pass over all threads began that came to its end.
    read_at: Option<Ns>,
}

impl Ledger {
    /// When all threads had been read; `None` before.
    pub fn read_at(&self) -> Option<Ns> {
        self.read_at
    }

    /// Context switches of all threads, ended ones included; `None` before every thread was read once.
    pub fn switches(&self) -> Option<Switches> {
        self.read_at.map(|_| self.switches)
    }

    /// Delays, under the same condition. `block_io`: whether the kernel accounts for it.
    pub fn delay(&self, block_io: bool) -> Option<Delay> {
        let known = self.read_at.is_some() && !self.no_schedstat;
        known.then_some(Delay { cpu: self.run_delay, block_io: block_io.then_some(self.block_io) })
    }

    /// How many threads are remembered.
    #[cfg(test)]
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// The process has called exec. Was it another thread than the first that did, then that one goes on under the
    /// number and the start of the first (`de_thread`, fs/exec.c), and what it had used is counted already.
    pub fn exec(&mut self) {
        self.standing |= self.threads.len() > 1;
    }

    /// Begins a pass over all threads.
    pub fn begin(&mut self) {
        for (_, met) in &mut self.threads {
            *met = false;
        }
    }

    /// A thread that has not been on a CPU since it was last read: it has used nothing, and it is the same one, for
    /// another would hardly have the same times to the nanosecond. Whether it is such a one.
    pub fn rests(&mut self, tid: u32, schedstat: Schedstat) -> bool {
        let Ok(place) = self.place(tid) else { return false };
        let (thread, met) = &mut self.threads[place];
        let rests = thread.schedstat == schedstat && schedstat != Schedstat::default();
        *met |= rests;
        rests
    }

    /// A thread that could not be read now, and may be next time.
    pub fn keep(&mut self, tid: u32) {
        if let Ok(place) = self.place(tid) {
            self.threads[place].1 = true;
        }
    }

    /// Takes in a thread.
    pub fn add(&mut self, thread: Thread) {
        let nothing = Thread {
            switches: Switches::default(),
            schedstat: Schedstat::default(),
            block_io: Ns(0),
            ..thread
        };
        let place = self.place(thread.tid);
        let before = match place {
            Ok(place) if self.threads[place].0.start == thread.start => self.threads[place].0,
            _ => nothing,
        };
        let ran = thread.switches != Switches::default();
        self.no_schedstat |= ran && thread.schedstat == Schedstat::default();
        let from = if self.standing { thread } else { before };
        self.switches = self.switches.plus(&thread.switches.since(&from.switches));
        let run_delay = thread.schedstat.run_delay.saturating_sub(from.schedstat.run_delay);
        self.run_delay = self.run_delay.plus(Ns(run_delay));
        self.block_io = self.block_io.plus(thread.block_io.since(from.block_io));
        match place {
            Ok(place) if self.standing => self.threads[place] = (thread, true),
            Ok(place) => self.threads[place] = (thread.high_water(&before), true),
            Err(place) => {
                // Most processes have one thread, and there are many processes.
                if self.threads.is_empty() {
                    self.threads.reserve_exact(1);
                }
                self.threads.insert(place, (thread, true));
            }
        }
    }

    /// Ends a pass that began at `begun`: what it has not met has ended.
    pub fn end(&mut self, begun: Ns) {
        self.threads.retain(|(_, met)| *met);
        self.standing = false;
        self.read_at = Some(begun);
    }

    fn place(&self, tid: u32) -> Result<usize, usize> {
        self.threads.binary_search_by_key(&tid, |(thread, _)| thread.tid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(tid: u32, start: u64, used: u64) -> Thread {
        Thread {
            tid,
            start,
            switches: Switches { voluntary: used, involuntary: used * 2 },
            schedstat: Schedstat { runtime: used * 3, run_delay: used * 4, timeslices: used },
            block_io: Ns(used * 5),
        }
    }

    /// One pass over these; the voluntary switches after it.
    fn pass(ledger: &mut Ledger, threads: &[Thread]) -> u64 {
        ledger.begin();
        for thread in threads {
            if !ledger.rests(thread.tid, thread.schedstat) {
                ledger.add(*thread);
            }
        }
        ledger.end(Ns(1));
        let switches = ledger.switches().unwrap();
        let delay = ledger.delay(true).unwrap();
        assert_eq!(switches.involuntary, switches.voluntary * 2);
        assert_eq!(
            (delay.cpu, delay.block_io),
            (Ns(switches.voluntary * 4), Some(Ns(switches.voluntary * 5)))
        );
        switches.voluntary
    }

    #[test]
    fn ctx_switches_survive_thread_exit() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.switches(), None, "not before all were read");
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 100), thread(11, 1, 50)]), 150);
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 110)]), 160, "what the other had used stays");
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 110), thread(12, 9, 7)]), 167, "a new one counts whole");
        assert_eq!(pass(&mut ledger, &[thread(12, 9, 8)]), 168);
        assert_eq!((pass(&mut ledger, &[]), ledger.threads()), (168, 0));
    }

    #[test]
    fn thread_name_returns_keeps_total() {
        let mut ledger = Ledger::default();
        pass(&mut ledger, &[thread(10, 1, 100), thread(11, 1, 50)]);
        // Another thread has the number, within one pass and after one without it.
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 100), thread(11, 2, 60)]), 210);
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 100)]), 210);
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 100), thread(11, 3, 5)]), 215);
    }

    #[test]
    fn nothing_falls_and_nothing_counts_twice() {
        let mut ledger = Ledger::default();
        pass(&mut ledger, &[thread(10, 1, 100)]);
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 100)]), 100);
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 40)]), 100, "a kernel that contradicts itself");
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 101)]), 101);
        ledger.begin();
        ledger.keep(10);
        ledger.end(Ns(2));
        assert_eq!((ledger.threads(), ledger.read_at()), (1, Some(Ns(2))));
    }

    #[test]
    fn a_thread_that_calls_exec_under_the_number_of_the_first_counts_once() {
        let mut ledger = Ledger::default();
        pass(&mut ledger, &[thread(10, 1, 100), thread(11, 5, 900)]);
        ledger.exec();
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 905)]), 1000);
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 910)]), 1005);
        ledger.exec();
        assert_eq!(pass(&mut ledger, &[thread(10, 1, 911)]), 1006, "the only thread is the same one");
    }

    #[test]
    fn a_kernel_without_schedstat_gives_no_delay() {
        let mut ledger = Ledger::default();
        ledger.begin();
        ledger.add(Thread { schedstat: Schedstat::default(), ..thread(10, 1, 0) });
        ledger.end(Ns(1));
        assert!(ledger.delay(true).is_some_and(|delay| delay.block_io.is_some()), "it has not run yet");
        assert_eq!(ledger.delay(false).unwrap().block_io, None);
        ledger.begin();
        ledger.add(Thread { schedstat: Schedstat::default(), ..thread(10, 1, 3) });
        ledger.end(Ns(2));
        assert_eq!((ledger.delay(true), ledger.switches().unwrap().voluntary), (None, 3));
    }
}
