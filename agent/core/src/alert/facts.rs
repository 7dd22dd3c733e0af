//! What a finding says of itself: a short list of named values.

use std::borrow::Cow;
use std::fmt;

/// A finding has at most this many facts; more are dropped.
pub const FACTS_MAX: usize = 32;

/// Keys are cut to this many bytes.
pub const KEY_MAX: usize = 64;

/// Texts are cut to this many bytes.
pub const TEXT_MAX: usize = 1024;

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Words, names, paths.
    Text(Box<str>),
    /// Counts, sizes, times; the key names the unit.
    Integer(i64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => text.fmt(f),
            Value::Integer(number) => number.fmt(f),
        }
    }
}

/// Named values in the order in which they were given. Bounded by [`FACTS_MAX`], [`KEY_MAX`] and [`TEXT_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(Vec<(Cow<'static, str>, Value)>);

impl Facts {
    /// None yet.
    pub fn new() -> Facts {
        Facts::default()
    }

    /// These, and a text.
    pub fn text(self, key: impl Into<Cow<'static, str>>, text: &str) -> Facts {
        self.with(key.into(), Value::Text(cut(text, TEXT_MAX).into()))
    }

    /// These, and a number; one that is too large becomes the largest.
    pub fn integer(self, key: impl Into<Cow<'static, str>>, number: impl TryInto<i64>) -> Facts {
        self.with(key.into(), Value::Integer(number.try_into().unwrap_or(i64::MAX)))
    }

    fn with(mut self, key: Cow<'static, str>, value: Value) -> Facts {
        let key = if key.len() > KEY_MAX { Cow::Owned(cut(&key, KEY_MAX).to_owned()) } else { key };
        let room = self.0.len() < FACTS_MAX;
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None if room => self.0.push((key, value)),
            None => {}
        }
        self
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(text.len().min(max))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_keep_their_order_and_the_last_value() {
        let facts = Facts::new().text("path", "/tmp/a").integer("size", 7_u64).text("path", "/tmp/b");
        let all: Vec<_> = facts.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(all, ["path=/tmp/b", "size=7"]);
        assert_eq!(facts.get("size"), Some(&Value::Integer(7)));
        assert_eq!(facts.get("colour"), None);
    }

    #[test]
    fn facts_are_bounded() {
        let mut facts = Facts::new().text("k".repeat(1000), &"é".repeat(1000)).integer("huge", u64::MAX);
        for number in 0..1000 {
            facts = facts.integer(format!("key {number}"), number);
        }
        assert_eq!(facts.iter().count(), FACTS_MAX);
        assert!(facts.iter().all(|(key, value)| key.len() <= KEY_MAX && value.to_string().len() <= TEXT_MAX));
        assert_eq!(facts.get("huge"), Some(&Value::Integer(i64::MAX)));
    }
}
