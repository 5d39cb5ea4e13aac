//! Installers that are recognised but not run: their commands according to their manuals.

use super::dnf;
use super::failure::{self, FailureSigns, NOTHING_KNOWN};
use super::program::InstallerProgram;
use super::{InstallRequest, InstallerChoice};
use crate::process::Invocation;
use model::package_manager::PackageManager;
use root::{Root, RootError};

/// A program that is recognised but not run.
pub(super) struct ToldInstaller {
    name: &'static str,
    file_name: &'static str,
    manager: PackageManager,
    /// Options to work on another root.
    outside: fn(&Root, &str) -> Vec<String>,
    /// Arguments to fetch package lists, if the program does not fetch them itself.
    refreshing: Option<&'static [&'static str]>,
    /// Arguments before the package names; empty for an image-based system.
    verb: &'static [&'static str],
    /// Arguments before `verb`, if the program supports `--enablerepo`.
    enabling: Option<&'static [&'static str]>,
    /// Prefix of each package name.
    within: &'static str,
    /// Signs of failures; none for a program that is never run.
    signs: &'static FailureSigns,
}

/// Values that most of these programs share.
const PLAIN: ToldInstaller = ToldInstaller {
    name: "none",
    file_name: "none",
    manager: PackageManager::ImageBased,
    outside: |_, _| Vec::new(),
    refreshing: None,
    verb: &[],
    enabling: None,
    within: "",
    signs: &NOTHING_KNOWN,
};

pub(super) static YUM: ToldInstaller = ToldInstaller {
    name: "yum",
    file_name: "yum",
    manager: PackageManager::Yum,
    outside: dnf::of_root,
    enabling: Some(&["--assumeyes"]),
    verb: &["install"],
    ..PLAIN
};

pub(super) static MICRODNF: ToldInstaller = ToldInstaller {
    name: "microdnf",
    file_name: "microdnf",
    manager: PackageManager::Dnf,
    outside: dnf::of_root,
    enabling: Some(&["--assumeyes", "--setopt=install_weak_deps=0"]),
    verb: &["install"],
    ..PLAIN
};

pub(super) static TDNF: ToldInstaller = ToldInstaller {
    name: "tdnf",
    file_name: "tdnf",
    manager: PackageManager::Tdnf,
    outside: |_, root_path| vec![format!("--installroot={root_path}")],
    // Images of Azure Linux have no package lists.
    refreshing: Some(&["makecache"]),
    enabling: Some(&["--assumeyes"]),
    verb: &["install"],
    ..PLAIN
};

/// Images of Alpine are made with apk.
pub(super) static APK: ToldInstaller = ToldInstaller {
    name: "apk",
    file_name: "apk",
    manager: PackageManager::Apk,
    outside: |_, root_path| vec!["--root".to_owned(), root_path.to_owned()],
    refreshing: Some(&["update"]),
    verb: &["add"],
    signs: &failure::APK,
    ..PLAIN
};

pub(super) static EMERGE: ToldInstaller = ToldInstaller {
    name: "emerge",
    file_name: "emerge",
    manager: PackageManager::Emerge,
    outside: |_, root_path| vec![format!("--root={root_path}")],
    verb: &["--ask=n", "--noreplace"],
    ..PLAIN
};

/// Changes take effect with the next boot.
pub(super) static RPM_OSTREE: ToldInstaller = ToldInstaller {
    name: "rpm-ostree",
    file_name: "rpm-ostree",
    manager: PackageManager::Dnf,
    verb: &["install", "--idempotent"],
    ..PLAIN
};

pub(super) static TRANSACTIONAL_UPDATE: ToldInstaller = ToldInstaller {
    name: "transactional-update",
    file_name: "transactional-update",
    manager: PackageManager::Zypper,
    verb: &["--non-interactive", "pkg", "install"],
    ..PLAIN
};

/// Packages are attributes of a channel.
pub(super) static NIX: ToldInstaller = ToldInstaller {
    name: "nix",
    file_name: "nix-env",
    manager: PackageManager::Nix,
    verb: &["--install", "--attr"],
    within: "nixos.",
    ..PLAIN
};

/// A plan for it is refused.
pub(super) static IMAGE_BASED: ToldInstaller = PLAIN;

impl InstallerProgram for ToldInstaller {
    fn name(&self) -> &'static str {
        self.name
    }

    fn file_name(&self) -> &'static str {
        self.file_name
    }

    fn manager(&self) -> PackageManager {
        self.manager
    }

    fn is_exercised(&self) -> bool {
        false
    }

    fn outside_options(&self, root: &Root, root_path: &str) -> Vec<String> {
        (self.outside)(root, root_path)
    }

    fn steps(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        request: &InstallRequest,
        refresh: bool,
    ) -> Result<Vec<Invocation>, RootError> {
        if self.verb.is_empty() {
            return Ok(Vec::new());
        }
        let refreshing = self.refreshing.filter(|_| refresh).map(|words| chosen.invocation(root, words));
        let enabled: Vec<String> = request.repositories.iter().map(|r| format!("--enablerepo={r}")).collect();
        let names: Vec<String> = request.packages.iter().map(|p| format!("{}{p}", self.within)).collect();
        let mut arguments: Vec<&str> = Vec::new();
        if let Some(before) = self.enabling {
            arguments.extend(before);
            arguments.extend(enabled.iter().map(String::as_str));
        }
        arguments.extend(self.verb);
        arguments.extend(names.iter().map(String::as_str));
        Ok(refreshing.into_iter().chain([chosen.invocation(root, &arguments)]).collect())
    }

    fn signs(&self) -> &'static FailureSigns {
        self.signs
    }
}
