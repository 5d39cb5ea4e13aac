//! Reasons why no configuration is written.

use super::super::HandlerError;
use super::super::edit::EditError;
use super::super::state::ChangeError;
use root::RootError;
use std::path::PathBuf;

/// Reasons why nothing can be written.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Kata's configuration cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The state cannot be read, or a file was changed.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The container manager's handler cannot be written.
    #[error(transparent)]
    Handler(#[from] HandlerError),
    /// Kata's configuration cannot be edited.
    #[error("{path}: {source}")]
    Edit {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: EditError,
    },
    /// The configuration is for another VMM.
    #[error("{0} has no [hypervisor.qemu]: give Kata's configuration for QEMU with --kata-config")]
    NotQemu(PathBuf),
    /// The configuration's guests are confidential.
    #[error(
        "{path} is for confidential guests ({key} = true in {file}:{line}), which boot a measured kernel and share no filesystem: give the configuration for ordinary ones with --kata-config, or take that out"
    )]
    Confidential {
        /// The configuration.
        path: PathBuf,
        /// The key that makes them confidential.
        key: &'static str,
        /// The file that sets the key: the configuration, or one of its drop-ins.
        file: PathBuf,
        /// The line in that file, from 1.
        line: usize,
    },
    /// The configuration shares its drop-ins with others, and a copy would not be read.
    #[error(
        "{path} shares its drop-ins with {}, which are not for ordinary guests of QEMU: {}", .others.join(", "), match .blocked {
            None => "pass --handler, so that a copy with drop-ins of its own is read".to_owned(),
            Some(own) => format!(
                "a copy with drop-ins of its own would go to {own}, which leads to files of others: move those, or name a configuration in a folder of its own with --kata-config"
            ),
        }
    )]
    Shared {
        /// The file.
        path: PathBuf,
        /// The other configurations.
        others: Vec<String>,
        /// The path of a handler's copy, if that is occupied, too.
        blocked: Option<&'static str>,
    },
    /// A file of others has the name of one of kata-osinfo's.
    #[error(
        "{0} is not kata-osinfo's, which writes a file of that name: give it another name, or pass --force to have it replaced until `kata-osinfo unconfigure` brings it back"
    )]
    Foreign(PathBuf),
}
