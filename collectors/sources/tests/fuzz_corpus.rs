//! Every parser against its corpus in `tests/fuzz/corpus`, and against 100,000 mutations of it. The same on every
//! run and every machine: the seed is fixed. `tests/fuzz` has the same parsers for cargo-fuzz.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code"
)]

use procagent_sources::procfs::parse;
use std::path::{Path, PathBuf};

const MUTATIONS: usize = 100_000;
const LENGTH_MAX: usize = 8192;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus")
}

/// xorshift64*, Vigna 2016.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `end` - 1.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end.max(1)
    }
}

/// What parsers trip over.
const TOKENS: [&[u8]; 16] = [
    b"18446744073709551615",
    b"18446744073709551616",
    b"4294967296",
    b"-1",
    b"-9223372036854775808",
    b"",
    b" ",
    b"\n",
    b"\t",
    b":",
    b"(",
    b")",
    b"\0",
    b"\xff",
    b"\xf0\x9f\x92\xa9",
    b"max",
];

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = u8::try_from(random.next() & 0xff).unwrap(),
            2 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            3 => drop(bytes.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
            4 => {
                // A part is left out, or put somewhere else.
                let end = at + random.below(bytes.len() - at + 1).min(64);
                let part: Vec<u8> = bytes.drain(at..end).collect();
                let to = random.below(bytes.len() + 1);
                if random.below(2) == 0 {
                    drop(bytes.splice(to..to, part));
                }
            }
            _ => {
                // The begin of one file, the end of another.
                let other = &seeds[random.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
        }
        bytes.truncate(LENGTH_MAX);
    }
    bytes
}

/// Gives the corpus and its mutations to `check`, which says whether they were read; some must be, and some not, or
/// the mutations miss the point.
fn torture(parser: &str, check: impl Fn(&[u8]) -> bool) {
    let folder = corpus().join(parser);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(seeds.len() >= 4, "{} has too few files", folder.display());
    for (file, seed) in files.iter().zip(&seeds) {
        let real = file.file_name().unwrap().to_string_lossy().starts_with("real");
        assert!(check(seed) || !real, "{} is not read", file.display());
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let read = (0..MUTATIONS).filter(|_| check(&mutate(&mut random, &seeds))).count();
    assert!((MUTATIONS / 100..MUTATIONS).contains(&read), "{read} of {MUTATIONS} were read");
}

#[test]
fn stat() {
    torture("stat", |bytes| {
        let Ok(stat) = parse::stat(bytes) else { return false };
        assert!(stat.comm.as_bytes().len() <= parse::Comm::MAX && stat.state.is_ascii_alphabetic());
        // The name lies between the first and the last parenthesis, and nothing before is anything but the pid.
        let head = format!("{} (", stat.pid);
        let begin = bytes.iter().position(|byte| *byte == b'(').unwrap() + 1;
        assert!(bytes[begin..].starts_with(stat.comm.as_bytes()) && (begin >= head.len()));
        true
    });
}

#[test]
fn statm() {
    torture("statm", |bytes| parse::statm(bytes).is_ok());
}

#[test]
fn status() {
    torture("status", |bytes| {
        let Ok(users) = parse::status(bytes) else { return false };
        // Whoever is named stands in the text.
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains(&users.real.to_string()) || text.contains("Uid:\t0"), "{text}");
        true
    });
}

#[test]
fn switches() {
    torture("switches", |bytes| {
        // A text that was cut off has half a number in its last line.
        parse::switches(bytes).is_ok_and(|_| bytes.ends_with(b"\n"))
    });
}

#[test]
fn schedstat() {
    torture("schedstat", |bytes| parse::schedstat(bytes).is_ok_and(|_| bytes.ends_with(b"\n")));
}

#[test]
fn smaps_rollup() {
    torture("smaps_rollup", |bytes| {
        parse::smaps_rollup(bytes).is_ok_and(|rollup| rollup.pss % 1024 == 0 && rollup.swap % 1024 == 0)
    });
}

#[test]
fn io() {
    torture("io", |bytes| {
        let read = parse::io(bytes).is_ok();
        let all = ["read_bytes: ", "write_bytes: ", "syscr: ", "syscw: "];
        let has = |field: &str| bytes.windows(field.len()).any(|part| part == field.as_bytes());
        assert!(!read || all.iter().all(|field| has(field)));
        read
    });
}

#[test]
fn limits() {
    torture("limits", |bytes| parse::limits(bytes).is_ok());
}

#[test]
fn cgroup() {
    torture("cgroup", |bytes| {
        let Ok(cgroup) = parse::cgroup(bytes) else { return false };
        let paths = [cgroup.unified, cgroup.memory, cgroup.systemd, cgroup.path()];
        assert!(paths.into_iter().flatten().all(|path| path[0] == b'/' && !path.contains(&b'\n')));
        assert!(cgroup.memory.is_some() || cgroup.unified.is_some() || cgroup.memory_path().is_none());
        true
    });
}

#[test]
fn memory_limit() {
    torture("memory_limit", |bytes| parse::memory_limit(bytes).is_ok());
}

#[test]
fn host_stat() {
    torture("host_stat", |bytes| {
        // An impossible rate must not divide by 0.
        let _other = parse::host_stat(bytes, 0);
        let Ok(stat) = parse::host_stat(bytes, 100) else { return false };
        assert!(stat.cpus as usize <= bytes.len() && stat.cpu.busy() >= stat.cpu.user);
        true
    });
}

#[test]
fn meminfo() {
    torture("meminfo", |bytes| parse::meminfo(bytes).is_ok_and(|memory| memory.total % 1024 == 0));
}

#[test]
fn every_parser_has_a_fuzz_target_and_a_corpus() {
    let names = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> = entries.map(|path| path.file_stem().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let targets = names(corpus().join("../fuzz_targets"));
    assert_eq!(targets, names(corpus()));
    let manifest = std::fs::read_to_string(corpus().join("../Cargo.toml")).unwrap();
    for target in targets {
        let target = target.to_string_lossy().into_owned();
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
    }
}
