//! Contents of a report, section by section; the forms order the sections and set their headings.

use super::block::Block;
use super::case::{FailedTest, FaultyPackage, HEADLINE, Sighting, versions};
use super::error::BugError;
use super::fixed_upstream::upstream_fix;
use super::form::Form;
use super::log::LogExcerpt;
use super::route::{Owner, Route, Ruling};
use super::script::CANNOT_TELL;
use super::shared::asked_for;
use super::tracker::Destination;
use crate::views::wording;
use model::kernel::KernelRelease;
use model::package::PackageVersion;
use model::profile::Runtime;
use suites::outcome::Component;
use suites::reproducer::Reproducer;

/// The address of this program.
const HOME: &str = env!("CARGO_PKG_REPOSITORY");
/// Maximum of releases that are named as working.
const MOST_SIGHTINGS: usize = 6;

/// The result of running the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reproduced {
    /// It was not run.
    NotRun,
    /// The exit codes, one for each clean tree; `None` if a signal or the time limit ended the script.
    Ran(Vec<Option<i32>>),
}

impl Reproduced {
    /// Checks whether the script showed the failure each time.
    pub fn each_time(&self) -> bool {
        matches!(self, Reproduced::Ran(codes) if !codes.is_empty() && codes.iter().all(|code| *code == Some(0)))
    }

    /// Describes the result.
    pub fn words(&self) -> String {
        let Reproduced::Ran(codes) = self else { return "The reproducer was not run.".to_owned() };
        let word = |code: &Option<i32>| match code {
            Some(0) => "reproduced".to_owned(),
            Some(1) => "not reproduced".to_owned(),
            Some(CANNOT_TELL) => "could not tell".to_owned(),
            Some(code) => format!("ended with {code}"),
            None => "was killed by a signal or at its time limit".to_owned(),
        };
        let words: Vec<String> = codes.iter().map(word).collect();
        let results = match words.split_first() {
            Some((first, others)) if others.iter().all(|other| other == first) => format!("{first} each time"),
            _ => words.join(", "),
        };
        format!("The reproducer was run {} times, each in a clean tree of the release: {results}.", codes.len())
    }
}

/// The data of a report.
#[derive(Debug, Clone)]
pub struct BugReport<'a> {
    /// The failure.
    pub failed: &'a FailedTest<'a>,
    /// Whose failure it is.
    pub route: &'a Route,
    /// The report's destination.
    pub destination: &'a Destination,
    /// The script, or why there is none.
    pub script: Result<String, BugError>,
    /// The result of running the script.
    pub reproduced: Reproduced,
    /// Where the same test passed, the latest first.
    pub worked: Vec<Sighting>,
    /// The output of `blame`.
    pub swap: Option<String>,
    /// The log that shows the failure.
    pub log: Option<LogExcerpt>,
    /// The bundle's file name.
    pub bundle: String,
}

/// A section of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// Facts that a reader needs before everything else.
    Notice,
    /// The versions of the packages concerned.
    Versions,
    /// The expected behaviour.
    Expected,
    /// The observed behaviour.
    Observed,
    /// How to reproduce the failure.
    Reproducer,
    /// The script itself.
    Script,
    /// The component whose replacement makes the failure go away.
    Swap,
    /// Where the test last passed.
    Worked,
    /// Other places with the failure.
    Also,
    /// The log.
    Log,
    /// The release on which the failure was seen.
    System,
    /// How the failure was found.
    Origin,
}

impl Section {
    /// Returns the section's heading, for forms that have none of their own.
    pub(super) fn title(self) -> &'static str {
        match self {
            Section::Notice => "Read this first",
            Section::Versions => "Versions",
            Section::Expected => "What is expected",
            Section::Observed => "What happened",
            Section::Reproducer => "How to reproduce it",
            Section::Script => "repro.sh",
            Section::Swap => "With a component of another release",
            Section::Worked => "When it last worked",
            Section::Also => "The same cause elsewhere",
            Section::Log => "Log",
            Section::System => "System information of the release",
            Section::Origin => "How this was found",
        }
    }
}

