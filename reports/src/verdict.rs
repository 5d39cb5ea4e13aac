//! The verdict policy: one pure function from the catalogue, a profile and what became of a cell's tests to a judgement of every capability.
//!
//! A test is *required* for a capability under a profile when it proves the capability and applies to the profile; nothing else makes it so, and nothing makes it less so.
//!
//! - Any required test fails, or is blocked by a test that failed: `unsupported`, with every independent cause.
//! - Else any required test is in error, is blocked by one in error, or never ran because the cell could not go on: `inconclusive`.
//! - Else any required test was skipped, is blocked by one that was skipped, or never ran: `untested`.
//! - Else every required test has passed: `supported`, but `partial` if Kata was given components in the place of the distro's own, and naming them.
//!   Where all that tests look at is a list of QEMU's ([`Capability::is_only_listed`]), it is `offered` instead: nothing was used.
//! - No test is required under this profile in this environment: `not-applicable` if another profile or environment requires one or the profile does not know the share, `untested` if nobody does.
//!
//! A false `supported` is the worst mistake this project can make: the last rule is the only way to it.

pub mod agreement;

use kata_osinfo::hex::hex;
use kata_osinfo::profile::Profile;
use kata_osinfo::verified::{Basis, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::catalogue::Test;
use suites::environment::Kind;
use suites::outcome::{Component, Outcome};
use suites::share::Share;

/// What is said of a capability under a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The word for it.
    pub verdict: Verdict,
    /// Every independent cause, if it is unsupported.
    pub causes: Vec<Cause>,
    /// Why it could not be shown, where it could not.
    pub reasons: Vec<Reason>,
    /// What makes a partial capability usable.
    pub workaround: Option<String>,
    /// Required tests that passed only when repeated.
    pub flaky: Vec<Flaky>,
    /// Hardware or emulated; `None` if the cell never came so far as to know.
    pub basis: Option<Basis>,
    /// How many tests are required.
    pub required: usize,
    /// How many of them passed.
    pub passed: usize,
    /// How many of them never ran.
    pub unrun: usize,
}

/// A failing test and whom it blames.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cause {
    /// The test's id.
    pub test: String,
    /// The component at fault.
    pub component: Component,
    /// What was expected and what was seen.
    pub message: String,
}

/// Why tests could not show anything either way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reason {
    /// What was lacking, or what went wrong.
    pub why: String,
    /// The ids of the required tests that it holds for.
    pub tests: Vec<String>,
}

/// Tests named with a reason; the rest is counted.
const NAMED: usize = 3;

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named: Vec<&str> = self.tests.iter().take(NAMED).map(String::as_str).collect();
        match (self.tests.len(), self.tests.len().saturating_sub(NAMED)) {
            (0, _) => write!(f, "{}", self.why),
            (_, 0) => write!(f, "{} ({})", self.why, named.join(", ")),
            (_, more) => write!(f, "{} ({} and {more} more)", self.why, named.join(", ")),
        }
    }
}

/// A test that failed and then passed in a fresh guest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flaky {
    /// The test's id.
    pub test: String,
    /// How many attempts passed.
    pub passed: u32,
    /// Of how many that passed or failed.
    pub attempts: u32,
}

/// The last word on a test: what its attempts come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What counts.
    pub outcome: Outcome,
    /// How many attempts passed.
    pub passed: u32,
    /// How many attempts passed or failed.
    pub decided: u32,
}

impl Standing {
    /// What a test's attempts come to; `None` without any.
    ///
    /// The last attempt that passed or failed counts: an error while repeating a failure does not undo the failure.
    pub fn of<'a>(attempts: impl IntoIterator<Item = &'a Outcome>) -> Option<Standing> {
        let mut standing: Option<Standing> = None;
        for outcome in attempts {
            let decides = matches!(outcome, Outcome::Pass | Outcome::Fail { .. });
            let standing = standing.get_or_insert_with(|| Standing { outcome: outcome.clone(), passed: 0, decided: 0 });
            if decides || standing.decided == 0 {
                standing.outcome = outcome.clone();
            }
            standing.decided += u32::from(decides);
            standing.passed += u32::from(*outcome == Outcome::Pass);
        }
        standing
    }

    /// Whether it passed, but not every time.
    pub fn is_flaky(&self) -> bool {
        self.outcome == Outcome::Pass && self.passed < self.decided
    }

    /// Of a test that ran in two configurations of one profile, the worse one counts.
    pub fn worse(self, other: Standing) -> Standing {
        let rank = |s: &Standing| match s.outcome {
            Outcome::Fail { .. } => 4,
            Outcome::Error { .. } => 3,
            Outcome::Blocked { .. } => 2,
            Outcome::Skip { .. } => 1,
            Outcome::Pass => 0,
        };
        let (passed, decided) = (self.passed + other.passed, self.decided + other.decided);
        let outcome = if rank(&other) > rank(&self) { other.outcome } else { self.outcome };
        Standing { outcome, passed, decided }
    }
}

