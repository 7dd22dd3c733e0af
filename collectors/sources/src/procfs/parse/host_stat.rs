//! `/proc/stat`, proc_stat(5): the host's CPU time and fork counter.

use super::{Malformed, decimal, lines, words};
use procagent_core::snapshot::CpuTimes;
use procagent_core::time::{Ns, Ticks};

/// What is used of `/proc/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostStat {
    /// CPU time of all CPUs together.
    pub cpu: CpuTimes,
    /// Lines `cpuN`: CPUs that are online. 0 where there is none.
    pub cpus: u32,
    /// `processes`: tasks created since boot.
    pub forks: Option<u64>,
}

/// Reads the file; `ticks_per_second` is the grain of its times. Times that a kernel before 2.6.11 does not have are 0.
pub fn host_stat(bytes: &[u8], ticks_per_second: u64) -> Result<HostStat, Malformed> {
    let (mut cpu, mut cpus, mut forks) = (None, 0, None);
    for line in lines(bytes) {
        let mut words = words(line);
        match words.next() {
            Some(b"cpu") if cpu.is_none() => cpu = Some(times(words, ticks_per_second)?),
            Some(name) if name.strip_prefix(b"cpu").and_then(decimal).is_some() => cpus += 1,
            Some(b"processes") => forks = words.next().and_then(decimal),
            _ => {}
        }
    }
    Ok(HostStat { cpu: cpu.ok_or(Malformed { field: "cpu" })?, cpus, forks })
}

fn times<'a>(words: impl Iterator<Item = &'a [u8]>, ticks_per_second: u64) -> Result<CpuTimes, Malformed> {
    let mut numbers = words.map(decimal);
    let mut next = |optional: bool| match numbers.next() {
        Some(Some(ticks)) => Ok(Ticks(ticks).to_ns(ticks_per_second)),
        None if optional => Ok(Ns(0)),
        _ => Err(Malformed { field: "cpu" }),
    };
    Ok(CpuTimes {
        user: next(false)?,
        nice: next(false)?,
        system: next(false)?,
        idle: next(false)?,
        iowait: next(true)?,
        interrupt: next(true)?,
        softirq: next(true)?,
        steal: next(true)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_cpus_and_forks() {
        let text = b"cpu  15689 1 4176 330436 491 2 52 9 3 0\ncpu0 7364 0 1976 165974 102 0 5 3 0 0\n\
            cpu1 8325 0 2199 164461 388 0 47 6 0 0\nintr 244454 0 0\nctxt 5\nbtime 6\nprocesses 11280\n";
        let got = host_stat(text, 100).unwrap();
        assert_eq!((got.cpus, got.forks), (2, Some(11280)));
        let ms = |ticks: u64| Ns::from_millis(ticks * 10);
        let expected = CpuTimes {
            user: ms(15689),
            nice: ms(1),
            system: ms(4176),
            idle: ms(330_436),
            iowait: ms(491),
            interrupt: ms(2),
            softirq: ms(52),
            steal: ms(9),
        };
        assert_eq!(got.cpu, expected);
    }

    #[test]
    fn old_short_and_broken() {
        let old = host_stat(b"cpu 1 2 3 4\n", 100).unwrap();
        assert_eq!((old.cpu.steal, old.cpus, old.forks), (Ns(0), 0, None));
        for bad in [&b""[..], b"cpu", b"cpu 1 2 3", b"cpu 1 2 3 x", b"cpu0 1 2 3 4", b"cpu 1 2 3 4 -5"] {
            assert_eq!(host_stat(bad, 100), Err(Malformed { field: "cpu" }), "{}", bad.escape_ascii());
        }
        let huge = host_stat(b"cpu 18446744073709551615 1 1 1\n", 0).unwrap();
        assert_eq!(huge.cpu.user, Ns(u64::MAX));
    }
}
