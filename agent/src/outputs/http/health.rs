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
    limit: Ns,
    now: fn() -> Timestamp,
}

impl Health {
    /// `last` holds the monotonic nanoseconds at which a scan was last judged (at first: of the agent's start), and
    /// whoever judges keeps it. Healthy for `max(5 * interval, 60 s)` from then.
    pub fn new(last: Arc<AtomicU64>, interval: Ns, now: fn() -> Timestamp) -> Health {
        let limit = Ns(interval.0.saturating_mul(5)).max(LIMIT_MIN);
        Health { last, limit, now }
    }

    /// # Errors
    /// One line that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        let silence = (self.now)().mono.since(Ns(self.last.load(Ordering::Relaxed)));
        if silence <= self.limit {
            return Ok(());
        }
        Err(format!(
            "no scan was finished for {:.0} s (the limit is {:.0} s): a scan or a collector hangs",
            silence.as_secs_f64(),
            self.limit.as_secs_f64()
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
    }
}
