//! `unconfigure` if the state is damaged or missing.

use crate::machine::{BASE, Machine};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

const MAIN: &str = "m/etc/containerd/config.toml";
const FOLDER: &str = "m/var/lib/kata-osinfo";
const STATE: &str = "m/var/lib/kata-osinfo/configured.json";
const DAMAGED: &str = "m/var/lib/kata-osinfo/configured.json.damaged";
const MAIN_TEXT: &str = "version = 2\nimports = [\"/etc/theirs.toml\"]\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n";

fn configured(version: &str, snp: bool) -> (Machine, String) {
    let machine = Machine::new();
    machine.file(MAIN, MAIN_TEXT);
    machine.file("m/etc/theirs.toml", "version = 2\n");
    if snp {
        // In that case `configure` makes a copy of Kata's configuration.
        let other = format!(
            "{}\nconfidential_guest = true\n",
            crate::machine::KATA.split("machine_type").next().expect("text")
        );
        machine.file(&format!("m/{BASE}/configuration-qemu-snp.toml"), &other);
    }
    let call = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", version];
    let output = machine.run(&call);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let text = machine.read(STATE);
    (machine, text)
}

/// Checks that nothing of kata-osinfo's is left.
fn assert_clean(machine: &Machine) {
    assert_eq!(machine.read(MAIN), MAIN_TEXT);
    let leftovers: Vec<_> = machine
        .everything()
        .into_iter()
        .filter(|(path, (_, bytes))| {
            let is_set_aside = path.to_str().is_some_and(|p| p.ends_with(".damaged"));
            !is_set_aside && String::from_utf8_lossy(bytes).contains("kata-osinfo")
        })
        .collect();
    assert_eq!(leftovers, []);
    assert!(!machine.path("m/etc/kata-containers/kata-osinfo").exists());
}

