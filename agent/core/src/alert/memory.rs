//! The memory of all rules.

use super::rule::{Memory, Pass};
use super::transition::{AlertId, Change, OpenAlert, Reason, Settings, Transition};
use super::{Findings, Subject};
use crate::process::{BootId, ProcessId};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All alerts. Pure: time comes with every call. Per rule it keeps at most [`Settings::max_open`] subjects that are
/// held, as many alerts, and one flood.
#[derive(Debug)]
pub struct Alerts {
    rules: BTreeMap<Arc<str>, Memory>,
    boot: BootId,
    next: AlertId,
}

impl Alerts {
    /// Knows no rule yet: [`Alerts::configure`] comes next. `next` is above every number in the journal.
    pub fn new(boot: BootId, next: AlertId) -> Alerts {
        Alerts { rules: BTreeMap::new(), boot, next }
    }

    /// Sets the rules, at the start and after a reload. Rules that stay keep their alerts.
    pub fn configure(
        &mut self,
        rules: impl IntoIterator<Item = (Arc<str>, Settings)>,
        now: Timestamp,
    ) -> Vec<Transition> {
        let mut before = std::mem::take(&mut self.rules);
        for (rule, settings) in rules {
            let mut memory = before.remove(&rule).unwrap_or_else(|| Memory::new(settings));
            memory.settings = settings;
            self.rules.insert(rule, memory);
        }
        let mut pass = Pass { boot: self.boot, next: &mut self.next, now, out: Vec::new() };
        for alert in before.values().flat_map(Memory::open) {
            pass.tell(alert.clone(), Change::Resolved(Reason::RuleRemoved));
        }
        pass.out
    }

    /// Takes up the alerts that the journal has open, after [`Alerts::configure`] and before the first
    /// [`Alerts::judge`]. Those of an earlier boot and of rules that are no more are resolved; those of processes
    /// that have ended meanwhile are by the next [`Alerts::exited`].
    pub fn restore(&mut self, open: Vec<OpenAlert>, now: Timestamp) -> Vec<Transition> {
        let highest = open.iter().map(|alert| alert.id.0.saturating_add(1)).max();
        self.next = self.next.max(AlertId(highest.unwrap_or(0)));
        let mut pass = Pass { boot: self.boot, next: &mut self.next, now, out: Vec::new() };
        for alert in open {
            match self.rules.get_mut(&alert.rule) {
                _ if alert.boot != pass.boot => pass.tell(alert, Change::Resolved(Reason::HostRestarted)),
                None => pass.tell(alert, Change::Resolved(Reason::RuleRemoved)),
                Some(memory) => memory.restore(alert, &mut pass),
            }
        }
        pass.out
    }

    /// Resolves the alerts of processes that have ended, whatever their rules say. Called once a tick with the
    /// table's knowledge, before the rules are asked; so an end is never missed, whether an event told of it,
    /// a scan, or nobody because the agent was not running.
    pub fn exited(&mut self, lives: impl Fn(ProcessId) -> bool, now: Timestamp) -> Vec<Transition> {
        let boot = self.boot;
        let ended = |subject: &Subject| match subject {
            Subject::Process(of, id) => *of == boot && !lives(*id),
            _ => false,
        };
        let mut pass = Pass { boot, next: &mut self.next, now, out: Vec::new() };
        for memory in self.rules.values_mut() {
            memory.exited(ended, &mut pass);
        }
        pass.out
    }

    /// Takes in what one rule said. A rule that is not configured is not heard.
    pub fn judge(&mut self, findings: &Findings, now: Timestamp) -> Vec<Transition> {
        let mut pass = Pass { boot: self.boot, next: &mut self.next, now, out: Vec::new() };
        if let Some(memory) = self.rules.get_mut(&findings.rule) {
            memory.judge(findings, &mut pass);
        }
        pass.out
    }

    /// All alerts that are open, floods included, by rule and subject.
    pub fn open(&self) -> impl Iterator<Item = &OpenAlert> {
        self.rules.values().flat_map(Memory::open)
    }

    /// How many findings of a rule found no room, for `procagent.alerts.suppressed`.
    pub fn suppressed(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.rules.iter().map(|(rule, memory)| (rule, memory.suppressed))
    }
}
