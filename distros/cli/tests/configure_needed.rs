//! What of others needs our files, and so keeps them: a default handler, lines that nothing would read any more, comments.

mod machine;

use machine::{BASE, Machine};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::rename;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const GO: &[&str] = &["configure", "--profile", "go-3.29", "--kata-version", "3.30.0"];
const MAIN: &str = "m/etc/containerd/config.toml";
const CRIO: &str = "m/etc/crio/crio.conf.d/10-mine.conf";
const DROP_IN: &str = "m/etc/containerd/conf.d/50-kata-osinfo.toml";
const CONTAINERD: [&str; 2] = ["--handler", "containerd"];
const V3: &str = "[plugins.\"io.containerd.cri.v1.runtime\".containerd";
const V2: &str = "[plugins.\"io.containerd.grpc.v1.cri\".containerd";

fn call(machine: &Machine, call: &[&str], more: &[&str]) -> machine::Output {
    machine.run(&[call, more].concat())
}

/// All but the state, which may follow a link by now.
fn files(machine: &Machine) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut files = machine.everything();
    files.remove(Path::new("var/lib/kata-osinfo/configured.json"));
    files
}

/// Neither call takes anything back, and both say why; by force it goes, and what that costs is said.
fn stays(machine: &Machine, call_without: &[&[&str]], why: &str) {
    let configured = files(machine);
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    assert!(output.stderr.contains(why), "{}", output.stderr);
    assert!(output.stderr.contains("hint: `kata-osinfo unconfigure --force` takes that back"), "{}", output.stderr);
    assert_eq!(files(machine), configured);
    for without in call_without {
        let output = call(machine, GO, without);
        assert_eq!(output.code, 2, "{without:?}: {}", output.stderr);
        assert!(output.stderr.contains(" would go: ") && output.stderr.contains(why), "{}", output.stderr);
        assert_eq!(files(machine), configured);
    }
    let forced = machine.copy();
    let output = forced.run(&["unconfigure", "--force"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("warning: ") && output.stderr.contains(why), "{}", output.stderr);
    assert!(!forced.path("m/var/lib/kata-osinfo").exists());
}

#[test]
fn a_handler_that_containerd_takes_by_default_stays() {
    let glob = "imports = [\"/etc/containerd/conf.d/*.toml\"]\n";
    let default = |section: &str| format!("{section}]\ndefault_runtime_name = \"kata\"\n");
    let runc = format!("{V2}.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n");
    let cases = [
        ("2.1", "", format!("version = 3\n{glob}{}", default(V3)), 4),
        ("2.1", "", format!("version = 3\n{}", default(V3)), 3),
        ("1.7", "", format!("version = 2\n{}{runc}", default(V2)), 3),
        // In a drop-in of their own.
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
        stays(&machine, &[&[], &["--handler", "crio"]], &why);
        // With the handler it can be configured again.
        let again = call(&machine, GO, &of_version);
        assert_eq!(again.code, 0, "{version}: {}", again.stderr);
        assert_eq!(machine.told_by_check(), Vec::<String>::new());
        // Another one is named there first.
        machine.file(file, &machine.read(file).replace("_name = \"kata\"", "_name = \"runc\""));
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        if is_new {
            std::fs::remove_file(machine.path(file)).expect("removed");
            std::fs::remove_dir(machine.path("m/etc/containerd/conf.d")).expect("removed");
        }
        assert_eq!(machine.everything(), before);
    }
}

#[test]
fn a_handler_that_crio_takes_by_default_stays() {
    let machine = Machine::new();
    machine.file(CRIO, "[crio.runtime]\ndefault_runtime = \"runc\"\n");
    let before = machine.everything();
    assert_eq!(call(&machine, GO, &["--handler", "crio"]).code, 0);
    machine.file(CRIO, "[crio.runtime]\ndefault_runtime = \"kata\"\n");
    stays(&machine, &[&[], &CONTAINERD], "kata is CRI-O's default_runtime");
    assert_eq!(call(&machine, GO, &["--handler", "crio"]).code, 0);
    machine.file(CRIO, "[crio.runtime]\ndefault_runtime = \"runc\"\n");
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    assert_eq!(machine.everything(), before);
}

#[test]
fn lines_of_others_that_nothing_would_read_any_more_stay_where_they_are() {
    let mine = format!("\n{V3}.runtimes.mine]\nruntime_type = \"io.containerd.runc.v2\"\n");
    let machine = Machine::new();
    // Only our own import leads to our file.
    machine.file(MAIN, "version = 3\n");
    let with = ["--handler", "containerd", "--containerd-version", "2.1"];
    assert_eq!(call(&machine, GO, &with).code, 0);
    machine.file(DROP_IN, &format!("{}{mine}", machine.read(DROP_IN)));
    stays(&machine, &[&[], &with], "handler mine of /etc/containerd/conf.d/50-kata-osinfo.toml:");
    // They are in a file of the admin's now, as it says.
    machine.file("m/etc/containerd/mine.toml", &format!("version = 3\n{mine}"));
    let imports = "imports = [\"/etc/containerd/conf.d/50-kata-osinfo.toml\"";
    machine.file(MAIN, &machine.read(MAIN).replace(imports, &format!("{imports}, \"/etc/containerd/mine.toml\"")));
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let left = machine.read(MAIN);
    assert!(left.contains("\"/etc/containerd/mine.toml\"]") && !left.contains("50-kata-osinfo"), "{left}");
    // A link leads to our file, and another folder.
    let machine = Machine::new();
    machine.file(MAIN, "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
    assert_eq!(call(&machine, GO, &with).code, 0);
    machine.file("m/srv/there", "");
    rename(machine.path(DROP_IN), machine.path("m/srv/ours.toml")).expect("moved");
    symlink("../../../srv/ours.toml", machine.path(DROP_IN)).expect("a link");
    machine.file("m/srv/ours.toml", &format!("{}{mine}", machine.read("m/srv/ours.toml")));
    stays(&machine, &[&with], "handler mine of /etc/containerd/conf.d/50-kata-osinfo.toml:");
}

#[test]
fn lines_of_others_that_kata_would_not_read_any_more_stay_where_they_are() {
    let more = "\n[factory]\nenable_template = true\n";
    // A copy goes with its drop-ins.
    let machine = Machine::new();
    let other = "[hypervisor.clh]\npath = \"/clh\"\n\n[runtime]\nhypervisor_name = \"clh\"\n";
    machine.file(&format!("m/{BASE}/configuration-clh.toml"), other);
    let output = call(&machine, GO, &["--format", "json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let answer = output.json();
    let copy = answer["kata-config"]["path"].as_str().expect("a path");
    let folder = copy.rsplit_once('/').expect("a folder").0;
    assert!(folder.starts_with("/etc/kata-containers"), "{copy}");
    let ours = format!("m{folder}/config.d/50-kata-osinfo.toml");
    machine.file(&ours, &format!("{}{more}", machine.read(&ours)));
    stays(&machine, &[], "what others have added to it would have no effect any more (line ");
    // It can be configured again: the copy stays.
    let output = call(&machine, GO, &["--format", "json"]);
    assert_eq!((output.code, machine.told_by_check()), (0, Vec::new()), "{}", output.stderr);
    // A link leads to the drop-in.
    let machine = Machine::new();
    assert_eq!(call(&machine, GO, &[]).code, 0);
    let ours = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    machine.file("m/srv/there", "");
    rename(machine.path(&ours), machine.path("m/srv/ours.toml")).expect("moved");
    symlink("/srv/ours.toml", machine.path(&ours)).expect("a link");
    machine.file("m/srv/ours.toml", &format!("{}{more}", machine.read("m/srv/ours.toml")));
    stays(&machine, &[&[]], "what others have added to it would have no effect any more (line ");
}

/// A later file of theirs wins over what they have added to ours, as it did.
#[test]
fn what_moves_keeps_its_place_among_others() {
    let machine = Machine::new();
    assert_eq!(call(&machine, GO, &[]).code, 0);
    let folder = format!("m/{BASE}/config.d");
    let ours = format!("{folder}/50-kata-osinfo.toml");
    machine.file(&format!("{folder}/50-zz.toml"), "[hypervisor.qemu]\nenable_debug = false\n");
    machine.file(&ours, &format!("{}enable_debug = true\n", machine.read(&ours)));
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    let mut names: Vec<_> = std::fs::read_dir(machine.path(&folder)).expect("listed").collect();
    names.sort_by_key(|name| name.as_ref().expect("an entry").file_name());
    let names: Vec<_> = names.into_iter().map(|name| name.expect("an entry").file_name()).collect();
    assert_eq!(names, ["50-kata-osinfo-added.toml", "50-zz.toml"]);
}

#[test]
fn comments_of_others_stay_when_ours_goes() {
    for (version, main) in [("1.7", "# First.\nversion = 2\n"), ("2.1", "# First.\nversion = 3\n")] {
        let machine = Machine::new();
        machine.file(MAIN, main);
        let of_version = ["--handler", "containerd", "--containerd-version", version];
        assert_eq!(call(&machine, GO, &of_version).code, 0);
        let ours = machine.read(MAIN);
        let (above, key) = match version {
            "1.7" => ("runtime_path", "pod_annotations"),
            _ => ("imports", "imports"),
        };
        let lines = ours.lines().map(|line| {
            let above = if line.trim_start().starts_with(above) { "# Above.\n" } else { "" };
            let beside = if line.trim_start().starts_with(key) { " # Beside." } else { "" };
            format!("{above}{line}{beside}\n")
        });
        machine.file(MAIN, &(lines.collect::<String>() + "# Last.\n"));
        let changed = machine.read(MAIN);
        // The handler is written from scratch, and takes none of them along either.
        let again = machine.copy();
        let output = call(&again, &["configure", "--profile", "go-3.32", "--kata-version", "3.32.0"], &of_version);
        assert_eq!(output.code, 0, "{}", output.stderr);
        for comment in ["# First.", "# Above.", "# Beside.", "# Last."] {
            assert_eq!(again.read(MAIN).matches(comment).count(), 1, "{comment}: {}", again.read(MAIN));
        }
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(machine.read(MAIN), format!("{main}{}# Last.\n", left(&changed)), "{version}");
    }
}

/// The comments of the middle, each on a line of its own.
fn left(changed: &str) -> String {
    let comments = ["# Above.", "# Beside."].into_iter();
    comments.filter(|c| changed.contains(c)).map(|c| format!("{c}\n")).collect()
}

#[test]
fn a_changed_handler_that_stays_is_told() {
    let machine = Machine::new();
    machine.file(MAIN, "version = 2\n");
    assert_eq!(call(&machine, GO, &["--handler", "containerd", "--containerd-version", "1.7"]).code, 0);
    machine.file(MAIN, &machine.read(MAIN).replace("host_devices = true", "host_devices = false"));
    let changed = machine.read(MAIN);
    let output = call(&machine, GO, &["--format", "json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let told =
        "warning: /etc/containerd/config.toml stays: /etc/containerd/config.toml: others have changed the handler";
    assert!(output.stderr.contains(told), "{}", output.stderr);
    assert_eq!((machine.read(MAIN), &output.json()["taken-back"]), (changed, &json!([])));
}
