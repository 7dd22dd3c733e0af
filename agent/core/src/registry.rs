//! Numbers that never fall: [`Samples`] are one collector's deltas and levels of one tick, the [`Registry`] adds them
//! up, [`Families`] are its frozen state that all outputs read.

use crate::group::{GroupId, GroupLabels, Groups};
use crate::metric::{Counter, Desc, Gauge, Kind, Scope};
use crate::process::bounded_lossy;
use crate::time::{Ns, Timestamp};
use hashbrown::HashTable;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Label values are cut here.
pub const LABEL_VALUE_MAX: usize = 512;

#[derive(Clone, Copy, Debug)]
struct Sample {
    desc: &'static Desc,
    group: Option<GroupId>,
    /// Where its label values lie in `Samples::values`.
    values: (usize, usize),
    value: u64,
}

/// What one plugin has to say in one tick. Recycled: keeps its memory.
#[derive(Debug, Default)]
pub struct Samples {
    plugin: &'static str,
    since: Timestamp,
    samples: Vec<Sample>,
    /// End of each label value in `text`.
    values: Vec<usize>,
    text: String,
}

impl Samples {
    /// Empties it for `plugin`; series that begin now have counted since `since`, the previous tick.
    pub fn begin(&mut self, plugin: &'static str, since: Timestamp) {
        self.plugin = plugin;
        self.since = since;
        self.samples.clear();
        self.values.clear();
        self.text.clear();
    }

    /// Adds to a group's counter. Adding 0 makes the series exist, which lets `increase()` see its first event.
    pub fn add<const N: usize>(
        &mut self,
        counter: &'static Counter<N>,
        group: GroupId,
        labels: [&str; N],
        delta: u64,
    ) {
        self.push(counter.desc(), Some(group), labels, delta);
    }

    /// Sets a group's level. A level that is not set in a tick ends: missing beats wrong.
    pub fn set<const N: usize>(
        &mut self,
        gauge: &'static Gauge<N>,
        group: GroupId,
        labels: [&str; N],
        value: u64,
    ) {
        self.push(gauge.desc(), Some(group), labels, value);
    }

    /// Adds to a counter of the host.
    pub fn add_host<const N: usize>(&mut self, counter: &'static Counter<N>, labels: [&str; N], delta: u64) {
        self.push(counter.desc(), None, labels, delta);
    }

    /// Sets a level of the host.
    pub fn set_host<const N: usize>(&mut self, gauge: &'static Gauge<N>, labels: [&str; N], value: u64) {
        self.push(gauge.desc(), None, labels, value);
    }

    fn push<const N: usize>(
        &mut self,
        desc: &'static Desc,
        group: Option<GroupId>,
        labels: [&str; N],
        value: u64,
    ) {
        debug_assert_eq!(group.is_some(), desc.scope == Scope::Group, "{}: wrong scope", desc.name);
        if group == Some(GroupId::NONE) {
            return;
        }
        let first = self.values.len();
        for label in labels {
            let cut = label.floor_char_boundary(label.len().min(LABEL_VALUE_MAX));
            self.text.push_str(&label[..cut]);
            self.values.push(self.text.len());
        }
        self.samples.push(Sample { desc, group, values: (first, self.values.len()), value });
    }

    fn values(&self, sample: &Sample) -> impl Iterator<Item = &str> {
        (sample.values.0..sample.values.1).map(|index| {
            let from = if index == 0 { 0 } else { self.values[index - 1] };
            &self.text[from..self.values[index]]
        })
    }
}

#[derive(Debug)]
struct Series {
    desc: &'static Desc,
    group: Option<GroupId>,
    values: Arc<[Box<str>]>,
    value: u64,
    start: Ns,
    plugin: usize,
    /// The commit of its plugin that wrote it last.
    written: u64,
}

#[derive(Debug)]
struct PluginState {
    name: &'static str,
    commits: u64,
    /// Its series do not count against the limit.
    exempt: bool,
}

/// All series. Bounded by `limit`; what finds no room is refused and counted by metric.
#[derive(Debug)]
pub struct Registry {
    series: Vec<Option<Series>>,
    vacant: Vec<usize>,
    index: HashTable<usize>,
    hasher: RandomState,
    plugins: Vec<PluginState>,
    limit: usize,
    /// Series that count against the limit.
    counted: usize,
    refused: BTreeMap<&'static str, u64>,
    /// All living series in the order of the page; new ones at the end until the next freeze.
    order: Vec<usize>,
    ordered: bool,
    /// How many groups had been renamed when `order` was made.
    renamed: u64,
}

