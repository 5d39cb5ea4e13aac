//! `configure` and `unconfigure` that are killed, run out of space, run concurrently, or meet other tools' edits.

use crate::machine::{BASE, Machine, Output, with};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MAIN: &str = "m/etc/containerd/config.toml";
const STATE: &str = "m/var/lib/kata-osinfo/configured.json";
const CRI: &str = "plugins.\"io.containerd.grpc.v1.cri\"";

/// Creates a machine whose containerd configuration contains a secret and is readable by root only.
fn machine() -> Machine {
    let machine = Machine::new();
    let text = format!(
        "version = 2\n\n[{CRI}]\n  sandbox_image = \"p:1\"\n[{CRI}.registry.configs.\"r\".auth]\n  password = \"S3CRET\"\n"
    );
    machine.file(MAIN, &text);
    std::fs::set_permissions(machine.path(MAIN), PermissionsExt::from_mode(0o600)).expect("set");
    std::fs::create_dir_all(machine.path("m/var/lib")).expect("made");
    machine
}

const EDIT: &[&str] = &["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "1.7"];
const DROP_IN: &[&str] =
    &["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "2.1"];
const OTHER: &[&str] = &["configure", "--profile", "go-2.4", "--kata-version", "2.4.0", "--emulated"];
const MORE: &[&str] =
    &["configure", "--profile", "go-3.29", "--emulated", "--handler", "containerd", "--containerd-version", "1.7"];
const BACK: &[&str] = &["unconfigure"];

fn must(machine: &Machine, call: &[&str]) -> Output {
    let output = machine.run(call);
    assert_eq!(output.code, 0, "{call:?}: {}", output.stderr);
    output
}

/// Runs the command under strace, which tampers with one system call: returns the exit code, the standard output, and
/// whether the call occurred.
fn under_strace(machine: &Machine, call: &[&str], inject: &str) -> (Option<i32>, String, bool) {
    let (code, stdout, log) = traced(machine, call, &[inject]);
    (code, stdout, log.contains("(INJECTED)") || log.contains("(DELAYED)"))
}

/// Runs the command under strace, which tampers with system calls or, if only their names are given, logs them: returns
/// the exit code, the standard output, and strace's log.
fn traced(machine: &Machine, call: &[&str], meddle: &[&str]) -> (Option<i32>, String, String) {
    let log = machine.path("log");
    // The log of an earlier call must not be mistaken for this one's.
    let _ = std::fs::remove_file(&log);
    let names: Vec<&str> = meddle.iter().filter_map(|inject| inject.split(':').next()).collect();
    let injects = meddle.iter().filter(|inject| inject.contains(':')).map(|inject| format!("inject={inject}"));
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", &format!("trace={}", names.join(","))])
        .args(injects.flat_map(|inject| ["-e".to_owned(), inject]))
        .arg("-o")
        .arg(&log)
        .arg(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
        .args(["--records".as_ref(), machine.path("records").as_os_str()])
        .args(["--root".as_ref(), machine.path("m").as_os_str()])
        .args(call)
        .stderr(Stdio::null())
        .output()
        .expect("strace");
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    (output.status.code(), stdout, log)
}

/// Appends a line to containerd's main file 1.5 s from now, while `act` runs.
fn while_others_write<T: Send>(machine: &Machine, line: &str, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let act = scope.spawn(act);
        // Half of the injected delay: the call has reached it by then, even on a busy machine.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let main = std::fs::OpenOptions::new().append(true).open(machine.path(MAIN));
        std::io::Write::write_all(&mut main.expect("there"), line.as_bytes()).expect("written");
        act.join().expect("no panic")
    })
}

/// Like [`under_strace`]; returns whether the call to tamper with occurred.
fn meddled(machine: &Machine, call: &[&str], inject: &str) -> bool {
    let (code, _, injected) = under_strace(machine, call, inject);
    // A program may succeed despite a failed system call.
    code != Some(0) || injected
}

/// Without a working strace, every call would seem to have been tampered with, endlessly.
fn assert_strace_runs() {
    let status = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().expect("strace");
    assert!(status.success(), "strace may not trace here: {status}");
}

/// A name, the calls before, and the call that is tampered with.
type Scenario = (&'static str, &'static [&'static [&'static str]], &'static [&'static str]);

const SCENARIOS: [Scenario; 8] = [
    ("fresh", &[], EDIT),
    ("fresh drop-in", &[], DROP_IN),
    ("again", &[EDIT], MORE),
    ("drop", &[DROP_IN], EDIT),
    ("other", &[EDIT], OTHER),
    ("un", &[EDIT], BACK),
    ("again, of several names", &[EDIT], MORE),
    ("un, of several names", &[EDIT], BACK),
];

const CALLS: [&str; 14] = [
    "openat2",
    "openat",
    "write",
    "pwrite64",
    "ftruncate",
    "fsync",
    "renameat",
    "renameat2",
    "unlinkat",
    "mkdirat",
    "fchmod",
    "fchown",
    "flock",
    "close",
];

