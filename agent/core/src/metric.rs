//! One definition of a metric for every output: the names of Prometheus and OpenTelemetry, HELP, the README's
//! table and the checks of dashboards all come from a [`Desc`].

use crate::group::GROUP_LABEL;

/// Whether numbers add up over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows: an OpenTelemetry monotonic sum.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The unit, and the grain in which values are kept: integers inside, divided once by the encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `s`, kept in nanoseconds.
    Seconds,
    /// `By`.
    Bytes,
    /// `1`, kept in billionths.
    Ratio,
    /// A count of things, named as in `{thread}`.
    Count(&'static str),
    /// None at all: facts of value 1, up or down.
    None,
}

impl Unit {
    /// The UCUM code that OpenTelemetry uses.
    pub fn ucum(self) -> String {
        match self {
            Unit::Seconds => "s".into(),
            Unit::Bytes => "By".into(),
            Unit::Ratio => "1".into(),
            Unit::Count(thing) => format!("{{{thing}}}"),
            Unit::None => String::new(),
        }
    }

    /// The suffix of Prometheus names, if any (OpenTelemetry compatibility specification, "Metric Metadata").
    pub const fn suffix(self) -> Option<&'static str> {
        match self {
            Unit::Seconds => Some("seconds"),
            Unit::Bytes => Some("bytes"),
            Unit::Ratio => Some("ratio"),
            Unit::Count(_) | Unit::None => None,
        }
    }

    /// How many of the grain make one unit.
    pub const fn grain(self) -> u64 {
        match self {
            Unit::Seconds | Unit::Ratio => 1_000_000_000,
            Unit::Bytes | Unit::Count(_) | Unit::None => 1,
        }
    }
}

/// Whose number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One series a group; the group's labels are joined when families are frozen.
    Group,
    /// One for the host or the agent.
    Host,
}

/// The definition of a metric.
#[derive(Debug)]
pub struct Desc {
    /// OpenTelemetry name, such as `process.cpu.time`.
    pub name: &'static str,
    /// One sentence, no line breaks, ends without a full stop.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// Unit and grain.
    pub unit: Unit,
    /// Own labels, OpenTelemetry attribute names; the group's come on top.
    pub labels: &'static [&'static str],
    /// Whose number it is.
    pub scope: Scope,
}

impl Desc {
    /// The Prometheus name of the family, without `_total`, with the unit. By the rules of the OpenTelemetry
    /// compatibility specification: dots become underscores, the unit is added unless it is there already.
    pub fn prometheus_family(&self) -> String {
        let mut name = prometheus_label(self.name);
        if let Some(unit) = self.unit.suffix() {
            let there = name.strip_suffix(unit).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'));
            if !there {
                name.push('_');
                name.push_str(unit);
            }
        }
        name
    }

    /// The Prometheus name of its samples: with `_total` for counters.
    pub fn prometheus_name(&self) -> String {
        let mut name = self.prometheus_family();
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    /// Its own labels as Prometheus names, `group` first where it has one.
    pub fn prometheus_labels(&self) -> Vec<String> {
        let group = (self.scope == Scope::Group).then(|| GROUP_LABEL.to_owned());
        group.into_iter().chain(self.labels.iter().map(|label| prometheus_label(label))).collect()
    }

    /// What is wrong with this definition, if anything. A test runs it over all of them.
    pub fn check(&self) -> Result<(), String> {
        let plain = |text: &str| {
            text.split('.').all(|part| {
                part.starts_with(|c: char| c.is_ascii_lowercase())
                    && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            })
        };
        if !plain(self.name) {
            return Err(format!("{:?} is no dotted lower-case name", self.name));
        }
        if let Some(label) = self.labels.iter().find(|label| !plain(label) || **label == GROUP_LABEL) {
            return Err(format!("{}: label {label:?} is reserved or no dotted lower-case name", self.name));
        }
        let bad_help = self.help.is_empty()
            || self.help.ends_with('.')
            || self.help.contains(|c: char| c.is_control() || c == '\\' || c == '"');
        if bad_help {
            return Err(format!(
                "{}: HELP {:?} is empty, quoted, broken or ends in a full stop",
                self.name, self.help
            ));
        }
        if self.kind == Kind::Counter && self.unit == Unit::None {
            return Err(format!("{}: a counter counts something: give it a unit", self.name));
        }
        Ok(())
    }
}

/// A dotted OpenTelemetry name as Prometheus writes it.
pub fn prometheus_label(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '_' };
        if !(c == '_' && out.ends_with('_')) {
            out.push(c);
        }
    }
    out
}

