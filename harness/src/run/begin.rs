//! Start or resumption of a run: its journal, and its cells with the work left in each.

use super::{BadRequest, RunRequest, provided};
use crate::plan::{self, Cell};
use crate::private::Private;
use crate::progress::Progress;
use agent::launch::compose::normalised;
use anyhow::Context as _;
use model::profile::{Profile, ProfileName};
use model::release::Release;
use model::test_id::TestId;
use reports::journal::{CellId, Environment, Event, Writer};
use reports::resume::{self, NotStarted, StartedRun};
use std::io;
use std::path::{Path, PathBuf};
use suites::catalogue::{self, Test};

/// Opens the journal of a new run, or of the one that is resumed, with its earlier progress.
pub(super) fn open(request: &RunRequest) -> anyhow::Result<(Writer, Option<StartedRun>)> {
    if !request.scope.resumes {
        return Ok((Writer::create(&request.out)?, None));
    }
    let linked = link_in(&request.out).with_context(|| format!("looking into {}", request.out.display()))?;
    if let Some(link) = linked {
        return Err(BadRequest::Resume { path: request.out.clone(), reason: NotResumable::Link(link) }.into());
    }
    let (writer, journal) = Writer::resume(&request.out)?;
    let refused = |e: NotStarted| BadRequest::Resume { path: request.out.clone(), reason: e.into() };
    Ok((writer, Some(resume::started_run(&journal).and_then(StartedRun::of_one_run).map_err(refused)?)))
}

/// Writes the start of a run into its journal, and keeps beside it what bundles of the run hide.
pub(super) fn start(journal: &mut Writer, begins: Event, request: &RunRequest) -> anyhow::Result<()> {
    journal.append(begins)?;
    let private = Private::here([request.out.as_path(), request.images.cache.as_path()]);
    private.keep(&request.out).with_context(|| format!("keeping what bundles hide in {}", request.out.display()))
}

/// Returns a link in the directory of a run, if there is one: a run makes none, but writes by path.
fn link_in(folder: &Path) -> io::Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            return Ok(Some(entry.path()));
        }
        if kind.is_dir()
            && let Some(link) = link_in(&entry.path())?
        {
            return Ok(Some(link));
        }
    }
    Ok(None)
}

/// Reason why a run cannot be resumed.
#[derive(Debug, thiserror::Error)]
pub enum NotResumable {
    /// The run has hardly started, or the journal has more than one run.
    #[error(transparent)]
    NotStarted(#[from] NotStarted),
    /// The run has finished.
    #[error("the run is finished: use `kata-qualify rerun` to run what did not pass")]
    Finished,
    /// The request differs from the original one: a line of text for each difference.
    #[error("the run can be resumed only with what it was started with, so that all its verdicts have the same \
             basis:\n{}", .0.join("\n"))]
    Differs(Vec<String>),
    /// Something in its directory is a link, through which the run would write elsewhere.
    #[error("{} is a link, through which the run would write elsewhere: expected a folder that a run has made", .0.display())]
    Link(PathBuf),
}

/// Checks whether a run can be resumed as this one; otherwise returns the reason.
pub(super) fn check_resumable(before: &StartedRun, begins: &Event) -> Result<(), NotResumable> {
    if before.is_finished {
        return Err(NotResumable::Finished);
    }
    let differences = resume::differences(&before.first, begins);
    if differences.is_empty() { Ok(()) } else { Err(NotResumable::Differs(differences)) }
}

/// Tells the display which tests a cell will run.
pub(super) fn shown(cell: &Cell) {
    let tests = cell.units.iter().flat_map(|unit| &unit.tests);
    let tests: Vec<(&TestId, &[ProfileName])> =
        tests.map(|planned| (&planned.test.id, planned.profiles.as_slice())).collect();
    let before = cell.before.iter().flat_map(|before| before.tests.keys().cloned()).collect();
    cell.line.plan(&tests, &before);
}

/// Checks whether a cell had not finished before.
pub(super) fn is_unfinished(cell: &Cell) -> bool {
    let ended = cell.before.as_ref().is_some_and(|before| before.ended);
    if ended {
        cell.line.mark_finished();
    }
    !ended
}

/// Returns the cells: each release in each requested environment, with the work to do there.
///
/// `kvm` is true if containers may be given KVM.
pub(super) fn cells(request: &RunRequest, before: Option<&StartedRun>, kvm: bool, progress: &Progress) -> Vec<Cell> {
    let is_selected = |test: &Test| catalogue::chooses_any(&request.filters, test);
    request
        .releases
        .iter()
        .flat_map(|release| request.environments.iter().map(move |environment| (release, *environment)))
        .map(|(release, environment)| (cell_id(release, environment), release, environment))
        .filter(|(id, ..)| request.scope.has(id))
        .filter_map(|(id, release, environment)| {
            let provided = provided(environment, kvm);
            let same = |profile: &Profile, configuration| normalised(profile, release.arch, configuration, provided);
            let units = request.scope.units(&id, plan::units(&request.profiles, environment, is_selected, same));
            // No test of this cell is to be run again.
            if request.scope.again.is_some() && units.is_empty() {
                return None;
            }
            Some(Cell {
                line: progress.cell(&id),
                units,
                before: before.map(|before| before.progress.get(&id).cloned().unwrap_or_default()),
                id,
                release: release.clone(),
                profiles: request.profiles.clone(),
            })
        })
        .collect()
}

/// Returns the id of the cell of a release in an environment.
fn cell_id(release: &Release, environment: Environment) -> CellId {
    CellId { distro: release.distro.clone(), release: release.version.clone(), arch: release.arch, environment }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::arch::Arch;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_anywhere_in_a_runs_directory_is_found() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let deep = dir.path().join("artifacts/debian-13-x86_64-vm");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("serial.log"), "").unwrap();
        assert_eq!(link_in(dir.path()).unwrap(), None);
        for link in [deep.join("machine-1"), dir.path().join("private.json"), dir.path().join("images")] {
            symlink(elsewhere.path(), &link).unwrap();
            assert_eq!(link_in(dir.path()).unwrap().as_ref(), Some(&link));
            std::fs::remove_file(&link).unwrap();
        }
    }

    /// Otherwise profiles would share a guest although their arguments differ as soon as the guest has KVM.
    #[test]
    fn containers_with_kvm_are_grouped_by_their_arguments_under_kvm() {
        let units = |kvm| {
            let provided = provided(Environment::Container, kvm);
            let same = |profile: &Profile, configuration| normalised(profile, Arch::X86_64, configuration, provided);
            plan::units(Profile::all(), Environment::Container, |_| true, same)
        };
        let [with, without] = [units(true), units(false)];
        eprintln!("{} units with KVM, {} without", with.len(), without.len());
        for unit in &with {
            let arguments = |name: &ProfileName| {
                let provided = provided(Environment::Container, true);
                Profile::find(name).ok().map(|profile| normalised(profile, Arch::X86_64, unit.configuration, provided))
            };
            let all: std::collections::BTreeSet<_> = unit.profiles.iter().filter_map(arguments).collect();
            assert_eq!(all.len(), 1, "{:?} {:?}", unit.configuration, unit.profiles);
        }
        let tests = |units: &[plan::Unit]| -> usize {
            units.iter().flat_map(|unit| &unit.tests).map(|planned| planned.profiles.len()).sum()
        };
        assert_eq!(tests(&with), tests(&without), "nothing is left out");
    }
}
