//! The closed list of deviations from Kata's own configuration of these VMMs.

/// One deviation from Kata's own configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OtherVmmDeviation {
    /// The serial port goes to standard output, as with Kata's `enable_debug`, and the kernel gets no `quiet`.
    SerialLog,
    /// The kernel's command line gives the harness's agent its vsock port and the modules to load first.
    Line,
    /// Firecracker gets the harness's initramfs, because a distro's kernel has its drivers as modules; Kata passes only
    /// an image, as a drive.
    Initrd,
    /// The guest has no network interface.
    NoNetwork,
    /// Firecracker is started without its jailer.
    NoJailer,
}

impl OtherVmmDeviation {
    /// Describes the deviation in one sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            OtherVmmDeviation::SerialLog => "the guest has a serial port, and its kernel logs to it",
            OtherVmmDeviation::Line => {
                "the kernel's command line has two words for the harness's agent, which waits on vsock"
            }
            OtherVmmDeviation::Initrd => {
                "the guest boots the harness's initramfs, because its drivers are modules, and no image is its first drive"
            }
            OtherVmmDeviation::NoNetwork => "the guest has no network interface",
            OtherVmmDeviation::NoJailer => "the VMM is started without its jailer",
        }
    }
}
