//! Everything that a configuration follows from.

use super::Found;
use model::kata_version::KataVersion;
use model::profile::Profile;
use model::release::Release;
use model::verified::VerifiedEntry;

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
    /// What Kata's configuration names already: Kata's own kernel, not for production.
    Kata,
}

/// Everything that a configuration follows from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The record's view of the release.
    pub release: &'a Release,
    /// What runs proved of it.
    pub verified: &'a [VerifiedEntry],
    /// The Kata family.
    pub profile: &'a Profile,
    /// The very version of Kata.
    pub kata: KataVersion,
    /// What the machine has.
    pub found: &'a Found,
    /// The guest's kernel.
    pub guest: &'a Guest,
    /// Whether the machine has no hardware virtualization, so that everything takes longer.
    pub emulated: bool,
    /// Whether what is known not to work is configured all the same.
    pub force: bool,
}
