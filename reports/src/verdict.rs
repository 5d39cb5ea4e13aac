//! The verdict policy: one pure function from the catalogue, a profile and the outcomes of a cell's tests to a
//! judgement of every capability.
//!
//! A test is *required* for a capability under a profile when it proves the capability and applies to the profile; no
//! other condition adds or removes a required test.
//!
//! - Any required test fails, or is blocked by a test that failed: `unsupported`, with every independent cause.
//! - Else any required test is in error, is blocked by one in error, or never ran because the cell could not go on:
//!   `inconclusive`.
//! - Else any required test was skipped, is blocked by one that was skipped, or never ran: `untested`.
//! - Else every required test has passed: `supported`, or `partial` with the components named if Kata was given
//!   components in place of the distro's own.
//!   If the tests look only at lists that QEMU prints ([`Capability::is_only_listed`]), the verdict is `offered`
//!   instead: nothing was used.
//! - No test is required under this profile in this environment: `not-applicable` if another profile or environment
//!   requires one or the profile does not know the share, `untested` if no profile or environment does.
//!
//! A false `supported` is the worst mistake this project can make: the fourth rule is the only way to it.
//!
//! A documented minimum version is a note and decides nothing; only use decides.
//! `crate::standing` decides what has changed against the record, and the exit code. `test_set`, a digest of the
//! required tests, is stored with each recorded verdict.

pub mod agreement;
mod final_outcome;
mod new_failures;
mod requirements;

pub use final_outcome::FinalOutcome;
pub(crate) use new_failures::unrecorded;
pub use requirements::{Requirements, test_set};

use crate::journal::Candidate;
use crate::signature::without_varying;
use model::environment::Environment;
use model::test_id::TestId;
use model::verified::{Basis, Verdict, WITH_CANDIDATES};
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::{Area, Capability};
use suites::catalogue::Test;
use suites::outcome::{Component, Outcome};
use suites::share::Share;

/// The judgement of a capability under a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Every independent cause, if it is unsupported.
    pub causes: Vec<Cause>,
    /// The reasons why support could not be shown, if it could not.
    pub reasons: Vec<Reason>,
    /// The components that make a partial capability usable.
    pub workaround: Option<String>,
    /// Required tests that passed only when repeated.
    pub flaky: Vec<Flaky>,
    /// Hardware or emulated; `None` if the cell never got far enough to know.
    pub basis: Option<Basis>,
    /// How many tests are required.
    pub required: usize,
    /// How many of the required tests passed.
    pub passed: usize,
    /// How many of the required tests never ran.
    pub unrun: usize,
}

/// A failing test and the component that it blames.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Cause {
    /// The test's id.
    pub test: TestId,
    /// The component at fault.
    pub component: Component,
    /// The observation, without details that vary from guest to guest.
    pub message: String,
    /// The signature that identifies the same cause under other profiles and in other runs; see [`crate::signature`].
    pub signature: String,
    /// The expected behaviour: the property that the test states.
    pub expected: String,
    /// The places in Kata's source that require the behaviour.
    pub asked_for: Vec<String>,
    /// The places in Kata's source where it gives containers their files by the test's share, if no line requires the
    /// behaviour itself.
    pub by_share: Vec<String>,
}

/// A reason why tests could show nothing either way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Reason {
    /// The missing requirement, or the error.
    pub why: String,
    /// The ids of the required tests that the reason applies to.
    pub tests: Vec<TestId>,
    /// The source of the reason.
    #[serde(skip)]
    pub source: ReasonSource,
}

/// The source of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReasonSource {
    /// A test that was in error, was skipped or never ran.
    Test,
    /// The cell could not go on, for a reason that the reports show for the cell itself.
    Cell,
    /// No test exists.
    Catalogue,
}

/// The reason for a test of which nothing is known.
pub(crate) const NEVER_RAN: &str = "never ran";

/// Limit on tests that are named with a reason; the others are counted.
const NAMED: usize = 3;

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&with_tests(&self.why, self.tests.iter().map(TestId::as_str)))
    }
}

/// Formats a reason with the tests that it applies to: `never ran (a, b, c and 2 more)`.
pub(crate) fn with_tests<'a>(why: &str, tests: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = tests.len();
    let named: Vec<&str> = tests.take(NAMED).collect();
    match (count, count.saturating_sub(NAMED)) {
        (0, _) => why.to_owned(),
        (_, 0) => format!("{why} ({})", named.join(", ")),
        (_, more) => format!("{why} ({} and {more} more)", named.join(", ")),
    }
}