/// A component that was brought along in the place of the distro's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// Which.
    pub component: Component,
    /// The file's name and checksum, in words.
    pub what: String,
}

/// What is known of a cell under one profile.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Test id → the last word on it.
    pub standings: BTreeMap<String, Standing>,
    /// Why the cell could not go on, if it could not.
    pub error: Option<String>,
    /// What the cell ran on.
    pub basis: Option<Basis>,
    /// Where the cell was brought up; tests that this cannot show are not part of the cell.
    pub environment: Option<Kind>,
    /// What took the place of the distro's own components.
    pub brought: Vec<Brought>,
}

/// The tests required for a capability under a profile.
pub fn required<'a>(catalogue: &'a [Test], capability: Capability, profile: &Profile) -> Vec<&'a Test> {
    let proves = catalogue.iter().filter(|t| t.proves.contains(&capability));
    proves.filter(|t| t.profiles.is_empty() || t.profiles.contains(&profile.name.as_str())).collect()
}

/// Judges every capability of a cell under a profile.
pub fn judge(catalogue: &[Test], profile: &Profile, evidence: &Evidence) -> BTreeMap<Capability, Judgement> {
    Capability::ALL.iter().map(|c| (*c, judge_one(catalogue, *c, profile, evidence))).collect()
}

fn judge_one(catalogue: &[Test], capability: Capability, profile: &Profile, evidence: &Evidence) -> Judgement {
    let mut judgement = Judgement {
        verdict: Verdict::Untested,
        causes: Vec::new(),
        reasons: Vec::new(),
        workaround: None,
        flaky: Vec::new(),
        basis: evidence.basis,
        required: 0,
        passed: 0,
        unrun: 0,
    };
    let share = Share::SHARED.iter().map(|share| share.name()).find(|share| capability.share() == Some(share));
    if share.is_some_and(|share| !profile.shares.iter().any(|s| s == share)) {
        judgement.verdict = Verdict::NotApplicable;
        return judgement;
    }
    let mut tests = required(catalogue, capability, profile);
    tests.retain(|test| evidence.environment.is_none_or(|kind| test.applies_in(kind)));
    if tests.is_empty() {
        if catalogue.iter().any(|t| t.proves.contains(&capability)) {
            judgement.verdict = Verdict::NotApplicable;
        } else {
            judgement.reasons.push(Reason { why: "no test exists for it yet".to_owned(), tests: Vec::new() });
        }
        return judgement;
    }

    judgement.required = tests.len();
    let mut causes = BTreeSet::new();
    let (mut errors, mut gaps) = (Reasons::default(), Reasons::default());
    for test in tests {
        match answer(catalogue, evidence, &test.id) {
            Answer::Passed => {
                judgement.passed += 1;
                if let Some(s) = evidence.standings.get(&test.id).filter(|s| s.is_flaky()) {
                    judgement.flaky.push(Flaky { test: test.id.clone(), passed: s.passed, attempts: s.decided });
                }
            }
            Answer::Failed(cause) => {
                causes.insert(cause);
            }
            Answer::Erred(why) => errors.add(why, &test.id),
            Answer::Skipped(why) => gaps.add(why, &test.id),
            Answer::NeverRan => {
                judgement.unrun += 1;
                match &evidence.error {
                    Some(error) => errors.add(error.clone(), &test.id),
                    None => gaps.add("never ran".to_owned(), &test.id),
                }
            }
        }
    }
    judgement.verdict = if !causes.is_empty() {
        Verdict::Unsupported
    } else if !errors.is_empty() {
        Verdict::Inconclusive
    } else if !gaps.is_empty() || judgement.passed != judgement.required {
        Verdict::Untested
    } else if capability.is_only_listed() {
        Verdict::Offered
    } else {
        Verdict::Supported
    };
    let brought = evidence.brought.iter().filter(|brought| rests_on(capability, brought.component));
    let brought: Vec<String> = brought.map(|b| format!("{} {}", b.component, b.what)).collect();
    if matches!(judgement.verdict, Verdict::Supported | Verdict::Offered) && !brought.is_empty() {
        if judgement.verdict == Verdict::Supported {
            judgement.verdict = Verdict::Partial;
        }
        judgement.workaround = Some(format!("with components brought along: {}", brought.join(", ")));
    }
    judgement.causes = causes.into_iter().collect();
    judgement.reasons = errors.list().chain(gaps.list()).collect();
    judgement
}

