//! Other settings for groups that live.

use super::tracked::Kind;
use super::{GroupId, Groups, Settings};

impl Groups {
    /// Goes on under other settings. Call [`crate::table::Table::regroup_all`] next. A group whose key stays the same
    /// keeps its number and so its counters. The caller ends the series of those that are returned; a group whose
    /// members all go elsewhere under the new rules is among those that the next [`Groups::settle`] returns.
    pub fn reload(&mut self, mut settings: Settings) -> Vec<GroupId> {
        settings.labels.sort_unstable();
        settings.labels.dedup();
        let same_labels = settings.labels == self.settings.labels;
        self.settings = settings;
        self.expectations.replace(&self.settings.expected());
        let mut ended = Vec::new();
        let all: Vec<GroupId> = self.tracked.iter().map(|(id, _)| id).collect();
        for id in all {
            let Some(group) = self.tracked.get_mut(id) else { continue };
            group.rule = None;
            if group.kind != Kind::Plain {
                continue;
            }
            let was_pinned = std::mem::take(&mut group.pinned);
            group.expectation = self.expectations.find(group.labels.name());
            group.stale = group.members > 0 || group.taken;
            if !same_labels || was_pinned && !group.stale && group.expectation.is_none() {
                self.tracked.remove(id, &mut ended);
            }
        }
        if self.settings.limit > 0 {
            self.pin_expected();
        }
        ended
    }

    /// Finds or makes a group for each that is expected.
    fn pin_expected(&mut self) {
        for expectation in 0..self.expectations.len() {
            let known =
                Some(self.expectations.primary(expectation)).filter(|id| self.belongs(*id, expectation));
            let id = known
                .or_else(|| self.most_populous(expectation))
                .unwrap_or_else(|| self.make_expected(expectation));
            self.expectations.set_primary(expectation, id);
            let name = self.expectations.name(expectation);
            let rule =
                self.settings.rules.iter().position(|rule| rule.expect && rule.group.literal() == Some(name));
            if let Some(group) = self.tracked.get_mut(id) {
                group.pinned = true;
                group.expectation = Some(expectation);
                group.rule = rule;
            }
        }
    }

    fn belongs(&self, id: GroupId, expectation: usize) -> bool {
        self.tracked.get(id).is_some_and(|group| group.expectation == Some(expectation))
    }

    /// The group of this name that has most members; with extra labels there may be several.
    fn most_populous(&self, expectation: usize) -> Option<GroupId> {
        let named = self.tracked.iter().filter(|(_, group)| group.expectation == Some(expectation));
        named.max_by_key(|(_, group)| group.members).map(|(id, _)| id)
    }

    /// A group without extra labels: nobody is there yet to have any.
    fn make_expected(&mut self, expectation: usize) -> GroupId {
        self.deciding.set(self.expectations.name(expectation), &self.settings);
        let labels = self.deciding.labels(&self.settings);
        self.tracked.make(&self.deciding.key, labels, Kind::Plain, self.settled.unwrap_or_default())
    }
}
