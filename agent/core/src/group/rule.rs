//! A rule that puts processes into a group, and what can be wrong with one.

use super::condition::{Conditions, Match};
use super::template::{PLACEHOLDERS, Template};
use super::{KERNEL, OTHER};
use std::fmt;

/// A rule as people write it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleText {
    /// The name of the group, with placeholders.
    pub group: String,
    /// Whom it is about.
    pub conditions: Conditions,
    /// See [`Rule::descendants`].
    pub descendants: bool,
    /// See [`Rule::expect`].
    pub expect: bool,
    /// See [`Rule::version`].
    pub version: Option<String>,
}

/// A rule, checked and compiled. Of several that match, the first one holds. A rule whose name has a placeholder
/// without a value for a process (no unit, a capture that took no part) does not match that process: the next ones
/// are tried, so that no group has an empty or half a name.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The name of the group.
    pub group: Template,
    /// Whom it is about.
    pub matches: Match,
    /// Children and their children belong to the group too, unless a rule matches them.
    pub descendants: bool,
    /// The group is there from the start, with zeros while it has no members.
    pub expect: bool,
    /// Published with the group as it is.
    pub version: Option<Box<str>>,
}

impl Rule {
    /// Checks and compiles a rule.
    ///
    /// # Errors
    /// Which part is wrong, and how.
    pub fn build(text: &RuleText) -> Result<Rule, RuleError> {
        let matches = Match::new(&text.conditions)?;
        let at = |place| move |problem| RuleError { place, problem };
        let group = Template::parse(&text.group, &matches.captures()).map_err(at(Place::Group))?;
        if let Some(name) = group.literal().filter(|name| [KERNEL, OTHER].contains(name)) {
            return Err(at(Place::Group)(Problem::Reserved(name.into())));
        }
        if text.expect && group.literal().is_none() {
            return Err(at(Place::Expect)(Problem::ExpectedName));
        }
        if text.version.as_ref().is_some_and(String::is_empty) {
            return Err(at(Place::Version)(Problem::Empty));
        }
        Ok(Rule {
            group,
            matches,
            descendants: text.descendants,
            expect: text.expect,
            version: text.version.as_deref().map(Box::from),
        })
    }

    pub(super) fn looks_at_users(&self) -> bool {
        self.matches.looks_at_users() || self.group.looks_at_users()
    }
}

/// The part of a rule that is wrong; numbers count the entries of a list from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Place {
    Group,
    Name(usize),
    User(usize),
    Exe(usize),
    Unit(usize),
    Container(usize),
    Cmdline(usize),
    Expect,
    Version,
}

impl Place {
    /// The keys of the configuration that lead there from the rule.
    pub const fn keys(self) -> &'static [&'static str] {
        match self {
            Place::Group => &["group"],
            Place::Name(_) => &["match", "name"],
            Place::User(_) => &["match", "user"],
            Place::Exe(_) => &["match", "exe"],
            Place::Unit(_) => &["match", "unit"],
            Place::Container(_) => &["match", "container"],
            Place::Cmdline(_) => &["match", "cmdline"],
            Place::Expect => &["expect"],
            Place::Version => &["version"],
        }
    }

    /// Which entry of a list, from 0.
    pub const fn index(self) -> Option<usize> {
        match self {
            Place::Name(index)
            | Place::User(index)
            | Place::Exe(index)
            | Place::Unit(index)
            | Place::Container(index)
            | Place::Cmdline(index) => Some(index),
            Place::Group | Place::Expect | Place::Version => None,
        }
    }
}

/// What is wrong with a part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It has no text.
    Empty,
    /// It is longer than this many bytes.
    TooLong(usize),
    /// A name with a line break or the like.
    ControlCharacter,
    /// A brace without its other half.
    Braces,
    /// A placeholder that is neither known nor a capture of the rule's `cmdline`.
    UnknownPlaceholder(Box<str>),
    /// A capture with the name of a placeholder.
    CaptureIsPlaceholder(Box<str>),
    /// No regular expression; what the library says of it, with the place.
    Pattern(Box<str>),
    /// A regular expression that would take too much memory.
    TooLarge,
    /// A name that the agent itself gives.
    Reserved(Box<str>),
    /// A group is expected whose name is known only when a process matches.
    ExpectedName,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Empty => f.write_str("is empty: write some text or leave the key out"),
            Problem::TooLong(most) => write!(f, "is longer than {most} bytes"),
            Problem::ControlCharacter => f.write_str("has a control character; names are plain text in one line"),
            Problem::Braces => f.write_str("has a brace without its other half; placeholders are written as in `{name}`"),
            Problem::UnknownPlaceholder(name) => {
                let known = PLACEHOLDERS.map(|known| format!("{{{known}}}")).join(" ");
                write!(
                    f,
                    "has the unknown placeholder `{{{name}}}`: there are {known} and the named captures of the \
                     rule's `cmdline`, as in `(?<app>...)`"
                )
            }
            Problem::CaptureIsPlaceholder(name) => {
                write!(f, "has a capture called `{name}`, which is a placeholder already: choose another name")
            }
            Problem::Pattern(what) => write!(f, "is no regular expression: {what}"),
            Problem::TooLarge => f.write_str("is a regular expression that takes too much memory: make repetitions smaller"),
            Problem::Reserved(name) => write!(f, "is `{name}`, a name that the agent itself gives: choose another one"),
            Problem::ExpectedName => f.write_str(
                "can be true only where `group` has no placeholders: the name of a group that is not there yet must be known",
            ),
        }
    }
}

/// What is wrong with a rule, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.place.keys().join("."))?;
        if let Some(index) = self.place.index().filter(|index| *index > 0) {
            write!(f, " (entry {})", index + 1)?;
        }
        write!(f, " {}", self.problem)
    }
}

impl std::error::Error for RuleError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(group: &str, cmdline: &[&str], expect: bool) -> Result<Rule, String> {
        let cmdline = cmdline.iter().map(|pattern| (*pattern).to_owned()).collect();
        let conditions = Conditions { cmdline, ..Conditions::default() };
        let text = RuleText { group: group.into(), conditions, expect, ..RuleText::default() };
        Rule::build(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn errors_say_where_and_what() {
        let error = |group, cmdline: &[&str], expect| build(group, cmdline, expect).unwrap_err();
        assert!(
            error("{app}", &["x"], false)
                .starts_with("`group` has the unknown placeholder `{app}`: there are {name}")
        );
        assert!(
            error("x", &["ok", "("], false)
                .starts_with("`match.cmdline` (entry 2) is no regular expression:")
        );
        assert!(error("{name}", &[], true).starts_with("`expect` can be true only"));
        assert!(error("other", &[], false).starts_with("`group` is `other`, a name"));
        assert!(error("x", &[""], false).starts_with("`match.cmdline` is empty"));
        assert!(build("java:{app}", &["-Dapp=(?<app>.)", "--app (?<app>.)"], false).is_ok());
    }
}
