//! Files that packages of kata-qualify ship: the Debian package and its tests, scripts that run shards elsewhere, and
//! tmt's results.
//!
//! Scripts are tested with a fake kata-qualify that only logs its arguments.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Returns the exit code, and the output of both streams.
fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap(), text)
}

fn run_successfully(command: &mut Command) -> String {
    let (code, output) = run(command);
    assert_eq!(code, 0, "{command:?}: {output}");
    output
}

/// Writes a program with this text to a directory.
fn program(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Contents of the Debian package, except for its man pages.
const FILES: [&str; 16] = [
    "-rwxr-xr-x ./usr/bin/kata-qualify",
    "-rw-r--r-- ./usr/share/bash-completion/completions/kata-qualify",
    "-rw-r--r-- ./usr/share/doc/kata-qualify/changelog.gz",
    "-rw-r--r-- ./usr/share/doc/kata-qualify/copyright",
    "-rw-r--r-- ./usr/share/doc/kata-qualify/examples/job.yaml",
    "-rwxr-xr-x ./usr/share/doc/kata-qualify/examples/qualify.sbatch",
    "-rw-r--r-- ./usr/share/doc/kata-qualify/examples/tmt/.fmf/version",
    "-rw-r--r-- ./usr/share/doc/kata-qualify/examples/tmt/host.fmf",
    "-rwxr-xr-x ./usr/share/doc/kata-qualify/examples/tmt/host.sh",
    "-rw-r--r-- ./usr/share/doc/kata-qualify/examples/tmt/plan.fmf",
    "-rwxr-xr-x ./usr/share/doc/kata-qualify/examples/tmt/results",
    "-rw-r--r-- ./usr/share/doc/kata-qualify/running.md.gz",
    "-rw-r--r-- ./usr/share/fish/vendor_completions.d/kata-qualify.fish",
    "-rwxr-xr-x ./usr/share/kata-qualify/run-shard",
    "-rw-r--r-- ./usr/share/lintian/overrides/kata-qualify",
    "-rw-r--r-- ./usr/share/zsh/vendor-completions/_kata-qualify",
];

#[test]
#[cfg_attr(
    any(lacks = "debhelper", lacks = "lintian", lacks = "man", lacks = "bash"),
    ignore = "needs debhelper, lintian, man-db and bash"
)]
fn the_debian_package_is_complete_and_passes_lintian() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    for path in ["debian", "packaging", "distros/records", "distros/README.md", "docs/running.md"] {
        let to = source.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        run_successfully(Command::new("cp").arg("--archive").arg(repository(path)).arg(to));
    }
    let profiles = "--build-profiles=pkg.kata-qualify.rustup,pkg.kata-qualify.no-osinfo";
    let mut build = Command::new("dpkg-buildpackage");
    build.args(["--build=binary", "--no-sign", profiles]).current_dir(&source);
    build.env("KATA_QUALIFY", env!("CARGO_BIN_EXE_kata-qualify")).env("DEB_BUILD_OPTIONS", "noautodbgsym");
    run_successfully(build.env("DPKG_DEB_COMPRESSOR_LEVEL", "1"));
    let built = |end: &str| {
        let mut files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.to_string_lossy().ends_with(end)).unwrap()
    };
    let listed = run_successfully(Command::new("dpkg-deb").arg("--contents").arg(built(".deb")));
    let (mut files, mut pages) = (Vec::new(), BTreeSet::new());
    for line in listed.lines().filter(|line| !line.ends_with('/')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1], "root/root", "{line}");
        match words[5].strip_prefix("./usr/share/man/man1/") {
            Some(page) => {
                pages.insert(page.to_owned());
            }
            None => files.push(format!("{} {}", words[0], words[5])),
        }
    }
    assert_eq!(files, FILES);
    // One man page for each command that `--help` lists.
    let help = run_successfully(Command::new(env!("CARGO_BIN_EXE_kata-qualify")).arg("-h"));
    let calls = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let calls = calls.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    let expected = calls.filter(|call| *call != "help").map(|call| format!("kata-qualify-{call}.1.gz"));
    let expected: BTreeSet<String> = expected.chain(["kata-qualify.1.gz".to_owned()]).collect();
    assert!(pages.len() > 10 && pages == expected, "{pages:?} are not {expected:?}");
    let mut lintian = Command::new("lintian");
    let (code, output) = run(lintian.args(["--allow-root", "--fail-on", "error,warning"]).arg(built(".changes")));
    assert_eq!(code, 0, "{output}");

    let unpacked = folder.path().join("unpacked");
    run_successfully(Command::new("dpkg-deb").arg("--extract").arg(built(".deb")).arg(&unpacked));
    let page = unpacked.join("usr/share/man/man1/kata-qualify-write-back.1.gz");
    let mut man = Command::new("man");
    man.env("LC_ALL", "C.UTF-8").env("MANPAGER", "cat").args(["--warnings", "--local-file"]);
    let read = run_successfully(man.arg(page));
    assert!(read.contains("SYNOPSIS") && read.contains("--records") && !read.contains("warning"), "{read}");
    let script = unpacked.join("usr/share/bash-completion/completions/kata-qualify");
    let bash = "source \"$1\"
        ask() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            $(complete -p kata-qualify | sed 's/.*-F \\([^ ]*\\).*/\\1/') kata-qualify \"${!#}\" \"${COMP_WORDS[-2]}\"
            echo \"${COMPREPLY[*]}\"; }
        ask kata-qualify docto; ask kata-qualify write-back --reco; ask kata-qualify run --exit-style auto";
    let completed = run_successfully(Command::new("bash").args(["-euc", bash, "bash"]).arg(script));
    assert_eq!(completed, "doctor\n--records\nautopkgtest\n");
}

