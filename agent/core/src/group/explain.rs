//! Why a process is where it is.

use super::{GroupId, GroupLabels, Groups, Why};
use crate::process::ProcessId;
use crate::table::Table;
use std::sync::Arc;

/// Why a process is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A rule matches it.
    Matched,
    /// No rule matches it, and one with `descendants` matches this ancestor; `None` when that is forgotten.
    DescendantOf(Option<ProcessId>),
    /// No rule matches it.
    Unmatched,
    /// It is a thread of the kernel.
    Kernel,
}

/// Where a process belongs, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The rule that put it there, from 0: the one that matches it, or its ancestor.
    pub rule: Option<usize>,
    /// Why.
    pub reason: Reason,
    /// The labels of the group that it belongs to; `None` where it is dropped.
    pub labels: Option<Arc<GroupLabels>>,
    /// Where it counts: in that group, or in `other`; [`GroupId::NONE`] where it is dropped.
    pub counts_in: GroupId,
    /// Its group has no series of its own for want of room.
    pub folded: bool,
}

impl Groups {
    /// Why a living process is where it is; `None` for one that the table does not know, or was not assigned yet.
    pub fn explain(&self, table: &Table, id: ProcessId) -> Option<Explanation> {
        let member = table.member(id)?;
        let (rule, reason) = match member.why {
            Why::Unknown => return None,
            Why::Kernel => (None, Reason::Kernel),
            Why::Unmatched => (None, Reason::Unmatched),
            Why::Rule(rule) => (Some(rule), Reason::Matched),
            Why::Descendant => {
                let rule = member.inherits.as_ref().map(|family| family.rule);
                (rule, Reason::DescendantOf(matched_ancestor(table, id)))
            }
        };
        let counts_in = self.resolve(member.group);
        Some(Explanation {
            rule,
            reason,
            labels: self.labels(member.group).cloned(),
            counts_in,
            folded: counts_in != member.group,
        })
    }
}

/// The nearest ancestor that a rule matches.
fn matched_ancestor(table: &Table, id: ProcessId) -> Option<ProcessId> {
    let lineage = table.lineage(id);
    let ids = lineage.iter().rev().skip(1).map(|ancestor| ancestor.process.id);
    ids.into_iter().find(|id| table.member(*id).is_some_and(|member| matches!(member.why, Why::Rule(_))))
}
