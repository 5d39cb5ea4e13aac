//! `installer`, `packages` and `install`.

mod wanted;

use super::check::{packages as packages_of, unreadable};
use super::support;
use super::system::{GlobalArguments, System, TargetArguments};
use super::{Exit, Failed, Format, json, print, problems};
use clap::Args;
use model::diagnostic::printable;
use model::package_manager::PackageManager;
use model::record::ComponentKind;
use model::shell::quoted;
use model::words::form;
use operator::check::{self, ComponentStatus, Presence, StatedComponent};
use operator::installer::{
    self, FailureKind, InstallError, InstallOptions, InstallPlan, Installer, InstallerChoice, InstallerLocation,
};
use std::fmt::Write as _;
use std::time::Duration;
use wanted::{components, install_request, missing, without_packages};

/// Parses a number of seconds, from `least` to a year: more is a mistake, and more than a clock accepts.
fn seconds(least: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(least..=365 * 24 * 60 * 60)
}

/// Arguments of `installer`.
#[derive(Debug, Args)]
pub(crate) struct InstallerArguments {
    #[command(flatten)]
    pub(crate) about: TargetArguments,
}

/// Arguments of `packages`.
#[derive(Debug, Args)]
pub(crate) struct PackagesArguments {
    /// Components, as with `check`; by default the preferred VMM and filesystem.
    #[arg(value_name = "COMPONENT")]
    components: Vec<String>,
    /// Also this component, such as `kernel`.
    #[arg(long, value_name = "COMPONENT")]
    with: Vec<String>,
    /// Use facts that the record only assumes.
    #[arg(long)]
    allow_assumed: bool,
    #[command(flatten)]
    pub(crate) about: TargetArguments,
}

/// Arguments of `install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArguments {
    /// Components, as with `check`; by default the preferred VMM and filesystem.
    #[arg(value_name = "COMPONENT")]
    components: Vec<String>,
    /// Also this component, such as `kernel`, which is not a default because the machine may boot it next time.
    #[arg(long, value_name = "COMPONENT")]
    with: Vec<String>,
    /// Print what would be done, and change nothing except locks and caches of dnf and zypper.
    #[arg(long)]
    dry_run: bool,
    /// Use facts that the record only assumes.
    #[arg(long)]
    allow_assumed: bool,
    /// Use the existing package lists, without refreshing them.
    #[arg(long)]
    no_refresh: bool,
    /// Seconds to wait for another package manager.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = seconds(0))]
    lock_timeout: u64,
    /// Seconds that each command of the package manager may take.
    // At least 1: with 0 the package manager would be killed in the middle of its work.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = seconds(1))]
    timeout: u64,
    #[command(flatten)]
    pub(crate) about: TargetArguments,
}

pub(crate) fn installer(common: &GlobalArguments, arguments: &InstallerArguments) -> anyhow::Result<Exit> {
    let system = System::find(common, &arguments.about)?;
    let chosen = installer::choose(&system.root, system.manager())?;
    let there = chosen.place != InstallerLocation::Nowhere;
    let missing = (!there).then(|| not_found(&chosen, &system));
    if arguments.about.format == Format::Json {
        json(&serde_json::json!({
            "version": 1,
            "system": system.json(),
            "installer": chosen.installer,
            "program": there.then_some(&chosen.program),
            "place": chosen.place,
            "exercised": chosen.installer.is_exercised(),
            "problems": problems(missing),
        }))?;
    } else {
        print(chosen.installer.name())?;
    }
    Ok(if there { Exit::Ok } else { Exit::No })
}

pub(crate) fn packages(common: &GlobalArguments, arguments: &PackagesArguments) -> anyhow::Result<Exit> {
    let system = System::find(common, &arguments.about)?;
    let stated = system.stated();
    let components = components(&stated, &arguments.components, &arguments.with)?;
    let missing = missing(&stated, &components, &arguments.components);
    let request = install_request(&system, &components, arguments.allow_assumed)?;
    let exit = if missing.is_empty() { Exit::Ok } else { Exit::Unknown };
    if arguments.about.format == Format::Json {
        json(&serde_json::json!({
            "version": 1,
            "system": system.json(),
            "packages": request.packages,
            "repositories": request.repositories,
            "modules": request.modules,
            "parts-from": system.record.parts_from(&system.entry),
            "not-packaged": missing,
            "problems": problems((!missing.is_empty()).then(|| not_packaged(&system, &missing).message)),
        }))?;
        return Ok(exit);
    }
    for bare in without_packages(&components) {
        let what = printable(&format!("{} {}", bare.kind.name(), bare.name));
        eprintln!("note: the record of {} has no package for {what}: none is needed", system.target);
    }
    for (what, names) in [("repository", &request.repositories), ("module", &request.modules)] {
        // Without packages, repositories and modules are of no use.
        names.iter().filter(|_| !request.packages.is_empty()).for_each(|n| eprintln!("needs the {what} {n}"));
    }
    if let Some(from) = system.record.parts_from(&system.entry) {
        eprintln!("its parts come from {from}");
    }
    let mut out = String::new();
    for package in &request.packages {
        let _ = writeln!(out, "{package}");
    }
    print(&out)?;
    match missing.is_empty() {
        true => Ok(Exit::Ok),
        false => Err(not_packaged(&system, &missing).into()),
    }
}

