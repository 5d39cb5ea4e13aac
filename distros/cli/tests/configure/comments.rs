//! Additions by others in kata-osinfo's lists and handler: their comments, elements and keys survive another
//! `configure`.

use crate::machine::Machine;
use serde_json::{Value, json};

const GO: &[&str] = &["configure", "--profile", "go-3.29", "--kata-version", "3.30.0"];
const MAIN: &str = "m/etc/containerd/config.toml";
const OURS: &str = "\"/etc/containerd/conf.d/50-kata-osinfo.toml\"";
const A: &str = "\"/etc/containerd/a.toml\"";
const SECTION: &str = "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes";

fn configure(machine: &Machine, version: &str, more: &[&str]) -> crate::machine::Output {
    let output = machine.run(&[GO, &["--handler", "containerd", "--containerd-version", version][..], more].concat());
    assert_eq!(output.code, 0, "{version}: {}", output.stderr);
    output
}

fn configured(main: &str, version: &str) -> Machine {
    let machine = Machine::new();
    machine.file(MAIN, main);
    machine.file("m/etc/containerd/a.toml", "version = 3\n");
    configure(&machine, version, &[]);
    machine
}

/// Replaces words in the main file.
fn edit(machine: &Machine, from: &str, to: &str) {
    let text = machine.read(MAIN);
    assert!(text.contains(from), "{from}: {text}");
    machine.file(MAIN, &text.replace(from, to));
}

fn unconfigured(machine: &Machine, more: &[&str]) -> String {
    let output = machine.run(&[&["unconfigure"][..], more].concat());
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(!machine.path("m/var/lib/kata-osinfo").exists());
    machine.read(MAIN)
}

/// Returns the line number, from 1, of the line with these words.
fn line(text: &str, words: &str) -> usize {
    text.lines().position(|line| line.contains(words)).expect("a line") + 1
}

/// Returns an admin's main file with a handler and a list of annotations.
fn with_handler(list: &str) -> String {
    format!(
        "version = 2\n{SECTION}.kata]\n  runtime_type = \"io.containerd.kata-qemu.v2\"\n  pod_annotations = {list}\n\
         {SECTION}.runc]\n  runtime_type = \"io.containerd.runc.v2\"\n"
    )
}

#[test]
fn extending_a_list_of_the_admins_handler_keeps_its_comments() {
    for (list, longer) in [
        (
            "[\n    # why one\n    \"my.org/*\", # one\n  ]",
            "[\n    # why one\n    \"my.org/*\", # one\n    \"io.katacontainers.*\",\n  ] # end",
        ),
        ("[ # x\n  'my.org/*' # one\n  ]", "[ # x\n  'my.org/*', # one\n  \"io.katacontainers.*\"\n  ] # end"),
    ] {
        let main = with_handler(&format!("{list} # end"));
        let machine = configured(&main, "1.7");
        assert!(machine.read(MAIN).contains(longer), "{}", machine.read(MAIN));
        let after = machine.read(MAIN);
        configure(&machine, "1.7", &[]);
        assert_eq!(machine.read(MAIN), after);
        machine.file(MAIN, &format!("{after}# later\n"));
        assert_eq!(unconfigured(&machine, &[]), format!("{main}# later\n"));
    }
}

#[test]
fn comments_in_the_imports_list_are_kept() {
    let main = format!("version = 3\nimports = [{A}]\n");
    for (list, expected) in [
        (format!("[ # x\n  {A}, # mine\n  {OURS}, # ours\n]"), format!("[ # x\n  {A}, # mine\n  # ours\n]")),
        (format!("[\n  {OURS}, # ours\n  {A}\n] # end"), format!("[\n  # ours\n  {A}\n] # end")),
        (format!("[{A}, {OURS}] # end"), format!("[{A}] # end")),
    ] {
        let machine = configured(&main, "2.1");
        edit(&machine, &format!("[{A}, {OURS}]"), &list);
        let again = machine.copy();
        configure(&again, "2.1", &[]);
        assert_eq!(again.check_findings(), Vec::<String>::new());
        assert_eq!(again.read(MAIN), machine.read(MAIN));
        for machine in [machine, again] {
            assert_eq!(unconfigured(&machine, &[]), main.replace(&format!("[{A}]"), &expected));
        }
    }
    // In a list that kata-osinfo created.
    let machine = configured("version = 3\n", "2.1");
    edit(&machine, &format!("[{OURS}]"), &format!("[ # x\n  {OURS}, # ours\n]"));
    assert_eq!(unconfigured(&machine, &[]), "version = 3\n# x\n  # ours\n");
}