/// The scripts that Debian's tests name exist, and both tests have the required restrictions.
#[test]
fn debian_tests_exist_with_the_required_restrictions() {
    let control = fs::read_to_string(repository("debian/tests/control")).unwrap();
    let stanzas: Vec<&str> = control.split("\n\n").collect();
    let field = |stanza: &str, name: &str| -> Vec<String> {
        let line = stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default();
        line.split(", ").map(str::to_owned).collect()
    };
    let names: Vec<String> = stanzas.iter().flat_map(|stanza| field(stanza, "Tests")).collect();
    assert_eq!(names, ["host", "machine"]);
    for (stanza, isolation) in stanzas.iter().zip(["isolation-container", "isolation-machine"]) {
        let restrictions = field(stanza, "Restrictions");
        for needed in ["needs-root", isolation, "skippable"] {
            assert!(restrictions.iter().any(|one| one == needed), "{needed}: {restrictions:?}");
        }
    }
    // The test depends on all packages that Kata's guests need, so that it runs at each of their uploads.
    let depends: BTreeSet<String> = field(stanzas[0], "Depends").into_iter().collect();
    let database = model::database::Database::embedded();
    let release = database.record("debian").unwrap().release("unstable", model::arch::Arch::X86_64).unwrap();
    let manager = release.container_manager.iter().flat_map(|manager| manager.packages.clone());
    for package in release.packages().into_iter().chain(manager) {
        assert!(depends.contains(package.as_str()), "{package} is of the record, and not in {depends:?}");
    }
    for name in &names {
        let mode = fs::metadata(repository("debian/tests").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{name}");
    }
}

/// The exit code of Debian's test on the testbed follows from the exit codes of the kata-qualify calls.
#[test]
fn the_debian_test_combines_the_exit_codes_of_its_runs() {
    for (smoke, filesystem, expected) in
        [(0, 0, 0), (1, 0, 1), (0, 1, 1), (77, 0, 77), (0, 77, 77), (77, 1, 1), (2, 0, 2), (0, 130, 77)]
    {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "#!/bin/sh\necho \"$*\" >>\"{}/log\"\ncase $* in\n*smoke::*) exit {smoke} ;;\n*) exit {filesystem} ;;\nesac\n",
            dir.path().display()
        );
        program(dir.path(), "kata-qualify", &text);
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        let mut test = Command::new(repository("debian/tests/host"));
        let (code, output) = run(test.env("PATH", path).env("AUTOPKGTEST_ARTIFACTS", dir.path()));
        assert_eq!(code, expected, "{smoke} {filesystem}: {output}");
        let calls = fs::read_to_string(dir.path().join("log")).unwrap();
        for line in calls.lines() {
            for word in ["run --in host", "--strict", "--exit-style autopkgtest"] {
                assert!(line.contains(word), "{word}: {line}");
            }
        }
    }
}

