//! The conditions of a rule.

use super::rule::{Place, Problem, RuleError};
use super::template::PLACEHOLDERS;
use crate::cgroup;
use crate::process::Process;
use crate::users::Users;
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;

/// A pattern may be this long, in bytes.
const PATTERN_MAX: usize = 4096;

/// What one compiled pattern may take, and what it may remember while it searches, in bytes.
const PATTERN_MEMORY: usize = 1 << 20;

/// Conditions as people write them. Each is a list, and one of its entries must hold; all lists that are not empty
/// must hold. No condition at all holds for every process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The program's full name ([`Process::name`]), exact.
    pub name: Vec<String>,
    /// The name of the effective user, exact; the number of a user without a name.
    pub user: Vec<String>,
    /// Globs over the executable's path.
    pub exe: Vec<String>,
    /// Globs over the systemd unit.
    pub unit: Vec<String>,
    /// Globs over the container's id.
    pub container: Vec<String>,
    /// Regular expressions, looked for anywhere in the arguments joined by one space.
    pub cmdline: Vec<String>,
}

/// Conditions, checked and compiled. In globs `*` stands for any text, `/` included, and `?` for one character.
#[derive(Clone, Debug)]
pub struct Match {
    name: Vec<Box<str>>,
    user: Vec<Box<str>>,
    exe: Vec<Glob>,
    unit: Vec<Glob>,
    container: Vec<Glob>,
    cmdline: Vec<Regex>,
}

impl Match {
    /// Compiles conditions.
    ///
    /// # Errors
    /// Which entry is wrong, and how.
    pub fn new(conditions: &Conditions) -> Result<Match, RuleError> {
        Ok(Match {
            name: each(&conditions.name, Place::Name, |name| Ok(name.into()))?,
            user: each(&conditions.user, Place::User, |user| Ok(user.into()))?,
            exe: each(&conditions.exe, Place::Exe, Glob::new)?,
            unit: each(&conditions.unit, Place::Unit, Glob::new)?,
            container: each(&conditions.container, Place::Container, Glob::new)?,
            cmdline: each(&conditions.cmdline, Place::Cmdline, command_line_pattern)?,
        })
    }

    /// The names of all captures.
    pub fn captures(&self) -> Vec<&str> {
        self.cmdline.iter().flat_map(|regex| regex.capture_names().flatten()).collect()
    }

    pub(super) fn looks_at_users(&self) -> bool {
        !self.user.is_empty()
    }

    pub(super) fn looks_at_arguments(&self) -> bool {
        !self.cmdline.is_empty()
    }

    /// Whether all conditions hold. What is not known of a process fulfils no condition.
    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        // The cheap ones first.
        exact(&self.name, Some(facts.name))
            && exact(&self.user, facts.user.as_deref())
            && any(&self.unit, facts.unit, Glob::matches)
            && any(&self.exe, facts.exe, Glob::matches)
            && any(&self.container, facts.container, Glob::matches)
            && any(&self.cmdline, facts.arguments, |regex, arguments| regex.is_match(arguments))
    }

    /// What a capture holds: of the first pattern that matches and sets it.
    pub(super) fn capture<'a>(&self, name: &str, facts: &Facts<'a>) -> Option<&'a str> {
        let arguments = facts.arguments?;
        let has_it = |regex: &&Regex| regex.capture_names().flatten().any(|other| other == name);
        let mut values = self.cmdline.iter().filter(has_it).filter_map(|regex| regex.captures(arguments));
        values.find_map(|captures| captures.name(name)).map(|found| found.as_str())
    }
}

fn exact(wanted: &[Box<str>], value: Option<&str>) -> bool {
    any(wanted, value, |wanted, value| &**wanted == value)
}

fn any<T>(wanted: &[T], value: Option<&str>, holds: impl Fn(&T, &str) -> bool) -> bool {
    wanted.is_empty() || value.is_some_and(|value| wanted.iter().any(|wanted| holds(wanted, value)))
}

