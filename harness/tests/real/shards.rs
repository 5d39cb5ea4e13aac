//! Runs of a plan's cells in shards.

use model::arch::Arch;
use reports::journal::{FILE, read};
use reports::run::fold;
use std::path::Path;
use std::process::Command;

/// Returns the exit code, standard output and standard error of the command in a directory; no Docker engine answers.
fn run_command(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kata-qualify"));
    command.args(arguments).current_dir(folder).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Returns the arguments of a run of the cells in a file, with the images in the cache.
fn run<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--cells", file, "--test", "host::", "--offline", "--cache", "cache"], more].concat()
}

#[test]
fn each_shard_of_a_plan_runs_its_cells_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let arch = Arch::of_machine().unwrap();
    let cells = ["12", "13", "testing"].map(|release| format!("debian:{release}/{arch}/vm"));
    let shards = serde_json::json!([
        { "minutes": 45, "cells": [cells[2]] },
        { "minutes": 90, "cells": [cells[0], cells[1]] },
    ]);
    let plan = serde_json::json!({ "arch": arch, "releases": [], "cells": [], "shards": shards });
    std::fs::write(dir.path().join("plan.json"), plan.to_string()).unwrap();
    crate::cached::empty_images(&dir.path().join("cache"), &["debian:12", "debian:13", "debian:testing"]).unwrap();
    for (shard, expected) in [("0", &cells[2..]), ("1", &cells[..2])] {
        let (code, _, stderr) = run_command(dir.path(), &run("plan.json", &["--shard", shard, "--out", shard]));
        assert_eq!(code, Some(3), "there is nothing in the images: {stderr}");
        let run = fold(&read(&dir.path().join(shard).join(FILE)).unwrap());
        assert_eq!(run.order.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }
}

/// A run that was killed before its first event must not block its folder.
#[test]
fn a_folder_with_a_journal_without_events_is_as_good_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    let arch = Arch::of_machine().unwrap();
    std::fs::write(dir.path().join("cells"), format!("debian:13/{arch}/vm\n")).unwrap();
    crate::cached::empty_images(&dir.path().join("cache"), &["debian:13"]).unwrap();
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    for (text, is_taken) in [("", true), ("{\"at\":\"2026-07-25T17", true), ("{\"at\":\"2026-07-25T17\n", false)] {
        std::fs::write(out.join(FILE), text).unwrap();
        let (code, _, stderr) = run_command(dir.path(), &run("cells", &["--out", "out"]));
        assert_eq!(code, Some(if is_taken { 3 } else { 2 }), "{text}: {stderr}");
        if is_taken {
            assert_eq!(fold(&read(&out.join(FILE)).unwrap()).order.len(), 1, "{text}");
        }
        // Only the journal is left for the next one.
        std::fs::remove_dir_all(&out).unwrap();
        std::fs::create_dir(&out).unwrap();
    }
    std::fs::write(out.join(FILE), "").unwrap();
    std::fs::write(out.join("notes"), "").unwrap();
    let (code, _, stderr) = run_command(dir.path(), &run("cells", &["--out", "out"]));
    assert!(code == Some(2) && stderr.contains("expected an empty folder"), "{stderr}");
}

#[test]
fn an_invalid_cells_file_is_bad_usage() {
    let dir = tempfile::tempdir().unwrap();
    let arch = Arch::of_machine().unwrap();
    let other = Arch::ALL.iter().find(|other| **other != arch).unwrap();
    for (text, more, why) in [
        (format!("debian:13/{other}/vm"), &[][..], "is not for this machine's architecture"),
        (format!("debian:0/{arch}/vm"), &[], "unknown release `0` of debian"),
        ("debian:13".to_owned(), &[], "is not a cell: expected DISTRO:RELEASE/ARCHITECTURE/ENVIRONMENT"),
        ("{\"shards\": []}".to_owned(), &["--shard", "3"], "the plan has no shard 3"),
        ("[]".to_owned(), &["--in", "vm"], "cannot be used with"),
        ("[]".to_owned(), &["debian:13"], "cannot be used with"),
    ] {
        std::fs::write(dir.path().join("cells"), &text).unwrap();
        let (code, _, stderr) = run_command(dir.path(), &run("cells", more));
        assert!(code == Some(2) && stderr.contains(why), "{text}: {stderr}");
    }
}

/// Which releases can be brought up depends on this machine; the plan for them does not.
#[test]
fn a_plan_has_a_cell_in_a_shard_for_each_possible_release() {
    let dir = tempfile::tempdir().unwrap();
    let plan = ["plan", "debian", "--in", "vm", "--cache", "cache", "--format", "json", "--shards", "2"];
    let (code, stdout, stderr) = run_command(dir.path(), &plan);
    assert_eq!(code, Some(0), "{stderr}");
    let plan: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
    let possible = list(&plan["releases"]).iter().filter(|release| release["cannot"].is_null()).count();
    assert_eq!(list(&plan["cells"]).len(), possible);
    let packed: usize = list(&plan["shards"]).iter().map(|shard| list(&shard["cells"]).len()).sum();
    assert_eq!(packed, possible);
    assert!(list(&plan["shards"]).len() <= 2);
    for (arguments, why) in
        [(&["--shards", "257"][..], "257 is not in 1..=256"), (&["--times-of", "nowhere"], "--times-of nowhere: ")]
    {
        let (code, _, stderr) = run_command(dir.path(), &[&["plan", "debian:13", "--in", "vm"], arguments].concat());
        assert!(code == Some(2) && stderr.contains(why), "{stderr}");
    }
}
