//! `verified`: whether this combination was proved, for which profile, on what basis, how long ago, and which versions.
//!
//! For each requested capability, only runs with the installed versions of its packages count. Among these, the
//! environment that shows most decides, by the current tests if any run has them ([`proof`]).
//! Packages of a container manager are irrelevant for capabilities that start no container.
//! By default, all capabilities are requested that the profile's Kata does not run without, as in the reports' answer:
//! a container shows no vsock, and a capability that nothing has shown is not verified.

use super::check::{packages, unreadable};
use super::show::{OLDER_TESTS, ago, named};
use super::support;
use super::system::{GlobalArguments, System, TargetArguments};
use super::{Exit, Failed, Format, json, print, problems, yes_no};
use clap::Args;
use jiff::civil::Date;
use model::capability::Capability;
use model::database::Database;
use model::environment::Environment;
use model::package::{PackageName, PackageVersion};
use model::profile::{Profile, ProfileName};
use model::record::{ComponentKind, Record};
use model::verified::{Verdict, decisive, joined};
use model::words::{form, list_and};
use operator::standing::{VerifiedStanding, standing};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Arguments of `verified`.
#[derive(Debug, Args)]
pub(crate) struct VerifiedArguments {
    /// The profile of the Kata version: `rs-4.0`; by default those of maintained Kata.
    #[arg(long)]
    profile: Vec<String>,
    /// A capability that must be supported; by default all that these versions of Kata require.
    #[arg(long)]
    capability: Vec<Capability>,
    #[command(flatten)]
    pub(crate) about: TargetArguments,
}

pub(crate) fn run(common: &GlobalArguments, arguments: &VerifiedArguments) -> anyhow::Result<Exit> {
    let profiles: Vec<&Profile> = match arguments.profile.is_empty() {
        true => Profile::maintained().collect(),
        false => {
            let found: Result<Vec<&Profile>, _> = arguments.profile.iter().map(|p| Profile::find(p)).collect();
            found.map_err(|e| Failed::new(Exit::BadInput, "unknown-profile", e.to_string()))?
        }
    };
    let system = System::find(common, &arguments.about)?;
    let packages = packages(&system)?;
    let manager_packages = manager_packages(&system);
    let today = jiff::Zoned::now().date();
    let mut answers = Vec::new();
    for profile in &profiles {
        let requested = match arguments.capability.is_empty() {
            true => profile.needs().collect(),
            false => arguments.capability.clone(),
        };
        let entries = system.record.verified.iter();
        let entries = entries
            .filter(|v| v.release == system.target.version && v.arch == system.arch && v.profile == profile.name);
        // Each run that judged only some capabilities has an entry; entries with the same packages are merged.
        let mut entries = joined(entries);
        // Within one environment, results with the distro's own packages take precedence.
        entries.sort_by_key(|entry| (entry.shaped, !entry.supplied_components().is_empty()));
        let runs = entries.iter().map(|v| standing(v, &requested, &manager_packages, packages.as_ref(), today));
        let runs: Vec<VerifiedStanding> = runs.collect::<Result<_, _>>().map_err(|e| unreadable(&e))?;
        answers.push(ProfileAnswer { profile: &profile.name, requested, runs });
    }
    let exit = if answers.iter().all(ProfileAnswer::is_yes) { Exit::Ok } else { Exit::No };
    if arguments.about.format == Format::Json {
        let profiles: Vec<serde_json::Value> = answers
            .iter()
            .map(|answer| {
                let ProfileAnswer { profile, runs, .. } = answer;
                serde_json::json!({ "profile": profile, "verified": answer.is_yes(), "entries": runs })
            })
            .collect();
        let unproved = answers.iter().filter(|answer| !answer.is_yes());
        let unproved = unproved.map(|ProfileAnswer { profile, runs, .. }| match runs.is_empty() {
            true => format!("{profile}: no run for {} on {} is recorded", system.target, system.arch),
            false => format!("{profile}: not everything was proved with the installed versions"),
        });
        json(&serde_json::json!({
            "version": 1, "system": system.json(), "verified": exit == Exit::Ok, "profiles": profiles,
            "problems": problems(unproved),
        }))?;
        return Ok(exit);
    }
    let mut out = String::new();
    for answer in &answers {
        let word = if answer.is_yes() { "verified" } else { "not verified" };
        let rest = answer.in_one_line(today);
        let support = support::today(&system.entry).words().map(|words| format!("; {words}")).unwrap_or_default();
        let _ = writeln!(out, "{}: {word}{rest}{support}", answer.profile);
        if answer.runs.is_empty() {
            let _ = writeln!(out, "  no run for {} on {} is recorded", system.target, system.arch);
        }
        answer.runs.iter().for_each(|s| out += &details(s));
    }
    print(&out)?;
    Ok(exit)
}

