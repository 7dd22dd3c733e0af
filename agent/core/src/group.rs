//! Groups: metrics are per group of processes, never per process number.

mod condition;
mod preset;
mod rule;
mod settings;
mod template;

pub use condition::{Conditions, Match};
pub use preset::{PRESETS, preset};
pub use rule::{Place, Problem, Rule, RuleError, RuleText};
pub use settings::{Health, Label, Settings, Unmatched};
pub use template::{PLACEHOLDERS, Template};

use crate::process::Process;
use crate::time::Ns;
use std::collections::HashMap;
use std::sync::Arc;

/// The label that names the group.
pub const GROUP_LABEL: &str = "group";

/// All threads of the kernel are this one group.
pub const KERNEL: &str = "kernel";

/// Where processes go that find the groups full.
pub const OTHER: &str = "other";

/// The number of a group while it lives. Numbers of retired groups are given out again, after their series have
/// ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl GroupId {
    /// As an index into a vector of [`Groups::capacity`] entries.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The labels of a group, its name first. They may be renamed while the group lives; its series go on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupLabels(pub Vec<(&'static str, Box<str>)>);

impl GroupLabels {
    /// Those of a group that has only a name.
    pub fn named(name: &str) -> GroupLabels {
        GroupLabels(vec![(GROUP_LABEL, name.into())])
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        self.0.first().map_or("", |(_, name)| name)
    }
}

#[derive(Debug)]
struct Group {
    labels: Arc<GroupLabels>,
    members: u32,
    last_member: Ns,
}

/// Which processes belong together. Bounded: at most `limit` groups by name, and `other`.
#[derive(Debug)]
pub struct Groups {
    groups: Vec<Option<Group>>,
    by_name: HashMap<Arc<str>, GroupId>,
    vacant: Vec<GroupId>,
    limit: usize,
    forget: Ns,
    turned_away: u64,
}

impl Groups {
    /// No groups yet.
    pub fn new(settings: Settings) -> Groups {
        let Settings { limit, forget, .. } = settings;
        Groups {
            groups: Vec::new(),
            by_name: HashMap::new(),
            vacant: Vec::new(),
            limit: limit.max(1),
            forget,
            turned_away: 0,
        }
    }

    /// The group of a process; made when it is the first of its name and there is room, else `other`.
    pub fn assign(&mut self, process: &Process, now: Ns) -> GroupId {
        let name: &str = match &*process.name {
            _ if process.kernel_thread => KERNEL,
            // No program can hide among the kernel's threads or in the remainder by its name.
            KERNEL => "./kernel",
            OTHER => "./other",
            name => name,
        };
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let named = self.by_name.len() - usize::from(self.by_name.contains_key(OTHER));
        if named >= self.limit {
            self.turned_away += 1;
            return match self.by_name.get(OTHER) {
                Some(id) => *id,
                None => self.make(OTHER, now),
            };
        }
        self.make(name, now)
    }

    fn make(&mut self, name: &str, now: Ns) -> GroupId {
        let labels = Arc::new(GroupLabels::named(name));
        let group = Group { labels, members: 0, last_member: now };
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.groups.push(None);
            // As many as `limit` plus one, and configuration bounds that far below u32.
            GroupId(u32::try_from(self.groups.len() - 1).unwrap_or(u32::MAX))
        });
        self.groups[id.index()] = Some(group);
        self.by_name.insert(name.into(), id);
        id
    }

    /// Retires the groups that have had no entry in `members` for too long; the caller ends the series of those it
    /// returns.
    pub fn settle(&mut self, members: impl Iterator<Item = GroupId>, now: Ns) -> Vec<GroupId> {
        self.groups.iter_mut().flatten().for_each(|group| group.members = 0);
        for id in members {
            if let Some(Some(group)) = self.groups.get_mut(id.index()) {
                group.members += 1;
                group.last_member = now;
            }
        }
        let mut retired = Vec::new();
        for (index, slot) in self.groups.iter_mut().enumerate() {
            let over = slot
                .as_ref()
                .is_some_and(|group| group.members == 0 && now.since(group.last_member) >= self.forget);
            if over && let Some(group) = slot.take() {
                self.by_name.remove(group.labels.name());
                retired.push(GroupId(u32::try_from(index).unwrap_or(u32::MAX)));
            }
        }
        self.vacant.extend(&retired);
        retired
    }

    /// The labels of a living group.
    pub fn labels(&self, id: GroupId) -> Option<&Arc<GroupLabels>> {
        self.groups.get(id.index())?.as_ref().map(|group| &group.labels)
    }

    /// All living groups.
    pub fn ids(&self) -> impl Iterator<Item = GroupId> {
        (0u32..).zip(&self.groups).filter(|(_, group)| group.is_some()).map(|(index, _)| GroupId(index))
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// One more than the largest number in use: the size of a vector indexed by group.
    pub fn capacity(&self) -> usize {
        self.groups.len()
    }

    /// How many times a process went to `other` because the groups were full.
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::process;

    #[test]
    fn groups_are_bounded_and_the_rest_goes_to_other() {
        let mut groups = Groups::new(Settings::bounded(2, Ns::from_secs(60)));
        let a = groups.assign(&process(1, "a"), Ns(0));
        let b = groups.assign(&process(2, "b"), Ns(0));
        let c = groups.assign(&process(3, "c"), Ns(0));
        let d = groups.assign(&process(4, "d"), Ns(0));
        assert_ne!(a, b);
        assert_eq!(c, d);
        assert_eq!(groups.labels(c).map(|labels| labels.name()), Some(OTHER));
        assert_eq!((groups.len(), groups.turned_away()), (3, 2));
        assert_eq!(groups.assign(&process(5, "a"), Ns(0)), a);
    }

    #[test]
    fn kernel_threads_are_one_group_whatever_programs_call_themselves() {
        let mut groups = Groups::new(Settings::bounded(10, Ns::from_secs(60)));
        let mut thread = process(2, "kworker/0:1");
        thread.kernel_thread = true;
        let kernel = groups.assign(&thread, Ns(0));
        assert_eq!(groups.labels(kernel).map(|labels| labels.name()), Some(KERNEL));
        let program = groups.assign(&process(3, "kernel"), Ns(0));
        assert_eq!(groups.labels(program).map(|labels| labels.name()), Some("./kernel"));
    }

    #[test]
    fn a_group_without_members_is_forgotten_and_its_number_reused() {
        let mut groups = Groups::new(Settings::bounded(1, Ns::from_secs(60)));
        let a = groups.assign(&process(1, "a"), Ns(0));
        assert!(groups.settle([a].into_iter(), Ns::from_secs(10)).is_empty());
        assert!(groups.settle([].into_iter(), Ns::from_secs(69)).is_empty());
        assert_eq!(groups.settle([].into_iter(), Ns::from_secs(70)), [a]);
        assert!(groups.labels(a).is_none());
        assert_eq!(groups.assign(&process(2, "b"), Ns::from_secs(71)), a);
    }
}
