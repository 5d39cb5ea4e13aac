//! The input for planning a configuration.

use super::found::Inventory;
use super::guest::GuestKernel;
use model::kata_version::KataVersion;
use model::profile::Profile;
use model::release::Release;
use model::verified::VerifiedEntry;

/// The input for planning a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The record's view of the release.
    pub release: &'a Release,
    /// Verified results of runs.
    pub verified: &'a [VerifiedEntry],
    /// The profile for this version of Kata.
    pub profile: &'a Profile,
    /// The exact version of Kata.
    pub kata: KataVersion,
    /// The inventory of the machine.
    pub found: &'a Inventory,
    /// The guest's kernel.
    pub guest: &'a GuestKernel,
    /// Whether the machine has no hardware virtualization, so that everything takes longer.
    pub emulated: bool,
    /// Whether to configure even what is known not to work.
    pub force: bool,
    /// Whether to share no filesystem, because containers' files are on block devices.
    pub no_shared_fs: bool,
}
