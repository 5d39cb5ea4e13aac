//! `kata-qualify stale`: reports which entries of the record are stale. Nothing is booted.
//!
//! An entry is stale if the mirror offers a later version of one of its packages or no longer has the package, if the
//! entry is old, or if the tests' requirements have changed.

use crate::cli::arguments::{AGE, Format, ImageArguments, RunArguments, StaleArguments};
use crate::cli::{Exit, print, records, redact, request};
use crate::progress::tell;
use jiff::civil::Date;
use model::arch::Arch;
use model::database::Database;
use model::distro::{Target, as_name};
use model::package::{PackageName, PackageVersion};
use model::profile::ProfileName;
use model::release::Release;
use model::verified::VerifiedEntry;
use model::version_order::compare;
use reports::journal::{CellId, Environment};
use reports::verdict::test_set;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use suites::capability::Capability;
use suites::catalogue;

/// Number of capabilities that a reason names; the rest is counted.
const NAMED: usize = 3;

/// Reason why an entry is stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
enum Reason {
    /// The mirror has a later version.
    Package { name: PackageName, recorded: PackageVersion, offered: PackageVersion },
    /// The mirror does not offer the package any more.
    Gone { name: PackageName, recorded: PackageVersion },
    /// The entry is this many days old.
    Age { days: i64 },
    /// The tests' requirements have changed.
    TestSet { recorded: String, now: String, capabilities: Vec<Capability> },
}

impl Reason {
    fn words(&self) -> String {
        match self {
            Reason::Package { name, recorded, offered } => format!("{name} was {recorded}, the mirror has {offered}"),
            Reason::Gone { name, recorded } => format!("{name} was {recorded}, the mirror no longer has it"),
            Reason::Age { days } => format!("{days} days old"),
            Reason::TestSet { recorded, now, capabilities } => {
                let named: Vec<&str> = capabilities.iter().take(NAMED).map(|c| c.name()).collect();
                let more = capabilities.len().saturating_sub(NAMED);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("another set of tests ({recorded}, now {now}) for {}{more}", named.join(", "))
            }
        }
    }
}

/// An entry of the record, and whether it is stale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct RecordedEntry {
    #[serde(skip)]
    cell: CellId,
    #[serde(serialize_with = "as_name")]
    release: Target,
    arch: Arch,
    profile: ProfileName,
    environment: Environment,
    /// The Kata that was brought along, if the entry has Kata's own results.
    kata: Option<String>,
    tested: Date,
    /// Empty if the entry is not known to be stale.
    reasons: Vec<Reason>,
    /// Reason why the mirror could not be asked.
    unknown: Option<String>,
}

/// The JSON document for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    schema: u32,
    stale: bool,
    entries: Vec<RecordedEntry>,
}

/// Selection of the record's entries, and the criteria.
struct Question<'a> {
    targets: &'a [String],
    profiles: &'a [String],
    age: u32,
    offline: bool,
    images: &'a ImageArguments,
}

/// Runs the command: exit code 1 if something is stale, else 3 if a mirror could not be asked.
pub(super) fn stale(what: &StaleArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.records.as_deref())?;
    let StaleArguments { targets, profiles, age, offline, images, .. } = what;
    let rows = rows(&Question { targets, profiles, age: *age, offline: *offline, images }, &database)?;
    let is_stale = rows.iter().any(|row| !row.reasons.is_empty());
    let is_unknown = rows.iter().any(|row| row.unknown.is_some());
    match what.format {
        Format::Json => {
            let document = Document { schema: 1, stale: is_stale, entries: rows };
            print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
        }
        Format::Human => print(&text(&rows))?,
    }
    Ok(match (is_stale, is_unknown) {
        (true, _) => Exit::Worse,
        (false, true) => Exit::Infrastructure,
        (false, false) => Exit::AsRecorded,
    })
}

/// The part of the record that `run --stale` runs again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StaleCells {
    /// The stale cells.
    pub(super) cells: Vec<CellId>,
    /// The mirrors that could not be asked, so that other cells may be stale, too: each release with the reason.
    pub(super) unasked: Vec<String>,
}

/// Returns the stale cells among those that the arguments of a run name.
///
/// `run --stale` does not repeat results of a Kata that was supplied, nor those of this machine itself unless `--in`
/// names it.
pub(super) fn cells(arguments: &RunArguments, database: &Database) -> anyhow::Result<StaleCells> {
    let RunArguments { targets, profiles, offline, images, .. } = arguments;
    let rows = rows(&Question { targets, profiles, age: AGE, offline: *offline, images }, database)?;
    let requested = request::environments(&arguments.environments)?;
    Ok(chosen(&rows, |environment| match arguments.environments.is_empty() {
        true => environment != Environment::Host,
        false => requested.contains(&environment),
    }))
}

