//! The memory of one rule: what is held, what is open, what cools down.

use super::transition::{AlertId, Change, OpenAlert, Reason, Settings, Transition};
use super::{Finding, Findings, Lasts, Severity, Subject};
use crate::process::BootId;
use crate::time::{Ns, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One call of [`super::Alerts`]: what all rules share, and what comes of it.
pub(super) struct Pass<'a> {
    pub(super) boot: BootId,
    pub(super) next: &'a mut AlertId,
    pub(super) now: Timestamp,
    pub(super) out: Vec<Transition>,
}

impl Pass<'_> {
    pub(super) fn tell(&mut self, alert: OpenAlert, change: Change) {
        self.out.push(Transition { alert, change, at: self.now });
    }

    fn new_alert(&mut self, rule: &Arc<str>, severity: Severity, finding: &Finding) -> OpenAlert {
        let id = *self.next;
        self.next.0 += 1;
        OpenAlert {
            id,
            rule: Arc::clone(rule),
            severity,
            boot: self.boot,
            subject: finding.subject.clone(),
            lasts: finding.lasts,
            facts: finding.facts.clone(),
            opened: self.now,
            count: 1,
            flood: false,
        }
    }
}

#[derive(Debug)]
struct Held {
    since: Ns,
    /// The pass that spoke of it last.
    told: u64,
}

#[derive(Debug)]
struct Known {
    alert: OpenAlert,
    /// On the monotonic clock; `None` while it is open.
    resolved: Option<Ns>,
    /// The pass that spoke of it last.
    told: u64,
}

impl Known {
    fn ends_unreported(&self) -> bool {
        let until_exit = self.alert.lasts == Lasts::UntilExit;
        !(until_exit && matches!(self.alert.subject, Subject::Process(..)))
    }

    fn reopen(&mut self, finding: &Finding, pass: &mut Pass<'_>) {
        self.resolved = None;
        self.alert.lasts = finding.lasts;
        self.alert.facts.clone_from(&finding.facts);
        self.alert.count = self.alert.count.saturating_add(1);
        pass.tell(self.alert.clone(), Change::Reopened);
    }

    fn resolve(&mut self, reason: Reason, pass: &mut Pass<'_>) {
        if self.resolved.is_none() {
            self.resolved = Some(pass.now.mono);
            pass.tell(self.alert.clone(), Change::Resolved(reason));
        }
    }
}

#[derive(Debug)]
struct Flood {
    alert: OpenAlert,
    /// When it last took something in, monotonic clock.
    last: Ns,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) settings: Settings,
    /// Numbers the calls of [`Memory::judge`].
    pass: u64,
    holding: BTreeMap<Subject, Held>,
    /// Those open and those that cool down.
    known: BTreeMap<Subject, Known>,
    flood: Option<Flood>,
    pub(super) suppressed: u64,
}

/// What found no room in one pass.
#[derive(Default)]
struct Folded<'a> {
    first: Option<&'a Finding>,
    lasting: u64,
    moments: u64,
}

