//! Finds the configuration and lays its layers over each other.

use super::layer::{self, Layer, PrometheusLayer};
use super::{Config, ConfigError, Level, Variables, rules, yaml};
use procagent_core::switch::Switch;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the configuration is looked for when none is named.
pub const DEFAULT_PATH: &str = "/etc/procagent/agent.yaml";

/// The YAML library takes any length; no honest configuration comes near this.
const FILE_MAX: u64 = 1024 * 1024;

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The file; without it [`DEFAULT_PATH`], if there is one.
    pub file: Option<PathBuf>,
    /// `interval`.
    pub interval: Option<Duration>,
    /// `outputs.prometheus.listen`.
    pub listen: Option<SocketAddr>,
    /// `host.root`.
    pub host_root: Option<PathBuf>,
    /// `log.level`.
    pub log_level: Option<Level>,
}

/// A configuration and where it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// The complete configuration: command line over file over variables over defaults.
///
/// # Errors
/// The first fault found in any of them.
pub fn load(request: Request, variables: &Variables) -> Result<Loaded, ConfigError> {
    let (file, text) = match request.file.clone() {
        Some(path) => (Some(path.clone()), read(&path).map_err(|error| cannot_read(&path, &error))?),
        None => match read(Path::new(DEFAULT_PATH)) {
            Ok(text) => (Some(PathBuf::from(DEFAULT_PATH)), text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, Vec::new()),
            Err(error) => return Err(cannot_read(Path::new(DEFAULT_PATH), &error)),
        },
    };
    let from_file = match &file {
        Some(path) => parse(path, &text, variables)?,
        None => Layer::default(),
    };
    let below = from_variables(variables)?.over(Config::default());
    let config = from_command_line(request).over(from_file.over(below));
    expected_fit(&config, file.as_deref())?;
    Ok(Loaded { config, file })
}

/// An expected group that folds for want of room would not be there at all.
fn expected_fit(config: &Config, file: Option<&Path>) -> Result<(), ConfigError> {
    let (limit, expected) = (config.groups.limit, config.groups.settings().expected().len());
    if expected <= limit {
        return Ok(());
    }
    let origin = file.map_or_else(|| "configuration".to_owned(), |file| file.display().to_string());
    let mut error = ConfigError::whole(
        origin,
        format!("{expected} groups are expected, but there is room for {limit} only"),
    );
    error.key = "groups.limit".into();
    Err(error)
}

#[allow(clippy::disallowed_methods, reason = "the configuration is no file of a process")]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn cannot_read(path: &Path, error: &io::Error) -> ConfigError {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; `procagent config init` prints one to start from",
        io::ErrorKind::IsADirectory => "this is a folder: name the file in it, such as agent.yaml",
        io::ErrorKind::PermissionDenied => "it may not be read by this user",
        _ => return ConfigError::whole(path.display().to_string(), format!("cannot be read: {error}")),
    };
    ConfigError::whole(path.display().to_string(), advice)
}

fn parse(path: &Path, bytes: &[u8], variables: &Variables) -> Result<Layer, ConfigError> {
    let origin = path.display().to_string();
    if bytes.len() as u64 > FILE_MAX {
        return Err(ConfigError::whole(origin, "the file is larger than 1 MiB: this is no configuration"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => rules::check(&origin, text, yaml::parse(&origin, text, variables)?),
        Err(error) => {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            Err(ConfigError::whole(
                origin,
                format!("line {line} is not UTF-8: save the file in that encoding"),
            ))
        }
    }
}

fn from_variables(variables: &Variables) -> Result<Layer, ConfigError> {
    let listen = variable(variables, "PROCAGENT_LISTEN", layer::parse_address)?;
    Ok(Layer {
        interval: variable(variables, "PROCAGENT_INTERVAL", layer::parse_interval)?,
        host: Some(layer::Host {
            root: variable(variables, "PROCAGENT_HOST_ROOT", layer::parse_root)?,
            ..layer::Host::default()
        }),
        outputs: Some(outputs(listen)),
        log: Some(layer::Log {
            level: variable(variables, "PROCAGENT_LOG_LEVEL", Level::parse)?,
            ..layer::Log::default()
        }),
        ..Layer::default()
    })
}

fn variable<T>(
    variables: &Variables,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, ConfigError> {
    let value = variables.get(name).map(parse).transpose();
    value.map_err(|message| ConfigError::whole(format!("environment variable {name}"), message))
}

fn from_command_line(request: Request) -> Layer {
    Layer {
        interval: request.interval,
        host: Some(layer::Host { root: request.host_root, ..layer::Host::default() }),
        outputs: Some(outputs(request.listen)),
        log: Some(layer::Log { level: request.log_level, ..layer::Log::default() }),
        ..Layer::default()
    }
}

/// Whoever says where to listen wants it to listen.
fn outputs(listen: Option<SocketAddr>) -> layer::Outputs {
    let prometheus = listen.map(|listen| Switch::On(PrometheusLayer { listen: Some(listen) }));
    layer::Outputs { prometheus, ..layer::Outputs::default() }
}
