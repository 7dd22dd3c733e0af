//! `procagent config init` and `procagent config check`.

use super::{Failure, print};
use crate::config::{Config, Request, Variables, load};
use procagent_core::duration;
use std::path::PathBuf;

/// The default configuration with an explanation of every key.
pub const DEFAULT: &str = include_str!("../../../deploy/agent.yaml");

/// Prints [`DEFAULT`].
pub fn init() -> Result<(), Failure> {
    print(DEFAULT)
}

/// Says `ok` and what the configuration amounts to, or what is wrong with it.
pub fn check(file: PathBuf) -> Result<(), Failure> {
    let request = Request { file: Some(file), ..Request::default() };
    let loaded = load(request, &Variables::of_this_process())?;
    print(&format!("ok\n{}", summary(&loaded.config)))
}

fn summary(config: &Config) -> String {
    let prometheus = match config.outputs.prometheus.on() {
        Some(prometheus) => format!("http://{}/metrics", prometheus.listen),
        None => "off".to_owned(),
    };
    format!(
        "  scans {} every {}\n  serves {prometheus}\n  groups: at most {}; series: at most {}\n  log level: {}\n",
        config.host.root.display(),
        duration::display(config.interval),
        config.groups.limit,
        config.outputs.series_limit,
        config.log.level,
    )
}