/// Returns the entries that are or may be stale, in the requested environments. Those of a Kata that was brought along
/// are left out: a run has no Kata by itself.
fn chosen(rows: &[RecordedEntry], is_asked: impl Fn(Environment) -> bool) -> StaleCells {
    let mut chosen = StaleCells { cells: Vec::new(), unasked: Vec::new() };
    for row in rows.iter().filter(|row| row.kata.is_none() && is_asked(row.environment)) {
        match (&row.unknown, row.reasons.is_empty()) {
            // Each profile has its own row.
            (_, false) if !chosen.cells.contains(&row.cell) => {
                tell(format_args!("stale: {} {}", row.release, row.environment));
                chosen.cells.push(row.cell.clone());
            }
            (Some(why), true) => {
                let unasked = format!("{}: the mirror could not be checked: {why}", row.release);
                // Each profile and environment has its own row.
                if !chosen.unasked.contains(&unasked) {
                    tell(format_args!("note: {unasked}"));
                    chosen.unasked.push(unasked);
                }
            }
            (_, false) | (None, true) => {}
        }
    }
    chosen
}

/// Checks whether a later run of the other kind (shaped or not) judged all of an entry again: both entries remain in
/// the record, and a user who has run one kind does not have to repeat the other.
fn is_superseded_by(entry: &VerifiedEntry, other: &VerifiedEntry) -> bool {
    other.shaped != entry.shaped
        && other.kata.is_some() == entry.kata.is_some()
        && other.tested > entry.tested
        && (&other.profile, other.environment) == (&entry.profile, entry.environment)
        && entry.capabilities.keys().all(|capability| other.capabilities.contains_key(capability))
}

fn rows(question: &Question<'_>, database: &Database) -> anyhow::Result<Vec<RecordedEntry>> {
    let arch = request::machine()?;
    let profiles = request::profiles(question.profiles)?;
    let all = ["all".to_owned()];
    let targets = if question.targets.is_empty() { &all[..] } else { question.targets };
    let named = request::named(targets, database, arch)?;
    let mut entries: Vec<(Release, Vec<&VerifiedEntry>)> = Vec::new();
    for (target, release) in named {
        let Ok(release) = release else { continue };
        let is_asked = |entry: &&VerifiedEntry| {
            entry.release == target.version
                && entry.arch == arch
                && profiles.iter().any(|profile| profile.name == entry.profile)
        };
        let all: Vec<&VerifiedEntry> = database.record(&target.distro)?.verified.iter().filter(is_asked).collect();
        let is_last = |entry: &&VerifiedEntry| !all.iter().any(|other| is_superseded_by(entry, other));
        let known: Vec<&VerifiedEntry> = all.iter().copied().filter(is_last).collect();
        match known.is_empty() {
            true if question.targets.is_empty() => {}
            true => tell(format_args!("note: the record has no entry for {target} on {arch}")),
            false => entries.push((release, known)),
        }
    }
    let releases: Vec<Release> = entries.iter().map(|(release, _)| release.clone()).collect();
    let (images, _) =
        request::images(question.images, question.offline, &[Environment::Container], &releases, database)?;
    let (today, tests) = (jiff::Zoned::now().date(), test_set(catalogue::tests()));
    let mut rows = Vec::new();
    for (release, known) in &entries {
        let offered = (!question.offline).then(|| {
            tell(format_args!("{}: asking the mirror", release.name()));
            let names: BTreeSet<&str> =
                known.iter().flat_map(|entry| entry.versions.keys()).map(PackageName::as_str).collect();
            let offered = images::newest_versions(release, &images, &names, &|_| ());
            offered.map_err(|error| redact(&error.cause.to_string()))
        });
        rows.extend(known.iter().map(|entry| {
            let (newest, unknown) = match &offered {
                Some(Ok(newest)) => (Some(newest), None),
                Some(Err(why)) => (None, Some(why.clone())),
                None => (None, None),
            };
            RecordedEntry {
                cell: CellId {
                    distro: release.distro.clone(),
                    release: release.version.clone(),
                    arch,
                    environment: entry.environment,
                },
                release: release.target(),
                arch,
                profile: entry.profile.clone(),
                environment: entry.environment,
                kata: entry.kata.as_ref().map(|kata| kata.version.to_string()),
                tested: entry.tested,
                reasons: reasons(entry, release, newest, today, question.age, &tests),
                unknown,
            }
        }));
    }
    Ok(rows)
}

