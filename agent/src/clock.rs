//! The one place that reads the clock. Everything else gets a [`Timestamp`](procagent_core::time::Timestamp).

#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(not(unix))]
pub use other::{cpu_time, now};
#[cfg(unix)]
pub use unix::{cpu_time, now};

#[cfg(test)]
mod tests {
    use super::*;
    use procagent_core::time::Ns;

    #[test]
    fn clocks_move_forward() {
        let (first, second) = (now(), now());
        assert!(second.mono >= first.mono && second.boot >= first.boot);
        assert!(first.wall > Ns::from_secs(1_577_836_800), "later than 2020");
    }
}