/// Testing and unstable have the same os-release, so a test that reads it would judge unstable as testing.
#[test]
#[cfg_attr(lacks = "jq", ignore = "needs jq")]
fn the_debian_machine_test_qualifies_the_testbeds_own_release() {
    for (releases, code, expected) in [
        (&["debian:unstable"][..], 0, Some("run debian:unstable --in vm ")),
        (&["debian:testing"], 0, Some("run debian:testing --in vm ")),
        (&["debian:testing", "debian:unstable"], 0, None),
        (&[], 3, None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let releases: Vec<_> = releases.iter().map(|name| serde_json::json!({"name": name})).collect();
        let found = serde_json::json!({"version": 1, "system": {"releases": releases}});
        program(dir.path(), "kata-osinfo", &format!("#!/bin/sh\necho '{found}'\nexit {code}\n"));
        let log = dir.path().join("log");
        program(dir.path(), "kata-qualify", &format!("#!/bin/sh\necho \"$*\" >>\"{}\"\n", log.display()));
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        let mut test = Command::new(repository("debian/tests/machine"));
        let (ended, output) = run(test.env("PATH", path).env("AUTOPKGTEST_TMP", dir.path()));
        let calls = fs::read_to_string(log).unwrap_or_default();
        match expected {
            Some(words) => assert!(ended == 0 && calls.starts_with(words), "{ended} {calls}: {output}"),
            None => {
                assert!(
                    ended == 77 && calls.is_empty() && output.contains("nothing tells"),
                    "{ended} {calls}: {output}"
                )
            }
        }
    }
}

/// A timeout hides no failure that was already seen.
#[test]
fn an_interrupted_debian_test_fails_only_if_something_had_failed() {
    for (code, junit, expected) in [
        (124, "<failure type=\"qemu\"/>", 1),
        (130, "<failure type=\"qemu\"/>", 1),
        (124, "<skipped type=\"untested\"/><error type=\"run\"/>", 77),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "#!/bin/sh\n# The folder is the last word.\nfor out; do :; done\nmkdir -p \"$out/junit\"\necho '{junit}' >\"$out/junit/a.xml\"\nexit {code}\n"
        );
        program(dir.path(), "kata-qualify", &text);
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        let mut test = Command::new(repository("debian/tests/host"));
        let (ended, output) = run(test.env("PATH", path).env("AUTOPKGTEST_ARTIFACTS", dir.path()));
        assert_eq!(ended, expected, "{code} {junit}: {output}");
    }
}

#[test]
#[cfg_attr(lacks = "shellcheck", ignore = "needs shellcheck")]
fn shellcheck_reports_nothing() {
    let scripts = [
        ".ci/pipeline",
        ".ci/publish",
        "debian/tests/host",
        "debian/tests/machine",
        "packaging/run-shard",
        "packaging/slurm/qualify.sbatch",
        "packaging/tmt/host.sh",
        "packaging/tmt/results",
    ];
    run_successfully(Command::new("shellcheck").args(scripts.map(repository)));
}

/// Writes a fake kata-qualify that writes as much of a journal as `ending_commands` permit, and logs its arguments.
fn fake_kata_qualify(folder: &Path, ending_commands: &str) -> PathBuf {
    let text = format!(
        "#!/bin/sh
echo \"$*\" >>\"{log}\"
what=$1 out=
for word; do
    [ \"$before\" = --out ] || [ \"$before\" = --resume ] && out=$word
    before=$word
done
case $what in
run)
    mkdir -p \"$out\"
    echo '{{\"at\":\"x\",\"event\":{{\"event\":\"run-started\"}}}}' >>\"$out/journal.jsonl\"
    {ending_commands}
    ;;
bundle) echo bundle >\"$out\" ;;
esac
",
        log = folder.join("log").display()
    );
    program(folder, "kata-qualify", &text)
}

