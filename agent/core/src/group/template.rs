//! How a rule makes the name of a group: text with placeholders.

use super::condition::{Facts, Match};
use super::rule::Problem;
use crate::registry::LABEL_VALUE_MAX;

/// The name of a group as a rule writes it, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Name,
    Exe,
    User,
    Unit,
    Container,
    /// A named capture of the rule's `cmdline`.
    Capture(Box<str>),
}

/// Placeholders that every rule has.
pub const PLACEHOLDERS: [&str; 5] = ["name", "exe", "user", "unit", "container"];

impl Template {
    /// Reads a template; `captures` are the names that the rule's `cmdline` gives.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, captures: &[&str]) -> Result<Template, Problem> {
        if text.trim().is_empty() {
            return Err(Problem::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(Problem::ControlCharacter);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let brace = rest.find(['{', '}']).unwrap_or(rest.len());
            let (plain, from) = rest.split_at(brace);
            if !plain.is_empty() {
                parts.push(Part::Text(plain.into()));
            }
            rest = from;
            if let Some(inside) = rest.strip_prefix('{') {
                let end = inside.find(['{', '}']).filter(|end| inside[*end..].starts_with('}'));
                let end = end.ok_or(Problem::Braces)?;
                parts.push(Part::placeholder(&inside[..end], captures)?);
                rest = &inside[end + 1..];
            } else if !rest.is_empty() {
                return Err(Problem::Braces);
            }
        }
        Ok(Template(parts))
    }

    /// The name itself, where it has no placeholders.
    pub fn literal(&self) -> Option<&str> {
        match &self.0[..] {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it names users.
    pub(super) fn looks_at_users(&self) -> bool {
        self.0.contains(&Part::User)
    }

    /// Appends the name for a process that the rule's conditions hold for. `false` when a placeholder has no value
    /// for it; `out` is then to be thrown away.
    pub(super) fn write(&self, conditions: &Match, facts: &Facts<'_>, out: &mut String) -> bool {
        let begin = out.len();
        for part in &self.0 {
            let value = match part {
                Part::Text(text) => Some(&**text),
                Part::Name => Some(facts.name),
                Part::Exe => facts.exe,
                Part::User => facts.user.as_deref(),
                Part::Unit => facts.unit,
                Part::Container => facts.container,
                Part::Capture(name) => conditions.capture(name, facts),
            };
            match value.filter(|value| !value.is_empty()) {
                Some(value) => out.push_str(value),
                None => return false,
            }
        }
        let longest = out.floor_char_boundary((begin + LABEL_VALUE_MAX).min(out.len()));
        out.truncate(longest);
        true
    }
}

impl Part {
    fn placeholder(name: &str, captures: &[&str]) -> Result<Part, Problem> {
        Ok(match name {
            "name" => Part::Name,
            "exe" => Part::Exe,
            "user" => Part::User,
            "unit" => Part::Unit,
            "container" => Part::Container,
            _ if captures.contains(&name) => Part::Capture(name.into()),
            _ => return Err(Problem::UnknownPlaceholder(name.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_what_is_wrong() {
        let wrong = |text| Template::parse(text, &["app"]).err();
        assert_eq!(wrong(""), Some(Problem::Empty));
        assert_eq!(wrong("  "), Some(Problem::Empty));
        for text in ["{", "}", "a{name", "a}b", "{na{me}", "{name}}"] {
            assert_eq!(wrong(text), Some(Problem::Braces), "{text}");
        }
        for text in ["{}", "{nam}", "{ name }", "{Name}"] {
            assert!(matches!(wrong(text), Some(Problem::UnknownPlaceholder(_))), "{text}");
        }
        assert_eq!(wrong("a\nb"), Some(Problem::ControlCharacter));
        assert_eq!(wrong("{name}:{app}-x"), None);
        assert!(Template::parse("{app}", &[]).is_err());
    }

    #[test]
    fn literals() {
        let literal = |text| Template::parse(text, &[]).unwrap().literal().map(str::to_owned);
        assert_eq!(literal("postgres").as_deref(), Some("postgres"));
        assert_eq!(literal("{name}"), None);
        assert_eq!(literal("a{name}"), None);
    }
}
