//! An alert, what may happen to it, and how it is configured.

use super::{Facts, Lasts, Severity, Subject};
use crate::process::BootId;
use crate::time::{Ns, Timestamp};
use std::sync::Arc;

/// How the findings of one rule become alerts. All times are on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How bad its alerts are.
    pub severity: Severity,
    /// What lasts opens an alert when it has been reported this long without a break (`for` in the configuration).
    pub hold: Ns,
    /// What comes back within this time after its end re-opens the same alert.
    pub cooldown: Ns,
    /// At most this many alerts at a time; what goes beyond is folded into one more. At least 1. What happens in
    /// a moment takes its place until it has cooled down.
    pub max_open: usize,
}

/// The number of an alert, its row in the journal. Never given out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(pub u64);

/// One episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAlert {
    /// Its number.
    pub id: AlertId,
    /// The rule that found it.
    pub rule: Arc<str>,
    /// How bad it is, as configured when it opened.
    pub severity: Severity,
    /// The boot in which it opened.
    pub boot: BootId,
    /// Whom it is about; [`Subject::Host`] for a flood.
    pub subject: Subject,
    /// How long it lasts.
    pub lasts: Lasts,
    /// What was found when it opened last; of a flood, the first that was folded.
    pub facts: Facts,
    /// When it opened first.
    pub opened: Timestamp,
    /// How often it has opened. Of a flood: how many findings it stands for, the most at one time of those that
    /// last, plus all moments.
    pub count: u64,
    /// Whether it stands for all the findings of its rule that found no room.
    pub flood: bool,
}

/// Why an alert is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A check succeeded and did not report it.
    Cleared,
    /// The process has ended.
    Exited,
    /// It was over when it was found.
    Moment,
    /// It is of an earlier boot.
    HostRestarted,
    /// Its rule has been switched off.
    RuleRemoved,
}

impl Reason {
    /// For people and the journal.
    pub const fn as_str(self) -> &'static str {
        match self {
            Reason::Cleared => "cleared",
            Reason::Exited => "exited",
            Reason::Moment => "moment",
            Reason::HostRestarted => "host restarted",
            Reason::RuleRemoved => "rule removed",
        }
    }
}

/// What happens to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Opened,
    /// It is back within its cool-down.
    Reopened,
    /// It is over.
    Resolved(Reason),
}

/// A change for journal and outputs. One episode is two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The alert after the change.
    pub alert: OpenAlert,
    /// What happened to it.
    pub change: Change,
    /// When.
    pub at: Timestamp,
}
