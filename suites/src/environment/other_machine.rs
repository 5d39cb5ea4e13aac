//! A guest of a VMM besides QEMU.

use super::Machine;
use crate::check::Stop;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A running guest of a VMM that is told everything over its own API, seen from its host. It speaks no QMP.
pub trait OtherMachine: Machine {
    /// Gives a file to the running guest as a disk, as the profile's runtime does.
    ///
    /// # Errors
    ///
    /// The VMM's refusal, which blames it.
    fn plug_disk(&mut self, file: &Path) -> Result<(), Stop>;

    /// The share's folder on the host's side, where the guest has one.
    fn shared_dir(&self) -> Option<PathBuf>;

    /// A connection to a vsock port of the guest's, by the socket that the VMM has for it.
    ///
    /// # Errors
    ///
    /// What the VMM said instead.
    fn dial(&mut self, port: u32) -> Result<OwnedFd, Stop>;

    /// A listener for what the guest connects to at a vsock port of its host.
    ///
    /// # Errors
    ///
    /// When nobody can be listened for.
    fn listen(&mut self, port: u32) -> Result<OwnedFd, Stop>;
}
