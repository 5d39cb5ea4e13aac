//! The profiles held against Kata's source, release by release.
//!
//! Two nets, for each runtime. *Facts* are read out of the source at every release and compared with what the profile of
//! that release says: a value that differs is wrong in the profile. *Readings* are the functions that make arguments and
//! those that speak QMP, the defaults, the shipped settings and the guest kernel's options: when one changes, a person has
//! to have read it and said which profile accounts for it, or why it has no effect. Whatever a profile says nothing about
//! falls into the second net.
//!
//! Pre-releases (`3.2.0-rc0`) are in neither net by themselves: each lies between two releases that are read, nobody ships
//! one, and `main` has what comes after the newest release. Where a pre-release is taken for a profile's, for nothing
//! changed between the release that it set out from and its own, its facts are compared with that profile, so that nothing
//! came and went in between.
//!
//! Only git is run, read-only and with a deadline.

mod checkout;
mod facts;
mod go;
mod plug;
mod readings;
mod rs;
mod source;

pub use checkout::{Checkout, CheckoutError};
pub use facts::Fact;
pub use readings::{Readings, ReadingsError};

use checkout::Tree;
use kata_osinfo::profile::{Family, Profile, Runtime};

/// The branch that is read after the newest release.
const MAIN: &str = "main";

/// What was compared, and what differs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many releases of each runtime were read, `main` among them.
    pub releases: usize,
    /// How many pre-releases were compared with the profile that they would be taken for.
    pub pre_releases: usize,
    /// How many facts were compared.
    pub facts: usize,
    /// How many changes of functions and settings were looked up.
    pub changes: usize,
    /// What the profiles or the readings say otherwise.
    pub differences: Vec<Difference>,
}

/// One difference between a profile and Kata's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `3.8.0`, `main`.
    pub tag: String,
    /// `src/runtime/pkg/govmm/qemu/qemu.go:1302`, where there is a line.
    pub place: String,
    /// What differs.
    pub what: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.tag, self.place, self.what)
    }
}

/// Holds both families against a checkout, with the readings that are part of the program.
///
/// # Errors
/// When the checkout cannot be read.
pub fn compare(checkout: &Checkout) -> Result<Report, CheckoutError> {
    let mut report = Report::default();
    for family in Family::all() {
        compare_family(checkout, family, Readings::of(family.runtime()), &mut report)?;
    }
    Ok(report)
}

/// Holds one family against a checkout.
///
/// # Errors
/// When the checkout cannot be read.
pub fn compare_family(
    checkout: &Checkout,
    family: &Family,
    readings: &Readings,
    report: &mut Report,
) -> Result<(), CheckoutError> {
    let files = match family.runtime() {
        Runtime::Go => go::FILES,
        Runtime::Rs => rs::FILES,
    };
    let paths: Vec<&str> = files.iter().copied().chain(readings.files()).collect();
    let mut tags: Vec<(String, Option<&Profile>)> = Vec::new();
    for release in family.releases() {
        let name = release.to_string();
        let profile = family.profile_of(&name).ok();
        tags.push((name, profile));
    }
    let oldest = family.releases().first().copied().unwrap_or_else(|| family.newest());
    let tagged = checkout.releases_from(oldest)?;
    for unread in tagged.iter().filter(|tag| !family.releases().contains(*tag)) {
        let what = format!("this release has not been read; the newest that was is {}", family.newest());
        report.differences.push(Difference { tag: unread.to_string(), place: "-".to_owned(), what });
    }
    for tag in checkout.pre_releases_from(oldest)? {
        // One on the way to a change is refused wherever a profile is asked for.
        let Ok(profile) = family.profile_of(&tag) else { continue };
        let Some(tree) = checkout.tree(&tag, files)? else { continue };
        report.pre_releases += 1;
        compare_facts(&tree, family.runtime(), profile, &tag, report);
    }
    tags.push((MAIN.to_owned(), family.unreleased()));
    let mut reader = readings.reader();
    for (tag, profile) in tags {
        let Some(tree) = checkout.tree(&tag, &paths)? else {
            let what = "there is no such tag in the checkout".to_owned();
            report.differences.push(Difference { tag, place: "-".to_owned(), what });
            continue;
        };
        report.releases += 1;
        if let Some(profile) = profile {
            compare_facts(&tree, family.runtime(), profile, &tag, report);
        }
        report.changes += reader.next(&tag, &tree, family, &mut report.differences);
    }
    report.differences.extend(reader.unused());
    Ok(())
}

/// Holds a profile against the source at a tag.
fn compare_facts(tree: &Tree, runtime: Runtime, profile: &Profile, tag: &str, report: &mut Report) {
    let facts = match runtime {
        Runtime::Go => go::facts(tree, profile),
        Runtime::Rs => rs::facts(tree, profile),
    };
    report.facts += facts.len();
    report.differences.extend(facts.into_iter().filter_map(|fact| fact.difference(tag, &profile.name)));
}
