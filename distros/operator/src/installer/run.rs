//! Plans and installs the requested packages.

use super::{
    FailureKind, InstallFailure, InstallPlan, InstallRequest, Installer, InstallerChoice, InstallerLocation, Simulation,
};
use crate::packages::{Installed, Packages, QueryError};
use crate::process::{Invocation, to_stderr};
use model::package::{PackageName, is_plain};
use root::Root;
use serde::Serialize;
use std::io;
use std::time::{Duration, Instant};

/// Interval between attempts to get a lock.
const AGAIN: Duration = Duration::from_secs(1);

/// The limits of one installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstallOptions {
    /// Whether package lists are fetched first.
    pub refresh: bool,
    /// Maximum time to wait for another package manager's lock.
    pub lock_timeout: Duration,
    /// Time limit of one command.
    pub timeout: Duration,
    /// Whether the package manager's output is shown on standard error as it arrives.
    pub show: bool,
}

impl Default for InstallOptions {
    fn default() -> Self {
        InstallOptions {
            refresh: true,
            lock_timeout: Duration::from_secs(120),
            timeout: Duration::from_secs(1800),
            show: false,
        }
    }
}

/// The result of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Installation {
    /// The executed plan.
    pub plan: InstallPlan,
    /// The requested packages, as installed now.
    pub installed: Vec<Installed>,
    /// Seconds spent waiting for another package manager's lock.
    pub waited: u64,
}

/// The reason why not all packages were installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The name of a repository or module is invalid, for example because it could be an option.
    #[error("`{0}` is not the name of a repository or module: expected letters, digits and `+-._:@/`")]
    BadName(String),
    /// No packages were requested.
    #[error("no package was named")]
    Nothing,
    /// The system has no package manager.
    #[error("the system is image-based and has no package manager: packages cannot be installed")]
    ImageBased,
    /// The user is not root.
    #[error("installing packages needs root: run it as root, or with --dry-run")]
    NotRoot,
    /// The installer is not installed.
    #[error("{installer} is neither in {root} nor on this machine")]
    NoProgram {
        /// The installer's name.
        installer: &'static str,
        /// The root.
        root: String,
    },
    /// There is no sandbox, so the installer would have to run as this machine's root.
    #[error(
        "{installer} is not run on {root}, because no sandbox can be made for it: {why}; if you trust this root, run `{command}` in it by other means, such as a container or a virtual machine"
    )]
    NoSandbox {
        /// The installer's name.
        installer: &'static str,
        /// The root.
        root: String,
        /// The missing prerequisite.
        why: io::Error,
        /// The command to run inside the root.
        command: String,
    },
    /// The root's settings, or the program that reads them, cannot be read.
    #[error(transparent)]
    Settings(io::Error),
    /// The installer is not run here; the commands are in the plan.
    #[error("{} is not run by this program, because that has not been tested: run this yourself: {}", .0.installer.name(), commands(.0))]
    NotExercised(Box<InstallPlan>),
    /// The package database cannot be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The installer failed.
    #[error("{0}")]
    Failed(InstallFailure),
    /// The installer succeeded, but the package is not installed.
    #[error("{installer} succeeded, but {package} is not installed")]
    NotThere {
        /// The installer's name.
        installer: &'static str,
        /// The package.
        package: PackageName,
    },
}

fn commands(plan: &InstallPlan) -> String {
    let lines: Vec<String> = plan.commands.iter().map(|c| c.join(" ")).collect();
    lines.join(" && ")
}

/// Plans an installation; nothing is changed and nothing is fetched.
///
/// In another root, the installer simulates in a sandbox without a network; if it cannot, the plan has no changes. dnf
/// and zypper may write locks and caches there.
///
/// # Errors
///
/// Fails if the simulation fails, as the installation would, unless the package lists are old.
pub fn plan(
    chosen: &InstallerChoice,
    root: &Root,
    request: &InstallRequest,
    options: &InstallOptions,
) -> Result<InstallPlan, InstallError> {
    plan_as(chosen, root, request, options, Simulation::DryRun)
}

/// Does the same as [`plan`], for the given purpose.
fn plan_as(
    chosen: &InstallerChoice,
    root: &Root,
    request: &InstallRequest,
    options: &InstallOptions,
    simulation: Simulation,
) -> Result<InstallPlan, InstallError> {
    let enabled = request.repositories.iter().chain(&request.modules);
    if let Some(bad) = enabled.into_iter().find(|name| !is_plain(name)) {
        return Err(InstallError::BadName(bad.clone()));
    }
    if request.packages.is_empty() {
        return Err(InstallError::Nothing);
    }
    if chosen.installer == Installer::ImageBased {
        return Err(InstallError::ImageBased);
    }
    let (already, missing) = split(chosen, root, request)?;
    let todo = InstallRequest { packages: missing, ..request.clone() };
    let done = todo.packages.is_empty();
    let steps = if done { Vec::new() } else { chosen.steps(root, &todo, options.refresh)? };
    let changes = match done {
        true => Some(Vec::new()),
        false if chosen.place == InstallerLocation::Nowhere => None,
        false => {
            let simulated = chosen.simulate(root, &todo, options.timeout, simulation);
            simulated.transpose().map_err(InstallError::Failed)?
        }
    };
    let (commands, shell, guarded) = chosen.command_lines(steps);
    Ok(InstallPlan {
        installer: chosen.installer,
        exercised: chosen.installer.is_exercised(),
        place: chosen.place,
        packages: request.packages.clone(),
        already,
        enables: if done { Vec::new() } else { request.repositories.iter().chain(&request.modules).cloned().collect() },
        commands,
        shell,
        guarded,
        changes,
    })
}

