//! `check --all` reports everything that prevents the configuration from taking effect, and nothing else.

use crate::machine::{BASE, Machine};

const MAIN: &str = "m/etc/containerd/config.toml";
const CONF_D: &str = "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n";
const V2: &str = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"registry.example/two:1\"\n";
const KATA: [&str; 5] = ["configure", "--profile", "go-3.29", "--kata-version", "3.30.0"];

/// A name, the change since, and its report.
type Cause = (&'static str, fn(&Machine), &'static str);

/// Creates a machine with this main file of containerd, and writes a handler.
fn with_handler(main: &str, version: &str) -> Machine {
    let machine = Machine::new();
    machine.file(MAIN, main);
    let call = [&KATA[..], &["--handler", "containerd", "--containerd-version", version]].concat();
    let output = machine.run(&call);
    assert_eq!(output.code, 0, "{}", output.stderr);
    machine
}

fn assert_all_reported(machine: &Machine, causes: &[Cause]) {
    assert_eq!(machine.check_findings(), Vec::<String>::new());
    for (name, cause, expected) in causes {
        assert_reported(machine, name, cause, expected);
    }
}

fn assert_reported(machine: &Machine, name: &str, cause: impl Fn(&Machine), expected: &str) {
    let machine = machine.copy();
    cause(&machine);
    let findings = machine.check_findings();
    assert!(findings.iter().any(|t| t.starts_with(expected)), "{name}: {findings:?}");
    let quiet = machine.run(&["check", "--all", "--quiet"]);
    assert!(quiet.stdout.contains(&format!("configured: {expected}")), "{name}: {}", quiet.stdout);
    assert_eq!(quiet.code, 1, "{name}");
}

fn replace(machine: &Machine, file: &str, from: &str, to: &str) {
    let text = machine.read(file);
    assert!(text.contains(from), "{text}");
    machine.file(file, &text.replace(from, to));
}

#[test]
fn check_reports_changes_that_break_an_edited_containerd_config() {
    let machine = with_handler(V2, "1.7");
    assert_all_reported(
        &machine,
        &[
            (
                "the handler is gone",
                |m| m.file(MAIN, "version = 2\n# Made again.\n"),
                "/etc/containerd/config.toml: handler kata is not there any more",
            ),
            (
                "CRI is disabled",
                |m| m.file(MAIN, &format!("disabled_plugins=[\"io.containerd.grpc.v1.cri\"]\n{}", m.read(MAIN))),
                "/etc/containerd/config.toml:1: disabled_plugins contains containerd's CRI plugin",
            ),
            (
                "another configuration",
                |m| replace(m, MAIN, "ConfigPath = \"/opt", "ConfigPath = \"/mine"),
                "/etc/containerd/config.toml:12: handler kata: options.ConfigPath is \"/mine/kata/",
            ),
            (
                "another shim",
                |m| replace(m, MAIN, "runtime_path = \"/opt", "runtime_path = \"/mine"),
                "/etc/containerd/config.toml:7: handler kata: runtime_path is \"/mine/kata/",
            ),
            (
                "another type",
                |m| replace(m, MAIN, "\"io.containerd.kata.v2\"", "\"io.containerd.runc.v2\""),
                "/etc/containerd/config.toml:6: handler kata: runtime_type is \"io.containerd.runc.v2\"",
            ),
            (
                "an imported file replaces the section",
                |m| {
                    replace(m, MAIN, "version = 2\n", "version = 2\nimports = [\"/etc/containerd/two.toml\"]\n");
                    m.file("m/etc/containerd/two.toml", V2);
                },
                "/etc/containerd/config.toml: handler kata is not there any more",
            ),
            (
                "an imported file has version 1",
                |m| {
                    replace(m, MAIN, "version = 2\n", "version = 2\nimports = [\"/etc/containerd/one.toml\"]\n");
                    m.file("m/etc/containerd/one.toml", "version = 1\n");
                },
                "/etc/containerd/one.toml:1: it has version 1",
            ),
            (
                "the shim is gone",
                |m| std::fs::remove_file(m.path("m/opt/kata/bin/containerd-shim-kata-v2")).expect("removed"),
                "/etc/containerd/config.toml: handler kata: its shim /opt/kata/bin/containerd-shim-kata-v2 is no longer an executable file",
            ),
            (
                "an import is missing",
                |m| replace(m, MAIN, "version = 2\n", "version = 2\nimports = [\"/etc/nowhere.toml\"]\n"),
                "/etc/containerd/config.toml: containerd would not start: /etc/nowhere.toml is imported but does not",
            ),
            (
                "it was migrated",
                |m| m.file(MAIN, include_str!("../fixtures/containerd/migrated-by-2.1.9.toml")),
                "/etc/containerd/config.toml:86: handler kata is no longer where kata-osinfo wrote it",
            ),
            (
                "it was migrated, and the handler is gone",
                |m| m.file(MAIN, "version = 3\n"),
                "/etc/containerd/config.toml: handler kata is not there any more",
            ),
            ("it is no TOML", |m| m.file(MAIN, "version = [\n"), "/etc/containerd/config.toml: containerd would not"),
            (
                "the file is gone",
                |m| std::fs::remove_file(m.path(MAIN)).expect("removed"),
                "/etc/containerd/config.toml: kata-osinfo wrote it, but it no longer exists",
            ),
            ("it is as before", |m| m.file(MAIN, V2), "/etc/containerd/config.toml: it has the text again that it"),
        ],
    );
}

