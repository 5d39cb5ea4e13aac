//! CI's handling of bundles: the commands, and the scripts that its workflow calls.

use crate::bundle::{files as files_of_bundle, with_file};
use crate::generated_run::{CommandOutput, End, GeneratedRun, PROFILE, journal, run_command, write_run};
use model::verified::Basis;
use reports::journal::Accelerator;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use suites::outcome::Component;

const ONE: &str = "debian:13/x86_64/container";
const OTHER: &str = "debian:12/x86_64/container";

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// The test that fails in all runs here. It is the only one required for its capability, which the record has as
/// offered.
const OFFERED: &str = "smoke::qemu_has_vhost_user_blk";

/// Writes the bundle of a generated run to `bundles`.
fn bundle(folder: &Path, name: &str, cell: &str, end: End) {
    let (run, at) = (folder.join(name), if end == End::Lost { 0 } else { 60 });
    let fails = (OFFERED, Component::Qemu, "no vhost-user-blk from mirror.example");
    write_run(&run, &GeneratedRun { run: name, cell, end, at, fails, ..GeneratedRun::default() });
    fs::create_dir_all(folder.join("bundles")).unwrap();
    let out = format!("bundles/{name}.tar.zst");
    let packed = run_command(folder, &["bundle", name, "--out", &out]);
    assert_eq!(packed.code, Some(0), "{}", packed.stderr);
}

/// Writes a plan with these cells.
fn plan(folder: &Path, cells: &[&str]) {
    let one = |cell: &&str| serde_json::json!({"cell": cell, "minutes": 8, "minutes-from": "guess"});
    let cells: Vec<Value> = cells.iter().map(one).collect();
    let plan = serde_json::json!({"arch": "x86_64", "releases": [], "cells": cells, "shards": []});
    fs::write(folder.join("plan.json"), plan.to_string()).unwrap();
}

