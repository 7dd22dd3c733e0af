//! What rules say, and what becomes of it. A rule is a predicate: each time it is asked it raises [`Findings`]
//! and forgets them. [`Alerts`] is the memory of all rules: it holds, opens, resolves, cools down and folds.
//!
//! ```text
//!             held long enough                      within the cool-down
//! reported ──▶ holding ──▶ open ──▶ resolved ──▶ cooling ──▶ reported again: the same alert re-opens
//!                 │          │                       │
//!                 │          └─ unknown: stays       └─ later: forgotten; a report opens a new alert
//!                 └─ not reported: forgotten
//! ```

mod facts;
mod memory;
mod rule;
mod transition;

pub use facts::{FACTS_MAX, Facts, KEY_MAX, TEXT_MAX, Value};
pub use memory::Alerts;
pub use transition::{AlertId, Change, OpenAlert, Reason, Settings, Transition};

use crate::process::{BootId, ProcessId};
use std::path::PathBuf;
use std::sync::Arc;

/// How bad it is. Ordered: later is worse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth a look some day.
    Info,
    /// Worth a look today.
    #[default]
    Warning,
    /// Worth waking someone.
    Critical,
}

impl Severity {
    /// All of them.
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// Whom or what a finding is about. With the rule it is the identity of an alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// One process of one boot.
    Process(BootId, ProcessId),
    /// A group, by its name.
    Group(Arc<str>),
    /// A file or folder.
    Path(PathBuf),
    /// The host as a whole.
    Host,
}

/// How long what was found lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// As long as the rule reports it: the first check that succeeds and does not report it is its end.
    WhileReported,
    /// Until the process ends, reported again or not. With a subject that is no process the same as
    /// [`Lasts::WhileReported`].
    UntilExit,
    /// It has happened and is over. Never held back by [`Settings::hold`].
    Moment,
}

/// In one pass a rule may speak of this many subjects. What goes beyond is counted, and then the pass resolves
/// nothing, for it is not known what else is still there.
pub const FINDINGS_MAX: usize = 10_000;

#[derive(Clone, Debug)]
struct Finding {
    subject: Subject,
    lasts: Lasts,
    facts: Facts,
}

/// What one rule has to say in one pass. Recycled: keeps its memory. The engine calls [`Findings::begin`], then the
/// rule, then, where that was a check that succeeded, [`Findings::complete`], then [`Alerts::judge`].
#[derive(Debug, Default)]
pub struct Findings {
    rule: Arc<str>,
    raised: Vec<Finding>,
    unknown: Vec<Subject>,
    complete: bool,
    overflow: u64,
}

impl Findings {
    /// Empties it for `rule`.
    pub fn begin(&mut self, rule: &Arc<str>) {
        self.rule = Arc::clone(rule);
        self.raised.clear();
        self.unknown.clear();
        self.complete = false;
        self.overflow = 0;
    }

    /// The rule reports `subject`. `facts` are what a person needs to understand it, and are kept as they are
    /// when the alert opens.
    pub fn raise(&mut self, subject: Subject, lasts: Lasts, facts: Facts) {
        if self.raised.len() < FINDINGS_MAX {
            self.raised.push(Finding { subject, lasts, facts });
        } else {
            self.overflow += 1;
        }
    }

    /// The rule cannot tell this time, such as when a file could not be read: an alert on `subject` stays as it is.
    pub fn unknown(&mut self, subject: Subject) {
        if self.unknown.len() < FINDINGS_MAX {
            self.unknown.push(subject);
        } else {
            self.overflow += 1;
        }
    }

    /// The rule has looked at everything and succeeded: what it did not mention is over. Not to be called after an
    /// event, which is about one thing only, nor after an error.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Whom it reported, in that order. For tests of rules.
    pub fn raised(&self) -> impl Iterator<Item = (&Subject, Lasts, &Facts)> {
        self.raised.iter().map(|finding| (&finding.subject, finding.lasts, &finding.facts))
    }

    fn resolves(&self) -> bool {
        self.complete && self.overflow == 0
    }
}
