//! What becomes of findings: each rule of behaviour by itself, then any history against a plain reference.

use procagent_core::alert::{
    AlertId, Alerts, Change, FINDINGS_MAX, Facts, Findings, Lasts, OpenAlert, Reason, Settings, Severity,
    Subject, Transition,
};
use procagent_core::process::{BootId, Pid, ProcessId};
use procagent_core::testing::at;
use procagent_core::time::{Ns, Ticks};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

const BOOT: BootId = BootId(7);

fn settings(hold: u64, cooldown: u64, max_open: usize) -> Settings {
    Settings {
        severity: Severity::Warning,
        hold: Ns::from_secs(hold),
        cooldown: Ns::from_secs(cooldown),
        max_open,
    }
}

fn id(pid: u32) -> ProcessId {
    ProcessId { pid: Pid(pid), start: Ticks(1) }
}

fn process(pid: u32) -> Subject {
    Subject::Process(BOOT, id(pid))
}

/// One rule and its alerts.
struct Story {
    alerts: Alerts,
    findings: Findings,
    rule: Arc<str>,
}

fn story(settings: Settings) -> Story {
    let rule: Arc<str> = "cpu".into();
    let mut alerts = Alerts::new(BOOT, AlertId(1));
    assert!(alerts.configure([(Arc::clone(&rule), settings)], at(0)).is_empty());
    Story { alerts, findings: Findings::default(), rule }
}

impl Story {
    fn said(&mut self, second: u64, complete: bool, say: impl FnOnce(&mut Findings)) -> Vec<Transition> {
        self.findings.begin(&self.rule);
        say(&mut self.findings);
        if complete {
            self.findings.complete();
        }
        self.alerts.judge(&self.findings, at(second))
    }

    /// A check that succeeds and reports these.
    fn check(&mut self, second: u64, lasts: Lasts, pids: &[u32]) -> Vec<(u64, Change)> {
        let told = self.said(second, true, |findings| {
            pids.iter().for_each(|pid| findings.raise(process(*pid), lasts, Facts::new()));
        });
        short(&told)
    }

    /// What an event made the rule report.
    fn event(&mut self, second: u64, subject: Subject, lasts: Lasts) -> Vec<(u64, Change)> {
        short(&self.said(second, false, |findings| findings.raise(subject, lasts, Facts::new())))
    }
}

fn short(transitions: &[Transition]) -> Vec<(u64, Change)> {
    transitions.iter().map(|transition| (transition.alert.id.0, transition.change)).collect()
}

use Change::{Opened, Reopened, Resolved};
use Lasts::{Moment, UntilExit, WhileReported};

#[test]
fn an_episode_is_two_transitions() {
    let mut story = story(settings(0, 60, 10));
    assert_eq!(story.check(1, WhileReported, &[5]), [(1, Opened)]);
    for second in 2..3600 {
        assert_eq!(story.check(second, WhileReported, &[5]), []);
    }
    assert_eq!(story.alerts.open().count(), 1);
    assert_eq!(story.check(3600, WhileReported, &[]), [(1, Resolved(Reason::Cleared))]);
    assert_eq!(story.check(3601, WhileReported, &[]), []);
    assert_eq!(story.alerts.open().count(), 0);
}

#[test]
fn an_alert_tells_what_was_found_when_it_opened() {
    let mut story = story(settings(0, 60, 10));
    let mut say = |second, percent: u64| {
        story.said(second, true, |findings| {
            findings.raise(process(5), WhileReported, Facts::new().integer("cpu.percent", percent));
        })
    };
    let opened = say(1, 90);
    assert_eq!(say(2, 99), []);
    let alert = &opened[0].alert;
    assert_eq!(alert.facts, Facts::new().integer("cpu.percent", 90));
    assert_eq!((&*alert.rule, alert.severity, alert.boot), ("cpu", Severity::Warning, BOOT));
    assert_eq!((opened[0].at, alert.opened, &alert.subject), (at(1), at(1), &process(5)));
    assert_eq!(story.alerts.open().next(), Some(alert), "the facts stay those of the opening");
}

