//! `configure` if several of Kata's configurations are in one directory and so share their drop-ins.

use crate::machine::{BASE, KATA, Machine};
use model::kata_version::KataVersion;
use model::profile::Runtime;
use operator::configure::{MergedConfiguration, locate};
use root::Root;
use serde_json::{Value, json};
use std::path::Path;

const RS: &str = "opt/kata/share/defaults/kata-containers/runtime-rs";

/// Creates the layout of Kata's static release: configurations for other VMMs, and for QEMU with confidential guests,
/// next to the one for QEMU.
fn everything_in_one_folder() -> Machine {
    let machine = Machine::new();
    for vmm in ["clh", "firecracker", "stratovirt"] {
        machine.file(&format!("m/{BASE}/configuration-{vmm}.toml"), &other(vmm));
    }
    let snp = "[hypervisor.qemu]\npath = \"/snp\"\nconfidential_guest = true\nshared_fs = \"none\"\n";
    machine.file(&format!("m/{BASE}/configuration-qemu-snp.toml"), snp);
    for vmm in ["clh", "dragonball"] {
        machine.file(&format!("m/{RS}/configuration-{vmm}.toml"), &other(vmm));
    }
    machine.file(&format!("m/{RS}/configuration.toml"), &rust());
    machine.file("m/opt/kata/runtime-rs/bin/containerd-shim-kata-v2", "");
    machine
}

fn other(vmm: &str) -> String {
    format!("[hypervisor.{vmm}]\npath = \"/{vmm}\"\n\n[runtime]\nhypervisor_name = \"{vmm}\"\n")
}

fn rust() -> String {
    KATA.replace("[runtime]\n", "[runtime]\nhypervisor_name = \"qemu\"\n")
}

/// Returns a runtime's view of one configuration, with all of its drop-ins.
fn merged(machine: &Machine, configuration: &str, runtime: Runtime) -> MergedConfiguration {
    let root = Root::new(&machine.path("m")).expect("a root");
    let located = locate(&root, runtime, Some(Path::new(configuration))).expect("it is there");
    assert_eq!(located.path, Path::new(configuration));
    let kata = if runtime == Runtime::Go { KataVersion::new(3, 30, 0) } else { KataVersion::new(4, 0, 0) };
    MergedConfiguration::read(&root, &located, runtime, kata).expect("readable")
}

/// Whether anything is set in `[hypervisor.qemu]`.
fn has_qemu_settings(merged: &MergedConfiguration) -> bool {
    format!("{merged:?}").contains(r#"["hypervisor", "qemu", "#)
}

#[test]
fn other_vmms_and_confidential_guests_keep_their_configurations() {
    let machine = everything_in_one_folder();
    let before = machine.everything();
    for handler in [&[][..], &["--handler", "containerd", "--containerd-version", "1.7"][..]] {
        for (profile, runtime, folder) in [("go-3.29", Runtime::Go, BASE), ("rs-4.0", Runtime::Rs, RS)] {
            let output = machine.run(&[&["configure", "--profile", profile, "--format", "json"], handler].concat());
            assert_eq!(output.code, 0, "{profile}: {}", output.stderr);
            let names = std::fs::read_dir(machine.path(&format!("m/{folder}"))).expect("listed");
            let mut others = 0;
            for name in names.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")) {
                let Some(vmm) = name.strip_prefix("configuration-").and_then(|n| n.strip_suffix(".toml")) else {
                    continue;
                };
                let merged = merged(&machine, &format!("/{folder}/{name}"), runtime);
                if vmm == "qemu-snp" {
                    assert_eq!(merged.get(&["hypervisor", "qemu", "shared_fs"]), Some(&json!("none")));
                    assert!(has_qemu_settings(&merged), "{profile}: {merged:?}");
                    others += 1;
                } else if vmm != "qemu" {
                    assert!(!has_qemu_settings(&merged), "{profile}: {name}");
                    assert_eq!(merged.get(&["runtime", "hypervisor_name"]), Some(&json!(vmm)));
                    others += 1;
                }
            }
            assert!(others >= 2, "{others}");
            // The runtime reads the copy: by its own search, or because its handler names it.
            let answer = output.json();
            let path = answer["kata-config"]["path"].as_str().expect("a path");
            assert!(path.starts_with("/etc/kata-containers/"), "{path}");
            if !handler.is_empty() {
                let config = machine.read("m/etc/containerd/config.toml");
                assert!(config.contains(&format!("ConfigPath = \"{path}\"")), "{config}");
            }
            let text = machine.read(&format!("m{path}"));
            let (head, rest) = text.split_once('\n').expect("a first line");
            assert!(head.ends_with(answer["kata-config"]["copied-from"].as_str().expect("a path")), "{head}");
            assert_eq!(rest, if runtime == Runtime::Go { KATA.to_owned() } else { rust() });
            // A second call finds the original file, not the copy.
            let again = machine.run(&[&["configure", "--profile", profile, "--format", "json"], handler].concat());
            assert_eq!(again.json()["diff"], json!(""), "{}", again.stderr);
            for what in ["path", "copied-from"] {
                assert_eq!(again.json()["kata-config"][what], answer["kata-config"][what]);
            }
            assert_eq!(machine.run(&["unconfigure"]).code, 0);
            assert_eq!(machine.everything(), before);
        }
    }
}