/// Kills (or fails) every `step`th of these system calls and checks that nothing is stuck or left behind. Returns the
/// number of points.
fn every_point(scenario: &Scenario, calls: &[&str], step: usize, how: &str) -> usize {
    let (name, before, call) = scenario;
    let mut points = 0;
    for system_call in calls {
        for n in (1..).step_by(step) {
            let point = format!("{name}: {system_call} {n} {how}");
            let machine = machine();
            if name.ends_with("names") {
                std::fs::hard_link(machine.path(MAIN), machine.path("m/etc/hard")).expect("linked");
            }
            let originally = machine.everything();
            before.iter().for_each(|call| drop(must(&machine, call)));
            // Beyond the last occurrence nothing is injected.
            if !meddled(&machine, call, &format!("{system_call}:{how}:when={n}")) {
                break;
            }
            points += 1;
            // A reader of a whole directory finds only complete files.
            for folder in [format!("m/{BASE}/config.d"), "m/etc/containerd/conf.d".to_owned()] {
                let names = std::fs::read_dir(machine.path(&folder)).into_iter().flatten();
                let names: Vec<_> = names.map(|e| e.expect("an entry").file_name()).collect();
                assert!(names.iter().all(|n| n == "50-kata-osinfo.toml"), "{point}: {names:?}");
            }
            let copy = machine.copy();
            let output = copy.run(BACK);
            assert_eq!(output.code, 0, "{point}: {}", output.stderr);
            assert_eq!(copy.everything(), originally, "{point}");
            let again = if call[0] == "configure" { call } else { &EDIT };
            must(&machine, again);
            must(&machine, BACK);
            assert_eq!(machine.everything(), originally, "{point}, again");
        }
    }
    eprintln!("{name} {how}: {points} points");
    points
}

#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn a_killed_call_can_be_reverted_and_repeated() {
    assert_strace_runs();
    for scenario in [&SCENARIOS[2], &SCENARIOS[5]] {
        assert!(every_point(scenario, &["renameat", "renameat2", "unlinkat"], 2, "signal=KILL") > 2);
    }
}

#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn a_call_without_disk_space_can_be_reverted_and_repeated() {
    assert_strace_runs();
    for scenario in [&SCENARIOS[2], &SCENARIOS[5]] {
        assert!(every_point(scenario, &["fsync"], 2, "error=ENOSPC") > 2);
    }
}

/// Edits that others make after an interrupted call are not lost, whichever call comes next.
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn edits_by_others_survive_an_interrupted_call() {
    assert_strace_runs();
    // A file with several names is written in place.
    for (names, system_call, how) in [
        (1, "write", "signal=KILL"),
        (1, "renameat", "signal=KILL"),
        (1, "renameat2", "signal=KILL"),
        (1, "unlinkat", "signal=KILL"),
        (1, "write", "error=ENOSPC"),
        (2, "pwrite64", "signal=KILL"),
        (2, "ftruncate", "signal=KILL"),
        (2, "fallocate", "error=ENOSPC"),
        (2, "pwrite64", "error=ENOSPC"),
        (2, "ftruncate", "error=ENOSPC"),
    ] {
        let mut points = 0;
        for n in 1.. {
            let machine = machine();
            if names == 2 {
                std::fs::hard_link(machine.path(MAIN), machine.path("m/etc/hard")).expect("linked");
            }
            let expected = format!("{}{RUNC}{NVIDIA}", machine.read(MAIN));
            must(&machine, EDIT);
            machine.file(MAIN, &(machine.read(MAIN) + NVIDIA));
            if !meddled(&machine, BACK, &format!("{system_call}:{how}:when={n}")) {
                break;
            }
            points += 1;
            let again = machine.copy();
            must(&machine, BACK);
            assert_eq!(machine.read(MAIN), expected, "{system_call} {n} {how}");
            must(&again, EDIT);
            must(&again, BACK);
            assert_eq!(again.read(MAIN), expected, "{system_call} {n} {how}, configured again");
        }
        assert!(points > 0, "{system_call} {how}");
    }
}

/// Edits by others of a file that a killed call has left.
const EDITS: [&str; 5] = ["end", "top", "comment", "runtime", "section"];

fn edited(text: &str, how: &str) -> String {
    match how {
        "end" => format!("{text}\n[metrics]\nmark = 1\n"),
        "top" => format!("# mark\n{text}"),
        "comment" => text.replacen('\n', "\n# mark\n", 1),
        "runtime" => {
            format!("{text}\n[{CRI}.containerd.runtimes.mark]\nruntime_type = \"io.containerd.runc.v2\"\n")
        }
        _ => text.replacen("\n[", "\n[plugins.\"io.containerd.mark.v1.mark\"]\nx = 1\n[", 1),
    }
}