/// Returns the packages that only the release's container managers have, by the system's and the shipped records: an
/// admin's record may have none, because the manager comes from elsewhere, while the verified runs had some.
fn manager_packages(system: &System) -> BTreeSet<PackageName> {
    let shipped = Database::embedded();
    let mut all = BTreeSet::new();
    let mut others = BTreeSet::new();
    for record in [Some(&system.record), shipped.record(&system.target.distro).ok()].into_iter().flatten() {
        for kind in ComponentKind::ALL {
            let into = if kind == ComponentKind::ContainerManager { &mut all } else { &mut others };
            into.extend(packages_of(record, system, kind));
        }
    }
    all.retain(|package| !others.contains(package));
    all
}

/// Returns a record's packages of a kind of component.
fn packages_of(record: &Record, system: &System, kind: ComponentKind) -> Vec<PackageName> {
    let Some(entry) = record.find_release(&system.target.version) else { return Vec::new() };
    let named = record.components(entry, system.arch, &[kind]);
    named.into_iter().filter_map(|(kind, name)| record.packages_of(entry, system.arch, kind, &name)).flatten().collect()
}

/// Answer for a profile.
struct ProfileAnswer<'p> {
    profile: &'p ProfileName,
    /// The requested capabilities.
    requested: Vec<Capability>,
    /// The recorded runs.
    runs: Vec<VerifiedStanding>,
}

/// Requested capabilities that some runs prove together.
struct Proof<'s> {
    /// Capabilities that the runs do not show to be supported.
    lacking: Vec<Capability>,
    /// The runs that show the other capabilities.
    by: Vec<&'s VerifiedStanding>,
}

/// Returns what runs prove together; `is_one` selects the runs that count for a capability.
///
/// For each capability, the environment that shows most decides, among the results of the current tests. If the results
/// of all tests together are negative, that stands: older tests required less, and their failures were not seen fixed.
/// So does a failure of another environment that is later than the pass.
/// The reports' answer follows the same rule (`reports::standing::answer`).
fn proof<'s>(
    requested: &[Capability],
    all: &'s [VerifiedStanding],
    is_one: impl Fn(&VerifiedStanding, Capability) -> bool,
) -> Proof<'s> {
    let mut proof = Proof { lacking: Vec::new(), by: Vec::new() };
    for capability in requested {
        let runs: Vec<&'s VerifiedStanding> = all.iter().filter(|run| is_one(run, *capability)).collect();
        let results = |of_today: bool| {
            runs.iter().filter_map(move |run| {
                let (verdict, by_older_tests) = run.verdict(*capability)?;
                (!of_today || !by_older_tests).then_some((*run, verdict))
            })
        };
        // Among equals the last one counts, so the order is reversed: the distro's own packages come first.
        let counts = |of_today| decisive(results(of_today).rev().map(|(run, verdict)| (run.environment, verdict)));
        let by_any = counts(false).filter(|(_, verdict)| *verdict == Verdict::Supported);
        let counts = by_any.map(|by_any| counts(true).unwrap_or(by_any));
        let shows = |(run, verdict): &(&VerifiedStanding, Verdict)| {
            *verdict == Verdict::Supported && counts == Some((run.environment, *verdict))
        };
        // What was not seen with the distro's own packages says nothing about them.
        let failed_later = |pass: &VerifiedStanding| {
            results(false).any(|(run, verdict)| {
                let is_later = run.environment != pass.environment && run.tested > pass.tested;
                verdict == Verdict::Unsupported && is_later && (pass.shaped || !run.shaped)
            })
        };
        match results(true).chain(results(false)).find(shows) {
            Some((run, _)) if failed_later(run) => proof.lacking.push(*capability),
            Some((run, _)) if proof.by.contains(&run) => {}
            Some((run, _)) => proof.by.push(run),
            None => proof.lacking.push(*capability),
        }
    }
    proof
}

