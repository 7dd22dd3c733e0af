//! The threads for reads that may hang. The scan asks, and waits as long as answers keep coming: a crowd of new
//! processes takes the time it takes, but one that hangs holds nobody up for longer than the deadline. Whatever is
//! being read then is in quarantine; its thread is left alone, another takes its place, and the answer, should it
//! come, is handed out with a later scan.

use super::details::{DetailsReader, Found};
use super::files::{ProcDir, ReadError, open_at, read_start};
use super::parse;
use super::passwd::{self, Passwd, Stamp};
use super::smaps::{Mapped, Meter};
use procagent_core::process::ProcessId;
use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
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

/// What can be asked of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Executable, arguments and control group of a process.
    Details(ProcessId),
    /// Its smaps_rollup, while there is reading time left.
    Smaps(ProcessId),
    /// The file of users, unless it is the one known.
    Passwd(Option<Stamp>),
}

/// What was read.
#[derive(Debug)]
pub(super) enum Answer {
    Details(Result<Found, ReadError>),
    Smaps(Result<Mapped, ReadError>),
    Passwd(Result<Passwd, ReadError>),
}

/// A job and what became of it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub job: Job,
    pub end: End,
}

/// What became of a job.
#[derive(Debug)]
pub(super) enum End {
    /// It came back, now or long after it was given up.
    Read(Answer),
    /// It does not come back; what it is about is in quarantine until it does.
    Stuck,
    /// It was not tried, for all readers hang.
    Refused,
}

/// The pool.
#[derive(Debug)]
pub(super) struct Readers {
    deadline: Duration,
    answers: Receiver<(Job, Answer)>,
    /// What a new reader is given.
    tools: Tools,
    readers: Vec<Reader>,
    /// Asked in this scan and not yet answered.
    awaited: HashMap<u64, Job>,
    /// To be handed out.
    outcomes: VecDeque<Outcome>,
    last_job: u64,
}

/// What every reader works with.
#[derive(Clone, Debug)]
struct Tools {
    proc: Arc<ProcDir>,
    passwd: Arc<Path>,
    meter: Meter,
    queue: Arc<Queue>,
    answer: Sender<(Job, Answer)>,
}

/// Something asked, by a number of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub number: u64,
    pub ask: Ask,
}

impl Job {
    fn is_about_memory(self) -> bool {
        matches!(self.ask, Ask::Smaps(_))
    }
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
    /// `passwd` is the file of users; `meter` measures the reading of smaps_rollup and says when to stop.
    pub fn new(proc: Arc<ProcDir>, passwd: Arc<Path>, meter: Meter, deadline: Duration) -> Readers {
        let (answer, answers) = channel();
        Readers {
            deadline,
            answers,
            tools: Tools { proc, passwd, meter, queue: Arc::default(), answer },
            readers: Vec::new(),
            awaited: HashMap::new(),
            outcomes: VecDeque::new(),
            last_job: 0,
        }
    }

    /// Sends for something, and gives the number of the job; `None` where all readers hang. Its outcome comes from
    /// [`Readers::next`].
    pub fn ask(&mut self, ask: Ask) -> Option<u64> {
        if self.free() == 0 && !self.staff() {
            return None;
        }
        if matches!(ask, Ask::Smaps(_)) && self.many_hang() {
            return None;
        }
        self.last_job += 1;
        let job = Job { number: self.last_job, ask };
        self.awaited.insert(job.number, job);
        self.tools.queue.push(job);
        Some(job.number)
    }

    /// The next outcome; waits for it, at most one deadline after the one before. `None` when there is nothing
    /// left to wait for. What takes long without hanging, as large memory does, comes with a later scan.
    pub fn next(&mut self) -> Option<Outcome> {
        for _ in 0..PATIENCE {
            if let Some(outcome) = self.outcomes.pop_front() {
                return Some(outcome);
            }
            // Reads that were given up may come back at any time; nobody waits for them.
            let wait = if self.awaited.is_empty() { Duration::ZERO } else { self.deadline };
            match self.answers.recv_timeout(wait) {
                Ok((job, answer)) => {
                    self.awaited.remove(&job.number);
                    return Some(Outcome { job, end: End::Read(answer) });
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)
                    if self.awaited.is_empty() =>
                {
                    return None;
                }
                Err(_) => {
                    self.give_up(|reader| !reader.runs());
                    // Nobody waits longer for large memory, which takes its time; it comes with a later scan.
                    self.awaited.retain(|_, job| !job.is_about_memory());
                }
            }
        }
        self.give_up(|_| true);
        self.refuse(|_| true);
        self.outcomes.pop_front()
    }