#[test]
fn files_without_a_state_are_removed_only_by_force() {
    for (version, snp) in [("1.7", false), ("2.1", false), ("2.1", true)] {
        let (machine, _) = configured(version, snp);
        std::fs::remove_dir_all(machine.path("m/var/lib/kata-osinfo")).expect("removed");
        let before = machine.everything();
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 13, "{}", output.stderr);
        assert!(output.stderr.contains("50-kata-osinfo.toml is not fully reverted"), "{}", output.stderr);
        assert!(output.stderr.contains("no state file records it any more"), "{}", output.stderr);
        assert!(output.stderr.contains("hint: `kata-osinfo unconfigure --force`"), "{}", output.stderr);
        assert_eq!(machine.everything(), before);
        let shown = machine.run(&["unconfigure", "--force", "--dry-run"]);
        assert!(shown.code == 0 && shown.stdout.contains("50-kata-osinfo.toml"), "{}", shown.stdout);
        assert_eq!(machine.everything(), before, "a dry run changes nothing");
        let output = machine.run(&["unconfigure", "--force"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(output.stdout.contains("50-kata-osinfo.toml"), "{}", output.stdout);
        assert!(output.stderr.contains("the earlier contents are not known"), "{}", output.stderr);
        assert_clean(&machine);
        assert!(!machine.path("m/var/lib/kata-osinfo").exists());
        let output = machine.run(&["unconfigure"]);
        assert!(output.code == 0 && output.stderr.contains("nothing is configured"), "{}", output.stderr);
    }
}

#[test]
fn force_reverts_everything_despite_a_damaged_state() {
    for (version, snp) in [("1.7", false), ("2.1", true)] {
        let (machine, state) = configured(version, snp);
        for damaged in [&state[..300], "", "{\"version\": 3}"] {
            let machine = machine.copy();
            machine.file(STATE, damaged);
            for call in [&["unconfigure"][..], &["configure", "--profile", "go-3.29"]] {
                let output = machine.run(call);
                assert_eq!(output.code, 2, "{}", output.stderr);
                assert!(output.stderr.contains("`kata-osinfo unconfigure --force`"), "{}", output.stderr);
            }
            let output = machine.run(&["unconfigure", "--force"]);
            assert_eq!(output.code, 0, "{}", output.stderr);
            assert_clean(&machine);
            assert_eq!(machine.read(DAMAGED), damaged, "an admin may find the old texts there");
            assert!(!machine.path(STATE).exists());
            let again = machine.run(&["configure", "--profile", "go-3.29"]);
            assert_eq!(again.code, 0, "{}", again.stderr);
        }
    }
}

/// Kinds of files that may be found where the state file or its directory should be.
#[derive(Debug, Clone, Copy)]
enum Instead {
    Folder,
    FullFolder,
    Fifo,
    LinkToNowhere,
    LinkToItself,
    FileForTheFolder,
    FifoForTheFolder,
    LinkForTheFolder,
    LinkToAFileForTheFolder,
}

impl Instead {
    const ALL: [Instead; 9] = [
        Instead::Folder,
        Instead::FullFolder,
        Instead::Fifo,
        Instead::LinkToNowhere,
        Instead::LinkToItself,
        Instead::FileForTheFolder,
        Instead::FifoForTheFolder,
        Instead::LinkForTheFolder,
        Instead::LinkToAFileForTheFolder,
    ];

    /// Creates the file, and returns its expected name after it was set aside.
    fn put(self, machine: &Machine) -> &'static str {
        let (state, folder) = (machine.path(STATE), machine.path(FOLDER));
        let is_state = matches!(
            self,
            Instead::Folder | Instead::FullFolder | Instead::Fifo | Instead::LinkToNowhere | Instead::LinkToItself
        );
        match is_state {
            true => std::fs::remove_file(&state).expect("removed"),
            false => std::fs::remove_dir_all(&folder).expect("removed"),
        }
        let fifo = |path: &Path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).expect("a FIFO");
        match self {
            Instead::Folder => std::fs::create_dir(&state).expect("made"),
            Instead::FullFolder => machine.file(&format!("{STATE}/mine"), "kept"),
            Instead::Fifo => fifo(&state),
            Instead::LinkToNowhere => symlink("/nowhere", &state).expect("a link"),
            Instead::LinkToItself => symlink("configured.json", &state).expect("a link"),
            Instead::FileForTheFolder => machine.file(FOLDER, ""),
            Instead::FifoForTheFolder => fifo(&folder),
            Instead::LinkForTheFolder => symlink("kata-osinfo", &folder).expect("a link"),
            Instead::LinkToAFileForTheFolder => symlink("/etc/theirs.toml", &folder).expect("a link"),
        }
        if is_state { DAMAGED } else { "m/var/lib/kata-osinfo.damaged" }
    }
}

/// Neither call is locked out: without `--force` both say what to do, and with `--force` the file is set aside.
#[test]
fn force_sets_aside_anything_in_place_of_the_state() {
    const HINT: &str = "`kata-osinfo unconfigure --force`";
    let drop_in = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    let (sound, _) = configured("2.1", false);
    for instead in Instead::ALL {
        let machine = sound.copy();
        let aside = instead.put(&machine);
        let configure = ["configure", "--profile", "go-3.29"];
        for call in [
            &["unconfigure"][..],
            &["unconfigure", "--dry-run"],
            &configure,
            &["configure", "--profile", "go-3.29", "--force"],
            &["configure", "--profile", "go-3.29", "--dry-run"],
            &["check", "--all"],
        ] {
            let output = machine.run(call);
            assert_eq!(output.code, 2, "{instead:?} {call:?}: {}", output.stderr);
            assert!(output.stderr.contains(HINT), "{instead:?} {call:?}: {}", output.stderr);
        }
        let output = machine.run(&["unconfigure", "--force", "--dry-run"]);
        assert_eq!(output.code, 0, "{instead:?}: {}", output.stderr);
        assert!(machine.path(&drop_in).exists(), "{instead:?}: a dry run takes nothing back");
        let output = machine.run(&["unconfigure", "--force"]);
        assert_eq!(output.code, 0, "{instead:?}: {}", output.stderr);
        assert!(output.stdout.contains("50-kata-osinfo.toml"), "{instead:?}: {}", output.stdout);
        let metadata = std::fs::symlink_metadata(machine.path(aside)).expect("it has another name");
        if metadata.file_type().is_fifo() {
            // Reading a FIFO without a writer would block.
            std::fs::remove_file(machine.path(aside)).expect("removed");
        }
        assert_clean(&machine);
        for call in [&configure[..], &["unconfigure"]] {
            let again = machine.run(call);
            assert_eq!(again.code, 0, "{instead:?} {call:?}: {}", again.stderr);
        }
    }
}

