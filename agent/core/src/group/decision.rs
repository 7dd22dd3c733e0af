//! Which rule holds for a process.

use super::condition::{Facts, join_arguments};
use super::settings::{Label, Settings};
use super::{GROUP_LABEL, GroupId, GroupLabels, KERNEL, OTHER};
use crate::process::Process;
use crate::registry::LABEL_VALUE_MAX;
use crate::users::Users;
use std::sync::Arc;

/// Why a process is in its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Why {
    /// Nobody has looked at it yet.
    #[default]
    Unknown,
    /// It is a thread of the kernel.
    Kernel,
    /// This rule matches it, counted from 0.
    Rule(usize),
    /// No rule does, and it descends from one that a rule with `descendants` matches.
    Descendant,
    /// No rule does.
    Unmatched,
}

/// What a member of a group passes on to its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// The group's name.
    pub name: Arc<str>,
    /// The rule that made it.
    pub rule: usize,
}

/// Where a process belongs, as the table keeps it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its group, by its key; [`super::Groups::resolve`] says where it counts.
    pub group: GroupId,
    /// Why.
    pub why: Why,
    /// What its parent passed on to it.
    pub inherits: Option<Family>,
    /// What it passes on.
    pub family: Option<Family>,
}

impl Default for Member {
    fn default() -> Member {
        Member { group: GroupId::NONE, why: Why::Unknown, inherits: None, family: None }
    }
}

/// What a decision is written into; kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Deciding {
    arguments: String,
    /// The name, then each value of [`Settings::labels`] after a NUL, which no name has: the kernel ends names with it.
    pub key: String,
    name_end: usize,
}

impl Deciding {
    /// The group's name.
    pub fn name(&self) -> &str {
        &self.key[..self.name_end]
    }

    /// The key of a group of this name that has no other labels.
    pub fn set(&mut self, name: &str, settings: &Settings) {
        self.key.clear();
        self.key.push_str(name);
        self.name_end = self.key.len();
        self.key.extend(settings.labels.iter().map(|_| '\0'));
    }

    /// The labels of the key. What is unknown has none.
    pub fn labels(&self, settings: &Settings) -> GroupLabels {
        let mut values = self.key.split('\0');
        let name = (GROUP_LABEL, values.next().unwrap_or_default().into());
        let more = settings.labels.iter().map(|label| label.name()).zip(values);
        let known = more.filter(|(_, value)| !value.is_empty()).map(|(label, value)| (label, value.into()));
        GroupLabels([name].into_iter().chain(known).collect())
    }
}

/// Decides about a process and writes the key of its group. Also says what it passes on.
pub(super) fn decide(
    settings: &Settings,
    process: &Process,
    inherits: Option<&Family>,
    users: &Users,
    out: &mut Deciding,
) -> (Why, Option<Family>) {
    let Deciding { arguments, key, name_end } = out;
    key.clear();
    if process.kernel_thread {
        key.push_str(KERNEL);
        *name_end = key.len();
        return (Why::Kernel, None);
    }
    let arguments =
        (settings.look_at_arguments() && join_arguments(process, arguments)).then_some(&**arguments);
    let facts = Facts::of(process, users, arguments);
    let why = name(settings, &facts, inherits, key);
    *name_end = key.len();
    let family = match why {
        Why::Rule(rule) if settings.rules[rule].descendants => Some(Family { name: (&**key).into(), rule }),
        Why::Descendant => inherits.cloned(),
        _ => None,
    };
    for label in &settings.labels {
        let value = match label {
            Label::User => facts.user.as_deref(),
            Label::Unit => facts.unit,
            Label::Container => facts.container,
        };
        let value = value.unwrap_or_default();
        key.push('\0');
        key.push_str(&value[..value.floor_char_boundary(value.len().min(LABEL_VALUE_MAX))]);
    }
    (why, family)
}

/// Writes the name of the group.
fn name(settings: &Settings, facts: &Facts<'_>, inherits: Option<&Family>, out: &mut String) -> Why {
    for (index, rule) in settings.rules.iter().enumerate() {
        if rule.matches.holds(facts) {
            if rule.group.write(&rule.matches, facts, out) {
                set_apart(out);
                return Why::Rule(index);
            }
            out.clear();
        }
    }
    if let Some(family) = inherits {
        out.push_str(&family.name);
        return Why::Descendant;
    }
    out.push_str(facts.name);
    set_apart(out);
    Why::Unmatched
}

/// No program can hide among the kernel's threads or in the remainder by its name.
fn set_apart(name: &mut String) {
    if [KERNEL, OTHER].contains(&&**name) {
        name.insert_str(0, "./");
    }
}
