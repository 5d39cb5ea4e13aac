//! Installs packages by a system's own package manager, or by the machine's into another root.
//!
//! apt, dnf, zypper and pacman are run; the others are recognised and their command is told, because nobody has tried it
//! here.
//! Nothing goes through a shell, nothing asks questions, and nothing is removed to make room.
//!
//! - It is the root's own package manager with the root as its `/`, or this machine's with its option for another root.
//!   From outside it takes the root's configuration as data, by a list of names, and runs none of its hooks, solvers,
//!   plugins and downloaders.
//! - For every root but the running system it works in a sandbox ([`crate::process::sandbox`]): its own root is nobody on
//!   this machine, it may write to that root alone, it has a network only while it fetches, and it ends with this process.
//!   Where there can be no such sandbox nothing is run.
//!   On the running system it is free, and outlives this process.
//! - A dry run has no network, and of apt and pacman the root is read-only; what it then does not tell is left out.
//! - Locks are waited for, failures are told apart by what is said in the C locale (each program's signs stand in its own
//!   module below `failure`), and afterwards it is checked whether the packages are there.
//! - What the record only assumes is not installed unless that is allowed.

mod claim;
mod failure;
mod plan;
mod program;
mod run;
mod settings;

// One file for each program.
mod apt;
mod dnf;
mod other;
mod pacman;
mod zypper;

pub use dnf::QUIETLY as DNF_QUIETLY;
pub use failure::{Failure, FailureKind, FailureReason, failure_reason};
pub use pacman::whole_settings as pacman_settings;
pub use plan::{InstallPlan, InstallRequest, PackageAction, PackageChange};
pub use run::{InstallError, Installation, Options, install, plan};
pub use settings::ini;

use crate::packages::QueryError;
use crate::process::sandbox::{Network, SandboxedRoot, TARGET, WantedSandbox};
use crate::process::{Invocation, ProcessOutput};
use model::arch::Arch;
use model::package_manager::PackageManager;
use program::InstallerProgram;
use root::Root;
use serde::Serialize;
use settings::OwnSettings;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A program that installs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
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
    /// Photon OS, Azure Linux up to 3.
    Tdnf,
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
    /// None: the system comes as an image, and nothing is installed into it.
    #[serde(rename = "none")]
    ImageBased,
}

impl Installer {
    /// All of them; a package manager's own comes before others that write its database.
    pub const ALL: &'static [Installer] = &[
        Installer::Apt,
        Installer::Dnf,
        Installer::Yum,
        Installer::Microdnf,
        Installer::Tdnf,
        Installer::Zypper,
        Installer::Pacman,
        Installer::Apk,
        Installer::Emerge,
        Installer::RpmOstree,
        Installer::TransactionalUpdate,
        Installer::Nix,
        Installer::ImageBased,
    ];

    /// The program itself.
    fn program(self) -> &'static dyn InstallerProgram {
        match self {
            Installer::Apt => &apt::AptInstaller,
            Installer::Dnf => &dnf::DnfInstaller,
            Installer::Yum => &other::YUM,
            Installer::Microdnf => &other::MICRODNF,
            Installer::Tdnf => &other::TDNF,
            Installer::Zypper => &zypper::ZypperInstaller,
            Installer::Pacman => &pacman::PacmanInstaller,
            Installer::Apk => &other::APK,
            Installer::Emerge => &other::EMERGE,
            Installer::RpmOstree => &other::RPM_OSTREE,
            Installer::TransactionalUpdate => &other::TRANSACTIONAL_UPDATE,
            Installer::Nix => &other::NIX,
            Installer::ImageBased => &other::IMAGE_BASED,
        }
    }

    /// A package manager's own program.
    fn of(manager: PackageManager) -> Installer {
        Installer::ALL.iter().copied().find(|one| one.manager() == manager).unwrap_or(Installer::ImageBased)
    }

    /// The name people know it by.
    pub fn name(self) -> &'static str {
        self.program().name()
    }

    /// The name of the program's file.
    pub fn file_name(self) -> &'static str {
        self.program().file_name()
    }

    /// The package manager whose database it writes.
    pub fn manager(self) -> PackageManager {
        self.program().manager()
    }

    /// The command by which it fetches package lists before it installs; `None` where it sees to them itself.
    pub fn refresh(self) -> Option<&'static str> {
        self.program().refresh()
    }

    /// Whether it is run; else its command is told and left to the admin.
    pub fn is_exercised(self) -> bool {
        self.program().is_exercised()
    }
}

/// Which program installs into a root, and how it gets there.
#[derive(Debug, Clone)]
pub struct InstallerChoice {
    /// Its kind.
    pub installer: Installer,
    /// Its path, seen from where it runs; its bare name where it is not found.
    pub program: PathBuf,
    /// Where it runs.
    pub place: InstallerLocation,
    /// Settings that keep the machine's own out where it works on another root; made when they are needed first.
    own_settings: OnceLock<OwnSettings>,
}

