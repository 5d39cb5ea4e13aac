//! `kata-qualify history`: when a release last worked, from the record and from kept runs.

use crate::cli::arguments::{Format, HistoryArguments};
use crate::cli::{Exit, UsageError, base, print, records, report, request};
use crate::progress::tell;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use model::arch::Arch;
use model::distro::Target;
use model::package_manager::PackageManager;
use model::profile::{Profile, ProfileName};
use model::verified::{CanRun, VerifiedEntry};
use reports::journal::CellId;
use reports::matrix::{CellReport, Matrix};
use reports::standing::{Recorded, ReleaseAnswer, Standings, recorded_answer};
use reports::views::record::future_end_reason;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The default directory of runs.
const RUNS: &str = "kata-qualify-out";

/// Limits of the history, which neither the record nor runs can overcome.
const CANNOT_KNOW: &[&str] = &[
    "the record keeps only the last verdict on each capability: see the history of its repository for earlier ones",
    "nothing is known about runs whose folders were removed, or about days without a run",
    "each day is the day of a test, not the day on which a package broke or fixed something",
];

/// Knowledge about one day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Sighting {
    day: Date,
    /// The source: the record, or a run's directory.
    source: String,
    /// Whether Kata can run, as far as this source knows.
    works: bool,
    words: String,
}

/// Knowledge under one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct History {
    profile: ProfileName,
    /// The last day on which Kata could run.
    worked_last: Option<Date>,
    /// The sightings, the latest first.
    sightings: Vec<Sighting>,
}

/// The JSON document for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    schema: u32,
    release: String,
    arch: Arch,
    profiles: Vec<History>,
    cannot_know: &'static [&'static str],
}

/// Runs the command.
pub(super) fn history(what: &HistoryArguments) -> anyhow::Result<Exit> {
    let database = records::database(what.records.as_deref())?;
    let arch = request::machine()?;
    let named = request::named(std::slice::from_ref(&what.target), &database, arch)?;
    let [(target, _)] = named.as_slice() else {
        let why = format!("`{}` matches {} releases: name one, for example debian:13", what.target, named.len());
        return Err(UsageError(why).into());
    };
    let record = database.record(&target.distro)?;
    let is_its = |entry: &&VerifiedEntry| entry.release == target.version && entry.arch == arch && !entry.shaped;
    let known: Vec<&VerifiedEntry> = record.verified.iter().filter(is_its).collect();
    let profiles = request::profiles(&[])?;
    let mut all: Vec<(ProfileName, Sighting)> = Vec::new();
    for profile in &profiles {
        let own = of_record(&known, profile, record.package_manager);
        all.extend(own.into_iter().map(|sighting| (profile.name.clone(), sighting)));
    }
    for run in runs(&what.runs) {
        match report::judged(&run, Profile::all(), None) {
            Ok(matrix) => match future_end_reason(matrix.finished) {
                Some(why) => tell(format_args!("warning: {}: {why}", run.display())),
                None => all.extend(of_run(&matrix, &run.display().to_string(), target, arch, &profiles)),
            },
            Err(e) => tell(format_args!("warning: {}: {e:#}", run.display())),
        }
    }
    let histories: Vec<History> = profiles.iter().map(|profile| of_profile(&profile.name, &all)).collect();
    let release = target.to_string();
    match what.format {
        Format::Json => {
            let document = Document { schema: 1, release, arch, profiles: histories, cannot_know: CANNOT_KNOW };
            print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
        }
        Format::Human => print(&text(&release, arch, &histories))?,
    }
    Ok(Exit::AsRecorded)
}

