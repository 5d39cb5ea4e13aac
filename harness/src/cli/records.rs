//! The records that a command reads, and the verdicts that it writes back next to them.

use crate::cli::{BrokenRecords, UsageError, usage};
use crate::progress::tell;
use anyhow::Context as _;
use model::database::Database;
use model::distro::{DistroId, ReleaseVersion};
use model::known_issues::{KnownFailure, KnownIssue};
use model::verified::{self, Outdated, Verdict, VerifiedCapability, VerifiedEntry};
use model::words::form;
use reports::journal::CellId;
use reports::standing::Standings;
use reports::views::record::{Withheld, judged_in_part, verified_entries};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use suites::catalogue;

/// Loads the shipped records, with those of `--records` on top.
///
/// # Errors
/// [`UsageError`] or [`BrokenRecords`].
pub(super) fn database(records: Option<&Path>) -> anyhow::Result<Database> {
    let folders: Vec<PathBuf> = records.map(Path::to_owned).into_iter().collect();
    let database = Database::load(&folders).map_err(|e| usage(&e))?;
    let problems: Vec<String> = database.problems().iter().map(|problem| problem.human(false)).collect();
    if !problems.is_empty() {
        return Err(BrokenRecords(problems.join("\n\n")).into());
    }
    let issues = database.records().flat_map(|record| &record.known_issues);
    let unmatched: Vec<String> = issues.filter_map(unmatched_issue).collect();
    if !unmatched.is_empty() {
        return Err(UsageError(unmatched.join("\n")).into());
    }
    Ok(database)
}

/// Returns a complaint if a known issue names a test that does not exist, because nothing can ever match the issue.
fn unmatched_issue(issue: &KnownIssue) -> Option<String> {
    let KnownFailure::Test(test) = &issue.failure else { return None };
    let tests = catalogue::tests();
    if tests.iter().any(|known| known.id == *test) {
        return None;
    }
    let nearest = tests.iter().min_by_key(|known| strsim::damerau_levenshtein(&known.id, test));
    let nearest = nearest.map(|known| format!("; the nearest is {}", known.id)).unwrap_or_default();
    let (id, place) = (&issue.id, format!("{}:{}", issue.origin.file, issue.origin.line));
    Some(format!("{place}: the known issue `{id}` can never match: there is no test `{test}`{nearest}"))
}

/// Returns the directory of the records to write.
pub(super) fn folder(option: Option<&Path>) -> Result<PathBuf, UsageError> {
    let dir = option.map_or_else(|| PathBuf::from("distros/records"), Path::to_owned);
    if dir.is_dir() {
        return Ok(dir);
    }
    Err(UsageError(format!(
        "--write-back: {} is not a folder; name the folder of records with --records",
        dir.display()
    )))
}

/// Writes the verdicts next to the records, each file atomically, and reports what was written and what was withheld.
pub(super) fn write_back(standings: &Standings<'_>, database: &Database, folder: &Path) -> anyhow::Result<()> {
    let (entries, withheld) = verified_entries(standings);
    for held in withheld.iter().chain(&judged_in_part(standings)) {
        tell(format_args!("not written back: {held}"));
    }
    let distros: BTreeSet<&DistroId> = entries.iter().map(|(distro, _)| distro).collect();
    if distros.is_empty() {
        let why = withheld.iter().find(|held| held.cell.is_none()).map(|held| held.reason.as_str());
        tell(format_args!("nothing written: {}", why.unwrap_or(NOTHING_WHOLE)));
    }
    for distro in distros {
        let path = folder.join(verified::FOLDER).join(format!("{distro}.yaml"));
        let old = if path.try_exists().with_context(|| format!("looking for {}", path.display()))? {
            Some(std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?)
        } else {
            None
        };
        let new: Vec<VerifiedEntry> = entries.iter().filter(|(d, _)| d == distro).map(|(_, e)| e.clone()).collect();
        let record = database.record(distro)?;
        let releases: Vec<&ReleaseVersion> = record.releases.iter().map(|release| &release.version).collect();
        let written = verified::apply(old.as_deref(), distro, &releases, &new)
            .with_context(|| format!("writing verdicts into {}", path.display()))?;
        let count = verified::changed(old.as_deref(), &written, &new)
            .with_context(|| format!("comparing with the former content of {}", path.display()))?;
        let outdated = verified::outdated(old.as_deref(), &new)
            .with_context(|| format!("comparing with the former dates in {}", path.display()))?;
        for one in &outdated {
            tell(format_args!("not written back: {}", judged_later(distro, one)));
        }
        if count == 0 {
            let has_verdicts = new.iter().flat_map(|entry| entry.capabilities.values()).any(is_verdict);
            let later = if outdated.is_empty() { "" } else { ", or has later ones" };
            match has_verdicts {
                true => {
                    tell(format_args!("nothing written: {} already has all complete results{later}", path.display()));
                }
                false => tell(format_args!("nothing written: {NOTHING_WHOLE}; {} is unchanged", path.display())),
            }
            continue;
        }
        std::fs::create_dir_all(folder.join(verified::FOLDER))
            .and_then(|()| verified::write_file(&path, &written))
            .with_context(|| format!("writing {}", path.display()))?;
        tell(format_args!("written back: {count} {} into {}", form(count, "entry", "entries"), path.display()));
    }
    Ok(())
}

/// Reason why a finished run writes nothing.
const NOTHING_WHOLE: &str = "no capability was judged completely";

/// Describes results that are not written, because the record has those of a later day.
fn judged_later(distro: &DistroId, one: &Outdated) -> Withheld {
    let Outdated { release, arch, profile, environment, day, capabilities } = one;
    let cell = CellId { distro: distro.clone(), release: release.clone(), arch: *arch, environment: *environment };
    let names: Vec<&str> = capabilities.iter().map(|capability| capability.name()).collect();
    let reason = format!("{profile}: {}: the record already has results of a later run ({day})", names.join(", "));
    Withheld { cell: Some(cell), reason }
}

/// An entry lists capabilities that do not apply next to verdicts, but they are not verdicts.
fn is_verdict(capability: &VerifiedCapability) -> bool {
    capability.verdict != Verdict::NotApplicable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_issue_of_an_unknown_test_is_refused() {
        assert!(database(None).is_ok(), "the shipped ones are of tests that exist");
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(model::known_issues::FOLDER);
        std::fs::create_dir(&folder).unwrap();
        let write = |test: &str| {
            let entry = format!(
                "  - {{id: a, test: '{test}', package: qemu, versions: all, url: 'https://x', owner: o, expires: 2030-01-01}}\n"
            );
            std::fs::write(folder.join("debian.yaml"), format!("distro: debian\nknown-issues:\n{entry}")).unwrap();
            database(Some(dir.path()))
        };
        let known = &catalogue::tests()[0].id;
        let shipped = database(None).unwrap().record("debian").unwrap().known_issues.len();
        assert_eq!(write(known).unwrap().record("debian").unwrap().known_issues.len(), shipped + 1);
        let refused = write(&format!("{known}x")).unwrap_err().to_string();
        assert!(refused.contains("debian.yaml:3: the known issue `a` can never match: there is no test"), "{refused}");
        assert!(refused.ends_with(&format!("the nearest is {known}")), "{refused}");
    }
}
