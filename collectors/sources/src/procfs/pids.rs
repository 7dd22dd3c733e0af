//! Which processes there are: the names of /proc that are numbers.

use rustix::fd::AsFd;
use rustix::fs::{RawDir, SeekFrom};
use rustix::io::Errno;

/// Room for about a thousand names a system call.
const LISTING: usize = 32 << 10;

/// A listing that keeps its memory.
#[derive(Debug)]
pub(super) struct Pids {
    listing: Vec<u8>,
    pids: Vec<u32>,
}

impl Pids {
    pub fn new() -> Pids {
        Pids { listing: Vec::with_capacity(LISTING), pids: Vec::new() }
    }

    /// Lists an open /proc anew, in ascending order.
    pub fn list(&mut self, folder: impl AsFd) -> Result<&[u32], Errno> {
        self.pids.clear();
        rustix::fs::seek(&folder, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&folder, self.listing.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            self.pids.extend(number(entry?.file_name().to_bytes()));
        }
        // The kernel lists them in this order (next_tgid, fs/proc/base.c); the filesystem of a captured tree may not.
        if !self.pids.is_sorted() {
            self.pids.sort_unstable();
        }
        Ok(&self.pids)
    }
}

/// Names as the kernel writes them: no leading zero, so that a folder `007` of a captured tree is not process 7.
fn number(name: &[u8]) -> Option<u32> {
    if name.first().is_none_or(|first| *first == b'0') {
        return None;
    }
    super::parse::decimal_u32(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_only() {
        assert_eq!(number(b"1"), Some(1));
        assert_eq!(number(b"4194304"), Some(4_194_304));
        for name in [&b""[..], b"0", b"007", b"self", b"1a", b"-1", b"99999999999"] {
            assert_eq!(number(name), None, "{name:?}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the second opinion")]
    fn the_living_host_is_listed_again_and_again() {
        let proc = std::fs::File::open("/proc").unwrap();
        let mut pids = Pids::new();
        for _ in 0..3 {
            let listed = pids.list(&proc).unwrap();
            assert!(listed.contains(&std::process::id()) && listed.contains(&1) && listed.is_sorted());
        }
    }
}