/// Returns the sightings in the record's entries for a release under a profile: the answer from all entries, and from
/// those up to each earlier day if that answer is yes, because later measurements may be of newer packages.
fn of_record(known: &[&VerifiedEntry], profile: &Profile, manager: PackageManager) -> Vec<Sighting> {
    let own = known.iter().filter(|entry| entry.profile == profile.name);
    let days: BTreeSet<Date> = own.map(|entry| entry.tested).collect();
    let mut sightings = Vec::new();
    for day in &days {
        let is_last = Some(day) == days.last();
        let until: Vec<&VerifiedEntry> =
            known.iter().copied().filter(|entry| is_last || entry.tested <= *day).collect();
        let answer = recorded_answer(&until, profile, Some(manager));
        // The day is that of the deciding tests, not of others that ran later.
        let seen = sighting(answer.day.unwrap_or(*day), "the record", &answer);
        if (is_last || seen.works) && !sightings.contains(&seen) {
            sightings.push(seen);
        }
    }
    sightings
}

fn sighting(day: Date, source: &str, answer: &ReleaseAnswer) -> Sighting {
    // A release that needs a component brought along does not work by itself.
    let works = answer.answer.can_run() == CanRun::Yes;
    Sighting { day, source: source.to_owned(), works, words: answer.words() }
}

/// Returns the directories of runs that are named or below a named directory, each with its base run, which shows the
/// release as shipped; by default, those in the default directory of runs.
pub(super) fn runs(named: &[PathBuf]) -> Vec<PathBuf> {
    let default = [PathBuf::from(RUNS)];
    let is_named = !named.is_empty();
    let named = if is_named { named } else { &default[..] };
    let of = |folder: &Path| {
        let both = [folder.to_owned(), folder.join(base::FOLDER)];
        both.into_iter().filter(|run| run.join(reports::journal::FILE).is_file()).collect::<Vec<_>>()
    };
    let mut all = BTreeSet::new();
    for folder in named {
        let own = of(folder);
        if !own.is_empty() {
            all.extend(own);
            continue;
        }
        match std::fs::read_dir(folder) {
            Ok(entries) => all.extend(entries.flatten().flat_map(|entry| of(&entry.path()))),
            Err(e) if is_named => tell(format_args!("warning: --runs {}: {e}", folder.display())),
            // The default directory may be missing.
            Err(_) => {}
        }
    }
    all.into_iter().collect()
}

/// Returns what a run alone shows about a release, by profile; nothing if the run was not about the release as shipped.
fn of_run(
    matrix: &Matrix,
    name: &str,
    target: &Target,
    arch: Arch,
    profiles: &[Profile],
) -> Vec<(ProfileName, Sighting)> {
    let Some(day) = matrix.finished.map(|at| at.to_zoned(TimeZone::UTC).date()) else { return Vec::new() };
    let is_its = |id: &CellId| id.distro == target.distro && id.release == target.version && id.arch == arch;
    let mut of_release = matrix.cells.iter().filter(|cell| is_its(&cell.cell));
    let has_candidates = |cell: &CellReport| cell.facts.as_ref().is_some_and(|facts| !facts.candidates.is_empty());
    if matrix.candidate || matrix.shaped || of_release.any(has_candidates) {
        return Vec::new();
    }
    let standings = Standings::new(matrix, Recorded::default(), false);
    let mut all = Vec::new();
    for id in standings.releases().into_iter().filter(|id| is_its(id)) {
        for profile in profiles.iter().filter(|profile| matrix.profiles.iter().any(|p| p.name == profile.name)) {
            let answer = standings.answer(id, &profile.name);
            all.push((profile.name.clone(), sighting(day, name, &answer)));
        }
    }
    all
}

fn of_profile(profile: &ProfileName, all: &[(ProfileName, Sighting)]) -> History {
    let own = all.iter().filter(|(name, _)| name == profile);
    let mut sightings: Vec<Sighting> = own.map(|(_, sighting)| sighting.clone()).collect();
    sightings.sort();
    sightings.reverse();
    let worked_last = sightings.iter().find(|sighting| sighting.works).map(|sighting| sighting.day);
    History { profile: profile.clone(), worked_last, sightings }
}

