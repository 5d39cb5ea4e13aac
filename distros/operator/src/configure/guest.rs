//! The kernel and initrd that guests boot.

use std::path::PathBuf;

/// The kernel that guests boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestKernel {
    /// This kernel with this initrd, which holds Kata's agent and the kernel's modules.
    Own {
        /// The kernel, inside the root; `None` is the newest of the distro's.
        kernel: Option<PathBuf>,
        /// The initrd, likewise.
        initrd: PathBuf,
    },
    /// The kernel in Kata's configuration: Kata's own.
    Kata,
}