#[test]
fn what_lasts_is_held_before_it_opens() {
    let mut story = story(settings(30, 0, 10));
    assert_eq!(story.check(10, WhileReported, &[5]), []);
    assert_eq!(story.check(39, WhileReported, &[5]), []);
    assert_eq!(story.check(40, WhileReported, &[5]), [(1, Opened)]);
}

#[test]
fn holding_begins_anew_after_a_break() {
    let mut story = story(settings(30, 0, 10));
    assert_eq!(story.check(10, WhileReported, &[5]), []);
    assert_eq!(story.check(20, WhileReported, &[]), []);
    assert_eq!(story.check(41, WhileReported, &[5]), []);
    assert_eq!(story.check(71, WhileReported, &[5]), [(1, Opened)]);
}

#[test]
fn unknown_leaves_it_as_it_is() {
    let mut story = story(settings(30, 0, 10));
    let unknown = |findings: &mut Findings| findings.unknown(process(5));
    assert_eq!(story.check(0, WhileReported, &[5]), []);
    assert_eq!(story.said(15, true, unknown), []);
    assert_eq!(story.check(30, WhileReported, &[5]), [(1, Opened)], "it goes on being held");
    assert_eq!(story.said(40, true, unknown), []);
    assert_eq!(story.alerts.open().count(), 1);
    assert_eq!(story.said(45, true, |findings| findings.unknown(process(6))).len(), 1, "of another process");
}

#[test]
fn only_a_check_that_succeeded_resolves() {
    let mut story = story(settings(0, 0, 10));
    assert_eq!(story.check(1, WhileReported, &[5]), [(1, Opened)]);
    assert_eq!(story.said(2, false, |_| {}), [], "a check that failed");
    assert_eq!(story.event(3, process(6), WhileReported), [(2, Opened)], "an event about another process");
    assert_eq!(story.alerts.open().count(), 2);
    let resolved = [(1, Resolved(Reason::Cleared)), (2, Resolved(Reason::Cleared))];
    assert_eq!(story.check(4, WhileReported, &[]), resolved);
}

#[test]
fn until_exit_outlives_silent_checks() {
    let mut story = story(settings(0, 60, 10));
    assert_eq!(story.event(1, process(5), UntilExit), [(1, Opened)]);
    assert_eq!(story.check(2, WhileReported, &[]), []);
    assert_eq!(story.alerts.exited(|_| true, at(3)), []);
    let told = story.alerts.exited(|process| process != id(5), at(4));
    assert_eq!(short(&told), [(1, Resolved(Reason::Exited))]);
    assert_eq!(story.alerts.exited(|_| false, at(5)), [], "once");
}

#[test]
fn until_exit_of_what_is_no_process_ends_unreported() {
    let mut story = story(settings(0, 60, 10));
    assert_eq!(story.event(1, Subject::Group("nginx".into()), UntilExit), [(1, Opened)]);
    assert_eq!(story.check(2, UntilExit, &[]), [(1, Resolved(Reason::Cleared))]);
}

#[test]
fn the_end_of_a_process_ends_everything_about_it() {
    let mut story = story(settings(30, 0, 10));
    assert_eq!(story.check(0, WhileReported, &[5, 6]), []);
    assert_eq!(story.check(30, WhileReported, &[5, 6]).len(), 2);
    assert_eq!(story.check(40, WhileReported, &[5, 6, 7]), []);
    let told = story.alerts.exited(|process| process == id(6), at(50));
    assert_eq!(short(&told), [(1, Resolved(Reason::Exited))]);
    assert_eq!(story.check(71, WhileReported, &[6, 7]), [], "7 was forgotten while it was held");
}

/// A1 of tests/ROWS.md: the number says nothing.
#[test]
fn a_reused_pid_inherits_no_alert() {
    let mut story = story(settings(0, 60, 10));
    assert_eq!(story.check(1, UntilExit, &[5]), [(1, Opened)]);
    let reused = ProcessId { pid: Pid(5), start: Ticks(900) };
    assert_eq!(story.alerts.exited(|process| process == reused, at(2)).len(), 1);
    assert_eq!(story.event(3, Subject::Process(BOOT, reused), UntilExit), [(2, Opened)]);
}