impl Registry {
    /// Holds at most `limit` series.
    pub fn new(limit: usize) -> Registry {
        Registry {
            series: Vec::new(),
            vacant: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
            plugins: Vec::new(),
            limit,
            counted: 0,
            refused: BTreeMap::new(),
            order: Vec::new(),
            ordered: false,
            renamed: 0,
        }
    }

    /// Series of this plugin do not count against the limit: those that tell how the limit fares must not be
    /// refused by it. Call it before the plugin's first commit.
    pub fn exempt(&mut self, name: &'static str) {
        let plugin = self.plugin(name);
        self.plugins[plugin].exempt = true;
    }

    /// Changes the bound. Series above a lower one stay until they end; new ones find no room until then.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The names and labels of all series of a group, as one of its points would have them.
    pub fn series_of(&self, group: GroupId) -> impl Iterator<Item = (&'static Desc, &Arc<[Box<str>]>)> {
        let series = self.series.iter().flatten().filter(move |series| series.group == Some(group));
        series.map(|series| (series.desc, &series.values))
    }

    /// Takes what a plugin said. Counters add, levels replace; the plugin's levels that it did not set end.
    pub fn commit(&mut self, samples: &mut Samples) {
        let plugin = self.plugin(samples.plugin);
        self.plugins[plugin].commits += 1;
        let commit = self.plugins[plugin].commits;
        for sample in &samples.samples {
            let Some(slot) = self.find_or_make(sample, samples, plugin) else { continue };
            let Some(series) = &mut self.series[slot] else { continue };
            series.value = match sample.desc.kind {
                Kind::Counter => series.value.saturating_add(sample.value),
                Kind::Gauge => sample.value,
            };
            series.written = commit;
        }
        self.retain(|series| {
            series.plugin != plugin || series.desc.kind == Kind::Counter || series.written == commit
        });
        samples.begin(samples.plugin, samples.since);
    }

    /// Ends all series of a plugin: it failed, and what it would say now is unknown.
    pub fn end_plugin(&mut self, name: &'static str) {
        let plugin = self.plugin(name);
        self.retain(|series| series.plugin != plugin);
    }

    /// Ends the counters that a plugin left out of its last commit: its settings have changed, and it will not write
    /// them again.
    pub fn end_unwritten(&mut self, name: &'static str) {
        let plugin = self.plugin(name);
        let commit = self.plugins[plugin].commits;
        self.retain(|series| series.plugin != plugin || series.written == commit);
    }

    /// Ends all series of a group. Should it come back, it starts at 0 with a new start time.
    pub fn end_group(&mut self, group: GroupId) {
        self.retain(|series| series.group != Some(group));
    }

    fn plugin(&mut self, name: &'static str) -> usize {
        if let Some(index) = self.plugins.iter().position(|plugin| plugin.name == name) {
            return index;
        }
        self.plugins.push(PluginState { name, commits: 0, exempt: false });
        self.plugins.len() - 1
    }

