//! Installs packages by a system's own package manager, or by the machine's into another root.
//!
//! apt, dnf, zypper and pacman are run; the others are recognised and their command is told, for nobody has tried it here.
//! Nothing goes through a shell, nothing asks questions, and nothing is removed to make room.
//! From outside, a root's configuration is data: what it would have run is not run on this machine.

mod apt;
mod dnf;
mod failure;
mod other;
mod pacman;
mod run;
mod settings;
mod zypper;

pub use failure::{Failure, FailureKind};
pub use run::{InstallError, Installation, Options, install, plan};

use crate::process::{Confinement, Finished, Invocation};
use model::arch::Arch;
use model::package_manager::PackageManager;
use root::Root;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A program that installs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Installer {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora, Enterprise Linux ≥ 8.
    Dnf,
    /// Enterprise Linux 7, Amazon Linux 2.
    Yum,
    /// Minimal images of Enterprise Linux.
    Microdnf,
    /// openSUSE, SLES.
    Zypper,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
    /// Gentoo.
    Emerge,
    /// Fedora CoreOS, Silverblue, RHEL CoreOS: packages layered on an image.
    RpmOstree,
    /// openSUSE MicroOS, SLE Micro: packages installed into the next snapshot.
    TransactionalUpdate,
    /// NixOS.
    Nix,
}

impl Installer {
    /// All of them.
    pub const ALL: &'static [Installer] = &[
        Installer::Apt,
        Installer::Dnf,
        Installer::Yum,
        Installer::Microdnf,
        Installer::Zypper,
        Installer::Pacman,
        Installer::Apk,
        Installer::Emerge,
        Installer::RpmOstree,
        Installer::TransactionalUpdate,
        Installer::Nix,
    ];

    /// The name people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Installer::Apt => "apt",
            Installer::Dnf => "dnf",
            Installer::Yum => "yum",
            Installer::Microdnf => "microdnf",
            Installer::Zypper => "zypper",
            Installer::Pacman => "pacman",
            Installer::Apk => "apk",
            Installer::Emerge => "emerge",
            Installer::RpmOstree => "rpm-ostree",
            Installer::TransactionalUpdate => "transactional-update",
            Installer::Nix => "nix",
        }
    }

    /// The program's file name.
    pub fn program(self) -> &'static str {
        match self {
            Installer::Apt => "apt-get",
            Installer::Nix => "nix-env",
            other => other.name(),
        }
    }

    /// The package manager whose database it writes.
    pub fn manager(self) -> PackageManager {
        match self {
            Installer::Apt => PackageManager::Apt,
            Installer::Dnf | Installer::Microdnf | Installer::RpmOstree => PackageManager::Dnf,
            Installer::Yum => PackageManager::Yum,
            Installer::Zypper | Installer::TransactionalUpdate => PackageManager::Zypper,
            Installer::Pacman => PackageManager::Pacman,
            Installer::Apk => PackageManager::Apk,
            Installer::Emerge => PackageManager::Emerge,
            Installer::Nix => PackageManager::Nix,
        }
    }

    /// Whether it is run; else its command is told and left to the admin.
    pub fn is_exercised(self) -> bool {
        matches!(self, Installer::Apt | Installer::Dnf | Installer::Zypper | Installer::Pacman)
    }
}

/// Which program installs into a root, and how it gets there.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Its kind.
    pub installer: Installer,
    /// Its path, seen from where it runs; its bare name where it is not found.
    pub program: PathBuf,
    /// Where it runs.
    pub place: Place,
    /// Settings that keep the machine's own out, for as long as it runs on another root.
    aside: Option<Arc<Aside>>,
}

/// A folder of settings, and the variables that lead to them.
///
/// A configuration can name commands: hooks, solvers, plugins, ways to fetch. Of a root's only data go in here, by name.
#[derive(Debug)]
struct Aside {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Aside {
    /// A file in a folder of its own.
    fn with(name: &str, text: &str) -> io::Result<Aside> {
        let folder = tempfile::Builder::new().prefix("kata-osinfo-").tempdir()?;
        std::fs::write(folder.path().join(name), text)?;
        Ok(Aside { folder, env: Vec::new() })
    }