fn merged(folder: &Path) -> CommandOutput {
    let _ = fs::remove_dir_all(folder.join("merged"));
    let bundles = fs::read_dir(folder.join("bundles")).unwrap().map(|e| e.unwrap().path().display().to_string());
    let mut words = vec!["merge".to_owned()];
    words.extend(bundles);
    words.extend(["--plan", "plan.json", "--out", "merged"].map(str::to_owned));
    run_command(folder, &words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join("merged/pipeline").join(name)).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn bundles_merge_like_their_output_folders() {
    let dir = tempfile::tempdir().unwrap();
    bundle(dir.path(), "r1", ONE, End::Fails);
    bundle(dir.path(), "r2", OTHER, End::Fails);
    let both = |one: &str, other: &str, out: &str| run_command(dir.path(), &["merge", one, other, "--out", out]);
    let packed = both("bundles/r1.tar.zst", "bundles/r2.tar.zst", "packed");
    let folders = both("r1", "r2", "folders");
    assert_eq!((packed.code, &packed.stdout), (folders.code, &folders.stdout), "{}", packed.stderr);
    // Bundles are redacted.
    assert!(journal(&dir.path().join("folders")).contains("hunter22"));
    assert!(!journal(&dir.path().join("packed")).contains("hunter22"));
    assert!(dir.path().join("packed/runs/r2/artifacts").is_dir());
    fs::write(dir.path().join("bundles/r2.tar.zst"), "no bundle").unwrap();
    let refused = both("bundles/r1.tar.zst", "bundles/r2.tar.zst", "again");
    assert!(refused.code == Some(2) && refused.stderr.contains("r2.tar.zst"), "{}", refused.stderr);
}

#[test]
fn the_pipeline_fails_for_worse_or_missing_cells_and_warns_of_lost_ones() {
    for (bundles, cells, code, again) in [
        (vec![("r1", ONE, End::Passes)], vec![ONE], 0, vec![]),
        (vec![("r1", ONE, End::Passes), ("r2", OTHER, End::Lost)], vec![ONE, OTHER], 0, vec![OTHER]),
        (vec![("r1", ONE, End::Lost), ("r2", OTHER, End::Lost)], vec![ONE, OTHER], 3, vec![ONE, OTHER]),
        (vec![("r1", ONE, End::Passes)], vec![ONE, OTHER], 3, vec![OTHER]),
        (vec![("r1", ONE, End::Passes), ("r2", OTHER, End::Killed)], vec![ONE, OTHER], 3, vec![OTHER]),
        (vec![("r1", ONE, End::Fails), ("r2", OTHER, End::Lost)], vec![ONE, OTHER], 1, vec![OTHER]),
        // The cell was lost on one machine and passed on the next.
        (vec![("r1", ONE, End::Lost), ("r2", ONE, End::Passes)], vec![ONE], 0, vec![]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for (name, cell, end) in &bundles {
            bundle(dir.path(), name, cell, *end);
        }
        plan(dir.path(), &cells);
        let output = merged(dir.path());
        assert_eq!(output.code, Some(code), "{cells:?}: {}", output.stderr);
        assert_reports_agree(dir.path(), code);
        let again_plan = json(&read(dir.path(), "again.json"));
        let shards = again_plan["shards"].as_array().unwrap();
        let mut cells: Vec<&str> = shards.iter().map(|shard| shard["cells"][0].as_str().unwrap()).collect();
        cells.sort_unstable_by_key(|cell| again.iter().position(|one| one == cell));
        assert_eq!(cells, again, "each is for a machine of its own");
        let annotations = read(dir.path(), "annotations");
        assert_eq!(annotations.is_empty(), again.is_empty(), "{annotations}");
        for cell in again {
            let title = cell.replace(':', "%3A");
            let ways = [format!("::error title={title}%3A missing"), format!("::warning title={title}%3A not judged")];
            assert!(ways.iter().any(|way| annotations.contains(way.as_str())), "{cell}: {annotations}");
        }
    }
}

/// Checks that the reports of a merged run have the pipeline's exit code and state the reasons.
fn assert_reports_agree(folder: &Path, code: i32) {
    let merged = folder.join("merged");
    let results = json(&fs::read_to_string(merged.join("results.json")).unwrap());
    assert_eq!(results["exit-code"], code);
    assert!(!results["exit-reasons"].as_array().unwrap().is_empty(), "{results}");
    let codes: Vec<&Value> = results["changes"].as_array().unwrap().iter().map(|row| &row["exit-code"]).collect();
    assert!(code != 0 || codes.iter().all(|one| **one == 0), "what is tolerated makes no exit code: {codes:?}");
    let matrix = fs::read_to_string(merged.join("matrix.md")).unwrap();
    assert!(matrix.contains(&format!("Exit code {code}: ")), "{matrix}");
    let files = fs::read_dir(merged.join("junit")).unwrap();
    let junit: String = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let (failures, errors) = (junit.matches("<failure").count(), junit.matches("<error").count());
    let are_right = match code {
        0 => failures == 0 && errors == 0,
        1 => failures > 0,
        _ => failures == 0 && errors > 0,
    };
    assert!(are_right, "exit code {code}, {failures} failures and {errors} errors: {junit}");
}

#[test]
fn a_bundle_that_cannot_be_read_counts_as_missing() {
    let dir = tempfile::tempdir().unwrap();
    bundle(dir.path(), "r1", ONE, End::Passes);
    fs::write(dir.path().join("bundles/r2.tar.zst"), "no bundle").unwrap();
    plan(dir.path(), &[ONE, OTHER]);
    let output = merged(dir.path());
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    assert!(output.stderr.contains("warning: skipped ") && output.stderr.contains("r2.tar.zst: "), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("missing: {OTHER}")), "{}", output.stderr);
    // An unreadable bundle also counts as missing if the other bundles have all planned cells.
    plan(dir.path(), &[ONE]);
    let output = merged(dir.path());
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    for (file, words) in [
        ("annotations", "::error title=a bundle was left out in whole or in part::"),
        ("summary.md", "was left out in whole or in part: "),
    ] {
        assert!(read(dir.path(), file).contains(words), "{}", read(dir.path(), file));
    }
}

/// The later of several runs of a cell counts, and so would a run with a forged future date.
#[test]
fn a_run_from_the_future_is_left_out_of_merges_sites_and_histories() {
    let dir = tempfile::tempdir().unwrap();
    bundle(dir.path(), "r1", ONE, End::Passes);
    let future_run = GeneratedRun { run: "r2", at: 100 * 365 * 86_400, ..GeneratedRun::default() };
    write_run(&dir.path().join("r2"), &future_run);
    let packed = run_command(dir.path(), &["bundle", "r2", "--out", "bundles/r2.tar.zst"]);
    assert_eq!(packed.code, Some(0), "{}", packed.stderr);
    plan(dir.path(), &[ONE]);
    let output = merged(dir.path());
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    assert!(output.stderr.contains("r2.tar.zst: it ended on 2126-"), "{}", output.stderr);
    assert!(!journal(&dir.path().join("merged")).contains("\"r2\""));
    let annotations = read(dir.path(), "annotations");
    assert!(annotations.contains("r2.tar.zst") && annotations.contains("in the future"), "{annotations}");
    // Without a plan the run is a conflict in every report, and the other runs are merged.
    let both = run_command(dir.path(), &["merge", "r1", "r2", "--out", "both"]);
    let conflict = format!("conflict: {ONE}: run r2 was skipped: it ended on 2126-");
    assert!(both.code == Some(3) && both.stderr.contains(&conflict), "{}", both.stderr);
    assert!(both.stdout.contains("run r2 was skipped"), "{}", both.stdout);
    assert!(!journal(&dir.path().join("both")).contains("no q35"));
    let results = json(&fs::read_to_string(dir.path().join("both/results.json")).unwrap());
    assert_eq!(results["exit-code"], 3);
    assert_eq!(results["conflicts"][0]["refused"], true);
    assert_eq!(run_command(dir.path(), &["report", "both"]).code, Some(3), "its journal tells it");
    let refused = run_command(dir.path(), &["merge", "r2", "--out", "none"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("in the future"), "{}", refused.stderr);
    let shown = run_command(dir.path(), &["site", "r1", "r2", "--out", "site"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let page = |name: &str| fs::read_to_string(dir.path().join("site").join(name)).unwrap();
    assert!(page("runs.html").contains("it ended on 2126-"));
    assert!(!page("cell/debian-13-x86_64-container.html").contains("no q35"));
    let known = run_command(dir.path(), &["history", "debian:13", "--runs", "r2"]);
    assert!(known.stderr.contains("warning: r2: it ended on 2126-"), "{}", known.stderr);
    assert!(!known.stdout.contains("2126-"), "{}", known.stdout);
}

/// The files of a bundle.
type Packed = BTreeMap<String, Vec<u8>>;

/// Replaces a bundle by a changed one with matching checksums.
fn changed(folder: &Path, name: &str, change: impl FnOnce(Packed) -> Packed) {
    let path = folder.join(format!("bundles/{name}.tar.zst"));
    let files = change(files_of_bundle(&path));
    images::packed::pack(&files, fs::File::create(&path).unwrap()).unwrap();
}

/// Returns the files with a text of the journal replaced.
fn replaced(files: Packed, from: &str, to: &str) -> Packed {
    let text = String::from_utf8(files["journal.jsonl"].clone()).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    with_file(files, "journal.jsonl", &text.replace(from, to))
}

/// Returns the files with 999 more cells in the journal.
fn with_many_cells(files: Packed) -> Packed {
    let cells: String = (1001..2000).map(|number| format!(",\"debian:{number}/x86_64/container\"")).collect();
    let own = format!("\"cells\":[\"{OTHER}\"");
    replaced(files, &own, &format!("{own}{cells}"))
}

/// A bundle is what a machine that ran untrusted packages left: whatever is in it, the other machines' results are
/// published.
#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn one_bad_bundle_does_not_stop_the_publication() {
    type Damage = fn(Packed) -> Packed;
    // Columns: what is wrong, the end of the run, the damage, and whether people are told of the bundle as an error.
    let table: [(&str, End, Damage, bool); 5] = [
        (
            "a file where a folder is",
            End::Passes,
            |files| with_file(with_file(files, "runs/r2/artifacts/a/b", "x"), "artifacts/a", "y"),
            false,
        ),
        ("shaped", End::Passes, |files| replaced(files, "\"argv\":[", "\"argv\":[\"--mirror-key\","), true),
        ("a candidate", End::Passes, |files| replaced(files, "\"candidate\":false", "\"candidate\":true"), true),
        ("unfinished", End::Killed, |files| files, false),
        ("too many cells", End::Passes, with_many_cells, true),
    ];
    for (what, end, damage, is_told) in table {
        let dir = tempfile::tempdir().unwrap();
        records(dir.path());
        bundle(dir.path(), "r1", ONE, End::Fails);
        bundle(dir.path(), "r2", OTHER, end);
        changed(dir.path(), "r2", damage);
        plan(dir.path(), &[ONE, OTHER]);
        let output = script("pipeline", dir.path(), &["merge", "."], &[]);
        assert_eq!(output.code, Some(1), "{what}: {}", output.stderr);
        let annotations = read(dir.path(), "annotations");
        assert_eq!(annotations.contains("r2.tar.zst: "), is_told, "{what}: {annotations}");
        let results = json(&fs::read_to_string(dir.path().join("merged/results.json")).unwrap());
        let cells: Vec<&str> =
            results["cells"].as_array().unwrap().iter().map(|cell| cell["cell"].as_str().unwrap()).collect();
        assert!(cells.contains(&ONE) && cells.iter().all(|cell| [ONE, OTHER].contains(cell)), "{what}: {cells:?}");
        let verified = script("pipeline", dir.path(), &["verified", ".", "records"], &[]);
        assert_eq!(verified.code, Some(0), "{what}: {}", verified.stderr);
        let patch = fs::read_to_string(dir.path().join("verified.patch")).unwrap();
        assert!(patch.contains("no vhost-user-blk"), "{what}: {}", verified.stderr);
        let site = script("pipeline", dir.path(), &["site", "."], &[]);
        assert_eq!(site.code, Some(0), "{what}: {}", site.stderr);
        let changes = fs::read_to_string(dir.path().join("site/changes.html")).unwrap();
        assert!(!changes.contains("no run that was given counts"), "{what}: {changes}");
    }
}

/// Two runs have too many cells only together: the plan decides which of them count.
#[test]
fn cells_outside_the_plan_never_count() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(dir.path());
    let before = files(&records.join("verified"));
    bundle(dir.path(), "r1", ONE, End::Fails);
    bundle(dir.path(), "r2", OTHER, End::Passes);
    changed(dir.path(), "r2", with_many_cells);
    let write = |more: &[&str]| {
        let words = ["write-back", "bundles/r2.tar.zst", "bundles/r1.tar.zst", "--records", "records"];
        run_command(dir.path(), &[&words[..], more].concat())
    };
    plan(dir.path(), &[OTHER]);
    let written = write(&["--plan", "plan.json"]);
    let outside = format!(
        "not written back: bundles/r1.tar.zst: these cells do not count, because the plan does not have them: {ONE}"
    );
    assert!(written.code == Some(0) && written.stderr.contains(&outside), "{}", written.stderr);
    assert!(written.stderr.contains(", 994 more"), "{}", written.stderr);
    assert_eq!(files(&records.join("verified")), before);
    let written = write(&[]);
    let too_many = "bundles/r1.tar.zst: with the runs before it there are 1001 cells";
    assert!(written.code == Some(0) && written.stderr.contains(too_many), "{}", written.stderr);
    assert_eq!(files(&records.join("verified")), before);
    let output = merged(dir.path());
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    assert!(!journal(&dir.path().join("merged")).contains("no vhost-user-blk"));
    plan(dir.path(), &[ONE]);
    assert_eq!(write(&["--plan", "plan.json"]).code, Some(0));
    assert_ne!(files(&records.join("verified")), before);
}

/// `packaging/run-shard` names a run after its plan and its shard.
#[test]
fn a_shards_bundle_counts_only_for_its_own_cells() {
    let dir = tempfile::tempdir().unwrap();
    plan(dir.path(), &[ONE, OTHER]);
    let path = dir.path().join("plan.json");
    let mut planned = json(&fs::read_to_string(&path).unwrap());
    planned["shards"] = serde_json::json!([{"minutes": 8, "cells": [ONE]}, {"minutes": 8, "cells": [OTHER]}]);
    fs::write(&path, planned.to_string()).unwrap();
    let digest = reports::digest::short(&planned.to_string());
    // Shard 1 has the results of a cell that shard 0 was given.
    let names = [format!("plan-{digest}-0"), format!("plan-{digest}-1-again1")];
    bundle(dir.path(), &names[0], OTHER, End::Passes);
    bundle(dir.path(), &names[1], OTHER, End::Passes);
    let output = merged(dir.path());
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    let strange =
        format!("{}.tar.zst: these cells do not count, because its shard does not have them: {OTHER}", names[0]);
    assert!(read(dir.path(), "annotations").contains(&strange), "{}", output.stderr);
    assert!(!output.stderr.contains(&format!("{}.tar.zst: ", names[1])), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("missing: {ONE}")), "{}", output.stderr);
    // A bundle of cells that ran again has the name of another plan.
    bundle(dir.path(), "again-0123456789ab-0", ONE, End::Passes);
    let output = merged(dir.path());
    assert!(!output.stderr.contains("missing: "), "{}", output.stderr);
}

/// Copies the repository's records to a directory, with verdicts from a day before the generated runs, whose clock is
/// fixed.
fn records(folder: &Path) -> PathBuf {
    let records = folder.join("records");
    run_successfully(Command::new("cp").arg("-R").arg(repository().join("distros/records")).arg(&records));
    for (name, text) in files(&records.join("verified")) {
        let older = |line: &str| match line.trim_start().starts_with("tested: ") {
            true => "    tested: 2026-09-01\n".to_owned(),
            false => format!("{line}\n"),
        };
        let text: String = String::from_utf8(text).unwrap().lines().map(older).collect();
        fs::write(records.join("verified").join(name), text).unwrap();
    }
    records
}

fn run_successfully(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the files of a directory with their bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())).collect()
}

