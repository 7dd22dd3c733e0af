//! Amounts of memory and storage as people write them: `0B`, `64KiB`, `512MiB`, `1GiB`, `2TiB`.

use serde::de::{Deserialize, Deserializer, Error};

const UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// The largest amount accepted, 1024 TiB. Larger ones are typing errors.
const MAX: u64 = 1 << 50;

/// The size in bytes.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shown: String = text.chars().take(40).collect();
    if number.is_empty() || unit.starts_with('.') {
        return Err(format!(
            "`{shown}` is no size: write a whole number and a unit, such as 64KiB, 512MiB, 1GiB"
        ));
    }
    let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let what = if unit.is_empty() { "has no unit" } else { "has an unknown unit" };
        return Err(format!("`{shown}` {what}: the units are B, KiB, MiB, GiB, TiB, as in 1GiB"));
    };
    let size = number.parse().ok().and_then(|number: u64| number.checked_mul(*bytes));
    size.filter(|size| *size <= MAX).ok_or_else(|| format!("`{shown}` is too large: 1024TiB are the limit"))
}

/// The same as [`parse`] writes it back, in the largest unit without a rest.
pub fn display(size: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, unit)| size > 0 && size.is_multiple_of(*unit));
    unit.map_or_else(|| "0B".to_owned(), |(name, unit)| format!("{}{name}", size / unit))
}

/// For `#[serde(deserialize_with)]`.
///
/// # Errors
/// Those of [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("7B", 7),
            ("64KiB", 65_536),
            ("512MiB", 512 << 20),
            ("1GiB", 1 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
            assert_eq!(display(bytes), text);
        }
        for (bad, why) in [
            ("5", "has no unit"),
            ("", "is no size"),
            ("GiB", "is no size"),
            ("-5GiB", "is no size"),
            ("1.5GiB", "whole number"),
            ("1 GiB", "unknown unit"),
            ("1GB", "unknown unit"),
            ("1gib", "unknown unit"),
            ("99999999999999999999B", "too large"),
            ("2000TiB", "too large"),
        ] {
            assert!(parse(bad).unwrap_err().contains(why), "{bad}: {:?}", parse(bad));
        }
    }
}
