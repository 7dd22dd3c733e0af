//! Puts processes into their groups: parents first, for children may belong where their parents do.

use super::Table;
use crate::group::{Family, Groups, Member, Why};
use crate::process::{Process, ProcessId};
use crate::time::Ns;

/// How far a change of a living process's family is followed down to its descendants in one tick.
const GENERATIONS_MAX: usize = super::LINEAGE_MAX;

impl Table {
    /// Puts every process that is new or has changed its program into its group; those too that began and ended
    /// since the last scan. All others keep theirs without being looked at.
    pub fn assign(&mut self, groups: &mut Groups, now: Ns) {
        self.take_note_of_users(groups.look_at_users());
        let families = groups.have_descendants();
        // Before any of them is looked at as somebody's ancestor.
        let ended: Vec<ProcessId> =
            self.ended.reported().filter(|ended| ended.unassigned).map(|ended| ended.process.id).collect();
        let mut unassigned = std::mem::take(&mut self.unassigned);
        let mut changed = false;
        for slot in unassigned.drain(..) {
            if let Some(row) = self.rows[slot].as_ref().filter(|row| row.unassigned) {
                changed |= self.assign_after_ancestors(row.process.id, families, groups, now);
            }
        }
        self.unassigned = unassigned;
        for id in ended {
            let parent = self.process(id).and_then(|process| process.parent).filter(|_| families);
            if let Some(parent) = parent {
                changed |= self.assign_after_ancestors(parent, families, groups, now);
            }
            self.take_unassigned(id);
            self.assign_ended(id, groups, now);
        }
        if changed && families {
            self.hand_down(groups, now);
        }
    }

    /// Every process is looked at anew by the next [`Table::assign`], because the rules have changed.
    pub fn regroup_all(&mut self) {
        self.unassigned.clear();
        for (slot, row) in self.rows.iter_mut().enumerate() {
            if let Some(row) = row {
                row.unassigned = true;
                self.unassigned.push(slot);
            }
        }
        // Of these only what they pass on matters: to children that live.
        self.ended.all_mut(|ended| ended.unassigned = true);
    }

    /// Where a process belongs, living or ended.
    pub fn member(&self, id: ProcessId) -> Option<&Member> {
        let slot = self.by_pid.get(&id.pid);
        match slot.and_then(|slot| self.rows[*slot].as_ref()).filter(|row| row.process.id == id) {
            Some(row) => Some(&row.member),
            None => self.ended.get(id).map(|ended| &ended.member),
        }
    }

    fn take_note_of_users(&mut self, matter: bool) {
        let all = std::mem::take(&mut self.names_changed);
        while let Some(slot) = self.other_user.pop() {
            let Some(row) = &mut self.rows[slot] else { continue };
            if std::mem::take(&mut row.other_user) && matter {
                row.unassigned = true;
                self.unassigned.push(slot);
            }
        }
        if all && matter {
            for (slot, row) in self.rows.iter_mut().enumerate() {
                if let Some(row) = row.as_mut().filter(|row| !row.unassigned && row.process.user.is_some()) {
                    row.unassigned = true;
                    self.unassigned.push(slot);
                }
            }
        }
    }

    /// Whether what a process passes on is not what it was.
    fn assign_after_ancestors(
        &mut self,
        id: ProcessId,
        families: bool,
        groups: &mut Groups,
        now: Ns,
    ) -> bool {
        let mut next = self.take_unassigned(id);
        while let Some(id) = next {
            self.chain.push(id);
            let parent = self.process(id).and_then(|process| process.parent).filter(|_| families);
            next = parent.and_then(|parent| self.take_unassigned(parent));
        }
        let mut changed = false;
        while let Some(id) = self.chain.pop() {
            changed |= self.assign_one(id, groups, now);
        }
        changed
    }

    /// The same id, if it has not been assigned since its program changed. Each is given out once, so that loops, which
    /// only made-up input can have, end.
    fn take_unassigned(&mut self, id: ProcessId) -> Option<ProcessId> {
        let row = self.by_pid.get(&id.pid).and_then(|slot| self.rows[*slot].as_mut());
        let unassigned = match row.filter(|row| row.process.id == id) {
            Some(row) => &mut row.unassigned,
            None => &mut self.ended.get_mut(id)?.unassigned,
        };
        std::mem::take(unassigned).then_some(id)
    }

    /// Whether a process that had its group before passes on something else now.
    fn assign_one(&mut self, id: ProcessId, groups: &mut Groups, now: Ns) -> bool {
        let inherits = self.inherited(id);
        let row = self.by_pid.get(&id.pid).and_then(|slot| self.rows[*slot].as_mut());
        let Some(row) = row.filter(|row| row.process.id == id) else {
            // It has ended, and only what it passes on matters.
            if let Some(ended) = self.ended.get_mut(id) {
                ended.member.family = groups.family(&ended.process, inherits.as_ref(), &self.users);
                ended.member.inherits = inherits;
            }
            return false;
        };
        let before =
            std::mem::replace(&mut row.member, groups.assign(&row.process, inherits, &self.users, now));
        before.why != Why::Unknown && before.family != row.member.family
    }

    /// A process that began and ended since the last scan counts once, where it belonged.
    fn assign_ended(&mut self, id: ProcessId, groups: &mut Groups, now: Ns) {
        let inherits = self.inherited(id);
        if let Some(ended) = self.ended.get_mut(id) {
            ended.member = groups.assign(&ended.process, inherits, &self.users, now);
        }
    }

    /// What the parent of a process passes on; what it passed on when it was last known, if that is forgotten.
    fn inherited(&self, id: ProcessId) -> Option<Family> {
        let parent = self.process(id)?.parent;
        match parent.and_then(|parent| self.member(parent)) {
            Some(parent) => parent.family.clone(),
            None => self.member(id)?.inherits.clone(),
        }
    }

    /// Moves the descendants of processes that pass on something else than before.
    fn hand_down(&mut self, groups: &mut Groups, now: Ns) {
        for _ in 0..GENERATIONS_MAX {
            let mut again = false;
            for slot in 0..self.rows.len() {
                let Some(row) = &self.rows[slot] else { continue };
                let parent = row.process.parent.and_then(|parent| self.member(parent));
                if parent.is_some_and(|parent| parent.family != row.member.inherits) {
                    let id = row.process.id;
                    again |= self.assign_one(id, groups, now);
                }
            }
            if !again {
                return;
            }
        }
    }

    fn process(&self, id: ProcessId) -> Option<&Process> {
        self.get(id).map(|found| found.process)
    }
}