/// Another `configure` keeps a file byte for byte, with comments on every line and either line ending.
#[test]
fn a_second_configure_keeps_the_file_byte_for_byte() {
    for (version, main) in [("1.7", "version = 2\n"), ("2.1", "version = 3\n")] {
        for end in ["\n", "\r\n"] {
            let machine = configured(main, version);
            let text = machine.read(MAIN);
            let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
            let commented = lines.map(|(at, line)| format!("# above {at}.{end}{line} # beside {at}.{end}"));
            let commented: String = commented.collect();
            machine.file(MAIN, &commented);
            configure(&machine, version, &[]);
            assert_eq!((machine.read(MAIN), machine.check_findings()), (commented.clone(), Vec::new()));
            let reverted = unconfigured(&machine, &[]);
            assert_eq!(reverted.matches('#').count(), commented.matches('#').count(), "{reverted}");
            assert!(!reverted.contains("kata"), "{reverted}");
        }
    }
}

/// The order of imports is the admin's if it makes no difference.
#[test]
fn the_admins_order_of_imports_is_kept_where_possible() {
    let machine = configured(&format!("version = 3\nimports = [{A}]\n"), "2.1");
    edit(&machine, &format!("[{A}, {OURS}]"), &format!("[{OURS}, {A}]"));
    let turned = machine.read(MAIN);
    configure(&machine, "2.1", &[]);
    assert_eq!(machine.read(MAIN), turned);
    // A later file with another handler of this name would win, so the order then matters.
    let another = "[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.kata]\nruntime_path = \"/another\"\n";
    machine.file("m/etc/containerd/a.toml", &format!("version = 3\n{another}"));
    configure(&machine, "2.1", &[]);
    assert!(machine.read(MAIN).contains(&format!("[{A}, {OURS}]")), "{}", machine.read(MAIN));
    assert_eq!(machine.check_findings(), Vec::<String>::new());
}

#[test]
fn unconfigure_keeps_comments_from_its_handler_in_place() {
    let machine = configured("version = 2\n", "1.7");
    edit(&machine, "[\"io.katacontainers.*\"]", "[ # m1\n  # alone\n  \"io.katacontainers.*\", # m2 \"\n] # m3");
    machine.file(MAIN, &format!("{}\n[theirs]\nx = \"# no\"\n", machine.read(MAIN)));
    let reverted = unconfigured(&machine, &[]);
    for comment in ["# m1", "# alone", "# m2 \"", "# m3"] {
        assert_eq!(reverted.matches(comment).count(), 1, "{comment}: {reverted}");
        assert!(reverted.find(comment) < reverted.find("[theirs]"), "{reverted}");
    }
    assert_eq!(reverted.lines().filter(|line| line.contains('#')).count(), 5, "{reverted}");
}

#[test]
fn unconfigure_keeps_lists_that_the_admin_replaced() {
    for force in [&[][..], &["--force"]] {
        let machine = configured(&format!("version = 3\nimports = [{A}]\n"), "2.1");
        edit(&machine, OURS, "\"/etc/containerd/conf.d/*.toml\"");
        let edited = machine.read(MAIN);
        assert_eq!(unconfigured(&machine, force), edited);
        assert!(!machine.path("m/etc/containerd/conf.d/50-kata-osinfo.toml").exists());
        // In the admin's handler.
        let machine = configured(&with_handler("[\"my.org/*\"]"), "1.7");
        edit(&machine, "[\"my.org/*\", \"io.katacontainers.*\"]", "[\"other/*\"]\nsnapshotter = \"s\"");
        assert_eq!(unconfigured(&machine, force), with_handler("[\"other/*\"]\nsnapshotter = \"s\""));
    }
}