/// Where an installer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallerLocation {
    /// On the running system, for itself.
    Here,
    /// It is the root's own, run with the root as its `/`.
    Inside,
    /// It is the machine's, told to work on the root.
    Outside,
    /// There is none.
    Nowhere,
}

/// What a simulation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Simulation {
    /// To tell, and to change nothing.
    DryRun,
    /// To tell what is done next.
    Installation,
}

/// Whether programs of the root can be run: as root, and of the machine's architecture.
fn can_run_inside(root: &Root) -> io::Result<bool> {
    let machine = Arch::of_machine();
    if !rustix::process::geteuid().is_root() || machine.is_none() {
        return Ok(false);
    }
    Ok(crate::detect::built_for(root).map_err(io::Error::other)?.arch() == machine)
}

/// The installer of a root whose record names `manager`.
///
/// The system decides where the record cannot: an image-based system is not installed into by dnf or zypper.
///
/// # Errors
///
/// That a folder of programs cannot be read ([`root::RootError`]).
pub fn choose(root: &Root, manager: PackageManager) -> io::Result<InstallerChoice> {
    let which = |root: &Root, program: &str| root.which(program).map_err(io::Error::other);
    let has = |program: &str| Ok::<_, io::Error>(which(root, program)?.is_some());
    let is_there = |path: &str| Ok::<_, io::Error>(root.look(Path::new(path)).map_err(io::Error::other)?.is_some());
    let is_ostree = || Ok::<_, io::Error>(is_there("/run/ostree-booted")? || is_there("/ostree")?);
    // Since dnf took yum's place its name is a link.
    let yum_is_dnf = || {
        let yum = which(root, "yum")?.and_then(|yum| root.resolve(&yum).ok());
        Ok::<_, io::Error>(yum.is_some_and(|yum| yum.ends_with("dnf-3") || yum.ends_with("dnf5")) && has("dnf")?)
    };
    let installer = match manager {
        PackageManager::Dnf | PackageManager::Yum if has("rpm-ostree")? && is_ostree()? => Installer::RpmOstree,
        // As bootc makes it: the next image replaces what a package manager put there, if it can put anything there.
        _ if is_ostree()? => Installer::ImageBased,
        PackageManager::Dnf if has("dnf")? => Installer::Dnf,
        PackageManager::Dnf if has("tdnf")? => Installer::Tdnf,
        PackageManager::Dnf if has("microdnf")? => Installer::Microdnf,
        PackageManager::Dnf if has("yum")? => Installer::Yum,
        PackageManager::Yum if yum_is_dnf()? => Installer::Dnf,
        PackageManager::Zypper if has("transactional-update")? => Installer::TransactionalUpdate,
        PackageManager::Tdnf if !has("tdnf")? && has("dnf")? => Installer::Dnf,
        manager => Installer::of(manager),
    };
    let name = installer.file_name();
    let found = which(root, name)?;
    let (program, place) = match found {
        Some(program) if root.is_running_system() => (program, InstallerLocation::Here),
        Some(program) if can_run_inside(root)? => (program, InstallerLocation::Inside),
        _ if root.is_running_system() => (PathBuf::from(name), InstallerLocation::Nowhere),
        _ => match which(&Root::default(), name)? {
            Some(program) => (program, InstallerLocation::Outside),
            None => (PathBuf::from(name), InstallerLocation::Nowhere),
        },
    };
    Ok(InstallerChoice { installer, program, place, own_settings: OnceLock::new() })
}

impl InstallerChoice {
    /// Whether it works in a sandbox: everywhere but on the running system.
    fn is_sandboxed(&self) -> bool {
        let elsewhere = matches!(self.place, InstallerLocation::Inside | InstallerLocation::Outside);
        elsewhere && self.installer.is_exercised()
    }

    /// An invocation of the program, with its options for the place where it runs; without a network in a sandbox.
    fn invocation(&self, root: &Root, arguments: &[&str]) -> Invocation {
        let program = self.installer.program();
        let seen = if self.is_sandboxed() { TARGET.to_owned() } else { root.path().display().to_string() };
        let outside = match self.place {
            InstallerLocation::Outside => program.outside_options(root, &seen),
            _ => Vec::new(),
        };
        let mut all: Vec<&str> = outside.iter().map(String::as_str).collect();
        all.extend(arguments);
        let mut invocation = Invocation::new(&self.program, &all);
        if self.is_sandboxed() {
            let settings = self.own_settings.get().cloned().unwrap_or_default();
            invocation.env = settings.env;
            let root = match self.place {
                InstallerLocation::Inside => SandboxedRoot::Itself(root.clone()),
                _ => SandboxedRoot::Target {
                    root: Some(root.clone()),
                    settings: Arc::new(settings.files),
                    own_temporary: program.writes_temporary(),
                },
            };
            invocation.sandbox = Some(WantedSandbox { root, writable: true, network: Network::None });
        } else if self.place == InstallerLocation::Inside {
            invocation.chroot = Some(root.path().to_owned());
        }
        invocation
    }

