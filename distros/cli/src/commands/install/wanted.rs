//! Which components are asked for, and which packages they are.

use super::super::check::chosen;
use super::super::system::System;
use super::super::{Exit, Failed};
use model::database::{Database, SYSTEM_FOLDERS};
use model::package::PackageName;
use model::record::{ComponentKind, Confidence};
use operator::check::StatedComponent;
use operator::installer::InstallRequest;

/// The components that were named, else the usual ones; and those that are to be added.
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
    // None would be all of them.
    let added = if with.is_empty() { Vec::new() } else { chosen(stated, with)? };
    for one in added {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    Ok(all)
}

/// The packages of components, each once; what is unknown or only assumed is an error.
pub(super) fn wanted(
    system: &System,
    components: &[&StatedComponent],
    allow_assumed: bool,
) -> Result<InstallRequest, Failed> {
    let assumed = |what: &str| {
        Failed::new(Exit::Unknown, "assumed", format!("{what} in the record of {} are only assumed", system.target))
            .hint("check them and pass --allow-assumed, or state them in /etc/kata-osinfo with a confidence")
    };
    not_anothers_kernel(system, components)?;
    let mut packages: Vec<PackageName> = Vec::new();
    // A filesystem that comes with the VMM is given by the VMM's packages.
    let with_vmm = components.iter().flat_map(|s| [Some(*s), s.part_of.as_deref()]).flatten();
    for component in with_vmm.filter(|s| s.packaged) {
        let Some(names) = &component.packages else {
            let message =
                format!("nobody knows the packages of {} on {} {}", component.name, system.target, system.arch);
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

/// Refuses the kernel of the distro for a derivative that has one of its own, which the other would stand beside or in
/// the place of. What the admin's records say is another matter.
fn not_anothers_kernel(system: &System, components: &[&StatedComponent]) -> Result<(), Failed> {
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
        format!("{name} has a kernel of its own, and the record of {target} has the packages of another"),
    )
    .hint(format!(
        "state its packages in {}/{}.yaml with a confidence, or pass --target {target}, if that one is wanted all the same",
        SYSTEM_FOLDERS[1], target.distro
    )))
}

/// The components that are packaged and for which there is nothing to install, as the record says.
pub(super) fn needing_none<'s>(components: &[&'s StatedComponent]) -> Vec<&'s StatedComponent> {
    fn none(stated: &StatedComponent) -> bool {
        stated.packaged && stated.packages.as_ref().is_some_and(Vec::is_empty)
    }
    components.iter().copied().filter(|s| none(s) && s.part_of.as_deref().is_none_or(none)).collect()
}

/// The components that the distro does not package for the architecture, or at all.
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

/// What is installed unless something else is asked for.
///
/// Kata cannot do without a kernel either; but its own configuration boots guests with its own, and a host may boot the one
/// that is installed.
const USUAL: [ComponentKind; 2] = [ComponentKind::Vmm, ComponentKind::Fs];