fn not_packaged(system: &System, missing: &[String]) -> Failed {
    let message = format!("{} has no packages on {} for: {}", system.target, system.arch, missing.join(", "));
    Failed::new(Exit::Unknown, "not-packaged", message).hint(match system.record.parts_from(&system.entry) {
        Some(from) => format!("its parts come from {from}"),
        None => "describe your own in /etc/kata-osinfo, or name the components to install".to_owned(),
    })
}

pub(crate) fn install(common: &GlobalArguments, arguments: &InstallArguments) -> anyhow::Result<Exit> {
    let system = System::find(common, &arguments.about)?;
    support::warn(&system.target, &system.entry);
    let stated = system.stated();
    let components = components(&stated, &arguments.components, &arguments.with)?;
    let missing = missing(&stated, &components, &arguments.components);
    if !missing.is_empty() {
        return Err(not_packaged(&system, &missing).into());
    }
    let request = install_request(&system, &components, arguments.allow_assumed)?;
    let is_kernel =
        |s: &&StatedComponent| s.kind == ComponentKind::Kernel && s.packages.iter().flatten().next().is_some();
    if components.iter().any(is_kernel) {
        eprintln!("note: this includes a kernel: the machine may boot it next time");
    }
    let chosen = installer::choose(&system.root, system.manager())?;
    let options = InstallOptions {
        refresh: !arguments.no_refresh,
        lock_timeout: Duration::from_secs(arguments.lock_timeout),
        timeout: Duration::from_secs(arguments.timeout),
        show: true,
    };
    let as_json = arguments.about.format == Format::Json;
    if request.packages.is_empty() && system.manager() == PackageManager::ImageBased {
        check_all_present(&system, &components)?;
    }
    if request.packages.is_empty() {
        if as_json {
            json(&serde_json::json!({ "version": 1, "system": system.json(), "installed": [], "problems": [] }))?;
        } else {
            print("no packages are needed")?;
        }
        return Ok(Exit::Ok);
    }
    if arguments.dry_run {
        let planned = installer::plan(&chosen, &system.root, &request, &options);
        let plan = planned.map_err(|error| failed_without_lists(error, chosen.installer, &options))?;
        let is_done = plan.commands.is_empty();
        let refused = refusal(&plan, || not_found(&chosen, &system));
        let lacking = if is_done { absent_despite_packages(&system, &components)? } else { Vec::new() };
        let all = refused.iter().map(|(_, problem)| problem).chain(&lacking).cloned();
        print_plan(&system, &plan, all, as_json)?;
        return Ok(refused.map_or_else(|| warn_about(&lacking), report_refusal));
    }
    match installer::install(&chosen, &system.root, &request, &options) {
        Ok(done) if as_json => {
            let lacking = absent_despite_packages(&system, &components)?;
            json(&serde_json::json!({
                "version": 1,
                "system": system.json(),
                "plan": done.plan,
                "installed": done.installed,
                "waited-seconds": done.waited,
                "problems": problems(lacking.iter().cloned()),
            }))?;
            Ok(warn_about(&lacking))
        }
        Ok(done) => {
            let lines: Vec<String> = done.installed.iter().map(|i| format!("{} {}", i.package, i.version)).collect();
            print(&lines.join("\n"))?;
            Ok(warn_about(&absent_despite_packages(&system, &components)?))
        }
        Err(InstallError::NotExercised(plan)) => {
            let refused = refusal(&plan, || not_found(&chosen, &system));
            print_plan(&system, &plan, refused.iter().map(|(_, problem)| problem.clone()), as_json)?;
            Ok(refused.map_or(Exit::NotExercised, report_refusal))
        }
        Err(error) => Err(failed(error).into()),
    }
}

