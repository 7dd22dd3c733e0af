//! The table: every living process, and a bounded ring of ended ones. Fed by scans and by events; it gives every
//! process one identity and every use of the machine to one process, once.

use crate::event::{Event, ExitStatus, Record, What};
use crate::group::{GroupId, Groups};
use crate::process::{Io, NAME_MAX, Pid, Process, ProcessId, Usage, bounded_lossy, program_name};
use crate::snapshot::{Details, Reading, Snapshot};
use crate::time::{Ns, Ticks, Timestamp};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Ancestries are followed this far.
pub const LINEAGE_MAX: usize = 64;

/// Of the arguments of ended processes, this many bytes are kept.
const ENDED_ARGV_MAX: usize = 256;

/// Start times derived from the time of a fork may be this many ticks off.
const START_TOLERANCE: u64 = 2;

/// A process that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What was known of it.
    pub process: Process,
    /// Its group at the end.
    pub group: GroupId,
    /// When its end was noticed.
    pub at: Timestamp,
    /// How it ended; scans alone cannot tell.
    pub status: Option<ExitStatus>,
    /// What it had used when last seen.
    pub usage: Usage,
}

/// One step of an ancestry.
#[derive(Clone, Copy, Debug)]
pub struct Ancestor<'a> {
    /// The process.
    pub process: &'a Process,
    /// Whether it has ended.
    pub ended: bool,
}

/// A process as one tick sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What is known of it.
    pub process: &'a Process,
    /// Its numbers in this scan.
    pub reading: &'a Reading,
    /// What it used since the last scan, or since its birth if that was later.
    pub delta: &'a Usage,
    /// Where that counts.
    pub group: GroupId,
    /// Whether it was born since the last scan.
    pub started: bool,
}

#[derive(Debug)]
struct Row {
    process: Process,
    /// The highest cumulative numbers seen: a kernel that contradicts itself is not credited twice.
    usage: Usage,
    delta: Usage,
    group: GroupId,
    scan: u64,
    started: bool,
    /// The start time in its id was derived from an event.
    estimated: bool,
    exit: Option<ExitStatus>,
}

impl Row {
    fn is(&self, id: ProcessId) -> bool {
        let near = self.process.id.start.0.abs_diff(id.start.0) <= START_TOLERANCE;
        self.process.id.pid == id.pid && (self.process.id.start == id.start || self.estimated && near)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Option<Row>>,
    vacant: Vec<usize>,
    by_pid: HashMap<Pid, usize>,
    /// Rows of the last snapshot, in its order.
    seen: Vec<usize>,
    unassigned: Vec<usize>,
    scan: u64,
    last: Option<Timestamp>,
    ticks_per_second: u64,
    ended: HashMap<ProcessId, Ended>,
    ended_order: VecDeque<ProcessId>,
    ended_now: Vec<ProcessId>,
    remember: usize,
    contradictions: u64,
}

impl Table {
    /// `remember` bounds the ended processes that are kept; `ticks_per_second` is the grain of start times.
    pub fn new(remember: usize, ticks_per_second: u64) -> Table {
        Table {
            rows: Vec::new(),
            vacant: Vec::new(),
            by_pid: HashMap::new(),
            seen: Vec::new(),
            unassigned: Vec::new(),
            scan: 0,
            last: None,
            ticks_per_second,
            ended: HashMap::new(),
            ended_order: VecDeque::new(),
            ended_now: Vec::new(),
            remember,
            contradictions: 0,
        }
    }

    /// Takes in a scan: deltas, births, ends, ancestry. Call [`Table::assign`] next.
    pub fn merge(&mut self, snapshot: &Snapshot) {
        self.scan += 1;
        self.seen.clear();
        self.ended_now.clear();
        let mut births = Vec::new();
        for reading in &snapshot.processes {
            let slot = match self.by_pid.get(&reading.id.pid) {
                Some(&slot) if self.rows[slot].as_ref().is_some_and(|row| row.is(reading.id)) => {
                    self.update(slot, reading);
                    slot
                }
                reused => {
                    if let Some(&slot) = reused {
                        self.end(slot, snapshot.ended);
                    }
                    let slot = self.insert(reading);
                    births.push((slot, reading.parent));
                    slot
                }
            };
            self.seen.push(slot);
        }
        for (slot, parent) in births {
            self.adopt(slot, parent);
        }
        self.end_unseen(snapshot.ended);
        for details in &snapshot.details {
            self.describe(details);
        }
        self.last = Some(snapshot.begun);
    }

