//! The collectors, one a file. A collector sees one [`Tick`](procagent_core::plugin::Tick) after the other and writes
//! numbers; it opens no file and reads no clock.
//!
//! To add one: a file that exports `PLUGIN`, its `mod` line here, its name in [`ALL`]. A test holds the files of
//! this folder to the list.
//!
//! | collector | what it counts |
//! |---|---|
//! | [`host`] | CPU, memory and processes of the whole host |
//! | [`process`] | what the processes of a group use |
#![forbid(unsafe_code)]

use procagent_core::plugin::CollectorPlugin;
use procagent_core::snapshot::Budgets;
use procagent_core::switch::Switch;
use serde::Deserialize;

pub mod host;
pub mod process;

/// Every collector there is.
pub const ALL: &[CollectorPlugin<Settings>] = &[host::PLUGIN, process::PLUGIN];

/// The part `collectors` of the configuration. A collector without settings has no entry and is always on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Numbers of groups of processes.
    pub process: Switch<process::Settings>,
}

impl Settings {
    /// How much time the source may take for what costs most.
    pub fn budgets(&self) -> Budgets {
        self.process.on().map_or_else(Budgets::default, process::Settings::budgets)
    }

    /// The collectors that are set otherwise in `other`, by name.
    pub fn differing(&self, other: &Settings) -> Vec<&'static str> {
        // Taken apart, so that settings which nobody compares do not compile.
        let Settings { process } = self;
        let settings = [("process", *process != other.process)];
        settings.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use procagent_core::metric::Desc;
    use std::collections::BTreeSet;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "lists the sources of this crate, not processes")]
    fn files_and_list_agree() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "lib.rs" && !name.starts_with('.'))
            .map(|name| name.trim_end_matches(".rs").to_owned())
            .collect();
        let listed: BTreeSet<String> = ALL.iter().map(|plugin| plugin.name.to_owned()).collect();
        assert_eq!(files, listed);
    }

    #[test]
    fn definitions_are_sound_and_unique() {
        let all: Vec<&Desc> = ALL.iter().flat_map(|plugin| plugin.metrics.iter().copied()).collect();
        for desc in &all {
            desc.check().unwrap();
        }
        let names: BTreeSet<String> = all.iter().map(|desc| desc.prometheus_name()).collect();
        assert_eq!(names.len(), all.len(), "two metrics of one name");
    }
}
