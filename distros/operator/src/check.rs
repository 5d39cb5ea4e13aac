//! Checks which components of a release are installed in a root: path, version, and owning package.
//!
//! Versions come from the package databases alone (`packages`): a read-only call runs no program of the root, unless
//! [`ask`] is called.

use crate::kernel_image::newest;
use crate::packages::{Installed, Packages, QueryError};
use crate::process::{Confinement, Invocation, ending};
use model::arch::Arch;
use model::component::ComponentName;
use model::diagnostic::printable;
use model::package::{PackageName, PackageVersion};
use model::package_manager::PackageManager;
use model::record::{ComponentKind, Confidence, FactSubject, Record, ReleaseEntry};
use root::{InsidePath, Root, RootError};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A component of a release as stated by the record, with the confidence of each fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatedComponent {
    /// The kind of component.
    pub kind: ComponentKind,
    /// `qemu`, `virtio-fs`, `linux`, `containerd`.
    pub name: ComponentName,
    /// Whether it is packaged for the architecture at all; if not, the fields below are meaningless.
    pub packaged: bool,
    /// The VMM that includes this filesystem, if the filesystem has neither packages nor a daemon of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<Box<StatedComponent>>,
    /// Packages to install; `None` if the record marks them as unknown.
    pub packages: Option<Vec<PackageName>>,
    /// Confidence of the packages.
    pub packages_confidence: Confidence,
    /// The binary's path, or the kernel image's pattern; `None` if there is none or it is unknown.
    pub path: Option<InsidePath>,
    /// Confidence of the path.
    pub path_confidence: Confidence,
}

impl StatedComponent {
    /// Returns the subject of the record's fact about the path: `vmm qemu path`, `kernel linux image`.
    pub fn path_subject(&self) -> FactSubject {
        FactSubject::Path(self.kind, self.name.clone())
    }
}

/// Whether a component can be used, or the reason why it cannot or why that is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// The file that the record names exists, or all packages are installed if the record names no file.
    Installed,
    /// The file or a package is missing.
    NotInstalled,
    /// The distro does not package it for this architecture.
    NotPackaged,
    /// It may be installed, but a directory of its path cannot be searched, or the file cannot be read.
    Unreadable,
    /// The record does not know its path or packages.
    Unknown,
}

impl Presence {
    /// Checks whether the answer is neither yes nor no.
    pub fn is_open(self) -> bool {
        matches!(self, Presence::NotPackaged | Presence::Unreadable | Presence::Unknown)
    }

    /// Returns the presence in words.
    pub fn words(self) -> &'static str {
        match self {
            Presence::Installed => "installed",
            Presence::NotInstalled => "not installed",
            Presence::NotPackaged => "not packaged for this architecture",
            Presence::Unreadable => "cannot be read",
            Presence::Unknown => "not known",
        }
    }
}

/// The state of a component on a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ComponentStatus {
    /// The kind of component.
    pub kind: ComponentKind,
    /// Its name in the record.
    pub name: ComponentName,
    /// Whether it can be used.
    pub installed: bool,
    /// The same in more detail: an unknown state differs from a missing component.
    pub presence: Presence,
    /// Path of the file, or of the newest kernel image.
    pub path: Option<PathBuf>,
    /// Target of the path's links, if it differs.
    pub resolved: Option<PathBuf>,
    /// The package that owns the file.
    pub package: Option<Installed>,
    /// Version of the owning package; `None` for a file that no package owns.
    pub version: Option<PackageVersion>,
    /// The record's packages, each with the installed packages of that name or providing it.
    pub packages: Vec<WantedPackage>,
    /// The reason why it cannot be used.
    pub problem: Option<String>,
    /// The program's own answer, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<ProgramAnswer>,
}

/// The result of asking a program for its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramAnswer {
    /// The first line of its output.
    Version(String),
    /// The reason for having no version.
    Nothing(String),
}

/// A package that the record names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WantedPackage {
    /// The name in the record.
    pub name: PackageName,
    /// Installed packages of that name, or that provide it.
    pub installed: Vec<Installed>,
}

