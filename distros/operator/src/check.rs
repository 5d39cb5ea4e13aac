//! What of a release is installed in a root: where, which version, by which package.
//!
//! Versions come from the package databases alone (`packages`): a call that reads runs no program of the root, unless
//! [`ask`] is called.

use crate::kernel_image::newest;
use crate::packages::{Installed, Packages, QueryError};
use crate::process::{Confinement, Invocation, ending};
use model::arch::Arch;
use model::diagnostic::printable;
use model::package::{PackageName, PackageVersion};
use model::package_manager::PackageManager;
use model::record::{ComponentKind, Confidence, FactSubject, Record, ReleaseEntry, StatedFact};
use root::{Root, RootError};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A component of a release as the record has it, with the confidence of each fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatedComponent {
    /// What it is.
    pub kind: ComponentKind,
    /// `qemu`, `virtio-fs`, `linux`, `containerd`.
    pub name: String,
    /// Whether it is packaged for the architecture at all; where it is not, nothing below says anything.
    pub packaged: bool,
    /// The VMM that brings a filesystem without packages and daemon of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_of: Option<Box<StatedComponent>>,
    /// Packages to install; `None` where the record says that nobody knows.
    pub packages: Option<Vec<PackageName>>,
    /// How well the packages are known.
    pub packages_confidence: Confidence,
    /// The binary's path, or the kernel image's pattern; `None` if there is none or it is not known.
    pub path: Option<String>,
    /// How well the path is known.
    pub path_confidence: Confidence,
}

impl StatedComponent {
    /// What a record's fact about the path is called: `vmm qemu path`, `kernel linux image`.
    pub fn path_subject(&self) -> FactSubject {
        FactSubject::Path(self.kind, self.name.clone())
    }
}

/// Whether a component can be used; where it cannot, or nobody can tell, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// The file that the record names is there, or all packages where it names none.
    Installed,
    /// It is not.
    NotInstalled,
    /// The distro does not package it for this architecture.
    NotPackaged,
    /// It may be there: a folder on the way to it cannot be looked into, or what stands there cannot be read.
    Unreadable,
    /// The record does not know where it would be.
    Unknown,
}

impl Presence {
    /// Whether the answer is neither yes nor no.
    pub fn is_open(self) -> bool {
        matches!(self, Presence::NotPackaged | Presence::Unreadable | Presence::Unknown)
    }

    /// In words.
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

/// A component as it is on a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ComponentStatus {
    /// What it is.
    pub kind: ComponentKind,
    /// Its name in the record.
    pub name: String,
    /// Whether it can be used.
    pub installed: bool,
    /// The same with what is not known told apart from what is not there.
    pub presence: Presence,
    /// The file, or the newest kernel image.
    pub path: Option<PathBuf>,
    /// Where its links lead, if elsewhere.
    pub resolved: Option<PathBuf>,
    /// The package that owns the file.
    pub package: Option<Installed>,
    /// The owner's version; a file that no package owns has none.
    pub version: Option<PackageVersion>,
    /// The record's packages, each with what is installed under that name or provides it.
    pub packages: Vec<WantedPackage>,
    /// What is wrong.
    pub problem: Option<String>,
    /// What the program says of itself, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<ProgramAnswer>,
}

/// The result of asking a program for its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramAnswer {
    /// The first line that it printed.
    Version(String),
    /// Why there is none.
    Nothing(String),
}

/// A package that the record names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WantedPackage {
    /// The name in the record.
    pub name: PackageName,
    /// What is installed under that name, or provides it.
    pub installed: Vec<Installed>,
}

/// The components of a release, the preferred VMM and filesystem first of their kind.
pub fn stated(record: &Record, entry: &ReleaseEntry, arch: Arch) -> Vec<StatedComponent> {
    let facts = record.facts(entry, arch);
    let mut all: Vec<StatedComponent> = Vec::new();
    for (kind, name) in record.components(entry, arch, &ComponentKind::ALL) {
        let fact = |subject: FactSubject| facts.iter().find(|f| f.subject == subject);
        let packages = fact(FactSubject::Packages(kind, name.clone()));
        let path = fact(FactSubject::Path(kind, name.clone()));
        let packaged = !record.is_elsewhere(entry, arch, kind, &name);
        // Nothing of its own, or none as the record says: it comes with the VMM, and is not there without it.
        let has_none = packages.is_none_or(|fact| fact.values.as_ref().is_some_and(Vec::is_empty));
        let is_part = kind == ComponentKind::Fs && packaged && has_none && path.is_none();
        let vmm = || all.iter().filter(|s| s.kind == ComponentKind::Vmm).min_by_key(|s| !s.packaged).cloned();
        let part_of = if is_part { vmm().map(Box::new) } else { None };
        all.push(StatedComponent {
            kind,
            packaged,
            part_of,
            packages: record.packages_of(entry, arch, kind, &name),
            // Nothing stated is nothing that could be wrong.
            packages_confidence: packages.map_or(Confidence::Measured, |f| f.confidence),
            path: path.and_then(StatedFact::value),
            path_confidence: path.map_or(Confidence::Measured, |f| f.confidence),
            name,
        });
    }
    all
}

