//! `procagent`: runs until a signal, or once.

use super::{Failure, print};
use crate::cli::Run;
use crate::config::load::DEFAULT_PATH;
use crate::config::{Variables, load};
use crate::outputs::openmetrics::{self, Format};
use crate::reload::Origin;
use crate::{agent, logging};
use std::sync::Arc;

/// Loads the configuration, starts the log, and runs.
pub fn run(options: &Run) -> Result<(), Failure> {
    let (request, variables) = (options.request(), Variables::of_this_process());
    let loaded = load(request.clone(), &variables)?;
    let log = logging::start(loaded.config.log);
    match &loaded.file {
        Some(file) => tracing::info!("configuration: {}", file.display()),
        None => tracing::warn!(
            "no configuration: {DEFAULT_PATH} does not exist and --config names none; the defaults are in force"
        ),
    }
    if options.once {
        let families = Arc::new(agent::once(&loaded.config)?);
        return print(&openmetrics::page(&families, Format::Classic));
    }
    let origin = Origin { request, variables, file: loaded.file.clone() };
    agent::run(loaded, origin, log)?;
    Ok(())
}