impl ProfileAnswer<'_> {
    /// Returns what the runs prove whose packages are as installed here.
    fn proof(&self) -> Proof<'_> {
        proof(&self.requested, &self.runs, VerifiedStanding::matches_for)
    }

    fn is_yes(&self) -> bool {
        let proof = self.proof();
        proof.lacking.is_empty() && !proof.by.is_empty()
    }

    /// Formats the basis of the answer: the runs that prove it, else the latest run that proves most.
    ///
    /// For example `, by a run in container on emulated basis, 12 days ago; differs here: qemu 1 → 2`.
    fn in_one_line(&self, today: Date) -> String {
        if self.is_yes() {
            return format!("{}; the same versions here", by(&self.proof().by, today));
        }
        let shown = |run: &VerifiedStanding| {
            run.capabilities.iter().filter(|judged| judged.verdict == Some(Verdict::Supported)).count()
        };
        let Some(best) = self.runs.iter().max_by_key(|run| (shown(run), run.matches, run.tested)) else {
            return String::new();
        };
        let mut out = by(&[best], today);
        let lacking = match best.matches {
            true => self.proof().lacking,
            false => proof(&self.requested, &self.runs, |run, _| !run.matches).lacking,
        };
        let lacking: Vec<&str> = lacking.iter().map(|capability| capability.name()).collect();
        if !lacking.is_empty() {
            let _ = write!(out, "; not supported: {}", named(&lacking));
        }
        let differing = best.versions.iter().filter(|pair| !pair.is_the_same());
        let differing: Vec<String> = differing
            .map(|pair| {
                let now = pair.installed.as_ref().map_or("not installed", PackageVersion::as_str);
                format!("{} {} → {now}", pair.package, pair.verified)
            })
            .collect();
        match differing.is_empty() {
            true => out += "; the same versions here",
            false => {
                let differing: Vec<&str> = differing.iter().map(String::as_str).collect();
                let _ = write!(out, "; differs here: {}", named(&differing));
            }
        }
        out
    }
}

/// Formats `, by runs in container and vm on emulated basis, 12 days ago`, with the weaker basis and the oldest day.
fn by(runs: &[&VerifiedStanding], today: Date) -> String {
    let environments: BTreeSet<Environment> = runs.iter().map(|run| run.environment).collect();
    let what = form(runs.len(), "a run", "runs");
    let is_shaped = runs.iter().any(|run| run.shaped);
    let basis = runs.iter().map(|run| run.basis).max().map_or_else(String::new, |basis| basis.marked(is_shaped));
    let age = runs.iter().map(|run| run.tested).min().map_or_else(String::new, |tested| ago(tested, today));
    let older = if runs.iter().any(|run| run.older_tests) { OLDER_TESTS } else { "" };
    format!(", by {what} in {} on {basis} basis, {age}{older}", list_and(environments))
}