/// A plan; scripts only read its digest.
const PLAN: &str = "{}\n";

/// Returns the name that `run-shard` gives to a shard's run.
fn name_of_shard(shard: u32) -> String {
    format!("plan-{}-{shard}", reports::digest::short(PLAN))
}

const FINISHED: &str =
    r#"echo '{"at":"x","event":{"event":"run-finished","interrupted":false}}' >>"$out/journal.jsonl"; exit "#;

/// Returns the exit code of a shard's run, and the calls of kata-qualify since then.
fn shard(folder: &Path, ending_commands: &str) -> (i32, Vec<String>) {
    let _ = fs::remove_file(folder.join("log"));
    fs::write(folder.join("plan.json"), PLAN).unwrap();
    let mut command = Command::new(repository("packaging/run-shard"));
    command.env("KATA_QUALIFY", fake_kata_qualify(folder, ending_commands)).current_dir(folder);
    let (code, _) =
        run(command.args(["plan.json", "3", "results", "--profile", "all", "--offline", "--test=x", "--test", "y,z"]));
    (code, fs::read_to_string(folder.join("log")).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn run_shard_resumes_an_unfinished_run_and_repeats_a_finished_one() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = |name: &str| format!("bundle results/runs/{name} --out results/bundles/{name}.tar.zst");
    // First the node is killed, then a signal ends the run: neither finishes the shard.
    let (code, calls) = shard(dir.path(), "exit 137");
    let name = name_of_shard(3);
    let first_call = format!(
        "run --cells plan.json --shard 3 --out results/runs/{name} --profile all --offline --test=x --test y,z"
    );
    assert_eq!((code, calls), (137, vec![first_call.clone(), bundle(&name)]));
    let interrupted = FINISHED.replace("false", "true") + "130";
    // Options that the journal has are not passed again.
    let resumed = format!("run --resume results/runs/{name} --offline");
    assert_eq!(shard(dir.path(), &interrupted), (130, vec![resumed.clone(), bundle(&name)]));
    assert_eq!(shard(dir.path(), &format!("{FINISHED}3")), (3, vec![resumed, bundle(&name)]));
    // The run has ended, so this is another run.
    let name_again = format!("{name}-again1");
    let again = first_call.replace(&name, &name_again);
    assert_eq!(shard(dir.path(), &format!("{FINISHED}0")), (0, vec![again, bundle(&name_again)]));
    let mut bundles: Vec<_> =
        fs::read_dir(dir.path().join("results/bundles")).unwrap().map(|e| e.unwrap().file_name()).collect();
    bundles.sort();
    assert_eq!(bundles, [format!("{name_again}.tar.zst").as_str(), format!("{name}.tar.zst").as_str()]);
}

/// Another plan with the same name has other cells in its shards.
#[test]
fn run_shard_never_resumes_the_run_of_another_plan() {
    let dir = tempfile::tempdir().unwrap();
    let call = |plan: &str| {
        let _ = fs::remove_file(dir.path().join("log"));
        fs::write(dir.path().join("plan.json"), plan).unwrap();
        let mut command = Command::new(repository("packaging/run-shard"));
        command.env("KATA_QUALIFY", fake_kata_qualify(dir.path(), "exit 137")).current_dir(dir.path());
        run(command.args(["plan.json", "0", "results"]));
        fs::read_to_string(dir.path().join("log")).unwrap().lines().next().unwrap().to_owned()
    };
    assert!(call("{\"cells\": [1]}").starts_with("run --cells"));
    assert!(call("{\"cells\": [2]}").starts_with("run --cells"));
    assert!(call("{\"cells\": [1]}").starts_with("run --resume"));
}

/// A kill between the creation of the journal and its first line leaves nothing to resume or to pack.
#[test]
fn run_shard_begins_anew_if_the_journal_has_no_whole_line() {
    for torn in ["", "{\"at\":\"x\",\"ev"] {
        let dir = tempfile::tempdir().unwrap();
        let name = name_of_shard(3);
        let folder = dir.path().join("results/runs").join(&name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("journal.jsonl"), torn).unwrap();
        let (_, calls) = shard(dir.path(), "exit 137");
        assert!(calls[0].starts_with("run --cells plan.json --shard 3 --out "), "{torn}: {calls:?}");
    }
}

/// Some engines repeat whatever does not end with 0.
#[test]
fn run_shard_can_report_worse_results_as_done() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plan.json"), PLAN).unwrap();
    for (ends, is_done, expected) in [(1, "yes", 0), (1, "", 1), (3, "yes", 3), (0, "yes", 0)] {
        let mut command = Command::new(repository("packaging/run-shard"));
        command.env("KATA_QUALIFY", fake_kata_qualify(dir.path(), &format!("{FINISHED}{ends}")));
        command.env("KATA_QUALIFY_WORSE_IS_DONE", is_done).current_dir(dir.path());
        assert_eq!(run(command.args(["plan.json", "0", "results"])).0, expected, "{ends} {is_done}");
    }
}