#[test]
fn write_back_updates_judged_cells_and_keeps_all_other_entries() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(dir.path());
    let before = files(&records.join("verified"));
    bundle(dir.path(), "r1", ONE, End::Fails);
    for (name, end) in [("r2", End::Lost), ("r3", End::Killed)] {
        bundle(dir.path(), name, OTHER, end);
    }
    fs::write(dir.path().join("bundles/r4.tar.zst"), "no bundle").unwrap();
    let bundles = ["r1", "r2", "r3", "r4"].map(|name| format!("bundles/{name}.tar.zst"));
    let write = |bundles: &[String]| {
        let words: Vec<&str> = bundles.iter().map(String::as_str).collect();
        run_command(dir.path(), &[&["write-back"], &words[..], &["--records", "records"]].concat())
    };
    let written = write(&bundles);
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    for why in [
        "bundles/r3.tar.zst: the run is not finished",
        "bundles/r4.tar.zst: ",
        &format!("{OTHER}: image: no mirror answers"),
    ] {
        assert!(written.stderr.contains(&format!("not written back: {why}")), "{why}: {}", written.stderr);
    }
    assert!(written.stderr.contains("written back: 1 entry into records/verified/debian.yaml"), "{}", written.stderr);
    let after = files(&records.join("verified"));
    let changed: Vec<&String> = after.keys().filter(|name| before.get(*name) != after.get(*name)).collect();
    assert_eq!(changed, ["debian.yaml"]);
    let text = String::from_utf8(after["debian.yaml"].clone()).unwrap();
    assert!(text.contains("no vhost-user-blk"), "the failure is recorded");
    let of_12 = |text: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(text).into_owned();
        text.split("  - release: ").filter(|entry| entry.starts_with("\"12\"")).map(str::to_owned).collect()
    };
    assert!(!of_12(&before["debian.yaml"]).is_empty());
    assert_eq!(of_12(&after["debian.yaml"]), of_12(&before["debian.yaml"]), "days, versions and verdicts stay");
    // A second write-back changes nothing.
    let again = write(&bundles[..1]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let already = "nothing written: records/verified/debian.yaml already has all complete results";
    assert!(again.stderr.contains(already) && !again.stderr.contains("written back: 1"), "{}", again.stderr);
    assert_eq!(files(&records.join("verified")), after);
    assert_eq!(write(&bundles[2..3]).code, Some(3), "nothing is left of it");
    assert_eq!(files(&records.join("verified")), after);
}

