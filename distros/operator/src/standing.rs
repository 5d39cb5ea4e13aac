//! Checks whether a verdict still applies: its profile, basis, age, and the versions it was found with.

use crate::packages::{Packages, QueryError};
use jiff::civil::Date;
use model::capability::{Area, Capability};
use model::environment::Environment;
use model::package::{PackageName, PackageVersion};
use model::profile::ProfileName;
use model::verified::{Basis, Verdict, VerifiedCause, VerifiedEntry, same_tests, test_set_of_today};
use serde::Serialize;
use std::collections::BTreeSet;

/// The meaning of one entry of `verified:` for the system at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifiedStanding {
    /// The profile.
    pub profile: ProfileName,
    /// The environment of the run.
    pub environment: Environment,
    /// The basis of the verdicts.
    pub basis: Basis,
    /// Whether keys, an image or records of the caller's vouched for the packages, which may not be the distro's own.
    pub shaped: bool,
    /// The day of the run, UTC.
    pub tested: Date,
    /// Days since the run; negative for a date in the future.
    pub age_days: i32,
    /// Version of the harness.
    pub harness: String,
    /// Whether an older set of tests than this version's was used; programs get `test-set` from `show`.
    #[serde(skip)]
    pub older_tests: bool,
    /// The requested capabilities with their verdicts, which are `None` if the run had none.
    pub capabilities: Vec<CapabilityVerdict>,
    /// The verified and the installed versions of the packages that count for the requested capabilities.
    pub versions: Vec<VersionPair>,
    /// Whether every requested capability is supported.
    pub supported: bool,
    /// Whether all of these versions are the verified ones.
    pub matches: bool,
}

impl VerifiedStanding {
    /// Returns the run's verdict on a requested capability, and whether it comes from older tests.
    pub fn verdict(&self, capability: Capability) -> Option<(Verdict, bool)> {
        let judged = self.capabilities.iter().find(|judged| judged.capability == capability)?;
        Some((judged.verdict?, judged.older_tests))
    }

    /// Checks whether all packages that count for a capability are installed in the verified versions.
    pub fn matches_for(&self, capability: Capability) -> bool {
        let mut pairs = self.versions.iter().filter(|pair| pair.counts_for(capability)).peekable();
        pairs.peek().is_some() && pairs.all(VersionPair::is_the_same)
    }
}

/// A capability and its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CapabilityVerdict {
    /// `vmm.boot`.
    pub capability: Capability,
    /// Its verdict.
    pub verdict: Option<Verdict>,
    /// Whether a test failed before it passed, in a fresh guest of the same run.
    pub flaky: bool,
    /// The reasons why it is not supported.
    pub causes: Vec<VerifiedCause>,
    /// Whether the verdict comes from other tests of this capability than today's.
    #[serde(skip)]
    pub older_tests: bool,
}

/// A package's verified and installed versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionPair {
    /// The package.
    pub package: PackageName,
    /// The version that was verified.
    pub verified: PackageVersion,
    /// The version that is installed.
    pub installed: Option<PackageVersion>,
    /// Whether the package only belongs to a container manager, and to no other component of the release.
    #[serde(skip)]
    pub of_manager: bool,
}

impl VersionPair {
    /// Checks whether the installed version is the verified one.
    pub fn is_the_same(&self) -> bool {
        self.installed.as_ref() == Some(&self.verified)
    }

    fn counts_for(&self, capability: Capability) -> bool {
        !self.of_manager || rests_on_a_manager(capability)
    }
}

/// Checks whether a capability needs a container manager: for all others, guests are started without one.
fn rests_on_a_manager(capability: Capability) -> bool {
    match capability.area() {
        Area::Containers | Area::Kata => true,
        Area::Packages | Area::Vmm | Area::Kernel | Area::Host | Area::Fs(_) => false,
    }
}

/// Compares an entry with the installed packages; `of_managers` are the packages that only belong to container
/// managers.
///
/// A run on a machine involves a container manager in addition to the components that start guests. Its verdicts about
/// guests also hold without one: a package counts if a requested capability depends on it, or if no capability is
/// requested.
///
/// # Errors
///
/// Fails if the package database cannot be queried.
pub fn standing(
    entry: &VerifiedEntry,
    capabilities: &[Capability],
    of_managers: &BTreeSet<PackageName>,
    packages: Option<&Packages<'_>>,
    today: Date,
) -> Result<VerifiedStanding, QueryError> {
    let mut versions = Vec::new();
    for (package, verified) in &entry.versions {
        let installed = match packages {
            // A package installed for another architecture is not the verified one, even in the same version.
            Some(packages) => {
                let mut all = packages.installed(package.as_str())?.into_iter();
                all.find(|one| one.is_for(entry.arch, packages.format())).map(|one| one.version)
            }
            None => None,
        };
        let of_manager = of_managers.contains(package);
        let pair = VersionPair { package: package.clone(), verified: verified.clone(), installed, of_manager };
        if capabilities.is_empty() || capabilities.iter().any(|capability| pair.counts_for(*capability)) {
            versions.push(pair);
        }
    }
    let judged = |capability: &Capability| {
        let found = entry.capabilities.get(capability);
        CapabilityVerdict {
            capability: *capability,
            verdict: found.map(|c| c.verdict),
            flaky: found.is_some_and(|c| c.flaky),
            causes: found.map(|c| c.causes.clone()).unwrap_or_default(),
            older_tests: !same_tests(&entry.test_set, test_set_of_today(), *capability),
        }
    };
    let capabilities: Vec<CapabilityVerdict> = capabilities.iter().map(judged).collect();
    Ok(VerifiedStanding {
        profile: entry.profile.clone(),
        environment: entry.environment,
        basis: entry.basis,
        shaped: entry.shaped,
        tested: entry.tested,
        age_days: entry.tested.until(today).map_or(0, |span| span.get_days()),
        harness: entry.harness.clone(),
        older_tests: entry.is_by_older_tests(),
        supported: !capabilities.is_empty() && capabilities.iter().all(|c| c.verdict == Some(Verdict::Supported)),
        matches: !versions.is_empty() && versions.iter().all(VersionPair::is_the_same),
        capabilities,
        versions,
    })
}
