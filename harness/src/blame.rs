//! Search for the component at fault in a failure: the one that turns the test green when it is swapped for that of a
//! release where the test passes.
//!
//! This is a pure planner: it decides what to run next and what the results so far prove; it runs nothing.
//!
//! The control comes first: the same test again, with nothing swapped. Unless the control fails each time and in the
//! same way, a swap that turns the test green would prove nothing, and there is no verdict. Then come the swaps, the
//! smallest first: one component, two, all; among swaps of the same size the daemon before the VMM, and the VMM before
//! the kernel. The first swap with which the test passes each time is the answer, if the test failed each time with
//! every part of that swap. If the test was not judged with a part, or passed only sometimes, that part may suffice,
//! and the other components of the swap would be blamed for nothing.

use model::arch::Arch;
use model::distro::{DistroId, ReleaseVersion, Target};
use model::environment::Environment;
use model::profile::ProfileName;
use model::record::Record;
use model::share::Share;
use model::verified::{Verdict, VerifiedEntry};
use std::fmt;
use suites::capability::Capability;
use suites::catalogue::{Place, Test};
use suites::outcome::{Component, Outcome};

/// How often the test is run in each step: one pass of a test that is flaky proves nothing.
pub const TIMES: u32 = 2;

/// Combined result of the attempts of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// All attempts passed.
    Passed,
    /// All attempts failed, in the same way.
    Failed {
        /// Signature of the failures.
        signature: String,
    },
    /// Some attempts passed and some failed.
    Sometimes {
        /// Number of attempts that passed.
        passed: usize,
        /// Number of attempts.
        of: usize,
    },
    /// The attempts prove nothing, for this reason.
    Unjudged(String),
}

impl Seen {
    /// Combines the outcomes of attempts.
    pub fn of<'a>(attempts: impl IntoIterator<Item = &'a Outcome>) -> Seen {
        let (mut passed, mut failed, mut other, mut unjudged) = (0, Vec::<String>::new(), None, 0);
        for outcome in attempts {
            match outcome {
                Outcome::Pass => passed += 1,
                Outcome::Fail(failure) => failed.push(failure.signature.clone()),
                Outcome::Skip { reason } => other = Some(reason.clone()),
                Outcome::Blocked { by } => other = Some(format!("blocked by {by}")),
                Outcome::Error { message } => other = Some(message.clone()),
            }
            unjudged += usize::from(!matches!(outcome, Outcome::Pass | Outcome::Fail(_)));
        }
        let of = passed + failed.len();
        match (passed, failed.pop(), other) {
            (0, Some(_), Some(why)) => Seen::Unjudged(format!("it failed {of} of {} times: {why}", of + unjudged)),
            (0, Some(signature), None) => match failed.iter().find(|one| **one != signature) {
                None => Seen::Failed { signature },
                Some(one) => Seen::Unjudged(format!("it failed in several ways: {one}, {signature}")),
            },
            (0, None, why) => Seen::Unjudged(why.unwrap_or_else(|| "it never ran".to_owned())),
            (passed, Some(_), _) => Seen::Sometimes { passed, of },
            (_, None, Some(why)) => Seen::Unjudged(why),
            (_, None, None) => Seen::Passed,
        }
    }

    /// Checks whether all attempts failed in the same way, which proves that the swap changes nothing.
    fn is_failure(&self) -> bool {
        match self {
            Seen::Failed { .. } => true,
            Seen::Passed | Seen::Sometimes { .. } | Seen::Unjudged(_) => false,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seen::Passed => f.write_str("passes"),
            Seen::Failed { signature } => write!(f, "fails ({signature})"),
            Seen::Sometimes { passed, of } => write!(f, "passes {passed} of {of} times"),
            Seen::Unjudged(why) => write!(f, "could not be judged ({why})"),
        }
    }
}

/// Returns the components of a test that can be swapped, the smallest first; a swap of a component that takes no part
/// in the test would change nothing.
pub fn parts(test: &Test) -> Vec<Component> {
    let has_guest = match test.place {
        Place::OwnGuest | Place::Machine | Place::Guest | Place::Pair | Place::Kata => true,
        Place::Environment | Place::Vcpu | Place::Runc => false,
    };
    let has_daemon = test.place == Place::Kata || has_guest && test.share == Some(Share::VirtioFs);
    [(Component::Virtiofsd, has_daemon), (Component::Qemu, has_guest), (Component::Kernel, has_guest)]
        .into_iter()
        .filter(|(component, takes_part)| *takes_part || *component == test.blames)
        .map(|(component, _)| component)
        .collect()
}