/// Returns the reasons why an entry is stale; `newest` is the mirror's offer, if it was asked.
fn reasons(
    entry: &VerifiedEntry,
    release: &Release,
    newest: Option<&BTreeMap<PackageName, PackageVersion>>,
    today: Date,
    age: u32,
    tests: &str,
) -> Vec<Reason> {
    let mut all = Vec::new();
    for (name, recorded) in newest.iter().flat_map(|_| &entry.versions) {
        let (name, recorded) = (name.clone(), recorded.clone());
        match newest.and_then(|newest| newest.get(&name)).cloned() {
            None => all.push(Reason::Gone { name, recorded }),
            // An older offer is no reason: this mirror may be behind the one that the entry was measured with.
            Some(offered) if compare(release.package_manager, offered.as_str(), recorded.as_str()).is_gt() => {
                all.push(Reason::Package { name, recorded, offered });
            }
            Some(_) => {}
        }
    }
    let days = entry.tested.until(today).map_or(0, |span| i64::from(span.get_days()));
    if days > i64::from(age) {
        all.push(Reason::Age { days });
    }
    let capabilities = entry.judged_otherwise(tests);
    if !capabilities.is_empty() {
        all.push(Reason::TestSet { recorded: entry.test_set.clone(), now: tests.to_owned(), capabilities });
    }
    all
}

