//! `/proc/PID/schedstat`, Documentation/scheduler/sched-stats.rst: three numbers of one thread.

use super::{Malformed, decimal, words};

/// One thread on the CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedstat {
    /// Time on a CPU, in nanoseconds.
    pub runtime: u64,
    /// Time ready to run and not running, in nanoseconds.
    pub run_delay: u64,
    /// How often it was given a CPU.
    pub timeslices: u64,
}

/// Reads the line. A kernel that does not account for it writes three zeros (`proc_pid_schedstat`, fs/proc/base.c).
pub fn schedstat(bytes: &[u8]) -> Result<Schedstat, Malformed> {
    let line = bytes.strip_suffix(b"\n").ok_or(Malformed { field: "timeslices" })?;
    let mut numbers = words(line).map(decimal);
    let mut next = |field| numbers.next().flatten().ok_or(Malformed { field });
    Ok(Schedstat {
        runtime: next("runtime")?,
        run_delay: next("run_delay")?,
        timeslices: next("timeslices")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_numbers() {
        let expected = Schedstat { runtime: 5, run_delay: 60869, timeslices: 1 };
        assert_eq!(schedstat(b"5 60869 1\n"), Ok(expected));
        for bad in [&b""[..], b"1 2 3", b"1 2\n", b"1 x 3\n", b"-1 2 3\n", b"1 2 18446744073709551616\n"] {
            assert!(schedstat(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