#[test]
fn unconfigure_removes_a_duplicated_import() {
    for main in ["version = 3\n".to_owned(), format!("version = 3\nimports = [{A}]\n")] {
        let machine = configured(&main, "2.1");
        edit(&machine, OURS, &format!("{OURS}, {OURS}"));
        let again = machine.copy();
        configure(&again, "2.1", &[]);
        assert_eq!(again.check_findings(), Vec::<String>::new());
        assert_eq!(unconfigured(&machine, &[]), main);
    }
}

/// Before containerd 2.0 the admin has no other place for such keys.
#[test]
fn configure_keeps_the_admins_keys_in_its_handler() {
    let machine = configured("version = 2\n", "1.7");
    edit(&machine, "privileged_without_host_devices = true", "privileged_without_host_devices = false");
    edit(&machine, "runtime_path", "snapshotter = \"devmapper\"\nruntime_path");
    edit(&machine, "[\"io.katacontainers.*\"]", "[\"io.katacontainers.*\", \"my.org/*\"]");
    let changed = machine.read(MAIN);
    // Part of a handler would not work, so it stays whole, and the message says what to do.
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, machine.read(MAIN)), (13, changed.clone()), "{}", output.stderr);
    assert!(output.stderr.contains("/etc/containerd/config.toml is not fully reverted"), "{}", output.stderr);
    let places = ["snapshotter", "privileged_without_host_devices", "pod_annotations"];
    let [new, device, list] = places.map(|key| format!("`{key}` (line {})", line(&changed, key)));
    for how in [
        format!("remove {new}, which is new"),
        format!("put {device} back to true"),
        format!("put {list} back to [\"io.katacontainers.*\"]"),
    ] {
        assert!(output.stderr.contains(&how), "{how}: {}", output.stderr);
    }
    // `configure` without `--handler` keeps it whole, too.
    let without = machine.copy();
    let output = without.run(GO);
    assert_eq!((output.code, without.read(MAIN)), (0, changed), "{}", output.stderr);
    assert!(output.stderr.contains(&format!("remove {new}, which is new")), "{}", output.stderr);
    for _ in 0..2 {
        let answer = configure(&machine, "1.7", &["--format", "json"]).json();
        let entry_of = |key: &str| {
            let all = answer["theirs"].as_array().expect("a list");
            let found: Vec<&Value> = all.iter().filter(|t| t["key"] == format!("handler kata: {key}")).collect();
            assert_eq!(found.len(), 1, "{key}: {all:?}");
            json!([found[0]["line"], found[0]["fate"], found[0]["was"], found[0]["ours"]])
        };
        let now = machine.read(MAIN);
        let [new, device, list] = places.map(|key| line(&now, key));
        assert_eq!(entry_of("snapshotter"), json!([new, "kept", "devmapper", null]));
        assert_eq!(entry_of("privileged_without_host_devices"), json!([device, "kept", false, true]));
        let both = json!(["my.org/*", "io.katacontainers.*"]);
        assert_eq!(entry_of("pod_annotations"), json!([list, "extended", ["my.org/*"], both]));
        assert_eq!(machine.check_findings(), Vec::<String>::new());
    }
    // The annotations now belong to the admin, and mean nothing without the rest of the handler.
    let whole = machine.read(MAIN);
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, machine.read(MAIN)), (13, whole.clone()), "{}", output.stderr);
    let why = "would be left of the handler kata, which could not start anything: remove that first";
    assert!(output.stderr.contains(why) && output.stderr.contains("snapshotter"), "{}", output.stderr);
    let is_admins = |line: &&str| places.iter().any(|key| line.trim_start().starts_with(key));
    machine
        .file(MAIN, &whole.lines().filter(|line| !is_admins(line)).map(|line| format!("{line}\n")).collect::<String>());
    let reverted = unconfigured(&machine, &[]);
    assert!(reverted.starts_with("version = 2\n") && !reverted.contains("runtimes.kata"), "{reverted}");
}
