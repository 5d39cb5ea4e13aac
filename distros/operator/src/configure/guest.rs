//! Which kernel and initrd the guests boot.

/// Which kernel the guests boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guest {
    /// This kernel with this initrd, which holds Kata's agent and the kernel's modules.
    Own {
        /// The kernel's path; `None` is the newest of the distro's.
        kernel: Option<String>,
        /// The initrd's path.
        initrd: String,
    },
    /// What Kata's configuration names already: Kata's own kernel.
    Kata,
}
