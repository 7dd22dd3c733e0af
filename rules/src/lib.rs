//! The rules, one predicate a file. A rule says what it finds now; holding, opening and resolving alerts is the work
//! of [`Alerts`](procagent_core::alert). There is none yet.
#![forbid(unsafe_code)]

use procagent_core::plugin::RulePlugin;

/// Every rule there is.
pub const ALL: &[RulePlugin<Settings>] = &[];

/// The part `rules` of the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {}

#[cfg(test)]
mod tests {
    use super::*;
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
}