    /// One more file.
    fn and(self, name: &str, text: &str) -> io::Result<Aside> {
        std::fs::write(self.folder.path().join(name), text)?;
        Ok(self)
    }

    /// The same, told by a variable.
    fn told(mut self, variable: &str, name: &str) -> Aside {
        self.env.push((variable.to_owned(), self.folder.path().join(name).display().to_string()));
        self
    }
}

/// Where an installer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// On the running system, for itself.
    Here,
    /// It is the root's own, run with the root as its `/`.
    Inside,
    /// It is the machine's, told to work on the root.
    Outside,
    /// There is none.
    Nowhere,
}

/// Whether programs of the root can be run: as root, and of the machine's architecture.
pub fn can_run_inside(root: &Root) -> bool {
    let machine = Arch::of_machine();
    rustix::process::geteuid().is_root() && machine.is_some() && crate::detect::arch(root) == machine
}

/// The installer of a root whose record names `manager`.
///
/// The system decides where the record cannot: an image-based system is not installed into by dnf or zypper.
///
/// # Errors
///
/// That there is no temporary folder for the settings of an installer that works on another root, or that a folder of
/// programs cannot be looked into ([`root::RootError`]).
pub fn choose(root: &Root, manager: PackageManager) -> io::Result<Chosen> {
    let which = |root: &Root, program: &str| root.which(program).map_err(io::Error::other);
    let has = |program: &str| Ok::<_, io::Error>(which(root, program)?.is_some());
    let is_there = |path: &str| Ok::<_, io::Error>(root.look(Path::new(path)).map_err(io::Error::other)?.is_some());
    let ostree = || Ok::<_, io::Error>(has("rpm-ostree")? && (is_there("/run/ostree-booted")? || is_there("/ostree")?));
    let installer = match manager {
        PackageManager::Apt => Installer::Apt,
        PackageManager::Dnf | PackageManager::Yum if ostree()? => Installer::RpmOstree,
        PackageManager::Dnf if has("dnf")? => Installer::Dnf,
        PackageManager::Dnf if has("microdnf")? => Installer::Microdnf,
        PackageManager::Dnf if has("yum")? => Installer::Yum,
        PackageManager::Dnf => Installer::Dnf,
        PackageManager::Yum => Installer::Yum,
        PackageManager::Zypper if has("transactional-update")? => Installer::TransactionalUpdate,
        PackageManager::Zypper => Installer::Zypper,
        PackageManager::Pacman => Installer::Pacman,
        PackageManager::Apk => Installer::Apk,
        PackageManager::Emerge => Installer::Emerge,
        PackageManager::Nix => Installer::Nix,
    };
    let name = installer.program();
    let found = which(root, name)?;
    let (program, place) = match found {
        Some(program) if root.is_running_system() => (program, Place::Here),
        Some(program) if can_run_inside(root) => (program, Place::Inside),
        _ if root.is_running_system() => (PathBuf::from(name), Place::Nowhere),
        _ => match which(&Root::default(), name)? {
            Some(program) => (program, Place::Outside),
            None => (PathBuf::from(name), Place::Nowhere),
        },
    };
    let aside = match (place, installer) {
        (Place::Outside, Installer::Apt) => Some(apt::aside(root)?),
        (Place::Outside, Installer::Dnf) => Some(dnf::aside(root)?),
        (Place::Outside, Installer::Zypper) => Some(zypper::aside(root)?),
        (Place::Outside, Installer::Pacman) => Some(pacman::aside(root)?),
        _ => None,
    };
    Ok(Chosen { installer, program, place, aside: aside.map(Arc::new) })
}

/// What is to be installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Packages by name.
    pub packages: Vec<String>,
    /// Repositories to enable for them.
    pub repositories: Vec<String>,
    /// Modules of the package manager to enable for them.
    pub modules: Vec<String>,
}