#[test]
fn check_reports_changes_that_break_a_containerd_drop_in() {
    let machine = with_handler(CONF_D, "2.1");
    assert_all_reported(
        &machine,
        &[
            (
                "a later drop-in",
                |m| {
                    let written = m.read("m/etc/containerd/conf.d/50-kata-osinfo.toml");
                    let overriding = written.replace("/opt/kata/share", "/theirs");
                    m.file("m/etc/containerd/conf.d/kata-deploy.toml", &overriding);
                },
                "/etc/containerd/conf.d/kata-deploy.toml:11: handler kata: options.ConfigPath is \"/theirs/",
            ),
            (
                "ours was changed",
                |m| replace(m, "m/etc/containerd/conf.d/50-kata-osinfo.toml", "/opt/kata/share", "/theirs"),
                "/etc/containerd/conf.d/50-kata-osinfo.toml:11: handler kata: options.ConfigPath is \"/theirs/",
            ),
            (
                "a later drop-in disables CRI",
                |m| {
                    let off = "version = 3\ndisabled_plugins = [\"io.containerd.cri.v1.runtime\"]\n";
                    m.file("m/etc/containerd/conf.d/99.toml", off);
                },
                "/etc/containerd/conf.d/99.toml:2: disabled_plugins contains",
            ),
            (
                "it is imported no more",
                |m| m.file(MAIN, "version = 3\n"),
                "/etc/containerd/config.toml: handler kata is not there any more",
            ),
            (
                "no main file imports it",
                |m| std::fs::remove_file(m.path(MAIN)).expect("removed"),
                "/etc/containerd/config.toml: handler kata is not there any more",
            ),
            (
                "it is gone",
                |m| std::fs::remove_file(m.path("m/etc/containerd/conf.d/50-kata-osinfo.toml")).expect("removed"),
                "/etc/containerd/conf.d/50-kata-osinfo.toml: kata-osinfo wrote it, but it no longer exists",
            ),
        ],
    );
}

#[test]
fn check_reports_changes_that_break_a_crio_handler() {
    let machine = Machine::new();
    assert_eq!(machine.run(&[&KATA[..], &["--handler", "crio"]].concat()).code, 0);
    assert_all_reported(
        &machine,
        &[
            (
                "a later drop-in",
                |m| m.file("m/etc/crio/crio.conf.d/99", "[crio.runtime.runtimes.kata]\nruntime_path = \"/theirs\"\n"),
                "/etc/crio/crio.conf.d/99:2: handler kata: runtime_path is \"/theirs\", wanted ",
            ),
            (
                "ours was changed",
                |m| replace(m, "m/etc/crio/crio.conf.d/50-kata-osinfo.conf", "/opt/kata/share", "/theirs"),
                "/etc/crio/crio.conf.d/50-kata-osinfo.conf:",
            ),
            (
                "ours is empty",
                |m| m.file("m/etc/crio/crio.conf.d/50-kata-osinfo.conf", "# Nothing.\n"),
                "/etc/crio/crio.conf.d/50-kata-osinfo.conf: handler kata is not there any more",
            ),
        ],
    );
}