/// A file with several names, the calls before, the call that is killed, and one that configures afterwards.
type Torn<'a> = (&'a str, &'a [&'a [&'a str]], &'a [&'a str], &'a [&'a str]);

/// Kills a call that writes a file in place, and lets others edit the remains: whichever call comes next keeps the
/// edits, and the following call gives the same answer. Returns the number of points, and how often it was impossible
/// to tell what was missing.
fn edited_after_a_kill((file, before, call, again): &Torn<'_>, calls: &[&str], edits: &[&str]) -> (usize, usize) {
    let (mut points, mut torn) = (0, 0);
    for system_call in calls {
        for n in 1.. {
            let killed = machine();
            std::fs::hard_link(killed.path(file), killed.path("m/etc/hard")).expect("linked");
            before.iter().for_each(|call| drop(must(&killed, call)));
            if !meddled(&killed, call, &format!("{system_call}:signal=KILL:when={n}")) {
                break;
            }
            points += 1;
            for how in edits {
                let changed = edited(&killed.read(file), how);
                for next in [BACK, *again] {
                    let point = format!("{file} {call:?}: {system_call} {n}, {how}, {next:?}");
                    let machine = killed.copy();
                    machine.file(file, &changed);
                    let is_there = || machine.read(file).contains("mark");
                    let first = machine.run(next);
                    assert!(is_there(), "{point}: {} {}", first.code, first.stderr);
                    let is_torn = first.stderr.contains("it cannot be determined what is missing");
                    assert_eq!(first.code != 0, is_torn, "{point}: {} {}", first.code, first.stderr);
                    if first.code != 0 {
                        torn += 1;
                        assert_eq!(machine.read(file), changed, "{point}: {}", first.stderr);
                    }
                    let second = machine.run(BACK);
                    assert!(is_there(), "{point}: {} {}", second.code, second.stderr);
                    // The result of the second call follows from the first one; a repeated `configure` can be taken
                    // back.
                    assert_eq!(second.code, if first.code == 0 { 0 } else { 13 }, "{point}: {}", second.stderr);
                    let forced = machine.run(&["unconfigure", "--force"]);
                    assert_eq!(forced.code, 0, "{point}: {}", forced.stderr);
                    let aside = machine.path(file).with_file_name(".kata-osinfo.theirs.1");
                    let aside = std::fs::read_to_string(aside).unwrap_or_default();
                    assert!(is_there() || aside == changed, "{point}: {}", machine.read(file));
                    assert!(
                        is_there() || forced.stderr.contains("now in /etc/containerd/.kata-osinfo.theirs.1 "),
                        "{}",
                        forced.stderr
                    );
                    assert!(!machine.read(file).contains("runtimes.kata"), "{point}: {}", machine.read(file));
                    assert_eq!(machine.read("m/etc/hard"), machine.read(file), "{point}");
                }
            }
        }
    }
    eprintln!("{file} {call:?}: {points} points, {torn} torn");
    (points, torn)
}

/// The file that is edited for Kata before 2.5.
const OF_KATA: &str = "m/opt/kata/share/defaults/kata-containers/configuration-qemu.toml";

const TORN: [Torn<'static>; 6] = [
    (MAIN, &[], EDIT, EDIT),
    (MAIN, &[EDIT], DROP_IN, DROP_IN),
    (MAIN, &[EDIT], BACK, EDIT),
    (MAIN, &[DROP_IN], EDIT, EDIT),
    (OF_KATA, &[], OTHER, OTHER),
    (OF_KATA, &[OTHER], BACK, OTHER),
];

#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn edits_to_a_partly_written_hard_linked_file_are_kept() {
    assert_strace_runs();
    let calls = ["pwrite64", "ftruncate"];
    for scenario in [&TORN[0], &TORN[1], &TORN[4]] {
        let (points, _) = edited_after_a_kill(scenario, &calls, &["end", "runtime"]);
        assert!(points >= 2, "{points}");
    }
}

#[test]
#[ignore = "minutes: every point of every scenario"]
fn edits_to_a_partly_written_hard_linked_file_are_kept_at_every_point() {
    assert_strace_runs();
    let calls = ["fallocate", "pwrite64", "ftruncate", "write", "fsync", "renameat", "renameat2", "unlinkat"];
    for scenario in &TORN {
        let (points, _) = edited_after_a_kill(scenario, &calls, &EDITS);
        assert!(points > 8, "{points}");
    }
}

/// Wherever a call is interrupted, containerd's main file imports a file with the lines that move.
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn moved_lines_of_others_stay_imported_at_every_point() {
    assert_strace_runs();
    let drop_in = "m/etc/containerd/conf.d/50-kata-osinfo.toml";
    let nvidia = NVIDIA.replace("grpc.v1.cri", "cri.v1.runtime");
    let has_it = |machine: &Machine| {
        let main = machine.read(MAIN);
        let imported = main.split('"').filter(|word| word.starts_with("/etc/containerd/conf.d/"));
        let mut texts = imported.filter_map(|path| std::fs::read_to_string(machine.path(&format!("m{path}"))).ok());
        texts.any(|text| text.contains("runtimes.nvidia]"))
    };
    let hows = ["signal=KILL", "error=ENOSPC"];
    let ways = [BACK, DROP_IN].into_iter().flat_map(|call| hows.map(|how| (call, how)));
    // A file with others' text is exchanged for the new one; the state file is renamed.
    let ways = ways.flat_map(|(call, how)| ["renameat", "renameat2"].map(|system_call| (call, how, system_call)));
    for (call, how, system_call) in ways {
        let mut points = 0;
        for n in 1.. {
            let machine = machine();
            machine.file(MAIN, "version = 3\n");
            must(&machine, DROP_IN);
            machine.file(drop_in, &(machine.read(drop_in) + &nvidia));
            if !meddled(&machine, call, &format!("{system_call}:{how}:when={n}")) {
                break;
            }
            points += 1;
            assert!(has_it(&machine), "{call:?} {n} {how}: {}", machine.read(MAIN));
            let again = machine.copy();
            must(&machine, BACK);
            assert!(has_it(&machine), "{call:?} {n} {how}: {}", machine.read(MAIN));
            must(&again, DROP_IN);
            must(&again, BACK);
            assert!(has_it(&again), "{call:?} {n} {how}, configured again: {}", again.read(MAIN));
        }
        assert!(points > 0, "{call:?} {how} {system_call}");
    }
}

#[test]
#[ignore = "half an hour: every point of every scenario"]
fn a_call_killed_at_any_point_can_be_reverted_and_repeated() {
    assert_strace_runs();
    let points = SCENARIOS.each_ref().map(|scenario| every_point(scenario, &CALLS, 1, "signal=KILL"));
    eprintln!("{points:?} points");
    assert!(points.iter().all(|points| *points > 0) && points.iter().sum::<usize>() > 300, "{points:?}");
}

#[test]
#[ignore = "minutes: every point of every scenario"]
fn a_call_out_of_space_at_any_point_can_be_reverted_and_repeated() {
    assert_strace_runs();
    let calls = ["write", "fsync", "renameat", "renameat2", "mkdirat", "unlinkat", "ftruncate"];
    for scenario in &SCENARIOS {
        assert!(every_point(scenario, &calls, 1, "error=ENOSPC") > 0, "{}", scenario.0);
    }
}

/// An editor saves while the new file is being written, or just before it replaces the old one.
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn edits_by_others_during_a_write_are_kept() {
    assert_strace_runs();
    let foreign_line = "# theirs\n";
    for (call, system_call) in [(EDIT, "fsync"), (BACK, "fsync"), (EDIT, "renameat2"), (BACK, "renameat2")] {
        let (mut caught, mut points) = (0, 0);
        for n in 1.. {
            let machine = machine();
            if call == BACK {
                must(&machine, EDIT);
            }
            let inject = format!("{system_call}:delay_enter=3000000:when={n}");
            let json = [call, &["--format", "json"]].concat();
            // Roughly in the middle of the delay; nothing is lost at any other time either.
            let (code, stdout, delayed) =
                while_others_write(&machine, foreign_line, || under_strace(&machine, &json, &inject));
            if !delayed {
                break;
            }
            points += 1;
            assert!(machine.read(MAIN).contains(foreign_line), "{call:?} {system_call} {n}: {code:?}");
            // Others' edits are not reported as something that could not be restored.
            assert!(!stdout.contains("incomplete"), "{call:?} {system_call} {n}: {stdout}");
            caught += usize::from(code != Some(0));
            must(&machine, BACK);
            let remaining = machine.read(MAIN);
            assert!(
                remaining.contains(foreign_line) && !remaining.contains("kata"),
                "{call:?} {system_call} {n}: {remaining}"
            );
        }
        assert!(points > 0 && caught > 0, "{call:?} {system_call}: {caught} of {points}");
    }
}

/// An editor saves just before the new file replaces the old one, and the call is killed right after that, before it
/// checks what it has replaced.
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn edits_replaced_by_a_killed_call_are_restored() {
    assert_strace_runs();
    let foreign_line = "# theirs\n";
    for (before, call) in [(None, EDIT), (Some(DROP_IN), EDIT), (Some(EDIT), BACK)] {
        let (mut points, mut back, mut aside) = (0, 0, 0);
        for n in 1.. {
            let machine = machine();
            if let Some(before) = before {
                must(&machine, before);
            }
            let (_, _, log) = traced(&machine.copy(), call, &["renameat2", "openat2"]);
            let is_nth =
                |(at, _): &(usize, &str)| log.lines().take(*at).filter(|l| l.contains("renameat2(")).count() == n - 1;
            let exchange = log.lines().enumerate().filter(|(_, l)| l.contains("renameat2(")).find(is_nth);
            let Some((at, _)) = exchange else { break };
            points += 1;
            let next = log.lines().take(at).filter(|line| line.contains("openat2(")).count() + 1;
            let meddle =
                [format!("renameat2:delay_enter=3000000:when={n}"), format!("openat2:signal=KILL:when={next}")];
            let meddle = meddle.each_ref().map(String::as_str);
            let (code, ..) = while_others_write(&machine, foreign_line, || traced(&machine, call, &meddle));
            assert_ne!(code, Some(0), "{call:?} {n}");
            // If the file was changed again since, that is reported and not a success.
            let twice = machine.copy();
            let dry = twice.run(&["unconfigure", "--dry-run"]);
            if dry.stderr.contains("config.toml was changed by another process while") {
                aside += 1;
                assert_eq!(dry.code, 13, "{call:?} {n}: {}", dry.stderr);
                let dry = twice.run(&[EDIT, &["--dry-run"]].concat());
                assert_eq!(dry.code, 13, "{call:?} {n}: {}", dry.stderr);
                assert!(dry.stderr.contains("the next call without --dry-run restores it"), "{}", dry.stderr);
                twice.file(MAIN, &format!("{}# more\n", twice.read(MAIN)));
                // The call that puts the file aside is not a success; the following ones only report it.
                let configured = twice.copy();
                for code in [13, 0, 0] {
                    let output = configured.run(&[EDIT, &["--format", "json"]].concat());
                    assert_eq!(output.code, code, "{call:?} {n}: {}", output.stderr);
                    let problems = output.json()["problems"].to_string();
                    assert!(problems.contains("/etc/containerd/.kata-osinfo.theirs.1"), "{call:?} {n}: {problems}");
                }
                assert_eq!(configured.read("m/etc/containerd/.kata-osinfo.theirs.1").matches(foreign_line).count(), 1);
                let output = twice.run(&["unconfigure", "--format", "json"]);
                assert_eq!(output.code, 13, "{call:?} {n}: {}", output.stderr);
                let problems = output.json()["problems"].to_string();
                assert!(problems.contains(".kata-osinfo.theirs.1 for you to merge"), "{call:?} {n}: {problems}");
            }
            for again in [BACK, EDIT, MORE] {
                let machine = machine.copy();
                let output = must(&machine, again);
                back += usize::from(output.stderr.contains("config.toml was changed by another process while"));
                assert!(machine.read(MAIN).contains(foreign_line), "{call:?} {n} {again:?}: {}", machine.read(MAIN));
                must(&machine, BACK);
                let remaining = machine.read(MAIN);
                assert!(
                    remaining.contains(foreign_line) && !remaining.contains("kata"),
                    "{call:?} {n} {again:?}: {remaining}"
                );
                let leftover = |path: &&PathBuf| path.to_string_lossy().contains(".kata-osinfo");
                assert_eq!(machine.everything().keys().find(leftover), None, "{call:?} {n} {again:?}");
            }
        }
        assert!(points > 0 && back >= 3 && aside > 0, "{call:?}: {back} and {aside} of {points}");
    }
}

/// containerd does not start with an import of a missing file: the import is removed first.
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn imported_files_exist_at_every_point() {
    assert_strace_runs();
    let without = ["configure", "--profile", "go-3.29"];
    for (before, call) in [(None, DROP_IN), (Some(DROP_IN), &without), (Some(DROP_IN), EDIT), (Some(DROP_IN), BACK)] {
        let mut points = 0;
        for system_call in ["renameat", "renameat2", "unlinkat"] {
            for n in 1.. {
                let machine = machine();
                if let Some(before) = before {
                    must(&machine, before);
                }
                if !meddled(&machine, call, &format!("{system_call}:signal=KILL:when={n}")) {
                    break;
                }
                points += 1;
                let main = machine.read(MAIN);
                for imported in main.split('"').filter(|word| word.starts_with("/etc/containerd/conf.d/")) {
                    assert!(machine.path(&format!("m{imported}")).exists(), "{call:?} {system_call} {n}: {main}");
                }
            }
        }
        assert!(points > 3, "{call:?} after {before:?}: {points}");
    }
}

/// An I/O error while the files are read again does not mean that they were not written.
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn a_read_error_after_writing_is_not_reported_as_not_written() {
    assert_strace_runs();
    let (_, _, log) = traced(&machine(), EDIT, &["openat2"]);
    let all = log.lines().filter(|line| line.contains("openat2(")).count();
    let mut reported = 0;
    for n in (all / 2..=all).step_by(5) {
        let machine = machine();
        let (code, _, injected) = under_strace(&machine, EDIT, &format!("openat2:error=EIO:when={n}"));
        let is_written = machine.path(&format!("m/{BASE}/config.d/50-kata-osinfo.toml")).exists();
        assert!(injected && (!is_written || matches!(code, Some(0 | 13))), "{n} of {all}: {code:?}");
        reported += usize::from(code == Some(13));
        must(&machine, BACK);
    }
    assert!(reported > 0);
}

/// Removed files are reported, and the rest is tried again by the next call.
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn an_unremovable_link_or_folder_is_reported_and_retried() {
    assert_strace_runs();
    let configured = machine();
    configured.file("m/srv/there", "");
    let originally = configured.everything();
    must(&configured, DROP_IN);
    // Others have moved kata-osinfo's drop-in.
    let drop_in = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    std::fs::rename(configured.path(&drop_in), configured.path("m/srv/mine.toml")).expect("moved");
    symlink("/srv/mine.toml", configured.path(&drop_in)).expect("a link");
    let (mut links, mut folders) = (0, 0);
    for n in 1.. {
        let machine = configured.copy();
        let json = ["unconfigure", "--format", "json"];
        let (code, stdout, injected) = under_strace(&machine, &json, &format!("unlinkat:error=EIO:when={n}"));
        if !injected {
            break;
        }
        let answer: Value = serde_json::from_str(&stdout).expect("JSON");
        let of = |key: &str| answer[key].as_array().unwrap_or_else(|| panic!("{n}: {stdout}")).clone();
        let kept: Vec<String> = of("kept").iter().map(|k| k["path"].as_str().expect("a path").to_owned()).collect();
        assert_eq!(code, Some(if kept.is_empty() { 0 } else { 13 }), "{n}: {stdout}");
        // Every removed file is reported.
        for file in ["/srv/mine.toml", "/etc/containerd/conf.d/50-kata-osinfo.toml"] {
            let is_reported = of("files").contains(&file.into()) || kept.iter().any(|path| path == file);
            assert!(is_reported || machine.path(&format!("m{file}")).exists(), "{n}: {stdout}");
        }
        links += usize::from(kept.contains(&drop_in[1..].to_owned()));
        folders += usize::from(kept.contains(&"/etc/containerd/conf.d".to_owned()));
        must(&machine, BACK);
        assert_eq!(machine.everything(), originally, "{n}");
    }
    assert!(links > 0 && folders > 0, "{links} {folders}");
}

/// A partial configuration would be in effect: files written before the failure are reverted, and that is reported.
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn a_configure_that_fails_midway_is_rolled_back() {
    assert_strace_runs();
    let json = |call: &'static [&'static str]| [call, &["--format", "json"]].concat();
    for (before, call) in [(None, EDIT), (None, DROP_IN), (Some(EDIT), MORE), (Some(DROP_IN), EDIT)] {
        let machine = machine();
        if let Some(before) = before {
            must(&machine, before);
        }
        let mut undone = 0;
        for (system_call, how) in [("renameat2", "error=EIO"), ("renameat", "error=EIO"), ("unlinkat", "error=EIO")] {
            for n in 1.. {
                let machine = machine.copy();
                let unchanged = machine.everything();
                let inject = format!("{system_call}:{how}:when={n}");
                let (code, stdout, injected) = under_strace(&machine, &json(call), &inject);
                if !injected {
                    break;
                }
                if code == Some(0) {
                    continue;
                }
                let answer: Value = serde_json::from_str(&stdout).expect("JSON");
                let message = answer["error"]["message"].as_str().expect("a text");
                if message.contains("nothing has changed") {
                    undone += 1;
                    assert_eq!(answer["error"]["kind"], "not-written");
                }
                let point = format!("{call:?} after {before:?}: {system_call} {n}: {message}");
                assert!(!message.contains("could not be restored"), "{point}");
                let leftover = |path: &PathBuf| path.to_string_lossy().contains("/.kata-osinfo.");
                let mut now = machine.everything();
                now.retain(|path, _| !leftover(path));
                assert_eq!(now, unchanged, "{point}");
            }
        }
        assert!(undone > 0, "{call:?} after {before:?}");
    }
}

#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn a_handler_that_cannot_be_removed_keeps_its_configuration() {
    assert_strace_runs();
    let machine = machine();
    let originally = machine.everything();
    must(&machine, EDIT);
    let (code, stdout, injected) = under_strace(&machine, BACK, "renameat2:error=EIO:when=1");
    assert!(injected && code == Some(13) && stdout.is_empty(), "{code:?}: {stdout}");
    assert!(machine.read(MAIN).contains("runtimes.kata]"), "{}", machine.read(MAIN));
    assert!(machine.path(&format!("m/{BASE}/config.d/50-kata-osinfo.toml")).exists());
    must(&machine, BACK);
    assert_eq!(machine.everything(), originally);
}

