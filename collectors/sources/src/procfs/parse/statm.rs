//! `/proc/PID/statm`, proc_pid_statm(5): seven numbers of pages.

use super::{Malformed, decimal, words};

/// Memory in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statm {
    /// Address space.
    pub virtual_pages: u64,
    /// Physical memory, shared pages included.
    pub resident_pages: u64,
}

/// Reads the line.
pub fn statm(bytes: &[u8]) -> Result<Statm, Malformed> {
    let mut numbers = words(bytes).map(decimal);
    let mut next = |field| numbers.next().flatten().ok_or(Malformed { field });
    Ok(Statm { virtual_pages: next("size")?, resident_pages: next("resident")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let expected = Statm { virtual_pages: 765, resident_pages: 410 };
        assert_eq!(statm(b"765 410 343 5 0 93 0\n"), Ok(expected));
        assert_eq!(statm(b""), Err(Malformed { field: "size" }));
        assert_eq!(statm(b"765"), Err(Malformed { field: "resident" }));
        assert_eq!(statm(b"-1 4"), Err(Malformed { field: "size" }));
        assert_eq!(statm(b"1 99999999999999999999"), Err(Malformed { field: "resident" }));
    }
}
