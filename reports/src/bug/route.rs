//! Ownership of a failure: the distro's, upstream's, Kata's, the record's, or nobody's.
//!
//! The first rule that fits decides:
//!
//! 1. Nobody's: it blames nobody, or a component that is not the release's own.
//! 2. Kata's, if Kata takes for granted what nobody promises; the record's, if the record is wrong.
//! 3. Nobody's: only a Kata at its end of life asks for it.
//! 4. A wish: the release never claimed it, because it is optional, newer than the release's QEMU or virtiofsd, or an
//!    option that the C virtiofsd never had.
//! 5. Upstream's: QEMU's last two releases.
//! 6. The distro's: the rest.

use super::case::FailedTest;
use super::feature::{Series, later_feature};
use suites::capability::Tier;
use suites::outcome::{Component, FailureDetail};
use suites::reproducer::Reproducer;

/// The owner who takes a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The distro, for its package.
    Distro,
    /// The developers of the program that the distro packages; the distro takes the report, too.
    Upstream,
    /// Kata.
    Kata,
    /// The maintainers of this program's records.
    Records,
}

/// The classification of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// A bug.
    Bug(Owner),
    /// A demand that the release never claimed to meet: no bug, and written only as a wish.
    Wish(Owner),
    /// Nothing to report.
    Nobody,
}

/// The classification of a failure, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The classification.
    pub ruling: Ruling,
    /// The reason, in sentences.
    pub why: String,
}

impl Route {
    fn new(ruling: Ruling, why: impl Into<String>) -> Route {
        Route { ruling, why: why.into() }
    }

