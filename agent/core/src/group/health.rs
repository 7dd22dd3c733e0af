//! Whether expected groups are there, and how often they came back.

use super::GroupId;
use super::settings::Health;
use crate::process::ProcessId;
use crate::time::Ns;
use std::sync::Arc;

/// How an expected group fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupHealth {
    /// How often it came back with none of the processes that its rule had named before. What became of their
    /// children is no matter.
    pub restarts: u64,
    /// Whether it did so in the last tick.
    pub restarted: bool,
    /// None that its rule names was there for [`Health::retries`] periods.
    pub failed: bool,
}

#[derive(Debug)]
struct Expectation {
    name: Arc<str>,
    /// The group whose series tell of it. With extra labels there may be more of one name.
    primary: GroupId,
    health: GroupHealth,
    /// Those that its rule names, of the last tick that saw any, in order.
    last: Vec<ProcessId>,
    current: Vec<ProcessId>,
    /// A group that has a member in this tick: the primary one, if it has any.
    inhabited: Option<GroupId>,
    absent_since: Option<Ns>,
}

/// All expected groups, by their place in the settings.
#[derive(Debug, Default)]
pub(super) struct Expectations(Vec<Expectation>);

impl Expectations {
    /// Which of them has this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|expectation| *expectation.name == *name)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn name(&self, index: usize) -> &str {
        self.0.get(index).map_or("", |expectation| &expectation.name)
    }

    pub fn primary(&self, index: usize) -> GroupId {
        self.0.get(index).map_or(GroupId::NONE, |expectation| expectation.primary)
    }

    pub fn set_primary(&mut self, index: usize, group: GroupId) {
        if let Some(expectation) = self.0.get_mut(index) {
            expectation.primary = group;
        }
    }

    pub fn health(&self, index: usize) -> Option<&GroupHealth> {
        self.0.get(index).map(|expectation| &expectation.health)
    }

    /// Expects these from now on. What is known of those that stay is kept.
    pub fn replace(&mut self, names: &[&str]) {
        let mut before = std::mem::take(&mut self.0);
        let mut known = |name: &str| {
            let index = before.iter().position(|expectation| *expectation.name == *name)?;
            Some(before.swap_remove(index))
        };
        let expectation = |name: &&str| known(name).unwrap_or_else(|| Expectation::new(name));
        self.0 = names.iter().map(expectation).collect();
    }

    pub fn begin_tick(&mut self) {
        for expectation in &mut self.0 {
            expectation.current.clear();
            expectation.inhabited = None;
        }
    }

    /// The scan saw this member of it.
    pub fn saw(&mut self, index: usize, group: GroupId, process: ProcessId) {
        let Some(expectation) = self.0.get_mut(index) else { return };
        expectation.current.push(process);
        if expectation.inhabited.is_none() || group == expectation.primary {
            expectation.inhabited = Some(group);
        }
    }

    /// The group whose series are to tell of it, where that is another than before: all its members are there.
    pub fn moved(&mut self, index: usize) -> Option<(GroupId, GroupId)> {
        let expectation = self.0.get_mut(index)?;
        let to = expectation.inhabited.filter(|group| *group != expectation.primary)?;
        Some((std::mem::replace(&mut expectation.primary, to), to))
    }

    pub fn end_tick(&mut self, now: Ns, health: Health) {
        let patience = Ns(health.every.0.saturating_mul(u64::from(health.retries)));
        self.0.iter_mut().for_each(|expectation| expectation.judge(now, patience));
    }
}

impl Expectation {
    fn new(name: &str) -> Expectation {
        Expectation {
            name: name.into(),
            primary: GroupId::NONE,
            health: GroupHealth::default(),
            last: Vec::new(),
            current: Vec::new(),
            inhabited: None,
            absent_since: None,
        }
    }

    fn judge(&mut self, now: Ns, patience: Ns) {
        self.health.restarted = false;
        if self.current.is_empty() {
            let since = *self.absent_since.get_or_insert(now);
            self.health.failed = now.since(since) >= patience;
            return;
        }
        (self.absent_since, self.health.failed) = (None, false);
        self.current.sort_unstable();
        // What a scan has missed for once is here again, and no restart.
        let lives_on = self.current.iter().any(|process| self.last.binary_search(process).is_ok());
        if !lives_on && !self.last.is_empty() {
            self.health.restarted = true;
            self.health.restarts += 1;
        }
        std::mem::swap(&mut self.last, &mut self.current);
    }
}
