//! Groups: metrics are per group of processes, never per process number.
//!
//! Rules give every process a name, labels may be added to it: together they are the key of a group. All keys that
//! are met are tracked, up to a bound; at most `limit` of them have series of their own, the others are folded: what
//! their members use counts in the group `other` while that lasts.
//!
//! | file | idea |
//! |---|---|
//! | `rule`, `condition`, `template` | what a rule is, whom it is about, how it names the group |
//! | `preset` | rules for well-known programs |
//! | `settings` | all that people choose |
//! | `decision` | which rule holds for a process |
//! | `tracked` | the keys that were met, and their numbers |
//! | `budget` | who has series of its own |
//! | `health` | whether expected groups are there, and how often they came back |
//! | `reload` | other settings for groups that live |
//! | `explain` | why a process is where it is |

mod budget;
mod condition;
mod decision;
mod explain;
mod health;
mod preset;
mod reload;
mod rule;
mod settings;
mod template;
mod tracked;

pub use condition::{Conditions, Match};
pub use decision::{Family, Member, Why};
pub use explain::{Explanation, Reason};
pub use health::GroupHealth;
pub use preset::{PRESETS, preset};
pub use rule::{Place, Problem, Rule, RuleError, RuleText};
pub use settings::{Health, Label, Settings, Unmatched};
pub use template::{PLACEHOLDERS, Template};

use crate::plugin::Needs;
use crate::process::{Process, State};
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::time::Ns;
use crate::users::Users;
use decision::{Deciding, decide};
use health::Expectations;
use std::sync::Arc;
use tracked::{Kind, Tracked};

/// The label that names the group.
pub const GROUP_LABEL: &str = "group";

/// All threads of the kernel are this one group. It is folded only when expected groups fill the limit.
pub const KERNEL: &str = "kernel";

/// Where processes count that have no group with series of its own.
pub const OTHER: &str = "other";

/// The number of a group while it lives. Numbers of retired groups are given out again, after their series have
/// ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

impl GroupId {
    /// No group: of processes that are dropped, and of those that were not looked at yet. Nothing counts for it.
    pub const NONE: GroupId = GroupId(u32::MAX);

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

/// Which processes belong together, and which groups have series.
#[derive(Debug)]
pub struct Groups {
    settings: Settings,
    tracked: Tracked,
    expectations: Expectations,
    deciding: Deciding,
    /// The time of the last [`Groups::settle`].
    settled: Option<Ns>,
    turned_away: u64,
    renamed: u64,
}

impl Groups {
    /// Expected groups are there from now on.
    pub fn new(settings: Settings) -> Groups {
        let mut groups = Groups {
            settings: Settings { limit: 0, ..Settings::default() },
            tracked: Tracked::default(),
            expectations: Expectations::default(),
            deciding: Deciding::default(),
            settled: None,
            turned_away: 0,
            renamed: 0,
        };
        groups.reload(settings);
        groups
    }

    /// What has to be read for them.
    pub fn needs(&self) -> Needs {
        self.settings.needs()
    }

    /// The group of a process; made when it is the first of its key. `inherits` is what its parent passes on.
    pub fn assign(&mut self, process: &Process, inherits: Option<Family>, users: &Users, now: Ns) -> Member {
        let (why, family) = decide(&self.settings, process, inherits.as_ref(), users, &mut self.deciding);
        let rule = match why {
            Why::Rule(rule) => Some(rule),
            Why::Descendant => inherits.as_ref().map(|family| family.rule),
            Why::Unknown | Why::Kernel | Why::Unmatched => None,
        };
        let group = match (why, self.settings.unmatched) {
            (Why::Unmatched, Unmatched::Drop) => GroupId::NONE,
            (Why::Unmatched, Unmatched::Other) => self.tracked.other(now),
            _ if self.settings.limit == 0 => self.tracked.other(now),
            _ => self.enter(why, rule, now),
        };
        Member { group, why, inherits, family }
    }

    /// What a process passes on to its children, without a place for itself.
    pub(crate) fn family(
        &mut self,
        process: &Process,
        inherits: Option<&Family>,
        users: &Users,
    ) -> Option<Family> {
        decide(&self.settings, process, inherits, users, &mut self.deciding).1
    }

