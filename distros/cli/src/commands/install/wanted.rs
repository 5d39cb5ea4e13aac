//! Selection of components, and their packages.

use super::super::check::chosen;
use super::super::system::System;
use super::super::{Exit, Failed};
use model::database::{Database, SYSTEM_FOLDERS};
use model::package::PackageName;
use model::record::{ComponentKind, Confidence};
use operator::check::StatedComponent;
use operator::installer::InstallRequest;

/// Returns the named components, else the usual ones, and the added ones.
pub(super) fn components<'s>(
    stated: &'s [StatedComponent],
    names: &[String],
    with: &[String],
) -> Result<Vec<&'s StatedComponent>, Failed> {
    let first = |kind: ComponentKind| stated.iter().filter(move |s| s.kind == kind).min_by_key(|s| !s.packaged);
    let mut all: Vec<&StatedComponent> = match names.is_empty() {
        true => USUAL.iter().filter_map(|kind| first(*kind)).collect(),
        false => chosen(stated, names)?,
    };
    // An empty list would select all components.
    let added = if with.is_empty() { Vec::new() } else { chosen(stated, with)? };
    for one in added {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Ok(all)
}

/// Returns the packages of components, each once; an unknown or only assumed fact is an error.
pub(super) fn install_request(
    system: &System,
    components: &[&StatedComponent],
    allow_assumed: bool,
) -> Result<InstallRequest, Failed> {
    let assumed = |what: &str| {
        Failed::new(Exit::Unknown, "assumed", format!("{what} in the record of {} are only assumed", system.target))
            .hint("check them and pass --allow-assumed, or state them in /etc/kata-osinfo with a confidence")
    };
    refuse_foreign_kernel(system, components)?;
    let mut packages: Vec<PackageName> = Vec::new();
    // A filesystem that is part of the VMM is provided by the VMM's packages.
    let with_vmm = components.iter().flat_map(|s| [Some(*s), s.part_of.as_deref()]).flatten();
    for component in with_vmm.filter(|s| s.packaged) {
        let Some(names) = &component.packages else {
            let message =
                format!("the packages of {} are not known for {} on {}", component.name, system.target, system.arch);
            return Err(Failed::new(Exit::Unknown, "unknown-packages", message)
                .hint("state them in /etc/kata-osinfo with a confidence"));
        };
        if component.packages_confidence == Confidence::Assumed && !names.is_empty() && !allow_assumed {
            return Err(assumed(&format!("the packages of {}", component.name)));
        }
        packages.extend(names.iter().cloned());
    }
    packages.sort();
    packages.dedup();
    let (repositories, modules, confidence) = system.record.enables(&system.entry);
    if confidence == Confidence::Assumed && !(repositories.is_empty() && modules.is_empty()) && !allow_assumed {
        return Err(assumed("the repositories and modules"));
    }
    Ok(InstallRequest { packages, repositories, modules })
}

/// Rejects the distro's kernel for a derivative that has its own, which the distro's would duplicate or replace, unless
/// the admin's records state it.
fn refuse_foreign_kernel(system: &System, components: &[&StatedComponent]) -> Result<(), Failed> {
    let Some(derivative) = &system.derivative else { return Ok(()) };
    let Some(kernel) = components.iter().find(|stated| stated.kind == ComponentKind::Kernel) else { return Ok(()) };
    let database = Database::embedded();
    let shipped = database.record(&system.target.distro).ok().and_then(|record| {
        let entry = record.find_release(&system.target.version)?;
        record.packages_of(entry, system.arch, ComponentKind::Kernel, &kernel.name)
    });
    if kernel.packages != shipped {
        return Ok(());
    }
    let (name, target) = (derivative.name, &system.target);
    Err(Failed::new(
        Exit::Unknown,
        "own-kernel",
        format!("{name} has its own kernel, but the record of {target} has the packages of another one"),
    )
    .hint(format!(
        "state the packages of {name}'s kernel in {}/{}.yaml with a confidence, or pass --target {target} to use the other one",
        SYSTEM_FOLDERS[1], target.distro
    )))
}

/// Returns the packaged components that need no package, according to the record.
pub(super) fn without_packages<'s>(components: &[&'s StatedComponent]) -> Vec<&'s StatedComponent> {
    fn none(stated: &StatedComponent) -> bool {
        stated.packaged && stated.packages.as_ref().is_some_and(Vec::is_empty)
    }
    components.iter().copied().filter(|s| none(s) && s.part_of.as_deref().is_none_or(none)).collect()
}

/// Returns the components that the distro does not package for the architecture, or at all.
pub(super) fn missing(stated: &[StatedComponent], components: &[&StatedComponent], named: &[String]) -> Vec<String> {
    let elsewhere = |s: &&&StatedComponent| !s.packaged || s.part_of.as_ref().is_some_and(|vmm| !vmm.packaged);
    let mut missing: Vec<String> =
        components.iter().filter(elsewhere).map(|s| format!("{} {}", s.kind.name(), s.name)).collect();
    if named.is_empty() {
        let lacking = USUAL.iter().filter(|kind| !stated.iter().any(|s| s.kind == **kind));
        missing.extend(lacking.map(|kind| kind.name().to_owned()));
    }
    missing
}

/// Components that are installed by default.
///
/// Kata requires a kernel, too, but its own configuration boots guests with Kata's kernel, and the host may boot an
/// installed one.
const USUAL: [ComponentKind; 2] = [ComponentKind::Vmm, ComponentKind::Fs];
