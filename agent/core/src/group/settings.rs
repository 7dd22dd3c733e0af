//! What people choose about groups.

use super::rule::Rule;
use crate::plugin::Needs;
use crate::time::Ns;

/// All that people choose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The first that matches holds.
    pub rules: Vec<Rule>,
    /// Labels on top of the name. Their order and repetition mean nothing.
    pub labels: Vec<Label>,
    /// How many groups have series of their own; the smallest others are folded into `other`. 0 folds all.
    pub limit: usize,
    /// A group without members for this long ends, unless it is expected.
    pub forget: Ns,
    /// Where processes go that no rule matches.
    pub unmatched: Unmatched,
    /// When an expected group has failed.
    pub health: Health,
}

/// A label besides the name; each value makes a group of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// The effective user.
    User,
    /// The systemd unit.
    Unit,
    /// The container's id.
    Container,
}

impl Label {
    /// The attribute of OpenTelemetry's registry; `systemd.unit` is ours.
    pub const fn name(self) -> &'static str {
        match self {
            Label::User => "process.user.name",
            Label::Unit => "systemd.unit",
            Label::Container => "container.id",
        }
    }
}

/// Where processes go that no rule matches. Threads of the kernel are always the group `kernel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// Into a group of their program's name.
    #[default]
    Name,
    /// Into `other`.
    Other,
    /// Into none: they have no series.
    Drop,
}

/// When an expected group has failed: after `retries` periods without a member, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// A period.
    pub every: Ns,
    /// How many periods.
    pub retries: u32,
}

impl Default for Health {
    fn default() -> Health {
        Health { every: Ns::from_secs(10), retries: 10 }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            rules: Vec::new(),
            labels: Vec::new(),
            limit: 500,
            forget: Ns::from_secs(3600),
            unmatched: Unmatched::Name,
            health: Health::default(),
        }
    }
}

impl Settings {
    /// One group a program name, with these bounds.
    pub fn bounded(limit: usize, forget: Ns) -> Settings {
        Settings { limit, forget, ..Settings::default() }
    }

    /// What has to be read for them.
    pub fn needs(&self) -> Needs {
        if self.look_at_users() { Needs::DETAILS | Needs::USERS } else { Needs::DETAILS }
    }

    /// The names of the groups that are expected, each once. There must be no more of them than `limit`, or the
    /// last ones are folded like any other.
    pub fn expected(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.rules.iter().filter(|rule| rule.expect).filter_map(|rule| rule.group.literal()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    pub(super) fn look_at_users(&self) -> bool {
        self.labels.contains(&Label::User) || self.rules.iter().any(Rule::looks_at_users)
    }

    pub(super) fn look_at_arguments(&self) -> bool {
        self.rules.iter().any(|rule| rule.matches.looks_at_arguments())
    }

    pub(super) fn have_descendants(&self) -> bool {
        self.rules.iter().any(|rule| rule.descendants)
    }
}
