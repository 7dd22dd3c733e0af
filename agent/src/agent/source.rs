//! Opens the source that the configuration names.

use crate::config::{Config, SourceChoice};
use procagent_core::Error;
use procagent_core::snapshot::Source;

/// A source, and the grain of the start times that it gives.
pub struct Opened {
    /// The source.
    pub source: Box<dyn Source>,
    /// Ticks of [`procagent_core::process::ProcessId::start`] in a second.
    pub ticks_per_second: u64,
}

/// Opens it.
///
/// # Errors
/// When the host cannot be read by it. The text says what to do.
pub fn open(config: &Config) -> Result<Opened, Error> {
    match config.source {
        SourceChoice::Auto if cfg!(target_os = "linux") => procfs(config),
        SourceChoice::Auto | SourceChoice::Portable => portable(),
        SourceChoice::Procfs => procfs(config),
    }
}

#[cfg(target_os = "linux")]
fn procfs(config: &Config) -> Result<Opened, Error> {
    use procagent_sources::procfs::{Procfs, Settings};
    let settings = Settings {
        root: config.host.root.clone(),
        descriptors: config.host.descriptors,
        clock: || crate::clock::now().mono,
        ..Settings::default()
    };
    let ticks_per_second = settings.ticks_per_second;
    Ok(Opened { source: Box::new(Procfs::open(settings)?), ticks_per_second })
}

#[cfg(not(target_os = "linux"))]
fn procfs(_: &Config) -> Result<Opened, Error> {
    Err("source: procfs reads /proc of Linux, which this system has not; write source: portable".into())
}

#[cfg(feature = "portable")]
fn portable() -> Result<Opened, Error> {
    use procagent_sources::portable::{Portable, TICKS_PER_SECOND};
    Ok(Opened { source: Box::new(Portable::open()?), ticks_per_second: TICKS_PER_SECOND })
}

#[cfg(not(feature = "portable"))]
fn portable() -> Result<Opened, Error> {
    Err("this build has no source for this system: build it with `cargo build --features portable`".into())
}
