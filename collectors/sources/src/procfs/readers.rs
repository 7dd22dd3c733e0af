//! The threads for reads that may hang. The scan asks, and waits as long as answers keep coming: a crowd of new
//! processes takes the time it takes, but one that hangs holds nobody up for longer than the deadline. Whatever is
//! being read then is in quarantine; its thread is left alone, another takes its place, and the answer, should it
//! come, is handed out with a later scan.

use super::details::{DetailsReader, Found};
use super::files::{ProcDir, ReadError, open_at, read_start};
use super::parse;
use procagent_core::process::ProcessId;
use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Threads that are free to read.
const READERS: usize = 4;

/// All threads, those that hang included. When all hang, reads are refused.
const THREADS_MAX: usize = 16;

/// Deadlines that may pass without an answer while no reader hangs: on an overloaded machine they only wait for
/// their turn on a CPU.
const PATIENCE: u32 = 50;

/// What became of a read.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It came back, now or long after it was given up.
    Read { job: u64, id: ProcessId, found: Result<Found, ReadError> },
    /// It does not come back; the process is in quarantine until it does.
    Stuck { job: u64, id: ProcessId },
    /// It was not tried, for all readers hang.
    Refused { job: u64, id: ProcessId },
}

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    proc: Arc<ProcDir>,
    deadline: Duration,
    queue: Arc<Queue>,
    answers: Receiver<(Job, Result<Found, ReadError>)>,
    answer: Sender<(Job, Result<Found, ReadError>)>,
    readers: Vec<Reader>,
    /// Asked in this scan and not yet answered.
    awaited: HashMap<u64, ProcessId>,
    /// To be handed out.
    outcomes: VecDeque<Outcome>,
    last_job: u64,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    number: u64,
    id: ProcessId,
}

#[derive(Debug)]
struct Reader {
    thread: JoinHandle<()>,
    state: Arc<ReaderState>,
}

#[derive(Debug, Default)]
struct ReaderState {
    /// What it reads now.
    current: Mutex<Option<Job>>,
    /// It was given up: it ends when its read comes back.
    abandoned: AtomicBool,
    /// Its own `/proc/thread-self/stat`, where it could be opened.
    stat: OnceLock<OwnedFd>,
}

impl ReaderState {
    /// Whether it is on a CPU or waits for one, and so does not hang.
    fn runs(&self) -> bool {
        let mut buffer = [0; 1024];
        let read = self.stat.get().and_then(|stat| read_start(stat, &mut buffer).ok());
        read.and_then(|line| parse::stat(line).ok()).is_some_and(|stat| stat.state == b'R')
    }
}

impl Readers {
    pub fn new(proc: Arc<ProcDir>, deadline: Duration) -> Readers {
        let (answer, answers) = channel();
        Readers {
            proc,
            deadline,
            queue: Arc::default(),
            answers,
            answer,
            readers: Vec::new(),
            awaited: HashMap::new(),
            outcomes: VecDeque::new(),
            last_job: 0,
        }
    }

    /// Sends for the details of a process, and gives the number of the job; `None` where all readers hang. Its
    /// outcome comes from [`Readers::next`].
    pub fn ask(&mut self, id: ProcessId) -> Option<u64> {
        if self.free() == 0 && !self.staff() {
            return None;
        }
        self.last_job += 1;
        let job = Job { number: self.last_job, id };
        self.awaited.insert(job.number, id);
        self.queue.push(job);
        Some(job.number)
    }

    /// The next outcome; waits for it, at most one deadline after the one before. `None` when there is nothing
    /// left to wait for.
    pub fn next(&mut self) -> Option<Outcome> {
        for _ in 0..PATIENCE {
            if let Some(outcome) = self.outcomes.pop_front() {
                return Some(outcome);
            }
            // Reads that were given up may come back at any time; nobody waits for them.
            let wait = if self.awaited.is_empty() { Duration::ZERO } else { self.deadline };
            match self.answers.recv_timeout(wait) {
                Ok((Job { number, id }, found)) => {
                    self.awaited.remove(&number);
                    return Some(Outcome::Read { job: number, id, found });
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)
                    if self.awaited.is_empty() =>
                {
                    return None;
                }
                Err(_) => self.give_up(|reader| !reader.runs()),
            }
        }
        self.give_up(|_| true);
        self.refuse_the_queued();
        self.outcomes.pop_front()
    }