#[test]
fn a_moment_opens_and_resolves_at_once() {
    let mut story = story(settings(30, 60, 10));
    let path = Subject::Path(PathBuf::from("/tmp/x"));
    assert_eq!(story.event(1, path.clone(), Moment), [(1, Opened), (1, Resolved(Reason::Moment))]);
    assert_eq!(story.event(2, path.clone(), Moment), [(1, Reopened), (1, Resolved(Reason::Moment))]);
    assert_eq!(story.event(62, path, Moment), [(2, Opened), (2, Resolved(Reason::Moment))]);
}

#[test]
fn within_the_cooldown_the_same_alert_reopens() {
    let mut story = story(settings(0, 60, 10));
    assert_eq!(story.check(1, WhileReported, &[5]), [(1, Opened)]);
    assert_eq!(story.check(2, WhileReported, &[]), [(1, Resolved(Reason::Cleared))]);
    assert_eq!(story.check(61, WhileReported, &[5]), [(1, Reopened)]);
    let open = story.alerts.open().next().cloned();
    assert_eq!(open.map(|alert| (alert.opened, alert.count)), Some((at(1), 2)));
    assert_eq!(story.check(62, WhileReported, &[]), [(1, Resolved(Reason::Cleared))]);
    assert_eq!(story.check(122, WhileReported, &[5]), [(2, Opened)], "the cool-down is over");
}

#[test]
fn reopening_is_held_too() {
    let mut story = story(settings(10, 60, 10));
    assert_eq!(story.check(0, WhileReported, &[5]), []);
    assert_eq!(story.check(10, WhileReported, &[5]), [(1, Opened)]);
    assert_eq!(story.check(11, WhileReported, &[]), [(1, Resolved(Reason::Cleared))]);
    assert_eq!(story.check(20, WhileReported, &[5]), []);
    assert_eq!(story.check(30, WhileReported, &[5]), [(1, Reopened)]);
}

#[test]
fn a_flood_is_one_alert_with_a_count() {
    let mut story = story(settings(0, 60, 3));
    let pids: Vec<u32> = (1..=1000).collect();
    let told = story.said(1, true, |findings| {
        pids.iter().for_each(|pid| findings.raise(process(*pid), WhileReported, Facts::new()));
    });
    assert_eq!(short(&told), [(1, Opened), (2, Opened), (3, Opened), (4, Opened)]);
    let flood = &told[3].alert;
    assert_eq!((flood.flood, flood.count, &flood.subject), (true, 997, &Subject::Host));
    for second in 2..100 {
        assert_eq!(story.check(second, WhileReported, &pids), [], "the same ones are not folded in again");
    }
    assert_eq!(story.alerts.open().find(|alert| alert.flood).map(|alert| alert.count), Some(997));
    assert_eq!(story.alerts.suppressed().map(|(_, count)| count).sum::<u64>(), 997 * 99);

    assert_eq!(story.check(100, WhileReported, &[1, 2, 3]), [], "it stays for a cool-down");
    assert_eq!(story.check(158, WhileReported, &[1, 2, 3]), []);
    assert_eq!(story.check(159, WhileReported, &[1, 2, 3]), [(4, Resolved(Reason::Cleared))]);
}

#[test]
fn what_is_held_is_bounded() {
    let mut story = story(settings(30, 0, 2));
    assert_eq!(story.check(0, WhileReported, &[1, 2, 3, 4, 5]), []);
    assert_eq!(story.alerts.suppressed().map(|(_, count)| count).collect::<Vec<_>>(), [3]);
    assert_eq!(story.check(30, WhileReported, &[1, 2, 3, 4, 5]), [(1, Opened), (2, Opened)]);
    assert_eq!(story.check(59, WhileReported, &[1, 2, 3, 4, 5]), []);
    assert_eq!(
        story.check(60, WhileReported, &[1, 2, 3, 4, 5]),
        [(3, Opened)],
        "held long enough, and folded"
    );
}

