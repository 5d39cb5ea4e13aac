//! Everything that a configuration follows from.

use super::found::Inventory;
use super::guest::Guest;
use model::kata_version::KataVersion;
use model::profile::Profile;
use model::release::Release;
use model::verified::VerifiedEntry;

/// Everything that a configuration follows from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The record's view of the release.
    pub release: &'a Release,
    /// What runs proved of it.
    pub verified: &'a [VerifiedEntry],
    /// The profile of that Kata.
    pub profile: &'a Profile,
    /// The very version of Kata.
    pub kata: KataVersion,
    /// What the machine has.
    pub found: &'a Inventory,
    /// The guest's kernel.
    pub guest: &'a Guest,
    /// Whether the machine has no hardware virtualization, so that everything takes longer.
    pub emulated: bool,
    /// Whether what is known not to work is configured all the same.
    pub force: bool,
}