/// Checks that all components exist that no package provides; the error says where they come from.
fn check_all_present(system: &System, components: &[&StatedComponent]) -> anyhow::Result<()> {
    for found in check::components(&system.root, system.manager(), None, components).map_err(|e| unreadable(&e))? {
        if found.presence == Presence::Unreadable {
            return Err(unknown(&found).into());
        }
        if !found.installed {
            let (kind, name) = (found.kind.name(), &found.name);
            let problem = found.problem.unwrap_or_else(|| found.presence.words().to_owned());
            let from = system.record.parts_from(&system.entry);
            let from = from.unwrap_or_else(|| "wherever you got them: state their paths in /etc/kata-osinfo".into());
            return Err(Failed::new(
                Exit::Missing,
                "image-based",
                format!(
                    "{} is image-based, so packages cannot be installed, and {kind} {name} is missing: {problem}",
                    system.target
                ),
            )
            .hint(format!("its parts come from {from}"))
            .into());
        }
    }
    Ok(())
}

/// Creates the error that a component exists, or may exist, but cannot be read.
fn unknown(found: &ComponentStatus) -> Failed {
    let problem = found.problem.as_deref().unwrap_or(found.presence.words());
    let message = format!("{} {}: {problem}", found.kind.name(), found.name);
    Failed::new(Exit::Unknown, "unreadable", message).hint("run this as a user who may read it, such as root")
}

/// Returns the components whose packages are installed in a version that does not contain them: installing cannot help.
///
/// Components that cannot be read are not judged.
fn absent_despite_packages(system: &System, components: &[&StatedComponent]) -> anyhow::Result<Vec<String>> {
    let packages = packages_of(system)?;
    let mut lacking = Vec::new();
    let found = check::components(&system.root, system.manager(), packages.as_ref(), components);
    for found in found.map_err(|e| unreadable(&e))? {
        let all_there = found.packages.iter().all(|package| !package.installed.is_empty());
        if found.presence == Presence::Unreadable && all_there {
            return Err(unknown(&found).into());
        }
        if found.presence == Presence::NotInstalled && all_there && !found.packages.is_empty() {
            let problem = found.problem.unwrap_or_default();
            lacking.push(format!("{} {}: {problem}", found.kind.name(), found.name));
        }
    }
    Ok(lacking)
}

/// Warns about components that an installation does not provide.
fn warn_about(lacking: &[String]) -> Exit {
    lacking.iter().for_each(|problem| eprintln!("warning: {}", printable(problem)));
    if lacking.is_empty() {
        return Exit::Ok;
    }
    eprintln!("hint: `kata-osinfo fallback --profile PROFILE` shows what to do instead");
    Exit::No
}

fn not_found(chosen: &InstallerChoice, system: &System) -> String {
    format!("{} is neither in {} nor on this machine", chosen.installer.name(), system.root.path().display())
}

/// Returns why this program would not carry out a plan, with the exit code.
fn refusal(plan: &InstallPlan, not_found: impl FnOnce() -> String) -> Option<(Exit, String)> {
    if plan.commands.is_empty() {
        return None;
    }
    if plan.place == InstallerLocation::Nowhere {
        return Some((Exit::Failed, not_found()));
    }
    (!plan.exercised).then(|| (Exit::NotExercised, not_run(plan)))
}

/// Prints a plan that is not carried out; only programs get the problems with it.
fn print_plan(
    system: &System,
    plan: &InstallPlan,
    all: impl IntoIterator<Item = String>,
    as_json: bool,
) -> anyhow::Result<()> {
    if as_json {
        json(&serde_json::json!({ "version": 1, "system": system.json(), "plan": plan, "problems": problems(all) }))
    } else {
        print(&plan_text(plan))
    }
}

/// Tells people why a plan is not carried out, unless the plan says so already.
fn report_refusal((exit, problem): (Exit, String)) -> Exit {
    if exit != Exit::NotExercised {
        eprintln!("error: {}", printable(&problem));
    }
    exit
}

fn not_run(plan: &InstallPlan) -> String {
    let what = form(plan.commands.len(), "command", "commands");
    format!("{} is not run by this program: run the {what} yourself", plan.installer.name())
}

fn plan_text(plan: &InstallPlan) -> String {
    let mut out = plan.description();
    if plan.commands.is_empty() {
        out += "nothing to do\n";
    } else if !plan.exercised {
        let _ = writeln!(out, "{}", not_run(plan));
    } else if plan.guarded {
        let call = std::env::args_os().skip(1).filter(|word| word != "--dry-run");
        let call: Vec<String> = call.map(|word| quoted(&word.to_string_lossy())).collect();
        let _ = writeln!(out, "to install: kata-osinfo {}", call.join(" "));
    }
    out
}