#[test]
fn a_flood_does_not_end_while_anything_is_unknown() {
    let mut story = story(settings(0, 0, 1));
    assert_eq!(story.check(1, WhileReported, &[1, 2]), [(1, Opened), (2, Opened)]);
    let unknown = story.said(2, true, |findings| {
        findings.raise(process(1), WhileReported, Facts::new());
        findings.unknown(process(2));
    });
    assert_eq!(unknown, []);
    assert_eq!(story.check(3, WhileReported, &[1]), [(2, Resolved(Reason::Cleared))]);
}

#[test]
fn room_goes_to_those_that_were_folded() {
    let mut story = story(settings(0, 0, 2));
    assert_eq!(story.check(1, WhileReported, &[1, 2, 3]), [(1, Opened), (2, Opened), (3, Opened)]);
    let told = story.check(2, WhileReported, &[2, 3]);
    assert_eq!(
        told,
        [(1, Resolved(Reason::Cleared)), (4, Opened), (3, Resolved(Reason::Cleared))],
        "1 ends, 3 has an alert of its own, the flood is over"
    );
}

#[test]
fn a_flood_of_moments_is_bounded_too() {
    let mut story = story(settings(0, 60, 3));
    let mut told = 0;
    for file in 0..1000 {
        told += story.event(1, Subject::Path(PathBuf::from(format!("/tmp/{file}"))), Moment).len();
    }
    assert_eq!(told, 3 * 2 + 1);
    assert_eq!(
        story.alerts.open().map(|alert| (alert.flood, alert.count)).collect::<Vec<_>>(),
        [(true, 997)]
    );
}

#[test]
fn cooling_alerts_give_way_to_new_ones() {
    let mut story = story(settings(0, 3600, 2));
    assert_eq!(story.check(1, WhileReported, &[1]).len(), 1);
    assert_eq!(story.check(2, WhileReported, &[2]).len(), 2);
    assert_eq!(story.check(3, WhileReported, &[3, 4]).len(), 3, "no flood: nothing was open");
    assert_eq!(story.check(4, WhileReported, &[3, 4, 2]), [(5, Opened)], "now there is");
    assert!(story.alerts.open().any(|alert| alert.flood));
}

#[test]
fn a_pass_that_says_too_much_resolves_nothing() {
    let mut story = story(settings(0, 0, 2));
    assert_eq!(story.check(1, WhileReported, &[1]).len(), 1);
    let told = story.said(2, true, |findings| {
        let many = 0..u32::try_from(FINDINGS_MAX).unwrap();
        many.for_each(|pid| findings.raise(process(1_000_000 + pid), WhileReported, Facts::new()));
        findings.raise(process(1), WhileReported, Facts::new());
    });
    assert!(told.iter().all(|transition| transition.change == Opened));
    assert_eq!(told.last().map(|transition| transition.alert.count), Some(10_000));
    assert_eq!(story.findings.raised().count(), FINDINGS_MAX);
}

#[test]
fn restored_alerts_go_on() {
    let mut before = story(settings(0, 60, 10));
    assert_eq!(before.check(1, WhileReported, &[5]), [(1, Opened)]);
    assert_eq!(before.event(1, process(6), UntilExit), [(2, Opened)]);
    let open: Vec<OpenAlert> = before.alerts.open().cloned().collect();

    let mut after = story(settings(0, 60, 10));
    assert_eq!(after.alerts.restore(open, at(100)), []);
    assert_eq!(after.check(101, WhileReported, &[5]), [], "no second row");
    assert_eq!(short(&after.alerts.exited(|process| process == id(5), at(102))).len(), 1);
    assert_eq!(after.check(103, WhileReported, &[]), [(1, Resolved(Reason::Cleared))]);
    assert_eq!(after.check(104, WhileReported, &[9]), [(3, Opened)], "numbers go on");
}

