//! Failed tests, with the known facts about them.

use super::older;
use super::options::lacking;
use crate::component_package::{self, is_of_a_kernel};
use crate::journal::CellId;
use crate::matrix::{CellReport, Matrix};
use crate::run::day;
use crate::signature;
use crate::verdict::FinalOutcome;
use crate::verdict::agreement::recorded_failure;
use crate::views::causes::words;
use jiff::civil::Date;
use model::distro::ReleaseVersion;
use model::foreign::qemu::Complaint;
use model::package::{PackageName, PackageVersion};
use model::profile::{Profile, ProfileName};
use model::record::{Record, known};
use model::release::Release;
use model::share::Share;
use model::verified::{Verdict, VerifiedCapability, VerifiedEntry};
use std::collections::{BTreeMap, BTreeSet};
use suites::catalogue::Test;
use suites::outcome::{Component, Failure, FailureDetail, Outcome};

/// Maximum of places listed where the same cause was seen.
const MOST_PLACES: usize = 20;
/// Maximum length of a headline, in characters.
pub(super) const HEADLINE: usize = 120;
/// Length from which a clause says enough alone, in bytes.
const SHORTEST_CLAUSE: usize = 24;
/// The mark for words that are left out, in ASCII, which every mail can hold.
const CUT: &str = "...";

/// A test that failed in a cell under a profile.
#[derive(Debug, Clone)]
pub struct FailedTest<'m> {
    /// The run.
    pub matrix: &'m Matrix,
    /// The cell.
    pub cell: &'m CellReport,
    /// The profile.
    pub profile: &'m Profile,
    /// The test.
    pub test: &'m Test,
    /// The record's entry for the cell's release.
    pub release: &'m Release,
    /// The record.
    pub record: &'m Record,
    /// The failure.
    pub failure: Failure,
    /// How often the test failed, and how often it passed or failed.
    pub failed: (u32, u32),
    /// Files next to the journal, of the last attempt that failed.
    pub artifacts: BTreeSet<&'m str>,
}

/// The package at fault, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultyPackage {
    /// The name of the binary package.
    pub binary: Option<PackageName>,
    /// The name of the source package.
    pub source: Option<PackageName>,
    /// The version.
    pub version: Option<PackageVersion>,
    /// The suites that the package came from.
    pub suite: Option<String>,
}

impl FaultyPackage {
    /// Returns the name by which people know the package: for a kernel the source package's, because the binary
    /// package's name contains its version.
    pub fn name(&self) -> Option<&PackageName> {
        match (self.binary.as_ref(), self.source.as_ref()) {
            (Some(binary), Some(source)) if is_of_a_kernel(binary.as_str()) => Some(source),
            (binary, source) => binary.or(source),
        }
    }

    /// Checks whether its bugs belong to the source package.
    pub fn is_known_by_source(&self) -> bool {
        self.source.is_some() && self.binary.as_ref().is_none_or(|binary| is_of_a_kernel(binary.as_str()))
    }

    /// Checks whether it is one of QEMU's packages.
    pub fn is_of_qemu(&self) -> bool {
        self.source.as_ref().or(self.binary.as_ref()).is_some_and(|name| name.as_str().starts_with("qemu"))
    }
}

/// A run or record in which something worked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// The day, in UTC.
    pub day: Date,
    /// The release.
    pub release: ReleaseVersion,
    /// Who says so: `the record`, `the run 1f2e-77`.
    pub source: String,
    /// The versions of the packages that it worked with.
    pub versions: String,
}

