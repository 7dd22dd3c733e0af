//! The limit on open files: kept descriptors of /proc need a high one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for all but kept files of /proc: connections, readers, the log.
const OTHER_DESCRIPTORS: u64 = 512;

/// Raises the soft limit on open files to what `host.descriptors` takes, as far as the hard one allows. Most shells
/// and units start programs with 1,024 (getrlimit(2)).
pub fn raise_descriptor_limit(descriptors: usize) {
    let wanted = (descriptors as u64).saturating_add(OTHER_DESCRIPTORS);
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    if soft < wanted {
        let raised = Rlimit { current: Some(wanted.min(hard)), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("cannot raise the limit on open files from {soft} to {wanted}: {error}");
        }
    }
    if hard < wanted {
        tracing::warn!(
            "host.descriptors is {descriptors}, but at most {hard} files may be open; the rest is opened anew in each \
             scan, which costs more CPU. Raise the hard limit (LimitNOFILE= of systemd, ulimit -Hn)"
        );
    }
}