#[test]
fn the_hypervisor_name_is_written_only_if_it_is_missing() {
    let machine = Machine::new();
    let configuration = format!("/{RS}/configuration.toml");
    let wrote = |text: &str| {
        machine.file(&format!("m{configuration}"), text);
        let output = machine.run(&["configure", "--profile", "rs-4.0", "--format", "json"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        let settings = output.json()["settings"].clone();
        let drop_in = machine.read(&format!("m/{RS}/config.d/50-kata-osinfo.toml"));
        let wrote = drop_in.contains("hypervisor_name");
        let names = |s: &Value| s.as_array().is_some_and(|a| a.iter().any(|s| s["key"] == json!("hypervisor_name")));
        assert_eq!(names(&settings), wrote);
        assert_eq!(
            merged(&machine, &configuration, Runtime::Rs).get(&["runtime", "hypervisor_name"]),
            Some(&json!("qemu"))
        );
        wrote
    };
    assert!(!wrote(&rust()));
    // Again, while the drop-in exists.
    assert!(!wrote(&rust()));
    assert!(wrote(KATA));
    assert!(wrote(KATA));
}

#[test]
fn configure_is_refused_if_a_config_copy_would_not_be_read() {
    let machine = everything_in_one_folder();
    let before = machine.everything();
    // A handler of the admin's names the shipped file, so it would not read a copy.
    let named = format!("/{BASE}/configuration-qemu.toml");
    let handler = format!(
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.mine]\nruntime_type = \"io.containerd.kata.v2\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.mine.options]\nConfigPath = \"{named}\"\n"
    );
    machine.file("m/etc/containerd/config.toml", &handler);
    for more in [&[][..], &["--kata-config", &named][..]] {
        let output = machine.run(&[&["configure", "--profile", "go-3.29"], more].concat());
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stderr.contains("configuration-clh.toml, ") && output.stderr.contains("pass --handler"));
    }
    std::fs::remove_dir_all(machine.path("m/etc/containerd")).expect("removed");
    // The first path that Kata searches has a file of the admin's.
    let taken = "/etc/kata-containers/configuration.toml";
    machine.file(&format!("m{taken}"), "[hypervisor.clh]\n");
    let output = machine.run(&["configure", "--profile", "go-3.29", "--kata-config", &named]);
    assert_eq!(output.code, 2, "{}", output.stderr);
    std::fs::remove_dir_all(machine.path("m/etc/kata-containers")).expect("removed");
    // A link leads back to the shared directory.
    std::os::unix::fs::symlink(format!("/{BASE}"), machine.path("m/etc/kata-containers")).expect("a link");
    let output = machine.run(&["configure", "--profile", "go-3.29"]);
    assert_eq!(output.code, 2, "{}", output.stderr);
    std::fs::remove_file(machine.path("m/etc/kata-containers")).expect("removed");
    // The path for a handler leads there, too, and the first path is taken by the admin's file.
    machine.file(&format!("m{taken}"), "[hypervisor.clh]\n");
    let own = machine.path("m/etc/kata-containers/kata-osinfo");
    std::os::unix::fs::symlink(format!("/{BASE}"), own).expect("a link");
    for more in [&[][..], &["--handler", "containerd", "--containerd-version", "2.1"][..]] {
        let output = machine.run(&[&["configure", "--profile", "go-3.29", "--kata-config", &named], more].concat());
        assert_eq!(output.code, 2, "{}", output.stderr);
        let expected =
            "would go to /etc/kata-containers/kata-osinfo/configuration-qemu.toml, which leads to the files of others";
        assert!(output.stderr.contains(expected) && !output.stderr.contains("pass --handler"), "{}", output.stderr);
    }
    // If the first path is free, the path for a handler does not matter.
    let free = machine.copy();
    std::fs::remove_file(free.path(&format!("m{taken}"))).expect("removed");
    let output = free.run(&["configure", "--profile", "go-3.29", "--kata-config", &named]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(free.read(&format!("m{taken}")).contains(&named), "{}", free.read(&format!("m{taken}")));
    std::fs::remove_dir_all(machine.path("m/etc/kata-containers")).expect("removed");
    // Confidential guests are not supported.
    let snp = format!("/{BASE}/configuration-qemu-snp.toml");
    let output = machine.run(&["configure", "--profile", "go-3.29", "--kata-config", &snp]);
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains("confidential_guest = true"), "{}", output.stderr);
    assert_eq!(machine.everything(), before);
}

