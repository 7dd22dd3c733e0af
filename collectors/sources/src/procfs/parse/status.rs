//! `/proc/PID/status`, proc_pid_status(5): a line a field, of which `Uid` and the context switches are used.

use super::{Malformed, decimal, decimal_u32, lines, words};
use procagent_core::process::Switches;
use procagent_core::snapshot::Users;

/// Reads the users. A process cannot forge the line: the kernel escapes newlines in `Name`.
pub fn status(bytes: &[u8]) -> Result<Users, Malformed> {
    let malformed = Malformed { field: "Uid" };
    let numbers = lines(bytes).find_map(|line| line.strip_prefix(b"Uid:")).ok_or(malformed)?;
    let mut numbers = words(numbers).map(decimal_u32);
    let mut next = || numbers.next().flatten().ok_or(malformed);
    Ok(Users { real: next()?, effective: next()? })
}

/// Reads the context switches, which are those of one thread. They stand in the last lines, so that a text which was
/// cut off has none.
pub fn switches(bytes: &[u8]) -> Result<Switches, Malformed> {
    let field = |field: &'static str| {
        let value =
            lines(bytes).rev().find_map(|line| line.strip_prefix(field.as_bytes())?.strip_prefix(b":"));
        value.and_then(|rest| words(rest).next()).and_then(decimal).ok_or(Malformed { field })
    };
    if bytes.last() != Some(&b'\n') {
        return Err(Malformed { field: "nonvoluntary_ctxt_switches" });
    }
    Ok(Switches {
        voluntary: field("voluntary_ctxt_switches")?,
        involuntary: field("nonvoluntary_ctxt_switches")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_switches() {
        let text = "Name:\tvoluntary_ctxt_switches:\\n9\nThreads:\t1\nvoluntary_ctxt_switches:\t150\n\
                    nonvoluntary_ctxt_switches:\t545\n";
        assert_eq!(switches(text.as_bytes()), Ok(Switches { voluntary: 150, involuntary: 545 }));
        for length in 0..text.len() {
            assert!(switches(&text.as_bytes()[..length]).is_err(), "{length}");
        }
    }

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
