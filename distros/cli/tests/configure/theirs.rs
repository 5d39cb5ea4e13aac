//! Values that an admin has set or that were configured before: kept, extended, or reported with file and line.

use crate::machine::{BASE, KATA, Machine};
use serde_json::{Value, json};

const GO: &[&str] = &["configure", "--profile", "go-3.29", "--kata-version", "3.30.0"];
const RS: &[&str] = &["configure", "--profile", "rs-4.0", "--kata-version", "4.0.0"];

fn call(machine: &Machine, call: &[&str], more: &[&str]) -> crate::machine::Output {
    machine.run(&[call, more].concat())
}

fn drop_in(machine: &Machine) -> String {
    machine.read(&format!("m/{BASE}/config.d/50-kata-osinfo.toml"))
}

/// Returns each drop-in that is entirely kata-osinfo's, with the arguments that make `configure` write it.
fn our_drop_ins() -> [(String, &'static [&'static str]); 3] {
    [
        (format!("m/{BASE}/config.d/50-kata-osinfo.toml"), &[]),
        (
            "m/etc/containerd/conf.d/50-kata-osinfo.toml".to_owned(),
            &["--handler", "containerd", "--containerd-version", "2.1"],
        ),
        ("m/etc/crio/crio.conf.d/50-kata-osinfo.conf".to_owned(), &["--handler", "crio"]),
    ]
}

/// Returns the answer's entries for a key: file, line, fate, previous and new value.
fn entries_for(answer: &Value, key: &str) -> Vec<Value> {
    let all = answer["theirs"].as_array().expect("a list");
    let of_key = all.iter().filter(|t| t["key"].as_str().expect("a key").ends_with(key));
    of_key.map(|t| json!([t["file"], t["line"], t["fate"], t["was"], t["ours"]])).collect()
}

/// Creates a machine with an admin's values in Kata's main file and in an earlier drop-in.
fn admins() -> Machine {
    let machine = Machine::new();
    let main = KATA
        .replace("virtio_fs_extra_args = [\n  \"--a\", # first\n]\n", "virtio_fs_cache = \"always\"\n")
        .replace("machine_type = \"q35\"\n", "valid_hypervisor_paths = [\"/opt/mine\"]\n");
    machine.file(&format!("m/{BASE}/configuration-qemu.toml"), &main);
    let mine = "[hypervisor.qemu]\n# Package managers want it.\nvirtio_fs_extra_args = [\"--thread-pool-size=1\", \"-o\", \"announce_submounts\", \"--xattr\"]\n\n[agent.kata]\ndial_timeout = 900\n";
    machine.file(&format!("m/{BASE}/config.d/10-mine.toml"), mine);
    machine
}