/// A signal for run-shard's whole group, as from a terminal or `timeout`, reaches the run exactly once: a second one
/// would end it at once.
#[test]
fn run_shard_hands_a_signal_on_and_packs_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plan.json"), PLAN).unwrap();
    let waits = r#"trap 'echo signal >>signals; sleep 1; exit 130' TERM; touch ready; while :; do sleep 0.1; done"#;
    let mut command = Command::new(repository("packaging/run-shard"));
    command.env("KATA_QUALIFY", fake_kata_qualify(dir.path(), waits)).current_dir(dir.path()).process_group(0);
    let mut shard = command.args(["plan.json", "0", "results"]).spawn().unwrap();
    let began = Instant::now();
    while !dir.path().join("ready").exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "the run has not started");
        std::thread::sleep(Duration::from_millis(20));
    }
    run_successfully(Command::new("kill").args(["-s", "TERM", "--", &format!("-{}", shard.id())]));
    assert_eq!(shard.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_to_string(dir.path().join("signals")).unwrap(), "signal\n");
    assert!(dir.path().join(format!("results/bundles/{}.tar.zst", name_of_shard(0))).is_file());
}

#[test]
fn run_shard_imports_the_listed_images_first() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    fs::create_dir(&images).unwrap();
    fs::write(images.join("files"), "a.tar.zst#sha256:0\nb.tar.zst#sha256:1\n").unwrap();
    let mut command = Command::new(repository("packaging/run-shard"));
    fs::write(dir.path().join("plan.json"), PLAN).unwrap();
    command.env("KATA_QUALIFY", fake_kata_qualify(dir.path(), "exit 0")).env("KATA_QUALIFY_IMAGES", &images);
    run_successfully(command.args(["plan.json", "0", "results"]).current_dir(dir.path()));
    let calls = fs::read_to_string(dir.path().join("log")).unwrap();
    assert!(calls.starts_with("images import a.tar.zst#sha256:0 b.tar.zst#sha256:1\nrun --cells"), "{calls}");
}