    fn update(&mut self, slot: usize, reading: &Reading) {
        let Some(row) = &mut self.rows[slot] else { return };
        row.delta = reading.usage.since(&row.usage);
        if reading.usage.falls_below(&row.usage) {
            self.contradictions += 1;
        }
        row.usage = high_water(&reading.usage, &row.usage);
        row.scan = self.scan;
        row.started = false;
        refresh(&mut row.process, reading);
    }

    fn insert(&mut self, reading: &Reading) -> usize {
        // Born since the last scan, or forked while that scan was under way: nobody has counted its use yet.
        // A start time has the grain of a tick, so the tick in which the scan began counts as after it; what
        // had been running then would have been seen.
        let started = self
            .last
            .is_some_and(|last| reading.id.start >= Ticks::from_ns(last.boot, self.ticks_per_second));
        let mut usage = reading.usage;
        let mut delta = Usage::default();
        if started {
            delta = reading.usage;
            usage.io = usage.io.or(Some(Io::default()));
        }
        let mut process = Process {
            id: reading.id,
            parent: None,
            parent_pid: reading.parent,
            name: program_name(b"", None, None).into(),
            comm: "".into(),
            exe: None,
            argv: None,
            user: None,
            cgroup: None,
            kernel_thread: reading.kernel_thread,
        };
        refresh(&mut process, reading);
        self.place(Row {
            process,
            usage,
            delta,
            group: GroupId(0),
            scan: self.scan,
            started,
            estimated: false,
            exit: None,
        })
    }

