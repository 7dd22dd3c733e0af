//! Lengths of time as people write them: `500ms`, `5s`, `10m`, `1h`, `90d`.

use serde::de::{Deserialize, Deserializer, Error};
use std::time::Duration;

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60 * 1000), ("h", 3600 * 1000), ("d", 24 * 3600 * 1000)];

/// The longest length accepted. Longer ones are typing errors, and everything computed from them stays in range.
const MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// # Errors
/// What is wrong, and what would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shown: String = text.chars().take(40).collect();
    if number.is_empty() || unit.starts_with('.') {
        return Err(format!(
            "`{shown}` is no duration: write a whole number and a unit, such as 500ms, 5s, 10m"
        ));
    }
    let Some((_, milliseconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let what = if unit.is_empty() { "has no unit" } else { "has an unknown unit" };
        return Err(format!("`{shown}` {what}: the units are ms, s, m, h, d, as in 5s"));
    };
    let duration = number.parse().ok().and_then(|number: u64| number.checked_mul(*milliseconds));
    match duration.map(Duration::from_millis).filter(|duration| *duration <= MAX) {
        Some(duration) => Ok(duration),
        None => Err(format!("`{shown}` is too long: 100 years are the limit")),
    }
}

/// The same as [`parse`] writes it back, in the largest unit without a rest.
pub fn display(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let unit = UNITS.iter().rev().find(|(_, unit)| milliseconds.is_multiple_of(u128::from(*unit)));
    match unit {
        Some((name, unit)) if milliseconds > 0 => format!("{}{name}", milliseconds / u128::from(*unit)),
        _ => format!("{milliseconds}s"),
    }
}

/// For `#[serde(deserialize_with)]`.
///
/// # Errors
/// Those of [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// For `#[serde(deserialize_with)]` of a key that may be absent.
///
/// # Errors
/// Those of [`parse`].
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse(&text).map_err(D::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("5s", 5000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("90d", 7_776_000_000),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(display(Duration::from_millis(milliseconds)), text);
        }
        for (bad, why) in [
            ("5", "has no unit"),
            ("", "is no duration"),
            ("s", "is no duration"),
            ("-5s", "is no duration"),
            ("1.5s", "whole number"),
            ("5 s", "unknown unit"),
            ("5S", "unknown unit"),
            ("5min", "unknown unit"),
            ("99999999999999999999s", "too long"),
            ("99999d", "too long"),
        ] {
            assert!(parse(bad).unwrap_err().contains(why), "{bad}: {:?}", parse(bad));
        }
    }
}
