//! Files of a guest, read by asking its agent.

use crate::check::Stop;
use crate::environment::{Machine, Question};

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
    let total = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    total.ok_or_else(|| Stop::fail("/proc/meminfo has no MemTotal"))
}
