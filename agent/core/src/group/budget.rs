//! Who has series of its own. The groups that use least of the host are folded; one of them comes back when it has
//! used clearly more than the smallest that is not, for some ticks in a row. So neighbours in size do not take turns.

use super::GroupId;
use super::tracked::{Group, Kind, Tracked};
use crate::snapshot::HostReading;
use crate::time::Ns;
use std::cmp::Ordering;

/// The time over which shares are averaged, exponentially.
const MEAN: Ns = Ns::from_secs(600);

/// By how much a folded group must exceed the smallest that is not.
const MARGIN: f64 = 1.25;

/// And in how many ticks, one after the other.
const TICKS: u8 = 3;

impl Group {
    /// Folded only where there is no other way.
    fn is_fixed(&self) -> bool {
        self.pinned || self.kind == Kind::Kernel
    }

    fn wants_place(&self) -> bool {
        self.own || self.members > 0 || self.pinned
    }

    /// The one that deserves a place more comes first.
    fn rank(&self, other: &Group) -> Ordering {
        let fixed = |group: &Group| (group.pinned, group.is_fixed());
        let by_size = || other.score.total_cmp(&self.score);
        fixed(other).cmp(&fixed(self)).then_with(by_size).then_with(|| self.made.cmp(&other.made))
    }

    fn fold(&mut self) {
        self.own = false;
        self.deserved = 0;
    }

    fn unfold(&mut self) {
        self.own = true;
        self.deserved = 0;
    }
}

/// Who stands where, before places are given.
#[derive(Default)]
struct Standing {
    /// Groups that have a place.
    own: usize,
    /// The score of the smallest that may lose it.
    smallest: f64,
    waiting: bool,
    fixed_waiting: bool,
    /// One of those that wait has deserved a place lately.
    hopeful: bool,
    /// The score of the largest that waits.
    largest: f64,
}

impl Standing {
    /// Mostly nothing has: then there is no need to put all in order.
    fn needs_change(&self, limit: usize) -> bool {
        let free = self.own < limit && self.waiting;
        let deserves = self.largest > self.smallest * MARGIN;
        self.own > limit || free || self.fixed_waiting || self.hopeful || deserves
    }
}

impl Tracked {
    /// Averages the share of the host's CPU time that each group used, plus its share of memory. `elapsed` is `None` on
    /// the first tick. What the host has is replaced by what all groups use where it is not known.
    #[allow(clippy::cast_precision_loss, reason = "shares need no more than 53 bits")]
    pub fn weigh(&mut self, elapsed: Option<Ns>, host: &HostReading) {
        let elapsed = elapsed.unwrap_or(Ns::from_secs(1)).as_secs_f64();
        let used = self.iter().fold(0_u64, |sum, (_, group)| sum.saturating_add(group.memory));
        let memory = host.memory.map_or(used, |memory| memory.total).max(1) as f64;
        let cpu = (elapsed * f64::from(host.cpus.unwrap_or(1).max(1))).max(1e-9);
        let weight = 1.0 - (-elapsed / MEAN.as_secs_f64()).exp();
        for (_, group) in self.iter_mut() {
            let share = group.cpu.as_secs_f64() / cpu + group.memory as f64 / memory;
            group.score += weight * (share - group.score);
            if group.members == 0 {
                group.deserved = 0;
            }
        }
    }

    /// Gives at most `limit` groups a place. `ended` gets those that lose theirs.
    pub fn share_out(&mut self, limit: usize, forget: Ns, now: Ns, ended: &mut Vec<GroupId>) {
        let standing = self.standing();
        if standing.needs_change(limit) {
            let mut order = std::mem::take(&mut self.order);
            order.clear();
            let all = self.iter().filter(|(_, group)| group.kind != Kind::Other && group.wants_place());
            order.extend(all.map(|(id, _)| id));
            order.sort_unstable_by(|a, b| match (self.get(*a), self.get(*b)) {
                (Some(a), Some(b)) => a.rank(b),
                _ => Ordering::Equal,
            });
            self.fill(&order, standing.own, limit, ended);
            self.exchange(&order, ended);
            self.order = order;
        }
        self.count_folded(forget, now, ended);
    }

    fn standing(&self) -> Standing {
        let mut standing = Standing { smallest: f64::INFINITY, ..Standing::default() };
        for (_, group) in self.iter().filter(|(_, group)| group.kind != Kind::Other) {
            if group.own {
                standing.own += 1;
                if !group.is_fixed() {
                    standing.smallest = standing.smallest.min(group.score);
                }
            } else if group.wants_place() {
                standing.waiting = true;
                standing.fixed_waiting |= group.is_fixed();
                standing.largest = standing.largest.max(group.score);
                standing.hopeful |= group.deserved > 0;
            }
        }
        standing
    }

    /// Fills free places and clears those that are too many; what is fixed takes its place at once.
    fn fill(&mut self, order: &[GroupId], mut own: usize, limit: usize, ended: &mut Vec<GroupId>) {
        let fixed = order
            .iter()
            .filter(|id| self.get(**id).is_some_and(|group| group.is_fixed() && !group.own))
            .count();
        let mut smallest = order.iter().rev();
        while own > limit.saturating_sub(fixed) {
            let Some(id) = smallest.next() else { break };
            let Some(group) = self.get_mut(*id).filter(|group| group.own) else { continue };
            if own <= limit && group.is_fixed() {
                break;
            }
            group.fold();
            ended.push(*id);
            own -= 1;
        }
        for id in order {
            if own >= limit {
                break;
            }
            if let Some(group) = self.get_mut(*id).filter(|group| !group.own) {
                group.unfold();
                own += 1;
            }
        }
    }

    /// Lets those that are still folded take the place of a smaller one, where they have deserved it for long enough.
    fn exchange(&mut self, order: &[GroupId], ended: &mut Vec<GroupId>) {
        let mut from = order.len();
        for id in order {
            let Some((score, deserved)) =
                self.get(*id).filter(|group| !group.own).map(|g| (g.score, g.deserved))
            else {
                continue;
            };
            let smallest = self.smallest(&order[..from]);
            let victim = smallest.filter(|at| self.get(order[*at]).is_some_and(|v| score > v.score * MARGIN));
            // The next one need not look further down than this.
            from = smallest.map_or(from, |at| at + 1);
            let due = victim.filter(|_| deserved + 1 >= TICKS);
            if let Some(at) = due {
                self.get_mut(order[at]).into_iter().for_each(Group::fold);
                ended.push(order[at]);
                from = at;
            }
            let Some(group) = self.get_mut(*id) else { continue };
            match (victim, due) {
                (_, Some(_)) => group.unfold(),
                (Some(_), None) => group.deserved += 1,
                (None, None) => group.deserved = 0,
            }
        }
    }

    /// Where the last one stands that has a place and may lose it.
    fn smallest(&self, order: &[GroupId]) -> Option<usize> {
        order.iter().rposition(|id| self.get(*id).is_some_and(|group| group.own && !group.is_fixed()))
    }

    /// What folded groups have counts in `other`, which ends like others when nobody is in it.
    fn count_folded(&mut self, forget: Ns, now: Ns, ended: &mut Vec<GroupId>) {
        let folded = self.iter().filter(|(_, group)| !group.own).map(|(_, group)| group.members).sum::<u32>();
        if folded == 0 && self.present_other().is_none() {
            return;
        }
        let id = self.other(now);
        let Some(other) = self.get_mut(id) else { return };
        other.members += folded;
        if other.members > 0 {
            other.last_member = now;
        } else if now.since(other.last_member) >= forget {
            self.remove(id, ended);
        }
    }
}
