//! What of a new configuration can take effect while the agent runs.

use crate::config::{Config, Host, Log, Outputs};

/// An old and a new configuration, compared.
#[derive(Debug, PartialEq)]
pub struct Compared {
    /// The new one, with the values put back that need a restart.
    pub config: Config,
    /// Keys whose new values take effect.
    pub changed: Vec<&'static str>,
    /// Keys whose new values do not.
    pub restart: Vec<&'static str>,
}

/// Compares. A key that nobody thought about here does not compile.
pub fn compare(old: &Config, new: Config) -> Compared {
    let Config { interval, source, remember, host, groups, collectors, outputs, log } = new;
    let Host { root, descriptors } = host;
    let Outputs { series_limit, prometheus, control } = outputs;
    let Log { level, format } = log;
    let changed = [
        ("interval", interval != old.interval),
        ("remember", remember != old.remember),
        ("groups", groups != old.groups),
        ("collectors", collectors != old.collectors),
        ("outputs.series_limit", series_limit != old.outputs.series_limit),
        ("log.level", level != old.log.level),
    ];
    let restart = [
        ("source", source != old.source),
        ("host.root", root != old.host.root),
        ("host.descriptors", descriptors != old.host.descriptors),
        ("outputs.prometheus", prometheus != old.outputs.prometheus),
        ("outputs.control", control != old.outputs.control),
        ("log.format", format != old.log.format),
    ];
    let config = Config {
        interval,
        source: old.source,
        remember,
        host: old.host.clone(),
        groups,
        collectors,
        outputs: Outputs { series_limit, ..old.outputs.clone() },
        log: Log { level, ..old.log },
    };
    Compared { config, changed: names(&changed), restart: names(&restart) }
}

fn names(keys: &[(&'static str, bool)]) -> Vec<&'static str> {
    keys.iter().filter(|(_, differs)| *differs).map(|(key, _)| *key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use procagent_core::switch::Switch;
    use std::time::Duration;

    #[test]
    fn what_needs_a_restart_keeps_its_old_value() {
        let old = Config::default();
        let mut new = Config { interval: Duration::from_secs(1), remember: 7, ..Config::default() };
        new.host.root = "/host".into();
        new.host.descriptors = 1;
        new.groups.limit = 7;
        new.collectors.process = Switch::Off;
        new.outputs.series_limit = 7;
        new.outputs.prometheus = Switch::Off;
        new.log.level = crate::config::Level::Debug;
        new.log.format = crate::config::LogFormat::Json;
        let compared = compare(&old, new.clone());
        assert_eq!(
            compared.changed,
            ["interval", "remember", "groups", "collectors", "outputs.series_limit", "log.level"]
        );
        assert_eq!(compared.restart, ["host.root", "host.descriptors", "outputs.prometheus", "log.format"]);
        assert_eq!(compared.config.host, old.host);
        assert_eq!(compared.config.outputs.prometheus, old.outputs.prometheus);
        assert_eq!(compared.config.outputs.series_limit, 7);
        assert_eq!((compared.config.log.level, compared.config.log.format), (new.log.level, old.log.format));
        assert_eq!(compared.config.groups, new.groups);
    }

    #[test]
    fn the_same_changes_nothing() {
        let compared = compare(&Config::default(), Config::default());
        assert_eq!(compared, Compared { config: Config::default(), changed: vec![], restart: vec![] });
    }
}
