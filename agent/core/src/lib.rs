//! The shared words of procagent. This crate knows no thread, clock, file or network: everything in it is a
//! plain value or a pure state machine, so every part of the agent can be tested on made-up input.
//!
//! ```text
//! Snapshot ──┐
//!            ├─▶ Table ──▶ Tick ──▶ collectors ──▶ Samples ──▶ Registry ──▶ Families ──▶ outputs
//! Record  ───┘     │                                  ▲
//!                  └──▶ Groups ───────────────────────┘
//! ```
//!
//! | module | words |
//! |---|---|
//! | [`time`] | `Timestamp`, `Ns`, `Ticks`, `KernelTime` |
//! | [`process`] | `ProcessId`, `Process`, `Usage`, `State`, `CommandLine`; how a program gets its name |
//! | [`snapshot`] | `Snapshot`, `Reading`, `Details`: what a `Source` saw in one scan |
//! | [`event`] | `Record`, `Event`, `What`: what an `EventSource` heard |
//! | [`table`] | `Table`: every living process and a bounded ring of ended ones |
//! | [`cgroup`], [`users`] | the unit, container, pod and user that a process belongs to |
//! | [`group`] | `Groups`: which series a process belongs to |
//! | [`metric`] | `Desc`, `Counter`, `Gauge`: one definition for every output |
//! | [`registry`] | `Samples`, `Registry`, `Families`: numbers that never fall |
//! | [`plugin`] | `Collector`, `Rule`, `Needs`, `Tick`: what a newcomer implements |
//! | [`switch`] | `Switch`: settings, or `off` |
//! | [`duration`], [`size`] | `5s` and `1GiB`, as people write them |
//! | [`alert`] | `Findings`, `Alerts`: the memory of all rules |
//! | `testing` | builders for tests (feature `testing`) |
#![forbid(unsafe_code)]

pub mod alert;
pub mod cgroup;
pub mod duration;
pub mod event;
pub mod group;
pub mod metric;
pub mod plugin;
pub mod process;
pub mod registry;
pub mod size;
pub mod snapshot;
pub mod switch;
pub mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod users;

/// What a source or a plugin returns when it cannot do its work this time. The text names what was tried, on
/// what, and what a person can do about it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