impl<'m> FailedTest<'m> {
    /// Returns the failure of a test, if its final outcome is one.
    pub fn of(
        matrix: &'m Matrix,
        cell: &CellId,
        profile: &'m Profile,
        test: &'m Test,
        (record, release): (&'m Record, &'m Release),
    ) -> Option<FailedTest<'m>> {
        let cell = matrix.cells.iter().find(|report| report.cell == *cell)?;
        let of_test = cell.instances.iter().filter(|run| run.test == test.id && run.counts_for(&profile.name));
        let attempts: Vec<_> = of_test.flat_map(|run| &run.attempts).collect();
        let outcomes = attempts.iter().map(|attempt| &attempt.outcome);
        let is_repeated = matrix.repeat.is_some();
        let last = if is_repeated { FinalOutcome::of_repeated(outcomes) } else { FinalOutcome::of(outcomes) }?;
        let Outcome::Fail(failure) = last.outcome else { return None };
        let failure = older::with_detail(failure);
        let bad = attempts.iter().rfind(|attempt| matches!(attempt.outcome, Outcome::Fail(_)));
        let artifacts = bad.into_iter().flat_map(|attempt| &attempt.artifacts).map(String::as_str).collect();
        let failed = (last.decided - last.passed, last.decided);
        Some(FailedTest { matrix, cell, profile, test, release, record, failure, failed, artifacts })
    }

    /// Returns the package of the component at fault in the cell.
    pub fn package(&self) -> FaultyPackage {
        self.package_of(self.failure.component)
    }

    /// Returns a component's package in the cell.
    pub fn package_of(&self, component: Component) -> FaultyPackage {
        let facts = self.cell.facts.as_ref();
        let binary = component_package::binary(self.release, Some(self.cell), component);
        let Some(name) = binary else { return FaultyPackage::default() };
        let installed = component_package::installed(self.cell, name.as_str());
        let recorded = || facts?.versions.get(&name).cloned();
        FaultyPackage {
            source: installed
                .and_then(|it| component_package::source_package_for_bugs(it.source.as_str()).parse().ok()),
            version: installed.map(|package| package.version.clone()).or_else(recorded),
            suite: facts.and_then(|facts| facts.suites.get(&name).cloned()),
            binary: Some(name),
        }
    }

    /// Summarises the failure on one line of at most `most` characters: by QEMU's own words if they are quoted, else by
    /// the observation; a share's failure starts with the share's name.
    pub fn summary(&self, most: usize) -> String {
        let text = self.description();
        // If QEMU does not find a property of the share's own device, it names the device: `virtio-blk-pci`.
        let of_device = match self.failure.detail.complaint() {
            Complaint::NoProperty { of, .. } => Some(of),
            Complaint::NoHotplug { .. } | Complaint::WrongType | Complaint::Other => None,
        };
        let share = self.test.share.map(Share::name);
        let share = share.filter(|name| of_device.is_none_or(|device| !device.starts_with(name)));
        headline(&share.map_or_else(|| text.clone(), |name| format!("{name}: {text}")), most)
    }

    fn description(&self) -> String {
        if let Some(lacking) = lacking(&self.failure) {
            return lacking.words();
        }
        let description = match &self.failure.detail {
            // Another class is meaningful by itself.
            FailureDetail::QemuRefusal { flag, words, .. } => return format!("{flag}: {words}"),
            FailureDetail::QmpRefusal { class, description, .. } if class == "GenericError" => first_line(description),
            FailureDetail::QmpRefusal { .. }
            | FailureDetail::NotSet
            | FailureDetail::Other
            | FailureDetail::NotListed { .. }
            | FailureDetail::LacksOptions { .. }
            | FailureDetail::DaemonEnded { .. }
            | FailureDetail::NoFileHandles
            | FailureDetail::DaemonLacksFlag { .. }
            | FailureDetail::SystemCall { .. }
            | FailureDetail::FileMissing => first_line(&self.failure.observed),
        };
        without_number(description).to_owned()
    }

    /// Returns a profile that upstream maintains, of the same runtime, under which the test passes here according to
    /// the run or the record.
    pub fn works_under(&self) -> Option<&'static str> {
        let is_later = |one: &&Profile| {
            one.maintained
                && one.runtime == self.profile.runtime
                && one.name != self.profile.name
                && self.test.applies_to(&one.name)
        };
        let passed = |profile: &Profile| {
            let runs = self.cell.instances.iter();
            let mut last = runs.filter(|run| run.test == self.test.id && run.counts_for(&profile.name));
            last.find_map(|run| run.final_outcome()).map(|last| last.outcome == Outcome::Pass)
        };
        let CellId { release, arch, environment, .. } = &self.cell.cell;
        let recorded = |profile: &Profile| {
            let entries = self.recorded(&profile.name);
            let mut own = entries.filter(|entry| entry.release == *release && entry.arch == *arch);
            own.any(|entry| entry.environment == *environment && self.is_supported(entry))
        };
        let mut later = Profile::all().iter().filter(is_later);
        later.find(|profile| passed(profile).unwrap_or_else(|| recorded(profile))).map(|profile| profile.name.as_str())
    }

    /// Returns the releases of the distro, including this one, for which the record says that everything works that the
    /// test proves, the last tested first.
    pub fn works_in(&self) -> Vec<Sighting> {
        let CellId { arch, environment, .. } = &self.cell.cell;
        let fits = |entry: &&VerifiedEntry| entry.arch == *arch && entry.environment == *environment;
        let supported = self.recorded(&self.profile.name).filter(fits).filter(|entry| self.is_supported(entry));
        let sighting = |entry: &'m VerifiedEntry| {
            let (release, source) = (entry.release.clone(), "the record".to_owned());
            Sighting { day: entry.tested, release, source, versions: versions(&entry.versions) }
        };
        let mut all: Vec<Sighting> = supported.map(sighting).collect();
        all.sort();
        all.dedup();
        all.reverse();
        all
    }

    /// Returns the record's entries under a profile.
    fn recorded(&self, profile: &str) -> impl Iterator<Item = &'m VerifiedEntry> {
        let name = profile.to_owned();
        self.record.verified.iter().filter(move |entry| entry.profile == *name && !entry.shaped)
    }

    fn is_supported(&self, entry: &VerifiedEntry) -> bool {
        let supported =
            |capability| entry.capabilities.get(capability).is_some_and(|found| found.verdict == Verdict::Supported);
        !self.test.proves.is_empty() && self.test.proves.iter().all(supported)
    }

    /// Returns the last day of the release's support, including long-term support, if it was over on the day of the
    /// run.
    pub fn support_ended(&self) -> Option<Date> {
        let entry = self.record.releases.iter().find(|entry| entry.version == self.release.version)?;
        let last = *known(&entry.lts).or_else(|| known(&entry.eol))?;
        let day = day(self.matrix.finished.or(self.matrix.started)?);
        (day > last).then_some(last)
    }

    /// Returns other places where the same cause was seen, by its signature: in the run, and in the record of the
    /// distro.
    pub fn also(&self) -> Vec<String> {
        let mut places: BTreeMap<(String, &str), BTreeSet<&str>> = BTreeMap::new();
        for cell in &self.matrix.cells {
            for run in &cell.instances {
                let Some(Outcome::Fail(failure)) = run.final_outcome().map(|last| last.outcome) else { continue };
                if failure.signature == self.failure.signature {
                    let profiles = places.entry((cell.cell.to_string(), run.test.as_str())).or_default();
                    profiles.extend(run.profiles.iter().map(ProfileName::as_str));
                }
            }
        }
        if let Some(own) = places.get_mut(&(self.cell.cell.to_string(), self.test.id.as_str())) {
            own.remove(self.profile.name.as_str());
        }
        let mut all: Vec<String> = Vec::new();
        for ((cell, test), profiles) in places.into_iter().filter(|(_, profiles)| !profiles.is_empty()) {
            all.push(format!("{test} in {cell} under {}", words(&profiles)));
        }
        all.extend(self.recorded_too());
        let more = all.len().saturating_sub(MOST_PLACES);
        all.truncate(MOST_PLACES);
        if more > 0 {
            all.push(format!("and {more} more"));
        }
        all
    }

    /// Returns other releases whose record has the cause, with the last versions that it was seen with.
    fn recorded_too(&self) -> Vec<String> {
        let mut found: BTreeMap<(&ReleaseVersion, String), (&VerifiedEntry, BTreeSet<&str>)> = BTreeMap::new();
        // A record cuts long causes.
        let cut = signature::once_recorded(self.failure.component, &self.failure.observed, &self.test.id);
        let own_signatures = [self.failure.signature.clone(), cut].map(|signature| (self.test.id.clone(), signature));
        let is_another = |entry: &&VerifiedEntry| entry.release != self.cell.cell.release && !entry.shaped;
        for entry in self.record.verified.iter().filter(is_another) {
            let causes = entry.capabilities.values().flat_map(VerifiedCapability::failures);
            if causes.filter_map(recorded_failure).any(|known| own_signatures.contains(&known)) {
                let key = (&entry.release, entry.environment.to_string());
                let (last, profiles) = found.entry(key).or_insert_with(|| (entry, BTreeSet::new()));
                if entry.tested > last.tested {
                    *last = entry;
                }
                profiles.insert(entry.profile.as_str());
            }
        }
        let lines = found.into_iter().map(|((release, environment), (last, profiles))| {
            let (distro, day, versions) = (&self.record.distro, last.tested, versions(&last.versions));
            format!("{distro} {release} ({environment}) under {}, by the record of {day}: {versions}", words(&profiles))
        });
        lines.collect()
    }
}