    /// Threads that may still pick up a job.
    fn free(&self) -> usize {
        self.readers.iter().filter(|reader| !reader.state.abandoned.load(Ordering::Relaxed)).count()
    }

    /// Should all memory hang, there have to be readers for the arguments of new processes.
    fn many_hang(&self) -> bool {
        self.readers.len() - self.free() >= THREADS_MAX / 2
    }

    /// Gives up on reads that hang.
    fn give_up(&mut self, hangs: impl Fn(&ReaderState) -> bool) {
        let before = self.outcomes.len();
        for reader in &self.readers {
            let Some(job) = *lock(&reader.state.current) else { continue };
            if !reader.state.abandoned.load(Ordering::Relaxed) && hangs(&reader.state) {
                reader.state.abandoned.store(true, Ordering::Relaxed);
                self.awaited.remove(&job.number);
                self.outcomes.push_back(Outcome { job, end: End::Stuck });
            }
        }
        // Only now, for whoever takes up the next job has not had its time.
        for outcome in self.outcomes.range(before..) {
            self.tools.queue.ended(outcome.job);
        }
        if self.many_hang() {
            self.refuse(|ask| matches!(ask, Ask::Smaps(_)));
        }
        if !self.staff() {
            self.refuse(|_| true);
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
        let (tools, own) = (self.tools.clone(), Arc::clone(&state));
        let thread = std::thread::Builder::new().name("reader".into()).stack_size(128 << 10);
        // A host without room for a thread refuses reads, and says so by their count.
        let thread = thread.spawn(move || work(&tools, &own)).ok()?;
        Some(Reader { thread, state })
    }

    /// Gives up on what nobody has begun.
    fn refuse(&mut self, which: impl Fn(Ask) -> bool) {
        for job in self.tools.queue.take(which) {
            self.awaited.remove(&job.number);
            self.outcomes.push_back(Outcome { job, end: End::Refused });
        }
    }
}

impl Drop for Readers {
    /// Ends the threads that can end; one that hangs ends with its read, or with the agent.
    fn drop(&mut self) {
        self.tools.queue.close();
    }
}

fn work(tools: &Tools, state: &ReaderState) {
    if let Ok(stat) = open_at(CWD, c"/proc/thread-self/stat") {
        let _first = state.stat.set(stat);
    }
    let mut reader = DetailsReader::new();
    while !state.abandoned.load(Ordering::Relaxed) {
        let Some(job) = tools.queue.pop(|job| *lock(&state.current) = Some(job)) else { return };
        let answer = match job.ask {
            Ask::Details(id) => Answer::Details(reader.read(&tools.proc, id)),
            Ask::Smaps(id) => Answer::Smaps(tools.meter.measure(|| reader.smaps(&tools.proc, id))),
            Ask::Passwd(known) => Answer::Passwd(passwd::read(&tools.passwd, known)),
        };
        *lock(&state.current) = None;
        tools.queue.ended(job);
        if tools.answer.send((job, answer)).is_err() {
            return;
        }
    }
}

/// Jobs nobody has begun. At most one of each kind a process.
#[derive(Debug, Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    come: Condvar,
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    /// The one job about memory that somebody has: read at the same time they would hold up each other, and their
    /// times could not be told apart.
    memory: Option<u64>,
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
            let place = match jobs.memory {
                None => Some(0),
                Some(_) => jobs.waiting.iter().position(|job| !job.is_about_memory()),
            };
            if let Some(job) = place.and_then(|place| jobs.waiting.remove(place)) {
                if job.is_about_memory() {
                    jobs.memory = Some(job.number);
                }
                begin(job);
                return Some(job);
            }
            jobs = self.come.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A job was done, or given up.
    fn ended(&self, job: Job) {
        let mut jobs = lock(&self.jobs);
        if jobs.memory == Some(job.number) {
            jobs.memory = None;
            self.come.notify_one();
        }
    }

    fn take(&self, which: impl Fn(Ask) -> bool) -> Vec<Job> {
        let mut jobs = lock(&self.jobs);
        let taken = jobs.waiting.iter().filter(|job| which(job.ask)).copied().collect();
        jobs.waiting.retain(|job| !which(job.ask));
        taken
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
