//! `/proc/PID/stat`, proc_pid_stat(5): one line, 52 fields.

use super::{Malformed, decimal, decimal_u32};
use std::fmt;

/// `PF_KTHREAD`, include/linux/sched.h.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// The fields of `stat` that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 1.
    pub pid: u32,
    /// Field 2.
    pub comm: Comm,
    /// Field 3, a letter.
    pub state: u8,
    /// Field 4, the present parent.
    pub parent: u32,
    /// Field 9, `PF_*` of include/linux/sched.h.
    pub flags: u32,
    /// Field 10, of all threads, ended ones included.
    pub minor_faults: u64,
    /// Field 12.
    pub major_faults: u64,
    /// Field 14, in clock ticks, of all threads, ended ones included.
    pub user_ticks: u64,
    /// Field 15.
    pub system_ticks: u64,
    /// Field 19, -20 to 19.
    pub nice: i8,
    /// Field 20; 0 for a process whose threads have all ended.
    pub threads: u32,
    /// Field 22, in clock ticks since boot.
    pub start: u64,
    /// Field 23, in bytes.
    pub virtual_memory: u64,
    /// Field 26, where the program's code lies; 0 or 1 without the right to trace it (fs/proc/array.c). Moves on
    /// exec under address space randomisation.
    pub start_code: u64,
    /// Field 42, waiting for storage, in clock ticks, of this one thread; 0 where the kernel does not account for it
    /// (`kernel.task_delayacct`).
    pub block_io_ticks: u64,
    /// Field 48, where the arguments lie; 0 without that right, and before Linux 3.5.
    pub arg_start: u64,
}

impl Stat {
    /// Whether it is a thread of the kernel, from [`Stat::flags`].
    pub const fn kernel_thread(&self) -> bool {
        self.flags & KERNEL_THREAD != 0
    }

    /// Whether it has ended and waits for its parent.
    pub const fn zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// The kernel's short name: 15 bytes, of kernel workers up to 63 (`proc_task_name`, fs/proc/array.c). Any bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Comm {
    length: u8,
    bytes: [u8; Comm::MAX],
}

impl Comm {
    /// The kernel's own bound; what is longer is cut.
    pub const MAX: usize = 63;

    fn new(name: &[u8]) -> Comm {
        let name = &name[..name.len().min(Comm::MAX)];
        let mut bytes = [0; Comm::MAX];
        bytes[..name.len()].copy_from_slice(name);
        Comm { length: u8::try_from(name.len()).unwrap_or(0), bytes }
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length).min(Comm::MAX)]
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

/// Reads the line. The name may hold blanks, newlines and parentheses, so it ends at the last `)`; no later field
/// has one.
pub fn stat(bytes: &[u8]) -> Result<Stat, Malformed> {
    let open = bytes.iter().position(|byte| *byte == b'(').ok_or(Malformed { field: "comm" })?;
    let close = last_parenthesis(bytes).filter(|close| *close > open).ok_or(Malformed { field: "comm" })?;
    let pid = bytes[..open].strip_suffix(b" ").unwrap_or(b"");
    let rest = bytes[close + 1..].strip_prefix(b" ").unwrap_or(b"");
    let mut fields = Fields { rest, next: 3 };
    Ok(Stat {
        pid: decimal_u32(pid).ok_or(Malformed { field: "pid" })?,
        comm: Comm::new(&bytes[open + 1..close]),
        state: fields.letter(3, "state")?,
        parent: fields.u32(4, "ppid")?,
        flags: fields.u32(9, "flags")?,
        minor_faults: fields.u64(10, "minflt")?,
        major_faults: fields.u64(12, "majflt")?,
        user_ticks: fields.u64(14, "utime")?,
        system_ticks: fields.u64(15, "stime")?,
        nice: fields.i8(19, "nice")?,
        threads: fields.u32(20, "num_threads")?,
        start: fields.u64(22, "starttime")?,
        virtual_memory: fields.u64(23, "vsize")?,
        start_code: fields.u64(26, "startcode")?,
        block_io_ticks: fields.u64(42, "delayacct_blkio_ticks").unwrap_or(0),
        arg_start: fields.u64(48, "arg_start").unwrap_or(0),
    })
}

/// Every process is parsed in every scan, and most of its line is of no use, so what is skipped is skipped by blocks
/// that the compiler makes vectors of.
const BLOCK: usize = 16;

fn last_parenthesis(bytes: &[u8]) -> Option<usize> {
    let mut end = bytes.len();
    for block in bytes.rchunks(2 * BLOCK) {
        let begin = end - block.len();
        if block.contains(&b')') {
            return block.iter().rposition(|byte| *byte == b')').map(|place| begin + place);
        }
        end = begin;
    }
    None
}

/// A walk over the fields after the name, forwards only.
struct Fields<'a> {
    rest: &'a [u8],
    /// The field that `rest` begins with.
    next: usize,
}