fn each<T>(
    texts: &[String],
    place: impl Fn(usize) -> Place,
    build: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Vec<T>, RuleError> {
    let built = texts.iter().enumerate().map(|(index, text)| {
        let sound = match text.len() {
            0 => Err(Problem::Empty),
            length if length > PATTERN_MAX => Err(Problem::TooLong(PATTERN_MAX)),
            _ => build(text),
        };
        sound.map_err(|problem| RuleError { place: place(index), problem })
    });
    built.collect()
}

#[derive(Clone, Debug)]
enum Glob {
    /// Without wildcards.
    Exact(Box<str>),
    Pattern(Regex),
}

impl Glob {
    fn new(text: &str) -> Result<Glob, Problem> {
        if !text.contains(['*', '?']) {
            return Ok(Glob::Exact(text.into()));
        }
        let mut pattern = String::from("^");
        let mut literal = String::new();
        for c in text.chars() {
            let wildcard = match c {
                '*' => ".*",
                '?' => ".",
                _ => {
                    literal.push(c);
                    continue;
                }
            };
            pattern.push_str(&regex::escape(&std::mem::take(&mut literal)));
            pattern.push_str(wildcard);
        }
        pattern.push_str(&regex::escape(&literal));
        pattern.push('$');
        compile(RegexBuilder::new(&pattern).dot_matches_new_line(true)).map(Glob::Pattern)
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Glob::Exact(wanted) => **wanted == *value,
            Glob::Pattern(regex) => regex.is_match(value),
        }
    }
}

fn command_line_pattern(text: &str) -> Result<Regex, Problem> {
    let regex = compile(&mut RegexBuilder::new(text))?;
    match regex.capture_names().flatten().find(|name| PLACEHOLDERS.contains(name)) {
        Some(name) => Err(Problem::CaptureIsPlaceholder(name.into())),
        None => Ok(regex),
    }
}

fn compile(builder: &mut RegexBuilder) -> Result<Regex, Problem> {
    builder.size_limit(PATTERN_MEMORY).dfa_size_limit(PATTERN_MEMORY).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => Problem::TooLarge,
        error => Problem::Pattern(error.to_string().into()),
    })
}

/// What rules look at, of one process. `None` is unknown, or that there is none.
pub(super) struct Facts<'a> {
    pub name: &'a str,
    pub exe: Option<&'a str>,
    pub user: Option<Cow<'a, str>>,
    pub unit: Option<&'a str>,
    pub container: Option<&'a str>,
    /// The arguments joined by one space; `None` also where no rule asks for them.
    pub arguments: Option<&'a str>,
}

impl<'a> Facts<'a> {
    pub fn of(process: &'a Process, users: &'a Users, arguments: Option<&'a str>) -> Facts<'a> {
        let cgroup = process.cgroup.as_deref();
        Facts {
            name: &process.name,
            // Still the same program after its file was replaced.
            exe: process.exe.as_deref().map(|path| path.strip_suffix(" (deleted)").unwrap_or(path)),
            user: process.user.map(|uid| match users.get(uid) {
                Some(name) => Cow::Borrowed(&**name),
                None => Cow::Owned(uid.to_string()),
            }),
            unit: cgroup.and_then(cgroup::unit),
            container: cgroup.and_then(cgroup::container_id),
            arguments,
        }
    }
}

/// Writes the arguments of a process into `out`, joined by one space. `false` when they are unknown.
pub(super) fn join_arguments(process: &Process, out: &mut String) -> bool {
    out.clear();
    let Some(argv) = &process.argv else { return false };
    for (index, argument) in argv.args().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        out.push_str(&String::from_utf8_lossy(argument));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        Glob::new(pattern).unwrap().matches(value)
    }

    #[test]
    fn globs() {
        for (pattern, value) in [
            ("*/java", "/usr/lib/jvm/bin/java"),
            ("/opt/*/bin/*", "/opt/a/b/bin/x/y"),
            ("app-?.service", "app-1.service"),
            ("app-?.service", "app-é.service"),
            ("*", ""),
            ("*a.b*", "xa.by"),
            ("/a(b)[c]+$", "/a(b)[c]+$"),
            ("*\\x2d*", "dev\\x2ddisk"),
            ("*x", "a\nx"),
        ] {
            assert!(matches(pattern, value), "{pattern} {value}");
        }
        for (pattern, value) in [
            ("*/java", "java"),
            ("*/java", "/x/javac"),
            ("app-?.service", "app-12.service"),
            ("*a.b*", "aXb"),
            ("java", "/java"),
            ("a*", "ba"),
        ] {
            assert!(!matches(pattern, value), "{pattern} {value}");
        }
    }

    #[test]
    fn patterns_are_bounded() {
        let pattern = |text: &str| command_line_pattern(text).err();
        assert_eq!(pattern(r"(\w{100}){100}"), Some(Problem::TooLarge));
        assert!(matches!(pattern("(a"), Some(Problem::Pattern(_))));
        assert_eq!(pattern("(?<user>x)"), Some(Problem::CaptureIsPlaceholder("user".into())));
        assert!(pattern(r"(?<a>[\w-]+) (?i)Ä").is_none());
    }
}
