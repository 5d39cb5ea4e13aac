//! Installs packages with a system's own package manager, or with the machine's into another root.
//!
//! apt, dnf, zypper and pacman are run; other package managers are recognised and their commands only reported, because
//! they have not been tried. No shell is involved, no questions are asked, and no package is removed to make room.
//!
//! - The program is the root's own package manager with the root as its `/`, or this machine's with its option for
//!   another root. From outside, it takes the root's configuration as data, by a list of keys, and runs none of its
//!   hooks, solvers, plugins and downloaders.
//! - On any root but the running system, it works in a sandbox ([`crate::process::sandbox`]): its root user has no
//!   rights on this machine, it may write to that root only, has a network only while it fetches, and ends with this
//!   process. Without a sandbox, nothing is run. On the running system it is not confined, and an installation goes on
//!   to its end if this process dies; only its own deadline ends it.
//! - A dry run has no network, and for apt and pacman the root is read-only; changes that it then cannot report are
//!   left out.
//! - Locks are waited for, failures are distinguished by messages in the C locale (each program's messages are listed
//!   in its own module below `failure`), and afterwards the packages are checked to be installed.
//! - Packages that the record only assumes are not installed unless that is allowed.

mod claim;
mod failure;
mod ostree;
mod plan;
mod program;
mod run;
mod settings;

// One module per program.
mod apt;
mod dnf;
mod other;
mod pacman;
mod zypper;

pub use dnf::QUIETLY as DNF_QUIETLY;
pub use failure::{FailureKind, FailureReason, InstallFailure, failure_reason};
pub use pacman::whole_settings as pacman_settings;
pub use plan::{InstallPlan, InstallRequest, PackageAction, PackageChange};
pub use run::{InstallError, InstallOptions, Installation, install, plan};
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
use std::path::PathBuf;
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
    /// No installer: the system is image-based, and no package can be installed.
    #[serde(rename = "none")]
    ImageBased,
}

impl Installer {
    /// All installers; a package manager's main program comes before others that use the same database.
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

    /// Returns the implementation.
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

    /// Returns a package manager's main program.
    fn of(manager: PackageManager) -> Installer {
        Installer::ALL.iter().copied().find(|one| one.manager() == manager).unwrap_or(Installer::ImageBased)
    }

    /// Returns the name known to people.
    pub fn name(self) -> &'static str {
        self.program().name()
    }

    /// Returns the program's file name.
    pub fn file_name(self) -> &'static str {
        self.program().file_name()
    }

    /// Returns the package manager whose database the program writes.
    pub fn manager(self) -> PackageManager {
        self.program().manager()
    }

    /// Returns the command that fetches package lists before an installation; `None` if the program fetches them
    /// itself.
    pub fn refresh(self) -> Option<&'static str> {
        self.program().refresh()
    }

    /// Checks whether the program is run here; otherwise its command is only reported, for the admin to run.
    pub fn is_exercised(self) -> bool {
        self.program().is_exercised()
    }
}

/// The program that installs into a root, and where it runs.
#[derive(Debug, Clone)]
pub struct InstallerChoice {
    /// The kind of installer.
    pub installer: Installer,
    /// The program's path, as seen where it runs; its bare name if it is not found.
    pub program: PathBuf,
    /// The place where it runs.
    pub place: InstallerLocation,
    /// Settings that replace the machine's when the program works on another root; made on first use.
    own_settings: OnceLock<OwnSettings>,
}

/// The place where an installer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallerLocation {
    /// On the running system, to install into it.
    Here,
    /// The root's own program, run with the root as its `/`.
    Inside,
    /// The machine's program, working on the root.
    Outside,
    /// There is no such program.
    Nowhere,
}

/// The purpose of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Simulation {
    /// Only to report, without changing anything.
    DryRun,
    /// To report the changes right before they are made.
    Installation,
}

/// Checks whether programs of the root can be run: this requires root and the machine's architecture.
fn can_run_inside(root: &Root) -> io::Result<bool> {
    let machine = Arch::of_machine();
    if !rustix::process::geteuid().is_root() || machine.is_none() {
        return Ok(false);
    }
    Ok(crate::detect::built_for(root).map_err(io::Error::other)?.arch() == machine)
}

