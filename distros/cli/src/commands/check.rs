//! `check`: the installed components with path, version and package, and whether they are the verified ones.

use super::containerd_version::version_of_package;
use super::support;
use super::system::{GlobalArguments, System, TargetArguments};
use super::{Exit, Failed, Format, json, print, problems};
use clap::Args;
use model::package::PackageVersion;
use model::package_manager::PackageManager;
use model::record::ComponentKind;
use model::share::Share;
use operator::check::{ComponentStatus, Presence, ProgramAnswer, StatedComponent, ask, components};
use operator::packages::{Packages, QueryError};
use operator::standing::{VerifiedStanding, standing};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Components: `vmm`, `fs`, `kernel`, `container-manager`, `kata`, `firmware`, `jailer`, `snapshotter`, or names in
    /// the record such as `qemu`, `virtio-fs`.
    ///
    /// By default all are listed, and the preferred VMM, the preferred filesystem and the kernel must be there.
    #[arg(value_name = "COMPONENT")]
    components: Vec<String>,
    /// Also compare all versions with the verified ones, and check that what was configured still exists and is in
    /// effect, and that an interrupted call left no texts of other processes behind. After an upgrade, this shows what
    /// is no longer proved.
    #[arg(long)]
    all: bool,
    /// Print only problems; for timers and package managers' hooks.
    #[arg(long)]
    quiet: bool,
    /// Also ask the programs for their versions: run each with `--version`, in its root, as nobody, without privileges
    /// or a network, for 10 s at most. Needs root. Without this option no program is run.
    #[arg(long)]
    run_programs: bool,
    #[command(flatten)]
    pub(crate) about: TargetArguments,
}

pub(crate) fn run(common: &GlobalArguments, arguments: &CheckArguments) -> anyhow::Result<Exit> {
    // With `--quiet`, a timer or a hook gets only problems.
    let system = match arguments.quiet {
        true => System::find_quietly(common, &arguments.about)?,
        false => System::find(common, &arguments.about)?,
    };
    if !arguments.quiet {
        support::warn(&system.target, &system.entry);
    }
    let stated = system.stated();
    let chosen = chosen(&stated, &arguments.components)?;
    let packages = packages(&system)?;
    let mut found =
        components(&system.root, system.manager(), packages.as_ref(), &chosen).map_err(|e| unreadable(&e))?;
    for component in found.iter_mut().filter(|component| arguments.run_programs && !component.kind.is_data()) {
        component.said = component.path.as_ref().map(|program| ask(&system.root, program));
    }
    let standings = if arguments.all { standings(&system, packages.as_ref())? } else { Vec::new() };
    let needed: Vec<&ComponentStatus> = match arguments.components.is_empty() {
        true => required(&found),
        false => found.iter().collect(),
    };
    let configured = match arguments.all {
        true => {
            let containerd = version_of_package(&system.root, packages.as_ref());
            operator::configure::standing(&system.root, containerd, &operator::initrd::look)?
        }
        false => Vec::new(),
    };
    // With `--quiet`, a component that the record never had is not reported to a timer or a hook.
    let reports_lacking = arguments.components.is_empty() && !arguments.quiet;
    let lacking = if reports_lacking { lacking(&stated) } else { Vec::new() };
    let there = needed.iter().all(|c| c.installed) && lacking.is_empty();
    let open = needed.iter().any(|c| c.presence.is_open()) || !lacking.is_empty();
    let changed = standings.iter().any(|s| !s.matches) || arguments.all && standings.is_empty();
    let exit = match (there && !changed && configured.is_empty(), open) {
        (true, _) => Exit::Ok,
        (false, true) => Exit::Unknown,
        (false, false) => Exit::No,
    };
    if arguments.quiet && exit == Exit::Ok {
        return Ok(exit);
    }
    if arguments.about.format == Format::Json {
        let mut document = serde_json::json!({
            "version": 1, "system": system.json(), "installed": there, "components": found, "not-in-record": lacking,
        });
        let mut all: Vec<String> = Vec::new();
        all.extend(needed.iter().filter(|c| !c.installed).filter_map(|c| line(c).lines().next().map(str::to_owned)));
        all.extend(lacking.iter().map(|kind| not_in_record(&system, kind)));
        if arguments.all && changed {
            all.extend(changes(&standings, true).lines().map(|line| line.trim().to_owned()));
        }
        document["problems"] = problems(all);
        if let Some(all) = document["problems"].as_array_mut() {
            all.extend(configured.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?);
        }
        if arguments.all {
            document["verified"] = serde_json::to_value(&standings)?;
            document["matches"] = (!changed).into();
            document["configured"] = serde_json::to_value(&configured)?;
        }
        json(&document)?;
        return Ok(exit);
    }
    let mut out = String::new();
    match arguments.quiet {
        true => needed.iter().filter(|c| !c.installed).for_each(|c| out += &line(c)),
        false => found.iter().for_each(|c| out += &line(c)),
    }
    for kind in &lacking {
        let _ = writeln!(out, "{}", not_in_record(&system, kind));
    }
    if arguments.all && (changed || !arguments.quiet) {
        out += &changes(&standings, arguments.quiet);
    }
    for problem in &configured {
        let line = problem.line.map(|l| format!(":{l}")).unwrap_or_default();
        let _ = writeln!(out, "configured: {}{line}: {}", problem.file.display(), problem.message);
    }
    print(&out)?;
    Ok(exit)
}

