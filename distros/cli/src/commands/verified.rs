//! `verified`: whether this combination was proved, for which profile, on what basis, how long ago, and of these versions.

use super::check::{packages, unreadable};
use super::show::{OLDER_TESTS, ago, named};
use super::support;
use super::system::{GlobalArguments, System, TargetArguments};
use super::{Exit, Failed, Format, json, print, problems, yes_no};
use clap::Args;
use jiff::civil::Date;
use model::capability::{Area, Capability, Tier};
use model::package::PackageVersion;
use model::profile::Profile;
use model::record::ComponentKind;
use model::share::Share;
use model::verified::{Verdict, joined};
use operator::standing::{VerifiedStanding, standing};
use std::fmt::Write as _;

/// Arguments of `verified`.
#[derive(Debug, Args)]
pub(crate) struct VerifiedArguments {
    /// The profile of the Kata version: `rs-4.0`; by default those of maintained Kata.
    #[arg(long)]
    profile: Vec<String>,
    /// A capability that must be supported; by default booting, the guest kernel and the preferred shared filesystem.
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
    let today = jiff::Zoned::now().date();
    let mut answers = Vec::new();
    for profile in &profiles {
        let capabilities = match arguments.capability.is_empty() {
            true => usual(&system, profile),
            false => arguments.capability.clone(),
        };
        let entries = system.record.verified.iter();
        let entries = entries
            .filter(|v| v.release == system.target.version && v.arch == system.arch && v.profile == profile.name);
        // Each run that judged a part has an entry; what rests on the same packages is told together.
        let entries = joined(entries);
        let standings = entries.iter().map(|v| standing(v, &capabilities, packages.as_ref(), today));
        let standings: Vec<VerifiedStanding> = standings.collect::<Result<_, _>>().map_err(|e| unreadable(&e))?;
        answers.push((profile.name.as_str(), standings));
    }
    // The combination is proved if one environment has proved all of it, of these versions.
    let proved = |standings: &[VerifiedStanding]| standings.iter().any(|s| s.supported && s.matches);
    let exit = if answers.iter().all(|(_, s)| proved(s)) { Exit::Ok } else { Exit::No };
    if arguments.about.format == Format::Json {
        let profiles: Vec<serde_json::Value> = answers
            .iter()
            .map(|(profile, standings)| {
                serde_json::json!({ "profile": profile, "verified": proved(standings), "entries": standings })
            })
            .collect();
        let unproved = answers.iter().filter(|(_, s)| !proved(s)).map(|(profile, s)| match s.is_empty() {
            true => format!("{profile}: no run for {} on {} is recorded", system.target, system.arch),
            false => format!("{profile}: no run has proved all of it in the versions that are installed"),
        });
        json(&serde_json::json!({
            "version": 1, "system": system.json(), "verified": exit == Exit::Ok, "profiles": profiles,
            "problems": problems(unproved),
        }))?;
        return Ok(exit);
    }
    let mut out = String::new();
    for (profile, standings) in &answers {
        let answer = if proved(standings) { "verified" } else { "not verified" };
        let rest = in_one_line(standings, today);
        let support = support::today(&system.entry).words().map(|words| format!("; {words}")).unwrap_or_default();
        let _ = writeln!(out, "{profile}: {answer}{rest}{support}");
        if standings.is_empty() {
            let _ = writeln!(out, "  no run for {} on {} is recorded", system.target, system.arch);
        }
        standings.iter().for_each(|s| out += &told(s));
    }
    print(&out)?;
    Ok(exit)
}

/// What every pod needs of a VMM, the guest kernel, and the first filesystem in the record that the profile knows.
fn usual(system: &System, profile: &Profile) -> Vec<Capability> {
    let of_a_guest = |c: &Capability| c.tier() == Tier::Required && matches!(c.area(), Area::Vmm | Area::Kernel);
    let mut capabilities: Vec<Capability> = profile.needs().filter(of_a_guest).collect();
    let filesystems = system.stated().into_iter().filter(|s| s.kind == ComponentKind::Fs && s.packaged);
    let share = filesystems.filter_map(|s| Share::of_name(&s.name)).find(|share| profile.shares(*share));
    capabilities.extend(share.map(Capability::of_share));
    capabilities
}