/// A number that only grows, with `N` labels of its own.
#[derive(Debug)]
pub struct Counter<const N: usize>(Desc);

/// A level, with `N` labels of its own.
#[derive(Debug)]
pub struct Gauge<const N: usize>(Desc);

macro_rules! constructors {
    ($name:ident, $kind:expr) => {
        impl<const N: usize> $name<N> {
            /// One series a group. Label names that do not number `N` are a compile error.
            pub const fn per_group(
                name: &'static str,
                unit: Unit,
                labels: &'static [&'static str],
                help: &'static str,
            ) -> Self {
                assert!(labels.len() == N, "as many label names as the type says");
                $name(Desc { name, help, kind: $kind, unit, labels, scope: Scope::Group })
            }

            /// One for the host or the agent.
            pub const fn per_host(
                name: &'static str,
                unit: Unit,
                labels: &'static [&'static str],
                help: &'static str,
            ) -> Self {
                assert!(labels.len() == N, "as many label names as the type says");
                $name(Desc { name, help, kind: $kind, unit, labels, scope: Scope::Host })
            }

            /// The definition.
            pub const fn desc(&self) -> &Desc {
                &self.0
            }
        }
    };
}

constructors!(Counter, Kind::Counter);
constructors!(Gauge, Kind::Gauge);

#[cfg(test)]
mod tests {
    use super::*;

    /// Hand-written from the OpenTelemetry compatibility specification and semantic conventions 1.44.
    #[test]
    fn prometheus_names_follow_the_specification() {
        let counter = |name, unit| Counter::<0>::per_host(name, unit, &[], "x").desc().prometheus_name();
        let gauge = |name, unit| Gauge::<0>::per_host(name, unit, &[], "x").desc().prometheus_name();
        assert_eq!(counter("process.cpu.time", Unit::Seconds), "process_cpu_time_seconds_total");
        assert_eq!(counter("process.disk.io", Unit::Bytes), "process_disk_io_bytes_total");
        assert_eq!(
            counter("process.disk.operations", Unit::Count("operation")),
            "process_disk_operations_total"
        );
        assert_eq!(
            counter("process.context_switches", Unit::Count("context_switch")),
            "process_context_switches_total"
        );
        assert_eq!(counter("process.paging.faults", Unit::Count("fault")), "process_paging_faults_total");
        assert_eq!(counter("system.process.created", Unit::Count("process")), "system_process_created_total");
        assert_eq!(gauge("process.memory.usage", Unit::Bytes), "process_memory_usage_bytes");
        assert_eq!(gauge("process.memory.virtual", Unit::Bytes), "process_memory_virtual_bytes");
        assert_eq!(gauge("process.memory.utilization", Unit::Ratio), "process_memory_utilization_ratio");
        assert_eq!(gauge("process.uptime", Unit::Seconds), "process_uptime_seconds");
        assert_eq!(gauge("process.thread.count", Unit::Count("thread")), "process_thread_count");
        assert_eq!(
            gauge("process.unix.file_descriptor.count", Unit::Count("file_descriptor")),
            "process_unix_file_descriptor_count"
        );
        assert_eq!(gauge("system.cpu.logical.count", Unit::Count("cpu")), "system_cpu_logical_count");
        assert_eq!(gauge("x.limit.bytes", Unit::Bytes), "x_limit_bytes");
        assert_eq!(gauge("x.megabytes", Unit::Bytes), "x_megabytes_bytes");
    }

    #[test]
    fn labels_are_written_as_prometheus_does() {
        assert_eq!(prometheus_label("process.context_switch.type"), "process_context_switch_type");
        assert_eq!(prometheus_label("a..b-c"), "a_b_c");
    }

    #[test]
    fn bad_definitions_are_named() {
        let bad = |name, help| Gauge::<0>::per_host(name, Unit::None, &[], help).desc().check().is_err();
        assert!(bad("Process.x", "x"));
        assert!(bad("process..x", "x"));
        assert!(bad("process.x", ""));
        assert!(bad("process.x", "two\nlines"));
        assert!(bad("process.x", "Ends in a full stop."));
        assert!(!bad("process.x", "Good"));
        static GROUP: Gauge<1> = Gauge::per_host("process.x", Unit::None, &["group"], "x");
        assert!(GROUP.desc().check().is_err(), "the label group is the registry's");
    }
}
