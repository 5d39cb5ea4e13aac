//! Profiles: what one range of Kata versions demands of a distro.
//!
//! They are not written one by one: each runtime has a base and what changed at which release ([`Family`]), from which
//! the profiles and their ranges are derived.

pub mod architecture;
mod demands;
mod family;
pub mod fixed;
mod qemu;
mod virtiofsd;

pub use demands::{Gate, GateKind, Minimum, ModuleUse, Modules};
pub use family::{Family, FamilyError, NoProfileError, ProfileChange};
pub use qemu::{BlkReadOnly, BlkSource, ImageDriver, JsonStyle, QemuDefaults, QmpDialect, QueryThreads};
pub use virtiofsd::{DaemonSetting, DaemonStyle, Virtiofsd};

use crate::capability::Capability;
use crate::kata_version::KataVersion;
use crate::share::Share;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

static ALL: LazyLock<Vec<Profile>> =
    LazyLock::new(|| Family::all().iter().flat_map(|family| family.profiles().iter().cloned()).collect());

/// Why a Kata does not print a profile's arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotItsVersion {
    /// It prints another's.
    #[error("kata {version} prints the arguments of {profile}, not those of {asked}: pass --profile {profile}")]
    Another {
        /// Kata's version.
        version: KataVersion,
        /// The profile that has it.
        profile: String,
        /// The one that was asked about.
        asked: String,
    },
    /// Nobody knows what it prints.
    #[error(transparent)]
    Unknown(#[from] NoProfileError),
}

/// A profile that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile {name:?}, known are {}{}", .known.join(", "), .nearest.as_ref().map(|n| format!("; did you mean {n:?}?")).unwrap_or_default())]
pub struct UnknownProfile {
    /// What was asked for.
    pub name: String,
    /// Every profile there is.
    pub known: Vec<String>,
    /// The one that was probably meant.
    pub nearest: Option<String>,
}

/// What one range of Kata versions demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// `go-3.29`: runtime and first release, the older of two where a point release changed.
    pub name: String,
    /// Which runtime's argument generator it uses.
    pub runtime: Runtime,
    /// The Kata releases it stands for: `3.29.0–3.31.0`.
    pub range: String,
    /// The tag it was taken from, the first of its range: `3.29.0`, or `main`.
    pub tag: String,
    /// Whether upstream still maintains it, which is the newest release; the default profiles are those.
    pub maintained: bool,
    /// What sets it apart from the profile before it.
    pub changes: Vec<ProfileChange>,
    /// Shared filesystems that the runtime and its guest agent know.
    pub shares: Vec<Share>,
    /// What QEMU and the host's kernel must offer.
    pub gates: Vec<Gate>,
    /// Guest kernel modules.
    pub modules: Modules,
    /// How QEMU is configured.
    pub qemu: QemuDefaults,
    /// How the runtime writes what it tells a running QEMU.
    pub qmp: QmpDialect,
    /// How virtiofsd is driven.
    pub virtiofsd: Virtiofsd,
    /// Documented minimum versions: notes for a reader, which decide nothing.
    pub minimums: Vec<Minimum>,
    /// What a reader should know of it.
    pub notes: Vec<String>,
}

impl Profile {
    /// Every profile, in the order of the matrix: the Go runtime's before runtime-rs's, the oldest first.
    pub fn all() -> &'static [Profile] {
        &ALL
    }

    /// The profiles of maintained Kata: what is qualified when none is asked for.
    pub fn maintained() -> impl Iterator<Item = &'static Profile> {
        Profile::all().iter().filter(|p| p.maintained)
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// When there is none, with the nearest match.
    pub fn find(name: &str) -> Result<&'static Profile, UnknownProfile> {
        Profile::all().iter().find(|p| p.name == name).ok_or_else(|| UnknownProfile {
            name: name.to_owned(),
            known: Profile::all().iter().map(|p| p.name.clone()).collect(),
            nearest: Profile::all()
                .iter()
                .map(|p| (strsim::jaro_winkler(name, &p.name), p))
                .filter(|(likeness, _)| *likeness > 0.7)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, p)| p.name.clone()),
        })
    }

    /// The profile of a Kata, by the version that it gives itself.
    ///
    /// # Errors
    /// When no profile is about it: never the nearest one.
    pub fn of(runtime: Runtime, version: KataVersion) -> Result<&'static Profile, NoProfileError> {
        Family::of(runtime).profile_of(version)
    }

    /// Whether a Kata of that version prints this profile's arguments.
    ///
    /// # Errors
    ///
    /// Which profile has it, or that none is known to.
    pub fn holds(&self, version: KataVersion) -> Result<(), NotItsVersion> {
        let family = Family::of(self.runtime);
        let unreleased = self.tag.parse::<KataVersion>().is_err();
        if unreleased && version > family.newest() {
            return Ok(());
        }
        match family.profile_of(version) {
            Ok(profile) if profile.name == self.name => Ok(()),
            Ok(profile) => {
                Err(NotItsVersion::Another { version, profile: profile.name.clone(), asked: self.name.clone() })
            }
            Err(beyond) => Err(NotItsVersion::Unknown(beyond)),
        }
    }

    /// The release it was taken from; one that no release has yet is as new as the newest.
    pub fn version(&self) -> KataVersion {
        self.tag.parse().unwrap_or_else(|_| Family::of(self.runtime).newest())
    }

    /// Whether upstream no longer maintains it; what no release has yet has not ended.
    pub fn ended(&self) -> bool {
        !self.maintained && self.tag.parse::<KataVersion>().is_ok()
    }

    /// Whether the runtime and its guest agent know the shared filesystem.
    pub fn shares(&self, share: Share) -> bool {
        self.shares.contains(&share)
    }

    /// Whether a capability is about something that these Katas do: a share that they know.
    pub fn has(&self, capability: Capability) -> bool {
        let shared = capability.share().filter(|share| Share::SHARED.contains(share));
        shared.is_none_or(|share| self.shares(share))
    }

    /// What these Katas do not run without, in the order of the matrix: the one list of it.
    pub fn needs(&self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |capability| capability.is_needed() && self.has(*capability))
    }

    /// The shared filesystems that they know, for a sentence: `virtio-fs, virtio-9p`.
    pub fn share_names(&self) -> String {
        let names: Vec<&str> = self.shares.iter().map(|share| share.name()).collect();
        names.join(", ")
    }

    /// What one version of its range demands: without the gates that begin at a later one.
    #[must_use]
    pub fn at(&self, version: KataVersion) -> Profile {
        let mut of_it = self.clone();
        of_it.gates.retain(|gate| gate.from.is_none_or(|from| from <= version));
        of_it
    }

    /// What must exist for a capability, at the newest version of its range.
    pub fn gates_of(&self, capability: Capability) -> impl Iterator<Item = &Gate> {
        self.gates.iter().filter(move |g| g.capability == capability)
    }
}

/// Kata's two runtimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// The Go runtime.
    Go,
    /// runtime-rs.
    Rs,
}

impl Runtime {
    /// Both of them.
    pub const ALL: &'static [Runtime] = &[Runtime::Go, Runtime::Rs];

    /// The word in records, and with which the names of its profiles begin.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Go => "go",
            Runtime::Rs => "rs",
        }
    }

    /// The runtime of a profile, by its name alone: also of one that another version of this program knows.
    pub fn of_profile(name: &str) -> Option<Runtime> {
        let (runtime, _) = name.split_once('-')?;
        Runtime::ALL.iter().copied().find(|known| known.name() == runtime)
    }
}

#[cfg(test)]
mod tests;
