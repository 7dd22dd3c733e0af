//! `/proc/PID/limits`, proc_pid_limits(5): a table, of which only the limit of open files is used.

use super::{Malformed, decimal, lines, words};

/// Reads the soft limit of open descriptors; `u64::MAX` is unlimited.
pub fn limits(bytes: &[u8]) -> Result<u64, Malformed> {
    let malformed = Malformed { field: "Max open files" };
    let line = lines(bytes).find_map(|line| line.strip_prefix(b"Max open files")).ok_or(malformed)?;
    match words(line).next() {
        Some(b"unlimited") => Ok(u64::MAX),
        soft => soft.and_then(decimal).ok_or(malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit() {
        let table = |soft: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units\n\
                 Max cpu time              unlimited            unlimited            seconds\n\
                 Max open files            {soft:<20} 524288               files\n"
            )
        };
        assert_eq!(limits(table("1024").as_bytes()), Ok(1024));
        assert_eq!(limits(table("unlimited").as_bytes()), Ok(u64::MAX));
        for bad in [&b""[..], b"Max open files", b"Max open files  -1", b"Max cpu time  7"] {
            assert!(limits(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
