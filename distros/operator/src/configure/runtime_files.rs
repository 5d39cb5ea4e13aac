//! What containerd and CRI-O need to know of Kata: the shim, and which configuration it reads.

use super::edit::EditError;
use super::state::ChangeError;
use model::profile::Runtime;
use root::{Root, RootError};
use std::path::{Path, PathBuf};

/// The handler's name, by which a `RuntimeClass` chooses it.
pub(super) const NAME: &str = "kata";

/// A container manager whose handler can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handler {
    /// containerd, configuration versions 2 and up.
    Containerd,
    /// CRI-O.
    Crio,
}

/// Why there is no handler.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// Kata itself is not there.
    #[error("no Kata shim at {}: install Kata first", .0.join(", "))]
    NoShim(Vec<&'static str>),
    /// The file in the place of Kata's program can be executed by nobody.
    #[error("{0} is no program: make it executable, or install Kata again")]
    NoProgram(PathBuf),
    /// The container manager's configuration cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// It was changed since.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// It cannot be edited.
    #[error("{path}: {source}")]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: EditError,
    },
    /// The first form of its configuration.
    #[error(
        "{path} has version 1 of containerd's configuration, expected 2 or later: {}", match .migrate {
            true => "bring it up with `containerd config migrate`",
            false => "say what it says in version 2, beginning with `version = 2`; `containerd config default` prints one",
        }
    )]
    OldConfig {
        /// The file.
        path: PathBuf,
        /// Whether that containerd can bring it up itself: 2.0 and later.
        migrate: bool,
    },
    /// Several containerds are there.
    #[error("several containerds have a configuration here: choose one with --containerd-config: {}", .0.join(", "))]
    Several(Vec<String>),
    /// A distribution of Kubernetes is there, and what its containerd reads is not, or is not known.
    #[error(
        "{name} is here ({sign}), and {why}; or choose with --containerd-config what containerd reads, which is /etc/containerd/config.toml for one of the machine's own"
    )]
    NotStarted {
        /// The distribution.
        name: &'static str,
        /// What tells that it is there.
        sign: PathBuf,
        /// What is missing, and what to do.
        why: String,
    },
    /// What was named is not there: a containerd that is told to read it would not start.
    #[error("no containerd configuration at {0}: give the file that containerd reads first with --containerd-config")]
    NoConfig(PathBuf),
    /// It does not start with what is there.
    #[error("containerd would not start with {main} as it is: {why}")]
    WouldNotStart {
        /// The main file.
        main: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// CRI-O does not start with what is there.
    #[error("{place}: {why}; mend the file, or take it out of what CRI-O reads")]
    CrioWouldNotStart {
        /// The file, and the line in it.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// A file that is rebuilt at each start does not import ours.
    #[error("{main} does not import a file of ours: {advice}")]
    NotImported {
        /// The main file.
        main: PathBuf,
        /// How it can be made to.
        advice: String,
    },
    /// What a main file is rebuilt from does not import ours.
    #[error(
        "{template} has no import of {folder}: {owner} makes {main} from it at each start, and the handler would be gone: have `imports = [\"{folder}*.toml\"]` in it, and restart {owner}"
    )]
    Rebuilt {
        /// The main file.
        main: PathBuf,
        /// The template.
        template: PathBuf,
        /// Where our file lies.
        folder: PathBuf,
        /// Whose template it is.
        owner: &'static str,
    },
    /// No way of writing it leaves everything else as it is.
    #[error(
        "a handler cannot be added to {main} without harm: {what}; add it by hand, or bring all of its files to one version (and name containerd's with --containerd-version)"
    )]
    Harm {
        /// The main file.
        main: PathBuf,
        /// What would happen.
        what: String,
    },
    /// An imported file would undo the edit.
    #[error(
        "{import}, which {main} imports, replaces the whole section `{plugin}`: containerd before 2.0 does not merge it; move the section into {main}{}", .note.iter().map(|note| format!("; {note}")).collect::<String>()
    )]
    Replaced {
        /// The file that is imported.
        import: PathBuf,
        /// The main file.
        main: PathBuf,
        /// The section.
        plugin: &'static str,
        /// Whether it is imported is not known for certain, and why.
        note: Option<String>,
    },
}

impl HandlerError {
    /// Whether the container manager's own configuration keeps the handler from being the one that is meant; nothing has
    /// been written then.
    pub fn keeps_it_out(&self) -> bool {
        match self {
            HandlerError::Edit { .. }
            | HandlerError::OldConfig { .. }
            | HandlerError::WouldNotStart { .. }
            | HandlerError::CrioWouldNotStart { .. }
            | HandlerError::NotStarted { .. }
            | HandlerError::NotImported { .. }
            | HandlerError::Rebuilt { .. }
            | HandlerError::Harm { .. }
            | HandlerError::Replaced { .. } => true,
            HandlerError::NoShim(_)
            | HandlerError::NoProgram(_)
            | HandlerError::Root(_)
            | HandlerError::Change(_)
            | HandlerError::Several(_)
            | HandlerError::NoConfig(_) => false,
        }
    }
}

/// Where the Go shim is installed: by distros, by hand, by Kata's static release.
const GO: &[&str] = &[
    "/usr/bin/containerd-shim-kata-v2",
    "/usr/local/bin/containerd-shim-kata-v2",
    "/opt/kata/bin/containerd-shim-kata-v2",
];

/// Where the Rust shim is installed: by Kata's static release, by Fedora, by hand.
const RS: &[&str] = &[
    "/opt/kata/runtime-rs/bin/containerd-shim-kata-v2",
    "/usr/bin/containerd-shim-kata-rs-v2",
    "/usr/local/bin/containerd-shim-kata-v2",
];

/// Whether it is one of the paths that this program gives a container manager.
pub(super) fn is_shim(path: &str) -> bool {
    GO.iter().chain(RS).any(|known| *known == path)
}

/// The shim of a runtime.
///
/// # Errors
///
/// That it is nowhere, is no program, or cannot be looked for.
pub(super) fn shim(root: &Root, runtime: Runtime) -> Result<PathBuf, HandlerError> {
    let places = match runtime {
        Runtime::Go => GO,
        Runtime::Rs => RS,
    };
    for place in places.iter().map(Path::new) {
        if root.is_program(place)? {
            return Ok(place.to_owned());
        }
    }
    Err(match root.first_file(places.iter().map(Path::new))? {
        Some(file) => HandlerError::NoProgram(file.to_owned()),
        None => HandlerError::NoShim(places.to_vec()),
    })
}
