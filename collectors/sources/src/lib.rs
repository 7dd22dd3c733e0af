//! What feeds procagent: everything that reads the host. Each source is one folder and implements
//! `procagent_core::snapshot::Source`; the rest of the agent knows no file of /proc.
//!
//! | module | source |
//! |---|---|
//! | [`procfs`] | files of `<host.root>/proc`, on any Linux, without privilege |
//! | [`portable`] | what the crate `sysinfo` knows, on macOS, Windows and Linux (feature `portable`) |
//!
//! ```text
//! procfs/  mod      Procfs: one scan, top-down
//!          settings Settings, OpenError: what a Procfs is opened with, and why it cannot be
//!          parse/   the files' formats: pure functions over bytes
//!          files    the open /proc; every open and read of it, and what its errors mean
//!          pids     which processes there are
//!          entry    what is remembered of one process between two scans
//!          visit    reads one process and decides what has to be read
//!          budget   how many descriptors stay open, and whose
//!          describe when to send for what seldom changes, and what to make of the answers
//!          readers  the threads for reads that may hang, with deadline and quarantine
//!          details  what those threads read: executable, arguments, control group, memory
//!          passwd   the names of users
//!          smaps    whose memory is to be read, within a budget of time
//!          threads  the threads of processes that have several, within another
//!          ledger   what the threads of one process have used, ended ones included
//!          cgroup   memory limits of control groups
//!          host     the host's own numbers
//!          own      the agent's own numbers
//!          probe    which files can be read here, for reports
//! ```
// System calls go through rustix. A source that must call the kernel by itself (netlink, BPF) will have to relax
// this to `deny` and say why at each place.
#![forbid(unsafe_code)]

#[cfg(feature = "portable")]
pub mod portable;
#[cfg(target_os = "linux")]
pub mod procfs;

#[cfg(feature = "portable")]
pub use portable::Portable;
#[cfg(target_os = "linux")]
pub use procfs::{OpenError, Procfs, Settings};
