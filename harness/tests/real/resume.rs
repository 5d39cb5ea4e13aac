//! A killed run is resumed: in the same directory, by another process, as the same run.

use reports::journal::{Event, FILE, Journal, RunFilter, read};
use reports::run::{RunEnding, fold};
use std::path::Path;
use std::process::Command;

/// Returns the exit code and standard error of the command in a directory; no Docker engine answers.
fn run_command(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
    command.args(arguments).current_dir(folder).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Creates a directory with a cache whose images are empty.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    crate::cached::empty_images(&dir.path().join("cache"), &["debian:12", "debian:13"]).unwrap();
    dir
}

/// A short run: the images in the cache are empty, so both cells end in an error.
const RUN: [&str; 10] =
    ["run", "debian:12,13", "--in", "vm", "--offline", "--test", "host::", "--cache", "cache", "--out"];
/// Arguments that resume the run.
const RESUME: [&str; 6] = ["run", "--offline", "--cache", "cache", "--resume", "out"];

fn journal(folder: &Path) -> Journal {
    read(&folder.join("out").join(FILE)).unwrap()
}

/// Cuts the journal in the middle of a line, like a kill after this many complete lines.
fn cut(folder: &Path, lines: usize) {
    let path = folder.join("out").join(FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut beginning: String = text.split_inclusive('\n').take(lines).collect();
    beginning.push_str("{\"at\":\"2026-");
    std::fs::write(path, beginning).unwrap();
}

/// Returns the number of lines before the first event of this kind for the second cell.
fn lines_before_second_cell(journal: &Journal, is_it: impl Fn(&Event) -> bool) -> usize {
    let places = journal.entries.iter().enumerate().filter(|(_, entry)| is_it(&entry.event)).map(|(at, _)| at);
    places.last().unwrap()
}

#[test]
fn a_resumed_run_keeps_its_id_and_does_not_repeat_finished_cells() {
    let dir = folder();
    assert_eq!(run_command(dir.path(), &[&RUN[..], &["out"]].concat()).0, Some(3), "there is nothing in the images");
    let whole = journal(dir.path());
    let undisturbed = fold(&whole);
    cut(dir.path(), lines_before_second_cell(&whole, |event| matches!(event, Event::CellFinished { .. })));
    let killed = fold(&journal(dir.path()));
    assert_eq!(killed.ending, RunEnding::Killed);
    let (code, stderr) = run_command(dir.path(), &RESUME);
    assert_eq!(code, Some(3), "{stderr}");
    let resumed = journal(dir.path());
    assert!(!resumed.cut);
    let starts = |cell: &reports::journal::CellId| {
        let of = |event: &Event| matches!(event, Event::CellStarted { cell: one } if one == cell);
        resumed.entries.iter().filter(|entry| of(&entry.event)).count()
    };
    let mut starts: Vec<usize> = undisturbed.order.iter().map(starts).collect();
    starts.sort_unstable();
    assert_eq!(starts, [1, 2], "the one that had ended did not begin again");
    let run = fold(&resumed);
    assert_eq!((run.id.clone(), run.ending), (undisturbed.id.clone(), RunEnding::Finished));
    assert_eq!((&run.order, &run.provenance.planned), (&undisturbed.order, &undisturbed.provenance.planned));
    for (cell, before) in &undisturbed.cells {
        let after = &run.cells[cell];
        assert!(after.complete);
        // Error messages contain the name of a temporary directory.
        let phases = |cell: &reports::run::CellRun| cell.errors.iter().map(|error| error.phase).collect::<Vec<_>>();
        assert_eq!((phases(after), &after.instances), (phases(before), &before.instances));
    }
    assert!(dir.path().join("out/results.json").exists());
}

#[test]
fn resume_refuses_a_finished_run_and_other_options() {
    let dir = folder();
    run_command(dir.path(), &[&RUN[..], &["out"]].concat());
    let (code, stderr) = run_command(dir.path(), &RESUME);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--resume out: the run is finished"), "{stderr}");
    cut(dir.path(), 2);
    let before = std::fs::read_to_string(dir.path().join("out").join(FILE)).unwrap();
    let (code, stderr) = run_command(dir.path(), &[&RESUME[..], &["--accept-expired"]].concat());
    assert_eq!(code, Some(2), "{stderr}");
    let expected = "now --accept-expired --offline --vm-memory 4096";
    assert!(stderr.contains(expected), "{stderr}");
    let after = std::fs::read_to_string(dir.path().join("out").join(FILE)).unwrap();
    assert!(before.starts_with(&after), "nothing was added");
}

#[test]
fn a_folder_without_a_run_is_bad_input() {
    let dir = folder();
    let (code, stderr) = run_command(dir.path(), &RESUME);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.starts_with("error: --resume out: reading "), "{stderr}");
    std::fs::create_dir(dir.path().join("out")).unwrap();
    std::fs::write(dir.path().join("out").join(FILE), "{\"at\":\"2026-07").unwrap();
    let (code, stderr) = run_command(dir.path(), &RESUME);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("its journal does not say what to run"), "{stderr}");
}

/// Two processes must not write the same journal.
#[test]
fn resume_refuses_a_run_that_is_in_use() {
    let dir = folder();
    run_command(dir.path(), &[&RUN[..], &["out"]].concat());
    cut(dir.path(), 2);
    let _other = reports::journal::Writer::resume(&dir.path().join("out")).unwrap();
    let (code, stderr) = run_command(dir.path(), &RESUME);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("in use by another run"), "{stderr}");
}

/// A rerun is a separate run: cells that did not get as far as their tests are run again, and the first journal stays
/// unchanged.
#[test]
fn rerun_repeats_unfinished_cells_as_a_new_run() {
    let dir = folder();
    run_command(dir.path(), &[&RUN[..], &["out"]].concat());
    let before = journal(dir.path());
    let (code, stderr) =
        run_command(dir.path(), &["rerun", "out", "debian:13", "--offline", "--cache", "cache", "--out", "again"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert_eq!(journal(dir.path()), before);
    let again = fold(&read(&dir.path().join("again").join(FILE)).unwrap());
    let id = fold(&before).id;
    assert_ne!(again.id, id);
    assert_eq!(again.filter, Some(RunFilter::RerunOf(id.clone())));
    let cells: Vec<String> = again.order.iter().map(ToString::to_string).collect();
    assert_eq!(cells.len(), 1);
    assert!(cells[0].starts_with("debian:13/") && cells[0].ends_with("/vm"), "{cells:?}");
    let (code, stderr) = run_command(dir.path(), &["rerun", "nowhere"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.starts_with("error: RUN nowhere: "), "{stderr}");
    let (code, stderr) = run_command(dir.path(), &["run", "--resume", "again", "--offline", "--cache", "cache"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("it is a rerun: resume it with `kata-qualify rerun RUN --resume DIR`"), "{stderr}");
    let (code, stderr) = run_command(dir.path(), &["rerun", "again"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("it is a rerun itself"), "{stderr}");
}