/// Looks for one component; `manager` is the record's package manager, in whose order kernels are counted.
///
/// # Errors
///
/// That the package database cannot be asked.
pub fn component(
    root: &Root,
    manager: PackageManager,
    packages: Option<&Packages<'_>>,
    stated: &StatedComponent,
) -> Result<ComponentStatus, QueryError> {
    let mut wanted = Vec::new();
    for name in stated.packages.iter().flatten() {
        let installed = match packages {
            Some(packages) => packages.installed(name.as_str())?,
            None => Vec::new(),
        };
        wanted.push(WantedPackage { name: name.clone(), installed });
    }
    let looked = match (&stated.path, stated.kind) {
        (Some(pattern), ComponentKind::Kernel) => {
            let packages = stated.packages.as_deref().unwrap_or_default();
            match newest(root, pattern, packages, Some(manager)) {
                Err(QueryError::Read(error)) => Err(error),
                kernel => Ok(kernel?.map(|k| k.path)),
            }
        }
        (Some(path), kind) if kind.is_data() => file(root, path),
        (Some(path), _) => program(root, path),
        (None, _) => Ok(None),
    };
    let (found, unreadable) = match looked {
        Ok(found) => (found, None),
        Err(error) => (None, Some(error)),
    };
    let owner = match (&found, packages) {
        (Some(path), Some(packages)) => packages.owner(path)?,
        _ => None,
    };
    let all_there = !wanted.is_empty() && wanted.iter().all(|w| !w.installed.is_empty());
    let vmm = match &stated.part_of {
        Some(vmm) => Some(component(root, manager, packages, vmm)?),
        None => None,
    };
    let there = |yes: bool| if yes { Presence::Installed } else { Presence::NotInstalled };
    let presence = match (&unreadable, &vmm) {
        (Some(_), _) => Presence::Unreadable,
        _ if found.is_some() => Presence::Installed,
        _ if !stated.packaged => Presence::NotPackaged,
        (None, Some(vmm)) => vmm.presence,
        _ if stated.path.is_some() => Presence::NotInstalled,
        _ if wanted.is_empty() => Presence::Unknown,
        _ => there(all_there),
    };
    let installed = presence == Presence::Installed;
    let version = match (&owner, &found) {
        (Some(owner), _) => Some(owner.version.clone()),
        // Its own word would have to be asked for, and nothing of a root is run to look at it.
        (None, Some(_)) => None,
        (None, None) => wanted.first().and_then(|w| w.installed.first()).map(|i| i.version.clone()),
    };
    let problem = match (presence, &stated.path) {
        (Presence::Installed, _) => None,
        (Presence::Unreadable, _) if unreadable.is_some() => unreadable.map(|e| e.to_string()),
        (Presence::NotPackaged, _) if vmm.is_none() => Some("the record has it for others".to_owned()),
        _ if vmm.is_some() => vmm.map(|v| match v.problem {
            Some(why) if v.presence == Presence::Unreadable => format!("it is a part of {}: {why}", v.name),
            _ => format!("it is a part of {}, which is {}", v.name, v.presence.words()),
        }),
        (_, Some(path)) => {
            let what = match root.look(Path::new(path))? {
                None => "is not there",
                Some(_) if stated.kind.is_data() => "is no regular file",
                Some(_) => "is no program",
            };
            let packages = if all_there { "its packages are installed, but " } else { "" };
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

/// How long a program may take to say its version.
const WITHIN: Duration = Duration::from_secs(10);

/// Characters of a version that are shown.
const SHOWN: usize = 200;

/// Asks a program for its version, which runs it: in its root, as nobody, without privileges or a network, in namespaces
/// of its own, for 10 s at most; whatever it starts ends with it.
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

/// A file at a path.
fn file(root: &Root, path: &str) -> Result<Option<PathBuf>, RootError> {
    let path = PathBuf::from(path);
    Ok(root.has_file(&path)?.then_some(path))
}

/// A program at a path.
///
/// A file that nobody can execute is none, and one of these that this user may not read either is not known: the same is
/// told of it by `configure`, which reads it.
fn program(root: &Root, path: &str) -> Result<Option<PathBuf>, RootError> {
    let path = PathBuf::from(path);
    if root.is_program(&path)? {
        return Ok(Some(path));
    }
    if root.has_file(&path)? {
        root.head(&path, 1)?;
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
            path: Some(program.display().to_string()),
            path_confidence: Confidence::Documented,
        };
        let found = component(&Root::default(), PackageManager::Apt, None, &stated).unwrap();
        assert!(found.installed);
        assert_eq!(found.version, None);
        assert!(!ran.exists(), "it was run");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o644)).unwrap();
        let found = component(&Root::default(), PackageManager::Apt, None, &stated).unwrap();
        assert!(!found.installed);
        assert!(found.problem.unwrap().ends_with("is no program"));
    }
}