/// Kata reads both, and a drop-in has the same effect as the main file.
#[test]
fn a_configuration_made_confidential_by_a_drop_in_is_refused() {
    let handler: &[&str] = &["--handler", "containerd", "--containerd-version", "1.7"];
    for key in ["confidential_guest", "sev_snp_guest"] {
        for (machine, more) in [(Machine::new(), &[][..]), (everything_in_one_folder(), handler)] {
            machine.file(&format!("m/{BASE}/config.d/10-snp.toml"), &format!("[hypervisor.qemu]\n{key} = true\n"));
            let before = machine.everything();
            let output = machine.run(&[&["configure", "--profile", "go-3.29"], more].concat());
            assert_eq!(output.code, 2, "{}", output.stderr);
            let expected = format!("({key} = true in /{BASE}/config.d/10-snp.toml:2)");
            assert!(output.stderr.contains(&expected), "{}", output.stderr);
            assert_eq!(machine.everything(), before);
        }
    }
    // Conversely, a configuration is not refused if a drop-in makes it ordinary.
    let machine = Machine::new();
    let main = format!("m/{BASE}/configuration-qemu.toml");
    machine.file(&main, &KATA.replace("machine_type", "confidential_guest = true\nmachine_type"));
    assert_eq!(machine.run(&["configure", "--profile", "go-3.29"]).code, 2);
    machine.file(&format!("m/{BASE}/config.d/60-mine.toml"), "[hypervisor.qemu]\nconfidential_guest = false\n");
    let output = machine.run(&["configure", "--profile", "go-3.29"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(machine.check_findings(), Vec::<String>::new());
}

/// The drop-in in question is read only in the directory of the copy.
#[test]
fn a_config_copy_made_confidential_by_a_drop_in_is_refused() {
    let machine = everything_in_one_folder();
    let call = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "1.7"];
    assert_eq!(machine.run(&call).code, 0);
    let snp = "/etc/kata-containers/kata-osinfo/config.d/60-snp.toml";
    machine.file(&format!("m{snp}"), "[hypervisor.qemu]\nconfidential_guest = true\n");
    let findings = machine.check_findings();
    assert!(
        findings.iter().any(|t| t.starts_with(&format!("{snp}:2: hypervisor.qemu.confidential_guest is"))),
        "{findings:?}"
    );
    let output = machine.run(&call);
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains(&format!("in {snp}:2)")), "{}", output.stderr);
}

/// Kata would then use either of two VMMs.
#[test]
fn a_later_configuration_in_the_same_folder_is_reported() {
    let machine = Machine::new();
    let call = ["configure", "--profile", "go-3.29"];
    assert_eq!(machine.run(&call).code, 0);
    machine.file(&format!("m/{BASE}/configuration-qemu-two.toml"), KATA);
    assert_eq!(machine.check_findings(), Vec::<String>::new());
    machine.file(&format!("m/{BASE}/configuration-clh.toml"), &other("clh"));
    let findings = machine.check_findings();
    let expected = format!("/{BASE}/configuration-clh.toml: it is not for ordinary QEMU guests, but reads the same");
    assert!(findings.len() == 1 && findings[0].starts_with(&expected), "{findings:?}");
    // Following the hint.
    let output = machine.run(&call);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(!machine.path(&format!("m/{BASE}/config.d/50-kata-osinfo.toml")).exists());
    assert_eq!(machine.check_findings(), Vec::<String>::new());
}

