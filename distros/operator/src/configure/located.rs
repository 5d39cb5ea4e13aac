//! The configuration of Kata that was found.

use std::path::PathBuf;

/// The configuration that Kata reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedConfiguration {
    /// The path as it was named: by the caller, by containerd, or in the runtime's list.
    pub named: PathBuf,
    /// The path with all links resolved; drop-ins are next to this file.
    pub path: PathBuf,
    /// The source of the path.
    pub by: String,
    /// Other files that another build of the runtime would read instead.
    pub others: Vec<PathBuf>,
    /// Whether the runtime finds it by its own search, without being given a path.
    pub searched: bool,
}

impl LocatedConfiguration {
    /// Returns the directory of its drop-ins.
    pub fn drop_ins(&self) -> PathBuf {
        self.path.with_file_name("config.d")
    }
}