/// A temporary read error is not reported as "nothing to take back".
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn a_temporary_read_error_is_not_reported_as_nothing_configured() {
    assert_strace_runs();
    let configured = machine();
    let originally = configured.everything();
    must(&configured, EDIT);
    let mut failed = 0;
    for n in 1..=16 {
        let machine = configured.copy();
        let (code, _, injected) = under_strace(&machine, BACK, &format!("openat2:error=EMFILE:when={n}"));
        assert!(injected, "{n}");
        failed += usize::from(code != Some(0));
        assert!(code != Some(0) || machine.everything() == originally, "{n}: nothing was taken back");
        must(&machine, BACK);
        assert_eq!(machine.everything(), originally, "{n}");
    }
    assert!(failed > 4, "{failed}");
}

/// In either order of the concurrent calls: whatever `unconfigure` reports as taken back is gone.
#[test]
#[cfg_attr(lacks = "strace", ignore = "needs strace")]
fn unconfigure_during_a_first_configure_reverts_it_or_runs_before_it() {
    assert_strace_runs();
    for n in 1..=8 {
        let machine = machine();
        let originally = machine.everything();
        let (code, stdout, _) = std::thread::scope(|scope| {
            let back = scope.spawn(|| under_strace(&machine, BACK, &format!("openat2:delay_exit=500000:when={n}")));
            must(&machine, EDIT);
            back.join().expect("no panic")
        });
        let is_there = machine.path(STATE).exists();
        // Files without a state may be reported while the state is being written.
        assert!(code == Some(0) || code == Some(13) && stdout.is_empty(), "{n}: {code:?}");
        assert!(stdout.is_empty() || !is_there, "{n}: {stdout}");
        must(&machine, BACK);
        assert_eq!(machine.everything(), originally, "{n}");
    }
}

