//! The one place that reads the clock. Everything else gets a [`Timestamp`].

use procagent_core::time::{Ns, Timestamp};
use rustix::time::{ClockId, Timespec};

/// The three clocks, read one after the other (clock_gettime(2); none of the three can fail on Linux).
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> Timestamp {
    let read = |clock| nanoseconds(rustix::time::clock_gettime(clock));
    Timestamp { mono: read(ClockId::Monotonic), boot: read(ClockId::Boottime), wall: read(ClockId::Realtime) }
}

/// The CPU time that this process has used so far.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn cpu_time() -> Ns {
    nanoseconds(rustix::time::clock_gettime(ClockId::ProcessCPUTime))
}

/// A clock set before 1970 reads as 1970.
fn nanoseconds(time: Timespec) -> Ns {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Ns::from_secs(seconds).plus(Ns(u64::try_from(time.tv_nsec).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_move_forward() {
        let (first, second) = (now(), now());
        assert!(second.mono >= first.mono && second.boot >= first.boot);
        assert!(first.wall > Ns::from_secs(1_577_836_800), "later than 2020");
    }
}
