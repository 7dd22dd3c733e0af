//! `/proc/PID/status`, proc_pid_status(5): a line a field, of which only `Uid` is used.

use super::{Malformed, decimal_u32, lines, words};
use procagent_core::snapshot::Users;

/// Reads the users. A process cannot forge the line: the kernel escapes newlines in `Name`.
pub fn status(bytes: &[u8]) -> Result<Users, Malformed> {
    let malformed = Malformed { field: "Uid" };
    let numbers = lines(bytes).find_map(|line| line.strip_prefix(b"Uid:")).ok_or(malformed)?;
    let mut numbers = words(numbers).map(decimal_u32);
    let mut next = || numbers.next().flatten().ok_or(malformed);
    Ok(Users { real: next()?, effective: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let text = b"Name:\tUid:\\n0\nState:\tS (sleeping)\nUid:\t1000\t0\t0\t0\nGid:\t7\t7\t7\t7\n";
        assert_eq!(status(text), Ok(Users { real: 1000, effective: 0 }));
        for bad in [
            &b""[..],
            b"Uid:",
            b"Uid:\t1",
            b"Uid:\t1\t-2",
            b"Uid:\t1\t4294967296",
            b" Uid:\t1\t2",
            b"Gid:\t1\t2",
        ] {
            assert_eq!(status(bad), Err(Malformed { field: "Uid" }), "{}", bad.escape_ascii());
        }
    }
}