/// The exit code of an array task, and whether the task is requeued.
#[test]
fn a_slurm_task_with_exit_code_3_is_requeued_once() {
    for (code, was_repeated, restarts, expected, queued) in [
        (0, false, None, 0, false),
        (1, false, None, 0, false),
        (3, false, None, 0, true),
        // A node died, and the shard has not been repeated.
        (3, false, Some("1"), 0, true),
        (3, true, Some("1"), 0, false),
        (2, false, None, 2, false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("plan.json"), PLAN).unwrap();
        if was_repeated {
            fs::create_dir_all(dir.path().join(format!("r/runs/{}-again1", name_of_shard(4)))).unwrap();
        }
        let run_shard = program(dir.path(), "run-shard", &format!("#!/bin/sh\necho \"$*\" >shard\nexit {code}\n"));
        program(dir.path(), "scontrol", "#!/bin/sh\necho \"$*\" >scontrol-asked\n");
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        let mut task = Command::new(repository("packaging/slurm/qualify.sbatch"));
        task.current_dir(dir.path()).env("PATH", path).env("RUN_SHARD", run_shard);
        task.envs([("PLAN", "plan.json"), ("RESULTS", "r"), ("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "4")]);
        let (ended, output) = run(task.envs(restarts.map(|count| ("SLURM_RESTART_COUNT", count))));
        assert_eq!(ended, expected, "{code}: {output}");
        assert_eq!(fs::read_to_string(dir.path().join("shard")).unwrap(), "plan.json 4 r\n");
        let calls = fs::read_to_string(dir.path().join("scontrol-asked")).ok();
        assert_eq!(calls.as_deref(), queued.then_some("requeue 7_4\n"), "{code} {restarts:?}");
    }
}

/// Slurm sends its signal before the time limit to the batch script alone.
#[test]
fn a_slurm_task_hands_a_signal_on_to_its_shard() {
    let text = fs::read_to_string(repository("packaging/slurm/qualify.sbatch")).unwrap();
    assert!(text.contains("\n#SBATCH --signal=B:INT@"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let waits = "trap 'echo signal >>signals; exit 130' TERM; touch ready; while :; do sleep 0.1; done";
    let run_shard = program(dir.path(), "run-shard", &format!("#!/bin/sh\n{waits}\n"));
    let mut task = Command::new(repository("packaging/slurm/qualify.sbatch"));
    task.current_dir(dir.path()).env("RUN_SHARD", run_shard);
    task.envs([("PLAN", "plan.json"), ("RESULTS", "r"), ("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "4")]);
    let mut task = task.spawn().unwrap();
    let began = Instant::now();
    while !dir.path().join("ready").exists() {
        assert!(began.elapsed() < Duration::from_secs(30), "the shard has not started");
        std::thread::sleep(Duration::from_millis(20));
    }
    run_successfully(Command::new("kill").args(["-s", "TERM", &task.id().to_string()]));
    assert_eq!(task.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_to_string(dir.path().join("signals")).unwrap(), "signal\n");
}

#[test]
#[cfg_attr(lacks = "jq", ignore = "needs jq")]
fn tmt_has_a_result_for_each_capability() {
    let dir = tempfile::tempdir().unwrap();
    let capability = |verdict: &str, change: &str| serde_json::json!({"verdict": verdict, "change": change});
    let mut worse = capability("unsupported", "new-failure");
    worse["causes"] = serde_json::json!([{"component": "qemu", "message": "no q35: \"x\"\nand more"}]);
    let verdicts = serde_json::json!({"rs-4.1": {
        "vmm.boot": worse,
        "vmm.qmp": capability("supported", "same"),
        "vmm.tdx": capability("unsupported", "known"),
        "vmm.vsock": capability("untested", "same"),
        "vmm.net": capability("inconclusive", "unjudged"),
        "kernel.host": capability("not-applicable", "same"),
    }});
    let cells = serde_json::json!([{"cell": "fedora:43/x86_64/host", "basis": "emulated", "verdicts": verdicts}]);
    let results = serde_json::json!({"exit-code": 1, "run": "r1", "harness": "0.1.0", "cells": cells});
    fs::write(dir.path().join("results.json"), results.to_string()).unwrap();
    let output =
        run_successfully(Command::new(repository("packaging/tmt/results")).arg(dir.path().join("results.json")));
    let parsed: Vec<serde_yaml::Value> = serde_yaml::from_str(&output).unwrap();
    let of = |name: &str| {
        let one = parsed.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {output}"));
        (one["result"].as_str().unwrap(), one["note"].as_sequence().unwrap().len())
    };
    assert_eq!(of("/"), ("fail", 1));
    for (capability, result, notes) in [
        ("vmm.boot", "fail", 2),
        ("vmm.qmp", "pass", 1),
        ("vmm.tdx", "info", 1),
        ("vmm.vsock", "skip", 1),
        ("vmm.net", "error", 1),
    ] {
        assert_eq!(of(&format!("/fedora-43-x86_64-host/rs-4.1/{capability}")), (result, notes), "{capability}");
    }
    assert_eq!(parsed.len(), 6, "what cannot be is left out");
}

/// tmt itself reads the plan and the test, runs it with a fake kata-qualify that only writes results, and reports these
/// results.
///
/// `TMT` is tmt's program.
#[test]
#[ignore = "takes a program of PyPI: .ci/run"]
fn tmt_lints_its_files_and_reads_the_results() {
    let program_of_tmt = std::env::var_os("TMT").expect("TMT names the program");
    let tmt = |root: &Path, arguments: &[&str]| {
        let mut command = Command::new(&program_of_tmt);
        run(command.arg("--root").arg(root).arg("--feeling-safe").args(arguments))
    };
    let shipped = repository("packaging/tmt");
    let (code, output) = tmt(&shipped, &["lint"]);
    assert!(code == 0 && output.contains("\n/plan\n") && !output.contains("\nfail"), "{output}");
    // tmt's lint does detect an error.
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    run_successfully(Command::new("cp").arg("--archive").arg(&shipped).arg(&other));
    let plan = fs::read_to_string(other.join("plan.fmf")).unwrap().replace("how: tmt", "how: nobody-knows");
    fs::write(other.join("plan.fmf"), plan).unwrap();
    assert_ne!(tmt(&other, &["lint"]).0, 0, "a step that does not exist");

    let verdicts = serde_json::json!({"rs-4.1": {
        "vmm.boot": {"verdict": "unsupported", "change": "new-failure"},
        "vmm.qmp": {"verdict": "supported", "change": "same"},
        "vmm.tdx": {"verdict": "unsupported", "change": "known"},
        "vmm.vsock": {"verdict": "untested", "change": "same"},
        "vmm.net": {"verdict": "inconclusive", "change": "unjudged"},
    }});
    let cells = serde_json::json!([{"cell": "fedora:43/x86_64/host", "basis": "emulated", "verdicts": verdicts}]);
    let results = serde_json::json!({"exit-code": 1, "run": "r1", "harness": "0.1.0", "cells": cells});
    let programs = dir.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let leaves = "while [ \"$1\" != --out ]; do shift; done\nmkdir -p \"$2\"\n";
    let text = format!("#!/bin/sh\n{leaves}cat >\"$2/results.json\" <<'END'\n{results}\nEND\nexit 1\n");
    program(&programs, "kata-qualify", &text);
    // The test runs with a `PATH` of its own.
    let path = format!("PATH={}:/usr/bin:/bin", programs.display());
    let id = dir.path().join("id");
    let arguments =
        ["run", "--id", id.to_str().unwrap(), "--environment", &path, "discover", "provision", "--how", "local"];
    let (_, output) =
        tmt(&shipped, &[&arguments[..], &["execute", "report", "--how", "display", "-vv", "finish"]].concat());
    for result in
        ["fail /host", "fail /host/fedora-43-x86_64-host/rs-4.1/vmm.boot", "pass /host/fedora", "info /host/fedora"]
    {
        assert!(output.contains(result), "{result}: {output}");
    }
    assert!(output.contains("total: 1 test passed, 2 tests failed, 1 test skipped, 1 info and 1 error"), "{output}");
}

/// tmt's own files are YAML with the keys of tmt 1.78 (spec/tests and spec/plans of its documentation).
#[test]
fn tmt_files_define_a_test_and_a_plan() {
    let read = |name: &str| -> serde_yaml::Value {
        serde_yaml::from_str(&fs::read_to_string(repository("packaging/tmt").join(name)).unwrap()).unwrap()
    };
    let (test, plan) = (read("host.fmf"), read("plan.fmf"));
    assert_eq!(test["result"], "custom");
    let script = test["test"].as_str().unwrap();
    assert!(repository("packaging/tmt").join(script).is_file(), "{script}");
    let tags: Vec<&str> = test["tag"].as_sequence().unwrap().iter().filter_map(|tag| tag.as_str()).collect();
    assert_eq!(plan["discover"]["filter"].as_str(), Some(&*format!("tag:{}", tags[0])));
    assert_eq!(plan["execute"]["how"], "tmt");
}
