//! Files and modules of a guest, read and loaded by asking its agent.

use crate::check::{Check, Stop};
use crate::environment::{EnvironmentSide, Machine, Question};
use crate::outcome::Component;
use model::procfs;
use model::profile::ModuleUse;

/// A file as text.
pub(super) fn read(machine: &mut dyn Machine, path: &str) -> Result<String, Stop> {
    machine.ask(Question::Read { path: path.into() })?.text(&format!("reading {path} in the guest"))
}

/// The names in a folder; none where it is not there.
pub(super) fn list(machine: &mut dyn Machine, folder: &str) -> Result<Vec<String>, Stop> {
    let answer = machine.ask(Question::List { path: folder.into() })?;
    Ok(answer.names("").unwrap_or_default())
}

/// How much memory the guest's kernel counts, KiB.
pub(super) fn memory_kib(machine: &mut dyn Machine) -> Result<u64, Stop> {
    let meminfo = read(machine, "/proc/meminfo")?;
    procfs::meminfo(&meminfo, "MemTotal").ok_or_else(|| Stop::fail("/proc/meminfo has no MemTotal"))
}

/// The kernel has one of a use's modules, built in or in its packages that are installed: its configuration may name one
/// whose package is not.
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

/// Loads the modules that the guest's kernel has for a use; those that do not load are the kernel's fault. What it does not
/// have is passed over: see [`has_module`].
pub(super) fn load(machine: &mut dyn Machine, used_for: ModuleUse) -> Check {
    machine.load_modules(used_for).map_err(|stop| match stop {
        Stop::Fail { message, blames: None, .. } => Stop::blame(Component::Kernel, message),
        other => other,
    })
}
