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
        "{path} is for confidential guests ({key} = true in {file}:{line}), which boot a measured kernel and share no filesystem: name the configuration for ordinary guests with --kata-config, or remove that setting"
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
        "{path} shares its drop-ins with {}, which are not for ordinary QEMU guests: {}", .others.join(", "), match .blocked {
            None => "pass --handler, so that Kata reads a copy with separate drop-ins".to_owned(),
            Some(own) => format!(
                "a copy with separate drop-ins would go to {own}, which leads to the files of others: move those, or name a configuration in a separate folder with --kata-config"
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
        "{0} was not written by kata-osinfo, which needs that name for its own file: rename the existing file, or pass --force to replace it until `kata-osinfo unconfigure` restores it"
    )]
    Foreign(PathBuf),
}