    /// Classifies a failure by the first rule that applies; `newest` is the newest known QEMU.
    pub fn of(failed: &FailedTest<'_>, newest: Option<Series>) -> Route {
        let rules: [fn(&FailedTest<'_>) -> Option<Route>; 6] =
            [unproven, of_candidates, by_component, of_older_katas, only_listed, of_older_components];
        let first = rules.iter().find_map(|rule| rule(failed));
        first.unwrap_or_else(|| distro_or_upstream(failed, newest))
    }
}

/// Rules out a failure that emulation may have caused.
fn unproven(failed: &FailedTest<'_>) -> Option<Route> {
    let doubt = failed.cell.doubted(&failed.profile.name, &failed.test.id)?;
    Some(Route::new(Ruling::Nobody, format!("No component can be blamed for the failure: {doubt}.")))
}

/// Rules out components that replaced the release's own.
fn of_candidates(failed: &FailedTest<'_>) -> Option<Route> {
    let candidate = failed.cell.facts.as_ref().and_then(|facts| facts.candidates.get(&failed.failure.component));
    if let Some(what) = candidate {
        let component = failed.failure.component;
        return Some(Route::new(
            Ruling::Nobody,
            format!("The {component} was replaced for the run ({what}), so it is not the release's own."),
        ));
    }
    if failed.matrix.candidate {
        let why = "The run tested candidates or used another record, so it is not a result about the release.";
        return Some(Route::new(Ruling::Nobody, why));
    }
    let why = "The run is shaped: the packages are vouched for only by the caller's keys, image or records, so they \
               may not be the distro's own.";
    failed.matrix.shaped.then(|| Route::new(Ruling::Nobody, why))
}

/// Handles components that are not part of a distro.
fn by_component(failed: &FailedTest<'_>) -> Option<Route> {
    match failed.failure.component {
        Component::Kata => Some(Route::new(
            Ruling::Bug(Owner::Kata),
            "Kata relies on something that is not guaranteed, or sends something that the distro's component is right \
             to refuse: the release is not at fault.",
        )),
        Component::Record => {
            let why = "The record is wrong about the release; the release itself is not at fault.";
            Some(Route::new(Ruling::Bug(Owner::Records), why))
        }
        Component::Qemu
        | Component::CloudHypervisor
        | Component::Firecracker
        | Component::Virtiofsd
        | Component::Kernel
        | Component::Containerd
        | Component::Packages => None,
    }
}

/// Rules out features that only older Kata versions use, and maintained ones do not.
fn of_older_katas(failed: &FailedTest<'_>) -> Option<Route> {
    let later = failed.profile.ended().then(|| failed.works_under())??;
    let range = &failed.profile.range;
    let why = format!(
        "Only Kata {range} ({}), which is at its end of life, asks for this: under {later} the same test passes with the \
         same packages. Neither the distro nor Kata will change anything for it.",
        failed.profile.name
    );
    Some(Route::new(Ruling::Nobody, why))
}

/// Makes a wish of optional capabilities that are only looked up in a list ([`Tier::Listed`]).
fn only_listed(failed: &FailedTest<'_>) -> Option<Route> {
    let names: Vec<&str> = failed.test.proves.iter().map(|capability| capability.name()).collect();
    let optional = failed.test.proves.iter().all(|capability| capability.tier() == Tier::Listed);
    let newer = newer(failed).map(|why| format!(" {why}")).unwrap_or_default();
    let why =
        format!("Kata runs without it: {} is optional, and the release never claimed it.{newer}", names.join(", "));
    optional.then(|| Route::new(Ruling::Wish(Owner::Distro), why))
}

/// Makes a wish of features that a component's older releases lack.
fn of_older_components(failed: &FailedTest<'_>) -> Option<Route> {
    if let Some(why) = newer(failed) {
        return Some(Route::new(Ruling::Wish(Owner::Distro), why));
    }
    let is_of_c = matches!(failed.failure.detail, FailureDetail::DaemonLacksFlag { .. });
    let why = "The release's virtiofsd is the C version that was part of QEMU up to 7.2: it never had these options, \
               and is no longer developed.";
    (failed.failure.component == Component::Virtiofsd && is_of_c).then(|| Route::new(Ruling::Wish(Owner::Distro), why))
}

/// Says that QEMU or virtiofsd has the feature only from a later release on.
fn newer(failed: &FailedTest<'_>) -> Option<String> {
    let component = failed.failure.component;
    let program = if component == Component::Virtiofsd { "virtiofsd" } else { "QEMU" };
    let package = failed.package();
    let series = Series::of_package(package.version.as_ref()?)?;
    // The daemon in C came with QEMU, and its package has QEMU's version.
    let (own, has) = match component == Component::Virtiofsd && package.is_of_qemu() {
        true => (None, "the C version that was part of QEMU up to 7.2".to_owned()),
        false => (Some(series), series.to_string()),
    };
    let feature = later_feature(&failed.failure, own)?;
    let (what, since, source) = (feature.what, feature.since, feature.source);
    Some(format!("{program} has {what} from {since} on ({source}), and the release has {has}."))
}

/// Chooses between distro and upstream: QEMU's developers take bugs of their last two releases, unless the package
/// leaves something out.
fn distro_or_upstream(failed: &FailedTest<'_>, newest: Option<Series>) -> Route {
    let component = failed.failure.component;
    let distro = Ruling::Bug(Owner::Distro);
    if component != Component::Qemu {
        return Route::new(distro, format!("It is the distro's {component}."));
    }
    if matches!(failed.test.reproducer, Some(Reproducer::QemuLists)) {
        return Route::new(distro, "The distro decides how its QEMU is built.");
    }
    let (Some(qemu), Some(newest)) = (failed.package().version.as_ref().and_then(Series::of_package), newest) else {
        return Route::new(distro, "The version of QEMU, or the newest one, is unknown.");
    };
    let last = newest.before();
    let taken = format!(
        "QEMU's developers accept bugs in their last two releases ({newest} and {last}, as far as the records \
                 know)"
    );
    match qemu >= last {
        true => Route::new(Ruling::Bug(Owner::Upstream), format!("{taken}, and the release has {qemu}.")),
        false => Route::new(distro, format!("{taken}; the release has {qemu}.")),
    }
}