impl BugReport<'_> {
    /// Returns all sections that are not empty.
    pub(super) fn sections(&self) -> Vec<(Section, Vec<Block>)> {
        let all = [
            (Section::Notice, self.notice()),
            (Section::Versions, self.versions()),
            (Section::Expected, self.expected()),
            (Section::Observed, self.observed()),
            (Section::Reproducer, self.reproducer()),
            (Section::Swap, self.swap()),
            (Section::Worked, self.worked()),
            (Section::Also, self.also()),
            (Section::Log, self.log()),
            (Section::System, self.system()),
            (Section::Origin, self.origin()),
            // The script is the longest section, and other sections have introduced it.
            (Section::Script, self.script_itself()),
        ];
        all.into_iter().filter(|(_, blocks)| !blocks.is_empty()).collect()
    }

    /// Returns the subject: `qemu-system-x86: Bus 'pci-bridge-0' does not support hotplugging`; a failure of Kata's own
    /// starts with the part of Kata that is concerned.
    pub(super) fn subject(&self) -> String {
        let component = self.failed.failure.component;
        let own = match component {
            Component::Kata => self.sources().iter().find_map(|source| part_of_kata(source)).map(str::to_owned),
            _ => self.package().name().map(ToString::to_string),
        };
        let head = format!("{}: ", own.unwrap_or_else(|| component.name().to_owned()));
        let most = HEADLINE.saturating_sub(head.chars().count());
        format!("{head}{}", self.failed.summary(most))
    }

    pub(super) fn package(&self) -> FaultyPackage {
        self.failed.package()
    }

    /// Checks whether the report is a wish and not a bug.
    pub(super) fn is_wish(&self) -> bool {
        matches!(self.route.ruling, Ruling::Wish(_))
    }

    /// Returns a warning that the distro may not take the report, if it no longer supports the release.
    pub(super) fn support_ended(&self) -> Option<String> {
        let is_the_distros = match self.route.ruling {
            Ruling::Bug(Owner::Distro) | Ruling::Wish(Owner::Distro) => true,
            Ruling::Bug(Owner::Upstream) | Ruling::Wish(Owner::Upstream) => self.destination.form != Form::Gitlab,
            Ruling::Bug(Owner::Kata | Owner::Records) | Ruling::Wish(Owner::Kata | Owner::Records) | Ruling::Nobody => {
                false
            }
        };
        let last = self.failed.support_ended().filter(|_| is_the_distros)?;
        let release = release(self.failed);
        Some(format!("The support of {release} ended on {last}, before the run: this may never be fixed there."))
    }

    fn notice(&self) -> Vec<Block> {
        let mut all: Vec<Block> = self.support_ended().map(Block::Text).into_iter().collect();
        let words = self.reproduced.words();
        match self.reproduced {
            Reproduced::NotRun if self.script.is_ok() => all.push(Block::Text(words)),
            Reproduced::Ran(_) if !self.reproduced.each_time() => {
                all.push(Block::Text(format!("This could not be reproduced by the script below. {words}")));
            }
            Reproduced::NotRun | Reproduced::Ran(_) => {}
        }
        if self.is_wish() {
            all.push(Block::Text(format!("This is a wish, not a bug. {}", self.route.why)));
        }
        all
    }

    fn versions(&self) -> Vec<Block> {
        let failed = self.failed;
        let package = self.package();
        let mut lines = Vec::new();
        let mut row = |name: &str, value: String| lines.push(format!("{name:<12} {value}"));
        if let Some(installed) = installed(&package) {
            row("package", installed);
            row("source", package.source.map_or("unknown".to_owned(), String::from));
        }
        // Most of Kata's faults concern QEMU.
        let qemu = (failed.failure.component == Component::Kata).then(|| failed.package_of(Component::Qemu));
        if let Some(qemu) = qemu.as_ref().and_then(installed) {
            row("QEMU", qemu);
        }
        row("release", release(failed));
        let kata = failed.cell.kata(&failed.profile.name).map(|kata| format!(", run as {}", kata.words));
        let range = format!("Kata Containers {} (profile {})", failed.profile.range, failed.profile.name);
        row("asked for by", format!("{range}{}", kata.unwrap_or_default()));
        vec![Block::Lines(lines.join("\n"))]
    }

    fn expected(&self) -> Vec<Block> {
        let failed = self.failed;
        let property = match failed.failure.expected.is_empty() {
            true => failed.test.property(),
            false => failed.failure.expected.clone(),
        };
        let mut all = vec![Block::Text(property)];
        all.extend(failed.test.reason().lines().map(|line| Block::Text(line.to_owned())));
        all.extend(asked_for(failed.test, failed.profile, self.sources()));
        all
    }

    /// Returns the places in the source of the runtime that ran, where Kata requires the behaviour, or gives containers
    /// their files by the test's share.
    fn sources(&self) -> Vec<String> {
        let failed = self.failed;
        let mut sources = failed.failure.asked_for.clone();
        sources.extend(failed.test.cited().iter().map(ToString::to_string));
        sources.retain(|source| !source.starts_with(source_of_other_runtime(failed.profile.runtime)));
        sources.sort();
        sources.dedup();
        sources
    }

    fn observed(&self) -> Vec<Block> {
        let (failed, of) = self.failed.failed;
        let times = if of > 1 { format!("It failed {failed} of {of} times:") } else { "It failed:".to_owned() };
        vec![Block::Text(times), Block::Lines(indented(&self.failed.failure.observed))]
    }

    fn reproducer(&self) -> Vec<Block> {
        match &self.script {
            Err(why) => vec![Block::Text(format!("There is no reproducer apart from the test itself: {why}."))],
            Ok(_) => {
                let does = self.failed.test.reproducer.map_or("", Reproducer::does);
                let text = format!(
                    "By the script at the end, repro.sh, in a POSIX shell on the release. {does} It ends with 0 if it has \
                     reproduced this, with 1 if not, and with {CANNOT_TELL} if it cannot tell."
                );
                let was_run = matches!(self.reproduced, Reproduced::Ran(_));
                [Some(text), was_run.then(|| self.reproduced.words())].into_iter().flatten().map(Block::Text).collect()
            }
        }
    }

    fn script_itself(&self) -> Vec<Block> {
        self.script.iter().map(|script| Block::Lines(script.trim_end().to_owned())).collect()
    }

    fn swap(&self) -> Vec<Block> {
        self.swap.iter().map(|text| Block::Lines(text.trim_end().to_owned())).collect()
    }

    fn worked(&self) -> Vec<Block> {
        let own = &self.failed.cell.cell.release;
        let (here, elsewhere): (Vec<&Sighting>, Vec<&Sighting>) =
            self.worked.iter().partition(|one| one.release == *own);
        let lines = |all: &[&Sighting]| {
            let line = |one: &&Sighting| {
                let Sighting { day, release, source, versions } = one;
                format!("  {day}  {} {release}, by {source}: {versions}", self.failed.record.distro)
            };
            Block::Lines(all.iter().take(MOST_SIGHTINGS).map(line).collect::<Vec<_>>().join("\n"))
        };
        let mut all = match here.is_empty() {
            true => {
                vec![Block::Text("No record and no kept run shows that it ever worked on this release.".to_owned())]
            }
            false => vec![lines(&here)],
        };
        if !elsewhere.is_empty() {
            all.extend([Block::Text("On other releases it works:".to_owned()), lines(&elsewhere)]);
        }
        all.extend(upstream_fix(self.failed).map(|change| Block::Text(change.words())));
        all
    }

    fn also(&self) -> Vec<Block> {
        let all = self.failed.also();
        if all.is_empty() {
            return Vec::new();
        }
        vec![Block::Lines(all.iter().map(|place| format!("  {place}")).collect::<Vec<_>>().join("\n"))]
    }

    fn log(&self) -> Vec<Block> {
        let blocks = |log: &LogExcerpt| {
            let head = match log.has_the_failure {
                true => format!("{}, which is in the bundle, around what failed:", log.file),
                false => format!("The end of {}, which is in the bundle:", log.file),
            };
            [Block::Text(head), Block::Lines(indented(&log.lines))]
        };
        self.log.iter().flat_map(blocks).collect()
    }

    /// Describes the tested release from the run: the machine that writes the report may run anything.
    fn system(&self) -> Vec<Block> {
        let failed = self.failed;
        let mut lines = Vec::new();
        let mut row = |name: &str, value: &str| lines.push(format!("{name:<13} {value}"));
        row("Release:", &release(failed));
        row("Architecture:", failed.cell.cell.arch.name());
        if let Some(facts) = &failed.cell.facts {
            row("Kernel:", facts.kernel.as_ref().map_or("unknown", KernelRelease::as_str));
            row(
                "Tested in:",
                &format!(
                    "{}, guests under {} ({})",
                    failed.cell.cell.environment,
                    facts.accelerator,
                    wording::basis(Some(facts.basis))
                ),
            );
            row("Packages:", &versions(&facts.versions));
        }
        vec![Block::Lines(lines.join("\n"))]
    }

    fn origin(&self) -> Vec<Block> {
        let (matrix, test) = (self.failed.matrix, &self.failed.test.id);
        let day = matrix.finished.map_or_else(String::new, |at| format!(" of {}", at.strftime("%F")));
        vec![Block::Text(format!(
            "By the test {test} of kata-qualify {} in the run {}{day}. kata-qualify ({HOME}) boots guests with a release's own \
             QEMU, virtiofsd and kernel as Kata Containers does. {} has the whole run; `kata-qualify verify {}` judges it \
             again.",
            matrix.harness, matrix.run, self.bundle, self.bundle
        ))]
    }
}

