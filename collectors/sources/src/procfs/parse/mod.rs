//! Parsers of the files of /proc that are read often: pure functions over bytes, without allocation. What they
//! are given may be hostile (a process names itself, a captured tree holds anything); none of them panics, and
//! each says in [`Malformed`] which field it could not read.
//!
//! | function | file |
//! |---|---|
//! | [`stat()`] | `/proc/PID/stat` |
//! | [`statm()`] | `/proc/PID/statm` |
//! | [`status()`] | `/proc/PID/status` |
//! | [`io()`] | `/proc/PID/io` |
//! | [`switches()`] | `/proc/PID/status`, its last lines |
//! | [`schedstat()`] | `/proc/PID/schedstat` |
//! | [`smaps_rollup()`] | `/proc/PID/smaps_rollup` |
//! | [`limits()`] | `/proc/PID/limits` |
//! | [`cgroup()`] | `/proc/PID/cgroup` |
//! | [`memory_limit()`] | `memory.max`, `memory.limit_in_bytes` |
//! | [`host_stat()`] | `/proc/stat` |
//! | [`meminfo()`] | `/proc/meminfo` |

mod cgroup;
mod host_stat;
mod io;
mod limits;
mod meminfo;
mod schedstat;
mod smaps_rollup;
mod stat;
mod statm;
mod status;

pub use cgroup::{Cgroup, Controller, cgroup, memory_limit};
pub use host_stat::{HostStat, host_stat};
pub use io::io;
pub use limits::limits;
pub use meminfo::meminfo;
pub use schedstat::{Schedstat, schedstat};
pub use smaps_rollup::{SmapsRollup, smaps_rollup};
pub use stat::{Comm, Stat, stat};
pub use statm::{Statm, statm};
pub use status::{status, switches};

use std::fmt;

/// A file that is not what proc(5) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The field that is missing or cannot be read, by its name in proc(5).
    pub field: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field {} is missing or not as proc(5) describes it", self.field)
    }
}

impl std::error::Error for Malformed {}

/// An unsigned decimal number and nothing else; `None` where it is empty, has other characters, or overflows.
fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    // 19 digits always fit, so only longer numbers need the checks.
    if bytes.len() <= 19 {
        let mut value = 0_u64;
        for byte in bytes {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + u64::from(digit);
        }
        return Some(value);
    }
    bytes.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// The same as a smaller number.
pub(super) fn decimal_u32(bytes: &[u8]) -> Option<u32> {
    decimal(bytes).and_then(|value| u32::try_from(value).ok())
}

/// The lines of a file, without their ends.
fn lines(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n')
}

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"00000000000000000000000000000000007"), Some(7));
        for bad in [
            &b""[..],
            b"-1",
            b"+1",
            b"1 ",
            b"18446744073709551616",
            b"99999999999999999999999",
            b"\xff",
            b"1a",
        ] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
        assert_eq!(decimal_u32(b"4294967295"), Some(u32::MAX));
        assert_eq!(decimal_u32(b"4294967296"), None);
    }
}
