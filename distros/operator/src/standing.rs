//! Whether what was verified still stands: for which profile, on what basis, how old, and of these versions.

use crate::packages::{Packages, QueryError};
use jiff::civil::Date;
use model::capability::{Area, Capability};
use model::environment::Environment;
use model::package::{PackageName, PackageVersion};
use model::verified::{Basis, Verdict, VerifiedCause, VerifiedEntry, same_tests, test_set_of_today};
use serde::Serialize;
use std::collections::BTreeSet;

/// What one entry of `verified:` says of the system at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerifiedStanding {
    /// The profile.
    pub profile: String,
    /// The environment of the run.
    pub environment: Environment,
    /// What the verdicts were found on.
    pub basis: Basis,
    /// Whether keys, an image or records of the caller's vouched for the packages, which may not be the distro's own.
    pub shaped: bool,
    /// The day of the run, UTC.
    pub tested: Date,
    /// Days since then; negative for a day to come.
    pub age_days: i32,
    /// The harness's version.
    pub harness: String,
    /// Whether it was judged by an older set of tests than this version's; programs have `test-set` of `show`.
    #[serde(skip)]
    pub older_tests: bool,
    /// The capabilities that were asked for, with their verdicts; `None` where the run had none.
    pub capabilities: Vec<CapabilityStanding>,
    /// The versions that were verified beside those that are installed, of the packages that count for what was asked for.
    pub versions: Vec<VersionPair>,
    /// Whether every capability that was asked for is supported.
    pub supported: bool,
    /// Whether every one of these versions is the one that was verified.
    pub matches: bool,
}

impl VerifiedStanding {
    /// The run's verdict on a capability that was asked for, and whether older tests gave it.
    pub fn verdict(&self, capability: Capability) -> Option<(Verdict, bool)> {
        let judged = self.capabilities.iter().find(|judged| judged.capability == capability)?;
        Some((judged.verdict?, judged.older_tests))
    }

    /// Whether all packages that a capability rests on are here in the versions that were verified.
    pub fn matches_for(&self, capability: Capability) -> bool {
        let mut pairs = self.versions.iter().filter(|pair| pair.counts_for(capability)).peekable();
        pairs.peek().is_some() && pairs.all(VersionPair::is_the_same)
    }
}

/// A capability and its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CapabilityStanding {
    /// `vmm.boot`.
    pub capability: Capability,
    /// Its verdict.
    pub verdict: Option<Verdict>,
    /// Why it is not supported.
    pub causes: Vec<VerifiedCause>,
    /// Whether other tests of it than today's gave the verdict.
    #[serde(skip)]
    pub older_tests: bool,
}

/// A package's version then and now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionPair {
    /// The package.
    pub package: PackageName,
    /// The version that was verified.
    pub verified: PackageVersion,
    /// The version that is installed.
    pub installed: Option<PackageVersion>,
    /// Whether it is a container manager's and of nothing else that the release has.
    #[serde(skip)]
    pub of_manager: bool,
}

impl VersionPair {
    /// Whether the version is the one that was verified.
    pub fn is_the_same(&self) -> bool {
        self.installed.as_ref() == Some(&self.verified)
    }

    fn counts_for(&self, capability: Capability) -> bool {
        !self.of_manager || rests_on_a_manager(capability)
    }
}

/// Whether it needs a container manager: the guests of all else are started without one.
fn rests_on_a_manager(capability: Capability) -> bool {
    match capability.area() {
        Area::Containers | Area::Kata => true,
        Area::Packages | Area::Vmm | Area::Kernel | Area::Host | Area::Fs(_) => false,
    }
}

/// Compares an entry with what is installed; `of_managers` are the packages of container managers alone.
///
/// A machine's run has a container manager beside what starts guests. What it showed of guests holds without that, too: a
/// package counts where something that is asked for rests on it, and where nothing in particular is asked for.
///
/// # Errors
///
/// That the package database cannot be asked.
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
            // What is there for another architecture is not what was verified, whatever its version is.
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
        CapabilityStanding {
            capability: *capability,
            verdict: found.map(|c| c.verdict),
            causes: found.map(|c| c.causes.clone()).unwrap_or_default(),
            older_tests: !same_tests(&entry.test_set, test_set_of_today(), *capability),
        }
    };
    let capabilities: Vec<CapabilityStanding> = capabilities.iter().map(judged).collect();
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
