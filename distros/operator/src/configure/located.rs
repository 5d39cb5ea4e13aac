//! The configuration of Kata that was found.

use std::path::PathBuf;

/// The configuration that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedConfiguration {
    /// As it is named: by the caller, by containerd, or in the runtime's list.
    pub named: PathBuf,
    /// Where it lies with all links followed; drop-ins are looked for beside this one.
    pub path: PathBuf,
    /// Who named it.
    pub by: String,
    /// Others that another build of the runtime would read instead.
    pub others: Vec<PathBuf>,
    /// Whether the runtime finds it by its own search, with nobody naming it.
    pub searched: bool,
}

impl LocatedConfiguration {
    /// The directory of its drop-ins.
    pub fn drop_ins(&self) -> PathBuf {
        self.path.with_file_name("config.d")
    }
}