    fn find_or_make(&mut self, sample: &Sample, samples: &Samples, plugin: usize) -> Option<usize> {
        let hash = self.hash(sample.desc, sample.group, samples.values(sample));
        let found = self.index.find(hash, |slot| {
            self.series[*slot].as_ref().is_some_and(|series| {
                series.group == sample.group
                    && series.desc.name == sample.desc.name
                    && series.values.iter().map(|value| &**value).eq(samples.values(sample))
            })
        });
        if let Some(slot) = found {
            return Some(*slot);
        }
        let counts = !self.plugins[plugin].exempt;
        if counts && self.counted >= self.limit {
            *self.refused.entry(sample.desc.name).or_default() += 1;
            return None;
        }
        self.counted += usize::from(counts);
        let series = Series {
            desc: sample.desc,
            group: sample.group,
            values: samples.values(sample).map(Box::from).collect(),
            value: 0,
            start: samples.since.wall,
            plugin,
            written: 0,
        };
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.series.push(None);
            self.series.len() - 1
        });
        self.series[slot] = Some(series);
        let (series, hasher) = (&self.series, &self.hasher);
        self.index.insert_unique(hash, slot, |slot| match &series[*slot] {
            Some(series) => hash_key(hasher, series.desc, series.group, series.values.iter().map(|v| &**v)),
            None => 0,
        });
        self.order.push(slot);
        self.ordered = false;
        Some(slot)
    }

    fn hash<'a>(&self, desc: &Desc, group: Option<GroupId>, values: impl Iterator<Item = &'a str>) -> u64 {
        hash_key(&self.hasher, desc, group, values)
    }

    fn retain(&mut self, keep: impl Fn(&Series) -> bool) {
        let before = self.vacant.len();
        for slot in 0..self.series.len() {
            let Some(series) = self.series[slot].as_ref().filter(|series| !keep(series)) else { continue };
            let hash = self.hash(series.desc, series.group, series.values.iter().map(|value| &**value));
            self.counted -= usize::from(!self.plugins[series.plugin].exempt);
            if let Ok(entry) = self.index.find_entry(hash, |other| *other == slot) {
                entry.remove();
            }
            self.series[slot] = None;
            self.vacant.push(slot);
        }
        if self.vacant.len() > before {
            self.order.retain(|slot| self.series[*slot].is_some());
        }
    }

    /// How many series count against the limit.
    pub fn len(&self) -> usize {
        self.counted
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counted == 0
    }

    /// How many samples found no room, by metric.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.refused.iter().map(|(name, count)| (*name, *count))
    }

    /// The state of this moment for all outputs: families by name, series by group and labels.
    pub fn freeze(&mut self, groups: &Groups, at: Timestamp) -> Families {
        if !self.ordered || self.renamed != groups.renamed() {
            self.sort(groups);
        }
        let mut families: Vec<Family> = Vec::new();
        for series in self.order.iter().filter_map(|slot| self.series[*slot].as_ref()) {
            let group = series.group.and_then(|group| groups.labels(group));
            // Of a group that is gone: without its labels the number would be somebody else's.
            if series.group.is_some() && group.is_none() {
                continue;
            }
            let point = Point {
                group: group.cloned(),
                values: Arc::clone(&series.values),
                value: series.value,
                start: series.start,
            };
            match families.last_mut() {
                Some(family) if family.desc.name == series.desc.name => family.points.push(point),
                _ => families.push(Family { desc: series.desc, points: vec![point] }),
            }
        }
        Families { at, families }
    }

    fn sort(&mut self, groups: &Groups) {
        let series = &self.series;
        let key = |slot: usize| {
            let series = series[slot].as_ref()?;
            Some((series.desc.name, series.group.and_then(|group| groups.labels(group)), &series.values))
        };
        // A stable sort takes what is in order already as one run, so this costs little where few are new.
        self.order.sort_by(|a, b| key(*a).cmp(&key(*b)));
        self.ordered = true;
        self.renamed = groups.renamed();
    }
}

fn hash_key<'a>(
    hasher: &RandomState,
    desc: &Desc,
    group: Option<GroupId>,
    values: impl Iterator<Item = &'a str>,
) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut state = hasher.build_hasher();
    // By name and not by address: a definition written as `const` has more than one.
    (desc.name, group).hash(&mut state);
    values.for_each(|value| value.hash(&mut state));
    state.finish()
}

/// The frozen state of all series.
#[derive(Clone, Debug, Default)]
pub struct Families {
    /// When the scan began that they show.
    pub at: Timestamp,
    /// By name.
    pub families: Vec<Family>,
}

/// One metric with its series.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its definition.
    pub desc: &'static Desc,
    /// Its series, by group and labels.
    pub points: Vec<Point>,
}

/// One series.
#[derive(Clone, Debug)]
pub struct Point {
    /// The labels of its group.
    pub group: Option<Arc<GroupLabels>>,
    /// The values of the metric's own labels, in the order of [`Desc::labels`].
    pub values: Arc<[Box<str>]>,
    /// In the unit's grain.
    pub value: u64,
    /// Since when it counts, wall clock.
    pub start: Ns,
}

impl Point {
    /// All labels: the group's, then the metric's own, by OpenTelemetry names. One with an empty value is no label to
    /// outputs (Prometheus, data model).
    pub fn labels<'a>(&'a self, desc: &'static Desc) -> impl Iterator<Item = (&'a str, &'a str)> {
        let group =
            self.group.iter().flat_map(|labels| labels.0.iter().map(|(name, value)| (*name, &**value)));
        group.chain(desc.labels.iter().copied().zip(self.values.iter().map(|value| &**value)))
    }
}

/// Bytes from outside as a label value.
pub fn label_value(bytes: &[u8]) -> String {
    bounded_lossy(bytes, LABEL_VALUE_MAX)
}
