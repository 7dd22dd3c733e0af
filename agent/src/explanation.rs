//! Why a process counts where it does, as the control socket tells it and `procagent explain` prints it.

use procagent_core::cgroup;
use procagent_core::group::{self, GroupLabels, Reason};
use procagent_core::metric::{Desc, prometheus_label};
use procagent_core::process::Process;
use procagent_core::users::Users;
use serde::{Deserialize, Serialize};

/// Who found it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// The running agent.
    #[default]
    Agent,
    /// The command itself, by a scan of its own.
    OwnScan,
}

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
    /// Which rule put it there: `groups.rules[1]`, or `preset wazuh`.
    pub rule: Option<String>,
    /// Why it is in its group, in words.
    pub why: String,
    /// The labels of the group that it belongs to, the name first; empty where it belongs to none.
    pub labels: Vec<(String, String)>,
    /// The group in which it counts instead, for want of room.
    pub folded_into: Option<String>,
    /// The series in which it counts, without the group's labels.
    pub series: Vec<String>,
    /// What of it cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Who found this out.
    pub answered_by: AnsweredBy,
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

impl Explanation {
    /// What is known of a process.
    pub fn of(process: &Process, users: &Users) -> Explanation {
        let cgroup = process.cgroup.as_deref();
        Explanation {
            pid: process.id.pid.0,
            name: process.name.to_string(),
            comm: process.comm.to_string(),
            exe: process.exe.as_deref().map(str::to_owned),
            uid: process.user,
            user: process.user.and_then(|uid| users.get(uid)).map(ToString::to_string),
            unit: cgroup.and_then(cgroup::unit).map(str::to_owned),
            container: cgroup.and_then(cgroup::container_id).map(str::to_owned),
            why: "no scan has looked at it yet".to_owned(),
            ..Explanation::default()
        }
    }

    /// Adds where it belongs. `counts_in` are the labels of the group in which it counts; `origins` says where each
    /// rule came from.
    pub fn add_place(
        &mut self,
        place: &group::Explanation,
        counts_in: Option<&GroupLabels>,
        origins: &[String],
    ) {
        self.rule = place
            .rule
            .map(|rule| origins.get(rule).cloned().unwrap_or_else(|| format!("groups.rules[{rule}]")));
        let rule = self.rule.as_deref().unwrap_or_default();
        self.why = match place.reason {
            Reason::Matched => format!("{rule} matches it"),
            Reason::DescendantOf(Some(ancestor)) => {
                format!("no rule matches it; it descends from process {}, which {rule} matches", ancestor.pid)
            }
            Reason::DescendantOf(None) => {
                format!("no rule matches it; it descends from a process, gone meanwhile, that {rule} matched")
            }
            Reason::Kernel => "it is a thread of the kernel".to_owned(),
            Reason::Unmatched if place.labels.is_none() => {
                "no rule matches it, and groups.unmatched is drop: it has no series".to_owned()
            }
            Reason::Unmatched if self.is_other(place) => {
                "no rule matches it, and groups.unmatched is other".to_owned()
            }
            Reason::Unmatched => "no rule matches it; it is in the group of its program's name".to_owned(),
        };
        let labels = place.labels.iter().flat_map(|labels| &labels.0);
        self.labels = labels.map(|(name, value)| (prometheus_label(name), value.to_string())).collect();
        self.folded_into = counts_in.filter(|_| place.folded).map(|labels| labels.name().to_owned());
    }

    fn is_other(&self, place: &group::Explanation) -> bool {
        place.labels.as_ref().is_some_and(|labels| labels.name() == group::OTHER)
    }

    /// Adds the series in which it counts.
    pub fn add_series<'a>(&mut self, series: impl Iterator<Item = (&'static Desc, &'a Values)>) {
        self.series = series.map(|(desc, values)| series_name(desc, values)).collect();
        self.series.sort();
    }
}

/// The values of a series' own labels.
type Values = std::sync::Arc<[Box<str>]>;

fn series_name(desc: &Desc, values: &Values) -> String {
    let labels: Vec<String> = desc
        .labels
        .iter()
        .zip(values.iter())
        .map(|(name, value)| format!("{}={value:?}", prometheus_label(name)))
        .collect();
    let name = desc.prometheus_name();
    if labels.is_empty() { name } else { format!("{name}{{{}}}", labels.join(",")) }
}