/// Returns another run in which the test passed, if it did: in the same cell, under the same profile, with the distro's
/// own packages.
pub fn passed_in(matrix: &Matrix, failed: &FailedTest<'_>) -> Option<Sighting> {
    if matrix.candidate || matrix.shaped {
        return None;
    }
    let cell = matrix.cells.iter().find(|cell| cell.cell == failed.cell.cell)?;
    let facts = cell.facts.as_ref().filter(|facts| facts.candidates.is_empty())?;
    let mut runs = cell.instances.iter();
    let run = runs.find(|run| run.test == failed.test.id && run.counts_for(&failed.profile.name))?;
    let last = run.final_outcome()?;
    (last.outcome == Outcome::Pass).then_some(())?;
    let day = day(cell.finished?);
    let (release, source) = (cell.cell.release.clone(), format!("the run {}", matrix.run));
    Some(Sighting { day, release, source, versions: versions(&facts.versions) })
}

/// Returns the first line that is not blank.
fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

/// Strips the number that Rust puts after an error's name: ` (os error 6)`.
fn without_number(message: &str) -> &str {
    let number =
        message.rsplit_once(" (os error ").and_then(|(words, number)| Some((words, number.strip_suffix(')')?)));
    number.filter(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit())).map_or(message, |(words, _)| words)
}

