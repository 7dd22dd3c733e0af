//! Environment variables as the configuration sees them: a value that is handed in, so that tests can choose it.

use std::collections::HashMap;

/// The environment, as far as it is UTF-8.
#[derive(Clone, Debug, Default)]
pub struct Variables(HashMap<String, String>);

/// A string with the values of variables in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The string.
    pub text: String,
    /// The names and values that went into it.
    pub used: Vec<(String, String)>,
}

impl Variables {
    /// Those of this process.
    pub fn of_this_process() -> Variables {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Variables(std::env::vars_os().filter_map(text).collect())
    }

    /// The value of a variable; an empty one counts, for 0 and nothing are values.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Replaces every `${NAME}`; `None` when there is none. What a variable holds is not expanded again.
    ///
    /// # Errors
    /// A variable that is not set, or something between the braces that is no name.
    pub fn expand(&self, text: &str) -> Result<Option<Expanded>, String> {
        if !text.contains("${") {
            return Ok(None);
        }
        let mut expanded = Expanded { text: String::new(), used: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}').filter(|(name, _)| is_name(name)) else {
                return Err(format!(
                    "`${{{}` is no variable: write ${{NAME}} with letters, digits and underscores",
                    after.chars().take(40).collect::<String>()
                ));
            };
            let Some(value) = self.get(name) else {
                return Err(format!("the environment variable {name} is not set"));
            };
            expanded.text.push_str(before);
            expanded.text.push_str(value);
            expanded.used.push((name.to_owned(), value.to_owned()));
            rest = after;
        }
        expanded.text.push_str(rest);
        Ok(Some(expanded))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Variables {
    fn from(pairs: [(&str, &str); N]) -> Variables {
        Variables(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }
}

/// A name by POSIX (Base Definitions, 3.216).
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_once() {
        let variables = Variables::from([("A", "1"), ("B_2", "${A}"), ("EMPTY", "")]);
        let expand = |text| variables.expand(text).map(|expanded| expanded.map(|expanded| expanded.text));
        assert_eq!(expand("$A {A} $"), Ok(None));
        assert_eq!(expand("x${A}y${A}"), Ok(Some("x1y1".into())));
        assert_eq!(expand("${B_2}"), Ok(Some("${A}".into())));
        assert_eq!(expand("${EMPTY}"), Ok(Some(String::new())));
        assert!(expand("${MISSING}").unwrap_err().contains("MISSING is not set"));
        for bad in ["${", "${}", "${A", "${1A}", "${A:-x}", "${A B}"] {
            assert!(expand(bad).unwrap_err().contains("is no variable"), "{bad}");
        }
    }
}