/// Runs may be written back in any order, by hand for example.
#[test]
fn write_back_of_an_older_run_keeps_newer_verdicts() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(dir.path());
    let fails = |why| (OFFERED, Component::Qemu, why);
    let newer =
        GeneratedRun { run: "r2", fails: fails("no vhost-user-blk"), at: 2 * 86_400, ..GeneratedRun::default() };
    write_run(&dir.path().join("newer"), &newer);
    write_run(
        &dir.path().join("older"),
        &GeneratedRun { run: "r1", fails: fails("no help"), at: 60, ..GeneratedRun::default() },
    );
    let write = |run: &str| run_command(dir.path(), &["write-back", run, "--records", "records"]);
    assert!(write("newer").stderr.contains("\nwritten back: 1 entry"), "it can be written");
    let known = files(&records.join("verified"));
    let written = write("older");
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    let reported = written
        .stderr
        .lines()
        .find(|line| line.ends_with(": the record already has results of a later run (2026-09-23)"));
    let place = format!("not written back: {ONE}: {PROFILE}: ");
    assert!(
        reported.is_some_and(|line| line.starts_with(&place) && line.contains("vhost-user-blk")),
        "{}",
        written.stderr
    );
    let nothing = "already has all complete results, or has later ones";
    assert!(written.stderr.contains(nothing), "{}", written.stderr);
    assert_eq!(files(&records.join("verified")), known);
}

/// A test failed, and most other tests that its capability requires never ran.
#[test]
fn write_back_of_a_partial_run_writes_nothing_and_gives_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(dir.path());
    let verified = records.join("verified");
    let verdicts = || {
        let text = fs::read_to_string(verified.join("debian.yaml")).unwrap();
        text.lines().filter(|line| line.contains("vmm.boot:")).count()
    };
    let verdicts_before = verdicts();
    write_run(&dir.path().join("run"), &GeneratedRun::default());
    // That a capability does not apply is known without its tests, and written if the record lacks it.
    let first = run_command(dir.path(), &["write-back", "run", "--records", "records"]);
    assert_eq!((first.code, verdicts()), (Some(0), verdicts_before), "{}", first.stderr);
    let before = files(&verified);
    let written = run_command(dir.path(), &["write-back", "run", "--records", "records"]);
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    for words in [
        format!("not written back: {ONE}: {PROFILE}: vmm.boot: a test failed, and not all required tests ran"),
        format!("not written back: {ONE}: {PROFILE}: not all required tests of "),
        "records/verified/debian.yaml is unchanged".to_owned(),
    ] {
        assert!(written.stderr.contains(&words), "{words}: {}", written.stderr);
    }
    assert!(!written.stderr.contains("\nwritten back: "), "{}", written.stderr);
    assert_eq!(files(&records.join("verified")), before);
}

#[test]
fn write_back_refuses_a_shaped_run_for_the_shipped_records() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(dir.path());
    let before = files(&records.join("verified"));
    write_run(&dir.path().join("run"), &GeneratedRun { shaped: true, ..GeneratedRun::default() });
    let refused = run_command(dir.path(), &["write-back", "run", "--records", "records"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("vouch"), "{}", refused.stderr);
    assert_eq!(files(&records.join("verified")), before);
}

/// The journal says `hardware` although its guests were emulated.
#[test]
fn an_emulated_run_is_not_written_back_as_hardware() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(dir.path());
    let (basis, fails) = (Basis::Hardware, (OFFERED, Component::Qemu, "no vhost-user-blk"));
    write_run(
        &dir.path().join("run"),
        &GeneratedRun { basis, accelerator: Some(Accelerator::Tcg), fails, at: 60, ..GeneratedRun::default() },
    );
    let written = run_command(dir.path(), &["write-back", "run", "--records", "records"]);
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    let text = fs::read_to_string(records.join("verified/debian.yaml")).unwrap();
    assert!(text.contains("no vhost-user-blk") && !text.contains("basis: hardware"), "{text}");
}

/// A run on hardware takes over only its own verdicts. "Not applicable" is no verdict and stays in the entries of
/// emulated runs.
#[test]
fn a_hardware_run_keeps_not_applicable_in_the_entries_of_emulated_runs() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(dir.path());
    let read = || fs::read_to_string(records.join("verified/debian.yaml")).unwrap();
    let inapplicable = |text: &str| -> usize {
        let emulated = text.split("  - release: ").filter(|entry| entry.contains("basis: emulated"));
        emulated.map(|entry| entry.matches(": not-applicable").count()).sum()
    };
    let before = inapplicable(&read());
    let (basis, fails) = (Basis::Hardware, (OFFERED, Component::Qemu, "no vhost-user-blk"));
    write_run(&dir.path().join("run"), &GeneratedRun { basis, fails, at: 60, ..GeneratedRun::default() });
    let written = run_command(dir.path(), &["write-back", "run", "--records", "records"]);
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    let text = read();
    let hardware: Vec<&str> = text.split("  - release: ").filter(|entry| entry.contains("basis: hardware")).collect();
    assert!(hardware.len() == 1 && hardware[0].contains("no vhost-user-blk"), "{hardware:?}");
    assert!(before > 0);
    assert_eq!(inapplicable(&text), before);
}

#[test]
fn write_back_refuses_a_future_run_and_a_folder_without_records() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(dir.path());
    let before = files(&records.join("verified"));
    write_run(&dir.path().join("run"), &GeneratedRun { at: 100 * 365 * 86_400, ..GeneratedRun::default() });
    let refused = run_command(dir.path(), &["write-back", "run", "--records", "records"]);
    assert!(refused.code == Some(3) && refused.stderr.contains("in the future"), "{}", refused.stderr);
    assert_eq!(files(&records.join("verified")), before);
    write_run(&dir.path().join("good"), &GeneratedRun::default());
    fs::create_dir(dir.path().join("empty")).unwrap();
    let refused = run_command(dir.path(), &["write-back", "good", "--records", "empty"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("expected records"), "{}", refused.stderr);
    assert_eq!(fs::read_dir(dir.path().join("empty")).unwrap().count(), 0);
}