/// Runs eight calls concurrently, and then takes everything back.
fn run_concurrently(rounds: usize) {
    let calls = [EDIT, DROP_IN, OTHER, MORE];
    for round in 0..rounds {
        let machine = machine();
        let before = machine.everything();
        std::thread::scope(|scope| {
            let run = |i: usize| must(&machine, calls[(round + i * (round + 1)) % 4]);
            for i in 0..8 {
                scope.spawn(move || run(i));
            }
        });
        must(&machine, BACK);
        assert_eq!(machine.everything(), before, "round {round}");
    }
}

#[test]
fn eight_concurrent_calls_take_turns() {
    run_concurrently(2);
}

#[test]
#[ignore = "minutes"]
fn eight_concurrent_calls_take_turns_in_many_rounds() {
    run_concurrently(25);
}

#[test]
fn the_state_with_a_copy_of_a_private_file_is_private() {
    let machine = machine();
    // A state directory as an earlier version left it.
    machine.file("m/var/lib/kata-osinfo/x", "");
    std::fs::remove_file(machine.path("m/var/lib/kata-osinfo/x")).expect("removed");
    must(&machine, EDIT);
    let mode = |name: &str| std::fs::metadata(machine.path(name)).expect("there").permissions().mode() & 0o7777;
    assert!(machine.read(STATE).contains("S3CRET"));
    assert_eq!((mode(STATE), mode("m/var/lib/kata-osinfo"), mode(MAIN)), (0o600, 0o700, 0o600));
}