impl<'a> Fields<'a> {
    fn skip(&mut self, fields: usize) {
        let mut left = fields;
        while let Some((block, rest)) = self.rest.split_first_chunk::<BLOCK>() {
            let ends: u8 = block.iter().map(|byte| u8::from(*byte == b' ')).sum();
            if usize::from(ends) >= left {
                break;
            }
            left -= usize::from(ends);
            self.rest = rest;
        }
        for _ in 0..left {
            let end = self.rest.iter().position(|byte| *byte == b' ');
            self.rest = end.map_or(b"", |end| &self.rest[end + 1..]);
        }
    }

    fn advance_to(&mut self, number: usize) {
        self.skip(number - self.next);
        self.next = number + 1;
    }

    fn letter(&mut self, number: usize, field: &'static str) -> Result<u8, Malformed> {
        self.advance_to(number);
        match self.rest {
            [letter, b' ', rest @ ..] if letter.is_ascii_alphabetic() => {
                self.rest = rest;
                Ok(*letter)
            }
            _ => Err(Malformed { field }),
        }
    }

    /// A number with its end: half a number would be a wrong one.
    fn u64(&mut self, number: usize, field: &'static str) -> Result<u64, Malformed> {
        self.advance_to(number);
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(digits);
        match rest {
            [b' ' | b'\n', rest @ ..] => self.rest = rest,
            _ => return Err(Malformed { field }),
        }
        decimal(digits).ok_or(Malformed { field })
    }

    fn u32(&mut self, number: usize, field: &'static str) -> Result<u32, Malformed> {
        u32::try_from(self.u64(number, field)?).map_err(|_| Malformed { field })
    }

    fn i8(&mut self, number: usize, field: &'static str) -> Result<i8, Malformed> {
        self.advance_to(number);
        self.next = number;
        let negative = self.rest.first() == Some(&b'-');
        self.rest = &self.rest[usize::from(negative)..];
        let size = i64::try_from(self.u64(number, field)?).map_err(|_| Malformed { field })?;
        i8::try_from(if negative { -size } else { size }).map_err(|_| Malformed { field })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"11278 (cat) R 11263 11263 3435 0 -1 4194304 100 0 7 0 3 4 0 0 20 -5 1 0 175723 3133440 410 \
        18446744073709551615 94820166262784 94820166282665 140732955376000 0 0 0 0 0 0 0 0 0 17 0 0 0 6 0 0 \
        94820166298672 94820166300288 94821236019200 140732955380449 140732955380469 140732955380469 140732955381739 0\n";

    #[test]
    fn a_line_of_a_real_process() {
        let stat = stat(LINE).unwrap();
        let expected = Stat {
            pid: 11278,
            comm: Comm::new(b"cat"),
            state: b'R',
            parent: 11263,
            flags: 4_194_304,
            minor_faults: 100,
            major_faults: 7,
            user_ticks: 3,
            system_ticks: 4,
            nice: -5,
            threads: 1,
            start: 175_723,
            virtual_memory: 3_133_440,
            start_code: 94_820_166_262_784,
            block_io_ticks: 6,
            arg_start: 140_732_955_380_449,
        };
        assert_eq!(stat, expected);
        assert!(!stat.kernel_thread() && !stat.zombie());
    }

    #[test]
    fn names_end_at_the_last_parenthesis() {
        for name in [&b"a) R 1 (b"[..], b")", b"(", b" ", b"", b"x\ny", b"\xff\xfe", b")))))) S 0 0 0"] {
            let line = [b"11278 (", name, &LINE[b"11278 (cat".len()..]].concat();
            let stat = stat(&line).unwrap_or_else(|error| panic!("{name:?}: {error}"));
            assert_eq!((stat.comm.as_bytes(), stat.parent), (name, 11263));
        }
    }

    #[test]
    fn long_names_are_cut() {
        let line = [b"1 (", &[b'n'; 500][..], &LINE[b"11278 (cat".len()..]].concat();
        assert_eq!(stat(&line).unwrap().comm.as_bytes(), [b'n'; Comm::MAX]);
    }

    #[test]
    fn the_missing_field_is_named() {
        let field = |line: &[u8]| stat(line).map_err(|error| error.field);
        assert_eq!(field(b""), Err("comm"));
        assert_eq!(field(b"1 )("), Err("comm"));
        assert_eq!(field(b"(a) S 1"), Err("pid"));
        assert_eq!(field(b"1 (a)"), Err("state"));
        assert_eq!(field(b"1 (a) S x"), Err("ppid"));
        assert_eq!(field(b"1 (a) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 999 1"), Err("nice"));
    }

    #[test]
    fn a_cut_line_gives_no_wrong_number() {
        let whole = stat(LINE).unwrap();
        for length in 0..LINE.len() {
            let cut = stat(&LINE[..length]);
            // Past field 26 it is the line of an old kernel.
            assert!(
                cut.is_err()
                    || cut == Ok(whole)
                    || cut == Ok(Stat { arg_start: 0, ..whole })
                    || cut == Ok(Stat { arg_start: 0, block_io_ticks: 0, ..whole }),
                "{length}"
            );
        }
    }
}