/// Installs the requested packages and checks that they are installed.
///
/// # Errors
///
/// The reason why a package is not installed.
pub fn install(
    chosen: &InstallerChoice,
    root: &Root,
    request: &InstallRequest,
    options: &InstallOptions,
) -> Result<Installation, InstallError> {
    if chosen.installer.is_exercised() && !rustix::process::geteuid().is_root() {
        return Err(InstallError::NotRoot);
    }
    let mut lock = Lock { until: Instant::now() + options.lock_timeout, waited: Duration::ZERO };
    // Package lists may be old or missing before the refresh: then only a simulation after it can report the changes.
    let plan = loop {
        match plan(chosen, root, request, options) {
            Err(InstallError::Failed(failure)) if failure.kind == FailureKind::Locked => {
                lock.pause(failure, options)?
            }
            Err(InstallError::Failed(_)) if options.refresh => break None,
            // The present package lists did not suffice for the simulation either.
            Ok(plan) if plan.changes.is_none() && plan.exercised && plan.place != InstallerLocation::Nowhere => {
                break None;
            }
            plan => break Some(plan?),
        }
    };
    let name = chosen.installer.name();
    if let Some(plan) = &plan
        && plan.commands.is_empty()
    {
        let (installed, waited) = (plan.already.clone(), lock.waited.as_secs());
        return Ok(Installation { installed, plan: plan.clone(), waited });
    }
    if !chosen.installer.is_exercised()
        && let Some(plan) = plan
    {
        return Err(InstallError::NotExercised(Box::new(plan)));
    }
    if chosen.place == InstallerLocation::Nowhere {
        return Err(InstallError::NoProgram { installer: name, root: root.path().display().to_string() });
    }
    let (already, missing) = split(chosen, root, request)?;
    let todo = InstallRequest { packages: missing, ..request.clone() };
    let steps = chosen.steps(root, &todo, options.refresh)?;
    let mut shown_plan = plan;
    for (i, step) in steps.iter().enumerate() {
        if i + 1 == steps.len() && shown_plan.is_none() {
            // The package lists are new now, so a failure is real.
            shown_plan = match plan_as(chosen, root, request, options, Simulation::Installation) {
                Err(InstallError::Failed(failure)) if failure.kind == FailureKind::Locked => None,
                plan => Some(plan?),
            };
        }
        if i + 1 == steps.len()
            && options.show
            && let Some(plan) = &shown_plan
        {
            to_stderr(plan.description().as_bytes());
        }
        lock.run(chosen, root, step, options)?;
    }
    let packages = Packages::read(root, Some(chosen.installer.manager()))?;
    let mut installed = Vec::new();
    for package in &request.packages {
        let found = packages.installed(package.as_str())?;
        if found.is_empty() {
            return Err(InstallError::NotThere { installer: name, package: package.clone() });
        }
        installed.extend(found);
    }
    let (commands, shell, guarded) = chosen.command_lines(steps);
    let plan = shown_plan.unwrap_or_else(|| InstallPlan {
        installer: chosen.installer,
        exercised: true,
        place: chosen.place,
        packages: request.packages.clone(),
        already,
        enables: request.repositories.iter().chain(&request.modules).cloned().collect(),
        commands,
        shell,
        guarded,
        changes: None,
    });
    Ok(Installation { plan, installed, waited: lock.waited.as_secs() })
}

/// The remaining time to wait for another package manager's lock, over all commands.
struct Lock {
    until: Instant,
    waited: Duration,
}

impl Lock {
    /// Runs a command, and repeats it while another package manager holds the lock.
    fn run(
        &mut self,
        chosen: &InstallerChoice,
        root: &Root,
        invocation: &Invocation,
        options: &InstallOptions,
    ) -> Result<(), InstallError> {
        loop {
            let show = options.show.then_some(to_stderr as fn(&[u8]));
            let failure = match chosen.run(root, invocation, options.timeout, show) {
                Ok(finished) if finished.is_ok() => return Ok(()),
                Ok(finished) => chosen.failure(&finished),
                Err(failure) => failure,
            };
            if failure.kind != FailureKind::Locked {
                return Err(InstallError::Failed(failure));
            }
            self.pause(failure, options)?;
        }
    }

    /// Waits a moment; the failure is final when no time is left.
    fn pause(&mut self, failure: InstallFailure, options: &InstallOptions) -> Result<(), InstallError> {
        let remaining = self.until.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(InstallError::Failed(failure));
        }
        if self.waited.is_zero() && options.show {
            to_stderr(format!("waiting up to {} s for another package manager\n", remaining.as_secs()).as_bytes());
        }
        let pause = AGAIN.min(remaining);
        std::thread::sleep(pause);
        self.waited += pause;
        Ok(())
    }
}

/// Returns the requested packages that are installed, and those that are not.
fn split(
    chosen: &InstallerChoice,
    root: &Root,
    request: &InstallRequest,
) -> Result<(Vec<Installed>, Vec<PackageName>), InstallError> {
    // A new root has no database before its first package.
    let packages = match Packages::read(root, Some(chosen.installer.manager())) {
        Ok(packages) => packages,
        Err(QueryError::NoDatabase(_)) => return Ok((Vec::new(), request.packages.clone())),
        Err(error) => return Err(error.into()),
    };
    let (mut already, mut missing) = (Vec::new(), Vec::new());
    for package in &request.packages {
        let found = packages.installed(package.as_str())?;
        match found.is_empty() {
            true => missing.push(package.clone()),
            false => already.extend(found),
        }
    }
    Ok((already, missing))
}