#[test]
fn restored_alerts_of_another_boot_or_rule_are_resolved() {
    let mut before = story(settings(0, 60, 10));
    assert_eq!(before.check(1, UntilExit, &[5, 6]).len(), 2);
    let mut open: Vec<OpenAlert> = before.alerts.open().cloned().collect();
    open[0].boot = BootId(1);
    open[1].rule = "memory".into();
    let told = story(settings(0, 60, 10)).alerts.restore(open, at(2));
    assert_eq!(short(&told), [(1, Resolved(Reason::HostRestarted)), (2, Resolved(Reason::RuleRemoved))]);
}

#[test]
fn a_reload_keeps_the_alerts_of_rules_that_stay() {
    let mut story = story(settings(0, 60, 10));
    assert_eq!(story.check(1, UntilExit, &[5]).len(), 1);
    let stricter = Settings { severity: Severity::Critical, ..settings(0, 60, 10) };
    let told = story.alerts.configure([("cpu".into(), stricter), ("memory".into(), stricter)], at(2));
    assert_eq!(told, []);
    assert_eq!(story.alerts.open().map(|alert| alert.severity).collect::<Vec<_>>(), [Severity::Warning]);
    let told = story.alerts.configure([("memory".into(), stricter)], at(3));
    assert_eq!(short(&told), [(1, Resolved(Reason::RuleRemoved))]);
    assert_eq!(story.check(4, UntilExit, &[5]), [], "a rule that is gone is not heard");
}

/// What may happen at one time to the five processes of a made-up history.
#[derive(Clone, Debug)]
enum Step {
    /// A check, complete or failed: of each process whether it is reported, unknown, or neither.
    Check { complete: bool, says: [Option<Says>; 5] },
    /// An event about one.
    Event(usize, Lasts),
    /// One ends.
    Exit(usize),
}

#[derive(Clone, Copy, Debug)]
enum Says {
    Reported(Lasts),
    Unknown,
}

fn lasts() -> impl Strategy<Value = Lasts> {
    prop_oneof![4 => Just(WhileReported), 2 => Just(UntilExit), 1 => Just(Moment)]
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let says = prop_oneof![
        4 => Just(None),
        4 => lasts().prop_map(|lasts| Some(Says::Reported(lasts))),
        1 => Just(Some(Says::Unknown)),
    ];
    let step = prop_oneof![
        8 => (prop::bool::weighted(0.8), prop::array::uniform5(says))
            .prop_map(|(complete, says)| Step::Check { complete, says }),
        2 => (0..5_usize, lasts()).prop_map(|(who, lasts)| Step::Event(who, lasts)),
        1 => (0..5_usize).prop_map(Step::Exit),
    ];
    (0..25_u64, step)
}

/// One process in the plain reference: what one would write with a single process in mind.
#[derive(Clone, Copy, Debug, Default)]
struct Plain {
    held_since: Option<u64>,
    open: Option<Lasts>,
    resolved_at: Option<u64>,
}

impl Plain {
    fn reported(&mut self, lasts: Lasts, now: u64, hold: u64, cooldown: u64, out: &mut Vec<Change>) {
        if self.open.is_some() {
            return;
        }
        let since = *self.held_since.get_or_insert(now);
        if lasts != Moment && now - since < hold {
            return;
        }
        let warm = self.resolved_at.is_some_and(|resolved| now - resolved < cooldown);
        out.push(if warm { Reopened } else { Opened });
        *self = Plain { open: Some(lasts), ..Plain::default() };
        if lasts == Moment {
            self.resolve(Reason::Moment, now, out);
        }
    }

    fn resolve(&mut self, reason: Reason, now: u64, out: &mut Vec<Change>) {
        if self.open.take().is_some() {
            out.push(Resolved(reason));
            self.resolved_at = Some(now);
        }
    }
}

fn subject_pid(subject: &Subject) -> u32 {
    match subject {
        Subject::Process(_, id) => id.pid.0,
        _ => 0,
    }
}

