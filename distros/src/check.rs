//! What of a release is installed in a root: where, which version, by which package.

use crate::arch::Arch;
use crate::kernel_image::newest;
use crate::packages::{Installed, Packages, QueryError};
use crate::record::{Confidence, Record, ReleaseEntry};
use crate::root::Root;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What a component is to Kata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A VMM.
    Vmm,
    /// A shared filesystem.
    Fs,
    /// The kernel.
    Kernel,
    /// The container manager.
    ContainerManager,
}

impl Kind {
    /// The key of a record.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Vmm => "vmm",
            Kind::Fs => "fs",
            Kind::Kernel => "kernel",
            Kind::ContainerManager => "container-manager",
        }
    }
}

/// A component of a release as the record has it, with the confidence of each fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stated {
    /// What it is.
    pub kind: Kind,
    /// `qemu`, `virtio-fs`, `linux`, `containerd`.
    pub name: String,
    /// Packages to install; `None` where the record says that nobody knows.
    pub packages: Option<Vec<String>>,
    /// How well the packages are known.
    pub packages_confidence: Confidence,
    /// The binary's path, or the kernel image's pattern; `None` if there is none or it is not known.
    pub path: Option<String>,
    /// How well the path is known.
    pub path_confidence: Confidence,
}

/// A component as it is on a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Component {
    /// What it is.
    pub kind: Kind,
    /// Its name in the record.
    pub name: String,
    /// Whether it can be used: the file that the record names is there, or all packages where it names none.
    pub installed: bool,
    /// The file, or the newest kernel image.
    pub path: Option<PathBuf>,
    /// Where its links lead, if elsewhere.
    pub resolved: Option<PathBuf>,
    /// The package that owns the file.
    pub package: Option<Installed>,
    /// The owner's version; a file that no package owns has none.
    pub version: Option<String>,
    /// The record's packages, each with what is installed under that name or provides it.
    pub packages: Vec<Wanted>,
    /// What is wrong.
    pub problem: Option<String>,
}

/// A package that the record names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wanted {
    /// The name in the record.
    pub name: String,
    /// What is installed under that name, or provides it.
    pub installed: Vec<Installed>,
}

/// The components of a release, the preferred VMM and filesystem first of their kind.
pub fn stated(record: &Record, entry: &ReleaseEntry, arch: Arch) -> Vec<Stated> {
    let facts = record.facts(entry, arch);
    let mut all: Vec<Stated> = Vec::new();
    let kinds = [Kind::Vmm, Kind::Fs, Kind::Kernel, Kind::ContainerManager];
    for (kind, name) in record.components(entry, arch, &kinds) {
        let fact = |what: &str| {
            let subject = format!("{} {name} {what}", kind.name());
            facts.iter().find(|f| f.subject == subject)
        };
        let packages = fact("packages");
        let path = fact(if kind == Kind::Kernel { "image" } else { "path" });
        // A path that is stated, but not for this architecture, makes nothing of the rest.
        if path.is_some_and(|p| p.value.is_none()) && packages.is_some_and(|p| p.value.is_none()) {
            continue;
        }
        all.push(Stated {
            kind,
            packages: match packages {
                None => Some(Vec::new()),
                Some(fact) => fact.value.as_ref().map(|v| v.split_whitespace().map(str::to_owned).collect()),
            },
            // Nothing stated is nothing that could be wrong.
            packages_confidence: packages.map_or(Confidence::Measured, |f| f.confidence),
            path: path.and_then(|f| f.value.clone()),
            path_confidence: path.map_or(Confidence::Measured, |f| f.confidence),
            name,
        });
    }
    all
}

/// Looks for one component.
///
/// # Errors
///
/// That the package database cannot be asked.
pub fn component(root: &Root, packages: Option<&Packages<'_>>, stated: &Stated) -> Result<Component, QueryError> {
    let mut wanted = Vec::new();
    for name in stated.packages.iter().flatten() {
        let installed = match packages {
            Some(packages) => packages.installed(name)?,
            None => Vec::new(),
        };
        wanted.push(Wanted { name: name.clone(), installed });
    }
    let found = match (&stated.path, stated.kind) {
        (Some(pattern), Kind::Kernel) => {
            newest(root, pattern, stated.packages.as_deref().unwrap_or_default())?.map(|kernel| kernel.path)
        }
        (Some(path), _) => Some(PathBuf::from(path)).filter(|p| root.is_program(p)),
        (None, _) => None,
    };
    let owner = match (&found, packages) {
        (Some(path), Some(packages)) => packages.owner(path)?,
        _ => None,
    };
    let all_there = !wanted.is_empty() && wanted.iter().all(|w| !w.installed.is_empty());
    let installed = if stated.path.is_some() { found.is_some() } else { all_there || wanted.is_empty() };
    let version = match (&owner, &found) {
        (Some(owner), _) => Some(owner.version.clone()),
        // Its own word would have to be asked for, and nothing of a root is run to look at it.
        (None, Some(_)) => None,
        (None, None) => wanted.first().and_then(|w| w.installed.first()).map(|i| i.version.clone()),
    };
    let problem = match (&stated.path, installed) {
        (Some(path), false) if all_there => Some(format!("its packages are installed, but {path} is not there")),
        (Some(path), false) => match root.metadata(Path::new(path)) {
            Some(_) => Some(format!("{path} is no program")),
            None => Some(format!("{path} is not there")),
        },
        (None, false) if stated.packages.is_none() => Some("the record does not know its packages".to_owned()),
        (None, false) => Some("its packages are not installed".to_owned()),
        (_, true) => None,
    };
    let resolved = found.as_ref().and_then(|p| root.resolve(p).ok()).filter(|r| Some(r) != found.as_ref());
    Ok(Component {
        kind: stated.kind,
        name: stated.name.clone(),
        installed,
        path: found,
        resolved,
        package: owner,
        version,
        packages: wanted,
        problem,
    })
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
        let stated = Stated {
            kind: Kind::Vmm,
            name: "qemu".into(),
            packages: Some(Vec::new()),
            packages_confidence: Confidence::Documented,
            path: Some(program.display().to_string()),
            path_confidence: Confidence::Documented,
        };
        let found = component(&Root::default(), None, &stated).unwrap();
        assert!(found.installed);
        assert_eq!(found.version, None);
        assert!(!ran.exists(), "it was run");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o644)).unwrap();
        let found = component(&Root::default(), None, &stated).unwrap();
        assert!(!found.installed);
        assert!(found.problem.unwrap().ends_with("is no program"));
    }
}