#[test]
fn an_edited_file_keeps_its_owner_mode_attributes_and_hard_links() {
    let machine = machine();
    let file = machine.path(MAIN);
    let is_root = std::os::unix::fs::chown(&file, Some(1234), Some(5678)).is_ok();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o4640)).expect("set");
    let note = |path: &Path| {
        let mut value = [0; 16];
        rustix::fs::getxattr(path, "user.note", &mut value).map(|n| value[..n].to_vec()).ok()
    };
    let noted = rustix::fs::setxattr(&file, "user.note", b"mine", rustix::fs::XattrFlags::empty()).is_ok();
    let attributes = || {
        let meta = std::fs::metadata(&file).expect("there");
        (meta.uid(), meta.gid(), meta.mode(), note(&file))
    };
    let before = (attributes(), machine.everything());
    for call in [EDIT, MORE, BACK] {
        must(&machine, call);
        assert_eq!(attributes(), before.0, "{call:?}");
    }
    assert_eq!(machine.everything(), before.1);
    assert!(!is_root || (before.0.0, before.0.1) == (1234, 5678));
    assert!(!noted || before.0.3.as_deref() == Some(b"mine"));
    // Removed by the admin, and restored by force.
    must(&machine, EDIT);
    std::fs::remove_file(&file).expect("removed");
    must(&machine, &["unconfigure", "--force"]);
    assert_eq!((attributes(), machine.everything()), before);
    // Two hard links stay one file.
    std::fs::hard_link(&file, machine.path("m/etc/hard")).expect("linked");
    let inode = std::fs::metadata(&file).expect("there").ino();
    for call in [EDIT, BACK] {
        must(&machine, call);
        assert_eq!(machine.read("m/etc/hard"), machine.read(MAIN));
        assert_eq!(std::fs::metadata(&file).expect("there").ino(), inode);
    }
}