/// What an installer would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The installer's name.
    pub installer: Installer,
    /// Whether it is run here; else its commands are told only.
    pub exercised: bool,
    /// Where it runs.
    pub place: Place,
    /// What was asked for.
    pub packages: Vec<String>,
    /// Of these, what is there already.
    pub already: Vec<crate::packages::Installed>,
    /// Repositories and modules that are enabled first.
    pub enables: Vec<String>,
    /// The commands, in order.
    pub commands: Vec<Vec<String>>,
    /// The same for a shell, with variables and `chroot`.
    pub shell: Vec<String>,
    /// Whether they run with settings of this program's own, which end with it: run by hand they would also run what the
    /// root's or this machine's settings name.
    pub guarded: bool,
    /// Every package that would be changed; `None` where no simulation could tell.
    pub changes: Option<Vec<Change>>,
}

/// One package that an installer would change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// What would happen to it.
    pub action: Action,
    /// Its name.
    pub package: String,
    /// The new version, or the one that would go.
    pub version: String,
}

/// What would happen to a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is new.
    Install,
    /// Its version changes.
    Upgrade,
    /// It goes.
    Remove,
}

/// One command of an installer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) invocation: Invocation,
}

/// Reads what would be changed from a simulation; `None` if it failed.
type Reader = fn(&Finished) -> Option<Vec<Change>>;

impl Chosen {
    /// An invocation of the program, with its options for the place where it runs.
    fn invocation(&self, root: &Root, arguments: &[&str]) -> Invocation {
        let outside = match self.place {
            Place::Outside => self.outside_options(root),
            _ => Vec::new(),
        };
        let mut all: Vec<&str> = outside.iter().map(String::as_str).collect();
        all.extend(arguments);
        let mut invocation = Invocation::new(&self.program, &all);
        if let Some(aside) = &self.aside {
            invocation.env = aside.env.clone();
        }
        if self.place == Place::Inside {
            invocation.chroot = Some(root.path().to_owned());
        }
        invocation
    }

    /// What a plan says of the commands: as they are, for a shell, and whether they are guarded.
    fn told(&self, steps: Vec<Step>) -> (Vec<Vec<String>>, Vec<String>, bool) {
        let shell = steps.iter().map(|step| step.invocation.shell()).collect();
        (steps.into_iter().map(|step| step.invocation.argv).collect(), shell, self.aside.is_some())
    }

    /// The folder of our settings for another root.
    fn settings(&self) -> Option<&Path> {
        self.aside.as_ref().map(|aside| aside.folder.path())
    }

    fn outside_options(&self, root: &Root) -> Vec<String> {
        match self.installer {
            Installer::Apt => apt::outside_options(root),
            Installer::Dnf | Installer::Yum | Installer::Microdnf => dnf::outside_options(root, self.settings()),
            Installer::Zypper => zypper::outside_options(root),
            Installer::Pacman => pacman::outside_options(root, self.settings()),
            Installer::Apk => vec!["--root".to_owned(), root.path().display().to_string()],
            Installer::Emerge => vec![format!("--root={}", root.path().display())],
            Installer::RpmOstree | Installer::TransactionalUpdate | Installer::Nix => Vec::new(),
        }
    }

    /// The commands that make it so.
    pub(crate) fn steps(&self, root: &Root, wanted: &Wanted, refresh: bool) -> Vec<Step> {
        let invocations = match self.installer {
            Installer::Apt => apt::steps(self, root, wanted, refresh),
            Installer::Dnf => dnf::steps(self, root, wanted),
            Installer::Zypper => zypper::steps(self, root, wanted, refresh),
            Installer::Pacman => pacman::steps(self, root, wanted, refresh),
            _ => other::steps(self, root, wanted),
        };
        invocations.into_iter().map(|invocation| Step { invocation }).collect()
    }

