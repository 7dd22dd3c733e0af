//! The table: every living process, and a bounded ring of ended ones. Fed by scans and by events; it gives every
//! process one identity and every use of the machine to one process, once.

mod assign;
mod ended;
mod events;

pub use ended::Ended;

use crate::event::ExitStatus;
use crate::group::{GroupId, Member};
use crate::process::{NAME_MAX, Pid, Process, ProcessId, Usage, bounded_lossy, program_name};
use crate::snapshot::{Details, Reading, Snapshot};
use crate::time::{Ns, Ticks, Timestamp};
use crate::users::Users;
use ended::EndedRing;
use std::collections::HashMap;
use std::sync::Arc;

/// Ancestries are followed this far.
pub const LINEAGE_MAX: usize = 64;

/// Start times derived from the time of a fork may be this many ticks off.
const START_TOLERANCE: u64 = 2;

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
    /// Where that counts. Of [`Table::seen`]: its group, folded or not; of [`crate::plugin::Tick::seen`]: the group that
    /// has the series, or [`GroupId::NONE`].
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
    member: Member,
    /// Its group is to be chosen anew by [`Table::assign`].
    unassigned: bool,
    /// Its user is not who it was when its group was chosen.
    other_user: bool,
    /// The last scan that saw it; 0 while only events have told of it.
    scan: u64,
    started: bool,
    /// The start time in its id was derived from an event.
    estimated: bool,
    exit: Option<ExitStatus>,
}

impl Row {
    fn is(&self, id: ProcessId) -> bool {
        self.process.id == id || self.estimated && self.is_near(id)
    }

    fn is_near(&self, id: ProcessId) -> bool {
        self.process.id.pid == id.pid && self.process.id.start.0.abs_diff(id.start.0) <= START_TOLERANCE
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
    /// Those born in the snapshot that is being merged, with the numbers of their parents.
    newborn: Vec<(usize, Pid)>,
    unassigned: Vec<usize>,
    other_user: Vec<usize>,
    /// A process and its ancestors on the way into their groups; kept for its memory.
    chain: Vec<ProcessId>,
    users: Arc<Users>,
    /// The names of users are not those by which groups were chosen.
    names_changed: bool,
    /// Births that events told of since the last scan.
    births: usize,
    scan: u64,
    last: Option<Timestamp>,
    ticks_per_second: u64,
    ended: EndedRing,
    contradictions: u64,
}

impl Table {
    /// `remember` bounds the ended processes that are kept beyond the tick that reports them;
    /// `ticks_per_second` is the grain of start times.
    pub fn new(remember: usize, ticks_per_second: u64) -> Table {
        Table {
            rows: Vec::new(),
            vacant: Vec::new(),
            by_pid: HashMap::new(),
            seen: Vec::new(),
            newborn: Vec::new(),
            unassigned: Vec::new(),
            other_user: Vec::new(),
            chain: Vec::new(),
            users: Arc::default(),
            names_changed: false,
            births: 0,
            scan: 0,
            last: None,
            ticks_per_second,
            ended: EndedRing::new(remember),
            contradictions: 0,
        }
    }

    /// Changes the bound on ended processes; it holds from the next scan on.
    pub fn set_remember(&mut self, remember: usize) {
        self.ended.set_remember(remember);
    }

