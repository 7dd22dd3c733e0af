//! Time as a value. One file of the agent reads the clocks and hands a [`Timestamp`] down; nothing here does.

use std::fmt;
use std::time::Duration;

/// A length of time, or a point on some clock, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ns(pub u64);

impl Ns {
    /// The same in whole seconds of input; saturates after 584 years.
    pub const fn from_secs(seconds: u64) -> Ns {
        Ns(seconds.saturating_mul(1_000_000_000))
    }

    /// The same in milliseconds of input.
    pub const fn from_millis(milliseconds: u64) -> Ns {
        Ns(milliseconds.saturating_mul(1_000_000))
    }

    /// `self - earlier`, 0 where that would be negative.
    pub const fn since(self, earlier: Ns) -> Ns {
        Ns(self.0.saturating_sub(earlier.0))
    }

    /// `self + other`, saturating.
    pub const fn plus(self, other: Ns) -> Ns {
        Ns(self.0.saturating_add(other.0))
    }

    /// Seconds, for people and for encoders.
    #[allow(clippy::cast_precision_loss)]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl From<Duration> for Ns {
    fn from(duration: Duration) -> Ns {
        Ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Ns> for Duration {
    fn from(ns: Ns) -> Duration {
        Duration::from_nanos(ns.0)
    }
}

/// Clock ticks since boot: the grain of `starttime`, field 22 of `/proc/PID/stat` (proc(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticks(pub u64);

impl Ticks {
    /// Nanoseconds since boot of the begin of this tick; `per_second` is `sysconf(_SC_CLK_TCK)`, 100 on every
    /// Linux that people run.
    pub const fn to_ns(self, per_second: u64) -> Ns {
        let per_second = if per_second == 0 { 100 } else { per_second };
        Ns(self.0.saturating_mul(1_000_000_000 / per_second))
    }

    /// The tick in which a point of `CLOCK_BOOTTIME` lies.
    pub const fn from_ns(boot: Ns, per_second: u64) -> Ticks {
        let per_second = if per_second == 0 { 100 } else { per_second };
        Ticks(boot.0 / (1_000_000_000 / per_second))
    }
}

impl fmt::Display for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One reading of the three clocks, taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// `CLOCK_MONOTONIC`: for differences. Stands still during suspend, never jumps.
    pub mono: Ns,
    /// `CLOCK_BOOTTIME`: the clock of process start times. Runs on during suspend.
    pub boot: Ns,
    /// `CLOCK_REALTIME` since 1970: for people and for exported points. May jump.
    pub wall: Ns,
}

/// The kernel's own time of an event, `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelTime(pub Ns);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_nanoseconds_agree() {
        assert_eq!(Ticks(150).to_ns(100), Ns(1_500_000_000));
        assert_eq!(Ticks::from_ns(Ns(1_509_999_999), 100), Ticks(150));
        assert_eq!(Ticks(3).to_ns(0), Ns(30_000_000), "an impossible rate falls back to 100");
    }

    #[test]
    fn differences_never_go_below_zero() {
        assert_eq!(Ns(5).since(Ns(9)), Ns(0));
        assert_eq!(Ns(u64::MAX).plus(Ns(1)), Ns(u64::MAX));
    }
}
