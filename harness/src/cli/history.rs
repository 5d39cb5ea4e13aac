//! `kata-qualify history`: when a release worked last, by the record and by the runs that are kept.

use crate::cli::arguments::{Format, HistoryArguments};
use crate::cli::{Exit, UsageError, base, print, records, report, request};
use crate::progress::tell;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use model::arch::Arch;
use model::profile::Profile;
use model::target::Target;
use model::verified::VerifiedEntry;
use reports::standing::{Answer, Recorded, ReleaseAnswer, Standings, recorded_answer};
use reports::views::record::ended_to_come;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where runs are written by default.
const RUNS: &str = "kata-qualify-out";

/// What neither the record nor runs can tell.
const CANNOT_KNOW: &[&str] = &[
    "the record keeps the last verdict on each capability: what it said before is in the history of its repository",
    "of runs whose folders are gone, and of days on which nobody ran anything, nothing is known",
    "a day is that of a test, and not the one on which a package broke or mended it",
];

/// What is known of one day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Sighting {
    day: Date,
    /// The record, or a run's folder.
    source: String,
    /// Whether Kata can run, as far as this source knows.
    works: bool,
    words: String,
}

/// What is known under one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct History {
    profile: String,
    /// The last day on which Kata could run.
    worked_last: Option<Date>,
    /// The last day first.
    sightings: Vec<Sighting>,
}

/// What programs get.
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
        let why = format!("`{}` is {} releases: name one, for example debian:13", what.target, named.len());
        return Err(UsageError(why).into());
    };
    let entries = &database.record(&target.distro)?.verified;
    let profiles = request::profiles(&[])?;
    let mut all: Vec<(String, Sighting)> = Vec::new();
    for profile in &profiles {
        let known = |entry: &&VerifiedEntry| {
            entry.release == target.version && entry.arch == arch && entry.profile == profile.name && !entry.shaped
        };
        let known: Vec<&VerifiedEntry> = entries.iter().filter(known).collect();
        if let Some(day) = known.iter().map(|entry| entry.tested).max() {
            let sighting = sighting(day, "the record", &recorded_answer(&known, profile));
            all.push((profile.name.clone(), sighting));
        }
    }
    for run in runs(&what.runs) {
        match of_run(&run, target, arch, &profiles) {
            Ok(seen) => all.extend(seen),
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

fn sighting(day: Date, source: &str, answer: &ReleaseAnswer) -> Sighting {
    let works = matches!(answer.answer, Answer::Yes | Answer::With(_));
    Sighting { day, source: source.to_owned(), works, words: answer.words() }
}

/// The folders of runs that are named, or in folders that are, each with that of its base run, which shows the release as it
/// is; by default those where runs are written.
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
            // The default one need not be there.
            Err(_) => {}
        }
    }
    all.into_iter().collect()
}

/// What a run alone says of a release, by profile; nothing where it was about something else than the release itself.
fn of_run(run: &Path, target: &Target, arch: Arch, profiles: &[Profile]) -> anyhow::Result<Vec<(String, Sighting)>> {
    let matrix = report::judged(run, Profile::all(), None)?;
    let Some(day) = matrix.finished.map(|at| at.to_zoned(TimeZone::UTC).date()) else { return Ok(Vec::new()) };
    if matrix.candidate || matrix.shaped {
        return Ok(Vec::new());
    }
    if let Some(why) = ended_to_come(&matrix) {
        anyhow::bail!("{why}");
    }
    let standings = Standings::new(&matrix, Recorded::default(), false);
    let is_its =
        |id: &&reports::journal::CellId| id.distro == target.distro && id.release == target.version && id.arch == arch;
    let mut all = Vec::new();
    for id in standings.releases().into_iter().filter(is_its) {
        for profile in profiles.iter().filter(|profile| matrix.profiles.iter().any(|p| p.name == profile.name)) {
            let answer = standings.answer(id, &profile.name);
            all.push((profile.name.clone(), sighting(day, &run.display().to_string(), &answer)));
        }
    }
    Ok(all)
}

fn of_profile(profile: &str, all: &[(String, Sighting)]) -> History {
    let own = all.iter().filter(|(name, _)| name == profile);
    let mut sightings: Vec<Sighting> = own.map(|(_, sighting)| sighting.clone()).collect();
    sightings.sort();
    sightings.reverse();
    let worked_last = sightings.iter().find(|sighting| sighting.works).map(|sighting| sighting.day);
    History { profile: profile.to_owned(), worked_last, sightings }
}

fn text(release: &str, arch: Arch, histories: &[History]) -> String {
    let mut out = format!("{release} on {arch}\n");
    for History { profile, worked_last, sightings } in histories {
        out += &match (worked_last, sightings.is_empty()) {
            (Some(day), _) => format!("{profile}: worked last on {day}\n"),
            (None, false) => format!("{profile}: nothing that is known shows that it ever worked\n"),
            (None, true) => format!("{profile}: nothing is known\n"),
        };
        for Sighting { day, source, words, .. } in sightings {
            out += &format!("  {day}  {source}: {words}\n");
        }
    }
    out += "What this cannot know:\n";
    for what in CANNOT_KNOW {
        out += &format!("  {what}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn seen(day: i8, works: bool) -> (String, Sighting) {
        let words = if works { "yes, all 10" } else { "no: vsock (kernel)" };
        let sighting =
            Sighting { day: date(2026, 11, day), source: format!("run{day}"), works, words: words.to_owned() };
        ("go-3.32".to_owned(), sighting)
    }

    #[test]
    fn it_worked_on_the_last_day_that_shows_it() {
        let all = [seen(1, false), seen(3, true), seen(9, false), seen(2, true)];
        let histories = [of_profile("go-3.32", &all), of_profile("rs-4.0", &all)];
        assert_eq!(histories[0].worked_last, Some(date(2026, 11, 3)));
        let shown = text("debian:13", Arch::X86_64, &histories);
        let begins =
            "debian:13 on x86_64\ngo-3.32: worked last on 2026-11-03\n  2026-11-09  run9: no: vsock (kernel)\n";
        assert!(shown.starts_with(begins), "{shown}");
        assert!(shown.contains("rs-4.0: nothing is known\nWhat this cannot know:\n"), "{shown}");
        let never = text("debian:13", Arch::X86_64, &[of_profile("go-3.32", &[seen(1, false)])]);
        assert!(never.contains("nothing that is known shows that it ever worked"), "{never}");
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

    /// Of candidates only the base run says anything of the release; it is there first, and alone where they never ran.
    #[test]
    fn the_base_run_of_candidates_is_looked_at() {
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