/// Formats a package: `qemu-system-x86 1:10.0 (the release's security suite)`.
fn installed(package: &FaultyPackage) -> Option<String> {
    let name = package.binary.as_ref()?;
    let version = package.version.as_ref().map_or("of unknown version", PackageVersion::as_str);
    let suite = package.suite.as_deref().filter(|suite| !suite.is_empty()).map(|suite| format!(" ({suite})"));
    Some(format!("{name} {version}{}", suite.unwrap_or_default()))
}

/// Returns the part of Kata that a source file belongs to, as the titles of its issues name it: `runtime-rs`,
/// `kata-ctl`.
fn part_of_kata(source: &str) -> Option<&str> {
    let below = source.strip_prefix("src/")?;
    below.strip_prefix("tools/").unwrap_or(below).split_once('/').map(|(part, _)| part)
}

/// Returns the directory in Kata's source of the runtime that did not run.
fn source_of_other_runtime(own: Runtime) -> &'static str {
    match own {
        Runtime::Go => "src/runtime-rs/",
        Runtime::Rs => "src/runtime/",
    }
}

/// Formats the release: `debian 13 (trixie)`.
fn release(failed: &FailedTest<'_>) -> String {
    let name = format!("{} {}", failed.release.distro, failed.release.version);
    failed.release.codename.as_ref().map_or(name.clone(), |codename| format!("{name} ({codename})"))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