fn text(release: &str, arch: Arch, histories: &[History]) -> String {
    let mut out = format!("{release} on {arch}\n");
    for History { profile, worked_last, sightings } in histories {
        out += &match (worked_last, sightings.is_empty()) {
            (Some(day), _) => format!("{profile}: last worked on {day}\n"),
            (None, false) => format!("{profile}: no known result shows that it ever worked\n"),
            (None, true) => format!("{profile}: nothing is known\n"),
        };
        for Sighting { day, source, words, .. } in sightings {
            out += &format!("  {day}  {source}: {words}\n");
        }
    }
    out += "Limits of this history:\n";
    for what in CANNOT_KNOW {
        out += &format!("  {what}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use model::component::Component;
    use model::database::Database;
    use model::verified::{Basis, Verdict, VerifiedCapability};
    use reports::journal::{Accelerator, Candidate, CellFacts, Event, Journal, JournalEntry, SCHEMA};
    use reports::matrix::matrix;
    use std::collections::BTreeMap;
    use suites::catalogue;
    use suites::outcome::Outcome;

    fn seen(day: i8, works: bool) -> (ProfileName, Sighting) {
        let words = if works { "yes, all 10" } else { "no: vsock (kernel)" };
        let sighting =
            Sighting { day: date(2026, 11, day), source: format!("run{day}"), works, words: words.to_owned() };
        ("go-3.32".parse().unwrap(), sighting)
    }

    #[test]
    fn the_history_shows_the_last_day_that_it_worked() {
        let all = [seen(1, false), seen(3, true), seen(9, false), seen(2, true)];
        let histories = [of_profile(&"go-3.32".parse().unwrap(), &all), of_profile(&"rs-4.0".parse().unwrap(), &all)];
        assert_eq!(histories[0].worked_last, Some(date(2026, 11, 3)));
        let shown = text("debian:13", Arch::X86_64, &histories);
        let begins =
            "debian:13 on x86_64\ngo-3.32: last worked on 2026-11-03\n  2026-11-09  run9: no: vsock (kernel)\n";
        assert!(shown.starts_with(begins), "{shown}");
        assert!(shown.contains("rs-4.0: nothing is known\nLimits of this history:\n"), "{shown}");
        let never = text("debian:13", Arch::X86_64, &[of_profile(&"go-3.32".parse().unwrap(), &[seen(1, false)])]);
        assert!(never.contains("no known result shows that it ever worked"), "{never}");
    }

    /// Builds a run of Debian 13 in a container in which everything passes.
    fn passing(candidates: BTreeMap<Component, Candidate>) -> Matrix {
        let cell: CellId = "debian:13/x86_64/container".parse().unwrap();
        let facts = CellFacts {
            basis: Basis::Emulated,
            accelerator: Accelerator::Tcg,
            versions: [("virtiofsd".parse().unwrap(), "1.13.2-1".parse().unwrap())].into(),
            suites: BTreeMap::new(),
            kernel: None,
            image: "debian:13".to_owned(),
            image_made: None,
            image_cached: true,
            image_manifest: None,
            image_options: Vec::new(),
            environment: BTreeMap::new(),
            candidates,
            notes: Vec::new(),
        };
        let started = Event::RunStarted {
            schema: SCHEMA,
            run: "r1".to_owned(),
            harness: "0.1.0".to_owned(),
            commit: String::new(),
            argv: Vec::new(),
            records: String::new(),
            catalogue: String::new(),
            profiles: vec!["go-3.32".parse().unwrap()],
            cells: vec![cell.clone()],
            planned: BTreeMap::new(),
            filter: None,
            facts: None,
            candidate: false,
            shaped: false,
            options: Vec::new(),
        };
        let mut events =
            vec![started, Event::CellStarted { cell: cell.clone() }, Event::CellFacts { cell: cell.clone(), facts }];
        events.extend(catalogue::tests().iter().map(|test| Event::TestFinished {
            cell: cell.clone(),
            profiles: vec!["go-3.32".parse().unwrap()],
            test: test.id.clone(),
            attempt: 1,
            machine: 0,
            guests: Vec::new(),
            outcome: Outcome::Pass,
            millis: 1,
            notes: Vec::new(),
            artifacts: Vec::new(),
        }));
        events.extend([Event::CellFinished { cell }, Event::RunFinished { interrupted: false }]);
        let at = jiff::Timestamp::from_second(1_790_000_000).unwrap();
        let entries = events.into_iter().map(|event| JournalEntry { at, event }).collect();
        matrix(&Journal { entries, ..Journal::default() }, catalogue::tests(), Profile::all())
    }

    /// Such a run shows nothing about the release itself.
    #[test]
    fn a_run_with_a_replaced_component_is_left_out_of_the_history() {
        let target = "debian:13".parse().unwrap();
        let profile = Profile::find("go-3.32").unwrap();
        let seen =
            |candidates| of_run(&passing(candidates), "r1", &target, Arch::X86_64, std::slice::from_ref(profile));
        let own = seen(BTreeMap::new());
        assert_eq!((own.len(), own[0].1.works, own[0].1.words.as_str()), (1, true, "yes, all 12"));
        assert_eq!(seen([(Component::Virtiofsd, Candidate::File("1.14".to_owned()))].into()), []);
    }

    /// A later entry in which a newer package failed does not erase the day on which the older package worked.
    #[test]
    fn a_recorded_success_is_kept_when_a_newer_package_fails() {
        let profile = Profile::find("go-3.32").unwrap();
        let database = Database::embedded();
        let shipped = database.record("debian").unwrap().verified.first().unwrap();
        let entry = |day, version: &str, verdict| VerifiedEntry {
            profile: profile.name.clone(),
            tested: date(2026, 11, day),
            test_set: model::verified::test_set_of_today().to_owned(),
            versions: [("virtiofsd".parse().unwrap(), version.parse().unwrap())].into(),
            capabilities: profile.needs().map(|needed| (needed, VerifiedCapability::plain(verdict))).collect(),
            ..shipped.clone()
        };
        let (works, fails) = (entry(1, "1-1", Verdict::Supported), entry(2, "1-2", Verdict::Unsupported));
        let seen = |known: &[&VerifiedEntry]| {
            let all = of_record(known, profile, PackageManager::Apt);
            all.into_iter().map(|sighting| (sighting.day.day(), sighting.works)).collect::<Vec<_>>()
        };
        assert_eq!(seen(&[&works]), [(1, true)]);
        assert_eq!(seen(&[&works, &fails]), [(1, true), (2, false)]);
        assert_eq!(seen(&[&fails]), [(2, false)]);
        assert_eq!(seen(&[]), []);
    }

    #[test]
    fn runs_are_found_below_folders() {
        let dir = tempfile::tempdir().unwrap();
        for run in ["b", "a"] {
            std::fs::create_dir(dir.path().join(run)).unwrap();
            std::fs::write(dir.path().join(run).join(reports::journal::FILE), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("other")).unwrap();
        let expected = [dir.path().join("a"), dir.path().join("b")];
        assert_eq!(runs(&[dir.path().to_owned()]), expected);
        assert_eq!(runs(&expected[..1]), expected[..1]);
    }

    /// Only the base run shows something about the release. It exists before the candidates' run, and alone if the
    /// candidates never ran.
    #[test]
    fn base_runs_are_found_below_their_runs() {
        let dir = tempfile::tempdir().unwrap();
        let [both, alone] = ["a", "b"].map(|name| dir.path().join(name));
        for run in [both.clone(), both.join(base::FOLDER), alone.join(base::FOLDER)] {
            std::fs::create_dir_all(&run).unwrap();
            std::fs::write(run.join(reports::journal::FILE), "").unwrap();
        }
        let expected = [both.clone(), both.join(base::FOLDER), alone.join(base::FOLDER)];
        assert_eq!(runs(&[dir.path().to_owned()]), expected);
        assert_eq!(runs(&[both]), expected[..2]);
        assert_eq!(runs(&[alone]), expected[2..]);
    }
}
