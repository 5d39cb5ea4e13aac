//! A guest of a VMM other than QEMU.

use super::Machine;
use crate::check::Stop;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A running guest, seen from its host, of a VMM that is controlled over its own API and has no QMP.
pub trait OtherMachine: Machine {
    /// Plugs a file into the running guest as a disk, as the profile's runtime does.
    ///
    /// # Errors
    ///
    /// The VMM's refusal, which blames it.
    fn plug_disk(&mut self, file: &Path) -> Result<(), Stop>;

    /// Returns the share's directory on the host, if the guest has a share.
    fn shared_dir(&self) -> Option<PathBuf>;

    /// Connects to a vsock port of the guest through the VMM's socket.
    ///
    /// # Errors
    ///
    /// The VMM's reply if it is no success.
    fn dial(&mut self, port: u32) -> Result<OwnedFd, Stop>;

    /// Listens on a vsock port for connections from the guest.
    ///
    /// # Errors
    ///
    /// When the socket cannot be created.
    fn listen(&mut self, port: u32) -> Result<OwnedFd, Stop>;
}
