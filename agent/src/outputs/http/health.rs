//! Whether the agent does its work, as `/-/healthy` says it.

use procagent_core::time::{Ns, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The shortest silence that counts as a fault.
const LIMIT_MIN: Ns = Ns::from_secs(60);

/// When a scan was last judged, and when to worry. Clones look at the same.
#[derive(Clone, Debug)]
pub struct Health {
    /// Monotonic nanoseconds.
    last: Arc<AtomicU64>,
    /// Nanoseconds of silence that are a fault.
    limit: Arc<AtomicU64>,
    now: fn() -> Timestamp,
}

impl Health {
    /// `last` holds the monotonic nanoseconds at which a scan was last judged (at first: of the agent's start), and
    /// whoever judges keeps it. Healthy for `max(5 * interval, 60 s)` from then.
    pub fn new(last: Arc<AtomicU64>, interval: Ns, now: fn() -> Timestamp) -> Health {
        let health = Health { last, limit: Arc::default(), now };
        health.set_interval(interval);
        health
    }

    /// Says that scans come in another interval from now on.
    pub fn set_interval(&self, interval: Ns) {
        let limit = Ns(interval.0.saturating_mul(5)).max(LIMIT_MIN);
        self.limit.store(limit.0, Ordering::Relaxed);
    }

    /// How long ago a scan was last judged.
    pub fn silence(&self) -> Ns {
        (self.now)().mono.since(Ns(self.last.load(Ordering::Relaxed)))
    }

    /// # Errors
    /// One line that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let (silence, limit) = (self.silence(), Ns(self.limit.load(Ordering::Relaxed)));
        if silence <= limit {
            return Ok(());
        }
        Err(format!(
            "no scan was finished for {:.0} s (the limit is {:.0} s): a scan or a collector hangs",
            silence.as_secs_f64(),
            limit.as_secs_f64()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NOW: AtomicU64 = AtomicU64::new(0);

    fn now() -> Timestamp {
        Timestamp { mono: Ns::from_secs(NOW.load(Ordering::Relaxed)), ..Timestamp::default() }
    }

    #[test]
    fn silence_is_a_fault_after_five_intervals_or_a_minute() {
        let last = Arc::new(AtomicU64::new(0));
        let short = Health::new(Arc::clone(&last), Ns::from_secs(5), now);
        let long = Health::new(Arc::clone(&last), Ns::from_secs(20), now);
        NOW.store(60, Ordering::Relaxed);
        assert_eq!(short.check(), Ok(()));
        NOW.store(61, Ordering::Relaxed);
        assert!(short.check().unwrap_err().contains("61 s"));
        assert_eq!(long.check(), Ok(()));
        NOW.store(101, Ordering::Relaxed);
        assert!(long.check().is_err());
        last.store(now().mono.0, Ordering::Relaxed);
        assert_eq!(short.check(), Ok(()));
        NOW.store(170, Ordering::Relaxed);
        assert_eq!((short.check().is_err(), long.check().is_err()), (true, false));
        long.clone().set_interval(Ns::from_secs(1));
        assert!(long.check().is_err(), "clones look at the same");
    }
}