proptest! {
    /// With room for all, every process fares as if it were alone.
    #[test]
    fn alerts_agree_with_the_reference(
        hold in 0..40_u64,
        cooldown in 0..60_u64,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut story = story(settings(hold, cooldown, 5));
        let mut plain = [Plain::default(); 5];
        let mut now = 0;
        for (passed, step) in steps {
            now += passed;
            let mut want: [Vec<Change>; 5] = Default::default();
            let told = match &step {
                Step::Check { complete, says } => {
                    for (who, says) in says.iter().enumerate() {
                        match says {
                            Some(Says::Reported(lasts)) => {
                                plain[who].reported(*lasts, now, hold, cooldown, &mut want[who]);
                            }
                            None if *complete => {
                                plain[who].held_since = None;
                                if plain[who].open == Some(WhileReported) {
                                    plain[who].resolve(Reason::Cleared, now, &mut want[who]);
                                }
                            }
                            _ => {}
                        }
                    }
                    story.said(now, *complete, |findings| {
                        for (pid, says) in (0..).zip(says) {
                            match says {
                                Some(Says::Reported(lasts)) => findings.raise(process(pid), *lasts, Facts::new()),
                                Some(Says::Unknown) => findings.unknown(process(pid)),
                                None => {}
                            }
                        }
                    })
                }
                Step::Event(who, lasts) => {
                    plain[*who].reported(*lasts, now, hold, cooldown, &mut want[*who]);
                    let subject = process(u32::try_from(*who).unwrap());
                    story.said(now, false, |findings| findings.raise(subject, *lasts, Facts::new()))
                }
                Step::Exit(who) => {
                    plain[*who].held_since = None;
                    plain[*who].resolve(Reason::Exited, now, &mut want[*who]);
                    story.alerts.exited(|process| process.pid.0 as usize != *who, at(now))
                }
            };
            let mut got: [Vec<Change>; 5] = Default::default();
            for transition in &told {
                got[subject_pid(&transition.alert.subject) as usize].push(transition.change);
            }
            prop_assert_eq!(&got, &want, "at {} after {:?}", now, step);
            let open: Vec<u32> = story.alerts.open().map(|alert| subject_pid(&alert.subject)).collect();
            let want: Vec<u32> = (0..).zip(&plain).filter(|(_, one)| one.open.is_some()).map(|(pid, _)| pid).collect();
            prop_assert_eq!(open, want);
        }
    }

    /// However little room there is: an alert opens once, then resolves and re-opens by turns, and never are
    /// more open than configured, and one flood.
    #[test]
    fn alerts_are_bounded_and_take_turns(
        max_open in 1..4_usize,
        hold in 0..20_u64,
        cooldown in 0..60_u64,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut story = story(settings(hold, cooldown, max_open));
        let mut open: BTreeMap<AlertId, bool> = BTreeMap::new();
        let mut now = 0;
        for (passed, step) in steps {
            now += passed;
            let told = match step {
                Step::Check { complete, says } => story.said(now, complete, |findings| {
                    for (pid, says) in (0..).zip(says) {
                        match says {
                            Some(Says::Reported(lasts)) => findings.raise(process(pid), lasts, Facts::new()),
                            Some(Says::Unknown) => findings.unknown(process(pid)),
                            None => {}
                        }
                    }
                }),
                Step::Event(who, lasts) => {
                    let subject = process(u32::try_from(who).unwrap());
                    story.said(now, false, |findings| findings.raise(subject, lasts, Facts::new()))
                }
                Step::Exit(who) => story.alerts.exited(|process| process.pid.0 as usize != who, at(now)),
            };
            for transition in told {
                let was = open.insert(transition.alert.id, !matches!(transition.change, Resolved(_)));
                let want = match transition.change {
                    Opened => None,
                    Reopened => Some(false),
                    Resolved(_) => Some(true),
                };
                prop_assert_eq!(was, want, "{:?}", transition);
            }
            let now_open: Vec<&OpenAlert> = story.alerts.open().collect();
            prop_assert_eq!(now_open.len(), open.values().filter(|open| **open).count());
            prop_assert!(now_open.iter().filter(|alert| !alert.flood).count() <= max_open);
            prop_assert!(now_open.len() <= max_open + 1);
        }
    }
}
