//! The lines around a fault. What may be a secret is left out: a file's neighbours are no business of a log.

use super::error::Place;
use std::fmt::Write as _;

/// Lines before and after the one concerned.
const AROUND: u64 = 1;
/// Characters of a line.
const WIDTH: usize = 100;
const HIDDEN: &str = "***";
const SECRET_WORDS: [&str; 6] = ["password", "passwd", "secret", "token", "headers", "credential"];

/// Whether what stands under a key of this name, or path, is a secret.
pub fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

/// The line of `place` with its neighbours and a caret.
pub fn snippet(text: &str, place: Place) -> String {
    let (first, last) = (place.line.saturating_sub(AROUND), place.line.saturating_add(AROUND));
    let gutter = last.to_string().len();
    let mut out = String::new();
    let mut secrets = Secrets::default();
    for (number, line) in (1..=last).zip(text.lines()) {
        let shown = secrets.pass(line);
        if number < first {
            continue;
        }
        let shown: String = shown.chars().take(WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _infallible = writeln!(out, "{}", format!("  {number:gutter$} | {shown}").trim_end());
        if number == place.line {
            let column = usize::try_from(place.column).unwrap_or(1).clamp(1, shown.chars().count() + 1);
            let _infallible = writeln!(out, "  {:gutter$} | {:>column$}", "", "^");
        }
    }
    out
}

/// Goes through a file line by line and hides what stands under secret keys, also in the lines below them.
#[derive(Default)]
struct Secrets {
    /// The indentation of the secret key that the lines below may belong to.
    under: Option<usize>,
}

impl Secrets {
    fn pass(&mut self, line: &str) -> String {
        let trimmed = line.trim_start();
        let indentation = line.len() - trimmed.len();
        if let Some(under) = self.under {
            let inside = trimmed.is_empty()
                || indentation > under
                || (indentation == under && trimmed.starts_with(['-', '}', ']']));
            if inside {
                return if trimmed.is_empty() {
                    String::new()
                } else {
                    format!("{:indentation$}{HIDDEN}", "")
                };
            }
            self.under = None;
        }
        let lower = line.to_ascii_lowercase();
        let Some(word) = SECRET_WORDS.iter().filter_map(|word| lower.find(word)).min() else {
            return line.to_owned();
        };
        self.under = Some(indentation);
        match line[word..].find([':', '=']) {
            // Lowering ASCII keeps every byte where it was.
            Some(colon) => format!("{} {HIDDEN}", &line[..=word + colon]),
            None => format!("{:indentation$}{HIDDEN}", ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_and_caret() {
        let place = Place { line: 2, column: 3 };
        assert_eq!(
            snippet("a: 1\n  b: 2\nc: 3\nd: 4\n", place),
            "  1 | a: 1\n  2 |   b: 2\n    |   ^\n  3 | c: 3\n"
        );
        assert_eq!(snippet("", place), "");
        let far = Place { line: 1, column: 999 };
        assert_eq!(snippet("ab\tc", far), "  1 | ab c\n    |     ^\n");
    }

    #[test]
    fn secrets_are_left_out() {
        let text = "\
url: x
bearer_token: hunter2
headers:
  Authorization: hunter2
  # hunter2
other: { url: x, password: hunter2, z: hunter2 }
list_of_secrets:
- hunter2
- hunter2

fine: yes
key: &password hunter2
";
        for line in 1..=12 {
            let shown = snippet(text, Place { line, column: 1 });
            assert!(!shown.contains("hunter2"), "{shown}");
            assert_eq!(shown.contains("fine: yes"), (10..=12).contains(&line), "{shown}");
        }
        assert!(is_secret("outputs.otlp.Headers.x") && !is_secret("outputs.prometheus.listen"));
    }
}
