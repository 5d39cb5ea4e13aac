//! Profiles: the demands of one range of Kata versions on a distro.
//!
//! They are not written one by one: each runtime has a base and the changes by release ([`Family`]), from which the
//! profiles and their ranges are derived.

pub mod architecture;
mod demands;
mod family;
pub mod fixed;
mod name;
mod qemu;
mod virtiofsd;

pub use demands::{Gate, GateKind, Minimum, ModuleUse, Modules};
pub use family::{Family, FamilyError, NoProfileError, ProfileChange};
pub use name::{NotAProfileName, ProfileName};
pub use qemu::{BlkReadOnly, BlkSource, ImageDriver, JsonStyle, QemuDefaults, QmpDialect, QueryThreads};
pub use virtiofsd::{DaemonSetting, DaemonStyle, IdRange, TRANSLATED_GIDS, TRANSLATED_UIDS, Virtiofsd};

use crate::capability::Capability;
use crate::kata_version::KataVersion;
use crate::share::Share;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

static ALL: LazyLock<Vec<Profile>> =
    LazyLock::new(|| Family::all().iter().flat_map(|family| family.profiles().iter().cloned()).collect());

/// Reasons why a Kata version does not print a profile's arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotItsVersion {
    /// The version prints the arguments of another profile.
    #[error(
        "kata {version} passes the arguments of profile {profile}, not those of {requested}: pass --profile \
         {profile}"
    )]
    Another {
        /// Kata's version.
        version: KataVersion,
        /// The profile that contains the version.
        profile: ProfileName,
        /// The requested profile.
        requested: ProfileName,
    },
    /// It is unknown what the version prints.
    #[error(transparent)]
    Unknown(#[from] NoProfileError),
}

/// Error for a profile that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown profile {name:?}, known are {}{}", .known.join(", "), .nearest.as_ref().map(|n| format!("; did you mean {:?}?", n.as_str())).unwrap_or_default())]
pub struct UnknownProfile {
    /// The requested name.
    pub name: String,
    /// All profiles.
    pub known: Vec<ProfileName>,
    /// The most similar name.
    pub nearest: Option<ProfileName>,
}

/// The demands of one range of Kata versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// Runtime and first release: `go-3.29`. An exception is `go-3.2`, which begins at the point release 3.1.3.
    pub name: ProfileName,
    /// The runtime whose argument generator is modelled.
    pub runtime: Runtime,
    /// The Kata releases of the profile: `3.29.0–3.31.0`.
    pub range: String,
    /// The tag that the profile was read from, the first of the range: `3.29.0`, or `main`.
    pub tag: String,
    /// Whether upstream still maintains the range, which is true of the newest release; such profiles are the default
    /// ones.
    pub maintained: bool,
    /// Differences from the profile before.
    pub changes: Vec<ProfileChange>,
    /// Shared filesystems that the runtime and the guest agent support.
    pub shares: Vec<Share>,
    /// Features that QEMU and the host's kernel must offer.
    pub gates: Vec<Gate>,
    /// Guest kernel modules.
    pub modules: Modules,
    /// Configuration of QEMU.
    pub qemu: QemuDefaults,
    /// Encoding of the runtime's QMP commands.
    pub qmp: QmpDialect,
    /// Command line of virtiofsd.
    pub virtiofsd: Virtiofsd,
    /// Documented minimum versions: informative only.
    pub minimums: Vec<Minimum>,
    /// Notes for the reader.
    pub notes: Vec<String>,
}

impl Profile {
    /// All profiles, in the order of the matrix: the Go runtime's before runtime-rs's, the oldest first.
    pub fn all() -> &'static [Profile] {
        &ALL
    }

    /// The profiles of maintained Kata, which are qualified by default.
    pub fn maintained() -> impl Iterator<Item = &'static Profile> {
        Profile::all().iter().filter(|p| p.maintained)
    }

    /// Finds the profile of that name.
    ///
    /// # Errors
    /// If there is none, with the most similar name.
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

    /// Finds the profile of a Kata version, as Kata reports it.
    ///
    /// # Errors
    /// If no profile covers the version; the nearest one is never taken instead.
    pub fn of(runtime: Runtime, version: KataVersion) -> Result<&'static Profile, NoProfileError> {
        Family::of(runtime).profile_of(version)
    }

    /// Checks whether Kata of that version prints this profile's arguments.
    ///
    /// # Errors
    ///
    /// The profile that contains the version, or that none is known to.
    pub fn holds(&self, version: KataVersion) -> Result<(), NotItsVersion> {
        let family = Family::of(self.runtime);
        let unreleased = self.tag.parse::<KataVersion>().is_err();
        if unreleased && version > family.newest() {
            return Ok(());
        }
        match family.profile_of(version) {
            Ok(profile) if profile.name == self.name => Ok(()),
            Ok(profile) => {
                Err(NotItsVersion::Another { version, profile: profile.name.clone(), requested: self.name.clone() })
            }
            Err(beyond) => Err(NotItsVersion::Unknown(beyond)),
        }
    }

    /// Returns the release that the profile was read from; an unreleased profile counts as the newest release.
    pub fn version(&self) -> KataVersion {
        self.tag.parse().unwrap_or_else(|_| Family::of(self.runtime).newest())
    }

    /// Whether upstream no longer maintains the range; an unreleased profile has not ended.
    pub fn ended(&self) -> bool {
        !self.maintained && self.tag.parse::<KataVersion>().is_ok()
    }

    /// Whether the runtime and its guest agent support the shared filesystem.
    pub fn shares(&self, share: Share) -> bool {
        self.shares.contains(&share)
    }

    /// Whether a capability applies to this Kata: false only if it is about a shared filesystem that Kata does not
    /// support.
    pub fn has(&self, capability: Capability) -> bool {
        let shared = capability.share().filter(|share| Share::SHARED.contains(share));
        shared.is_none_or(|share| self.shares(share))
    }

    /// Returns the capabilities that Kata does not run without, in the order of the matrix; this is the only such list.
    pub fn needs(&self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |capability| capability.is_needed() && self.has(*capability))
    }

    /// Returns the names of the shared filesystems, for a sentence: `virtio-fs, virtio-9p`.
    pub fn share_names(&self) -> String {
        let names: Vec<&str> = self.shares.iter().map(|share| share.name()).collect();
        names.join(", ")
    }

    /// Returns the demands of one version of the range: without the gates of later versions.
    #[must_use]
    pub fn at(&self, version: KataVersion) -> Profile {
        let mut profile = self.clone();
        profile.gates.retain(|gate| gate.from.is_none_or(|from| from <= version));
        profile
    }

    /// Returns the gates of a capability, at the newest version of the range.
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
    /// Both runtimes.
    pub const ALL: &'static [Runtime] = &[Runtime::Go, Runtime::Rs];

    /// Returns the word in records, which is also the prefix of profile names.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Go => "go",
            Runtime::Rs => "rs",
        }
    }

    /// Returns the name of the language that the runtime is written in: `go`, `rust`.
    pub fn language(self) -> &'static str {
        match self {
            Runtime::Go => "go",
            Runtime::Rs => "rust",
        }
    }

    /// Returns the runtime of a profile by its name alone, so that it works for profiles of other versions of this
    /// program, too.
    pub fn of_profile(name: &str) -> Option<Runtime> {
        let (runtime, _) = name.split_once('-')?;
        Runtime::ALL.iter().copied().find(|known| known.name() == runtime)
    }
}

#[cfg(test)]
mod tests;