    /// The group of the key that was decided on.
    fn enter(&mut self, why: Why, rule: Option<usize>, now: Ns) -> GroupId {
        let key = &*self.deciding.key;
        let expectation = self.expectations.find(self.deciding.name());
        let id = match self.tracked.find(key) {
            Some(id) => id,
            None => match expectation.map(|expectation| self.expectations.primary(expectation)) {
                // An expected group that nobody belongs to takes the labels of who comes: its series go on.
                Some(primary) if self.tracked.is_deserted(primary) => {
                    self.tracked.rename(primary, key, self.deciding.labels(&self.settings));
                    self.renamed += 1;
                    primary
                }
                _ if self.tracked.len() >= self.most() => {
                    self.turned_away += 1;
                    return self.tracked.other(now);
                }
                _ => {
                    let kind = if why == Why::Kernel { Kind::Kernel } else { Kind::Plain };
                    self.tracked.make(key, self.deciding.labels(&self.settings), kind, now)
                }
            },
        };
        if let Some(group) = self.tracked.get_mut(id) {
            group.taken = true;
            group.stale = false;
            group.expectation = expectation;
            group.rule = group.rule.or(rule);
        }
        id
    }

    /// How many keys are tracked at most.
    fn most(&self) -> usize {
        self.settings.limit.saturating_mul(4).saturating_add(64)
    }

    /// Weighs the groups by what the tick saw, folds and unfolds, and retires those that have had no member for too
    /// long. Call it after [`Table::assign`], before anything counts. The caller ends the series of those it
    /// returns.
    pub fn settle(&mut self, table: &Table, snapshot: &Snapshot) -> Vec<GroupId> {
        let now = snapshot.begun.mono;
        let elapsed = self.settled.map(|settled| now.since(settled));
        self.settled = Some(now);
        self.tracked.begin_tick();
        self.expectations.begin_tick();
        for id in table.members() {
            self.tracked.count(id, now);
        }
        for seen in table.seen(snapshot) {
            let Some(group) = self.tracked.get_mut(seen.group) else { continue };
            group.cpu = group.cpu.plus(seen.delta.runtime);
            group.memory = group.memory.saturating_add(seen.reading.resident_memory.unwrap_or(0));
            // A child that outlives its leader does not serve in its place, nor does a stranger of the same name, nor
            // who only waits to be waited for.
            let serves = seen.reading.state != State::Defunct
                && table.member(seen.process.id).is_some_and(|member| matches!(member.why, Why::Rule(_)));
            if let Some(expectation) = group.expectation.filter(|_| serves) {
                self.expectations.saw(expectation, seen.group, seen.process.id);
            }
        }
        self.expectations.end_tick(now, self.settings.health);
        for expectation in 0..self.expectations.len() {
            if let Some((from, to)) = self.expectations.moved(expectation) {
                self.tracked.move_pin(from, to);
            }
        }
        self.tracked.weigh(elapsed, &snapshot.host);
        let mut ended = Vec::new();
        self.tracked.retire(self.settings.forget, self.most(), now, &mut ended);
        self.tracked.share_out(self.settings.limit, self.settings.forget, now, &mut ended);
        ended
    }

    /// Where the members of a group count: in itself, or in `other` while it is folded.
    pub fn resolve(&self, id: GroupId) -> GroupId {
        self.tracked.resolve(id)
    }

    /// The labels of a living group, folded or not.
    pub fn labels(&self, id: GroupId) -> Option<&Arc<GroupLabels>> {
        self.tracked.get(id).map(|group| &group.labels)
    }

    /// The version that its rule gives to a group.
    pub fn version(&self, id: GroupId) -> Option<&str> {
        self.settings.rules.get(self.tracked.get(id)?.rule?)?.version.as_deref()
    }

    /// How an expected group fares; `None` for all others.
    pub fn health(&self, id: GroupId) -> Option<&GroupHealth> {
        let expectation = self.tracked.get(id)?.expectation?;
        self.expectations.health(expectation).filter(|_| self.expectations.primary(expectation) == id)
    }

    /// All groups that have series.
    pub fn ids(&self) -> impl Iterator<Item = GroupId> {
        self.tracked.iter().filter(|(_, group)| group.own).map(|(id, _)| id)
    }

    /// How many groups have series, `other` included.
    pub fn len(&self) -> usize {
        self.ids().count()
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.ids().next().is_none()
    }

    /// One more than the largest number in use: the size of a vector indexed by group.
    pub fn capacity(&self) -> usize {
        self.tracked.capacity()
    }

    /// How many groups with members count in `other` for want of room.
    pub fn folded(&self) -> usize {
        self.tracked.iter().filter(|(_, group)| !group.own && group.members > 0).count()
    }

    /// How many times a process went to `other` unweighed, for too many keys were tracked already.
    pub fn turned_away(&self) -> u64 {
        self.turned_away
    }

    /// How many times a living group got other labels.
    pub(crate) fn renamed(&self) -> u64 {
        self.renamed
    }

    pub(crate) fn look_at_users(&self) -> bool {
        self.settings.look_at_users()
    }

    pub(crate) fn have_descendants(&self) -> bool {
        self.settings.have_descendants()
    }
}
