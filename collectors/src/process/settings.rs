//! The part `collectors.process` of the configuration.

use procagent_core::plugin::Needs;
use procagent_core::snapshot::Budgets;
use procagent_core::switch::Switch;
use procagent_core::{duration, size};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::time::Duration;

/// What is read that costs more than the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Proportional, unique and swapped memory.
    pub smaps: Switch<Smaps>,
    /// Context switches and delays.
    pub threads: Switch<Threads>,
}

/// Proportional, unique and swapped memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Smaps {
    /// How old a reading may get before the process has its next turn.
    #[serde(deserialize_with = "period")]
    pub every: Duration,
    /// Reading time in each `every`, for all processes together.
    #[serde(deserialize_with = "duration::deserialize")]
    pub budget: Duration,
    /// Processes with more resident memory are left out, in bytes.
    #[serde(deserialize_with = "size::deserialize")]
    pub max_resident: u64,
}

/// Context switches and delays.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Threads {
    /// Reading time in each scan for processes with several threads, and at most a tenth of the interval.
    #[serde(deserialize_with = "duration::deserialize")]
    pub budget: Duration,
}

impl Settings {
    /// What these have read.
    pub(super) fn needs(&self) -> Needs {
        let of = |on: bool, needs| if on { needs } else { Needs::NOTHING };
        of(self.smaps.on().is_some(), Needs::SMAPS) | of(self.threads.on().is_some(), Needs::THREADS)
    }

    /// How much time the source may take for it.
    pub fn budgets(&self) -> Budgets {
        let mut budgets = Budgets::default();
        if let Some(smaps) = self.smaps.on() {
            budgets.smaps_every = smaps.every.into();
            budgets.smaps = smaps.budget.into();
            budgets.smaps_max_resident = smaps.max_resident;
        }
        if let Some(threads) = self.threads.on() {
            budgets.threads = threads.budget.into();
        }
        budgets
    }
}

impl Default for Smaps {
    fn default() -> Smaps {
        let Budgets { smaps_every, smaps, smaps_max_resident, .. } = Budgets::default();
        Smaps { every: smaps_every.into(), budget: smaps.into(), max_resident: smaps_max_resident }
    }
}

impl Default for Threads {
    fn default() -> Threads {
        Threads { budget: Budgets::default().threads.into() }
    }
}

fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match duration::deserialize(deserializer)? {
        Duration::ZERO => Err(D::Error::custom("a period takes some time: write 60s or the like")),
        period => Ok(period),
    }
}