const NVIDIA: &str = "\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia]\nruntime_type = \"io.containerd.runc.v2\" # theirs\n";

/// The handler that containerd needs next to any other runtime.
const RUNC: &str =
    "\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n";

#[test]
fn a_runtime_added_by_others_is_kept_by_every_call() {
    let machine = machine();
    let original = machine.read(MAIN);
    let before = machine.everything();
    must(&machine, EDIT);
    machine.file(MAIN, &(machine.read(MAIN) + NVIDIA));
    let with_both = machine.read(MAIN);
    for call in [EDIT, EDIT] {
        must(&machine, call);
        for runtime in ["runtimes.nvidia]", "runtimes.kata]"] {
            assert_eq!(machine.read(MAIN).matches(runtime).count(), 1, "{}", machine.read(MAIN));
        }
    }
    // Without `--handler`, kata-osinfo's handler is removed, and Kata's drop-in is written again.
    let copy = machine.copy();
    must(&copy, &["configure", "--profile", "go-3.29"]);
    assert_eq!(copy.read(MAIN), format!("{original}{RUNC}{NVIDIA}"));
    for force in [&["unconfigure"][..], &["unconfigure", "--force"]] {
        let copy = machine.copy();
        must(&copy, force);
        assert_eq!(copy.read(MAIN), format!("{original}{RUNC}{NVIDIA}"));
        copy.file(MAIN, &original);
        assert_eq!(copy.everything(), before);
    }
    assert_ne!(with_both, original);
}

#[test]
fn changed_files_are_reported_and_reverted_only_by_force() {
    let machine = machine();
    let before = machine.everything();
    must(&machine, EDIT);
    let changed =
        machine.read(MAIN).replace("privileged_without_host_devices = true", "privileged_without_host_devices = false");
    machine.file(MAIN, &changed);
    let drop_in = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    machine.file(&drop_in, &machine.read(&drop_in).replace("\"q35\"", "\"mine\""));
    let output = machine.run(&["unconfigure", "--format", "json"]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    let kept = output.json()["kept"].as_array().expect("a list").len();
    assert_eq!(kept, 2, "{}", output.stdout);
    let line = changed.lines().position(|l| l.contains("privileged_without")).expect("there") + 1;
    let how = format!("so none of it is reverted: put `privileged_without_host_devices` (line {line}) back to true");
    assert!(output.stderr.contains(&how), "{}", output.stderr);
    assert!(output.stderr.contains("50-kata-osinfo.toml is not fully reverted"), "{}", output.stderr);
    assert!(output.stderr.contains("unconfigure --force"), "{}", output.stderr);
    assert_eq!(machine.read(MAIN), changed);
    assert!(machine.read(&drop_in).contains("\"mine\""));
    // A changed drop-in is not overwritten without `--force`.
    assert_eq!(machine.run(EDIT).code, 2);
    must(&machine, &["unconfigure", "--force"]);
    assert_eq!(machine.everything(), before);
}

/// Part of a handler would not work, and other tools' keys are not lost silently.
#[test]
fn a_handler_with_an_added_key_is_removed_only_by_force() {
    let machine = machine();
    let before = machine.everything();
    must(&machine, EDIT);
    let changed = machine.read(MAIN).replace("runtime_path = ", "snapshotter = \"nydus\"\nruntime_path = ");
    machine.file(MAIN, &changed);
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    let line = changed.lines().position(|l| l.contains("snapshotter")).expect("there") + 1;
    let how = format!("so none of it is reverted: remove `snapshotter` (line {line}), which is new");
    assert!(output.stderr.contains(&how), "{}", output.stderr);
    assert_eq!(machine.read(MAIN), changed);
    let output = must(&machine, &["unconfigure", "--force"]);
    assert!(output.stderr.contains("snapshotter had been changed, and is reverted too"), "{}", output.stderr);
    assert_eq!(machine.everything(), before);
}

/// The admin's own tools have written the file from scratch, with the default runtime and nothing of kata-osinfo's.
#[test]
fn a_redeployed_file_is_left_unchanged() {
    let machine = machine();
    let redeployed = format!("{}{RUNC}", machine.read(MAIN));
    must(&machine, EDIT);
    machine.file(MAIN, &redeployed);
    must(&machine, BACK);
    assert_eq!(machine.read(MAIN), redeployed);
}

#[test]
fn unconfigure_succeeds_if_its_folder_was_replaced_by_a_file() {
    for call in [&["unconfigure"][..], &["unconfigure", "--force"]] {
        let machine = machine();
        let before = machine.everything();
        must(&machine, EDIT);
        let folder = machine.path(&format!("m/{BASE}/config.d"));
        std::fs::remove_dir_all(&folder).expect("removed");
        std::fs::write(&folder, "theirs").expect("written");
        must(&machine, call);
        assert_eq!(std::fs::read_to_string(&folder).expect("readable"), "theirs");
        std::fs::remove_file(&folder).expect("removed");
        assert_eq!(machine.everything(), before, "{call:?}");
    }
}

#[test]
fn older_state_formats_are_understood() {
    for form in [1, 2] {
        let machine = machine();
        let before = machine.everything();
        must(&machine, EDIT);
        let state: Value = serde_json::from_str(&machine.read(STATE)).expect("JSON");
        let mut state = state.as_object().expect("an object").clone();
        let configured = state.remove("configurations").expect("a list")[0].clone();
        for key in ["profile", "production", "notes"] {
            state.insert(key.to_owned(), configured[key].clone());
        }
        state.insert("version".to_owned(), form.into());
        for new in ["attributes", "earlier", "in_place"].iter().filter(|_| form == 1) {
            assert!(state.remove(*new).is_some(), "{new}");
        }
        machine.file(STATE, &Value::from(state).to_string());
        // The next configure replaces the handler, because both belong to the same configuration.
        let copy = machine.copy();
        must(&copy, &["configure", "--profile", "go-3.29"]);
        assert!(!copy.read(MAIN).contains("runtimes.kata"), "{}", copy.read(MAIN));
        for machine in [&machine, &copy] {
            must(machine, BACK);
            assert_eq!(machine.everything(), before);
        }
    }
}

/// Absolute links whose targets exist on this machine but not in the root.
#[test]
fn absolute_links_are_resolved_inside_the_root() {
    let outside = tempfile::tempdir().expect("a folder");
    let victim = outside.path().canonicalize().expect("a path");
    std::fs::write(victim.join("file"), "precious").expect("written");
    for name in ["containerd", "drop-ins", "empty"] {
        std::fs::create_dir(victim.join(name)).expect("made");
    }
    let machine = machine();
    symlink(victim.join("drop-ins"), machine.path(&format!("m/{BASE}/config.d"))).expect("a link");
    std::fs::remove_dir_all(machine.path("m/etc/containerd")).expect("removed");
    symlink(victim.join("containerd"), machine.path("m/etc/containerd")).expect("a link");
    let before = machine.everything();
    must(&machine, DROP_IN);
    let inside = machine.path("m").join(victim.strip_prefix("/").expect("absolute"));
    assert!(inside.join("drop-ins/50-kata-osinfo.toml").is_file() && inside.join("containerd/config.toml").is_file());
    must(&machine, BACK);
    assert_eq!(machine.everything(), before);
    // The state file itself.
    std::fs::create_dir_all(machine.path("m/var/lib/kata-osinfo")).expect("made");
    symlink(victim.join("file"), machine.path(STATE)).expect("a link");
    let output = machine.run(DROP_IN);
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains("configured.json"), "{}", output.stderr);
    // Directories that a forged state names.
    std::fs::remove_file(machine.path(STATE)).expect("removed");
    must(&machine, EDIT);
    let forged = |folder: PathBuf| {
        let mut state: Value = serde_json::from_str(&machine.read(STATE)).expect("JSON");
        state["directories"].as_array_mut().expect("a list").push(folder.display().to_string().into());
        let copy = machine.copy();
        copy.file(STATE, &state.to_string());
        copy.run(BACK).code
    };
    assert_eq!(
        forged(Path::new("/../../../../../..").join(victim.strip_prefix("/").expect("absolute")).join("empty")),
        2
    );
    assert_eq!(forged(victim.join("empty")), 0);
    assert_eq!(std::fs::read_to_string(victim.join("file")).expect("readable"), "precious");
    let found =
        ["", "containerd", "drop-ins", "empty"].map(|n| std::fs::read_dir(victim.join(n)).expect("there").count());
    assert_eq!(found, [4, 0, 0, 0]);
}