/// A drop-in that is read after kata-osinfo's.
const LATER: &str = "opt/kata/share/defaults/kata-containers/config.d/99-other.toml";

fn later(machine: &Machine, text: &str) {
    machine.file(&format!("m/{LATER}"), text);
}

#[test]
fn check_reports_changes_that_override_or_break_the_kata_drop_in() {
    let machine = Machine::new();
    assert_eq!(machine.run(&KATA).code, 0);
    for (name, text, expected) in [
        (
            "another VMM",
            "[hypervisor.qemu]\npath = \"/usr/libexec/virtiofsd\"\n",
            "2: hypervisor.qemu.path is \"/usr/libexec/virtiofsd\", wanted \"/usr/libexec/qemu-kvm\"",
        ),
        ("another filesystem", "[hypervisor.qemu]\n\nshared_fs = \"virtio-9p\"\n", "3: hypervisor.qemu.shared_fs is "),
        (
            "a file that is missing",
            "[hypervisor.qemu]\nfirmware = \"/nowhere\"\n",
            "2: hypervisor.qemu.firmware is /nowhere, which is not there",
        ),
        (
            "a DAX window",
            "[hypervisor.qemu]\nvirtio_fs_cache_size = 1024\n",
            "2: hypervisor.qemu.virtio_fs_cache_size is 1024",
        ),
        (
            "a flash that is missing",
            "[hypervisor.qemu]\npflashes = [\"/nowhere\"]\n",
            "2: hypervisor.qemu.pflashes is /nowhere, which is not there",
        ),
        (
            "an image that is empty",
            "[hypervisor.qemu]\nimage = \"/usr/bin/crio\"\n",
            "2: hypervisor.qemu.image is /usr/bin/crio, which is empty",
        ),
        (
            "a key of the other runtime",
            "[agent.kata]\nreconnect_timeout_ms = 9000\n",
            "2: Kata 3.30.0 does not know `reconnect_timeout_ms` and would refuse",
        ),
        (
            "a value of another kind",
            "[hypervisor.qemu]\nkernel = 1\n",
            "2: hypervisor.qemu.kernel is a number, but text in /opt/kata/",
        ),
        (
            "a second VMM",
            "[hypervisor.clh]\nenable_debug = true\n",
            "2: both hypervisor.clh and hypervisor.qemu are set: Kata picks",
        ),
        ("no TOML", "x = [\n", "1: not TOML, Kata would not start"),
    ] {
        assert_reported(&machine, name, |m| later(m, text), &format!("/{LATER}:{expected}"));
    }
    assert_all_reported(
        &machine,
        &[
            (
                "a folder",
                |m| std::fs::create_dir(m.path(&format!("m/{BASE}/config.d/99"))).expect("made"),
                "/opt/kata/share/defaults/kata-containers/config.d/99: Kata would not start",
            ),
            (
                "ours was changed",
                |m| replace(m, &format!("m/{BASE}/config.d/50-kata-osinfo.toml"), "\"virtio-fs\"", "\"virtio-9p\""),
                "/opt/kata/share/defaults/kata-containers/config.d/50-kata-osinfo.toml:",
            ),
            (
                "Kata is gone",
                |m| std::fs::remove_file(m.path(&format!("m/{BASE}/configuration-qemu.toml"))).expect("removed"),
                "/opt/kata/share/defaults/kata-containers/configuration-qemu.toml: Kata's configuration is not there any more",
            ),
        ],
    );
}

/// The Rust runtime rejects the key in the main file, too, and `configure` reports that at once.
#[test]
fn an_agent_key_that_the_rust_runtime_refuses_is_reported() {
    let machine = Machine::new();
    let main = format!("/{BASE}/configuration-qemu.toml");
    let call = ["configure", "--profile", "rs-4.0", "--kata-config", main.as_str()];
    assert_eq!(machine.run(&call).code, 0);
    replace(&machine, &format!("m{main}"), "kernel_modules=[]", "dial_timeout = 90");
    let expected = format!("{main}:17: Kata 4.0.0 does not know `dial_timeout`");
    let findings = machine.check_findings();
    assert!(findings.iter().any(|t| t.starts_with(&expected)), "{findings:?}");
    let output = machine.run(&call);
    assert!(output.code == 13 && output.stderr.contains(&expected), "{}", output.stderr);
}