fn not_in_record(system: &System, kind: &str) -> String {
    format!("{kind}: not packaged: the record of {} has none", system.target)
}

/// Reads the root's package database; `None` if there is none, as in a root that an admin made by hand.
pub(crate) fn packages(system: &System) -> anyhow::Result<Option<Packages<'_>>> {
    match Packages::read(&system.root, Some(system.manager())) {
        Ok(packages) => Ok(Some(packages)),
        Err(QueryError::NoDatabase(_)) if system.manager() == PackageManager::ImageBased => Ok(None),
        Err(error @ QueryError::NoDatabase(_)) => {
            eprintln!("warning: {error}");
            Ok(None)
        }
        Err(error) => Err(unreadable(&error).into()),
    }
}

/// Creates the error for a package database that does not answer; if it exists and cannot be read, the answer is
/// unknown.
pub(crate) fn unreadable(error: &QueryError) -> Failed {
    let exit = match error {
        QueryError::NoRpm(_) | QueryError::Refused { .. } | QueryError::Read(_) | QueryError::Damaged { .. } => {
            Exit::Unknown
        }
        _ => Exit::BadInput,
    };
    let failed = Failed::new(exit, "unreadable-packages", error.to_string());
    match error {
        QueryError::NoRpm(_) | QueryError::Refused { .. } => {
            failed.hint("install an rpm that can read this database, or run kata-osinfo on that system itself")
        }
        QueryError::Damaged { .. } => failed.hint(
            "repair the database, or restore it from a backup: dpkg keeps the previous one in /var/lib/dpkg/status-old",
        ),
        _ => failed,
    }
}

/// Compares every entry of `verified:` for the system's release and architecture with the installed packages.
fn standings(system: &System, packages: Option<&Packages<'_>>) -> anyhow::Result<Vec<VerifiedStanding>> {
    let today = jiff::Zoned::now().date();
    let of_this = system.record.verified.iter();
    let of_this = of_this.filter(|v| v.release == system.target.version && v.arch == system.arch);
    let all = of_this.map(|v| standing(v, &[], &BTreeSet::new(), packages, today));
    Ok(all.collect::<Result<_, _>>().map_err(|e| unreadable(&e))?)
}

/// Returns the named components, or all if none is named.
pub(crate) fn chosen<'s>(stated: &'s [StatedComponent], names: &[String]) -> Result<Vec<&'s StatedComponent>, Failed> {
    if names.is_empty() {
        return Ok(stated.iter().collect());
    }
    let mut chosen: Vec<&StatedComponent> = Vec::new();
    for name in names {
        // `vmm` and `fs` mean the preferred one; virtiofsd and 9p may be named by their own names, too.
        let name = match name.as_str() {
            "virtiofsd" => Share::VirtioFs.name(),
            "9p" => Share::Virtio9p.name(),
            other => other,
        };
        let found = stated.iter().find(|s| s.kind.name() == name || s.name == name);
        let Some(found) = found else {
            let mut known: Vec<&str> = Vec::new();
            for name in stated.iter().flat_map(|s| [s.kind.name(), s.name.as_str()]) {
                if !known.contains(&name) {
                    known.push(name);
                }
            }
            let message = format!("the record has no component `{name}`: known are {}", known.join(", "));
            return Err(Failed::new(Exit::Unknown, "unknown-component", message)
                .hint("a component that the distro does not package can be added in /etc/kata-osinfo"));
        };
        if !chosen.contains(&found) {
            chosen.push(found);
        }
    }
    Ok(chosen)
}