#[test]
fn values_set_by_an_admin_are_kept_extended_or_reported() {
    let machine = admins();
    let before = machine.everything();
    let main = format!("/{BASE}/configuration-qemu.toml");
    let mine = format!("/{BASE}/config.d/10-mine.toml");
    let dry = call(&machine, GO, &["--emulated", "--dry-run"]);
    assert_eq!((dry.code, machine.everything() == before), (0, true), "{}", dry.stderr);
    let output = call(&machine, GO, &["--emulated", "--format", "json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let answer = output.json();
    assert_eq!(
        entries_for(&answer, ".path"),
        [json!([main, 4, "overridden", "/opt/kata/bin/qemu", "/usr/libexec/qemu-kvm"])]
    );
    assert_eq!(entries_for(&answer, ".shared_fs"), [json!([main, 11, "overridden", "virtio-9p", "virtio-fs"])]);
    let paths = json!(["/opt/mine", "/usr/libexec/qemu-kvm"]);
    assert_eq!(entries_for(&answer, "valid_hypervisor_paths"), [json!([main, 8, "extended", ["/opt/mine"], paths])]);
    assert_eq!(entries_for(&answer, "virtio_fs_cache"), [json!([main, 12, "kept", "always", "auto"])]);
    let theirs = json!(["--thread-pool-size=1", "-o", "announce_submounts", "--xattr"]);
    let ours = json!(["--thread-pool-size=1", "--announce-submounts"]);
    assert_eq!(entries_for(&answer, "virtio_fs_extra_args"), [json!([mine, 3, "kept", theirs, ours])]);
    assert_eq!(entries_for(&answer, "dial_timeout"), [json!([mine, 6, "kept", 900, 300])]);
    for stderr in [&dry.stderr, &output.stderr] {
        for line in [
            format!("note: overrides hypervisor.qemu.path of {main}:4: \"/opt/kata/bin/qemu\" becomes "),
            format!("note: keeps hypervisor.qemu.virtio_fs_cache of {main}:12: \"always\", where \"auto\" is what"),
            format!("note: extends hypervisor.qemu.valid_hypervisor_paths of {main}:8: "),
        ] {
            assert!(stderr.contains(&line), "{line}: {stderr}");
        }
    }
    let written = drop_in(&machine);
    for key in ["virtio_fs_cache", "virtio_fs_extra_args", "dial_timeout"] {
        assert!(!written.contains(&format!("\n{key} =")), "{written}");
    }
    assert!(written.contains("valid_hypervisor_paths = [\"/opt/mine\", \"/usr/libexec/qemu-kvm\"]"), "{written}");
    // A second call gives the same answer, and everything can be taken back.
    assert_eq!(call(&machine, GO, &["--emulated", "--format", "json"]).json()["theirs"], answer["theirs"]);
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    assert_eq!(machine.everything(), before);
}

#[test]
fn before_kata_2_5_admin_values_in_the_kata_config_are_kept() {
    let machine = admins();
    let output =
        call(&machine, &["configure", "--profile", "go-2.4", "--kata-version", "2.4.0"], &["--format", "json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let file = machine.read(&format!("m/{BASE}/configuration-qemu.toml"));
    assert!(file.contains("virtio_fs_cache = \"always\"\n"), "{file}");
    assert!(file.contains("valid_hypervisor_paths = [\"/opt/mine\", \"/usr/libexec/qemu-kvm\"]\n"), "{file}");
    assert_eq!(entries_for(&output.json(), "virtio_fs_cache").len(), 1);
}

#[test]
fn a_cache_mode_that_kata_refuses_is_overridden() {
    let machine = admins();
    let main = format!("m/{BASE}/configuration-qemu.toml");
    machine.file(&main, &machine.read(&main).replace("\"always\"", "\"none\""));
    let fates = |call_: &[&str]| {
        let output = call(&machine, call_, &["--dry-run", "--format", "json"]);
        entries_for(&output.json(), "virtio_fs_cache").iter().map(|t| t[2].clone()).collect::<Vec<_>>()
    };
    assert_eq!(fates(GO), ["overridden"]);
    assert_eq!(fates(&["configure", "--profile", "go-3.1", "--kata-version", "3.1.0"]), ["kept"]);
}

#[test]
fn a_dax_window_is_reported() {
    let machine = admins();
    let drop_in = format!("m/{BASE}/config.d/20-dax.toml");
    machine.file(&drop_in, "[hypervisor.qemu]\nvirtio_fs_cache_size = 1024\n");
    let output = call(&machine, GO, &[]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    let place = format!("{}:2: hypervisor.qemu.virtio_fs_cache_size is 1024", drop_in.trim_start_matches('m'));
    assert!(output.stderr.contains(&place), "{}", output.stderr);
    machine.file(&drop_in, "[hypervisor.qemu]\nvirtio_fs_cache_size = 0\n");
    assert_eq!(call(&machine, GO, &[]).code, 0);
}

#[test]
fn sandbox_cgroup_only_is_set_for_kata_before_3_0_on_cgroup_v2() {
    let machine = Machine::new();
    let old = ["configure", "--profile", "go-2.5", "--kata-version", "2.5.0"];
    assert!(!call(&machine, &old, &["--dry-run"]).stdout.contains("sandbox_cgroup_only"));
    machine.file("m/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
    assert!(call(&machine, &old, &["--dry-run"]).stdout.contains("+sandbox_cgroup_only = true\n"));
    assert!(!call(&machine, GO, &["--dry-run"]).stdout.contains("sandbox_cgroup_only"));
    machine.file(&format!("m/{BASE}/config.d/10"), "[runtime]\nsandbox_cgroup_only = true\n");
    assert!(!call(&machine, &old, &["--dry-run"]).stdout.contains("sandbox_cgroup_only"));
}

const MAIN: &str = "m/etc/containerd/config.toml";
const CONTAINERD: &str = "\
version = 2
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.kata]
  runtime_type = \"io.containerd.kata-qemu.v2\"
  privileged_without_host_devices = false
  pod_annotations = [\"my.org/*\"] # ours
  snapshotter = \"devmapper\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
  runtime_type = \"io.containerd.runc.v2\"
";

#[test]
fn a_handler_of_the_admin_is_extended_and_reported() {
    for version in ["1.7", "2.1"] {
        let machine = Machine::new();
        machine.file(MAIN, CONTAINERD);
        let before = machine.everything();
        let arguments = ["--handler", "containerd", "--containerd-version", version, "--format", "json"];
        let output = call(&machine, GO, &arguments);
        assert_eq!(output.code, 0, "{version}: {}", output.stderr);
        let answer = output.json();
        let file = "/etc/containerd/config.toml";
        let both = json!(["my.org/*", "io.katacontainers.*"]);
        assert_eq!(entries_for(&answer, "pod_annotations"), [json!([file, 5, "extended", ["my.org/*"], both])]);
        assert_eq!(entries_for(&answer, "privileged_without_host_devices"), [json!([file, 4, "kept", false, true])]);
        assert_eq!(
            entries_for(&answer, "runtime_type"),
            [json!([file, 3, "overridden", "io.containerd.kata-qemu.v2", "io.containerd.kata.v2"])]
        );
        assert!(output.stderr.contains("note: overrides handler kata: runtime_type of /etc/containerd/config.toml:3"));
        assert!(machine.read(MAIN).contains("snapshotter = \"devmapper\""));
        if version == "1.7" {
            assert!(machine.read(MAIN).contains("[\"my.org/*\", \"io.katacontainers.*\"] # ours"));
        }
        // Reported again with the current line, which an import of kata-osinfo's above it may have shifted.
        let above = u64::from(version == "2.1");
        let mut expected = answer["theirs"].clone();
        for value in expected.as_array_mut().expect("a list").iter_mut().filter(|value| value["file"] == file) {
            value["line"] = json!(value["line"].as_u64().expect("a line") + above);
        }
        assert_eq!(call(&machine, GO, &arguments).json()["theirs"], expected);
        let third = machine.read(MAIN).lines().nth(2).expect("a line").to_owned();
        assert_eq!(third.contains("runtime_type"), version == "1.7", "{third}");
        assert_eq!(machine.run(&["unconfigure"]).code, 0);
        assert_eq!(machine.everything(), before);
    }
}

#[test]
fn a_crio_handler_repeats_the_values_of_an_earlier_one() {
    let machine = Machine::new();
    let earlier = "[crio.runtime.runtimes.kata]\nruntime_path = \"/mine\"\nallowed_annotations = [\"a\"]\nprivileged_without_host_devices = false\n[crio.runtime.runtimes.kata.default_annotations]\nb = \"c\"\n";
    machine.file("m/etc/crio/crio.conf.d/10-mine.conf", earlier);
    let output = call(&machine, GO, &["--handler", "crio", "--format", "json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let answer = output.json();
    let file = "/etc/crio/crio.conf.d/10-mine.conf";
    let shim = "/opt/kata/bin/containerd-shim-kata-v2";
    assert_eq!(entries_for(&answer, "runtime_path"), [json!([file, 2, "overridden", "/mine", shim])]);
    assert_eq!(entries_for(&answer, "privileged_without_host_devices"), [json!([file, 4, "kept", false, true])]);
    let written = machine.read("m/etc/crio/crio.conf.d/50-kata-osinfo.conf");
    for line in ["allowed_annotations = [\"a\"]", "runtime_type = \"vm\"", "b = \"c\"", "devices = false"] {
        assert!(written.contains(line), "{written}");
    }
}

#[test]
fn a_foreign_file_with_a_drop_in_name_is_replaced_only_by_force() {
    let of_kata = format!("{BASE}/config.d/50-kata-osinfo.toml");
    let cases: [(&str, &str, &[&str]); 3] = [
        (&of_kata, "[hypervisor.qemu]\nenable_debug = true\n", &[]),
        (
            "etc/containerd/conf.d/50-kata-osinfo.toml",
            "version = 3\n",
            &["--handler", "containerd", "--containerd-version", "2.1"],
        ),
        ("etc/crio/crio.conf.d/50-kata-osinfo.conf", "[crio]\n", &["--handler", "crio"]),
    ];
    for (path, text, handler) in cases {
        let machine = Machine::new();
        machine.file(&format!("m/{path}"), text);
        let before = machine.everything();
        for more in [&[][..], &["--dry-run"]] {
            let output = call(&machine, GO, &[handler, more].concat());
            assert_eq!(output.code, 2, "{path}: {}", output.stderr);
            assert!(
                output.stderr.contains(&format!("error: /{path} was not written by kata-osinfo")),
                "{}",
                output.stderr
            );
            assert_eq!(machine.everything(), before, "{path}");
        }
        let output = call(&machine, GO, &[handler, &["--force"]].concat());
        assert_eq!(output.code, 0, "{path}: {}", output.stderr);
        assert!(output.stderr.contains(&format!("warning: /{path} was not written by")), "{}", output.stderr);
        assert_ne!(machine.read(&format!("m/{path}")), text);
        // The file is now kata-osinfo's.
        let output = call(&machine, GO, handler);
        assert_eq!(output.code, 0, "{path}: {}", output.stderr);
        assert_eq!(machine.run(&["unconfigure"]).code, 0);
        assert_eq!(machine.everything(), before, "{path}");
    }
}

/// Neither call is locked out by an addition, and nothing of it is lost.
#[test]
fn additions_to_the_kata_drop_in_move_to_a_separate_file() {
    let machine = Machine::new();
    let before = machine.everything();
    assert_eq!(call(&machine, GO, &[]).code, 0);
    let written = drop_in(&machine);
    let file = format!("{BASE}/config.d/50-kata-osinfo.toml");
    let moved = format!("{BASE}/config.d/50-kata-osinfo-added.toml");
    // An addition to the last table.
    machine.file(&format!("m/{file}"), &format!("{written}# for support\nenable_debug = true\n"));
    let changed = machine.everything();
    let expected = format!("what others added to /{file} is kept in /{moved}, which kata-osinfo leaves alone: line ");
    let dry = call(&machine, GO, &["--dry-run"]);
    assert!(
        dry.code == 0 && dry.stderr.contains(&expected) && dry.stdout.contains("+enable_debug = true"),
        "{}",
        dry.stderr
    );
    let dry = machine.run(&["unconfigure", "--dry-run"]);
    assert!(
        dry.code == 0 && dry.stderr.contains(&expected) && dry.stdout.contains("+enable_debug = true"),
        "{}",
        dry.stderr
    );
    assert_eq!(machine.everything(), changed);
    let added = "[hypervisor.qemu]\n# for support\nenable_debug = true\n";
    for force in [&["unconfigure"][..], &["unconfigure", "--force"]] {
        let machine = machine.copy();
        let output = machine.run(force);
        assert!(output.code == 0 && output.stderr.contains(&expected), "{}", output.stderr);
        assert!(machine.read(&format!("m/{moved}")).ends_with(added), "{}", machine.read(&format!("m/{moved}")));
        std::fs::remove_dir_all(machine.path(&format!("m/{BASE}/config.d"))).expect("removed");
        assert_eq!(machine.everything(), before);
    }
    let output = call(&machine, GO, &[]);
    assert!(output.code == 0 && output.stderr.contains(&format!("warning: {expected}")), "{}", output.stderr);
    assert!(output.stdout.contains(&format!("/{moved}\n")), "{}", output.stdout);
    assert_eq!(drop_in(&machine), written);
    assert!(machine.read(&format!("m/{moved}")).ends_with(added));
    assert_eq!(machine.check_findings(), Vec::<String>::new());
    let again = call(&machine, GO, &["--format", "json"]);
    assert_eq!((again.code, &again.json()["diff"]), (0, &json!("")), "{}", again.stderr);
    // The file is the admin's.
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    assert!(machine.read(&format!("m/{moved}")).ends_with(added));
    assert!(!machine.path(&format!("m/{file}")).exists());
}

/// `unix2dos`, and editors that put a byte order mark before a text.
#[test]
fn drop_ins_with_crlf_or_a_byte_order_mark_are_recognised() {
    for (file, handler) in &our_drop_ins() {
        for mark in ["", "\u{feff}"] {
            let machine = Machine::new();
            machine.file(MAIN, "version = 3\n");
            let before = machine.everything();
            assert_eq!(call(&machine, GO, handler).code, 0);
            let written = machine.read(file);
            machine.file(file, &format!("{mark}{}", written.replace('\n', "\r\n")));
            let again = machine.copy();
            let output = call(&again, GO, handler);
            assert_eq!((output.code, again.read(file)), (0, written), "{file}: {}", output.stderr);
            assert_eq!(again.check_findings(), Vec::<String>::new());
            let output = machine.run(&["unconfigure"]);
            assert_eq!((output.code, machine.everything() == before), (0, true), "{file}: {}", output.stderr);
        }
    }
}

#[test]
fn a_byte_order_mark_in_a_file_to_edit_is_reported_with_its_line() {
    let machine = Machine::new();
    machine.file(MAIN, "\u{feff}version = 2\n");
    let with = ["--handler", "containerd", "--containerd-version", "1.7"];
    let output = call(&machine, GO, &with);
    assert_eq!(output.code, 13, "{}", output.stderr);
    assert!(output.stderr.contains("config.toml: line 1 begins with a byte order mark: save"), "{}", output.stderr);
    machine.file(MAIN, "version = 2\n");
    assert_eq!(call(&machine, GO, &with).code, 0);
    machine.file(MAIN, &format!("\u{feff}{}", machine.read(MAIN)));
    let marked = machine.read(MAIN);
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, machine.read(MAIN)), (13, marked), "{}", output.stderr);
    assert!(output.stderr.contains("line 1 begins with a byte order mark"), "{}", output.stderr);
    // Before there were drop-ins: Kata's own file.
    let machine = Machine::new();
    machine.file(&format!("m/{BASE}/configuration-qemu.toml"), &format!("\u{feff}{KATA}"));
    let output = machine.run(&["configure", "--profile", "go-2.4", "--kata-version", "2.4.0"]);
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains("-qemu.toml: line 1 begins with a byte order mark"), "{}", output.stderr);
}

/// An emptied file has no content of anybody's; a comment is somebody's.
#[test]
fn an_emptied_drop_in_does_not_block_later_calls() {
    for (file, handler) in &our_drop_ins() {
        let machine = Machine::new();
        machine.file(MAIN, "version = 3\n");
        let before = machine.everything();
        assert_eq!(call(&machine, GO, handler).code, 0);
        let written = machine.read(file);
        for text in ["", "\n", " \t\r\n\n", "\u{feff}"] {
            let machine = machine.copy();
            machine.file(file, text);
            let again = machine.copy();
            let output = call(&again, GO, handler);
            assert_eq!((output.code, again.read(file) == written), (0, true), "{file} {text:?}: {}", output.stderr);
            for machine in [machine, again] {
                let output = machine.run(&["unconfigure"]);
                assert_eq!(
                    (output.code, machine.everything() == before),
                    (0, true),
                    "{file} {text:?}: {}",
                    output.stderr
                );
            }
        }
        let off = "\n# off\n";
        machine.file(file, off);
        assert_eq!(call(&machine, GO, handler).code, 2, "{file}");
        assert_eq!(machine.run(&["unconfigure"]).code, 13, "{file}");
        assert_eq!(machine.read(file), off, "{file}");
    }
}

/// The list's values are unchanged.
#[test]
fn a_comment_in_a_drop_in_list_moves_to_a_separate_file() {
    let machine = Machine::new();
    assert_eq!(call(&machine, GO, &[]).code, 0);
    let written = drop_in(&machine);
    let file = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    let moved = format!("m/{BASE}/config.d/50-kata-osinfo-added.toml");
    assert!(written.contains(" = [\""), "{written}");
    machine.file(&file, &written.replacen(" = [\"", " = [ # why\n  \"", 1));
    for call in [GO, &["unconfigure"]] {
        let machine = machine.copy();
        let output = machine.run(call);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(machine.read(&moved).ends_with("alone.\n# why\n"), "{}", machine.read(&moved));
        assert_eq!(machine.path(&file).exists().then(|| machine.read(&file)), (call == GO).then(|| written.clone()));
    }
}

#[test]
fn a_changed_drop_in_is_reported_with_a_remedy() {
    let machine = Machine::new();
    assert_eq!(call(&machine, GO, &[]).code, 0);
    let written = drop_in(&machine);
    let file = format!("{BASE}/config.d/50-kata-osinfo.toml");
    machine.file(&format!("m/{file}"), &written.replace("\"q35\"", "\"mine\""));
    let changed = machine.everything();
    for (call, code) in [(GO, 2), (&["unconfigure"][..], 13)] {
        let output = machine.run(call);
        assert_eq!(output.code, code, "{}", output.stderr);
        assert!(
            output.stderr.contains("` is new): undo the change, and put your own settings into a file that is"),
            "{}",
            output.stderr
        );
        assert!(output.stderr.contains(&format!("such as /{BASE}/config.d/60-local.toml")));
        assert!(output.stderr.contains("`machine_type = \"mine\"` is new"), "{}", output.stderr);
        assert_eq!(machine.everything(), changed);
    }
    // Following the hint.
    machine.file(&format!("m/{BASE}/config.d/60-local.toml"), "[hypervisor.qemu]\nmachine_type = \"mine\"\n");
    std::fs::remove_file(machine.path(&format!("m/{file}"))).expect("removed");
    let output = call(&machine, GO, &[]);
    assert!(output.code == 13 && output.stderr.contains("60-local.toml:2: "), "{}", output.stderr);
}

/// The addition moves to a file that containerd reads, but only if it makes sense without kata-osinfo's handler.
#[test]
fn additions_to_the_containerd_drop_in_move_to_an_imported_file() {
    let arguments = ["--handler", "containerd", "--containerd-version", "2.1"];
    let table = "[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.";
    let mine = format!("\n{table}mine]\nruntime_type = \"io.containerd.runc.v2\"\n");
    let half = format!("\n{table}kata.more]\nx = 1\n");
    let (glob, single) = ("version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n", "version = 3\n");
    for (main, added, moves) in [(glob, &mine, true), (single, &mine, true), (glob, &half, false)] {
        let machine = Machine::new();
        machine.file(MAIN, main);
        assert_eq!(call(&machine, GO, &arguments).code, 0);
        let file = "m/etc/containerd/conf.d/50-kata-osinfo.toml";
        let written = machine.read(file);
        machine.file(file, &format!("{written}{added}"));
        let changed = machine.everything();
        let output = call(&machine, GO, &arguments);
        assert_eq!(output.code, if moves { 0 } else { 2 }, "{main}{added}: {}", output.stderr);
        let moved = "m/etc/containerd/conf.d/50-kata-osinfo-added.toml";
        if moves {
            assert!(output.stderr.contains(&moved[1..]), "{}", output.stderr);
            assert!(machine.read(moved).ends_with(&format!("\nversion = 3\n{added}")), "{}", machine.read(moved));
            assert_eq!(machine.read(file), written);
            assert_eq!(machine.check_findings(), Vec::<String>::new());
            assert_eq!(call(&machine, GO, &[&arguments[..], &["--format", "json"]].concat()).json()["diff"], json!(""));
        } else {
            assert!(output.stderr.contains("was changed after"), "{}", output.stderr);
            assert_eq!(machine.everything(), changed);
        }
    }
}

/// containerd 2 itself writes single quotes, and editors may insert additions at the top.
#[test]
fn additions_to_a_drop_in_move_in_any_toml_spelling() {
    let arguments = ["--handler", "containerd", "--containerd-version", "2.1"];
    let section = "io.containerd.cri.v1.runtime";
    let value = "runtime_type = \"io.containerd.runc.v2\"";
    let (file, moved) =
        ("m/etc/containerd/conf.d/50-kata-osinfo.toml", "m/etc/containerd/conf.d/50-kata-osinfo-added.toml");
    for (head, tail) in [
        ("", format!("\n[plugins.'{section}'.containerd.runtimes.mine]\n{value}\n")),
        ("", format!("\n[ plugins . \"{section}\" . containerd . runtimes . mine ]\n{value}\n")),
        ("", format!("\n[plugins.\"{section}\".containerd.runtimes]\nmine.{value}\n")),
        ("", format!("\n[plugins.'{section}'.containerd.runtimes]\nmine = {{ {value} }}\n")),
        ("# mine\n", String::new()),
        ("oom_score = -5 # mine\n", String::new()),
    ] {
        let edited = Machine::new();
        edited.file(MAIN, "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
        assert_eq!(call(&edited, GO, &arguments).code, 0);
        let written = edited.read(file);
        edited.file(file, &format!("{head}{written}{tail}"));
        for back in [None, Some(&["unconfigure"][..]), Some(&["unconfigure", "--force"][..])] {
            let machine = edited.copy();
            let output = back.map_or_else(|| call(&machine, GO, &arguments), |back| machine.run(back));
            assert_eq!(output.code, 0, "{head}{tail} {back:?}: {}", output.stderr);
            assert_eq!(machine.read(moved).matches("mine").count(), 1, "{back:?}: {}", machine.read(moved));
            match back {
                None => assert_eq!(machine.read(file), written),
                Some(_) => assert!(!machine.path(file).exists()),
            }
        }
    }
}

/// The admin's changes of kata-osinfo's keys are removed by `--force`, as `configure` itself says, and nothing else is.
#[test]
fn force_discards_changes_but_keeps_additions() {
    let table = "[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.mine]";
    let mine = format!("\n{table}\nruntime_type = \"io.containerd.runc.v2\"\n");
    let of_kata = format!("{BASE}/config.d/50-kata-osinfo");
    let of_containerd = "etc/containerd/conf.d/50-kata-osinfo";
    let none: &[&str] = &[];
    let handler: &[&str] = &["--handler", "containerd", "--containerd-version", "2.1"];
    let devices = ("privileged_without_host_devices = true", "privileged_without_host_devices = false");
    let debug = "# for support\nenable_debug = true\n";
    let kata = (of_kata.as_str(), none, ("\"q35\"", "\"mine\""), debug, "\n[hypervisor.qemu]\n");
    let containerd = (of_containerd, handler, devices, mine.as_str(), "\nversion = 3\n");
    let (glob, single) = ("version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n", "version = 3\n");
    for (main, (name, more, (was, is), added, head)) in [(single, kata), (glob, containerd), (single, containerd)] {
        let machine = Machine::new();
        machine.file(MAIN, main);
        assert_eq!(call(&machine, GO, more).code, 0);
        let (file, moved) = (format!("m/{name}.toml"), format!("m/{name}-added.toml"));
        let written = machine.read(&file);
        assert!(written.contains(was), "{written}");
        machine.file(&file, &format!("{}{added}", written.replace(was, is)));
        let changed = machine.everything();
        for (call_, code) in [([GO, more].concat(), 2), (vec!["unconfigure"], 13)] {
            let copy = machine.copy();
            assert_eq!((copy.run(&call_).code, copy.everything() == changed), (code, true), "{name}: {call_:?}");
        }
        for call_ in [[GO, more, &["--force"]].concat(), vec!["unconfigure", "--force"]] {
            let dry = machine.run(&[&call_[..], &["--dry-run"]].concat());
            assert_eq!((dry.code, machine.everything() == changed), (0, true), "{name}: {}", dry.stderr);
            let machine = machine.copy();
            let output = machine.run(&call_);
            assert_eq!(output.code, 0, "{name}: {call_:?}: {}", output.stderr);
            for stderr in [&dry.stderr, &output.stderr] {
                let expected = format!("warning: --force discards others' changes to /{name}.toml (");
                let addition_note = format!("; what they added is kept in /{name}-added.toml\n");
                assert!(stderr.contains(&expected) && stderr.contains(&addition_note), "{stderr}");
            }
            assert!(machine.read(&moved).ends_with(&format!("{head}{added}")), "{}", machine.read(&moved));
            let is_configured = call_[0] == "configure";
            assert_eq!(
                machine.path(&file).exists().then(|| machine.read(&file)),
                is_configured.then(|| written.clone())
            );
            if is_configured {
                assert_eq!(machine.check_findings(), Vec::<String>::new());
            }
            assert_eq!(machine.run(&["unconfigure"]).code, 0);
            assert!(!machine.path(&file).exists() && machine.path(&moved).exists());
        }
    }
}

/// Creates a machine with both runtimes of Kata's release side by side.
fn both() -> Machine {
    let machine = Machine::new();
    machine.file(&format!("m/{BASE}/runtime-rs/configuration.toml"), KATA);
    machine.file("m/opt/kata/runtime-rs/bin/containerd-shim-kata-v2", "");
    machine.file(MAIN, "version = 2\n");
    machine
}

#[test]
fn each_runtime_keeps_its_own_configuration() {
    let machine = both();
    let before = machine.everything();
    let go = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    let rs = format!("m/{BASE}/runtime-rs/config.d/50-kata-osinfo.toml");
    assert_eq!(call(&machine, GO, &[]).code, 0);
    let of_go = machine.read(&go);
    let output = call(&machine, RS, &[]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(!output.stderr.contains("these settings are replaced"), "{}", output.stderr);
    assert_eq!(machine.read(&go), of_go);
    assert!(machine.path(&rs).exists());
    // The Go runtime again, under another profile, which is reported; the Rust runtime's stays.
    let other = call(&machine, &["configure", "--profile", "go-3.32", "--kata-version", "3.32.0"], &[]);
    assert_eq!(other.code, 0, "{}", other.stderr);
    assert!(
        other.stderr.contains("configured for go-3.29: these settings are replaced by those for go-3.32"),
        "{}",
        other.stderr
    );
    assert!(machine.path(&rs).exists() && machine.read(&go).contains("profile go-3.32"));
    // An admin's changes for one runtime do not prevent the other from being configured.
    let changed = machine.read(&rs).replace("\"q35\"", "\"mine\"") + "# mine\n";
    machine.file(&rs, &changed);
    assert_eq!(call(&machine, GO, &[]).code, 0);
    assert_eq!(machine.read(&rs), changed);
    assert_eq!(machine.run(&["unconfigure"]).code, 13);
    assert!(machine.path(&rs).exists() && !machine.path(&go).exists());
    assert_eq!(machine.run(&["unconfigure", "--force"]).code, 0);
    assert_eq!(machine.everything(), before);
}

#[test]
fn a_handler_that_switches_to_another_runtime_is_reported() {
    let machine = both();
    let before = machine.everything();
    let handler = ["--handler", "containerd", "--containerd-version", "1.7"];
    assert_eq!(call(&machine, GO, &handler).code, 0);
    // Configuring the other runtime without a handler leaves it.
    assert_eq!(call(&machine, RS, &[]).code, 0);
    assert!(machine.read(MAIN).contains("/opt/kata/bin/containerd-shim-kata-v2"));
    let output = call(&machine, RS, &handler);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let expected = format!("warning: the handler used /{BASE}/configuration-qemu.toml, configured for go-3.29");
    assert!(output.stderr.contains(&expected), "{}", output.stderr);
    assert!(machine.read(MAIN).contains("/opt/kata/runtime-rs/bin/containerd-shim-kata-v2"));
    // By way of another file: the first file's handler is taken back.
    assert_eq!(call(&machine, GO, &["--handler", "containerd", "--containerd-version", "2.1"]).code, 0);
    assert!(!machine.read(MAIN).contains("runtime-rs"), "{}", machine.read(MAIN));
    assert!(machine.path(&format!("m/{BASE}/runtime-rs/config.d/50-kata-osinfo.toml")).exists());
    // The first runtime without a handler.
    assert_eq!(call(&machine, GO, &[]).code, 0);
    assert_eq!(machine.read(MAIN), "version = 2\n");
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    assert_eq!(machine.everything(), before);
}
