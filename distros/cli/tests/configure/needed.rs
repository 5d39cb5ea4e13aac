//! Content of others that depends on kata-osinfo's files and so keeps them: a default handler, lines that nothing would
//! read any more, comments.

use crate::machine::{BASE, Machine};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{create_dir, read, remove_dir, remove_file, rename, write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const GO: &[&str] = &["configure", "--profile", "go-3.29", "--kata-version", "3.30.0"];
const MAIN: &str = "m/etc/containerd/config.toml";
const CRIO: &str = "m/etc/crio/crio.conf.d/10-mine.conf";
const DROP_IN: &str = "m/etc/containerd/conf.d/50-kata-osinfo.toml";
const CONTAINERD: [&str; 4] = ["--handler", "containerd", "--containerd-version", "2.1"];
const V3: &str = "[plugins.\"io.containerd.cri.v1.runtime\".containerd";
const V2: &str = "[plugins.\"io.containerd.grpc.v1.cri\".containerd";

fn call(machine: &Machine, call: &[&str], more: &[&str]) -> crate::machine::Output {
    machine.run(&[call, more].concat())
}

/// Returns all files but the state, which may follow a link by now.
fn files(machine: &Machine) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut files = machine.everything();
    files.remove(Path::new("var/lib/kata-osinfo/configured.json"));
    files
}

