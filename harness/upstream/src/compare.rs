//! Comparison of all parts, release by release.

use crate::checkout::{Checkout, CheckoutError, MAIN, Tree};
use crate::readings::Readings;
use crate::report::{Report, SourceDifference};
use crate::{built, constants, go, kernel, rs};
use model::kata_version::KataVersion;
use model::profile::{Family, Profile, Runtime};

/// Compares both families, the constants, Kata's QEMU build and the options of Kata's kernel with a checkout, using the
/// readings that are built into the program.
///
/// # Errors
/// When the checkout cannot be read.
pub fn compare(checkout: &Checkout) -> Result<Report, CheckoutError> {
    let mut report = Report::default();
    for family in Family::all() {
        compare_family(checkout, family, Readings::of(family.runtime()), &mut report)?;
    }
    // Both runtimes are released together, and the Go runtime's releases reach further back.
    let releases = Family::of(Runtime::Go).releases();
    built::compare_build(checkout, releases, &mut report)?;
    constants::compare_constants(checkout, releases, &mut report)?;
    kernel::compare(checkout, &mut report)?;
    Ok(report)
}

/// Compares one family with a checkout.
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
        tags.push((release.to_string(), family.profile_of(*release).ok()));
    }
    let oldest = family.releases().first().copied().unwrap_or_else(|| family.newest());
    let tagged = checkout.releases_from(oldest)?;
    for unread in tagged.iter().filter(|tag| !family.releases().contains(*tag)) {
        let what = format!("this release has not been read; the newest that was is {}", family.newest());
        report.differences.push(SourceDifference { tag: unread.to_string(), place: "-".to_owned(), what });
    }
    for (version, tag) in checkout.pre_releases_from(oldest)? {
        // A pre-release before a release with changes has no profile, and is refused wherever a profile is requested.
        let Ok(profile) = family.profile_of(version) else { continue };
        let Some(tree) = checkout.tree(&tag, files)? else { continue };
        report.pre_releases += 1;
        compare_values(&tree, family.runtime(), profile, &tag, report);
    }
    tags.push((MAIN.to_owned(), family.unreleased()));
    let mut reader = readings.reader();
    for (tag, profile) in tags {
        let Some(tree) = checkout.tree(&tag, &paths)? else {
            let what = "there is no such tag in the checkout".to_owned();
            report.differences.push(SourceDifference { tag, place: "-".to_owned(), what });
            continue;
        };
        report.releases += 1;
        if let Some(profile) = profile {
            compare_values(&tree, family.runtime(), profile, &tag, report);
        }
        report.changes += reader.next(&tag, &tree, family, &mut report.differences);
    }
    report.differences.extend(reader.unused());
    Ok(())
}

/// Compares a profile with the source at a tag.
fn compare_values(tree: &Tree, runtime: Runtime, profile: &Profile, tag: &str, report: &mut Report) {
    // A gate may start to apply within a profile's range.
    let profile = &tag.parse::<KataVersion>().map_or_else(|_| profile.clone(), |version| profile.at(version));
    let values = match runtime {
        Runtime::Go => go::values(tree, profile),
        Runtime::Rs => rs::values(tree, profile),
    };
    report.values += values.len();
    report.differences.extend(values.into_iter().filter_map(|value| value.difference(tag, &profile.name)));
}
