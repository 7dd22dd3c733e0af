//! What is wrong with a configuration, for people.

use std::fmt::{self, Write as _};

/// One fault: where it is, under which key, what it is. Exit code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// A file, a variable or an option.
    pub origin: String,
    /// Line and column in the file, both from 1; absent where the whole is meant.
    pub place: Option<Place>,
    /// The path of the key, such as `outputs.prometheus.listen`; empty at the root.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The lines around it, secrets left out; may be empty.
    pub snippet: String,
}

/// A place in a file, counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl ConfigError {
    /// One that concerns a file, variable or option as a whole.
    pub fn whole(origin: impl Into<String>, message: impl Into<String>) -> ConfigError {
        ConfigError {
            origin: origin.into(),
            place: None,
            key: String::new(),
            message: message.into(),
            snippet: String::new(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(Place { line, column }) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", Printable(&self.key))?;
        }
        write!(f, ": {}", Printable(&self.message))?;
        if !self.snippet.is_empty() {
            write!(f, "\n{}", self.snippet.trim_end())?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Text that may hold words of a file: control characters, which could colour a terminal or forge lines of a log,
/// are shown as escapes.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_file_cannot_forge_lines_or_colours() {
        let mut error = ConfigError::whole("a.yaml", "unknown key \u{1b}[31m");
        error.key = "x\nprocagent: all is well".into();
        assert_eq!(error.to_string(), "a.yaml: x\\nprocagent: all is well: unknown key \\u{1b}[31m");
    }
}