/// Returns the components of a release, the preferred VMM and filesystem first of their kind.
pub fn stated(record: &Record, entry: &ReleaseEntry, arch: Arch) -> Vec<StatedComponent> {
    let facts = record.facts(entry, arch);
    let mut all: Vec<StatedComponent> = Vec::new();
    for (kind, name) in record.components(entry, arch, &ComponentKind::ALL) {
        let fact = |subject: FactSubject| facts.iter().find(|f| f.subject == subject);
        let packages = fact(FactSubject::Packages(kind, name.clone()));
        let path = fact(FactSubject::Path(kind, name.clone()));
        let packaged = !record.is_elsewhere(entry, arch, kind, &name);
        // The record states no packages, or an empty list: the filesystem is part of the VMM, and missing without it.
        let has_none = packages.is_none_or(|fact| fact.values.as_ref().is_some_and(Vec::is_empty));
        let is_part = kind == ComponentKind::Fs && packaged && has_none && path.is_none();
        let vmm = || all.iter().filter(|s| s.kind == ComponentKind::Vmm).min_by_key(|s| !s.packaged).cloned();
        let part_of = if is_part { vmm().map(Box::new) } else { None };
        all.push(StatedComponent {
            kind,
            packaged,
            part_of,
            packages: record.packages_of(entry, arch, kind, &name),
            // A fact that is not stated cannot be wrong.
            packages_confidence: packages.map_or(Confidence::Measured, |f| f.confidence),
            path: record.path_of(entry, arch, kind, &name),
            path_confidence: path.map_or(Confidence::Measured, |f| f.confidence),
            name,
        });
    }
    all
}

/// Looks for components; kernels are ordered by the rules of `manager`, the record's package manager.
///
/// # Errors
///
/// Fails if the package database cannot be queried.
pub fn components(
    root: &Root,
    manager: PackageManager,
    packages: Option<&Packages<'_>>,
    stated: &[&StatedComponent],
) -> Result<Vec<ComponentStatus>, QueryError> {
    let files =
        stated.iter().map(|stated| ComponentFile::find(root, manager, stated)).collect::<Result<Vec<_>, _>>()?;
    let paths: Vec<&Path> = files.iter().filter_map(|file| file.path.as_deref()).collect();
    let mut owners = match packages {
        Some(packages) => packages.owners(&paths)?.into_iter(),
        None => Vec::new().into_iter(),
    };
    let mut all = Vec::new();
    for (stated, file) in stated.iter().zip(files) {
        let owner = file.path.as_ref().and_then(|_| owners.next().flatten());
        all.push(component(root, manager, packages, stated, file, owner)?);
    }
    Ok(all)
}

/// The result of looking for the file of a component.
struct ComponentFile {
    /// The path as in the record, or of the newest kernel image.
    path: Option<PathBuf>,
    /// The reason why it is not known whether there is such a file.
    unreadable: Option<RootError>,
}

impl ComponentFile {
    fn find(root: &Root, manager: PackageManager, stated: &StatedComponent) -> Result<ComponentFile, QueryError> {
        let looked = match (&stated.path, stated.kind) {
            (Some(pattern), ComponentKind::Kernel) => {
                let packages = stated.packages.as_deref().unwrap_or_default();
                match newest(root, pattern.as_str(), packages, Some(manager)) {
                    Err(QueryError::Read(error)) => Err(error),
                    kernel => Ok(kernel?.map(|k| k.path)),
                }
            }
            (Some(path), kind) if kind.is_data() => file(root, path),
            (Some(path), _) => program(root, path),
            (None, _) => Ok(None),
        };
        Ok(match looked {
            Ok(path) => ComponentFile { path, unreadable: None },
            Err(error) => ComponentFile { path: None, unreadable: Some(error) },
        })
    }
}

