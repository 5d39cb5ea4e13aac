//! The closed list of what may differ from what Kata itself tells these VMMs.

/// One deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deviation {
    /// The serial port goes to standard output, as Kata has it with `enable_debug` only, and the kernel is not told to be quiet.
    SerialLog,
    /// The kernel's command line tells the harness's agent on which vsock port it is waited for, and what to load before.
    Line,
    /// Firecracker is given the harness's initramfs, because a distro's kernel has its drivers in modules; Kata only ever
    /// gives it an image, as a drive.
    Initrd,
    /// The guest has no network interface.
    NoNetwork,
    /// Firecracker is started without its jailer.
    NoJailer,
}

impl Deviation {
    /// What it means, in one sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Deviation::SerialLog => "the guest has a serial port, and its kernel logs to it",
            Deviation::Line => "the kernel's command line has two words for the harness's agent, which waits on vsock",
            Deviation::Initrd => {
                "the guest boots the harness's initramfs, because its drivers are modules, and no image is its first drive"
            }
            Deviation::NoNetwork => "the guest has no network interface",
            Deviation::NoJailer => "the VMM is started without its jailer",
        }
    }
}
