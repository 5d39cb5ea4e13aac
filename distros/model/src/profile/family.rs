//! A runtime's profiles, derived from a base and the changes by release.
//!
//! `distros/profiles/go.yaml` and `rs.yaml` contain a base (gates, modules, parameters, flags) and the changes by
//! release, each with Kata's file and tag.
//! The ranges of the derived profiles are contiguous and do not overlap.
//! A version belongs to the profile whose range contains it; if there is none, that is an error, and the nearest
//! profile is never used instead.
//! `harness/upstream` compares the profiles with a checkout of Kata's source: the stated values, and every change of
//! the defaults and of a function that builds arguments or speaks QMP.

mod gates;

use super::{Gate, Profile, Runtime};
use crate::kata_version::KataVersion;
use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};
use std::sync::LazyLock;

const EMBEDDED: [&str; 2] = [include_str!("../../../profiles/go.yaml"), include_str!("../../../profiles/rs.yaml")];

static ALL: LazyLock<Vec<Family>> = LazyLock::new(|| EMBEDDED.iter().map(|text| embedded(text)).collect());

#[expect(clippy::expect_used, reason = "the files are part of the program and parsed by a test")]
fn embedded(text: &str) -> Family {
    Family::parse(text).expect("an embedded family is well-formed")
}

/// Value of `from:` for a change that is not released yet.
const UNRELEASED: &str = "main";

/// One runtime: the releases that were read, and the profiles derived from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    runtime: Runtime,
    releases: Vec<KataVersion>,
    profiles: Vec<Profile>,
}

/// Difference of a profile from the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProfileChange {
    /// The difference, in a few words.
    pub what: String,
    /// The source: `src/runtime/pkg/govmm/qemu/qemu.go@3.8.0`.
    pub source: String,
}

/// Reasons why a family's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FamilyError {
    /// The file is not YAML of the expected form.
    #[error(transparent)]
    Yaml(#[from] serde_yaml::Error),
    /// A profile cannot be built from the file's content.
    #[error("profile {name}: {source}")]
    Profile {
        /// The profile's name.
        name: String,
        /// The error.
        source: serde_yaml::Error,
    },
    /// The ranges are not in order, or begin at a release that is not listed.
    #[error("profile {name} begins at {from}, expected {expected}")]
    From {
        /// The profile's name.
        name: String,
        /// The value as written.
        from: String,
        /// The expected value.
        expected: &'static str,
    },
    /// A gate cites a release after its own first release, or begins outside of the profile's range.
    #[error("profile {name} has the gate {gate} from {from} on, and cites {cited} for it: {expected}")]
    Citation {
        /// The profile's name.
        name: String,
        /// The gate's name.
        gate: String,
        /// The gate's first release.
        from: String,
        /// The gate's source.
        cited: String,
        /// The expected value.
        expected: &'static str,
    },
    /// A change drops a gate that does not exist.
    #[error("profile {name} drops the gate {gate}, which the profile before it does not have")]
    Gate {
        /// The profile's name.
        name: String,
        /// The gate's name.
        gate: String,
    },
}

/// Reasons why a version of Kata has no profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoProfileError {
    /// The version is newer than every release that was read.
    #[error(
        "kata {version} is newer than {newest}, the newest release whose arguments are known: first write or \
         extend a profile; `kata-qualify profiles --against CHECKOUT` shows what has changed"
    )]
    Newer {
        /// The version.
        version: KataVersion,
        /// The newest known release.
        newest: KataVersion,
    },
    /// The version is older than every profile.
    #[error("kata {version} is older than {oldest}, the oldest release of this runtime that has a profile")]
    Older {
        /// The version.
        version: KataVersion,
        /// The oldest known release.
        oldest: KataVersion,
    },
    /// The version lies between two releases that were read, but is none that was read.
    #[error("kata {version} is not a known release: the nearest ones are {before} and {after}")]
    Unread {
        /// The version.
        version: KataVersion,
        /// The release before it.
        before: KataVersion,
        /// The release after it.
        after: KataVersion,
    },
    /// The version is a pre-release of a release whose profile differs from that of the release it was branched from;
    /// it may print the arguments of either.
    #[error("kata {version} is a pre-release of {release} and may pass other arguments: use the release itself")]
    PreRelease {
        /// The version.
        version: KataVersion,
        /// The release.
        release: KataVersion,
    },
}