/// Returns the installer of a root whose record names `manager`.
///
/// The system decides if the record cannot: dnf and zypper do not install into an image-based system.
///
/// # Errors
///
/// Fails if a directory of programs cannot be read ([`root::RootError`]).
pub fn choose(root: &Root, manager: PackageManager) -> io::Result<InstallerChoice> {
    let which = |root: &Root, program: &str| root.which(program).map_err(io::Error::other);
    let has = |program: &str| Ok::<_, io::Error>(which(root, program)?.is_some());
    let is_ostree = || ostree::is_used(root).map_err(io::Error::other);
    // Since dnf replaced yum, `yum` is a link to dnf.
    let yum_is_dnf = || {
        let yum = which(root, "yum")?.and_then(|yum| root.resolve(&yum).ok());
        Ok::<_, io::Error>(yum.is_some_and(|yum| yum.ends_with("dnf-3") || yum.ends_with("dnf5")) && has("dnf")?)
    };
    let installer = match manager {
        PackageManager::Dnf | PackageManager::Yum if has("rpm-ostree")? && is_ostree()? => Installer::RpmOstree,
        // A system as made by bootc: the next image replaces packages installed by a package manager, if it can install
        // any.
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
    /// Checks whether the installer works in a sandbox: everywhere but on the running system.
    fn is_sandboxed(&self) -> bool {
        let elsewhere = matches!(self.place, InstallerLocation::Inside | InstallerLocation::Outside);
        elsewhere && self.installer.is_exercised()
    }

    /// Prepares a run of the program, with its options for the place where it runs; in a sandbox, it has no network.
    fn invocation(&self, root: &Root, arguments: &[&str]) -> Invocation {
        let program = self.installer.program();
        let root_path = if self.is_sandboxed() { TARGET.to_owned() } else { root.path().display().to_string() };
        let outside = match self.place {
            InstallerLocation::Outside => program.outside_options(root, &root_path),
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

    /// Does the same as `invocation`, with a network, for commands that fetch.
    fn fetching(&self, root: &Root, arguments: &[&str]) -> Invocation {
        let mut invocation = self.invocation(root, arguments);
        if let Some(sandbox) = &mut invocation.sandbox {
            sandbox.network = Network::Machine;
        }
        invocation
    }

    /// Returns a plan's description of the commands: arguments, shell lines, and whether they are guarded.
    fn command_lines(&self, steps: Vec<Invocation>) -> (Vec<Vec<String>>, Vec<String>, bool) {
        let shell = steps.iter().map(Invocation::shell).collect();
        (steps.into_iter().map(|step| step.argv).collect(), shell, self.is_sandboxed())
    }

    /// Returns the commands that install the packages.
    ///
    /// # Errors
    ///
    /// Fails if there is no sandbox for them, or if the files they depend on cannot be read.
    pub(crate) fn steps(
        &self,
        root: &Root,
        request: &InstallRequest,
        refresh: bool,
    ) -> Result<Vec<Invocation>, InstallError> {
        self.make_ready(root, request, refresh)?;
        let mut steps = self.installer.program().steps(self, root, request, refresh).map_err(QueryError::from)?;
        for step in &mut steps {
            // Half of a package on a running system is worse than a package manager that finishes.
            step.outlives = self.place == InstallerLocation::Here;
        }
        Ok(steps)
    }

    /// Makes the settings for a sandboxed program, after checking that the sandbox can be made.
    fn make_ready(&self, root: &Root, request: &InstallRequest, refresh: bool) -> Result<(), InstallError> {
        if !self.is_sandboxed() {
            return Ok(());
        }
        let works_on =
            SandboxedRoot::Target { root: Some(root.clone()), settings: Arc::default(), own_temporary: false };
        let tried = WantedSandbox { root: works_on, writable: true, network: Network::None };
        if let Err(error) = tried.make() {
            return Err(InstallError::NoSandbox {
                installer: self.installer.name(),
                root: root.path().display().to_string(),
                why: error,
                command: self.for_its_own_system(root, request, refresh)?,
            });
        }
        if self.place == InstallerLocation::Outside && self.own_settings.get().is_none() {
            let settings = self.installer.program().own_settings(root).map_err(InstallError::Settings)?;
            // Two threads may make the same settings.
            let _ = self.own_settings.set(settings.unwrap_or_default());
        }
        Ok(())
    }

    /// Returns the last command, as run by hand inside the root's own running system.
    fn for_its_own_system(&self, root: &Root, request: &InstallRequest, refresh: bool) -> Result<String, InstallError> {
        let program = PathBuf::from(self.installer.file_name());
        let inside = InstallerChoice { program, place: InstallerLocation::Here, ..self.clone() };
        let steps = self.installer.program().steps(&inside, root, request, refresh).map_err(QueryError::from)?;
        Ok(steps.last().map(Invocation::shell).unwrap_or_default())
    }

    /// Returns the reason of a failure, from the program's output.
    pub(crate) fn failure(&self, finished: &ProcessOutput) -> InstallFailure {
        InstallFailure::of(self.installer, finished)
    }

    /// Runs a command; in a sandbox, no other installation of this program works on the root meanwhile.
    pub(crate) fn run(
        &self,
        root: &Root,
        invocation: &Invocation,
        within: Duration,
        show: Option<fn(&[u8])>,
    ) -> Result<ProcessOutput, InstallFailure> {
        let _claimed = self.is_sandboxed().then(|| claim::claim(self, root)).transpose()?;
        invocation.run(within, show).map_err(|error| InstallFailure::of_process(&error))
    }

    /// Returns the changes according to the installer's own simulation; `None` if the simulation does not reveal them.
    fn simulate(
        &self,
        root: &Root,
        request: &InstallRequest,
        within: Duration,
        simulation: Simulation,
    ) -> Option<Result<Vec<PackageChange>, InstallFailure>> {
        let program = self.installer.program();
        let mut invocation = program.simulation(self, root, request, simulation)?;
        let is_dry = simulation == Simulation::DryRun;
        let own_in_dry_run = is_dry && self.place == InstallerLocation::Inside;
        if let Some(sandbox) = &mut invocation.sandbox {
            sandbox.writable = !program.simulates_reading() && !own_in_dry_run;
        }
        let result = self.run(root, &invocation, within, None);
        let result = result.and_then(|finished| program.changes(&finished).ok_or_else(|| self.failure(&finished)));
        let counts = |kind| match kind {
            FailureKind::MissingPackage | FailureKind::Conflict | FailureKind::Locked => true,
            // Without a network, the simulation lacks what it would have fetched.
            FailureKind::Repository if is_dry && self.is_sandboxed() => false,
            // Some programs fail on a read-only root before they report anything.
            _ => !own_in_dry_run,
        };
        match result {
            Err(failure) if !counts(failure.kind) => None,
            result => Some(result),
        }
    }
}

#[cfg(test)]
mod tests;
