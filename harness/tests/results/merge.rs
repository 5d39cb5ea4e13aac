use crate::generated_run::{End, GeneratedRun, LOG, artifacts, journal, run_command, write_run};
use reports::journal::read;
use reports::run::fold;

const OTHER: &str = "debian:12/x86_64/container";

#[test]
fn merged_shards_can_be_merged_and_reported_again() {
    let dir = tempfile::tempdir().unwrap();
    let of = |name: &str| dir.path().join(name);
    write_run(&of("a"), &GeneratedRun::default());
    write_run(&of("b"), &GeneratedRun { run: "r2", cell: OTHER, at: 60, ..GeneratedRun::default() });
    let merged = run_command(dir.path(), &["merge", "b", "a", "--out", "ab"]);
    assert!(!merged.stderr.contains("conflict"), "{}", merged.stderr);
    assert!(merged.stdout.contains("debian 12") && merged.stdout.contains("debian 13"), "{}", merged.stdout);
    for (run, cell) in [("r1", GeneratedRun::default().cell), ("r2", OTHER)] {
        let log = std::fs::read_to_string(of("ab").join(format!("runs/{run}/{}/{LOG}", artifacts(cell)))).unwrap();
        assert_eq!(log, format!("the log of {run}\n"));
        assert!(of("ab").join(format!("runs/{run}/images/made.json")).exists());
    }
    let page = std::fs::read_to_string(of("ab").join("pages/cell/debian-12-x86_64-container.html")).unwrap();
    assert!(page.contains("runs/r2/artifacts/"), "its logs are linked");
    for (out, folders) in [("again", &["ab"][..]), ("twice", &["a", "ab", "b", "a"])] {
        let output = run_command(dir.path(), &[&["merge", "--out", out], folders].concat());
        assert_eq!(output.code, merged.code, "{}", output.stderr);
        assert_eq!(journal(&of(out)), journal(&of("ab")));
    }
    // The reports of a merged directory can be regenerated like those of any run.
    assert_eq!(run_command(dir.path(), &["report", "ab"]).code, merged.code);
}

#[test]
fn merge_reports_a_conflict_and_uses_the_later_run() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("a"), &GeneratedRun::default());
    write_run(
        &dir.path().join("b"),
        &GeneratedRun { run: "r2", virtiofsd: "2.0-1", at: 60, ..GeneratedRun::default() },
    );
    let merged = run_command(dir.path(), &["merge", "a", "b", "--out", "ab"]);
    let expected = "conflict: debian:13/x86_64/container: run r1 does not count, because run r2 ended later \
                    and differs: virtiofsd 1.13.2-1 and 2.0-1";
    assert!(merged.stderr.contains(expected), "{}", merged.stderr);
    let run = fold(&read(&dir.path().join("ab")).unwrap());
    let attempts = run.cells.values().flat_map(|cell| &cell.instances).map(|instance| instance.attempts.len());
    assert_eq!(attempts.collect::<Vec<_>>(), [1, 1]);
}

/// The reports of a run apply its strictness without being given the option again.
#[test]
fn a_strict_run_is_strict_when_it_is_reported_or_merged() {
    let dir = tempfile::tempdir().unwrap();
    // No record has this environment, so nothing can be worse.
    let cell = "debian:13/x86_64/host";
    for (name, strict, code) in [("plain", false, 0), ("strict", true, 1)] {
        write_run(&dir.path().join(name), &GeneratedRun { cell, strict, ..GeneratedRun::default() });
        let out = format!("merged-{name}");
        for arguments in [&["report", name][..], &["merge", name, "--out", &out]] {
            let output = run_command(dir.path(), arguments);
            assert_eq!(output.code, Some(code), "{arguments:?}: {}", output.stderr);
        }
    }
    assert_eq!(run_command(dir.path(), &["report", "plain", "--strict"]).code, Some(1));
}