/// Whether a capability was shown with a component that was brought along; when in doubt it was, for a distro gets no
/// credit for what it does not ship.
fn rests_on(capability: Capability, brought: Component) -> bool {
    let name = capability.name();
    if name.starts_with("kata.") {
        return true;
    }
    match brought {
        Component::Virtiofsd => name.starts_with("fs.virtio-fs"),
        // The release's modules do not fit another kernel, so that only Kata's guests get one.
        Component::Kernel => false,
        _ => !["packages.", "host.", "kernel.host", "containers."].iter().any(|own| name.starts_with(own)),
    }
}

/// What a required test answers, blocked ones traced to their root.
enum Answer {
    Passed,
    Failed(Cause),
    Erred(String),
    Skipped(String),
    NeverRan,
}

fn answer(catalogue: &[Test], evidence: &Evidence, required: &str) -> Answer {
    let mut at = required.to_owned();
    let mut seen = BTreeSet::new();
    loop {
        let blocker = if at == required { String::new() } else { format!("blocked by {at}: ") };
        let Some(standing) = evidence.standings.get(&at) else {
            // What is required stands in the catalogue.
            if at == required {
                return Answer::NeverRan;
            }
            return match catalogue.iter().any(|t| t.id == at) {
                true => match &evidence.error {
                    Some(error) => Answer::Erred(error.clone()),
                    None => Answer::Skipped(format!("{blocker}never ran")),
                },
                false => Answer::Erred(format!("{blocker}the catalogue has no such test")),
            };
        };
        match &standing.outcome {
            Outcome::Pass if at == required => return Answer::Passed,
            Outcome::Pass => return Answer::Erred(format!("{blocker}which passed in the end")),
            Outcome::Fail { message, blames } => {
                return Answer::Failed(Cause { test: at, component: *blames, message: message.clone() });
            }
            Outcome::Error { message } => return Answer::Erred(format!("{blocker}{message}")),
            Outcome::Skip { reason } => return Answer::Skipped(format!("{blocker}{reason}")),
            Outcome::Blocked { by } => {
                if !seen.insert(at.clone()) {
                    return Answer::Erred(format!("{blocker}the tests block each other"));
                }
                at.clone_from(by);
            }
        }
    }
}

/// Reasons with the tests that each holds for.
#[derive(Default)]
struct Reasons(BTreeMap<String, Vec<String>>);

impl Reasons {
    fn add(&mut self, why: String, test: &str) {
        self.0.entry(why).or_default().push(test.to_owned());
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn list(self) -> impl Iterator<Item = Reason> {
        self.0.into_iter().map(|(why, tests)| Reason { why, tests })
    }
}

/// A short digest of what is required: two verdicts compare only if the same tests stand behind them.
pub fn test_set(catalogue: &[Test]) -> String {
    use sha2::{Digest, Sha256};
    let mut lines: Vec<String> = catalogue
        .iter()
        .map(|test| {
            let mut proves: Vec<&str> = test.proves.iter().map(|c| c.name()).collect();
            proves.sort_unstable();
            let mut profiles = test.profiles.to_vec();
            profiles.sort_unstable();
            format!("{} {} {}\n", test.id, proves.join(","), profiles.join(","))
        })
        .collect();
    lines.sort_unstable();
    let digest = Sha256::digest(lines.concat().as_bytes());
    hex(digest.get(..6).unwrap_or(&digest))
}

#[cfg(test)]
mod tests;
