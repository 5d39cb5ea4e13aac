//! `verified`: whether this combination was proved, for which profile, on what basis, how long ago, and of these versions.

use super::check::{packages, unreadable};
use super::system::{GlobalArguments, System, TargetArguments};
use super::{Exit, Failed, Format, json, print, problems, yes_no};
use clap::Args;
use model::capability::Capability;
use model::package::PackageVersion;
use model::profile::Profile;
use model::record::ComponentKind;
use model::share::Share;
use model::verified::joined;
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
        let _ = writeln!(out, "{profile}: {}", if proved(standings) { "verified" } else { "not verified" });
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
    let mut capabilities: Vec<Capability> = Capability::of_every_vmm().chain([Capability::KernelGuest]).collect();
    let filesystems = system.stated().into_iter().filter(|s| s.kind == ComponentKind::Fs && s.packaged);
    let share = filesystems.filter_map(|s| Share::of_name(&s.name)).find(|share| profile.shares(*share));
    capabilities.extend(share.map(Capability::of_share));
    capabilities
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
