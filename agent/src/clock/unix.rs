//! clock_gettime(2). None of the clocks can fail where it exists.

use procagent_core::time::{Ns, Timestamp};
use rustix::time::{ClockId, Timespec};

/// Runs on during suspend.
#[cfg(target_os = "linux")]
const SINCE_BOOT: ClockId = ClockId::Boottime;

/// Runs on during suspend on macOS (clock_gettime(3) there).
#[cfg(not(target_os = "linux"))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

/// The three clocks, read one after the other.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> Timestamp {
    let read = |clock| nanoseconds(rustix::time::clock_gettime(clock));
    Timestamp { mono: read(ClockId::Monotonic), boot: read(SINCE_BOOT), wall: read(ClockId::Realtime) }
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