/// Returns the state of a component, given its file and the file's owner.
fn component(
    root: &Root,
    manager: PackageManager,
    packages: Option<&Packages<'_>>,
    stated: &StatedComponent,
    file: ComponentFile,
    owner: Option<Installed>,
) -> Result<ComponentStatus, QueryError> {
    let ComponentFile { path: found, unreadable } = file;
    let mut wanted = Vec::new();
    for name in stated.packages.iter().flatten() {
        let installed = match packages {
            Some(packages) => packages.installed(name.as_str())?,
            None => Vec::new(),
        };
        wanted.push(WantedPackage { name: name.clone(), installed });
    }
    let all_installed = !wanted.is_empty() && wanted.iter().all(|w| !w.installed.is_empty());
    let vmm = match &stated.part_of {
        // Only its presence matters, and not whose file it is.
        Some(vmm) => Some(component(root, manager, packages, vmm, ComponentFile::find(root, manager, vmm)?, None)?),
        None => None,
    };
    let presence_if = |yes: bool| if yes { Presence::Installed } else { Presence::NotInstalled };
    let presence = match (&unreadable, &vmm) {
        (Some(_), _) => Presence::Unreadable,
        _ if found.is_some() => Presence::Installed,
        _ if !stated.packaged => Presence::NotPackaged,
        (None, Some(vmm)) => vmm.presence,
        _ if stated.path.is_some() => Presence::NotInstalled,
        _ if wanted.is_empty() => Presence::Unknown,
        _ => presence_if(all_installed),
    };
    let installed = presence == Presence::Installed;
    let version = match (&owner, &found) {
        (Some(owner), _) => Some(owner.version.clone()),
        // Only the program itself could say its version, and no program of a root is run merely to check it.
        (None, Some(_)) => None,
        (None, None) => wanted.first().and_then(|w| w.installed.first()).map(|i| i.version.clone()),
    };
    let problem = match (presence, &stated.path) {
        (Presence::Installed, _) => None,
        (Presence::Unreadable, _) if unreadable.is_some() => unreadable.map(|e| e.to_string()),
        (Presence::NotPackaged, _) if vmm.is_none() => Some("the record has it for other architectures".to_owned()),
        _ if vmm.is_some() => vmm.map(|v| match v.problem {
            Some(why) if v.presence == Presence::Unreadable => format!("it is a part of {}: {why}", v.name),
            _ => format!("it is a part of {}, which is {}", v.name, v.presence.words()),
        }),
        (_, Some(path)) => {
            let what = match root.look(path.as_path())? {
                None => "is not there",
                Some(_) if stated.kind.is_data() => "is not a regular file",
                Some(_) => "is not an executable file",
            };
            let packages = if all_installed { "its packages are installed, but " } else { "" };
            Some(format!("{packages}{path} {what}"))
        }
        (Presence::Unknown, None) => Some("the record does not know its packages".to_owned()),
        (_, None) => Some("its packages are not installed".to_owned()),
    };
    let resolved = found.as_ref().and_then(|p| root.resolve(p).ok()).filter(|r| Some(r) != found.as_ref());
    Ok(ComponentStatus {
        kind: stated.kind,
        name: stated.name.clone(),
        installed,
        presence,
        path: found,
        resolved,
        package: owner,
        version,
        packages: wanted,
        problem,
        said: None,
    })
}

/// Time limit for a program to print its version.
const WITHIN: Duration = Duration::from_secs(10);

/// Maximum number of characters shown of a version.
const SHOWN: usize = 200;

/// Runs a program to ask for its version: in its root, as nobody, without privileges or a network, in its own
/// namespaces, for 10 s at most; all processes that it starts end with it.
pub fn ask(root: &Root, program: &Path) -> ProgramAnswer {
    let mut invocation = Invocation::new(program, &["--version"]);
    invocation.chroot = (!root.is_running_system()).then(|| root.path().to_owned());
    invocation.confinement = Confinement::Stranger;
    match invocation.run(WITHIN, None) {
        Ok(finished) if finished.is_ok() => {
            let line = finished.stdout.lines().map(str::trim).find(|l| !l.is_empty());
            let shown = |line: &str| printable(&line.chars().take(SHOWN).collect::<String>());
            line.map_or_else(
                || ProgramAnswer::Nothing("it printed nothing".to_owned()),
                |l| ProgramAnswer::Version(shown(l)),
            )
        }
        Ok(finished) => ProgramAnswer::Nothing(format!("{}: {}", ending(&finished), finished.last_words())),
        Err(error) => ProgramAnswer::Nothing(error.to_string()),
    }
}

/// Returns the path if it is a regular file.
fn file(root: &Root, path: &InsidePath) -> Result<Option<PathBuf>, RootError> {
    Ok(root.has_file(path.as_path())?.then(|| path.clone().into()))
}

/// Returns the path if it is a program.
///
/// A file that nobody can execute is no program. If this user may not read it either, the error is returned, as
/// `configure`, which reads it, reports the same.
fn program(root: &Root, path: &InsidePath) -> Result<Option<PathBuf>, RootError> {
    if root.is_program(path.as_path())? {
        return Ok(Some(path.clone().into()));
    }
    if root.has_file(path.as_path())? {
        root.head(path.as_path(), 1)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_admins_own_program_is_found_and_not_run() {
        let dir = tempfile::tempdir().unwrap();
        let (program, ran) = (dir.path().join("qemu"), dir.path().join("ran"));
        std::fs::write(&program, format!("#!/bin/sh\n: >{}\necho QEMU emulator version 10\n", ran.display())).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let stated = StatedComponent {
            kind: ComponentKind::Vmm,
            name: "qemu".into(),
            packaged: true,
            part_of: None,
            packages: Some(Vec::new()),
            packages_confidence: Confidence::Documented,
            path: Some(program.as_path().try_into().unwrap()),
            path_confidence: Confidence::Documented,
        };
        let look = || components(&Root::default(), PackageManager::Apt, None, &[&stated]).unwrap().remove(0);
        let found = look();
        assert!(found.installed);
        assert_eq!(found.version, None);
        assert!(!ran.exists(), "it was run");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o644)).unwrap();
        let found = look();
        assert!(!found.installed);
        assert!(found.problem.unwrap().ends_with("is not an executable file"));
    }
}