/// Checks that neither call takes anything back, and both say why; `--force` removes it and reports the consequences.
fn assert_kept(machine: &Machine, call_without: &[&[&str]], why: &str) {
    let configured = files(machine);
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    assert!(output.stderr.contains(why), "{}", output.stderr);
    assert!(output.stderr.contains("hint: `kata-osinfo unconfigure --force` also reverts what"), "{}", output.stderr);
    assert_eq!(files(machine), configured);
    for without in call_without {
        let output = call(machine, GO, without);
        assert_eq!(output.code, 2, "{without:?}: {}", output.stderr);
        assert!(output.stderr.contains(" would be removed: ") && output.stderr.contains(why), "{}", output.stderr);
        let is_advised = output.stderr.contains("; --handler keeps it");
        assert!(!is_advised || without.is_empty(), "it is given: {}", output.stderr);
        assert_eq!(files(machine), configured);
    }
    let forced = machine.copy();
    let output = forced.run(&["unconfigure", "--force"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("warning: ") && output.stderr.contains(why), "{}", output.stderr);
    assert!(!forced.path("m/var/lib/kata-osinfo").exists());
}

#[test]
fn the_default_handler_of_containerd_is_removed_only_by_force() {
    let glob = "imports = [\"/etc/containerd/conf.d/*.toml\"]\n";
    let default = |section: &str| format!("{section}]\ndefault_runtime_name = \"kata\"\n");
    let runc = format!("{V2}.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n");
    let cases = [
        ("2.1", "", format!("version = 3\n{glob}{}", default(V3)), 4),
        ("2.1", "", format!("version = 3\n{}", default(V3)), 3),
        ("1.7", "", format!("version = 2\n{}{runc}", default(V2)), 3),
        // In a drop-in of the admin's.
        ("2.1", "m/etc/containerd/conf.d/10-mine.toml", format!("version = 3\n{}", default(V3)), 3),
    ];
    for (version, file, text, line) in cases {
        let machine = Machine::new();
        let of_version = ["--handler", "containerd", "--containerd-version", version];
        machine.file(MAIN, &text.replace("\"kata\"", "\"runc\""));
        if !file.is_empty() {
            machine.file(MAIN, &format!("version = 3\n{glob}"));
        }
        let before = machine.everything();
        assert_eq!(call(&machine, GO, &of_version).code, 0);
        let file = if file.is_empty() { MAIN } else { file };
        let is_new = !machine.path(file).exists();
        let now = if is_new { text.replace("\"kata\"", "\"runc\"") } else { machine.read(file) };
        machine.file(file, &now.replace("_name = \"runc\"", "_name = \"kata\""));
        let line = if file == MAIN && now.contains("50-kata-osinfo.toml\"]") { line + 1 } else { line };
        let why = format!("{}:{line} makes kata containerd's default handler", &file[1..]);
        assert_kept(&machine, &[&[], &["--handler", "crio"]], &why);
        // With the handler, Kata can be configured again.
        let again = call(&machine, GO, &of_version);
        assert_eq!(again.code, 0, "{version}: {}", again.stderr);
        assert_eq!(machine.check_findings(), Vec::<String>::new());
        // Taking back works once the admin names another default.
        machine.file(file, &machine.read(file).replace("_name = \"kata\"", "_name = \"runc\""));
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        if is_new {
            remove_file(machine.path(file)).expect("removed");
            remove_dir(machine.path("m/etc/containerd/conf.d")).expect("removed");
        }
        assert_eq!(machine.everything(), before);
    }
}

/// containerd has `runc` before `configure`, even if another handler is named as its default.
#[test]
fn runc_is_added_if_kata_was_already_named_as_the_default() {
    let main = format!("version = 2\n{V2}]\ndefault_runtime_name = \"kata\"\n");
    let (machine, with) = configured("1.7", &main);
    assert!(machine.read(MAIN).contains("runtimes.runc]"), "{}", machine.read(MAIN));
    let output = call(&machine, GO, &with.each_ref().map(String::as_str));
    let expected = "warning: the handler runc is written to /etc/containerd/config.toml as well: ";
    assert!(output.code == 0 && output.stderr.contains(expected), "{}", output.stderr);
    assert_eq!(machine.check_findings(), Vec::<String>::new());
    assert_kept(&machine, &[&[]], "/etc/containerd/config.toml:3 makes kata containerd's default handler");
    assert_eq!(machine.run(&["unconfigure", "--force"]).code, 0);
    assert_eq!(machine.read(MAIN), main);
}

#[test]
fn the_default_runtime_in_the_k3s_config_counts_before_a_restart() {
    let folder = "/var/lib/rancher/k3s/agent/etc/containerd";
    let config = "m/etc/rancher/k3s/config.yaml";
    let machine = Machine::new();
    let main = format!("version = 3\nimports = [\"{folder}/config-v3.toml.d/*.toml\"]\n");
    machine.file(&format!("m{folder}/config.toml"), &main);
    machine.file(config, "default-runtime: runc\n");
    let with = ["--handler", "containerd", "--containerd-version", "2.1"];
    assert_eq!(call(&machine, GO, &with).code, 0);
    machine.file(config, "default-runtime: kata\n");
    assert_kept(&machine, &[&[]], "/etc/rancher/k3s/config.yaml makes kata containerd's default handler");
    assert_eq!(call(&machine, GO, &with).code, 0);
    // The last file counts.
    machine.file(&format!("{config}.d/10-mine.yaml"), "default-runtime: runc\n");
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[test]
fn the_default_handler_of_crio_is_removed_only_by_force() {
    let machine = Machine::new();
    machine.file(CRIO, "[crio.runtime]\ndefault_runtime = \"runc\"\n");
    let before = machine.everything();
    assert_eq!(call(&machine, GO, &["--handler", "crio"]).code, 0);
    machine.file(CRIO, "[crio.runtime]\ndefault_runtime = \"kata\"\n");
    assert_kept(&machine, &[&[], &CONTAINERD], "10-mine.conf:2 makes kata CRI-O's default_runtime");
    assert_eq!(call(&machine, GO, &["--handler", "crio"]).code, 0);
    machine.file(CRIO, "[crio.runtime]\ndefault_runtime = \"runc\"\n");
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    assert_eq!(machine.everything(), before);
}

#[test]
fn lines_of_others_that_containerd_would_not_read_are_not_moved() {
    let mine = format!("\n{V3}.runtimes.mine]\nruntime_type = \"io.containerd.runc.v2\"\n");
    let with = ["--handler", "containerd", "--containerd-version", "2.1"];
    // A link from another directory leads to kata-osinfo's file.
    let machine = Machine::new();
    machine.file(MAIN, "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
    assert_eq!(call(&machine, GO, &with).code, 0);
    machine.file("m/srv/there", "");
    rename(machine.path(DROP_IN), machine.path("m/srv/ours.toml")).expect("moved");
    symlink("../../../srv/ours.toml", machine.path(DROP_IN)).expect("a link");
    machine.file("m/srv/ours.toml", &format!("{}{mine}", machine.read("m/srv/ours.toml")));
    assert_kept(&machine, &[&with], "handler mine of /etc/containerd/conf.d/50-kata-osinfo.toml:");
}

/// Only kata-osinfo's import refers to its file: the file to which the admin's lines move is imported, too, and nothing
/// is lost.
#[test]
fn lines_of_others_in_a_drop_in_imported_by_name_stay_imported() {
    let mine = format!("\n{V3}.runtimes.mine]\nruntime_type = \"io.containerd.runc.v2\"\n");
    let added = "/etc/containerd/conf.d/50-kata-osinfo-added.toml";
    for before in ["version = 3\n", "version = 3\nimports = [\n  \"/etc/containerd/a.toml\", # mine\n]\n", ""] {
        let machine = Machine::new();
        machine.file("m/etc/containerd/a.toml", "version = 3\n");
        match before {
            "" => {}
            text => machine.file(MAIN, text),
        }
        let with = ["--handler", "containerd", "--containerd-version", "2.1"];
        assert_eq!(call(&machine, GO, &with).code, 0);
        let (written, main) = (machine.read(DROP_IN), machine.read(MAIN));
        machine.file(DROP_IN, &format!("{written}{mine}"));
        let changed = files(&machine);
        let expected = format!(
            " is kept in {added}, which kata-osinfo leaves alone (imported by /etc/containerd/config.toml): line "
        );
        for dry in [&["unconfigure", "--dry-run"][..], [GO, &with[..], &["--dry-run"]].concat().as_slice()] {
            let output = machine.run(dry);
            assert!(output.code == 0 && output.stderr.contains(&expected), "{}: {}", output.code, output.stderr);
            let mut new = output.stdout.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++"));
            assert!(new.any(|line| line.contains(added)), "{}", output.stdout);
            assert_eq!(files(&machine), changed);
        }
        // Whether taken back, reconfigured with another handler, or forced: the move is reported, and the admin's lines
        // stay imported.
        let assert_moved = |machine: &Machine| {
            assert!(machine.read(&format!("m{added}")).ends_with(&format!("\nversion = 3\n{mine}")));
            let main = machine.read(MAIN);
            assert!(main.contains(added) && !main.contains("50-kata-osinfo.toml"), "{main}");
            assert_eq!(main.contains("\"/etc/containerd/a.toml\", # mine\n"), before.contains("# mine"), "{main}");
            assert!(!machine.path(DROP_IN).exists());
        };
        let to_crio = [GO, &["--handler", "crio"][..]].concat();
        for back in [&["unconfigure"][..], &["unconfigure", "--force"][..], GO, to_crio.as_slice()] {
            let machine = machine.copy();
            let output = machine.run(back);
            assert!(output.code == 0 && output.stderr.contains(&expected), "{back:?}: {}", output.stderr);
            assert_moved(&machine);
        }
        // The diff is relative to the text before the call.
        let output = machine.copy().run(&["unconfigure", "--format", "json"]);
        let diff = output.json()["diff"].as_str().expect("a diff").to_owned();
        let mut lines = main.lines().filter(|line| line.contains("50-kata-osinfo.toml"));
        assert!(lines.all(|line| diff.contains(&format!("\n-{line}\n"))), "{diff}");
        // After another configure: kata-osinfo's file is unchanged, the admin's is imported after it, and stays when
        // the former is removed.
        let output = call(&machine, GO, &with);
        assert!(output.code == 0 && output.stderr.contains(&expected), "{}", output.stderr);
        let import = "\"/etc/containerd/conf.d/50-kata-osinfo.toml\"";
        assert_eq!(machine.read(DROP_IN), written);
        assert_ne!(machine.read(MAIN), main);
        assert!(machine.read(MAIN).contains(import) && machine.read(MAIN).contains(added), "{}", machine.read(MAIN));
        assert_eq!(machine.check_findings(), Vec::<String>::new());
        let once = files(&machine);
        assert_eq!((call(&machine, GO, &with).code, files(&machine)), (0, once));
        let without = machine.copy();
        assert_eq!(machine.run(&["unconfigure"]).code, 0);
        assert_moved(&machine);
        // If the admin's file is deleted, its import is removed: containerd would not start.
        remove_file(without.path(&format!("m{added}"))).expect("removed");
        for back in [&["unconfigure"][..], [GO, &with[..]].concat().as_slice()] {
            let machine = without.copy();
            let output = machine.run(back);
            assert_eq!(output.code, 0, "{}", output.stderr);
            assert!(!machine.read(MAIN).contains(added), "{}", machine.read(MAIN));
        }
    }
}

#[test]
fn lines_of_others_that_kata_would_not_read_are_not_moved() {
    let more = "\n[factory]\nenable_template = true\n";
    // A copy is removed with its drop-ins.
    let machine = Machine::new();
    let other = "[hypervisor.clh]\npath = \"/clh\"\n\n[runtime]\nhypervisor_name = \"clh\"\n";
    machine.file(&format!("m/{BASE}/configuration-clh.toml"), other);
    let output = call(&machine, GO, &["--format", "json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let answer = output.json();
    let copy = answer["kata-config"]["path"].as_str().expect("a path");
    let folder = copy.rsplit_once('/').expect("a folder").0;
    assert!(folder.starts_with("/etc/kata-containers"), "{copy}");
    let drop_in = format!("m{folder}/config.d/50-kata-osinfo.toml");
    machine.file(&drop_in, &format!("{}{more}", machine.read(&drop_in)));
    assert_kept(&machine, &[], "50-kata-osinfo.toml would have no effect any more (line ");
    // Kata can be configured again: the copy stays.
    let output = call(&machine, GO, &["--format", "json"]);
    assert_eq!((output.code, machine.check_findings()), (0, Vec::new()), "{}", output.stderr);
    // A link leads to the drop-in.
    let machine = Machine::new();
    assert_eq!(call(&machine, GO, &[]).code, 0);
    let drop_in = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    machine.file("m/srv/there", "");
    rename(machine.path(&drop_in), machine.path("m/srv/ours.toml")).expect("moved");
    symlink("/srv/ours.toml", machine.path(&drop_in)).expect("a link");
    machine.file("m/srv/ours.toml", &format!("{}{more}", machine.read("m/srv/ours.toml")));
    assert_kept(&machine, &[&[]], "/srv/ours.toml would have no effect any more (line ");
}

/// A later file of the admin's still overrides the lines that the admin added to kata-osinfo's file.
#[test]
fn moved_lines_keep_their_place_in_the_drop_in_order() {
    let machine = Machine::new();
    assert_eq!(call(&machine, GO, &[]).code, 0);
    let folder = format!("m/{BASE}/config.d");
    let drop_in = format!("{folder}/50-kata-osinfo.toml");
    machine.file(&format!("{folder}/50-zz.toml"), "[hypervisor.qemu]\nenable_debug = false\n");
    machine.file(&drop_in, &format!("{}enable_debug = true\n", machine.read(&drop_in)));
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    let mut names: Vec<_> = std::fs::read_dir(machine.path(&folder)).expect("listed").collect();
    names.sort_by_key(|name| name.as_ref().expect("an entry").file_name());
    let names: Vec<_> = names.into_iter().map(|name| name.expect("an entry").file_name()).collect();
    assert_eq!(names, ["50-kata-osinfo-added.toml", "50-zz.toml"]);
}

#[test]
fn comments_of_others_are_kept_when_the_handler_is_removed() {
    for (version, main) in [("1.7", "# First.\nversion = 2\n"), ("2.1", "# First.\nversion = 3\n")] {
        let machine = Machine::new();
        machine.file(MAIN, main);
        let of_version = ["--handler", "containerd", "--containerd-version", version];
        assert_eq!(call(&machine, GO, &of_version).code, 0);
        let written = machine.read(MAIN);
        let (above, key) = match version {
            "1.7" => ("runtime_path", "pod_annotations"),
            _ => ("imports", "imports"),
        };
        let lines = written.lines().map(|line| {
            let above = if line.trim_start().starts_with(above) { "# Above.\n" } else { "" };
            let beside = if line.trim_start().starts_with(key) { " # Beside." } else { "" };
            format!("{above}{line}{beside}\n")
        });
        machine.file(MAIN, &(lines.collect::<String>() + "# Last.\n"));
        let changed = machine.read(MAIN);
        // The handler is written from scratch, without these comments.
        let again = machine.copy();
        let output = call(&again, &["configure", "--profile", "go-3.32", "--kata-version", "3.32.0"], &of_version);
        assert_eq!(output.code, 0, "{}", output.stderr);
        for comment in ["# First.", "# Above.", "# Beside.", "# Last."] {
            assert_eq!(again.read(MAIN).matches(comment).count(), 1, "{comment}: {}", again.read(MAIN));
        }
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(machine.read(MAIN), format!("{main}{}# Last.\n", comments_of_the_middle(&changed)), "{version}");
    }
}

/// Returns the comments in the middle, each on a line of its own.
fn comments_of_the_middle(changed: &str) -> String {
    let comments = ["# Above.", "# Beside."].into_iter();
    comments.filter(|c| changed.contains(c)).map(|c| format!("{c}\n")).collect()
}

#[test]
fn a_changed_handler_that_is_kept_is_reported() {
    let machine = Machine::new();
    machine.file(MAIN, "version = 2\n");
    assert_eq!(call(&machine, GO, &["--handler", "containerd", "--containerd-version", "1.7"]).code, 0);
    machine.file(MAIN, &machine.read(MAIN).replace("host_devices = true", "host_devices = false"));
    let changed = machine.read(MAIN);
    let output = call(&machine, GO, &["--format", "json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let expected =
        "warning: /etc/containerd/config.toml is kept: /etc/containerd/config.toml: the handler was changed after";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    assert_eq!((machine.read(MAIN), &output.json()["taken-back"]), (changed, &json!([])));
}

/// Creates a machine whose containerd has this main file, and configures it for the version.
fn configured(version: &str, main: &str) -> (Machine, [String; 4]) {
    let machine = Machine::new();
    machine.file(MAIN, main);
    let with = ["--handler", "containerd", "--containerd-version", version].map(str::to_owned);
    assert_eq!(call(&machine, GO, &with.each_ref().map(String::as_str)).code, 0);
    (machine, with)
}

#[test]
fn the_handler_in_an_invalid_main_file_stays_recorded() {
    let (machine, _) = configured("1.7", "version = 2\n");
    let sound = machine.read(MAIN);
    machine.file(MAIN, &format!("{sound}[broken\n"));
    for call_ in [&[][..], &["--handler", "crio"]] {
        let machine = machine.copy();
        let output = call(&machine, GO, call_);
        assert_eq!(output.code, 0, "{}", output.stderr);
        let expected = "warning: /etc/containerd/config.toml is kept: /etc/containerd/config.toml is no longer valid";
        assert!(output.stderr.contains(expected) && output.stderr.contains("line 1"), "{}", output.stderr);
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 13, "{}", output.stderr);
        assert!(
            output.stderr.contains("it is no longer valid TOML") && output.stderr.contains("line 1"),
            "{}",
            output.stderr
        );
        machine.file(MAIN, &sound);
        assert_eq!(machine.run(&["unconfigure"]).code, 0);
        assert_eq!(machine.read(MAIN), "version = 2\n");
    }
}

/// A non-UTF-8 byte in a comment, which containerd ignores, locks nobody out, and only a whole configuration is
/// removed.
#[test]
fn a_handler_in_an_unreadable_file_keeps_its_configuration() {
    let of_kata = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    let (machine, _) = configured("1.7", "version = 2\n");
    let sound = machine.read(MAIN);
    let odd = [sound.as_bytes(), b"# caf\xe9\n"].concat();
    write(machine.path(MAIN), &odd).expect("written");
    let findings = machine.check_findings();
    assert!(
        findings.iter().any(|t| t.starts_with("/etc/containerd/config.toml: it is not UTF-8 text")),
        "{findings:?}"
    );
    let output = call(&machine, GO, &[]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("warning: /etc/containerd/config.toml is kept: "), "{}", output.stderr);
    assert_eq!(read(machine.path(MAIN)).expect("readable"), odd);
    let folder = |machine: &Machine| {
        remove_file(machine.path(MAIN)).expect("removed");
        create_dir(machine.path(MAIN)).expect("made");
    };
    type Edit<'a> = &'a dyn Fn(&Machine);
    let others: [(&str, Edit<'_>); 3] = [
        ("bytes", &|_| {}),
        ("no TOML", &|machine| machine.file(MAIN, &format!("{sound}[broken\n"))),
        ("a folder", &folder),
    ];
    for (name, make) in others {
        let machine = machine.copy();
        make(&machine);
        let before = files(&machine);
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 13, "{name}: {}", output.stderr);
        let expected = "it belongs to the handler in /etc/containerd/config.toml, which is not reverted";
        assert!(output.stderr.contains(expected), "{name}: {}", output.stderr);
        assert!(machine.path(&of_kata).exists(), "{name}");
        assert_eq!(files(&machine), before, "{name}");
        if machine.path(MAIN).is_dir() {
            remove_dir(machine.path(MAIN)).expect("removed");
        }
        machine.file(MAIN, &sound);
        assert_eq!(machine.run(&["unconfigure"]).code, 0, "{name}");
        assert_eq!((machine.read(MAIN).as_str(), machine.path(&of_kata).exists()), ("version = 2\n", false), "{name}");
    }
}

#[test]
fn a_kept_handler_keeps_its_import_and_its_configuration() {
    let (machine, _) = configured("2.1", "version = 3\n");
    let key = "snapshotter = \"devmapper\"\nprivileged_without";
    machine.file(DROP_IN, &machine.read(DROP_IN).replace("privileged_without", key));
    let changed = files(&machine);
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, files(&machine) == changed), (13, true), "{}", output.stderr);
    for more in [&[][..], &["--handler", "crio"]] {
        let machine = machine.copy();
        let output = call(&machine, GO, more);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(output.stderr.contains("50-kata-osinfo.toml is kept: "), "{}", output.stderr);
        assert!(machine.read(MAIN).contains("conf.d/50-kata-osinfo.toml"), "{}", machine.read(MAIN));
        // The file still counts as a handler.
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 13, "{}", output.stderr);
        assert!(machine.read(MAIN).contains("conf.d/50-kata-osinfo.toml"), "{}", machine.read(MAIN));
    }
    // In a main file, next to the default.
    let main = format!("version = 2\n{V2}.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n");
    let (machine, _) = configured("1.7", &main);
    machine.file(MAIN, &machine.read(MAIN).replace("privileged_without", key));
    let changed = files(&machine);
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, files(&machine) == changed), (13, true), "{}", output.stderr);
}

#[test]
fn a_default_handler_is_found_in_a_named_file_and_next_to_broken_ones() {
    let of_main = |main: &str, version: &str| {
        let machine = Machine::new();
        let runc = format!("{V2}.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n");
        machine.file(&format!("m{main}"), &format!("version = 2\n{runc}"));
        let with = ["--handler", "containerd", "--containerd-version", version, "--containerd-config", main];
        assert_eq!(call(&machine, GO, &with).code, 0);
        let path = format!("m{main}");
        machine.file(&path, &format!("{}{V2}]\ndefault_runtime_name = \"kata\"\n", machine.read(&path)));
        machine
    };
    for version in ["1.7", "2.1"] {
        let machine = of_main("/srv/c/config.toml", version);
        assert_kept(&machine, &[&[]], "makes kata containerd's default handler");
        let machine = of_main("/etc/containerd/config.toml", version);
        let text = machine.read(MAIN);
        let broken = match text.contains("imports = [") {
            true => text.replace("imports = [", "imports = [\"/etc/containerd/gone.toml\", "),
            false => format!("imports = [\"/etc/containerd/gone.toml\"]\n{text}"),
        };
        machine.file(MAIN, &broken);
        assert_kept(&machine, &[&[]], "makes kata containerd's default handler");
    }
    let machine = Machine::new();
    machine.file(CRIO, "[crio.runtime]\ndefault_runtime = \"runc\"\n");
    assert_eq!(call(&machine, GO, &["--handler", "crio"]).code, 0);
    machine.file(CRIO, "[crio.runtime]\ndefault_runtime = \"kata\"\n");
    machine.file("m/etc/crio/crio.conf.d/20-broken.conf", "[broken\n");
    assert_kept(&machine, &[&[]], "/etc/crio/crio.conf.d/10-mine.conf:2 makes kata CRI-O's default_runtime");
}

#[test]
fn a_default_in_the_drop_in_is_moved_and_keeps_the_handler() {
    let glob = "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n";
    let (machine, with) = configured("2.1", glob);
    machine.file(DROP_IN, &format!("{}\n{V3}]\ndefault_runtime_name = \"kata\"\n", machine.read(DROP_IN)));
    assert_kept(&machine, &[&[]], "makes kata containerd's default handler");
    let output = call(&machine, GO, &with.each_ref().map(String::as_str));
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(machine.read("m/etc/containerd/conf.d/50-kata-osinfo-added.toml").contains("default_runtime_name"));
    assert_eq!(machine.check_findings(), Vec::<String>::new());
    assert_kept(&machine, &[&[]], "50-kata-osinfo-added.toml:");
}

#[test]
fn reconfiguring_for_a_newer_containerd_can_be_reverted() {
    let main = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"x\"\n";
    let (machine, _) = configured("1.7", main);
    let output = call(&machine, GO, &["--handler", "containerd", "--containerd-version", "2.1"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    assert_eq!(machine.read(MAIN), main);
}

#[test]
fn a_config_copy_is_kept_for_drop_ins_of_others_but_not_for_comments() {
    let with_copy = || {
        let machine = Machine::new();
        let other = "[hypervisor.clh]\npath = \"/clh\"\n\n[runtime]\nhypervisor_name = \"clh\"\n";
        machine.file(&format!("m/{BASE}/configuration-clh.toml"), other);
        let output = call(&machine, GO, &["--format", "json"]);
        let answer = output.json();
        let copy = answer["kata-config"]["path"].as_str().expect("a path").to_owned();
        (machine, format!("m{}/config.d", copy.rsplit_once('/').expect("a folder").0))
    };
    let (machine, folder) = with_copy();
    machine.file(&format!("{folder}/60-mine.toml"), "[factory]\nenable_template = true\n");
    assert_kept(&machine, &[], "/config.d/60-mine.toml would have no effect any more");
    // The other configuration is gone, and with it the reason for a copy.
    remove_file(machine.path(&format!("m/{BASE}/configuration-clh.toml"))).expect("removed");
    let output = call(&machine, GO, &[]);
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains("/config.d/60-mine.toml would have no effect any more"), "{}", output.stderr);
    let (machine, folder) = with_copy();
    machine.file(&format!("{folder}/60-mine.toml"), "# mine\n");
    let drop_in = format!("{folder}/50-kata-osinfo.toml");
    machine.file(&drop_in, &format!("{}# mine\n", machine.read(&drop_in)));
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[test]
fn lines_that_nothing_reads_do_not_block_unconfigure() {
    let machine = Machine::new();
    assert_eq!(call(&machine, GO, &[]).code, 0);
    let drop_in = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    machine.file(&drop_in, &format!("{}\n[factory]\nenable_template = true\n", machine.read(&drop_in)));
    for name in ["configuration.toml", "configuration-qemu.toml"] {
        remove_file(machine.path(&format!("m/{BASE}/{name}"))).expect("removed");
    }
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[test]
fn containerd_settings_in_the_drop_in_move_to_an_imported_file() {
    let (machine, _) = configured("2.1", "version = 3\n");
    machine.file(DROP_IN, &format!("root = \"/data\"\n{}\n[debug]\nlevel = \"debug\"\n", machine.read(DROP_IN)));
    let rest = machine.read(DROP_IN).lines().skip(1).collect::<Vec<_>>().join("\n");
    let first = "# Written by kata-osinfo; `kata-osinfo unconfigure` removes it.\nroot = \"/data\"\n";
    machine.file(DROP_IN, &format!("{first}{}", rest.split_once('\n').expect("lines").1));
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    let added = machine.read("m/etc/containerd/conf.d/50-kata-osinfo-added.toml");
    assert!(added.contains("root = \"/data\"\n") && added.contains("\n[debug]\nlevel = \"debug\"\n"), "{added}");
    assert!(machine.read(MAIN).contains("50-kata-osinfo-added.toml\"]"), "{}", machine.read(MAIN));
}

#[test]
fn a_default_named_in_a_broken_file_keeps_the_handler() {
    let glob = "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n";
    let (machine, _) = configured("2.1", &format!("{glob}{V3}]\ndefault_runtime_name = \"kata\"\n"));
    machine.file(MAIN, &format!("{}[broken\n", machine.read(MAIN)));
    let changed = files(&machine);
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, files(&machine) == changed), (13, true), "{}", output.stderr);
    assert!(output.stderr.contains("config.toml:4 makes kata containerd's default handler"), "{}", output.stderr);
    let machine = Machine::new();
    machine.file("m/etc/crio/crio.conf", "");
    assert_eq!(call(&machine, GO, &["--handler", "crio"]).code, 0);
    machine.file("m/etc/crio/crio.conf", "[crio.runtime]\ndefault_runtime = \"kata\"\n[broken\n");
    assert_kept(&machine, &[], "/etc/crio/crio.conf:2 makes kata CRI-O's default_runtime");
}

#[test]
fn a_partial_handler_is_not_left_behind() {
    let main = format!("version = 2\n{V2}.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n");
    let (machine, with) = configured("1.7", &main);
    let key = "snapshotter = \"overlayfs\"\nprivileged_without";
    machine.file(MAIN, &machine.read(MAIN).replace("privileged_without", key));
    let with = with.each_ref().map(String::as_str);
    assert_eq!(call(&machine, GO, &with).code, 0);
    let whole = machine.read(MAIN);
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, machine.read(MAIN)), (13, whole), "{}", output.stderr);
    let why = "would be left of the handler kata, which could not start anything: remove that first";
    assert!(output.stderr.contains(why), "{}", output.stderr);
    // `--force` removes the handler as a whole, and names what is removed with it.
    let output = machine.run(&["unconfigure", "--force"]);
    assert_eq!((output.code, machine.read(MAIN)), (0, main), "{}", output.stderr);
    assert!(output.stderr.contains("kata.snapshotter had been changed, and is reverted too"), "{}", output.stderr);
    // A file of the admin's with one key of the handler, next to kata-osinfo's.
    let glob = "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n";
    let (machine, _) = configured("2.1", &format!("{glob}{V3}]\ndefault_runtime_name = \"kata\"\n"));
    let mine = format!("version = 3\n{V3}.runtimes.kata]\nsnapshotter = \"overlayfs\"\n");
    machine.file("m/etc/containerd/conf.d/60-mine.toml", &mine);
    assert_kept(&machine, &[&[]], "makes kata containerd's default handler");
}