/// A test that failed and then passed in a fresh guest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Flaky {
    /// The test's id.
    pub test: TestId,
    /// How many attempts passed.
    pub passed: u32,
    /// How many attempts passed or failed.
    pub attempts: u32,
}

/// The results of a cell under one profile.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Test id → final outcome.
    pub outcomes: BTreeMap<TestId, FinalOutcome>,
    /// Why the cell could not go on, if it could not.
    pub error: Option<String>,
    /// The basis that the cell ran on: hardware or emulated.
    pub basis: Option<Basis>,
    /// Whether its guests run under KVM.
    pub runs_kvm: bool,
    /// The environment of the cell; tests that it cannot run are not part of the cell.
    pub environment: Option<Environment>,
    /// The components that replaced the distro's own.
    pub candidates: BTreeMap<Component, Candidate>,
}

/// Judges every capability of a cell under the profile that the requirements belong to.
pub fn judge(requirements: &Requirements<'_>, evidence: &Evidence) -> BTreeMap<Capability, Judgement> {
    Capability::ALL.iter().map(|c| (*c, judge_one(requirements, *c, evidence))).collect()
}

fn judge_one(requirements: &Requirements<'_>, capability: Capability, evidence: &Evidence) -> Judgement {
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
    if !requirements.has(capability) {
        judgement.verdict = Verdict::NotApplicable;
        return judgement;
    }
    let required = requirements.of(capability).iter();
    let tests: Vec<&Test> =
        required.copied().filter(|test| evidence.environment.is_none_or(|e| test.applies_in(e))).collect();
    if tests.is_empty() {
        if requirements.is_provable(capability) {
            judgement.verdict = Verdict::NotApplicable;
        } else {
            let why = "no test exists for it yet".to_owned();
            judgement.reasons.push(Reason { why, tests: Vec::new(), source: ReasonSource::Catalogue });
        }
        return judgement;
    }

    judgement.required = tests.len();
    let mut causes = BTreeSet::new();
    let (mut errors, mut gaps) = (Reasons::default(), Reasons::default());
    for test in tests {
        match required_outcome(requirements, evidence, &test.id) {
            RequiredOutcome::Passed => {
                judgement.passed += 1;
                if let Some(last) = evidence.outcomes.get(&test.id).filter(|last| last.is_flaky()) {
                    judgement.flaky.push(Flaky { test: test.id.clone(), passed: last.passed, attempts: last.decided });
                }
            }
            RequiredOutcome::Failed(cause) => {
                causes.insert(cause);
            }
            RequiredOutcome::InError(why) => errors.add(why, ReasonSource::Test, &test.id),
            RequiredOutcome::CellFailed(why) => errors.add(why.to_owned(), ReasonSource::Cell, &test.id),
            RequiredOutcome::Skipped(why) => gaps.add(why, ReasonSource::Test, &test.id),
            RequiredOutcome::NeverRan => {
                judgement.unrun += 1;
                match &evidence.error {
                    Some(error) => errors.add(error.clone(), ReasonSource::Cell, &test.id),
                    None => gaps.add(NEVER_RAN.to_owned(), ReasonSource::Test, &test.id),
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
    let candidates = evidence.candidates.iter().filter(|(component, what)| rests_on(capability, **component, what));
    let candidates: Vec<String> = candidates.map(|(component, what)| format!("{component} {what}")).collect();
    if matches!(judgement.verdict, Verdict::Supported | Verdict::Offered) && !candidates.is_empty() {
        if judgement.verdict == Verdict::Supported {
            judgement.verdict = Verdict::Partial;
        }
        judgement.workaround = Some(format!("{WITH_CANDIDATES}{}", candidates.join(", ")));
    }
    judgement.causes = causes.into_iter().collect();
    judgement.reasons = errors.list().chain(gaps.list()).collect();
    judgement
}

/// Checks whether a capability was shown with a component that replaced the distro's own.
///
/// Returns true when in doubt: a distro gets no credit for components that it does not ship.
fn rests_on(capability: Capability, candidate: Component, what: &Candidate) -> bool {
    let area = capability.area();
    let is_of_a_release = matches!(what, Candidate::OfRelease(_));
    match candidate {
        // These VMMs start only their own guests; Kata's containers run under QEMU.
        Component::CloudHypervisor | Component::Firecracker => capability.other_vmm() == Some(candidate),
        Component::Virtiofsd => match area {
            Area::Fs(share) => share == Share::VirtioFs,
            // Of these VMMs, only Firecracker has no virtio-fs.
            Area::Vmm => capability.other_vmm().is_some_and(|vmm| vmm != Component::Firecracker),
            Area::Kata => true,
            Area::Packages | Area::Kernel | Area::Host | Area::Containers => false,
        },
        // The release's modules do not fit another kernel: a kernel from a file, without modules of its own, is only
        // given to Kata's guests; a kernel of another release comes with its modules, for all guests.
        Component::Kernel => match area {
            Area::Vmm | Area::Fs(_) => is_of_a_release,
            Area::Kernel => is_of_a_release && capability != Capability::KernelHost,
            Area::Kata => true,
            Area::Packages | Area::Host | Area::Containers => false,
        },
        // All guests but those of other VMMs run under QEMU. The other components are never brought along.
        Component::Qemu | Component::Containerd | Component::Packages | Component::Record | Component::Kata => {
            match area {
                Area::Vmm => candidate != Component::Qemu || capability.other_vmm().is_none(),
                Area::Kernel => capability != Capability::KernelHost,
                Area::Fs(_) | Area::Kata => true,
                Area::Host => capability == Capability::HostIoUring,
                Area::Packages | Area::Containers => false,
            }
        }
    }
}

/// The result of a required test; a blocked test is traced to the root of the block.
enum RequiredOutcome<'a> {
    Passed,
    Failed(Cause),
    InError(String),
    /// A test that it requires never ran, because the cell could not go on for this reason.
    CellFailed(&'a str),
    Skipped(String),
    NeverRan,
}

fn required_outcome<'a>(
    requirements: &Requirements<'_>,
    evidence: &'a Evidence,
    required: &'a TestId,
) -> RequiredOutcome<'a> {
    let mut test = required;
    let mut seen = BTreeSet::new();
    loop {
        let blocked = |why: &str| match test == required {
            true => without_varying(why),
            false => format!("blocked by {test}: {}", without_varying(why)),
        };
        let Some(last) = evidence.outcomes.get(test) else {
            // Any test that is required is in the catalogue.
            return match &evidence.error {
                _ if test == required => RequiredOutcome::NeverRan,
                _ if !requirements.is_in_catalogue(test) => {
                    RequiredOutcome::InError(blocked("the catalogue has no such test"))
                }
                Some(error) => RequiredOutcome::CellFailed(error),
                None => RequiredOutcome::Skipped(blocked(NEVER_RAN)),
            };
        };
        match &last.outcome {
            Outcome::Pass if test == required => return RequiredOutcome::Passed,
            Outcome::Pass => return RequiredOutcome::InError(blocked("which passed in the end")),
            Outcome::Fail(failure) => {
                // A failure only holds the places.
                let (asked_for, by_share) = match requirements.is_asked_for_by_share(test) {
                    true => (Vec::new(), failure.asked_for.clone()),
                    false => (failure.asked_for.clone(), Vec::new()),
                };
                return RequiredOutcome::Failed(Cause {
                    test: test.clone(),
                    component: failure.component,
                    message: without_varying(&failure.observed),
                    signature: failure.signature.clone(),
                    expected: failure.expected.clone(),
                    asked_for,
                    by_share,
                });
            }
            Outcome::Error { message } => return RequiredOutcome::InError(blocked(message)),
            Outcome::Skip { reason } => return RequiredOutcome::Skipped(blocked(reason)),
            Outcome::Blocked { by } => {
                if !seen.insert(test) {
                    return RequiredOutcome::InError(blocked("the tests block each other"));
                }
                test = by;
            }
        }
    }
}

/// Reasons with the tests that each applies to.
#[derive(Default)]
struct Reasons(BTreeMap<(String, ReasonSource), Vec<TestId>>);

impl Reasons {
    fn add(&mut self, why: String, source: ReasonSource, test: &TestId) {
        self.0.entry((why, source)).or_default().push(test.clone());
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn list(self) -> impl Iterator<Item = Reason> {
        self.0.into_iter().map(|((why, source), tests)| Reason { why, tests, source })
    }
}

#[cfg(test)]
mod tests;