fn details(standing: &VerifiedStanding) -> String {
    let mut out = format!(
        "  {} on {} basis, {} ({} days ago), harness {}: supported {}, same versions {}\n",
        standing.environment,
        standing.basis.marked(standing.shaped),
        standing.tested,
        standing.age_days,
        standing.harness,
        yes_no(standing.supported),
        yes_no(standing.matches),
    );
    for judged in &standing.capabilities {
        let verdict = judged.verdict.map_or("not judged", |v| v.name());
        let flaky = if judged.flaky { ", flaky" } else { "" };
        let _ = writeln!(out, "    {} {verdict}{flaky}", judged.capability);
        judged.causes.iter().for_each(|cause| out += &format!("      {cause}\n"));
    }
    for pair in standing.versions.iter().filter(|pair| !pair.is_the_same()) {
        let now = pair.installed.as_ref().map_or("not installed", PackageVersion::as_str);
        let _ = writeln!(out, "    {} was {}, is {now}", pair.package, pair.verified);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use model::verified::Basis;
    use operator::standing::{CapabilityVerdict, VersionPair};

    /// Returns a run in a container that judged booting.
    fn standing(supported: bool, installed: Option<&str>) -> VerifiedStanding {
        let verdict = if supported { Verdict::Supported } else { Verdict::Unsupported };
        let capability = CapabilityVerdict {
            capability: Capability::VmmBoot,
            verdict: Some(verdict),
            flaky: false,
            causes: vec![],
            older_tests: false,
        };
        let installed: Option<PackageVersion> = installed.map(|version| version.parse().unwrap());
        let verified: PackageVersion = "1-1".parse().unwrap();
        let matches = installed.as_ref() == Some(&verified);
        VerifiedStanding {
            profile: "go-3.32".parse().unwrap(),
            environment: Environment::Container,
            basis: Basis::Emulated,
            shaped: false,
            tested: date(2026, 11, 1),
            age_days: 1,
            harness: "0.1.0".to_owned(),
            older_tests: false,
            capabilities: vec![capability],
            versions: vec![VersionPair { package: "qemu".parse().unwrap(), verified, installed, of_manager: false }],
            supported,
            matches,
        }
    }

    fn answer(requested: &[Capability], runs: &[VerifiedStanding]) -> (bool, String) {
        let profile = &"go-3.32".parse().unwrap();
        let answer = ProfileAnswer { profile, requested: requested.to_vec(), runs: runs.to_vec() };
        (answer.is_yes(), answer.in_one_line(date(2026, 11, 3)))
    }

    #[test]
    fn the_answer_is_one_line() {
        let line = |runs: &[VerifiedStanding]| answer(&[Capability::VmmBoot], runs).1;
        assert_eq!(line(&[]), "");
        let run = ", by a run in container on emulated basis, 2 days ago";
        assert_eq!(line(&[standing(true, Some("1-1"))]), format!("{run}; the same versions here"));
        assert_eq!(line(&[standing(true, Some("1-2"))]), format!("{run}; differs here: qemu 1-1 → 1-2"));
        let worst = format!("{run}; not supported: vmm.boot; differs here: qemu 1-1 → not installed");
        assert_eq!(line(&[standing(false, None)]), worst);
        let older = VerifiedStanding { older_tests: true, ..standing(true, Some("1-1")) };
        assert_eq!(line(&[older]), format!("{run}, by an older set of tests; the same versions here"));
        // Of several runs, the one that proves most is shown.
        let several = [standing(false, Some("1-1")), standing(true, Some("1-2"))];
        assert_eq!(line(&several), line(&several[1..]));
    }

    #[test]
    fn a_flaky_verdict_says_so() {
        let mut run = standing(true, Some("1-1"));
        assert!(details(&run).contains("    vmm.boot supported\n"), "{}", details(&run));
        run.capabilities[0].flaky = true;
        assert!(details(&run).contains("    vmm.boot supported, flaky\n"), "{}", details(&run));
        assert!(answer(&[Capability::VmmBoot], &[run]).0, "it passed in the end");
    }

    /// A machine shows capabilities that a container cannot show, and outranks it, if its packages are installed.
    #[test]
    fn runs_in_several_environments_are_combined() {
        let requested = [Capability::VmmBoot, Capability::VmmVsock];
        let machine = |capability, verdict, installed| {
            let judged = CapabilityVerdict {
                capability,
                verdict: Some(verdict),
                flaky: false,
                causes: vec![],
                older_tests: false,
            };
            VerifiedStanding {
                environment: Environment::Vm,
                capabilities: vec![judged],
                tested: date(2026, 10, 31),
                ..standing(true, installed)
            }
        };
        let container = || standing(true, Some("1-1"));
        let (is_yes, line) = answer(&requested, &[container()]);
        assert_eq!(
            line.split_once("; "),
            Some((
                ", by a run in container on emulated basis, 2 days ago",
                "not supported: vmm.vsock; the same versions here"
            ))
        );
        assert!(!is_yes, "nobody has shown vsock");
        let vsock = |installed| machine(Capability::VmmVsock, Verdict::Supported, installed);
        let (is_yes, line) = answer(&requested, &[container(), vsock(Some("1-1"))]);
        assert_eq!(line, ", by runs in container and vm on emulated basis, 3 days ago; the same versions here");
        assert!(is_yes);
        assert!(!answer(&requested, &[container(), vsock(Some("1-2"))]).0, "of other packages");
        let no_boot = machine(Capability::VmmBoot, Verdict::Unsupported, Some("1-1"));
        assert!(!answer(&requested[..1], &[container(), no_boot]).0, "the machine outranks the container");
        let boots = || machine(Capability::VmmBoot, Verdict::Supported, Some("1-1"));
        assert!(!answer(&requested[..1], &[standing(false, Some("1-1")), boots()]).0, "the container failed later");
        let before = VerifiedStanding { tested: date(2026, 10, 30), ..standing(false, Some("1-1")) };
        assert!(answer(&requested[..1], &[before, boots()]).0, "the machine passed later");
        let of_others = VerifiedStanding { shaped: true, ..standing(false, Some("1-1")) };
        assert!(answer(&requested[..1], &[of_others, boots()]).0, "other packages");
        let unknown = machine(Capability::VmmBoot, Verdict::Untested, Some("1-1"));
        assert!(answer(&requested[..1], &[container(), unknown]).0, "and not where it has not decided");
        let by_older_tests = |mut run: VerifiedStanding| {
            run.capabilities.iter_mut().for_each(|judged| judged.older_tests = true);
            run
        };
        let machine = |verdict| machine(Capability::VmmBoot, verdict, Some("1-1"));
        let failed = || standing(false, Some("1-1"));
        let runs = [failed(), by_older_tests(machine(Verdict::Supported))];
        assert!(!answer(&requested[..1], &runs).0, "today's tests of a container come before older ones of a machine");
        let runs = [container(), by_older_tests(machine(Verdict::Unsupported))];
        assert!(!answer(&requested[..1], &runs).0, "nobody has seen that what failed older tests is mended");
        assert!(answer(&requested[..1], &[by_older_tests(container())]).0, "older tests alone still show it");
        // Within one environment, the distro's own packages take precedence, and their results come first.
        let shaped = |supported| VerifiedStanding { shaped: true, ..standing(supported, Some("1-1")) };
        assert!(answer(&requested[..1], &[container(), shaped(false)]).0);
        assert!(!answer(&requested[..1], &[failed(), shaped(true)]).0);
    }

    /// A run with an older container manager still proves its guests, but not its containers.
    #[test]
    fn a_container_manager_version_matters_only_for_containers() {
        let judged = |capability| CapabilityVerdict {
            capability,
            verdict: Some(Verdict::Supported),
            flaky: false,
            causes: vec![],
            older_tests: false,
        };
        let requested = [Capability::VmmBoot, Capability::KataControl];
        let machine = |capability, installed: Option<&str>| {
            let mut run = standing(true, Some("1-1"));
            run.capabilities = vec![judged(capability)];
            run.versions.push(VersionPair {
                package: "containerd".parse().unwrap(),
                verified: "2-1".parse().unwrap(),
                installed: installed.map(|version| version.parse().unwrap()),
                of_manager: true,
            });
            run.matches = run.versions.iter().all(VersionPair::is_the_same);
            run
        };
        let (boots, controls) = (Capability::VmmBoot, Capability::KataControl);
        assert!(answer(&requested, &[machine(boots, Some("1-1")), machine(controls, Some("2-1"))]).0);
        let runs = [machine(boots, Some("2-1")), machine(controls, Some("1-1"))];
        let (is_yes, line) = answer(&requested, &runs);
        assert!(!is_yes && line.contains("kata.control"), "{line}");
        assert!(!answer(&requested[1..], &[machine(controls, None)]).0, "without a manager there are no containers");
    }
}