#[test]
fn diff_exits_3_if_a_run_has_lost_its_cell() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("a"), &GeneratedRun::default());
    write_run(&dir.path().join("lost"), &GeneratedRun { run: "r2", end: End::Lost, at: 60, ..GeneratedRun::default() });
    for (one, other, code) in [("a", "a", 0), ("a", "lost", 3), ("lost", "a", 3)] {
        let compared = run_command(dir.path(), &["diff", one, other]);
        assert_eq!(compared.code, Some(code), "{one} {other}: {}{}", compared.stdout, compared.stderr);
        let is_reported = compared.stdout.contains("Not compared, because lost has no verdict:");
        assert_eq!(is_reported, one == "lost", "{}", compared.stdout);
    }
}

/// A shaped run must not pass for one of the real distro because it was merged with such runs.
#[test]
fn merging_with_a_shaped_run_gives_a_shaped_run() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("a"), &GeneratedRun::default());
    write_run(
        &dir.path().join("b"),
        &GeneratedRun { run: "r2", cell: OTHER, shaped: true, at: -60, ..GeneratedRun::default() },
    );
    run_command(dir.path(), &["merge", "a", "b", "--out", "ab"]);
    let results = std::fs::read_to_string(dir.path().join("ab/results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&results).unwrap();
    assert_eq!(results["shaped"], true);
    assert!(
        run_command(dir.path(), &["merge", "a", "--write-back", "--out", "c"]).stderr.contains("unexpected argument")
    );
}

#[test]
fn merge_refuses_folders_without_a_run_and_a_nonempty_output_folder() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("a"), &GeneratedRun::default());
    std::fs::create_dir(dir.path().join("full")).unwrap();
    std::fs::write(dir.path().join("full/file"), "").unwrap();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    std::fs::write(dir.path().join("empty/journal.jsonl"), "").unwrap();
    for (arguments, why) in [
        (&["nowhere", "--out", "x"][..], "error: nowhere: reading the run: "),
        (&["a", "--out", "full"], "error: --out full: expected an empty folder"),
        (&["empty", "--out", "x"], "error: these folders contain no run"),
    ] {
        let output = run_command(dir.path(), &[&["merge"], arguments].concat());
        assert!(output.code == Some(2) && output.stderr.contains(why), "{}", output.stderr);
    }
    assert!(!dir.path().join("x").exists());
}

/// The merged run has the tests that a killed shard had finished, also those of a cell without an end; the rest is
/// missing.
#[test]
fn the_finished_tests_of_a_killed_shard_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("a"), &GeneratedRun::default());
    write_run(&dir.path().join("b"), &GeneratedRun { run: "r2", cell: OTHER, at: 60, ..GeneratedRun::default() });
    let text = journal(&dir.path().join("b"));
    let beginning: String = text.split_inclusive('\n').take(7).collect();
    std::fs::write(dir.path().join("b/journal.jsonl"), format!("{beginning}{{\"at\"")).unwrap();
    let merged = run_command(dir.path(), &["merge", "a", "b", "--out", "ab"]);
    assert!(merged.stderr.contains("note: b: the last line of its journal is incomplete"), "{}", merged.stderr);
    assert!(merged.stdout.contains("no end"), "{}", merged.stdout);
    let run = fold(&read(&dir.path().join("ab")).unwrap());
    assert!(run.cells[&OTHER.parse().unwrap()].instances.iter().any(|one| one.test == crate::generated_run::PASSES));
}

#[test]
fn merge_and_bundle_refuse_a_run_with_a_base_run() {
    let dir = tempfile::tempdir().unwrap();
    write_run(&dir.path().join("a"), &GeneratedRun::default());
    write_run(&dir.path().join("a/base"), &GeneratedRun { run: "r0", ..GeneratedRun::default() });
    for arguments in [&["merge", "a", "--out", "ab"][..], &["bundle", "a"]] {
        let refused = run_command(dir.path(), arguments);
        assert!(
            refused.code == Some(2) && refused.stderr.contains("compared with the base run in a/base"),
            "{}",
            refused.stderr
        );
    }
    assert!(!dir.path().join("ab").exists() && !dir.path().join("kata-qualify-r1.tar.zst").exists());
    assert_eq!(run_command(dir.path(), &["merge", "a/base", "--out", "ab"]).stderr.matches("base run").count(), 0);
}