/// Formats a line for each release and environment, with the reasons and the profiles they concern.
fn text(rows: &[RecordedEntry]) -> String {
    if rows.is_empty() {
        return "the record has no entry for this\n".to_owned();
    }
    /// Release, environment, and the version of a Kata that was brought along.
    type Place<'r> = (String, Environment, Option<&'r str>);
    /// Profiles by reason.
    type Reasons<'r> = BTreeMap<String, Vec<&'r str>>;
    let mut places: BTreeMap<Place<'_>, Reasons<'_>> = BTreeMap::new();
    for row in rows {
        let reasons = places.entry((row.release.to_string(), row.environment, row.kata.as_deref())).or_default();
        let unknown = row.unknown.iter().map(|why| format!("the mirror could not be checked: {why}"));
        for words in row.reasons.iter().map(Reason::words).chain(unknown) {
            reasons.entry(words).or_default().push(&row.profile);
        }
    }
    let mut out = String::new();
    for ((release, environment, kata), reasons) in places {
        let with = kata.map(|version| format!(", Kata {version}")).unwrap_or_default();
        out += &format!(
            "{release} {environment}{with}: {}\n",
            if reasons.is_empty() { "up to date" } else { "stale or unknown" }
        );
        for (words, mut profiles) in reasons {
            profiles.dedup();
            out += &format!("  {words} [{}]\n", profiles.join(", "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use model::verified::{Basis, Verdict, VerifiedCapability};

    fn entry() -> VerifiedEntry {
        VerifiedEntry {
            release: "13".parse().unwrap(),
            arch: Arch::X86_64,
            profile: "go-3.32".parse().unwrap(),
            environment: Environment::Container,
            basis: Basis::Emulated,
            tested: date(2026, 11, 1),
            harness: "0.1.0".to_owned(),
            test_set: "now".to_owned(),
            shaped: false,
            kata: None,
            versions: versions(&[("qemu-system-x86", "1:10.0.2-1"), ("virtiofsd", "1.13.2-1")]),
            capabilities: [(Capability::VmmBoot, VerifiedCapability::plain(Verdict::Supported))].into(),
        }
    }

    #[test]
    fn an_entry_is_superseded_by_a_later_complete_one_of_the_other_kind() {
        let own = entry();
        let shaped = VerifiedEntry { shaped: true, tested: date(2026, 11, 2), ..entry() };
        assert!(is_superseded_by(&own, &shaped) && !is_superseded_by(&shaped, &own));
        let part = VerifiedEntry { capabilities: BTreeMap::new(), ..shaped.clone() };
        assert!(!is_superseded_by(&own, &part));
        let next = VerifiedEntry { shaped: false, ..shaped };
        assert!(!is_superseded_by(&own, &next), "a part of the same that was judged later");
    }

    fn versions(all: &[(&str, &str)]) -> BTreeMap<PackageName, PackageVersion> {
        all.iter().map(|(name, version)| (name.parse().unwrap(), version.parse().unwrap())).collect()
    }

    fn words(newest: Option<&[(&str, &str)]>, today: Date, tests: &str) -> Vec<String> {
        let database = Database::embedded();
        let release = database.record("debian").unwrap().release("13", Arch::X86_64).unwrap();
        let newest = newest.map(versions);
        let reasons = reasons(&entry(), &release, newest.as_ref(), today, 30, tests);
        reasons.iter().map(Reason::words).collect()
    }

    #[test]
    fn an_entry_is_stale_for_each_reason() {
        let same: &[(&str, &str)] = &[("qemu-system-x86", "1:10.0.2-1"), ("virtiofsd", "1.13.2-1")];
        let day = date(2026, 11, 2);
        assert_eq!(words(Some(same), day, "now"), Vec::<String>::new());
        // The mirror was not asked.
        assert_eq!(words(None, day, "now"), Vec::<String>::new());
        let newer: &[(&str, &str)] = &[("qemu-system-x86", "1:10.0.10-1")];
        let actual = words(Some(newer), day, "now");
        let expected = [
            "qemu-system-x86 was 1:10.0.2-1, the mirror has 1:10.0.10-1",
            "virtiofsd was 1.13.2-1, the mirror no longer has it",
        ];
        assert_eq!(actual, expected);
        let older: &[(&str, &str)] = &[("qemu-system-x86", "1:10.0.2~rc1-1"), ("virtiofsd", "1.13.2-1")];
        assert_eq!(words(Some(older), day, "now"), Vec::<String>::new(), "the mirror is behind");
        assert_eq!(words(None, date(2026, 12, 2), "now"), ["31 days old"]);
        assert_eq!(words(None, date(2026, 12, 1), "then"), ["another set of tests (now, now then) for vmm.boot"]);
    }

    fn row(profile: &str, reasons: Vec<Reason>) -> RecordedEntry {
        RecordedEntry {
            cell: "debian:13/x86_64/vm".parse().unwrap(),
            release: "debian:13".parse().unwrap(),
            arch: Arch::X86_64,
            profile: profile.parse().unwrap(),
            environment: Environment::Vm,
            kata: None,
            tested: date(2026, 11, 1),
            reasons,
            unknown: None,
        }
    }

    /// If a mirror could not be asked, it is unknown whether something is stale.
    #[test]
    fn an_entry_whose_mirror_did_not_answer_is_unknown() {
        let old = || row("go-3.32", vec![Reason::Age { days: 31 }]);
        let lost = || RecordedEntry { unknown: Some("no answer".to_owned()), ..row("rs-4.0", Vec::new()) };
        let cell = || vec![old().cell];
        let of = |rows: &[RecordedEntry], is_asked: bool| {
            let StaleCells { cells, unasked } = chosen(rows, |_| is_asked);
            assert!(unasked.len() < 2, "once for all profiles: {unasked:?}");
            (cells, unasked == ["debian:13: the mirror could not be checked: no answer"])
        };
        assert_eq!(of(&[row("go-3.32", Vec::new())], true), (Vec::new(), false));
        assert_eq!(of(&[lost(), lost()], true), (Vec::new(), true));
        assert_eq!(of(&[old(), old(), lost()], true), (cell(), true));
        // An entry that is stale for another reason is run anyway.
        assert_eq!(of(&[RecordedEntry { unknown: Some("no answer".to_owned()), ..old() }], true), (cell(), false));
        assert_eq!(of(&[old(), lost()], false), (Vec::new(), false), "nobody asked for it");
        // Kata's own results need a Kata that is brought along.
        let katas = |row: RecordedEntry| RecordedEntry { kata: Some("3.32.0".to_owned()), ..row };
        assert_eq!(of(&[katas(old()), katas(lost())], true), (Vec::new(), false));
        assert_eq!(text(&[katas(old())]), "debian:13 vm, Kata 3.32.0: stale or unknown\n  31 days old [go-3.32]\n");
    }

    #[test]
    fn equal_reasons_are_listed_once_for_all_profiles() {
        let old = || vec![Reason::Age { days: 31 }];
        let shown = text(&[row("go-3.32", old()), row("rs-4.0", old())]);
        assert_eq!(shown, "debian:13 vm: stale or unknown\n  31 days old [go-3.32, rs-4.0]\n");
        assert_eq!(text(&[row("go-3.32", Vec::new())]), "debian:13 vm: up to date\n");
    }
}