impl Memory {
    pub(super) fn new(settings: Settings) -> Memory {
        Memory {
            settings,
            pass: 0,
            holding: BTreeMap::new(),
            known: BTreeMap::new(),
            flood: None,
            suppressed: 0,
        }
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &OpenAlert> {
        let open = self.known.values().filter(|known| known.resolved.is_none());
        open.map(|known| &known.alert).chain(self.flood.iter().map(|flood| &flood.alert))
    }

    pub(super) fn restore(&mut self, alert: OpenAlert, pass: &mut Pass<'_>) {
        let before = if alert.flood {
            self.flood.replace(Flood { alert, last: pass.now.mono }).map(|flood| flood.alert)
        } else {
            let known = Known { alert, resolved: None, told: 0 };
            self.known.insert(known.alert.subject.clone(), known).map(|known| known.alert)
        };
        if let Some(twice) = before {
            pass.tell(twice, Change::Resolved(Reason::Cleared));
        }
    }

    pub(super) fn exited(&mut self, ended: impl Fn(&Subject) -> bool, pass: &mut Pass<'_>) {
        self.holding.retain(|subject, _| !ended(subject));
        for known in self.known.values_mut().filter(|known| ended(&known.alert.subject)) {
            known.resolve(Reason::Exited, pass);
        }
    }

    pub(super) fn judge(&mut self, findings: &Findings, pass: &mut Pass<'_>) {
        self.pass += 1;
        let cooldown = self.settings.cooldown;
        let cold = |resolved: Ns| pass.now.mono.since(resolved) >= cooldown;
        self.known.retain(|_, known| !known.resolved.is_some_and(cold));
        for subject in findings.unknown.iter().chain(findings.raised.iter().map(|finding| &finding.subject)) {
            self.mention(subject);
        }
        if findings.resolves() {
            self.holding.retain(|_, held| held.told == self.pass);
            let over = |known: &&mut Known| known.told != self.pass && known.ends_unreported();
            for known in self.known.values_mut().filter(over) {
                known.resolve(Reason::Cleared, pass);
            }
        }
        let mut folded = Folded { lasting: findings.overflow, ..Folded::default() };
        for finding in &findings.raised {
            self.report(findings, finding, &mut folded, pass);
        }
        self.take_flood(findings, &folded, pass);
    }

    /// Reported or unknown: either way it stays.
    fn mention(&mut self, subject: &Subject) {
        if let Some(held) = self.holding.get_mut(subject) {
            held.told = self.pass;
        }
        if let Some(known) = self.known.get_mut(subject) {
            known.told = self.pass;
        }
    }

    fn report<'a>(
        &mut self,
        findings: &'a Findings,
        finding: &'a Finding,
        folded: &mut Folded<'a>,
        pass: &mut Pass<'_>,
    ) {
        let moment = finding.lasts == Lasts::Moment;
        if self.known.get(&finding.subject).is_some_and(|known| known.resolved.is_none())
            || !moment && !self.has_held(&finding.subject, pass.now.mono)
        {
            return;
        }
        if !self.known.contains_key(&finding.subject) && !self.make_room() {
            folded.first.get_or_insert(finding);
            *(if moment { &mut folded.moments } else { &mut folded.lasting }) += 1;
            return;
        }
        self.holding.remove(&finding.subject);
        let known = match self.known.get_mut(&finding.subject) {
            Some(known) => {
                known.reopen(finding, pass);
                known
            }
            None => {
                let alert = pass.new_alert(&findings.rule, self.settings.severity, finding);
                pass.tell(alert.clone(), Change::Opened);
                let known = Known { alert, resolved: None, told: self.pass };
                self.known.entry(finding.subject.clone()).or_insert(known)
            }
        };
        if moment {
            known.resolve(Reason::Moment, pass);
        }
    }

    fn has_held(&mut self, subject: &Subject, now: Ns) -> bool {
        if self.settings.hold == Ns(0) {
            return true;
        }
        if let Some(held) = self.holding.get(subject) {
            return now.since(held.since) >= self.settings.hold;
        }
        if self.holding.len() < self.settings.max_open.max(1) {
            self.holding.insert(subject.clone(), Held { since: now, told: self.pass });
        } else {
            self.suppressed += 1;
        }
        false
    }

    /// Whether another alert may open. The one that has cooled down longest gives way; but not those of a moment:
    /// they are never open for long, so nothing else would bound a flood of them.
    fn make_room(&mut self) -> bool {
        while self.known.len() >= self.settings.max_open.max(1) {
            let lasting = self.known.iter().filter(|(_, known)| known.alert.lasts != Lasts::Moment);
            let cooling = lasting.filter_map(|(subject, known)| Some((known.resolved?, subject)));
            let Some(oldest) = cooling.min().map(|(_, subject)| subject.clone()) else { return false };
            self.known.remove(&oldest);
        }
        true
    }

    /// What found no room is one alert. It ends when nothing was folded for a cool-down, since it is not known
    /// which of its findings are still there.
    fn take_flood(&mut self, findings: &Findings, folded: &Folded<'_>, pass: &mut Pass<'_>) {
        let count = folded.lasting.saturating_add(folded.moments);
        self.suppressed = self.suppressed.saturating_add(count);
        match (&mut self.flood, folded.first) {
            (Some(flood), _) if count > 0 => {
                flood.last = pass.now.mono;
                flood.alert.count = flood.alert.count.max(folded.lasting).saturating_add(folded.moments);
            }
            (None, Some(first)) => {
                let alert = pass.new_alert(&findings.rule, self.settings.severity, first);
                let alert = OpenAlert {
                    subject: Subject::Host,
                    lasts: Lasts::WhileReported,
                    count,
                    flood: true,
                    ..alert
                };
                pass.tell(alert.clone(), Change::Opened);
                self.flood = Some(Flood { alert, last: pass.now.mono });
            }
            (Some(flood), None)
                if findings.resolves()
                    && findings.unknown.is_empty()
                    && pass.now.mono.since(flood.last) >= self.settings.cooldown =>
            {
                pass.tell(flood.alert.clone(), Change::Resolved(Reason::Cleared));
                self.flood = None;
            }
            _ => {}
        }
    }
}
