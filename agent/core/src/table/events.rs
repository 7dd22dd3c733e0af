//! What events tell the table between two scans.

use super::{Row, START_TOLERANCE, Table};
use crate::event::{Event, Record, What};
use crate::group::Member;
use crate::process::{NAME_MAX, Pid, Process, ProcessId, Usage, bounded_lossy, program_name};
use crate::time::{Ns, Ticks, Timestamp};

/// More births between two scans than this are left to the next scan: should scans cease, the table must not
/// grow with every process that is born.
pub(super) const BIRTHS_MAX: usize = 65_536;

impl Table {
    /// Takes in one record and says whom it is about. What a process used is credited by scans; events give
    /// births, names, users and the way of the end.
    pub fn apply(&mut self, record: &Record) -> Option<Event> {
        let process = match &record.what {
            What::Fork { parent } => self.fork(record, *parent),
            _ => self.subject(record),
        };
        if let Some(id) = process {
            self.learn(id, &record.what);
        }
        let at = self.timestamp(record.at.0);
        Some(Event { seq: record.seq, at, process, what: record.what.clone() })
    }

    /// Whom a record is about. Records may come late, when the process has ended and its number is in use again.
    fn subject(&self, record: &Record) -> Option<ProcessId> {
        let living = self.living_row(record.pid);
        match (record.start.map(|start| ProcessId { pid: record.pid, start }), living) {
            (Some(id), Some(row)) if row.is(id) => Some(row.process.id),
            (Some(id), _) => self.ended.get(id).map(|ended| ended.process.id),
            (None, Some(row)) if row.process.id.start.0 <= self.tick(record).0 + START_TOLERANCE => {
                Some(row.process.id)
            }
            (None, _) => None,
        }
    }

    fn learn(&mut self, id: ProcessId, what: &What) {
        let Some(slot) = self.by_pid.get(&id.pid).copied() else { return self.learn_late(id, what) };
        let Some(row) = self.rows[slot].as_mut().filter(|row| row.process.id == id) else {
            return self.learn_late(id, what);
        };
        match what {
            What::Exec { exe } => {
                row.process.exe.clone_from(exe);
                row.process.argv = None;
                row.process.kernel_thread = false;
                // Where the event does not name the program, the next scan does; until then it keeps its name.
                if exe.is_some() {
                    let comm = row.process.comm.as_bytes();
                    row.process.name = program_name(comm, exe.as_deref(), None).into();
                }
                if !std::mem::replace(&mut row.unassigned, true) {
                    self.unassigned.push(slot);
                }
            }
            What::Exit { status } => row.exit = Some(*status),
            What::Credentials { effective, .. } => {
                let before = row.process.user.replace(*effective);
                if before != Some(*effective) && !std::mem::replace(&mut row.other_user, true) {
                    self.other_user.push(slot);
                }
            }
            What::Comm { comm } => row.process.comm = bounded_lossy(comm, NAME_MAX).into(),
            _ => {}
        }
    }

    fn learn_late(&mut self, id: ProcessId, what: &What) {
        if let (What::Exit { status }, Some(ended)) = (what, self.ended.get_mut(id)) {
            ended.status = Some(*status);
        }
    }

    fn fork(&mut self, record: &Record, parent: Pid) -> Option<ProcessId> {
        let estimated = record.start.is_none();
        let id = ProcessId { pid: record.pid, start: record.start.unwrap_or(self.tick(record)) };
        if let Some(&slot) = self.by_pid.get(&record.pid) {
            match &self.rows[slot] {
                Some(row) if row.is(id) || estimated && row.is_near(id) => return Some(row.process.id),
                // A late record of a process whose number is in use again.
                Some(row) if row.process.id.start > id.start => return None,
                _ => self.end(slot, self.timestamp(record.at.0)),
            }
        }
        if self.ended.get(id).is_some() {
            return Some(id);
        }
        if self.births >= BIRTHS_MAX {
            return None;
        }
        self.births += 1;
        let usage = Usage::NEWBORN;
        let process = match self.living_row(parent) {
            // Until it calls exec, a child is what its parent is.
            Some(row) => {
                Process { id, parent: Some(row.process.id), parent_pid: parent, ..row.process.clone() }
            }
            None => Process { parent_pid: parent, ..super::unknown(id) },
        };
        self.place(Row {
            process,
            usage,
            delta: Usage::default(),
            member: Member::default(),
            unassigned: true,
            other_user: false,
            scan: 0,
            started: true,
            estimated,
            exit: None,
        });
        Some(id)
    }

    fn tick(&self, record: &Record) -> Ticks {
        Ticks::from_ns(record.at.0, self.ticks_per_second)
    }

    fn timestamp(&self, boot: Ns) -> Timestamp {
        let last = self.last.unwrap_or_default();
        let shift = |clock: Ns| Ns(clock.0.saturating_add(boot.0).saturating_sub(last.boot.0));
        Timestamp { mono: shift(last.mono), boot, wall: shift(last.wall) }
    }

    fn living_row(&self, pid: Pid) -> Option<&Row> {
        self.by_pid.get(&pid).and_then(|slot| self.rows[*slot].as_ref())
    }
}
