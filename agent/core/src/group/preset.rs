//! Rules for well-known sets of programs.

use super::condition::Conditions;
use super::rule::RuleText;

/// The names of all presets.
pub const PRESETS: [&str; 1] = ["wazuh"];

/// The rules of a preset, to be built like any others.
pub fn preset(name: &str) -> Option<Vec<RuleText>> {
    (name == "wazuh").then(wazuh)
}

/// Daemons of manager and agent; each is a group of its own name.
const WAZUH_DAEMONS: [&str; 15] = [
    "wazuh-agentd",
    "wazuh-agentlessd",
    "wazuh-analysisd",
    "wazuh-authd",
    "wazuh-csyslogd",
    "wazuh-db",
    "wazuh-dbd",
    "wazuh-execd",
    "wazuh-integratord",
    "wazuh-logcollector",
    "wazuh-maild",
    "wazuh-modulesd",
    "wazuh-monitord",
    "wazuh-remoted",
    "wazuh-syscheckd",
];

/// Scripts that Wazuh's own Python runs, with the names they have had.
const WAZUH_SCRIPTS: [(&str, &[&str]); 2] = [
    ("wazuh-apid", &["wazuh_apid.py", "wazuh-apid.py"]),
    ("wazuh-clusterd", &["wazuh_clusterd.py", "wazuh-clusterd.py"]),
];

/// Programs that run in a common interpreter, whose name says nothing: by unit; in containers, where there is none,
/// by the interpreter that the package brings along, or by its arguments where the host's own is used.
const WAZUH_SERVERS: [(&str, &str, &str); 2] = [
    ("wazuh-indexer", "*/java", r"-Dopensearch\.path\.home=/usr/share/wazuh-indexer(\s|/|$)"),
    ("wazuh-dashboard", "*/node", r"\s/usr/share/wazuh-dashboard/"),
];

fn wazuh() -> Vec<RuleText> {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let rule = |group: &str, conditions| RuleText { group: group.into(), conditions, ..RuleText::default() };
    let daemons = WAZUH_DAEMONS
        .map(|daemon| rule(daemon, Conditions { name: list(&[daemon]), ..Conditions::default() }));
    let scripts = WAZUH_SCRIPTS
        .map(|(group, names)| rule(group, Conditions { name: list(names), ..Conditions::default() }));
    let servers = WAZUH_SERVERS.into_iter().flat_map(|(group, interpreter, arguments)| {
        let unit = Conditions { unit: list(&[&format!("{group}.service")]), ..Conditions::default() };
        let bundled = Conditions { exe: list(&[&format!("/usr/share/{group}/*")]), ..Conditions::default() };
        let shared =
            Conditions { exe: list(&[interpreter]), cmdline: list(&[arguments]), ..Conditions::default() };
        [unit, bundled, shared].map(|conditions| rule(group, conditions))
    });
    daemons.into_iter().chain(scripts).chain(servers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Rule;

    #[test]
    fn presets_can_be_built() {
        for name in PRESETS {
            preset(name).unwrap().iter().for_each(|text| drop(Rule::build(text).unwrap()));
        }
        assert!(preset("unknown").is_none());
    }
}