    /// The same with a network, for what fetches.
    fn fetching(&self, root: &Root, arguments: &[&str]) -> Invocation {
        let mut invocation = self.invocation(root, arguments);
        if let Some(wanted) = &mut invocation.sandbox {
            wanted.network = Network::Machine;
        }
        invocation
    }

    /// What a plan says of the commands: as they are, for a shell, and whether they are guarded.
    fn told(&self, steps: Vec<Invocation>) -> (Vec<Vec<String>>, Vec<String>, bool) {
        let shell = steps.iter().map(Invocation::shell).collect();
        (steps.into_iter().map(|step| step.argv).collect(), shell, self.is_sandboxed())
    }

    /// The commands that make it so.
    ///
    /// # Errors
    ///
    /// That there is no sandbox for them, or that what they depend on cannot be read.
    pub(crate) fn steps(
        &self,
        root: &Root,
        wanted: &InstallRequest,
        refresh: bool,
    ) -> Result<Vec<Invocation>, InstallError> {
        self.make_ready(root, wanted, refresh)?;
        Ok(self.installer.program().steps(self, root, wanted, refresh).map_err(QueryError::from)?)
    }

    /// Sees to what a program in a sandbox needs.
    fn make_ready(&self, root: &Root, wanted: &InstallRequest, refresh: bool) -> Result<(), InstallError> {
        if !self.is_sandboxed() {
            return Ok(());
        }
        let works_on =
            SandboxedRoot::Target { root: Some(root.clone()), settings: Arc::default(), own_temporary: false };
        let tried = WantedSandbox { root: works_on, writable: true, network: Network::None };
        if let Err(why) = tried.make() {
            return Err(InstallError::NoSandbox {
                installer: self.installer.name(),
                root: root.path().display().to_string(),
                why,
                command: self.for_its_own_system(root, wanted, refresh)?,
            });
        }
        if self.place == InstallerLocation::Outside && self.own_settings.get().is_none() {
            let made = self.installer.program().own_settings(root).map_err(InstallError::Settings)?;
            // Two threads may make them; they are the same.
            let _ = self.own_settings.set(made.unwrap_or_default());
        }
        Ok(())
    }

    /// The last command, as it is given in a system that runs.
    fn for_its_own_system(&self, root: &Root, wanted: &InstallRequest, refresh: bool) -> Result<String, InstallError> {
        let program = PathBuf::from(self.installer.file_name());
        let there = InstallerChoice { program, place: InstallerLocation::Here, ..self.clone() };
        let steps = self.installer.program().steps(&there, root, wanted, refresh).map_err(QueryError::from)?;
        Ok(steps.last().map(Invocation::shell).unwrap_or_default())
    }

    /// Why it failed, by what it said.
    pub(crate) fn failure(&self, finished: &ProcessOutput) -> Failure {
        Failure::of(self.installer, finished)
    }

    /// Runs a command; in a sandbox nobody else works on the root meanwhile.
    pub(crate) fn run(
        &self,
        root: &Root,
        invocation: &Invocation,
        within: Duration,
        show: Option<fn(&[u8])>,
    ) -> Result<ProcessOutput, Failure> {
        let _claimed = self.is_sandboxed().then(|| claim::claim(self, root)).transpose()?;
        invocation.run(within, show).map_err(|error| Failure::of_process(&error))
    }

    /// What would be changed, by the installer's own simulation; `None` where it does not tell.
    fn simulate(
        &self,
        root: &Root,
        wanted: &InstallRequest,
        within: Duration,
        simulation: Simulation,
    ) -> Option<Result<Vec<PackageChange>, Failure>> {
        let program = self.installer.program();
        let mut invocation = program.simulation(self, root, wanted, simulation)?;
        let is_dry = simulation == Simulation::DryRun;
        let own_in_dry_run = is_dry && self.place == InstallerLocation::Inside;
        if let Some(sandbox) = &mut invocation.sandbox {
            sandbox.writable = !program.simulates_reading() && !own_in_dry_run;
        }
        let told = self.run(root, &invocation, within, None);
        let told = told.and_then(|finished| program.changes(&finished).ok_or_else(|| self.failure(&finished)));
        let counts = |kind| match kind {
            FailureKind::MissingPackage | FailureKind::Conflict | FailureKind::Locked => true,
            // Without a network it does without what it would fetch.
            FailureKind::Repository if is_dry && self.is_sandboxed() => false,
            // Some want to write before they tell anything.
            _ => !own_in_dry_run,
        };
        match told {
            Err(failure) if !counts(failure.kind) => None,
            told => Some(told),
        }
    }
}

#[cfg(test)]
mod tests;
