//! A guest's files and kernel modules, accessed through its agent.

use crate::check::{Check, Stop};
use crate::environment::{EnvironmentSide, Machine, Question};
use crate::outcome::Component;
use model::procfs;
use model::profile::ModuleUse;

/// Reads a file as text.
pub(super) fn read(machine: &mut dyn Machine, path: &str) -> Result<String, Stop> {
    machine.ask(Question::Read { path: path.into() })?.text(&format!("reading {path} in the guest"))
}

/// Lists the names in a directory; empty if it does not exist.
pub(super) fn list(machine: &mut dyn Machine, folder: &str) -> Result<Vec<String>, Stop> {
    let answer = machine.ask(Question::List { path: folder.into() })?;
    Ok(answer.names("").unwrap_or_default())
}

/// Returns the memory that the guest's kernel counts, KiB.
pub(super) fn memory_kib(machine: &mut dyn Machine) -> Result<u64, Stop> {
    let meminfo = read(machine, "/proc/meminfo")?;
    procfs::meminfo(&meminfo, "MemTotal").ok_or_else(|| Stop::fail("/proc/meminfo has no MemTotal"))
}

/// Checks that the kernel has one of a use's modules, built in or in an installed package: the kernel's configuration
/// may name a module whose package is not installed.
pub(super) fn has_module(env: &dyn EnvironmentSide, used_for: ModuleUse, name: &str) -> Check {
    let claims = env.claims();
    let is_missing = claims.modules.get(&used_for).is_some_and(|set| set.missing.iter().any(|one| one == name));
    match is_missing {
        false => Ok(()),
        true => {
            let what = format!("kernel {} has neither a module nor built-in code for {name}", claims.kernel);
            Err(Stop::blame(Component::Kernel, what))
        }
    }
}

/// Loads the modules that the guest's kernel has for a use; the kernel is blamed for one that does not load. Missing
/// modules are skipped: see [`has_module`].
pub(super) fn load(machine: &mut dyn Machine, used_for: ModuleUse) -> Check {
    machine.load_modules(used_for).map_err(|stop| match stop {
        Stop::Fail { message, blames: None, .. } => Stop::blame(Component::Kernel, message),
        other => other,
    })
}