/// Returns the components that Kata requires: the preferred VMM, the preferred filesystem, the kernel.
///
/// A component that is packaged for the architecture precedes a preferred one that is not.
fn required(found: &[ComponentStatus]) -> Vec<&ComponentStatus> {
    let first = |kind: ComponentKind| {
        found.iter().filter(move |c| c.kind == kind).min_by_key(|c| c.presence == Presence::NotPackaged)
    };
    NEEDED.iter().filter_map(|kind| first(*kind)).collect()
}

/// Kinds of components that Kata requires.
pub(crate) const NEEDED: [ComponentKind; 3] = [ComponentKind::Vmm, ComponentKind::Fs, ComponentKind::Kernel];

/// Returns the kinds of [`NEEDED`] for which the record has no component at all.
pub(crate) fn lacking(stated: &[StatedComponent]) -> Vec<&'static str> {
    NEEDED.iter().filter(|kind| !stated.iter().any(|s| s.kind == **kind)).map(|kind| kind.name()).collect()
}

fn line(component: &ComponentStatus) -> String {
    let name = format!("{} {}", component.kind.name(), component.name);
    let mut out = match component.installed {
        false => {
            let why = component.problem.as_ref().map(|p| format!(": {p}")).unwrap_or_default();
            format!("{name}: {}{why}\n", component.presence.words())
        }
        true => {
            let path = component.path.as_ref().map(|p| format!(" at {}", p.display())).unwrap_or_default();
            let version = component.version.as_ref().map(|v| format!(", version {v}")).unwrap_or_default();
            let owner = match (&component.package, &component.path) {
                (Some(owner), _) => format!(", of package {}", owner.package),
                (None, Some(_)) => ", of no package".to_owned(),
                (None, None) if component.packages.is_empty() => ", as part of the VMM".to_owned(),
                (None, None) => String::new(),
            };
            format!("{name}: installed{path}{version}{owner}\n")
        }
    };
    match &component.said {
        Some(ProgramAnswer::Version(version)) => out += &format!("  says: {version}\n"),
        Some(ProgramAnswer::Nothing(why)) => out += &format!("  does not say its version: {why}\n"),
        None => {}
    }
    for package in component.packages.iter().filter(|w| w.installed.is_empty()) {
        let _ = writeln!(out, "  package {} is not installed", package.name);
    }
    for package in &component.packages {
        for by in package.installed.iter().filter(|i| package.name != i.package.as_str()) {
            let _ = writeln!(out, "  package {} is provided by {} {}", package.name, by.package, by.version);
        }
    }
    out
}

/// Formats the differences; entries of the same day with the same differences are combined, because a run makes one for
/// each profile.
fn changes(standings: &[VerifiedStanding], only_changed: bool) -> String {
    if standings.is_empty() {
        return "nothing was verified for this release and architecture\n".to_owned();
    }
    let mut out = String::new();
    let alike = |a: &VerifiedStanding, b: &VerifiedStanding| {
        (&a.environment, a.tested, &a.versions, a.matches) == (&b.environment, b.tested, &b.versions, b.matches)
    };
    for group in standings.chunk_by(alike).filter(|g| !only_changed || !g[0].matches) {
        let first = &group[0];
        let profiles: Vec<&str> = group.iter().map(|s| s.profile.as_str()).collect();
        let head = format!("{}/{} verified {}", profiles.join(","), first.environment, first.tested);
        if first.matches {
            let _ = writeln!(out, "{head}: the versions are the same");
            continue;
        }
        let _ = writeln!(out, "{head}: versions have changed");
        for pair in first.versions.iter().filter(|v| v.installed.as_ref() != Some(&v.verified)) {
            let now = pair.installed.as_ref().map_or("not installed", PackageVersion::as_str);
            let _ = writeln!(out, "  {} {} -> {now}", pair.package, pair.verified);
        }
    }
    out
}
