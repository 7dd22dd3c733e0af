//! The keys of groups that were met.

use super::{GroupId, GroupLabels, OTHER};
use crate::time::Ns;
use std::collections::HashMap;
use std::sync::Arc;

/// What kind of group a key makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Kernel,
    Other,
}

/// A key, with series of its own or folded.
#[derive(Debug)]
pub(super) struct Group {
    pub labels: Arc<GroupLabels>,
    key: Arc<str>,
    pub kind: Kind,
    /// Whether it has series of its own.
    pub own: bool,
    /// The rule that made it, for what else the rule says.
    pub rule: Option<usize>,
    /// Which of the expected groups it belongs to.
    pub expectation: Option<usize>,
    /// An expected group lives here: it never retires, and is folded last of all.
    pub pinned: bool,
    /// Processes at the last settling; of `other`, those of folded groups are among them.
    pub members: u32,
    pub last_member: Ns,
    /// Somebody was put into it since the last settling.
    pub taken: bool,
    /// It had members when the settings changed, and nobody was put into it since.
    pub stale: bool,
    /// What its members used since the last settling.
    pub cpu: Ns,
    /// Resident memory of its members, in bytes.
    pub memory: u64,
    /// Mean share of the host; see `budget`.
    pub score: f64,
    /// Ticks in a row in which it deserved a place.
    pub deserved: u8,
    /// The older of two goes first.
    pub made: u64,
}

/// See the module. All keys, and `other`, by number.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    pub groups: Vec<Option<Group>>,
    by_key: HashMap<Arc<str>, GroupId>,
    vacant: Vec<GroupId>,
    other: Option<GroupId>,
    made: u64,
    /// Kept for its memory.
    pub order: Vec<GroupId>,
}

impl Tracked {
    pub fn find(&self, key: &str) -> Option<GroupId> {
        self.by_key.get(key).copied()
    }

    pub fn get(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id.index())?.as_ref()
    }

    pub fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(id.index())?.as_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        (0u32..).zip(&self.groups).filter_map(|(index, group)| Some((GroupId(index), group.as_ref()?)))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (GroupId, &mut Group)> {
        (0u32..).zip(&mut self.groups).filter_map(|(index, group)| Some((GroupId(index), group.as_mut()?)))
    }

    /// How many keys are tracked; `other` is none.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn capacity(&self) -> usize {
        self.groups.len()
    }

    pub fn resolve(&self, id: GroupId) -> GroupId {
        match self.get(id) {
            Some(group) if group.own => id,
            Some(_) => self.other.unwrap_or(GroupId::NONE),
            None => GroupId::NONE,
        }
    }

    /// A new key, folded until the next settling.
    pub fn make(&mut self, key: &str, labels: GroupLabels, kind: Kind, now: Ns) -> GroupId {
        let key: Arc<str> = key.into();
        let id = self.place(Arc::clone(&key), labels, kind, now);
        self.by_key.insert(key, id);
        id
    }

    /// The group `other`, if there is one.
    pub fn present_other(&self) -> Option<GroupId> {
        self.other
    }

    /// The group `other`, made when it is first needed.
    pub fn other(&mut self, now: Ns) -> GroupId {
        if let Some(id) = self.other {
            return id;
        }
        let id = self.place(OTHER.into(), GroupLabels::named(OTHER), Kind::Other, now);
        self.other = Some(id);
        if let Some(other) = self.get_mut(id) {
            other.own = true;
        }
        id
    }

    fn place(&mut self, key: Arc<str>, labels: GroupLabels, kind: Kind, now: Ns) -> GroupId {
        self.made += 1;
        let group = Group {
            labels: Arc::new(labels),
            key,
            kind,
            own: false,
            rule: None,
            expectation: None,
            pinned: false,
            members: 0,
            last_member: now,
            taken: false,
            stale: false,
            cpu: Ns(0),
            memory: 0,
            score: 0.0,
            deserved: 0,
            made: self.made,
        };
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.groups.push(None);
            // Four times `limit` and some, and configuration bounds that far below u32.
            GroupId(u32::try_from(self.groups.len() - 1).unwrap_or(u32::MAX))
        });
        self.groups[id.index()] = Some(group);
        id
    }

    /// Gives a living group another key.
    pub fn rename(&mut self, id: GroupId, key: &str, labels: GroupLabels) {
        let Some(Some(group)) = self.groups.get_mut(id.index()) else { return };
        self.by_key.remove(&group.key);
        group.key = key.into();
        group.labels = Arc::new(labels);
        self.by_key.insert(Arc::clone(&group.key), id);
    }

    /// An expected group lives there from now on.
    pub fn move_pin(&mut self, from: GroupId, to: GroupId) {
        let rule = self.get(from).and_then(|group| group.rule);
        if let Some(from) = self.get_mut(from) {
            from.pinned = false;
        }
        if let Some(to) = self.get_mut(to) {
            to.pinned = true;
            to.rule = rule;
        }
    }

    /// Whether nobody is in it, nor was put into it since the last settling.
    pub fn is_deserted(&self, id: GroupId) -> bool {
        self.get(id).is_some_and(|group| group.members == 0 && !group.taken)
    }

    pub fn begin_tick(&mut self) {
        for (_, group) in self.iter_mut() {
            group.members = 0;
            group.taken = false;
            group.cpu = Ns(0);
            group.memory = 0;
        }
    }

    pub fn count(&mut self, id: GroupId, now: Ns) {
        if let Some(group) = self.get_mut(id) {
            group.members += 1;
            group.last_member = now;
        }
    }

    /// Forgets a key; its number is given out again. `ended` gets it where it had series.
    pub fn remove(&mut self, id: GroupId, ended: &mut Vec<GroupId>) {
        let Some(group) = self.groups.get_mut(id.index()).and_then(Option::take) else { return };
        match group.kind {
            Kind::Other => self.other = None,
            Kind::Plain | Kind::Kernel => drop(self.by_key.remove(&group.key)),
        }
        if group.own {
            ended.push(id);
        }
        self.vacant.push(id);
    }

    /// Forgets keys without members: after `forget`, at once where the settings make them no more; folded ones, which
    /// have nothing to lose, also when keys become many.
    pub fn retire(&mut self, forget: Ns, most: usize, now: Ns, ended: &mut Vec<GroupId>) {
        let crowded = self.len() > most / 2;
        for index in 0..self.groups.len() {
            let Some(group) = &self.groups[index] else { continue };
            if group.members > 0 || group.kind == Kind::Other || group.pinned {
                continue;
            }
            let over = now.since(group.last_member) >= forget;
            if over || group.stale || crowded && !group.own {
                self.remove(GroupId(u32::try_from(index).unwrap_or(u32::MAX)), ended);
            }
        }
    }
}