/// Returns the swaps of these components in the order in which they are tried: the smallest first.
pub fn swaps(parts: &[Component]) -> Vec<Vec<Component>> {
    let count = parts.len().min(8);
    let of = |mask: usize| -> Vec<Component> {
        parts.iter().enumerate().filter(|(place, _)| (mask >> place) & 1 == 1).map(|(_, part)| *part).collect()
    };
    let mut all: Vec<usize> = (1..1 << count).collect();
    // Sorts swaps of the same size by the components that come first in the list: by their bits, read backwards.
    all.sort_by_key(|mask: &usize| (mask.count_ones(), std::cmp::Reverse(mask.reverse_bits())));
    all.into_iter().map(of).collect()
}

/// Next step of the search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Run the test with these components swapped; with none, the control.
    Run(Vec<Component>),
    /// Nothing more to run.
    Done(Finding),
}

/// Conclusion of the search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The smallest swap with which the test passes; it passes with no part of the swap.
    Green(Vec<Component>),
    /// A swap with which the test passes, and parts of the swap that may suffice: no verdict.
    MayBeLess {
        /// The swap.
        green: Vec<Component>,
        /// The parts with which the test was not judged, or passed only sometimes.
        parts: Vec<Vec<Component>>,
    },
    /// The test fails each time with each of the swaps.
    None,
    /// With none of the swaps the test passes each time, but these do not prove that it fails: no verdict.
    NoneCertain(Vec<(Vec<Component>, Seen)>),
    /// The control did not fail again: no verdict.
    Control(Seen),
    /// The control failed in another way, with this signature: no verdict.
    OtherFailure(String),
    /// No component of the test can be swapped: no verdict.
    NothingToSwap,
    /// No recorded release has components to swap in: no verdict.
    NoDonor,
}

impl Finding {
    /// Checks whether the finding proves anything about the failure.
    pub fn is_verdict(&self) -> bool {
        matches!(self, Finding::Green(_) | Finding::None)
    }
}

/// Returns what to do after these steps, of which the first is the control; `signature` is that of the failure, empty
/// if it is not known.
pub fn next(swaps: &[Vec<Component>], signature: &str, seen: &[Seen]) -> Next {
    if swaps.is_empty() {
        return Next::Done(Finding::NothingToSwap);
    }
    let Some((control, tried)) = seen.split_first() else { return Next::Run(Vec::new()) };
    match control {
        Seen::Failed { signature: other } if !signature.is_empty() && other != signature => {
            return Next::Done(Finding::OtherFailure(other.clone()));
        }
        Seen::Failed { .. } => {}
        other => return Next::Done(Finding::Control(other.clone())),
    }
    if let Some((green, _)) = swaps.iter().zip(tried).find(|(_, seen)| **seen == Seen::Passed) {
        let may_do = |(swap, seen): &(&Vec<Component>, &Seen)| is_a_part(swap, green) && !seen.is_failure();
        let parts: Vec<Vec<Component>> = swaps.iter().zip(tried).filter(may_do).map(|(swap, _)| swap.clone()).collect();
        let green = green.clone();
        return Next::Done(if parts.is_empty() { Finding::Green(green) } else { Finding::MayBeLess { green, parts } });
    }
    if let Some(swap) = swaps.get(tried.len()) {
        return Next::Run(swap.clone());
    }
    let uncertain = swaps.iter().zip(tried).filter(|(_, seen)| !seen.is_failure());
    let uncertain: Vec<_> = uncertain.map(|(swap, seen)| (swap.clone(), seen.clone())).collect();
    Next::Done(if uncertain.is_empty() { Finding::None } else { Finding::NoneCertain(uncertain) })
}

/// Checks whether `one` is a proper subset of `whole`.
fn is_a_part(one: &[Component], whole: &[Component]) -> bool {
    one.len() < whole.len() && one.iter().all(|component| whole.contains(component))
}

/// Place where a test failed.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// `debian`.
    pub distro: &'a DistroId,
    /// `12`.
    pub release: &'a ReleaseVersion,
    /// Its architecture.
    pub arch: Arch,
    /// The environment of the cell.
    pub environment: Environment,
    /// The profile of the failed test.
    pub profile: &'a ProfileName,
}

/// Returns the release that the components are taken from: one for which every capability that the test proves is
/// recorded as supported under the profile. Results in the same environment are preferred, then a release of the same
/// distro, then the one that was tested last.
pub fn donor<'r>(records: impl Iterator<Item = &'r Record>, test: &Test, failed: Failed<'_>) -> Option<Target> {
    let mut best: Option<((bool, bool, jiff::civil::Date), Target)> = None;
    for record in records {
        for release in &record.releases {
            let is_same = record.distro == *failed.distro;
            if is_same && release.version == *failed.release {
                continue;
            }
            for environment in Environment::ALL {
                let fits = |entry: &&VerifiedEntry| {
                    entry.release == release.version
                        && entry.arch == failed.arch
                        && entry.profile == *failed.profile
                        && entry.environment == *environment
                        && !entry.shaped
                        && entry.supplied_components().is_empty()
                };
                let entries: Vec<&VerifiedEntry> = record.verified.iter().filter(fits).collect();
                let Some(day) = supported(&entries, test) else { continue };
                let rank = (*environment == failed.environment, is_same, day);
                if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                    best = Some((rank, record.target(release)));
                }
            }
        }
    }
    best.map(|(_, target)| target)
}