/// Content of a family's file.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    runtime: Runtime,
    releases: Vec<String>,
    base: Base,
    deltas: Vec<Delta>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Base {
    name: String,
    from: String,
    /// The profile's keys, except for name and range.
    demands: Mapping,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Delta {
    name: String,
    from: String,
    changes: Vec<Difference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Difference {
    what: String,
    source: String,
    /// Keys with a new value; other keys of a mapping stay.
    #[serde(default)]
    set: Mapping,
    /// Gates that are new, or have another source; one name may serve several capabilities.
    #[serde(default)]
    gates: Vec<Gate>,
    /// Gates that are dropped, by name, for all capabilities.
    #[serde(default)]
    drop_gates: Vec<String>,
}

impl Family {
    /// Both families: the Go runtime's, then runtime-rs's.
    pub fn all() -> &'static [Family] {
        &ALL
    }

    /// Returns a runtime's family.
    pub fn of(runtime: Runtime) -> &'static Family {
        match runtime {
            Runtime::Go => &ALL[0],
            Runtime::Rs => &ALL[1],
        }
    }

    /// Returns the family's runtime.
    pub fn runtime(&self) -> Runtime {
        self.runtime
    }

    /// Returns every release that was read, the oldest first.
    pub fn releases(&self) -> &[KataVersion] {
        &self.releases
    }

    /// Returns the newest release that was read.
    pub fn newest(&self) -> KataVersion {
        self.releases.last().copied().unwrap_or(KataVersion::new(0, 0, 0))
    }

    /// Returns the profiles, the oldest first; their ranges are contiguous and do not overlap.
    pub fn profiles(&self) -> &[Profile] {
        &self.profiles
    }

    /// Returns the last profile, which is expected of the branch after the newest release.
    pub fn unreleased(&self) -> Option<&Profile> {
        self.profiles.last()
    }

    /// Finds the profile of a version, as Kata reports it: `3.30.0`, `3.2.0-rc0`.
    ///
    /// # Errors
    /// If no profile covers the version.
    pub fn profile_of(&self, version: KataVersion) -> Result<&Profile, NoProfileError> {
        let (newest, release) = (self.newest(), version.release());
        let Some(oldest) = self.releases.first().copied().filter(|_| release <= newest) else {
            return Err(NoProfileError::Newer { version, newest });
        };
        let index = self.releases.partition_point(|known| *known < release);
        if index == 0 && release != oldest {
            return Err(NoProfileError::Older { version, oldest });
        }
        if self.releases[index] != release {
            return Err(NoProfileError::Unread {
                version,
                before: self.releases[index - 1],
                after: self.releases[index],
            });
        }
        let mut released = self.profiles.iter().filter(|profile| profile.tag != UNRELEASED).rev();
        let profile = released.find(|profile| profile.version() <= release);
        let profile = profile.ok_or(NoProfileError::Older { version, oldest })?;
        match !version.is_release() && self.branched_from(index).is_none_or(|from| profile.version() > from) {
            true => Err(NoProfileError::PreRelease { version, release }),
            false => Ok(profile),
        }
    }

    /// Returns the release that the pre-releases of a release were branched from: for 3.2.0 it is 3.1.0, even if later
    /// point releases such as 3.1.3 received the same changes.
    fn branched_from(&self, index: usize) -> Option<KataVersion> {
        let point = self.releases[index].patch > 0;
        self.releases[..index].iter().rev().find(|release| point || release.patch == 0).copied()
    }

    /// Parses a family from YAML and derives its profiles.
    ///
    /// # Errors
    /// The error in the file.
    pub fn parse(text: &str) -> Result<Family, FamilyError> {
        let file: File = serde_yaml::from_str(text)?;
        let wrong = |name: &str, from: &str, expected| FamilyError::From {
            name: name.to_owned(),
            from: from.to_owned(),
            expected,
        };
        let mut releases: Vec<KataVersion> = Vec::new();
        for release in &file.releases {
            match release.parse::<KataVersion>() {
                Ok(version) if releases.last().is_none_or(|last| *last < version) => releases.push(version),
                _ => return Err(wrong("releases", release, "versions in their order")),
            }
        }
        let starts: Vec<(&str, &str)> = std::iter::once((file.base.name.as_str(), file.base.from.as_str()))
            .chain(file.deltas.iter().map(|delta| (delta.name.as_str(), delta.from.as_str())))
            .collect();
        // Index of each profile's first release in the list of releases.
        let mut first_indexes: Vec<usize> = Vec::new();
        for (position, (name, from)) in starts.iter().enumerate() {
            let index = match from.parse::<KataVersion>() {
                Ok(version) => releases.iter().position(|release| *release == version),
                Err(_) => (*from == UNRELEASED && position + 1 == starts.len()).then_some(releases.len()),
            };
            match (index, first_indexes.last()) {
                (Some(0), None) => first_indexes.push(0),
                (Some(index), Some(last)) if index > *last => first_indexes.push(index),
                (_, None) => return Err(wrong(name, from, "the first release")),
                (_, Some(_)) => {
                    return Err(wrong(name, from, "a release after the profile before it, or main at last"));
                }
            }
        }
        let mut demands = file.base.demands;
        let mut profiles: Vec<Profile> = Vec::new();
        let changes = std::iter::once(&[][..]).chain(file.deltas.iter().map(|delta| delta.changes.as_slice()));
        for (position, ((name, from), differences)) in starts.iter().zip(changes).enumerate() {
            let broken = |source| FamilyError::Profile { name: (*name).to_owned(), source };
            for difference in differences {
                overlay(&mut demands, &difference.set);
                gates::change(&mut demands, difference, name)?;
            }
            let mut whole = demands.clone();
            let ends = first_indexes.get(position + 1).copied().unwrap_or(releases.len());
            let stated: Vec<ProfileChange> =
                differences.iter().map(|d| ProfileChange { what: d.what.clone(), source: d.source.clone() }).collect();
            let range = range(&releases, first_indexes[position], ends);
            let maintained = first_indexes[position] < releases.len() && ends == releases.len();
            let own: [(&str, Value); 6] = [
                ("name", (*name).into()),
                ("runtime", serde_yaml::to_value(file.runtime).map_err(broken)?),
                ("range", range.into()),
                ("tag", (*from).into()),
                ("maintained", maintained.into()),
                ("changes", serde_yaml::to_value(stated).map_err(broken)?),
            ];
            whole.extend(own.map(|(key, value)| (Value::from(key), value)));
            let mut profile: Profile = serde_yaml::from_value(Value::Mapping(whole)).map_err(broken)?;
            for gate in &mut profile.gates {
                gates::place(gate, from);
                gates::cites_what_it_is_for(gate, &profile.name, from, &releases[..ends])?;
            }
            profiles.push(profile);
        }
        Ok(Family { runtime: file.runtime, releases, profiles })
    }
}

/// Formats a range: `3.29.0–3.31.0`, `4.0.0`, `main after 4.1.0`.
fn range(releases: &[KataVersion], begin: usize, end: usize) -> String {
    match (releases.get(begin), releases.get(end.saturating_sub(1))) {
        (Some(first), Some(last)) if first == last => first.to_string(),
        (Some(first), Some(last)) => format!("{first}–{last}"),
        (None, Some(newest)) => format!("main after {newest}"),
        (_, None) => String::new(),
    }
}

/// Lays the new values over the old ones, key by key.
fn overlay(old: &mut Mapping, new: &Mapping) {
    for (key, value) in new {
        match (old.get_mut(key), value) {
            (Some(Value::Mapping(below)), Value::Mapping(above)) => overlay(below, above),
            _ => {
                old.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