/// Nothing is left to take back, and yet nobody may be locked out.
#[test]
fn force_sets_aside_an_invalid_state_folder_on_a_clean_machine() {
    let machine = Machine::new();
    machine.file(FOLDER, "");
    assert_eq!(machine.run(&["unconfigure", "--force"]).code, 0);
    let output = machine.run(&["configure", "--profile", "go-3.29"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[test]
fn an_earlier_damaged_state_is_not_overwritten() {
    let (machine, _) = configured("2.1", false);
    machine.file(DAMAGED, "an older one");
    Instead::FullFolder.put(&machine);
    let output = machine.run(&["unconfigure", "--force"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("it was renamed to configured.json.damaged.2,"), "{}", output.stderr);
    assert_eq!(machine.read(DAMAGED), "an older one");
    assert_eq!(machine.read(&format!("{DAMAGED}.2/mine")), "kept");
}

/// Each damaged state may contain the only copy of an old text.
#[test]
fn several_damaged_states_are_all_kept() {
    let (machine, _) = configured("2.1", false);
    for (text, name) in [("first", ""), ("second", ".2"), ("third", ".3")] {
        machine.file(STATE, text);
        let output = machine.run(&["unconfigure", "--force"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(
            output.stderr.contains(&format!("it was renamed to configured.json.damaged{name},")),
            "{}",
            output.stderr
        );
        assert_eq!(machine.run(&["configure", "--profile", "go-3.29"]).code, 0);
    }
    assert_eq!(["", ".2", ".3"].map(|name| machine.read(&format!("{DAMAGED}{name}"))), ["first", "second", "third"]);
}

/// Path of a text that a killed call has taken out of its place, and that no state names any more.
const TAKEN_OUT: &str = "/etc/containerd/.kata-osinfo.old.0000000000000000.1111111111111111.2222222222222222";

/// Path of a text that was put aside for somebody to merge.
const ASIDE: &str = "/etc/containerd/.kata-osinfo.theirs.1";

/// The text is not in effect, and nothing else would say where it is.
#[test]
fn a_displaced_text_is_reported_after_a_damaged_state() {
    let (machine, state) = configured("1.7", false);
    machine.file(&format!("m{TAKEN_OUT}"), "# theirs\n");
    machine.file(STATE, &state[..300]);
    let expected =
        format!("warning: {TAKEN_OUT}: another process wrote this text while an interrupted kata-osinfo call");
    let configure = ["configure", "--profile", "go-3.29"];
    for call in [
        &["unconfigure", "--force", "--dry-run"][..],
        &["unconfigure", "--force"],
        &["unconfigure"],
        &[&configure[..], &["--dry-run"]].concat(),
        &configure,
        &["unconfigure"],
    ] {
        let output = machine.run(call);
        assert_eq!(output.code, 13, "{call:?}: {}", output.stderr);
        assert!(output.stderr.contains(&expected), "{call:?}: {}", output.stderr);
        assert!(output.stderr.contains("merge what you need into that file, then remove this one"));
        assert_eq!(output.stderr.matches(TAKEN_OUT).count(), 1, "{call:?}: {}", output.stderr);
        assert_eq!(machine.read(&format!("m{TAKEN_OUT}")), "# theirs\n");
    }
    let output = machine.run(&["unconfigure", "--format", "json"]);
    assert!(output.json()["problems"].to_string().contains(TAKEN_OUT), "{}", output.stdout);
    assert!(machine.check_findings().iter().any(|finding| finding.starts_with(TAKEN_OUT)));
    std::fs::remove_file(machine.path(&format!("m{TAKEN_OUT}"))).expect("removed");
    for call in [&configure[..], &["unconfigure"]] {
        let output = machine.run(call);
        assert!(
            output.code == 0 && !output.stderr.contains("another process wrote this"),
            "{call:?}: {}",
            output.stderr
        );
    }
}

/// A state that is put aside names files in directories that nothing else refers to.
#[test]
fn a_displaced_text_is_found_through_a_damaged_state() {
    let machine = Machine::new();
    machine.file("m/k/configuration.toml", crate::machine::KATA);
    let call = ["configure", "--profile", "go-3.29", "--kata-config", "/k/configuration.toml"];
    assert_eq!(machine.run(&call).code, 0);
    let text = TAKEN_OUT.replace("/etc/containerd", "/k");
    machine.file(&format!("m{text}"), "# theirs\n");
    machine.file(STATE, &machine.read(STATE)[..300]);
    for call in [&["unconfigure", "--force"][..], &["unconfigure"]] {
        let output = machine.run(call);
        assert!(output.code == 13 && output.stderr.contains(&text), "{call:?}: {}", output.stderr);
    }
}

/// The same rule for all calls: the text is reported, and the call itself takes effect.
#[test]
fn a_text_set_aside_earlier_is_reported_by_every_call() {
    let (machine, _) = configured("2.1", false);
    machine.file(&format!("m{ASIDE}"), "# theirs\n");
    let expected = format!("warning: {ASIDE}: another process wrote this text while an interrupted kata-osinfo call");
    let configure = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "2.1"];
    let mut calls: Vec<Vec<&str>> = Vec::new();
    for more in [&["--dry-run"][..], &[]] {
        calls.push([&configure[..], more].concat());
        calls.push([&configure[..], more].concat());
        calls.push([&["unconfigure"][..], more].concat());
    }
    calls.push(vec!["unconfigure"]);
    for call in &calls {
        let output = machine.run(call);
        assert_eq!(output.code, 0, "{call:?}: {}", output.stderr);
        assert!(
            output.stderr.contains(&expected) && output.stderr.contains(": merge this text into it"),
            "{}",
            output.stderr
        );
        let output = machine.copy().run(&[&call[..], &["--format", "json"]].concat());
        let problems = output.json()["problems"].to_string();
        assert!(output.code == 0 && problems.contains(ASIDE), "{call:?}: {problems}");
        let is_reported = machine.check_findings().iter().any(|finding| finding.starts_with(ASIDE));
        assert!(is_reported, "{call:?}");
    }
    assert_eq!(machine.read(&format!("m{ASIDE}")), "# theirs\n");
    std::fs::remove_file(machine.path(&format!("m{ASIDE}"))).expect("removed");
    assert_clean(&machine);
    assert!(!machine.run(&["unconfigure"]).stderr.contains("another process wrote this"));
}

/// Only a damaged state names the drop-in.
#[test]
fn a_drop_in_is_found_through_a_damaged_state() {
    let machine = Machine::new();
    machine.file("m/k/configuration.toml", crate::machine::KATA);
    let call = ["configure", "--profile", "go-3.29", "--kata-config", "/k/configuration.toml"];
    assert_eq!(machine.run(&call).code, 0);
    machine.file(STATE, &machine.read(STATE)[..300]);
    let output = machine.run(&["unconfigure", "--force"]);
    assert!(output.code == 0 && !machine.path("m/k/config.d/50-kata-osinfo.toml").exists(), "{}", output.stderr);
}

#[test]
fn a_handler_that_may_belong_to_others_is_kept_and_reported() {
    let (machine, _) = configured("1.7", false);
    std::fs::remove_dir_all(machine.path("m/var/lib/kata-osinfo")).expect("removed");
    let edited = machine.read(MAIN).replace("privileged_without_host_devices = true", "snapshotter = \"s\"");
    machine.file(MAIN, &edited);
    // `--force` helps with one of the two files.
    let output = machine.run(&["unconfigure"]);
    let hint = format!("also reverts /{BASE}/config.d/50-kata-osinfo.toml\n");
    assert!(output.code == 13 && output.stderr.contains(&hint), "{}", output.stderr);
    let output = machine.run(&["unconfigure", "--force"]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    assert!(output.stderr.contains("kata-osinfo wrote at most a part"), "{}", output.stderr);
    assert_eq!(machine.read(MAIN), edited);
    assert!(!machine.path(&format!("m/{BASE}/config.d/50-kata-osinfo.toml")).exists());
}

/// An image was built with the configuration but without a state: files of kata-osinfo's that `configure` finds are not
/// previous content.
#[test]
fn configuring_again_without_a_state_can_be_reverted() {
    let (machine, _) = configured("2.1", false);
    std::fs::remove_dir_all(machine.path("m/var/lib/kata-osinfo")).expect("removed");
    let call = ["configure", "--profile", "go-3.29", "--emulated"];
    assert_eq!(machine.run(&call).code, 0);
    // The handler is in effect, but the new state does not contain it.
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    let expected = "/etc/containerd/conf.d/50-kata-osinfo.toml is not fully reverted: it is in effect, but no state";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    assert!(!machine.path(&format!("m/{BASE}/config.d/50-kata-osinfo.toml")).exists());
    assert_eq!(machine.run(&["unconfigure", "--force"]).code, 0);
    assert_clean(&machine);
    // In a single call.
    let (machine, _) = configured("2.1", false);
    std::fs::remove_dir_all(machine.path("m/var/lib/kata-osinfo")).expect("removed");
    assert_eq!(machine.run(&call).code, 0);
    let output = machine.run(&["unconfigure", "--force"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_clean(&machine);
}

/// Content that `configure` wrote is still kata-osinfo's, even if no state says so.
#[test]
fn an_unrecorded_handler_is_adopted_by_a_new_configure() {
    for version in ["1.7", "2.1"] {
        let (machine, _) = configured(version, false);
        let text = machine.read(MAIN);
        std::fs::remove_dir_all(machine.path(FOLDER)).expect("removed");
        let call = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", version];
        let output = machine.run(&call);
        assert_eq!(output.code, 0, "{}", output.stderr);
        let expected =
            "warning: /etc/containerd/config.toml has a handler of kata-osinfo's that no state file records any";
        assert!(
            output.stderr.contains(expected) && !output.stderr.contains("will use this configuration instead"),
            "{}",
            output.stderr
        );
        assert_eq!(machine.read(MAIN), text);
        assert!(!machine.run(&call).stderr.contains("no state file"), "it is known again");
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_clean(&machine);
    }
}

/// The calls that write a handler, and the drop-in of each.
const HANDLERS: [(&[&str], &str); 2] = [
    (&["--handler", "containerd", "--containerd-version", "2.1"], "m/etc/containerd/conf.d/50-kata-osinfo.toml"),
    (&["--handler", "crio"], "m/etc/crio/crio.conf.d/50-kata-osinfo.conf"),
];

#[test]
fn a_handler_drop_in_is_recognised_without_a_state() {
    for (handler, drop_in) in HANDLERS {
        let machine = Machine::new();
        let output = machine.run(&[&["configure", "--profile", "go-3.29"][..], handler].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        let text = machine.read(drop_in);
        assert!(text.starts_with("# Written by kata-osinfo; `kata-osinfo unconfigure` removes it.\n"), "{text}");
        std::fs::remove_dir_all(machine.path(FOLDER)).expect("removed");
        let output = machine.run(&["unconfigure"]);
        let expected = format!("{} is not fully reverted: it is in effect, but no state", &drop_in[1..]);
        assert!(output.code == 13 && output.stderr.contains(&expected), "{}", output.stderr);
        let output = machine.run(&["unconfigure", "--force"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(!machine.path(drop_in).exists());
    }
}

/// CRI-O reads files of any name, and containerd those that its main file imports: whatever its position in the order,
/// the copy is in effect once kata-osinfo's drop-in is gone.
#[test]
fn a_copy_of_a_handler_drop_in_is_reported_and_kept() {
    for ((handler, drop_in), reader, copies) in [
        (HANDLERS[0], "containerd", ["10-kata copy.toml", "50-kata-osinfo (1).toml", "99-kata.toml"]),
        (HANDLERS[1], "CRI-O", ["10-kata copy.conf", "50-kata-osinfo.conf~", "60-old/kata.conf"]),
    ] {
        for copy in copies {
            let machine = Machine::new();
            machine.file(MAIN, "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n");
            let call = [&["configure", "--profile", "go-3.29"][..], handler].concat();
            assert_eq!(machine.run(&call).code, 0);
            let text = machine.read(drop_in);
            let copy = Path::new(drop_in).with_file_name(copy).display().to_string();
            machine.file(&copy, &text);
            let expected = format!("it is a copy of a file of kata-osinfo's, and {reader} reads it, too: remove it");
            let by_configure = format!("warning: {}: {expected}", &copy[1..]);
            let by_unconfigure = format!("warning: {} is not fully reverted: {expected}", &copy[1..]);
            for call in [&call[..], &["configure", "--profile", "go-3.29"], &call] {
                let output = machine.run(call);
                assert!(output.code == 0 && output.stderr.contains(&by_configure), "{copy}: {}", output.stderr);
            }
            let lost = machine.copy();
            std::fs::remove_dir_all(lost.path(FOLDER)).expect("removed");
            for machine in [&machine, &lost] {
                for call in [&["unconfigure"][..], &["unconfigure", "--force"], &["unconfigure"]] {
                    let output = machine.run(call);
                    assert!(
                        output.code == 13 && output.stderr.contains(&by_unconfigure),
                        "{copy} {call:?}: {}",
                        output.stderr
                    );
                    assert_eq!(machine.read(&copy), text, "{call:?}");
                }
                assert!(!machine.path(drop_in).exists(), "{copy}");
                std::fs::remove_file(machine.path(&copy)).expect("removed");
                assert_eq!(machine.run(&["unconfigure"]).code, 0);
            }
        }
    }
}

/// Only copies that are in effect are reported: containerd reads no other names, and the admin's files are not copies.
#[test]
fn copies_that_are_not_read_are_not_reported() {
    let (handler, drop_in) = HANDLERS[0];
    let imports = |pattern: &str| format!("version = 3\nimports = [\"/etc/containerd/conf.d/{pattern}\"]\n");
    for (main, copy, is_reported) in [
        (imports("*.toml"), "50-kata-osinfo.toml~", false),
        (imports("*"), "50-kata-osinfo.toml~", true),
        (imports("10-*.toml"), "60-kata.toml", false),
        // The main file imports the drop-in only by its name.
        ("version = 3\n".to_owned(), "60-kata.toml", false),
        // The copy would be in effect again once the broken main file is fixed.
        (imports("*.toml") + "x = [\n", "60-kata.toml", true),
    ] {
        let machine = Machine::new();
        let call = [&["configure", "--profile", "go-3.29"][..], handler].concat();
        let is_broken = main.contains("x = ");
        machine.file(MAIN, if is_broken { "version = 3\n" } else { &main });
        assert_eq!(machine.run(&call).code, 0, "{main}");
        let copy = Path::new(drop_in).with_file_name(copy).display().to_string();
        machine.file(&copy, &machine.read(drop_in));
        let unmarked = machine.read(drop_in).split_once('\n').expect("a line").1.to_owned();
        machine.file("m/etc/containerd/conf.d/70-theirs.toml", &unmarked);
        if is_broken {
            machine.file(MAIN, &main);
        }
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.stderr.contains(&copy[1..]), is_reported, "{main}: {}", output.stderr);
        assert!(!output.stderr.contains("70-theirs") && machine.path(&copy).exists(), "{main}: {}", output.stderr);
    }
}

/// Nobody can tell who wrote the extra content: it is replaced, and that is reported.
#[test]
fn replaced_content_of_an_unrecorded_drop_in_is_reported() {
    let machine = Machine::new();
    let drop_in = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    let configure = ["configure", "--profile", "go-3.29"];
    assert_eq!(machine.run(&configure).code, 0);
    let text = machine.read(&drop_in);
    std::fs::remove_dir_all(machine.path(FOLDER)).expect("removed");
    let output = machine.run(&configure);
    assert!(output.code == 0 && !output.stderr.contains("no state file"), "{}", output.stderr);
    std::fs::remove_dir_all(machine.path(FOLDER)).expect("removed");
    machine.file(&drop_in, &text.replace("[hypervisor.qemu]\n", "[hypervisor.qemu]\ndefault_memory = 4096\n"));
    let output = machine.run(&configure);
    let expected = format!("{} was written by kata-osinfo, but no state file records its contents", &drop_in[1..]);
    assert!(output.code == 0 && output.stderr.contains(&expected), "{}", output.stderr);
    assert!(output.stderr.contains("`default_memory = 4096` is gone"), "{}", output.stderr);
    assert_eq!(machine.read(&drop_in), text);
}

/// A file that is too large to be read does not keep `--force` from taking back everything else.
#[test]
fn an_oversized_drop_in_does_not_stop_force() {
    let (machine, _) = configured("2.1", true);
    let huge = "m/etc/kata-containers/kata-osinfo/config.d/60-huge.toml";
    std::fs::File::create(machine.path(huge)).and_then(|file| file.set_len(5 << 20)).expect("made");
    let before = machine.everything();
    assert_eq!(machine.run(&["unconfigure"]).code, 3);
    assert_eq!(machine.everything(), before);
    let output = machine.run(&["unconfigure", "--force"]);
    assert!(output.code == 13 && output.stderr.contains("60-huge.toml"), "{}", output.stderr);
    assert_eq!(machine.read(MAIN), MAIN_TEXT);
    assert!(!machine.path("m/etc/kata-containers/kata-osinfo/configuration-qemu.toml").exists());
    std::fs::remove_file(machine.path(huge)).expect("removed");
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
}

/// The circular link leads nowhere, for any reader.
#[test]
fn unconfigure_reports_a_circular_link_and_succeeds_without_it() {
    let (machine, _) = configured("2.1", false);
    let folder = machine.path(&format!("m/{BASE}/config.d"));
    std::fs::rename(&folder, machine.path("aside")).expect("moved");
    symlink("config.d", &folder).expect("a link");
    for call in [&["unconfigure"][..], &["unconfigure", "--force"]] {
        let output = machine.copy().run(call);
        assert!(output.code == 13 && output.stderr.contains("50-kata-osinfo.toml"), "{call:?}: {}", output.stderr);
    }
    assert_eq!(machine.run(&["unconfigure"]).code, 13);
    std::fs::remove_file(&folder).expect("removed");
    std::fs::rename(machine.path("aside"), &folder).expect("moved");
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    assert_clean(&machine);
}

/// Without kata-osinfo's keys only part of a handler would remain, with which CRI-O does not start.
#[test]
fn a_handler_drop_in_with_an_added_key_is_kept_whole() {
    for (handler, drop_in) in HANDLERS {
        let machine = Machine::new();
        let call = [&["configure", "--profile", "go-3.29"][..], handler].concat();
        assert_eq!(machine.run(&call).code, 0);
        let edited = format!("{}mine = \"x\"\n", machine.read(drop_in));
        machine.file(drop_in, &edited);
        for is_lost in [false, true] {
            if is_lost {
                std::fs::remove_dir_all(machine.path(FOLDER)).expect("removed");
            }
            let output = machine.run(&call);
            assert_eq!(output.code, 2, "{drop_in} {is_lost}: {}", output.stderr);
            let expected = format!("{} was changed after kata-osinfo wrote it (line ", &drop_in[1..]);
            assert!(output.stderr.contains(&expected), "{}", output.stderr);
            assert!(output.stderr.contains("`mine = \"x\"` is new): undo the change"), "{}", output.stderr);
            assert_eq!(machine.read(drop_in), edited, "{is_lost}");
            let machine = machine.copy();
            let output = machine.run(&["unconfigure"]);
            assert_eq!(output.code, 13, "{drop_in} {is_lost}: {}", output.stderr);
            assert_eq!(machine.read(drop_in), edited, "{is_lost}");
            assert_eq!(machine.run(&["unconfigure", "--force"]).code, 0);
            assert!(!machine.path(drop_in).exists(), "{is_lost}");
        }
    }
}

/// A handler that was there before, byte for byte the same, stays, and that is reported.
#[test]
fn an_identical_earlier_handler_is_kept_and_reported() {
    // As copied from another machine.
    let text = configured("1.7", false).0.read(MAIN);
    let machine = Machine::new();
    machine.file("m/etc/theirs.toml", "version = 2\n");
    machine.file(MAIN, &text);
    let call = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "1.7"];
    assert_eq!(machine.run(&call).code, 0);
    assert_eq!(machine.read(MAIN), text);
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    assert!(output.stderr.contains("config.toml is not fully reverted"), "{}", output.stderr);
    assert!(output.stderr.contains("remove it by hand"), "{}", output.stderr);
    assert!(!output.stderr.contains("--force"), "which would not take it out: {}", output.stderr);
    assert_eq!(machine.read(MAIN), text);
}

/// Where nothing was ever configured, nothing can be left over. If the broken file mentions Kata, that is unclear, but
/// it is not reported as a remainder.
#[test]
fn an_invalid_main_file_is_not_reported_as_leftover() {
    let machine = Machine::new();
    let calls: [&[&str]; 3] = [&["unconfigure"], &["unconfigure", "--dry-run"], &["unconfigure", "--force"]];
    for (text, code, expected) in [
        ("version = [\n", 0, "note: nothing is configured"),
        ("version = [\n# kata\n", 3, "config.toml: it is not valid TOML, so kata-osinfo cannot tell which"),
    ] {
        machine.file(MAIN, text);
        let before = machine.everything();
        for call in calls {
            let output = machine.run(call);
            assert_eq!(output.code, code, "{call:?}: {}", output.stderr);
            assert!(output.stderr.contains(expected), "{call:?}: {}", output.stderr);
            assert!(!output.stderr.contains("is not fully reverted"), "{call:?}: {}", output.stderr);
            assert_eq!(machine.everything(), before, "{call:?}");
        }
    }
    // kata-osinfo's drop-in identifies itself.
    let (machine, _) = configured("2.1", false);
    std::fs::remove_dir_all(machine.path("m/var/lib/kata-osinfo")).expect("removed");
    machine.file(MAIN, "imports = [\"/etc/containerd/conf.d/*.toml\"\n");
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    assert!(
        output.stderr.contains("/etc/containerd/conf.d/50-kata-osinfo.toml is not fully reverted"),
        "{}",
        output.stderr
    );
}

/// Kata reads files of any name in the directory.
#[test]
fn an_editor_backup_of_a_drop_in_is_reported_after_unconfigure() {
    let machine = Machine::new();
    let drop_in = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    let configure = ["configure", "--profile", "go-3.29"];
    assert_eq!(machine.run(&configure).code, 0);
    let copy = format!("{drop_in}~");
    machine.file(&copy, &machine.read(&drop_in));
    machine.file(&format!("m/{BASE}/config.d/60-mine.toml"), "[runtime]\n");
    for call in [&["unconfigure"][..], &["unconfigure"], &["unconfigure", "--force"]] {
        let output = machine.run(call);
        assert_eq!(output.code, 13, "{call:?}: {}", output.stderr);
        let expected = format!(
            "warning: {} is not fully reverted: it is a copy of a file of kata-osinfo's, and Kata reads it",
            &copy[1..]
        );
        assert!(output.stderr.contains(&expected), "{call:?}: {}", output.stderr);
        assert!(!output.stderr.contains("60-mine"), "{call:?}: {}", output.stderr);
        assert!(!machine.path(&drop_in).exists() && machine.path(&copy).exists(), "{call:?}");
    }
    std::fs::remove_file(machine.path(&copy)).expect("removed");
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
}