#[test]
fn a_full_output_device_causes_no_panic() {
    let machine = machine();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    for call in [&["configure", "--profile", "go-3.29", "--dry-run"][..], &["configure", "--profile", "nope"], BACK] {
        let status = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
            .args(["--records".as_ref(), machine.path("records").as_os_str()])
            .args(["--root".as_ref(), machine.path("m").as_os_str()])
            .args(call)
            .stdout(Stdio::null())
            .stderr(full())
            .status()
            .expect("it runs");
        assert!(matches!(status.code(), Some(0 | 2)), "{call:?}: {status}");
    }
    // Everything is done before the answer is printed.
    for (call, is_there) in [(DROP_IN, true), (BACK, false)] {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
            .args(["--records".as_ref(), machine.path("records").as_os_str()])
            .args(["--root".as_ref(), machine.path("m").as_os_str()])
            .args(call)
            .stdout(full())
            .output()
            .expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), machine.path(STATE).exists()), (Some(3), is_there), "{call:?}: {stderr}");
        assert!(stderr.contains("error: everything is done, but the answer could not be printed: "), "{stderr}");
    }
    let records = machine.path("records").display().to_string();
    for call in [&["list"][..], &["lint", &records, "--format", "json"], &["schema", "record"]] {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
            .args(["--records".as_ref(), machine.path("records").as_os_str()])
            .args(call)
            .stdout(full())
            .output()
            .expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(3), "{call:?}: {stderr}");
        assert!(stderr.contains("error: the answer could not be printed: "), "{call:?}: {stderr}");
    }
    let most = "18446744073709551615";
    for (option, seconds) in
        [("--timeout", most), ("--timeout", "31536001"), ("--timeout", "0"), ("--lock-timeout", most)]
    {
        let output = machine.run(&["install", option, seconds, "--dry-run"]);
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stderr.contains(option) && !output.stderr.contains("panicked"), "{}", output.stderr);
    }
    let output = machine.run(&with(&["configure", "--profile", "go-3.29"], &["--dry-run"]));
    assert_eq!(output.code, 0, "{}", output.stderr);
}