#[test]
fn drop_ins_missing_from_a_config_copy_are_reported() {
    let machine = everything_in_one_folder();
    // Of these keys, kata-osinfo overrides one, one is for another VMM, and two would be lost.
    let mine = "[hypervisor.qemu]\nenable_debug = true\npath = \"/mine\"\n[hypervisor.clh]\nenable_debug = true\n[agent.kata]\nenable_tracing = true\n";
    machine.file(&format!("m/{BASE}/config.d/60-mine.toml"), mine);
    for _ in 0..2 {
        let output = machine.run(&["configure", "--profile", "go-3.29"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        let expected = format!(
            "warning: the copy does not read /{BASE}/config.d/60-mine.toml: put the settings that it needs \
             (hypervisor.qemu.enable_debug = true, agent.kata.enable_tracing = true) \
             into /etc/kata-containers/config.d\n"
        );
        assert_eq!(output.stderr.matches(&expected).count(), 1, "{}", output.stderr);
        assert_eq!(output.stderr.matches("the copy does not read").count(), 1, "{}", output.stderr);
    }
    // If the copy's directory has them, there is nothing to report.
    let settings = "[hypervisor.qemu]\nenable_debug = true\n[agent.kata]\nenable_tracing = true\n";
    machine.file("m/etc/kata-containers/config.d/60-mine.toml", settings);
    let output = machine.run(&["configure", "--profile", "go-3.29"]);
    assert!(output.code == 0 && !output.stderr.contains("the copy does not read"), "{}", output.stderr);
    // The original disappears, as in an upgrade of Kata's release.
    std::fs::remove_dir_all(machine.path("m/opt/kata/share")).expect("removed");
    let output = machine.run(&["configure", "--profile", "go-3.29"]);
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains("copy of /opt/kata/share/defaults"), "{}", output.stderr);
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
}

#[test]
fn check_reports_configured_files_that_are_missing_or_changed() {
    let machine = everything_in_one_folder();
    machine.file("m/usr/libexec/qemu-kvm", "\x7fELF");
    let findings = || {
        let output = machine.run(&["check", "--all", "--format", "json"]);
        let problems = output.json()["configured"].as_array().expect("a list").clone();
        problems.iter().map(|p| p["message"].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(findings(), Vec::<String>::new());
    let own = ["--kernel", "/boot/vmlinuz-6.1", "--initrd", "/boot/kata.img"];
    assert_eq!(machine.run(&[&["configure", "--profile", "go-3.29"], &own[..]].concat()).code, 0);
    assert_eq!(findings(), Vec::<String>::new());
    std::fs::rename(machine.path("m/boot/vmlinuz-6.1"), machine.path("m/boot/vmlinuz-6.2")).expect("moved");
    assert_eq!(findings(), ["hypervisor.qemu.kernel is /boot/vmlinuz-6.1, which is not there: configure again"]);
    let quiet = machine.run(&["check", "--all", "--quiet"]);
    assert!(
        quiet.stdout.contains("configured: /etc/kata-containers/config.d/50-kata-osinfo.toml:"),
        "{}",
        quiet.stdout
    );
    assert_ne!(quiet.code, 0);
    std::fs::rename(machine.path("m/boot/vmlinuz-6.2"), machine.path("m/boot/vmlinuz-6.1")).expect("moved");
    machine.file(&format!("m/{BASE}/configuration-qemu.toml"), &format!("{KATA}# a new version\n"));
    assert!(findings()[0].contains("configuration-qemu.toml, which has changed"), "{:?}", findings());
    std::fs::remove_dir_all(machine.path("m/etc/kata-containers")).expect("removed");
    assert_eq!(findings().iter().filter(|t| t.contains("it no longer exists")).count(), 2, "{:?}", findings());
}