/// Others' lines would be lost with the broken file.
#[test]
fn force_does_not_replace_an_invalid_file_with_its_old_text() {
    let (machine, _) = configured("1.7", "version = 2\n");
    machine.file(MAIN, &format!("{}[debug]\nlevel = \"debug\"\n[broken\n", machine.read(MAIN)));
    let changed = machine.read(MAIN);
    let output = machine.run(&["unconfigure", "--force"]);
    assert_eq!((output.code, machine.read(MAIN)), (13, changed), "{}", output.stderr);
    assert!(
        output.stderr.contains("it is no longer valid TOML") && output.stderr.contains("fix the file"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_drop_in_replaced_by_a_link_is_removed_with_its_target() {
    let machine = Machine::new();
    assert_eq!(call(&machine, GO, &[]).code, 0);
    let drop_in = machine.path(&format!("m/{BASE}/config.d/50-kata-osinfo.toml"));
    machine.file("m/srv/there", "");
    rename(&drop_in, machine.path("m/srv/mine.toml")).expect("moved");
    symlink("/srv/mine.toml", &drop_in).expect("a link");
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    assert!(drop_in.symlink_metadata().is_err() && !machine.path("m/srv/mine.toml").exists());
}

/// A link is removed with its drop-in, whatever its name and whichever call removes the drop-in: Kata, containerd and
/// CRI-O do not start with a dangling link.
#[test]
fn links_to_drop_ins_are_removed_with_them() {
    let crio = ["--handler", "crio"];
    for (handler, folder, name) in [
        (&CONTAINERD[..], "etc/containerd/conf.d", "50-kata-osinfo.toml"),
        (&crio, "etc/crio/crio.conf.d", "50-kata-osinfo.conf"),
    ] {
        let kata = format!("{BASE}/config.d");
        let machine = Machine::new();
        machine.file(MAIN, "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
        assert_eq!(call(&machine, GO, handler).code, 0);
        let links = [(folder, name), (kata.as_str(), "50-kata-osinfo.toml")]
            .map(|(folder, name)| (machine.path(&format!("m/{folder}/10-link.toml")), name));
        for (link, name) in &links {
            symlink(name, link).expect("a link");
        }
        symlink("/nowhere", machine.path("m/etc/theirs")).expect("a link");
        let without = machine.copy();
        assert_eq!(call(&without, GO, &[]).code, 0);
        let of_handler = without.path(&format!("m/{folder}/10-link.toml"));
        assert!(of_handler.symlink_metadata().is_err(), "{handler:?}");
        let of_kata = without.path(&format!("m/{kata}/10-link.toml"));
        assert!(of_kata.exists(), "{handler:?}");
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(links.iter().all(|(link, _)| link.symlink_metadata().is_err()), "{handler:?}");
        assert!(machine.path("m/etc/theirs").symlink_metadata().is_ok());
    }
}

/// Even if a changed key of the handler comes first in the order of keys.
#[test]
fn force_keeps_added_crio_settings() {
    let machine = Machine::new();
    assert_eq!(call(&machine, GO, &["--handler", "crio"]).code, 0);
    let drop_in = "m/etc/crio/crio.conf.d/50-kata-osinfo.conf";
    let edited = machine.read(drop_in).replace("\"vm\"", "\"oci\"") + "[crio.stats]\ncollection_period = 10\n";
    machine.file(drop_in, &edited);
    let output = machine.run(&["unconfigure", "--force"]);
    assert!(output.code == 0 && !output.stderr.contains("no effect"), "{}", output.stderr);
    assert!(!machine.path(drop_in).exists());
    let added = machine.read("m/etc/crio/crio.conf.d/50-kata-osinfo-added.conf");
    assert!(added.contains("collection_period = 10") && !added.contains("kata]"), "{added}");
}

#[test]
fn reports_about_settings_of_others_contain_no_secrets() {
    let handler = format!("{V2}.runtimes.kata]\nruntime_type = \"x\"\nmy_token = \"hunter2\"\n");
    let machine = Machine::new();
    machine.file(MAIN, &format!("version = 2\n{handler}"));
    let with = ["--handler", "containerd", "--containerd-version", "1.7", "--format", "json"];
    let output = call(&machine, GO, &with);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("my_token of ") && !output.stderr.contains("hunter2"), "{}", output.stderr);
    assert!(!output.stdout.contains("hunter2"), "{}", output.stdout);
}