    /// Takes in a scan: deltas, births, ends, ancestry. Call [`Table::assign`] next.
    pub fn merge(&mut self, snapshot: &Snapshot) {
        self.scan += 1;
        self.births = 0;
        self.seen.clear();
        self.ended.begin_scan();
        if !Arc::ptr_eq(&self.users, &snapshot.users) {
            self.names_changed |= self.users != snapshot.users;
            self.users = Arc::clone(&snapshot.users);
        }
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
                    self.insert(reading)
                }
            };
            self.seen.push(slot);
        }
        self.adopt();
        self.end_unseen(snapshot);
        for details in &snapshot.details {
            self.describe(details);
        }
        self.ended.end_scan();
        self.last = Some(snapshot.begun);
    }

    fn update(&mut self, slot: usize, reading: &Reading) {
        let Some(row) = &mut self.rows[slot] else { return };
        row.delta = reading.usage.since(&row.usage);
        if reading.usage.falls_below(&row.usage) {
            self.contradictions += 1;
        }
        row.usage = reading.usage.high_water(&row.usage);
        row.started = row.scan == 0;
        row.scan = self.scan;
        let user = row.process.user;
        refresh(&mut row.process, reading);
        if row.process.user != user && !std::mem::replace(&mut row.other_user, true) {
            self.other_user.push(slot);
        }
        if row.started && row.process.parent.is_none() {
            self.newborn.push((slot, reading.parent));
        }
    }

    fn insert(&mut self, reading: &Reading) -> usize {
        if let Some(missed) = self.ended.take(reading.id) {
            return self.take_back(missed, reading);
        }
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
            usage = usage.high_water(&Usage::NEWBORN);
        }
        let mut process = unknown(reading.id);
        refresh(&mut process, reading);
        let slot = self.place(Row {
            process,
            usage,
            delta,
            member: Member::default(),
            unassigned: true,
            other_user: false,
            scan: self.scan,
            started,
            estimated: false,
            exit: None,
        });
        self.newborn.push((slot, reading.parent));
        slot
    }

    /// A process that the last scan could not read, and this one can: it goes on from what it had used then. Its
    /// group may be gone.
    fn take_back(&mut self, missed: Ended, reading: &Reading) -> usize {
        let slot = self.place(Row {
            process: missed.process,
            usage: missed.usage,
            delta: Usage::default(),
            member: Member { group: GroupId::NONE, ..missed.member },
            unassigned: true,
            other_user: false,
            scan: self.scan,
            started: false,
            estimated: false,
            exit: missed.status,
        });
        self.update(slot, reading);
        slot
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

    /// Gives new processes their true parents: the living process of that number, unless it is the younger one
    /// (then the number has been reused).
    fn adopt(&mut self) {
        while let Some((slot, parent)) = self.newborn.pop() {
            let Some(parent) = self.living(parent).map(|process| process.id) else { continue };
            if let Some(row) = &mut self.rows[slot]
                && parent.start <= row.process.id.start
                && parent != row.process.id
            {
                row.process.parent = Some(parent);
            }
        }
    }

    fn end_unseen(&mut self, snapshot: &Snapshot) {
        // Events run ahead of scans: what was forked after the scan began need not be in it.
        let begun = Ticks::from_ns(snapshot.begun.boot, self.ticks_per_second);
        for slot in 0..self.rows.len() {
            let Some(row) = &self.rows[slot] else { continue };
            let may_live = row.scan == 0 && row.process.id.start >= begun && row.exit.is_none();
            if row.scan != self.scan && !may_live {
                self.end(slot, snapshot.ended);
            }
        }
    }

    fn end(&mut self, slot: usize, at: Timestamp) {
        let Some(row) = self.rows[slot].take() else { return };
        self.vacant.push(slot);
        if self.by_pid.get(&row.process.id.pid) == Some(&slot) {
            self.by_pid.remove(&row.process.id.pid);
        }
        self.ended.push(Ended {
            process: row.process,
            member: row.member,
            at,
            status: row.exit,
            usage: row.usage,
            unassigned: row.unassigned,
        });
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
        if !std::mem::replace(&mut row.unassigned, true) {
            self.unassigned.push(slot);
        }
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
            _ => self.ended.get(id).map(|ended| Ancestor { process: &ended.process, ended: true }),
        }
    }

    /// How an ended process ended, while it is remembered.
    pub fn ended(&self, id: ProcessId) -> Option<&Ended> {
        self.ended.get(id)
    }

    /// The ancestry of a process, root first, itself last, by true parents. At most [`LINEAGE_MAX`] steps;
    /// loops, which only made-up input can have, are cut.
    pub fn lineage(&self, id: ProcessId) -> Vec<Ancestor<'_>> {
        let mut chain: Vec<Ancestor<'_>> = Vec::new();
        let mut next = Some(id);
        while let Some(ancestor) = next.and_then(|id| self.get(id)) {
            let met = chain.iter().any(|step| step.process.id == ancestor.process.id);
            if chain.len() == LINEAGE_MAX || met {
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
            let row = self.rows[*slot].as_ref().filter(|row| row.is(reading.id))?;
            Some(Seen {
                process: &row.process,
                reading,
                delta: &row.delta,
                group: row.member.group,
                started: row.started,
            })
        })
    }

    /// The groups, folded or not, of all living processes, and of those whose end the last scan noticed: collectors
    /// still have something to say of these.
    pub fn members(&self) -> impl Iterator<Item = GroupId> {
        let living = self.rows.iter().flatten().map(|row| row.member.group);
        living.chain(self.ended_now().map(|ended| ended.member.group))
    }

    /// The processes whose end the last scan noticed, those too whose number an event gave to another before it.
    pub fn ended_now(&self) -> impl Iterator<Item = &Ended> {
        self.ended.reported()
    }

    /// When a process began, on the clock of [`Timestamp::boot`].
    pub fn began(&self, id: ProcessId) -> Ns {
        id.start.to_ns(self.ticks_per_second)
    }

    /// The names of users, as of the last scan.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Living processes.
    pub fn len(&self) -> usize {
        self.by_pid.len()
    }

    /// Whether nothing was seen yet.
    pub fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    /// Ended processes that are remembered, those that the last scan reports included.
    pub fn remembered(&self) -> usize {
        self.ended.len()
    }

    /// How often a cumulative number of a process was below what it had been; such differences count as 0.
    pub fn contradictions(&self) -> u64 {
        self.contradictions
    }
}

/// All that is known of a process at first.
fn unknown(id: ProcessId) -> Process {
    Process {
        id,
        parent: None,
        parent_pid: Pid(0),
        name: program_name(b"", None, None).into(),
        comm: "".into(),
        exe: None,
        argv: None,
        user: None,
        cgroup: None,
        kernel_thread: false,
    }
}

fn refresh(process: &mut Process, reading: &Reading) {
    process.parent_pid = reading.parent;
    process.kernel_thread = reading.kernel_thread;
    if let Some(users) = reading.users {
        process.user = Some(users.effective);
    }
}