    fn place(&mut self, row: Row) -> usize {
        let pid = row.process.id.pid;
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.rows[slot] = Some(row);
                slot
            }
            None => {
                self.rows.push(Some(row));
                self.rows.len() - 1
            }
        };
        self.by_pid.insert(pid, slot);
        self.unassigned.push(slot);
        slot
    }

    /// Gives a new process its true parent: the living process of that number, unless it is the younger one
    /// (then the number has been reused).
    fn adopt(&mut self, slot: usize, parent: Pid) {
        let Some(parent) = self.living(parent).map(|process| process.id) else { return };
        let Some(row) = &mut self.rows[slot] else { return };
        let older = (parent.start, parent.pid) <= (row.process.id.start, row.process.id.pid);
        if row.process.parent.is_none()
            && parent != row.process.id
            && (older || parent.start < row.process.id.start)
        {
            row.process.parent = Some(parent);
        }
    }

    fn end_unseen(&mut self, at: Timestamp) {
        for slot in 0..self.rows.len() {
            if self.rows[slot].as_ref().is_some_and(|row| row.scan != self.scan) {
                self.end(slot, at);
            }
        }
    }

    fn end(&mut self, slot: usize, at: Timestamp) {
        let Some(mut row) = self.rows[slot].take() else { return };
        self.vacant.push(slot);
        let id = row.process.id;
        if self.by_pid.get(&id.pid) == Some(&slot) {
            self.by_pid.remove(&id.pid);
        }
        if let Some(argv) = &mut row.process.argv {
            argv.shorten(ENDED_ARGV_MAX);
        }
        let ended = Ended { process: row.process, group: row.group, at, status: row.exit, usage: row.usage };
        if self.remember == 0 {
            return;
        }
        while self.ended_order.len() >= self.remember {
            if let Some(oldest) = self.ended_order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
        self.ended_order.push_back(id);
        self.ended.insert(id, ended);
        self.ended_now.push(id);
    }

    fn describe(&mut self, details: &Details) {
        let Some(&slot) = self.by_pid.get(&details.id.pid) else { return };
        let Some(row) = self.rows[slot].as_mut().filter(|row| row.is(details.id)) else { return };
        let process = &mut row.process;
        process.comm = bounded_lossy(&details.comm, NAME_MAX).into();
        process.exe.clone_from(&details.exe);
        process.argv.clone_from(&details.argv);
        process.cgroup.clone_from(&details.cgroup);
        process.name = program_name(&details.comm, details.exe.as_deref(), details.argv.as_ref()).into();
        self.unassigned.push(slot);
    }

    /// Puts every process that is new or has changed its program into its group.
    pub fn assign(&mut self, groups: &mut Groups, now: Ns) {
        for slot in self.unassigned.drain(..) {
            if let Some(row) = &mut self.rows[slot] {
                row.group = groups.assign(&row.process, now);
            }
        }
    }

    /// Takes in one record and says whom it is about. What a process used is credited by scans; events give
    /// births, names, users and the way of the end.
    pub fn apply(&mut self, record: &Record) -> Option<Event> {
        let at = self.timestamp(record.at.0);
        let process = match &record.what {
            What::Fork { parent } => Some(self.fork(record, *parent)),
            _ => self.living(record.pid).map(|process| process.id),
        };
        if let Some(row) = process.and_then(|id| self.row_mut(id)) {
            match &record.what {
                What::Exec { exe } => {
                    row.process.exe.clone_from(exe);
                    row.process.argv = None;
                    let name = program_name(row.process.comm.as_bytes(), exe.as_deref(), None);
                    row.process.name = name.into();
                }
                What::Exit { status } => row.exit = Some(*status),
                What::Credentials { effective, .. } => row.process.user = Some(*effective),
                What::Comm { comm } => row.process.comm = bounded_lossy(comm, NAME_MAX).into(),
                _ => {}
            }
            if let (What::Exec { .. }, Some(&slot)) = (&record.what, self.by_pid.get(&record.pid)) {
                self.unassigned.push(slot);
            }
        }
        Some(Event { seq: record.seq, at, process, what: record.what.clone() })
    }

    fn fork(&mut self, record: &Record, parent: Pid) -> ProcessId {
        let estimated = record.start.is_none();
        let start = record.start.unwrap_or(Ticks::from_ns(record.at.0, self.ticks_per_second));
        let id = ProcessId { pid: record.pid, start };
        if let Some(&slot) = self.by_pid.get(&record.pid) {
            match &self.rows[slot] {
                Some(row)
                    if row.is(id)
                        || estimated && row.process.id.start.0.abs_diff(start.0) <= START_TOLERANCE =>
                {
                    return row.process.id;
                }
                _ => self.end(slot, self.timestamp(record.at.0)),
            }
        }
        // Until it calls exec, a child is what its parent is.
        let template = self.living(parent).cloned();
        let process = Process {
            id,
            parent: template.as_ref().map(|parent| parent.id),
            parent_pid: parent,
            name: template
                .as_ref()
                .map_or_else(|| program_name(b"", None, None).into(), |p| Arc::clone(&p.name)),
            comm: template.as_ref().map_or_else(|| "".into(), |p| Arc::clone(&p.comm)),
            exe: template.as_ref().and_then(|p| p.exe.clone()),
            argv: template.as_ref().and_then(|p| p.argv.clone()),
            user: template.as_ref().and_then(|p| p.user),
            cgroup: template.as_ref().and_then(|p| p.cgroup.clone()),
            kernel_thread: template.is_some_and(|p| p.kernel_thread),
        };
        let usage = Usage { io: Some(Io::default()), ..Usage::default() };
        let delta = Usage::default();
        self.place(Row {
            process,
            usage,
            delta,
            group: GroupId(0),
            scan: self.scan,
            started: true,
            estimated,
            exit: None,
        });
        id
    }

    fn timestamp(&self, boot: Ns) -> Timestamp {
        let last = self.last.unwrap_or_default();
        let shift = |clock: Ns| Ns(clock.0.saturating_add(boot.0).saturating_sub(last.boot.0));
        Timestamp { mono: shift(last.mono), boot, wall: shift(last.wall) }
    }

    fn row_mut(&mut self, id: ProcessId) -> Option<&mut Row> {
        let slot = *self.by_pid.get(&id.pid)?;
        self.rows[slot].as_mut().filter(|row| row.process.id == id)
    }

    /// The living process of this number.
    pub fn living(&self, pid: Pid) -> Option<&Process> {
        let slot = *self.by_pid.get(&pid)?;
        self.rows[slot].as_ref().map(|row| &row.process)
    }

    /// A process, living or ended.
    pub fn get(&self, id: ProcessId) -> Option<Ancestor<'_>> {
        match self.living(id.pid) {
            Some(process) if process.id == id => Some(Ancestor { process, ended: false }),
            _ => self.ended.get(&id).map(|ended| Ancestor { process: &ended.process, ended: true }),
        }
    }

    /// How an ended process ended, while it is remembered.
    pub fn ended(&self, id: ProcessId) -> Option<&Ended> {
        self.ended.get(&id)
    }

    /// The ancestry of a process, root first, itself last, by true parents. At most [`LINEAGE_MAX`] steps;
    /// loops, which only made-up input can have, are cut.
    pub fn lineage(&self, id: ProcessId) -> Vec<Ancestor<'_>> {
        let mut chain = Vec::new();
        let mut met = HashSet::new();
        let mut next = Some(id);
        while let Some(ancestor) = next.and_then(|id| self.get(id)) {
            if chain.len() == LINEAGE_MAX || !met.insert(ancestor.process.id) {
                break;
            }
            chain.push(ancestor);
            next = ancestor.process.parent;
        }
        chain.reverse();
        chain
    }

    /// The processes of the last scan with their deltas; `snapshot` is the one that was merged last.
    pub fn seen<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = Seen<'a>> {
        self.seen.iter().zip(&snapshot.processes).filter_map(|(slot, reading)| {
            let row = self.rows[*slot].as_ref()?;
            Some(Seen {
                process: &row.process,
                reading,
                delta: &row.delta,
                group: row.group,
                started: row.started,
            })
        })
    }

    /// The groups of all living processes.
    pub fn members(&self) -> impl Iterator<Item = GroupId> {
        self.rows.iter().flatten().map(|row| row.group)
    }

    /// The processes whose end the last scan noticed.
    pub fn ended_now(&self) -> impl Iterator<Item = &Ended> {
        self.ended_now.iter().filter_map(|id| self.ended.get(id))
    }

    /// When a process began, on the clock of [`Timestamp::boot`].
    pub fn began(&self, id: ProcessId) -> Ns {
        id.start.to_ns(self.ticks_per_second)
    }

    /// Living processes.
    pub fn len(&self) -> usize {
        self.by_pid.len()
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    /// Ended processes that are remembered.
    pub fn remembered(&self) -> usize {
        self.ended.len()
    }

    /// How often a cumulative number of a process was below what it had been; such differences count as 0.
    pub fn contradictions(&self) -> u64 {
        self.contradictions
    }
}

fn refresh(process: &mut Process, reading: &Reading) {
    process.parent_pid = reading.parent;
    process.kernel_thread = reading.kernel_thread;
    if let Some(users) = reading.users {
        process.user = Some(users.effective);
    }
}

fn high_water(now: &Usage, before: &Usage) -> Usage {
    let io = match (now.io, before.io) {
        (Some(now), Some(before)) => Some(Io {
            read_bytes: now.read_bytes.max(before.read_bytes),
            write_bytes: now.write_bytes.max(before.write_bytes),
            read_operations: now.read_operations.max(before.read_operations),
            write_operations: now.write_operations.max(before.write_operations),
        }),
        (now, before) => now.or(before),
    };
    Usage {
        runtime: now.runtime.max(before.runtime),
        user: now.user.max(before.user),
        system: now.system.max(before.system),
        minor_faults: now.minor_faults.max(before.minor_faults),
        major_faults: now.major_faults.max(before.major_faults),
        io,
    }
}