    /// What would be changed, by the installer's own simulation; `None` where it does not tell.
    ///
    /// `confinement` is that of a root's own program.
    pub(crate) fn simulate(
        &self,
        root: &Root,
        wanted: &Wanted,
        within: Duration,
        confinement: Confinement,
    ) -> Option<Result<Vec<Change>, Failure>> {
        let (mut invocation, read): (Invocation, Reader) = match self.installer {
            Installer::Apt => (apt::simulation(self, root, wanted), apt::changes),
            Installer::Dnf => (dnf::simulation(self, root, wanted), dnf::changes),
            Installer::Zypper
                if self.place == Place::Outside && confinement != Confinement::Free && zypper::has_programs(root) =>
            {
                return None;
            }
            Installer::Zypper => (zypper::simulation(self, root, wanted), zypper::changes),
            Installer::Pacman => (pacman::simulation(self, root, wanted), pacman::changes),
            _ => return None,
        };
        let mut confined = false;
        if self.place == Place::Inside {
            invocation.confinement = confinement;
            confined = confinement != Confinement::Free;
        }
        let told = match invocation.run(within, None) {
            Err(error) => Err(Failure::of_process(&error)),
            Ok(finished) => read(&finished).ok_or_else(|| Failure::of(self.installer, &finished)),
        };
        // Some want to be root, or to write, before they tell anything: only what they know for sure is an answer.
        match told {
            Err(failure)
                if confined && !matches!(failure.kind, FailureKind::MissingPackage | FailureKind::Conflict) =>
            {
                None
            }
            told => Some(told),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(programs: &[&str]) -> (tempfile::TempDir, Root) {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for program in programs {
            let file = dir.path().join(program);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn the_system_decides_where_the_record_cannot() {
        let choice = |programs: &[&str], manager| choose(&root(programs).1, manager).unwrap().installer;
        let dnf = PackageManager::Dnf;
        assert_eq!(choice(&["usr/bin/dnf"], dnf), Installer::Dnf);
        assert_eq!(choice(&["usr/bin/microdnf"], dnf), Installer::Microdnf);
        assert_eq!(choice(&["usr/bin/dnf", "usr/bin/rpm-ostree"], dnf), Installer::Dnf);
        assert_eq!(choice(&["usr/bin/dnf", "usr/bin/rpm-ostree", "run/ostree-booted"], dnf), Installer::RpmOstree);
        assert_eq!(choice(&["usr/bin/yum"], dnf), Installer::Yum);
        assert_eq!(choice(&["usr/bin/zypper"], PackageManager::Zypper), Installer::Zypper);
        let snapshot = ["usr/bin/zypper", "usr/sbin/transactional-update"];
        assert_eq!(choice(&snapshot, PackageManager::Zypper), Installer::TransactionalUpdate);
        assert_eq!(choice(&[], PackageManager::Nix), Installer::Nix);
    }

    #[test]
    fn what_nobody_tried_here_is_told_word_for_word() {
        let (_dir, root) = root(&[]);
        let wanted = Wanted { packages: vec!["qemu".into()], ..Wanted::default() };
        let mut told = String::new();
        for installer in Installer::ALL.iter().filter(|i| !i.is_exercised()) {
            let chosen = Chosen {
                installer: *installer,
                program: installer.program().into(),
                place: Place::Nowhere,
                aside: None,
            };
            for step in chosen.steps(&root, &wanted, true) {
                told += &format!("{}: {}\n", installer.name(), step.invocation.argv.join(" "));
            }
        }
        insta::assert_snapshot!(told, @r"
        yum: yum --assumeyes install qemu
        microdnf: microdnf --assumeyes --setopt=install_weak_deps=0 install qemu
        apk: apk add qemu
        emerge: emerge --ask=n --noreplace qemu
        rpm-ostree: rpm-ostree install --idempotent qemu
        transactional-update: transactional-update --non-interactive pkg install qemu
        nix: nix-env --install --attr nixos.qemu
        ");
    }
}