/// Creates the error of a dry run, which fetches nothing; if a package is unknown, the hint says that the installation
/// would first refresh the package lists.
fn failed_without_lists(error: InstallError, installer: Installer, options: &InstallOptions) -> Failed {
    let is_unknown = matches!(&error, InstallError::Failed(failure) if failure.kind == FailureKind::MissingPackage);
    let refresh = installer.refresh().filter(|_| is_unknown && options.refresh);
    let failed = failed(error);
    match refresh {
        Some(command) => failed.hint(format!(
            "a dry run uses the existing package lists, if any: without --dry-run, `{command}` is run first"
        )),
        None => failed,
    }
}

fn failed(error: InstallError) -> Failed {
    let message = error.to_string();
    match error {
        InstallError::Failed(failure) => {
            let exit = if failure.kind == FailureKind::Locked { Exit::Locked } else { Exit::Failed };
            let kind = match failure.kind {
                FailureKind::MissingPackage => "missing-package",
                FailureKind::Repository => "repository",
                FailureKind::Verification => "verification",
                FailureKind::Locked => "locked",
                FailureKind::DiskFull => "disk-full",
                FailureKind::Conflict => "conflict",
                FailureKind::Deadline => "deadline",
                FailureKind::Other => "other",
            };
            Failed::new(exit, kind, message).hint(failure.kind.hint())
        }
        InstallError::BadName(_) | InstallError::Nothing => Failed::new(Exit::BadInput, "bad-package", message),
        InstallError::NoSandbox { .. } => Failed::new(Exit::Failed, "no-sandbox", message).hint(
            "a sandbox needs root privileges, user namespaces, Linux 5.12, and a --root directory on a filesystem that supports id mapping, such as ext4, XFS or Btrfs (tmpfs since Linux 6.3)",
        ),
        InstallError::Settings(_) => Failed::new(Exit::Unknown, "unreadable", message),
        InstallError::NotRoot => Failed::new(Exit::BadInput, "not-root", message),
        InstallError::ImageBased => Failed::new(Exit::Unknown, "image-based", message)
            .hint("state the components in /etc/kata-osinfo with `packages: none` and their paths"),
        InstallError::NoProgram { .. } => Failed::new(Exit::Failed, "no-installer", message),
        InstallError::NotExercised(_) => Failed::new(Exit::NotExercised, "not-exercised", message),
        InstallError::Query(error) => unreadable(&error),
        InstallError::NotThere { .. } => Failed::new(Exit::Failed, "not-there", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use operator::installer::InstallFailure;

    #[test]
    fn a_plan_that_is_not_carried_out_here_is_no_success() {
        let refused = |installer: Installer, place, commands: &[&str]| {
            let plan = InstallPlan {
                installer,
                exercised: installer.is_exercised(),
                place,
                packages: Vec::new(),
                already: Vec::new(),
                enables: Vec::new(),
                commands: commands.iter().map(|command| vec![(*command).to_owned()]).collect(),
                shell: Vec::new(),
                guarded: false,
                changes: None,
            };
            refusal(&plan, || "it is not found".to_owned())
        };
        let there = [InstallerLocation::Here, InstallerLocation::Inside, InstallerLocation::Outside];
        for place in there {
            for told in [
                Installer::Tdnf,
                Installer::Apk,
                Installer::Microdnf,
                Installer::RpmOstree,
                Installer::TransactionalUpdate,
            ] {
                let (exit, problem) = refused(told, place, &["install"]).unwrap();
                assert_eq!(exit, Exit::NotExercised, "{told:?}");
                assert!(problem.contains("run the command yourself"), "{told:?} {problem}");
                assert!(refused(told, place, &[]).is_none(), "{told:?}: nothing is to be done");
            }
            assert!(refused(Installer::Apt, place, &["install"]).is_none());
        }
        let (exit, problem) = refused(Installer::Tdnf, InstallerLocation::Nowhere, &["install"]).unwrap();
        assert!(exit == Exit::Failed && problem == "it is not found", "{problem}");
    }

    #[test]
    fn a_dry_run_without_lists_hints_at_the_refresh_of_an_installation() {
        let hint_for = |installer, refresh| {
            let failure = InstallFailure { kind: FailureKind::MissingPackage, message: "no such package".to_owned() };
            let options = InstallOptions { refresh, ..InstallOptions::default() };
            let failed = failed_without_lists(InstallError::Failed(failure), installer, &options);
            failed.hint.unwrap_or_default()
        };
        assert!(hint_for(Installer::Apt, true).contains("without --dry-run, `apt-get update` is run first"));
        assert!(!hint_for(Installer::Apt, false).contains("is run first"), "--no-refresh");
        assert!(!hint_for(Installer::Dnf, true).contains("is run first"), "dnf sees to its lists itself");
    }
}
