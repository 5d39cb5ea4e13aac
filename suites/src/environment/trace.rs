//! Traces that containers leave on the host.

use std::path::PathBuf;

/// Something on the host that belongs to a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trace {
    /// A record of containerd's.
    Record {
        /// The kind of record: `pod`, `container`, `task`, `snapshot`.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// A control group.
    ControlGroup {
        /// The group's directory.
        path: PathBuf,
        /// Whether the group and its descendants have no process.
        empty: bool,
    },
    /// A directory or file of a runtime's.
    Folder(PathBuf),
    /// The target of a mount.
    Mount(String),
    /// A process.
    Process {
        /// Its id.
        pid: u32,
        /// The name of its program.
        program: String,
    },
}

impl std::fmt::Display for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trace::Record { kind, id } => write!(f, "{kind} {id} of containerd's"),
            Trace::ControlGroup { path, empty } => {
                write!(f, "control group {}{}", path.display(), if *empty { " (empty)" } else { "" })
            }
            Trace::Folder(path) => write!(f, "folder {}", path.display()),
            Trace::Mount(target) => write!(f, "mount {target}"),
            Trace::Process { pid, program } => write!(f, "process {pid} ({program})"),
        }
    }
}
