//! The clocks of the standard library, where there is no clock_gettime.

use procagent_core::time::{Ns, Timestamp};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// When the first reading was taken, and how long the host had run then.
static FIRST: OnceLock<(Instant, Ns)> = OnceLock::new();

/// The three clocks. There is none that runs on during suspend, so after one processes look younger than they are.
#[allow(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> Timestamp {
    let (first, uptime) = FIRST.get_or_init(|| (Instant::now(), uptime()));
    let mono = uptime.plus(first.elapsed().into());
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().into();
    Timestamp { mono, boot: mono, wall }
}

/// 0: the standard library does not tell.
pub fn cpu_time() -> Ns {
    Ns(0)
}

#[cfg(feature = "portable")]
fn uptime() -> Ns {
    procagent_sources::portable::uptime().unwrap_or_default()
}

#[cfg(not(feature = "portable"))]
fn uptime() -> Ns {
    Ns(0)
}
