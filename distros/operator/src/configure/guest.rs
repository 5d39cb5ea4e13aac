//! The kernel and initrd that guests boot.

/// The kernel that guests boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guest {
    /// This kernel with this initrd, which holds Kata's agent and the kernel's modules.
    Own {
        /// The kernel's path; `None` is the newest of the distro's.
        kernel: Option<String>,
        /// The initrd's path.
        initrd: String,
    },
    /// The kernel in Kata's configuration: Kata's own.
    Kata,
}
