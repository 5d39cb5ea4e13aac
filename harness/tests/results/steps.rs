//! Steps of `.ci/pipeline` that run shards, with a fake kata-qualify that logs its calls and leaves empty results.

use crate::generated_run::CommandOutput;
use crate::pipeline::script;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The plan of the fake program: two shards.
const PLAN: &str = r#"{"cells":[],"shards":[{"cells":["a"]},{"cells":["b"]}]}"#;
/// The plan of what must run again, after the first `merge`.
const AGAIN: &str = r#"{"cells":[],"shards":[{"cells":["b"]}]}"#;
const NOTHING: &str = r#"{"cells":[],"shards":[]}"#;

/// Writes the fake program; a run's exit code is in the variable `RUN`, and the calls are in the file `log`.
fn fake(folder: &Path) -> String {
    let text = format!(
        r#"#!/bin/sh
echo "$*" >>"{log}"
what=$1 out=
for word; do
    [ "$before" = --out ] && out=$word
    before=$word
done
case $what in
plan) echo '{PLAN}' ;;
run)
    mkdir -p "$out"
    for event in '"run-started"' '"run-finished","interrupted":false'; do
        echo '{{"at":"x","event":{{"event":'"$event"'}}}}' >>"$out/journal.jsonl"
    done
    exit "${{RUN:-0}}"
    ;;
bundle) echo bundle >"$out" ;;
merge)
    mkdir -p "$out/pipeline"
    again='{AGAIN}' code=3
    case $* in *bundles/again-*) again='{NOTHING}' code=1 ;; esac
    echo "$again" >"$out/pipeline/again.json"
    : >"$out/pipeline/annotations"
    exit "$code"
    ;;
verify) exit 3 ;;
esac
"#,
        log = folder.join("log").display()
    );
    let path = folder.join("kata-qualify");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Runs a step; returns its result and the calls of the program.
fn step(folder: &Path, arguments: &[&str], more: &[(&str, &str)]) -> (CommandOutput, Vec<String>) {
    let _ = fs::remove_file(folder.join("log"));
    let program = fake(folder);
    let variables = [&[("KATA_QUALIFY", program.as_str())][..], more].concat();
    let output = script("pipeline", folder, arguments, &variables);
    let calls = fs::read_to_string(folder.join("log")).unwrap_or_default();
    (output, calls.lines().map(str::to_owned).collect())
}

#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn the_step_plan_prints_the_shards_and_uses_the_last_runs() {
    let dir = tempfile::tempdir().unwrap();
    for day in 1..=7 {
        let run = dir.path().join(format!("history/2026-09-0{day}-1"));
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("journal.jsonl"), "").unwrap();
    }
    let (output, calls) = step(dir.path(), &["plan", "p", "debian:13", "--in", "vm"], &[("SHARDS", "7")]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), "[0,1]\n"), "{}", output.stderr);
    assert_eq!(calls, ["plan --format json --shards 7 debian:13 --in vm"]);
    assert_eq!(fs::read_to_string(dir.path().join("p/plan.json")).unwrap(), format!("{PLAN}\n"));
    let history = dir.path().join("history");
    let (output, calls) = step(dir.path(), &["plan", "p", "debian"], &[("HISTORY", history.to_str().unwrap())]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert!(calls[0].starts_with("plan --format json --shards 2 --times-of ") && calls[0].ends_with(" debian"));
    assert_eq!(calls[0].matches("--times-of ").count(), 5, "{calls:?}");
    assert!(!calls[0].contains("2026-09-02") && calls[0].contains("2026-09-07"), "{calls:?}");
}

/// Results about releases are no failures of the job.
#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn the_step_shard_ends_with_0_for_every_result_about_releases() {
    let name = format!("plan-{}-1", reports::digest::short(PLAN));
    for (ends, expected) in [("0", 0), ("1", 0), ("3", 0), ("2", 2), ("130", 130)] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("plan.json"), PLAN).unwrap();
        let arguments = ["shard", "p", "plan.json", "1", "--test", "smoke::"];
        let (output, calls) = step(dir.path(), &arguments, &[("RUN", ends)]);
        assert_eq!(output.code, Some(expected), "{ends}: {}", output.stderr);
        let run = format!("run --cells plan.json --shard 1 --out p/runs/{name} --test smoke::");
        assert_eq!(calls, [run, format!("bundle p/runs/{name} --out p/bundles/{name}.tar.zst")], "{ends}");
    }
}

#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn the_step_pack_packs_what_has_no_bundle() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["p/runs/plan-0", "p/runs/plan-1", "p/bundles"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    fs::write(dir.path().join("p/bundles/plan-0.tar.zst"), "").unwrap();
    let (output, calls) = step(dir.path(), &["pack", "p"], &[]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    assert_eq!(calls, ["bundle p/runs/plan-1/ --out p/bundles/plan-1.tar.zst"]);
}

/// The whole pipeline: what could not be judged runs once more, and the last judgement counts.
#[test]
#[cfg_attr(lacks = "pipeline", ignore = "needs bash, jq, git and diff")]
fn all_runs_every_shard_repeats_what_was_not_judged_and_publishes() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["all", "p", "debian:12,13", "--in", "container", "--", "--test", "smoke::"];
    let (output, calls) = step(dir.path(), &arguments, &[("RUN", "3")]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    let digest = |plan: &str| reports::digest::short(&format!("{plan}\n"));
    let (plan, again) = (format!("plan-{}", digest(PLAN)), format!("again-{}", digest(AGAIN)));
    let names = [format!("{plan}-0"), format!("{plan}-1"), format!("{again}-0")];
    let run = |file: &str, shard: u32, name: &str| {
        format!("run --cells p/{file}.json --shard {shard} --out p/runs/{name} --test smoke::")
    };
    let bundle = |name: &str| format!("bundle p/runs/{name} --out p/bundles/{name}.tar.zst");
    let bundles = |names: &[String]| {
        let mut all: Vec<String> = names.iter().map(|name| format!("p/bundles/{name}.tar.zst")).collect();
        all.sort();
        all.join(" ")
    };
    let merge = |names: &[String]| format!("merge {} --plan p/plan.json --out p/merged", bundles(names));
    let mut expected = vec![
        "plan --format json --shards 2 debian:12,13 --in container".to_owned(),
        run("plan", 0, &names[0]),
        bundle(&names[0]),
        run("plan", 1, &names[1]),
        bundle(&names[1]),
        merge(&names[..2]),
        run("again", 0, &names[2]),
        bundle(&names[2]),
        merge(&names),
    ];
    expected.extend(bundles(&names).split(' ').map(|bundle| format!("verify {bundle}")));
    expected.push(format!("write-back {} --plan p/plan.json --records p/tree/b/distros/records", bundles(&names)));
    expected.push("site p/merged --out p/site".to_owned());
    assert_eq!(calls, expected);
    assert_eq!(fs::read_to_string(dir.path().join("p/verified.patch")).unwrap(), "");
    let (refused, calls) = step(dir.path(), &arguments, &[]);
    assert!(refused.code == Some(2) && refused.stderr.contains("already has a plan"), "{}", refused.stderr);
    assert_eq!(calls, Vec::<String>::new());
}