/// Returns the earliest of the days on which the capabilities that a test proves were tested; `None` unless the entries
/// have all of them as supported.
fn supported(entries: &[&VerifiedEntry], test: &Test) -> Option<jiff::civil::Date> {
    let one = |capability: &Capability| {
        let known = entries.iter().find_map(|entry| Some((entry, entry.capabilities.get(capability)?)));
        known.filter(|(_, found)| found.verdict == Verdict::Supported).map(|(entry, _)| entry.tested)
    };
    let days: Option<Vec<jiff::civil::Date>> = test.proves.iter().map(one).collect();
    days?.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Component::{Kernel, Qemu, Virtiofsd};
    use model::database::Database;
    use suites::catalogue;
    use suites::outcome::Failure;

    fn failed() -> Seen {
        Seen::Failed { signature: "s".to_owned() }
    }

    #[test]
    fn the_smallest_swap_is_tried_first() {
        let all = [Virtiofsd, Qemu, Kernel];
        let expected: [&[Component]; 7] = [
            &[Virtiofsd],
            &[Qemu],
            &[Kernel],
            &[Virtiofsd, Qemu],
            &[Virtiofsd, Kernel],
            &[Qemu, Kernel],
            &[Virtiofsd, Qemu, Kernel],
        ];
        assert_eq!(swaps(&all), expected);
        assert_eq!(swaps(&all[1..2]), [[Qemu]]);
        assert!(swaps(&[]).is_empty());
    }

    #[test]
    fn results_so_far_decide_the_next_step_or_the_finding() {
        let swaps = swaps(&[Virtiofsd, Qemu]);
        let unjudged = || Seen::Unjudged("the line ended".to_owned());
        let sometimes = || Seen::Sometimes { passed: 1, of: 2 };
        let other = Seen::Failed { signature: "t".to_owned() };
        for (seen, expected) in [
            (vec![], Next::Run(vec![])),
            (vec![failed()], Next::Run(vec![Virtiofsd])),
            (vec![failed(), failed()], Next::Run(vec![Qemu])),
            (vec![failed(), Seen::Passed], Next::Done(Finding::Green(vec![Virtiofsd]))),
            // A test that passes only sometimes is not turned green.
            (vec![failed(), sometimes()], Next::Run(vec![Qemu])),
            (vec![failed(), unjudged()], Next::Run(vec![Qemu])),
            // A failure with another signature is still a failure.
            (vec![failed(), other.clone()], Next::Run(vec![Qemu])),
            (vec![failed(), failed(), failed()], Next::Run(vec![Virtiofsd, Qemu])),
            (vec![failed(), failed(), failed(), Seen::Passed], Next::Done(Finding::Green(vec![Virtiofsd, Qemu]))),
            // A part of the swap may have sufficed, so neither component is blamed.
            (
                vec![failed(), failed(), unjudged(), Seen::Passed],
                Next::Done(Finding::MayBeLess { green: vec![Virtiofsd, Qemu], parts: vec![vec![Qemu]] }),
            ),
            (
                vec![failed(), sometimes(), unjudged(), Seen::Passed],
                Next::Done(Finding::MayBeLess {
                    green: vec![Virtiofsd, Qemu],
                    parts: vec![vec![Virtiofsd], vec![Qemu]],
                }),
            ),
            // A swap that is not a part of the green one does not count against it.
            (vec![failed(), unjudged(), Seen::Passed], Next::Done(Finding::Green(vec![Qemu]))),
            (vec![failed(), failed(), failed(), failed()], Next::Done(Finding::None)),
            // A swap that helps only sometimes is not a swap that changes nothing.
            (
                vec![failed(), failed(), sometimes(), failed()],
                Next::Done(Finding::NoneCertain(vec![(vec![Qemu], sometimes())])),
            ),
            (
                vec![failed(), failed(), unjudged(), failed()],
                Next::Done(Finding::NoneCertain(vec![(vec![Qemu], unjudged())])),
            ),
            (vec![Seen::Passed], Next::Done(Finding::Control(Seen::Passed))),
            (vec![sometimes()], Next::Done(Finding::Control(sometimes()))),
            (vec![unjudged()], Next::Done(Finding::Control(unjudged()))),
            (vec![other], Next::Done(Finding::OtherFailure("t".to_owned()))),
        ] {
            assert_eq!(next(&swaps, "s", &seen), expected, "{seen:?}");
        }
        let unknown = [Seen::Failed { signature: "t".to_owned() }];
        assert_eq!(next(&swaps, "", &unknown), Next::Run(vec![Virtiofsd]), "nobody knows how it failed before");
        assert_eq!(next(&[], "s", &[]), Next::Done(Finding::NothingToSwap));
        // A pair that could not be judged is not a part of another pair.
        let three = super::swaps(&[Virtiofsd, Qemu, Kernel]);
        let seen = [failed(), failed(), failed(), failed(), unjudged(), Seen::Passed];
        assert_eq!(next(&three, "s", &seen), Next::Done(Finding::Green(vec![Virtiofsd, Kernel])));
        for (finding, is_verdict) in [
            (Finding::Green(vec![Qemu]), true),
            (Finding::None, true),
            (Finding::MayBeLess { green: vec![Virtiofsd, Qemu], parts: vec![vec![Qemu]] }, false),
            (Finding::NoneCertain(vec![]), false),
            (Finding::Control(Seen::Passed), false),
            (Finding::NothingToSwap, false),
            (Finding::NoDonor, false),
        ] {
            assert_eq!(finding.is_verdict(), is_verdict, "{finding:?}");
        }
    }

    #[test]
    fn attempts_of_a_step_are_summed_up() {
        let fail =
            |signature: &str| Outcome::Fail(Failure { signature: signature.to_owned(), ..Failure::new(Qemu, "x") });
        let error = || Outcome::Error { message: "the line ended".to_owned() };
        let unjudged = |why: &str| Seen::Unjudged(why.to_owned());
        for (attempts, expected) in [
            (vec![], unjudged("it never ran")),
            (vec![Outcome::Pass, Outcome::Pass], Seen::Passed),
            (vec![fail("s"), fail("s")], failed()),
            // What failed in another way, or could not be judged once, is no repetition.
            (vec![fail("a"), fail("s")], unjudged("it failed in several ways: a, s")),
            (vec![error(), fail("s")], unjudged("it failed 1 of 2 times: the line ended")),
            (vec![fail("s"), error()], unjudged("it failed 1 of 2 times: the line ended")),
            (vec![Outcome::Pass, fail("s"), fail("s")], Seen::Sometimes { passed: 1, of: 3 }),
            // One pass is not enough if the other attempt could not be judged.
            (vec![Outcome::Pass, error()], unjudged("the line ended")),
            (vec![Outcome::Blocked { by: "smoke::x".parse().unwrap() }], unjudged("blocked by smoke::x")),
        ] {
            assert_eq!(Seen::of(&attempts), expected, "{attempts:?}");
        }
    }

    #[test]
    fn only_components_that_a_test_uses_are_swapped() {
        let of = |id: &str| parts(catalogue::find(id).unwrap());
        assert_eq!(of("filesystem::virtio_fs::rename_is_atomic"), [Virtiofsd, Qemu, Kernel]);
        assert_eq!(of("filesystem::virtio_blk::rename_is_atomic"), [Qemu, Kernel]);
        for test in catalogue::tests() {
            let parts = parts(test);
            match test.place {
                Place::Kata => assert_eq!(parts, [Virtiofsd, Qemu, Kernel], "{}", test.id),
                Place::Runc | Place::Vcpu | Place::Environment => {
                    assert!(parts.iter().all(|part| *part == test.blames), "{}: {parts:?}", test.id);
                }
                _ => assert!(parts.ends_with(&[Qemu, Kernel]), "{}: {parts:?}", test.id),
            }
        }
    }

    #[test]
    fn a_donor_is_a_release_whose_record_has_all_that_the_test_proves() {
        let database = Database::embedded();
        let test = catalogue::find("filesystem::virtio_fs::rename_is_atomic").unwrap();
        let bookworm: Target = "debian:12".parse().unwrap();
        let (profile, unknown) = ("go-3.32".parse().unwrap(), "go-none".parse().unwrap());
        let failed = Failed {
            distro: &bookworm.distro,
            release: &bookworm.version,
            arch: Arch::X86_64,
            environment: Environment::Container,
            profile: &profile,
        };
        let target = donor(database.records(), test, failed).unwrap();
        assert_ne!(target, bookworm);
        let record = database.record(&target.distro).unwrap();
        let shows = |entry: &&VerifiedEntry| {
            entry.release == target.version
                && entry.profile == "go-3.32"
                && test
                    .proves
                    .iter()
                    .all(|c| entry.capabilities.get(c).is_some_and(|v| v.verdict == Verdict::Supported))
        };
        assert!(record.verified.iter().any(|entry| shows(&entry)), "{target}");
        let unknown = Failed { profile: &unknown, ..failed };
        assert_eq!(donor(database.records(), test, unknown), None);
    }
}