/// What the answer rests on: of the runs the one that proves most, the latest of these.
///
/// `, by a run in container on emulated basis, 12 days ago; differs here: qemu 1 → 2`.
fn in_one_line(standings: &[VerifiedStanding], today: Date) -> String {
    let Some(best) = standings.iter().max_by_key(|s| (s.supported, s.matches, s.tested)) else {
        return String::new();
    };
    let (environment, basis, age) = (best.environment, best.basis.marked(best.shaped), ago(best.tested, today));
    let older = if best.older_tests { OLDER_TESTS } else { "" };
    let mut out = format!(", by a run in {environment} on {basis} basis, {age}{older}");
    let is_supported = |verdict: &Option<Verdict>| *verdict == Some(Verdict::Supported);
    let lacking = best.capabilities.iter().filter(|judged| !is_supported(&judged.verdict));
    let lacking: Vec<&str> = lacking.map(|judged| judged.capability.name()).collect();
    if !lacking.is_empty() {
        let _ = write!(out, "; not supported: {}", named(&lacking));
    }
    let differing = best.versions.iter().filter(|pair| pair.installed.as_ref() != Some(&pair.verified));
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

fn told(standing: &VerifiedStanding) -> String {
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
        let _ = writeln!(out, "    {} {verdict}", judged.capability);
        judged.causes.iter().for_each(|cause| out += &format!("      {cause}\n"));
    }
    for pair in standing.versions.iter().filter(|v| v.installed.as_ref() != Some(&v.verified)) {
        let now = pair.installed.as_ref().map_or("not installed", PackageVersion::as_str);
        let _ = writeln!(out, "    {} was {}, is {now}", pair.package, pair.verified);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use model::environment::Environment;
    use model::verified::Basis;
    use operator::standing::{CapabilityStanding, VersionPair};

    fn standing(supported: bool, installed: Option<&str>) -> VerifiedStanding {
        let verdict = if supported { Verdict::Supported } else { Verdict::Unsupported };
        let capability = CapabilityStanding { capability: Capability::VmmBoot, verdict: Some(verdict), causes: vec![] };
        let installed: Option<PackageVersion> = installed.map(|version| version.parse().unwrap());
        let verified: PackageVersion = "1-1".parse().unwrap();
        let matches = installed.as_ref() == Some(&verified);
        VerifiedStanding {
            profile: "go-3.32".to_owned(),
            environment: Environment::Container,
            basis: Basis::Emulated,
            shaped: false,
            tested: date(2026, 11, 1),
            age_days: 1,
            harness: "0.1.0".to_owned(),
            older_tests: false,
            capabilities: vec![capability],
            versions: vec![VersionPair { package: "qemu".parse().unwrap(), verified, installed }],
            supported,
            matches,
        }
    }

    #[test]
    fn the_answer_is_one_line() {
        let today = date(2026, 11, 3);
        let line = |standings: &[VerifiedStanding]| in_one_line(standings, today);
        assert_eq!(line(&[]), "");
        let run = ", by a run in container on emulated basis, 2 days ago";
        assert_eq!(line(&[standing(true, Some("1-1"))]), format!("{run}; the same versions here"));
        assert_eq!(line(&[standing(true, Some("1-2"))]), format!("{run}; differs here: qemu 1-1 → 1-2"));
        let worst = format!("{run}; not supported: vmm.boot; differs here: qemu 1-1 → not installed");
        assert_eq!(line(&[standing(false, None)]), worst);
        let older = VerifiedStanding { older_tests: true, ..standing(true, Some("1-1")) };
        assert_eq!(line(&[older]), format!("{run}, by an older set of tests; the same versions here"));
        // Of several the one that proves most.
        let several = [standing(false, Some("1-1")), standing(true, Some("1-2"))];
        assert_eq!(line(&several), line(&several[1..]));
    }
}
