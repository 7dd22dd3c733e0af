//! Why a process counts where it does, as the control socket tells it and `procagent explain` prints it.

use serde::{Deserialize, Serialize};

/// What the agent knows of one process and where its numbers go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// Its number.
    pub pid: u32,
    /// The name of its program.
    pub name: String,
    /// The kernel's short name.
    pub comm: String,
    /// Its executable; `None` where it could not be read.
    pub exe: Option<String>,
    /// The number of its effective user.
    pub uid: Option<u32>,
    /// The name of that user.
    pub user: Option<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// The id of its container.
    pub container: Option<String>,
    /// Which rule of `groups.rules` it matched, counted from 0.
    pub rule: Option<usize>,
    /// Why it is in its group, in words.
    pub why: String,
    /// The labels of its group, its name first; empty where it has none, for it was dropped.
    pub labels: Vec<(String, String)>,
    /// The group that it would have, were there room: `labels` are those of `other` then.
    pub folded: Option<String>,
    /// The names of its group's series, without the group's labels.
    pub series: Vec<String>,
    /// What of it cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// What stands in the way of trusting this, such as a scan that hangs.
    pub warning: Option<String>,
}

/// A file of a process that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Its name in /proc.
    pub field: String,
    /// What the kernel says.
    pub error: String,
    /// What would help, if that is known.
    pub fix: Option<String>,
}