/// Runs a script of `.ci` with this kata-qualify.
pub(crate) fn script(name: &str, folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> CommandOutput {
    let mut command = Command::new(repository().join(".ci").join(name));
    command.args(arguments).current_dir(folder).env("KATA_QUALIFY", env!("CARGO_BIN_EXE_kata-qualify"));
    command.env_remove("GITHUB_ACTIONS").env_remove("GITHUB_STEP_SUMMARY").env_remove("GITHUB_TOKEN");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    CommandOutput { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn the_pipeline_script_merges_bundles_and_proposes_verdicts() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(dir.path());
    let before = files(&records.join("verified"));
    bundle(dir.path(), "r1", ONE, End::Fails);
    bundle(dir.path(), "r2", OTHER, End::Lost);
    plan(dir.path(), &[ONE, OTHER]);
    let summary = dir.path().join("summary");
    let variables = [("GITHUB_ACTIONS", "true"), ("GITHUB_STEP_SUMMARY", summary.to_str().unwrap())];
    let output = script("pipeline", dir.path(), &["merge", "."], &variables);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    // Output of a run is printed where GitHub interprets no commands; everything after that is the script's own.
    let lines: Vec<&str> = output.stdout.lines().collect();
    let word = lines[0].strip_prefix("::stop-commands::").unwrap();
    assert_eq!(word.len(), 32);
    let end = lines.iter().position(|line| *line == format!("::{word}::")).unwrap();
    assert!(lines[1..end].iter().any(|line| line.contains("debian")), "{}", output.stdout);
    assert_eq!(lines[end + 1..].join("\n") + "\n", read(dir.path(), "annotations"));
    let shown = fs::read_to_string(summary).unwrap();
    assert!(shown.starts_with("**1 of 2 planned cells were judged.**") && shown.contains("## Changes"), "{shown}");
    assert_eq!(script("pipeline", dir.path(), &["again", "."], &[]).stdout, "[0]\n");

    let proposed = script("pipeline", dir.path(), &["verified", ".", "records"], &[]);
    assert_eq!(proposed.code, Some(0), "{}", proposed.stderr);
    let patch = fs::read_to_string(dir.path().join("verified.patch")).unwrap();
    let heads: Vec<&str> = patch.lines().filter(|line| line.starts_with("+++ ")).collect();
    assert!(heads.len() == 1 && heads[0].starts_with("+++ b/distros/records/verified/debian.yaml"), "{heads:?}");
    // The patch turns the records into the new files, and the records themselves have not changed.
    assert_eq!(files(&records.join("verified")), before);
    let tree = dir.path().join("tree/distros");
    fs::create_dir_all(&tree).unwrap();
    fs::rename(&records, tree.join("records")).unwrap();
    let patch = dir.path().join("verified.patch");
    run_successfully(Command::new("git").args(["apply", "-p1"]).arg(patch).current_dir(dir.path().join("tree")));
    assert_eq!(files(&tree.join("records/verified")), files(&dir.path().join("verified")));
    let usage = script("pipeline", dir.path(), &["publish", "."], &[]);
    assert!(usage.code == Some(2) && usage.stderr.contains("Usage:"), "{}", usage.stderr);
}

/// If every machine of a night is lost, there are still a site and a history, and the records stay unchanged.
#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn bundles_of_killed_runs_leave_the_records_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let records = records(dir.path());
    bundle(dir.path(), "r1", ONE, End::Killed);
    bundle(dir.path(), "r2", OTHER, End::Killed);
    plan(dir.path(), &[ONE, OTHER]);
    assert_eq!(script("pipeline", dir.path(), &["merge", "."], &[]).code, Some(3));
    let verified = script("pipeline", dir.path(), &["verified", ".", "records"], &[]);
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    assert!(verified.stderr.contains("bundles/r1.tar.zst: the run is not finished"), "{}", verified.stderr);
    assert!(verified.stderr.contains("note: nothing can be written back"), "{}", verified.stderr);
    assert_eq!(files(&dir.path().join("verified")), files(&records.join("verified")));
    assert_eq!(fs::read_to_string(dir.path().join("verified.patch")).unwrap(), "");
    let site = script("pipeline", dir.path(), &["site", "."], &[]);
    assert_eq!(site.code, Some(0), "{}", site.stderr);
    assert!(dir.path().join("site/index.html").is_file());
    // A wrong call is not mistaken for a night without results.
    fs::create_dir(dir.path().join("empty")).unwrap();
    assert_eq!(script("pipeline", dir.path(), &["verified", ".", "empty"], &[]).code, Some(2));
}

/// A repository with the records, a clone of it, and the output of a merge job.
struct Published {
    dir: tempfile::TempDir,
}

impl Published {
    fn new() -> Published {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("work/distros")).unwrap();
        run_successfully(
            Command::new("cp").arg("-R").arg(repository().join("distros/records")).arg(path("work/distros")),
        );
        fs::write(path("work/README.md"), "x\n").unwrap();
        let git = |arguments: &[&str]| {
            let settings = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main"];
            run_successfully(Command::new("git").args(settings).args(arguments).current_dir(path("work")))
        };
        git(&["init", "--quiet", "--bare", "../origin"]);
        git(&["init", "--quiet"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message", "first"]);
        git(&["remote", "add", "origin", "../origin"]);
        git(&["push", "--quiet", "origin", "HEAD:refs/heads/main"]);
        for folder in ["from/verified", "from/merged/pipeline", "from/site", "bin"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        // A fake gh that logs its arguments and gives fixed answers.
        let gh = "#!/bin/sh\nprintf '%s\\n' \"$*\" >>\"$GH_LOG\"\nfor last; do :; done\ncase $* in\n*--body-file*) [ ! -f \"$last\" ] || cp \"$last\" \"$GH_BODY\" ;;\n\"issue list\"*) cat \"$GH_KNOWN\" ;;\n\"pr list\"*) echo \"${GH_OPEN:-}\" ;;\nesac\n";
        for (name, text) in [("gh", gh), ("kata-osinfo", "#!/bin/sh\nexit \"${LINT:-0}\"\n")] {
            let program = path("bin").join(name);
            fs::write(&program, text).unwrap();
            fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(path("known"), "[]").unwrap();
        Published { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn script(&self, arguments: &[&str]) -> CommandOutput {
        self.script_with(arguments, &[])
    }

    fn script_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> CommandOutput {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let (log, known, body) = (self.path("log"), self.path("known"), self.path("body"));
        let mut all = vec![("PATH", path.as_str()), ("GITHUB_RUN_ID", "7")];
        all.extend([("GH_LOG", log.to_str().unwrap()), ("GH_KNOWN", known.to_str().unwrap())]);
        all.push(("GH_BODY", body.to_str().unwrap()));
        all.extend(more);
        script("publish", self.dir.path(), arguments, &all)
    }

    fn gh_calls(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn git(&self, arguments: &[&str]) -> String {
        run_successfully(Command::new("git").args(arguments).current_dir(self.path("origin")))
    }

    /// Writes verdicts that differ from the recorded ones.
    fn verdicts(&self) {
        let old = fs::read_to_string(self.path("work/distros/records/verified/debian.yaml")).unwrap();
        fs::write(self.path("from/verified/debian.yaml"), old + "# new\n").unwrap();
    }
}

#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn the_pull_request_contains_only_verdicts() {
    let published = Published::new();
    published.verdicts();
    let accepted = published.script(&["accept", "from", "work"]);
    assert_eq!(accepted.code, Some(0), "{}", accepted.stderr);
    let proposed = published.script(&["propose", "work"]);
    assert_eq!(proposed.code, Some(0), "{}", proposed.stderr);
    let changed = || published.git(&["diff", "--name-only", "main", "qualify/verified"]);
    assert_eq!(changed(), "distros/records/verified/debian.yaml\n");
    assert!(published.gh_calls().contains("pr create --head qualify/verified"), "{}", published.gh_calls());
    // The next night there is one commit again, based on the current `main`.
    run_successfully(Command::new("git").args(["checkout", "--quiet", "main"]).current_dir(published.path("work")));
    published.verdicts();
    assert_eq!(published.script(&["accept", "from", "work"]).code, Some(0));
    assert_eq!(published.script(&["propose", "work"]).code, Some(0));
    assert_eq!(published.git(&["rev-list", "--count", "main..qualify/verified"]), "1\n");
    assert!(!published.gh_calls().contains("pr edit"), "none was open: {}", published.gh_calls());
    // Without a change, gh is not called.
    run_successfully(Command::new("git").args(["checkout", "--quiet", "main"]).current_dir(published.path("work")));
    let calls = published.gh_calls();
    assert!(published.script(&["propose", "work"]).stderr.contains("no verdict has changed"));
    assert_eq!(published.gh_calls(), calls);
}

/// GitHub starts no checks for a push with a workflow's own token.
#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn the_pull_request_warns_if_no_checks_start() {
    for (open, starts, expected_call) in
        [("", "", "pr create"), ("", "true", "pr create"), ("5", "false", "pr edit 5"), ("5", "true", "pr edit 5")]
    {
        let published = Published::new();
        published.verdicts();
        assert_eq!(published.script(&["accept", "from", "work"]).code, Some(0));
        let proposed = published.script_with(&["propose", "work"], &[("GH_OPEN", open), ("STARTS_CHECKS", starts)]);
        assert_eq!(proposed.code, Some(0), "{}", proposed.stderr);
        assert!(published.gh_calls().contains(expected_call), "{}", published.gh_calls());
        let body = fs::read_to_string(published.path("body")).unwrap();
        assert!(
            body.starts_with("The verdicts of the newest runs") && body.contains("`distros/records/verified`"),
            "{body}"
        );
        let warns =
            body.contains("**No checks have run on it**") && body.contains("Close this pull request and reopen it");
        assert_eq!(warns, starts != "true", "{body}");
    }
}

#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn proposed_verdicts_are_used_only_while_the_pull_request_is_open() {
    let published = Published::new();
    published.verdicts();
    assert_eq!(published.script(&["accept", "from", "work"]).code, Some(0));
    assert_eq!(published.script(&["propose", "work"]).code, Some(0));
    run_successfully(Command::new("git").args(["checkout", "--quiet", "main"]).current_dir(published.path("work")));
    let verdicts = || fs::read_to_string(published.path("work/distros/records/verified/debian.yaml")).unwrap();
    let before = verdicts();
    // A closed pull request means that its verdicts are not wanted; the branch stays.
    let closed = published.script(&["proposed", "work"]);
    assert!(closed.code == Some(0) && closed.stderr.contains("no verdicts are proposed"), "{}", closed.stderr);
    assert_eq!(verdicts(), before);
    assert!(published.gh_calls().contains("pr list --head qualify/verified --state open"), "{}", published.gh_calls());
    let open = published.script_with(&["proposed", "work"], &[("GH_OPEN", "5")]);
    assert_eq!(open.code, Some(0), "{}", open.stderr);
    assert_eq!(verdicts(), before + "# new\n");
}

#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn publish_refuses_anything_but_verdict_files() {
    type Plant = fn(&Published);
    let table: [(Plant, &str); 6] = [
        (|p| fs::write(p.path("from/verified/README.md"), "").unwrap(), "not the name of a verdict file"),
        (|p| fs::create_dir(p.path("from/verified/x.yaml")).unwrap(), "not a plain file"),
        (
            |p| std::os::unix::fs::symlink("/etc/passwd", p.path("from/verified/debian.yaml")).unwrap(),
            "not a plain file",
        ),
        (|p| fs::write(p.path("from/verified/plan9.yaml"), "").unwrap(), "there is no record of that distro"),
        (|p| fs::write(p.path("from/verified/debian.yaml"), vec![b'#'; 5 << 20]).unwrap(), "too long"),
        (|p| fs::rename(p.path("from/verified"), p.path("from/v")).unwrap(), "is not a directory"),
    ];
    for (plant, why) in table {
        let published = Published::new();
        plant(&published);
        let refused = published.script(&["accept", "from", "work"]);
        assert!(refused.code == Some(1) && refused.stderr.contains(why), "{why}: {}", refused.stderr);
    }
    let published = Published::new();
    published.verdicts();
    let refused = published.script_with(&["accept", "from", "work"], &[("LINT", "1")]);
    assert!(refused.code == Some(1) && refused.stderr.contains("the records are invalid"), "{}", refused.stderr);
    // A file in the work tree was changed in some other way.
    let table: [(Plant, &str); 4] = [
        (|p| fs::write(p.path("work/README.md"), "y\n").unwrap(), "README.md: it is not a verdict file"),
        (|p| fs::write(p.path("work/distros/records/verified/x.sh"), "").unwrap(), "x.sh: it is not a verdict file"),
        (|p| fs::remove_file(p.path("work/distros/records/verified/debian.yaml")).unwrap(), "nothing may be removed"),
        (
            |p| std::os::unix::fs::symlink("/x", p.path("work/distros/records/verified/x.yaml")).unwrap(),
            "x.yaml: it is a link",
        ),
    ];
    for (plant, why) in table {
        let published = Published::new();
        plant(&published);
        let refused = published.script(&["propose", "work"]);
        assert!(refused.code == Some(1) && refused.stderr.contains(why), "{why}: {}", refused.stderr);
        assert_eq!(published.git(&["branch", "--format=%(refname:short)"]).trim(), "main", "{why}");
        assert_eq!(published.gh_calls(), "");
    }
}

#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn journals_are_appended_to_the_data_branch() {
    let published = Published::new();
    for run in ["7", "8"] {
        fs::write(published.path("from/merged/journal.jsonl"), format!("run {run}\n")).unwrap();
        let output = published.script_with(&["history", "from", "work"], &[("GITHUB_RUN_ID", run)]);
        assert_eq!(output.code, Some(0), "{}", output.stderr);
    }
    let listed = published.git(&["ls-tree", "-r", "--name-only", "data"]);
    let names: Vec<&str> = listed.lines().collect();
    assert!(names.len() == 2 && names[0].starts_with("runs/20") && names[0].ends_with("-7/journal.jsonl"), "{names:?}");
    assert_eq!(published.git(&["show", &format!("data:{}", names[1])]), "run 8\n");
    assert_eq!(published.git(&["rev-list", "--count", "data"]), "2\n", "nothing is rewritten");
    fs::remove_file(published.path("from/merged/journal.jsonl")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", published.path("from/merged/journal.jsonl")).unwrap();
    let refused = published.script(&["history", "from", "work"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("not a plain file"), "{}", refused.stderr);
}

#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn an_issue_is_opened_once_for_each_signature() {
    let published = Published::new();
    let issue = |signature: &str| serde_json::json!({"signature": signature, "title": format!("[{signature}] qemu: x"), "body": "b"});
    let list = published.path("from/merged/pipeline/issues.json");
    fs::write(&list, serde_json::json!([issue("0123456789ab"), issue("ba9876543210")]).to_string()).unwrap();
    let known =
        serde_json::json!([{"number": 12, "title": "[ba9876543210] qemu: x"}, {"number": 13, "title": "other"}]);
    fs::write(published.path("known"), known.to_string()).unwrap();
    let output = published.script(&["issues", "from"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let calls = published.gh_calls();
    let calls: Vec<&str> = calls.lines().filter(|line| !line.starts_with("label") && !line.contains("list")).collect();
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert!(calls[0].starts_with("issue create --title [0123456789ab] qemu: x --body-file "), "{calls:?}");
    assert!(calls[1].starts_with("issue edit 12 --body-file ") && calls[2] == "issue reopen 12", "{calls:?}");
    // The issue is found although its title has a prefix and a newer issue exists.
    let known = serde_json::json!([
        {"number": 31, "title": "[0123456789ab] qemu: another word"},
        {"number": 30, "title": "Regression: [0123456789ab] qemu: x"},
        {"number": 29, "title": "0123456789ab, of which another issue is"},
    ]);
    fs::write(published.path("known"), known.to_string()).unwrap();
    fs::write(&list, serde_json::json!([issue("0123456789ab")]).to_string()).unwrap();
    fs::remove_file(published.path("log")).unwrap();
    assert_eq!(published.script(&["issues", "from"]).code, Some(0));
    let calls = published.gh_calls();
    assert!(calls.contains("issue edit 30 --body-file ") && calls.contains("issue reopen 30\n"), "{calls}");
    assert!(!calls.contains("issue create") && !calls.contains(" 31") && !calls.contains(" 29"), "{calls}");
    // An issue that the next run would not find again is not opened.
    let mut lost = issue("0123456789ab");
    lost["title"] = "qemu: x".into();
    fs::write(&list, serde_json::json!([lost]).to_string()).unwrap();
    let refused = published.script(&["issues", "from"]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("does not begin with [0123456789ab]"),
        "{}",
        refused.stderr
    );
    fs::write(&list, serde_json::json!([issue("$(touch /tmp/x)")]).to_string()).unwrap();
    let refused = published.script(&["issues", "from"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("not the digest of a signature"), "{}", refused.stderr);
}

/// A bad night opens a limited number of issues and loses no signature.
#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn at_most_20_new_issues_are_opened_and_the_rest_in_the_next_run() {
    let published = Published::new();
    let signatures: Vec<String> = (0..24).map(|number| format!("{number:012x}")).collect();
    let issue = |signature: &String| serde_json::json!({"signature": signature, "title": format!("[{signature}] x"), "body": "b"});
    let issues: Vec<Value> = signatures.iter().map(issue).collect();
    fs::write(published.path("from/merged/pipeline/issues.json"), Value::from(issues).to_string()).unwrap();
    let known = |signatures: &[String]| {
        let one = |(number, signature): (usize, &String)| serde_json::json!({"number": number + 1, "title": format!("[{signature}] x")});
        let known: Vec<Value> = signatures.iter().enumerate().map(one).collect();
        fs::write(published.path("known"), Value::from(known).to_string()).unwrap();
    };
    // The last signature has an issue, which is updated regardless of the limit.
    known(&signatures[23..]);
    let output = published.script(&["issues", "from"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let calls = published.gh_calls();
    assert_eq!(calls.matches("issue create ").count(), 20, "{calls}");
    assert!(calls.contains("issue edit 1 "), "{calls}");
    let warning = format!(
        "::warning title=issues::3 new signatures have no issue yet; the next run opens 20 of them: {}\n",
        signatures[20..23].join(" ")
    );
    assert!(output.stdout.ends_with(&warning), "{}", output.stdout);
    known(&[&signatures[..20], &signatures[23..]].concat());
    fs::remove_file(published.path("log")).unwrap();
    let output = published.script(&["issues", "from"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert_eq!(published.gh_calls().matches("issue create ").count(), 3, "{}", published.gh_calls());
    assert!(!output.stdout.contains("::warning"), "{}", output.stdout);
}

#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn publish_accepts_only_a_site_of_files_and_folders() {
    let published = Published::new();
    assert_eq!(published.script(&["site", "from"]).code, Some(1), "there is no page");
    fs::write(published.path("from/site/index.html"), "").unwrap();
    assert_eq!(published.script(&["site", "from"]).code, Some(0));
    std::os::unix::fs::symlink("/etc/passwd", published.path("from/site/x.html")).unwrap();
    let refused = published.script(&["site", "from"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("neither a file nor a directory"), "{}", refused.stderr);
}

/// A job that installed untrusted packages could have replaced the output of `build`.
#[test]
fn workflows_verify_tools_and_give_no_token_to_steps_that_run_them() {
    let text = |name: &str| fs::read_to_string(repository().join(".github").join(name)).unwrap();
    let (workflow, action) = (text("workflows/qualify.yml"), text("actions/shard/action.yml"));
    let lines: Vec<&str> = workflow.lines().chain(action.lines()).collect();
    let unpacked = lines.windows(2).filter(|pair| pair[1].contains("tar --extract"));
    let checked: Vec<bool> = unpacked.map(|pair| pair[0].contains("| sha256sum --check --strict")).collect();
    assert_eq!(checked, [true; 4], "judge, merge, publish, and a shard");
    let workflow: Value = serde_yaml::from_str(&workflow).unwrap();
    let has_token = |env: &Value| ["github.token", "secrets."].iter().any(|token| env.to_string().contains(token));
    let mut with_token = 0;
    for (name, job) in workflow["jobs"].as_object().unwrap() {
        assert!(!has_token(&job["env"]), "{name}");
        for step in job["steps"].as_array().unwrap().iter().filter(|step| has_token(&step["env"])) {
            with_token += 1;
            assert!(!step["run"].as_str().unwrap().contains("bin/kata-"), "{name}: {step}");
            // A token with more rights than the workflow's own is used in one step only, and only for `main`.
            if step.to_string().contains("secrets.") {
                assert_eq!(name, "publish");
                assert_eq!(step["run"], ".ci/publish propose .");
                assert_eq!(job["environment"], "publish");
            }
        }
    }
    assert!(with_token > 0);
}

/// `kernel.host` and `host.*` can be shown only in virtual machines.
#[test]
fn the_workflow_qualifies_containers_and_machines_at_separate_times() {
    let text = |name: &str| fs::read_to_string(repository().join(".github").join(name)).unwrap();
    let (workflow, action) = (text("workflows/qualify.yml"), text("actions/shard/action.yml"));
    let crons: Vec<&str> =
        workflow.lines().filter_map(|line| line.trim().strip_prefix("- cron: \"")?.strip_suffix('"')).collect();
    let [_, machines] = crons[..] else { panic!("{crons:?}") };
    let parsed: Value = serde_yaml::from_str(&workflow).unwrap();
    let steps = parsed["jobs"]["build"]["steps"].as_array().unwrap();
    let plan = steps.iter().find(|step| step["id"] == "plan").unwrap();
    let chosen = plan["env"]["IN"].as_str().unwrap();
    assert!(chosen.contains(&format!("github.event.schedule == '{machines}' && 'vm' || 'container'")), "{chosen}");
    assert!(plan["run"].as_str().unwrap().contains("--in \"$IN\""), "{plan}");
    for job in ["run", "again"] {
        let shard = &parsed["jobs"][job]["steps"][1]["with"];
        assert_eq!(shard["profiles"], "${{ needs.build.outputs.profiles }}", "{job}");
    }
    assert!(action.contains("options+=(--profile \"$PROFILES\")") && action.contains("\"${options[@]}\" || code=$?"));
}

/// A shard at its time limit ends before GitHub ends the job, and its bundle is uploaded.
#[test]
fn a_shard_at_its_time_limit_leaves_a_bundle() {
    let text = |name: &str| fs::read_to_string(repository().join(".github").join(name)).unwrap();
    let action: Value = serde_yaml::from_str(&text("actions/shard/action.yml")).unwrap();
    let steps = action["runs"]["steps"].as_array().unwrap();
    let place = |words: &str| steps.iter().position(|step| step["run"].as_str().is_some_and(|run| run.contains(words)));
    let (run, pack) = (place("pipeline\" shard ").unwrap(), place("pipeline\" pack ").unwrap());
    assert!(run < pack && pack < steps.len() - 1, "{run} {pack}");
    let upload = steps.last().unwrap();
    assert_eq!((&steps[pack]["if"], &upload["if"]), (&Value::from("always()"), &Value::from("always()")));
    assert_eq!(upload["with"]["if-no-files-found"], "error", "a shard without a bundle is no success");
    let script = steps[run]["run"].as_str().unwrap();
    let minutes = script.split_once("timeout --signal=INT ").and_then(|(_, rest)| rest.split_once("m "));
    let minutes: u64 = minutes.unwrap().0.parse().unwrap();
    let workflow: Value = serde_yaml::from_str(&text("workflows/qualify.yml")).unwrap();
    for job in ["run", "again"] {
        let limit = workflow["jobs"][job]["timeout-minutes"].as_u64().unwrap();
        assert!(minutes + 15 <= limit, "{job}: {minutes} and {limit}");
    }
}

/// actionlint is in no registry from which `.ci/run` installs, so only GitHub runs it, built from one fixed commit.
#[test]
fn ci_builds_actionlint_from_a_fixed_commit_and_runs_it() {
    let text = fs::read_to_string(repository().join(".github/workflows/ci.yml")).unwrap();
    let workflow: Value = serde_yaml::from_str(&text).unwrap();
    let jobs = workflow["jobs"].as_object().unwrap().values();
    let mut scripts = jobs.flat_map(|job| job["steps"].as_array().unwrap()).filter_map(|step| step["run"].as_str());
    let script = scripts.find(|script| script.contains("actionlint")).expect("a step that runs it");
    let commit = script.split_once("/cmd/actionlint@").and_then(|(_, rest)| rest.lines().next()).unwrap();
    assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
    assert!(script.lines().any(|line| line.contains("/bin/actionlint\"")), "it is built and not run: {script}");
}

/// zizmor finds nothing in the workflows; `ZIZMOR` names the program.
#[test]
#[ignore = "takes a program of PyPI: .ci/run"]
fn zizmor_finds_nothing_in_the_workflows() {
    let zizmor = std::env::var_os("ZIZMOR").expect("ZIZMOR names the program");
    let look = |folder: &Path| Command::new(&zizmor).args(["--offline", "--no-progress"]).arg(folder).output().unwrap();
    let looked = look(&repository().join(".github"));
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stdout));
    // zizmor does find a planted fault: an issue's text in a shell command.
    let dir = tempfile::tempdir().unwrap();
    let workflows = dir.path().join(".github/workflows");
    fs::create_dir_all(&workflows).unwrap();
    let planted = "on: issues\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: echo ${{ github.event.issue.title }}\n";
    fs::write(workflows.join("a.yml"), planted).unwrap();
    assert!(!look(&dir.path().join(".github")).status.success());
}
