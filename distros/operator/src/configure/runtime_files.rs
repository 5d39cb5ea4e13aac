//! The facts about Kata that containerd and CRI-O need: the shim, and the configuration that it reads.

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

/// Reasons why there is no handler.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// Kata itself is not installed.
    #[error("no Kata shim at {}: install Kata first", .0.join(", "))]
    NoShim(Vec<&'static str>),
    /// The file at the shim's path is not executable.
    #[error("{0} is not an executable file: make it executable, or reinstall Kata")]
    NoProgram(PathBuf),
    /// The container manager's configuration cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A file was changed since kata-osinfo wrote it.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A configuration of the container manager cannot be edited.
    #[error("{path}: {source}")]
    Edit {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: EditError,
    },
    /// containerd's configuration has version 1.
    #[error(
        "{path} has version 1 of containerd's configuration format, expected 2 or later: {}", match .migrate {
            true => "convert it with `containerd config migrate`",
            false => "rewrite it in version 2, beginning with `version = 2`; `containerd config default` prints an example",
        }
    )]
    OldConfig {
        /// The file.
        path: PathBuf,
        /// Whether this containerd can migrate it with `containerd config migrate`: 2.0 and later.
        migrate: bool,
    },
    /// Several containerds have a configuration here.
    #[error("found the configurations of several containerds: choose one with --containerd-config: {}", .0.join(", "))]
    Several(Vec<String>),
    /// A Kubernetes distribution is installed, and the file that its containerd reads is missing or not known.
    #[error(
        "{name} is installed ({sign}), but {why}; or pass --containerd-config with the file that your containerd reads: /etc/containerd/config.toml for the machine's own one"
    )]
    NotStarted {
        /// The distribution.
        name: &'static str,
        /// The file that shows that the distribution is installed.
        sign: PathBuf,
        /// The missing part, and the remedy.
        why: String,
    },
    /// The named file does not exist: a containerd that is told to read it would not start.
    #[error("no containerd configuration at {0}: name containerd's main configuration file with --containerd-config")]
    NoConfig(PathBuf),
    /// containerd does not start with the existing files.
    #[error("containerd would not start with {main} as it is: {why}")]
    WouldNotStart {
        /// The main file.
        main: PathBuf,
        /// The fault.
        why: String,
    },
    /// CRI-O does not start with the existing files.
    #[error("{place}: {why}; fix the file, or move it to where CRI-O does not read it")]
    CrioWouldNotStart {
        /// The file, and the line in it.
        place: String,
        /// The fault.
        why: String,
    },
    /// A main file that is rebuilt at each start does not import kata-osinfo's drop-in.
    #[error("{main} does not import kata-osinfo's drop-in: {advice}")]
    NotImported {
        /// The main file.
        main: PathBuf,
        /// How to make the main file import the drop-in.
        advice: String,
    },
    /// The template from which a main file is rebuilt does not import kata-osinfo's drop-in.
    #[error(
        "{template} does not import {folder}: {owner} regenerates {main} from this template at each start, so the handler would be lost: add `imports = [\"{folder}*.toml\"]` to the template, and restart {owner}"
    )]
    Rebuilt {
        /// The main file.
        main: PathBuf,
        /// The template.
        template: PathBuf,
        /// The directory of kata-osinfo's drop-in.
        folder: PathBuf,
        /// The owner of the template.
        owner: &'static str,
    },
    /// Every way of writing the handler would change other settings.
    #[error(
        "a handler cannot be added to {main} without side effects: {what}; add it by hand, or convert all of containerd's files to one version (and pass containerd's version with --containerd-version)"
    )]
    Harm {
        /// The main file.
        main: PathBuf,
        /// The change that would happen.
        what: String,
    },
    /// An imported file would override the edit.
    #[error(
        "{import}, which {main} imports, replaces the whole section `{plugin}`: containerd before 2.0 does not merge it; move the section into {main}{}", .note.iter().map(|note| format!("; {note}")).collect::<String>()
    )]
    Replaced {
        /// The imported file.
        import: PathBuf,
        /// The main file.
        main: PathBuf,
        /// The section.
        plugin: &'static str,
        /// Why it is not certain that the file is imported, if it is not.
        note: Option<String>,
    },
}

impl HandlerError {
    /// Returns whether the container manager's own configuration prevents the intended handler; in that case nothing
    /// has been written.
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

/// Paths of the Go shim: of distros, of manual installs, and of Kata's static release.
const GO: &[&str] = &[
    "/usr/bin/containerd-shim-kata-v2",
    "/usr/local/bin/containerd-shim-kata-v2",
    "/opt/kata/bin/containerd-shim-kata-v2",
];

/// Paths of the Rust shim: of Kata's static release, of Fedora, and of manual installs.
const RS: &[&str] = &[
    "/opt/kata/runtime-rs/bin/containerd-shim-kata-v2",
    "/usr/bin/containerd-shim-kata-rs-v2",
    "/usr/local/bin/containerd-shim-kata-v2",
];

/// Returns whether a path is one of the shims that this program configures.
pub(super) fn is_shim(path: &str) -> bool {
    GO.iter().chain(RS).any(|known| *known == path)
}

/// Finds the shim of a runtime.
///
/// # Errors
///
/// No shim exists, the file is not executable, or a path cannot be examined.
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