    /// Threads that may still pick up a job.
    fn free(&self) -> usize {
        self.readers.iter().filter(|reader| !reader.state.abandoned.load(Ordering::Relaxed)).count()
    }

    /// Gives up on reads that hang.
    fn give_up(&mut self, hangs: impl Fn(&ReaderState) -> bool) {
        for reader in &self.readers {
            let Some(job) = *lock(&reader.state.current) else { continue };
            // One that was given up before is not in `awaited` any more.
            if self.awaited.contains_key(&job.number) && hangs(&reader.state) {
                self.awaited.remove(&job.number);
                reader.state.abandoned.store(true, Ordering::Relaxed);
                self.outcomes.push_back(Outcome::Stuck { job: job.number, id: job.id });
            }
        }
        if !self.staff() {
            self.refuse_the_queued();
        }
    }

    /// Buries the threads that have ended and starts new ones in the places of those that hang. Whether any is free.
    fn staff(&mut self) -> bool {
        self.readers.retain(|reader| !reader.thread.is_finished());
        while self.free() < READERS && self.readers.len() < THREADS_MAX {
            let Some(reader) = self.start() else { break };
            self.readers.push(reader);
        }
        self.free() > 0
    }

    fn start(&self) -> Option<Reader> {
        let state = Arc::<ReaderState>::default();
        let (proc, queue, answer, own) =
            (Arc::clone(&self.proc), Arc::clone(&self.queue), self.answer.clone(), Arc::clone(&state));
        let thread = std::thread::Builder::new().name("reader".into()).stack_size(128 << 10);
        // A host without room for a thread refuses reads, and says so by their count.
        let thread = thread.spawn(move || work(&proc, &queue, &own, &answer)).ok()?;
        Some(Reader { thread, state })
    }

    fn refuse_the_queued(&mut self) {
        for job in self.queue.take_all() {
            self.awaited.remove(&job.number);
            self.outcomes.push_back(Outcome::Refused { job: job.number, id: job.id });
        }
    }
}

impl Drop for Readers {
    /// Ends the threads that can end; one that hangs ends with its read, or with the agent.
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn work(
    proc: &ProcDir,
    queue: &Queue,
    state: &ReaderState,
    answer: &Sender<(Job, Result<Found, ReadError>)>,
) {
    if let Ok(stat) = open_at(CWD, c"/proc/thread-self/stat") {
        let _first = state.stat.set(stat);
    }
    let mut reader = DetailsReader::new();
    while !state.abandoned.load(Ordering::Relaxed) {
        let Some(job) = queue.pop(|job| *lock(&state.current) = Some(job)) else { return };
        let found = reader.read(proc, job.id);
        *lock(&state.current) = None;
        if answer.send((job, found)).is_err() {
            return;
        }
    }
}

/// Jobs nobody has begun. At most one a process.
#[derive(Debug, Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    come: Condvar,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    fn push(&self, job: Job) {
        lock(&self.jobs).waiting.push_back(job);
        self.come.notify_one();
    }

    /// Waits for a job; `begin` is told while nobody else can see the queue, so that a job is always either in the
    /// queue or some reader's. `None` when the pool is gone.
    fn pop(&self, begin: impl FnOnce(Job)) -> Option<Job> {
        let mut jobs = lock(&self.jobs);
        loop {
            if jobs.closed {
                return None;
            }
            if let Some(job) = jobs.waiting.pop_front() {
                begin(job);
                return Some(job);
            }
            jobs = self.come.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take_all(&self) -> VecDeque<Job> {
        std::mem::take(&mut lock(&self.jobs).waiting)
    }

    fn close(&self) {
        lock(&self.jobs).closed = true;
        self.come.notify_all();
    }
}

/// Nothing here can be left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