/// Puts text on one line; if it is longer than `most` characters, keeps the clauses that fit, or else the words.
fn headline(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let head: String = line.chars().take(most).collect();
    let ends = [head.rfind("; "), head.rfind(": ")];
    if let Some(end) = ends.into_iter().flatten().find(|end| *end >= SHORTEST_CLAUSE) {
        return head[..end].to_owned();
    }
    let words: String = head.chars().take(most.saturating_sub(CUT.len())).collect();
    let end = words.rfind(' ').unwrap_or(words.len());
    format!("{}{CUT}", words[..end].trim_end_matches([' ', ',', ':', ';']))
}

/// Formats versions: `qemu-system-x86 1:10.0, virtiofsd 1.13`.
pub(super) fn versions(all: &BTreeMap<PackageName, PackageVersion>) -> String {
    all.iter().map(|(package, version)| format!("{package} {version}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headline_omits_the_os_error_number() {
        assert_eq!(without_number("making a fifo: No such device (os error 6)"), "making a fifo: No such device");
        assert_eq!(without_number("it ended (os error x)"), "it ended (os error x)");
    }

    #[test]
    fn a_long_headline_is_cut_at_a_clause_or_a_word() {
        for (text, most, expected) in [
            ("making a fifo:  no such\ndevice", 120, "making a fifo: no such device"),
            ("the guest is not heard of: it fell silent; and more", 40, "the guest is not heard of"),
            ("the guest is not heard of; expected: silence", 40, "the guest is not heard of"),
            ("QMP: a sentence that goes on and on", 24, "QMP: a sentence that..."),
            ("one, two, three", 8, "one..."),
            ("unbroken", 6, "unb..."),
            ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", 4, "\u{e9}..."),
            ("", 120, ""),
        ] {
            assert_eq!(headline(text, most), expected);
            assert!(expected.chars().count() <= most);
        }
    }
}