#[test]
fn check_reports_changes_to_an_edited_kata_config() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["configure", "--profile", "go-2.4", "--kata-version", "2.4.0"]).code, 0);
    assert_all_reported(
        &machine,
        &[(
            "another filesystem",
            |m| {
                let main = format!("m/{BASE}/configuration-qemu.toml");
                replace(m, &main, "shared_fs = \"virtio-fs\"", "shared_fs = \"virtio-9p\"");
            },
            "/opt/kata/share/defaults/kata-containers/configuration-qemu.toml:11: hypervisor.qemu.shared_fs is \"virtio-9p\", wanted \"virtio-fs\"",
        )],
    );
    // This Kata reads no drop-ins.
    later(&machine, "[hypervisor.qemu]\npath = \"/theirs\"\n");
    assert_eq!(machine.check_findings(), Vec::<String>::new());
}

#[test]
fn a_key_that_an_older_kata_refuses_is_reported() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["configure", "--profile", "go-2.5", "--kata-version", "2.5.0"]).code, 0);
    assert_all_reported(
        &machine,
        &[(
            "a key of Kata 3",
            |m| later(m, "[hypervisor.qemu]\nblock_device_aio = \"threads\"\n"),
            "/opt/kata/share/defaults/kata-containers/config.d/99-other.toml:2: Kata 2.5.0 does not know `block_device_aio`",
        )],
    );
}

#[test]
fn permitted_differences_are_not_reported() {
    let machine = with_handler(V2, "1.7");
    assert_eq!(machine.run(&[&KATA[..], &["--emulated"]].concat()).code, 0);
    let more = "[hypervisor.qemu]\nvirtio_fs_cache = \"always\"\nvalid_hypervisor_paths = [\"/mine\", \"/usr/libexec/qemu-kvm\"]\n\
                enable_debug = true\n[agent.kata]\ndial_timeout = 900\n";
    later(&machine, more);
    assert_eq!(machine.check_findings(), Vec::<String>::new());
    let machine = with_handler(V2, "1.7");
    replace(&machine, MAIN, "[\"io.katacontainers.*\"]", "[\"io.katacontainers.*\", \"my.org/*\"]");
    replace(&machine, MAIN, "privileged_without_host_devices = true", "snapshotter = \"devmapper\"");
    machine.file(MAIN, &format!("{}\n[theirs]\nx = 1\n", machine.read(MAIN)));
    assert_eq!(machine.check_findings(), Vec::<String>::new());
}

/// The same files, for versions of containerd of which the older ones search the working directory.
#[test]
fn relative_imports_are_resolved_as_that_containerd_version_does() {
    let machine = Machine::new();
    machine.file(MAIN, "version = 2\nimports = [\"conf.d/*.toml\"]\n");
    machine.file("m/etc/containerd/conf.d/x.toml", "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"p\"\n");
    let call = |version| {
        machine.run(&["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", version])
    };
    let expected = "/ for a service without WorkingDirectory=";
    for (version, is_reported) in [("1.7.24", false), ("1.6.39", false), ("1.7", true), ("1.6", true)] {
        let output = call(version);
        assert_eq!(output.code, 13, "{version}: {}", output.stderr);
        assert!(output.stderr.contains("conf.d/x.toml, which /etc/containerd/config.toml imports, replaces"));
        assert_eq!(output.stderr.contains(expected), is_reported, "{version}: {}", output.stderr);
    }
    for version in ["1.7.15", "1.6.20"] {
        let output = call(version);
        assert!(output.code == 0 && output.stderr.contains(expected), "{version}: {}", output.stderr);
    }
    // No package tells the version here.
    let found = machine.check_findings();
    assert!(
        found.iter().any(|f| f.contains("handler kata is not there any more") && f.contains(expected)),
        "{found:?}"
    );
    machine.file(MAIN, &machine.read(MAIN).replace("conf.d/*", "/etc/site/*"));
    assert_eq!(machine.check_findings(), Vec::<String>::new());
}
