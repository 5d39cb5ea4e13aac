//! `configure`, `unconfigure`, `fallback` and `requirements`, from outside, on simulated machines in a directory.

use crate::machine::{BASE, Machine, RECORD, cpio, debian_mirror, with};
use assert_cmd::Command;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn a_dry_run_shows_a_diff_and_changes_nothing() {
    let machine = Machine::new();
    let before = machine.everything();
    let output = machine.run(&with(&["configure", "--profile", "go-3.29"], &["--dry-run", "--emulated"]));
    assert_eq!(output.code, 0, "{}", output.stderr);
    insta::assert_snapshot!(output.stdout, @r#"
    --- /dev/null
    +++ b/opt/kata/share/defaults/kata-containers/config.d/50-kata-osinfo.toml
    @@ -0,0 +1,38 @@
    +# Written by kata-osinfo for profile go-3.29 (Kata 3.29.0); `kata-osinfo unconfigure` removes it.
    +# A drop-in with a later name overrides it.
    +# shared_fs: virtio-fs has never been verified for this release with go-3.29
    +# block_device_aio: /usr/libexec/qemu-kvm was built without io_uring, Kata's default
    +
    +[hypervisor.qemu]
    +# the distro's QEMU
    +path = "/usr/libexec/qemu-kvm"
    +# paths that a pod's annotation may name
    +valid_hypervisor_paths = ["/usr/libexec/qemu-kvm"]
    +# what the release was qualified with
    +machine_type = "q35"
    +# the distro's kernel
    +kernel = "/boot/vmlinuz-6.1"
    +# a distro's kernel has its drivers in modules
    +initrd = "/boot/kata.img"
    +# Kata takes an image or an initrd, not both
    +image = ""
    +# the preferred filesystem that works
    +shared_fs = "virtio-fs"
    +# the distro's daemon
    +virtio_fs_daemon = "/usr/libexec/virtiofsd"
    +# paths that a pod's annotation may name
    +valid_virtio_fs_daemon_paths = ["/usr/libexec/virtiofsd"]
    +# what the release was qualified with
    +virtio_fs_cache = "auto"
    +# what the release was qualified with
    +virtio_fs_extra_args = ["--a", "--thread-pool-size=1", "--announce-submounts"]
    +# Kata's default, io_uring, does not work here
    +block_device_aio = "threads"
    +
    +[agent.kata]
    +# this machine has no hardware acceleration
    +dial_timeout = 300
    +
    +[runtime]
    +# this machine has no hardware acceleration
    +create_container_timeout = 300
    "#);
    assert_eq!(machine.everything(), before);
}

#[test]
fn configure_takes_effect_and_unconfigure_restores_every_byte() {
    let machine = Machine::new();
    machine.file("m/usr/bin/containerd", "");
    machine.file("m/etc/containerd/config.toml", "version = 2 # ours\n");
    let before = machine.everything();
    // A drop-in, then an edit of the same, with handlers of both kinds: each on top of the previous result.
    for (profile, version, handler) in
        [("go-3.29", "3.30.0", "containerd"), ("go-2.4", "2.4.0", "crio"), ("go-3.29", "3.30.0", "crio")]
    {
        let arguments = ["--kata-version", version, "--handler", handler, "--format", "json"];
        let output = machine.run(&with(&["configure", "--profile", profile], &arguments));
        assert_eq!(output.code, 0, "{}", output.stderr);
        let answer = output.json();
        assert_eq!(answer["not-effective"], json!([]));
        assert_eq!(answer["configuration"]["production"], json!(true));
        assert_ne!(machine.everything(), before);
        // A second call changes nothing.
        let once = machine.everything();
        let again = machine.run(&with(&["configure", "--profile", profile], &arguments)).json();
        assert_eq!(again["diff"], json!(""));
        assert_eq!(machine.everything(), once);
    }
    let dry = machine.run(&["unconfigure", "--dry-run"]);
    assert!(dry.stdout.contains("-shared_fs = \"virtio-fs\""), "{}", dry.stdout);
    let output = machine.run(&["unconfigure"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(machine.everything(), before);
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, ""));
    assert!(output.stderr.contains("nothing is configured"));
}

/// A removed handler is reported, because a `RuntimeClass` may still refer to it.
#[test]
fn files_reverted_by_a_new_configure_are_reported() {
    let machine = Machine::new();
    machine.file("m/etc/containerd/config.toml", "version = 2 # ours\n");
    let call = ["configure", "--profile", "go-3.29"];
    let with = |more: &[&'static str]| machine.run(&[&call[..], more].concat());
    assert_eq!(with(&["--handler", "containerd", "--containerd-version", "2.1"]).code, 0);
    let drop_in = "/etc/containerd/conf.d/50-kata-osinfo.toml";
    for more in [&["--handler", "crio", "--format", "json", "--dry-run"][..], &["--format", "json"]] {
        let output = with(more);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(output.json()["taken-back"], json!([drop_in, "/etc/containerd/config.toml"]), "{more:?}");
        let removed = format!("note: {drop_in} is no longer needed: it is removed\n");
        let edited = "note: /etc/containerd/config.toml is no longer needed: it is restored to its text without";
        assert!(output.stderr.contains(&removed) && output.stderr.contains(edited), "{}", output.stderr);
    }
    assert_eq!(with(&["--format", "json"]).json()["taken-back"], json!([]));
}

#[test]
fn the_json_answer_keeps_its_format() {
    let machine = Machine::new();
    let output = machine.run(&["configure", "--profile", "go-3.29", "--dry-run", "--format", "json"]);
    let mut answer = output.json();
    assert_eq!(answer["theirs"].as_array().map(Vec::len), Some(3), "{}", answer["theirs"]);
    answer["theirs"].as_array_mut().expect("a list").truncate(1);
    for long in ["settings", "diff"] {
        answer[long] = json!(answer[long].as_array().is_some_and(|a| !a.is_empty()) || answer[long].is_string());
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&answer).expect("JSON"), @r#"
    {
      "arch": "x86_64",
      "borrowed": null,
      "configuration": {
        "block-aio": "threads",
        "boot": {
          "what": "kata"
        },
        "cache": "auto",
        "emulated": false,
        "extra-args": [
          "--thread-pool-size=1",
          "--announce-submounts"
        ],
        "hypervisor": "/usr/libexec/qemu-kvm",
        "kata": "3.29.0",
        "machine": "q35",
        "notes": [
          {
            "about": "kernel",
            "text": "Kata's own kernel is used: Kata's releases keep it up to date, not the distro"
          },
          {
            "about": "image",
            "text": "whether guests can boot from Kata's image has not been verified for this release: vmm.image.nvdimm"
          },
          {
            "about": "shared_fs",
            "text": "virtio-fs has never been verified for this release with go-3.29"
          },
          {
            "about": "block_device_aio",
            "text": "/usr/libexec/qemu-kvm was built without io_uring, Kata's default"
          }
        ],
        "passed-over": [],
        "production": true,
        "profile": "go-3.29",
        "runtime": "go",
        "share": {
          "daemon": "/usr/libexec/virtiofsd",
          "name": "virtio-fs"
        },
        "unproven-image": true
      },
      "derivative": null,
      "diff": true,
      "files": [
        "/opt/kata/share/defaults/kata-containers/config.d/50-kata-osinfo.toml"
      ],
      "kata-config": {
        "copied-from": null,
        "named-by": "the runtime's own search",
        "others": [],
        "path": "/opt/kata/share/defaults/kata-containers/configuration-qemu.toml",
        "siblings": []
      },
      "not-effective": [],
      "outcome": "configure",
      "problems": [],
      "release": {
        "aliases": [],
        "codename": "first",
        "distro": "mini",
        "eol": null,
        "lts": null,
        "name": "mini:1",
        "released": null,
        "version": "1"
      },
      "settings": true,
      "taken-back": [],
      "theirs": [
        {
          "fate": "overridden",
          "file": "/opt/kata/share/defaults/kata-containers/configuration-qemu.toml",
          "key": "hypervisor.qemu.path",
          "line": 4,
          "ours": "/usr/libexec/qemu-kvm",
          "was": "/opt/kata/bin/qemu"
        }
      ],
      "version": 1,
      "warnings": [],
      "written": false
    }
    "#);
}

#[test]
fn before_kata_2_5_the_config_is_edited_and_keeps_its_comments() {
    let machine = Machine::new();
    let output = machine.run(&with(&["configure", "--profile", "go-2.4"], &["--kata-version", "2.4.0"]));
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(!machine.path(&format!("m/{BASE}/config.d")).exists());
    insta::assert_snapshot!(machine.read(&format!("m/{BASE}/configuration.toml")), @r##"
    # Shipped configuration

    [hypervisor.qemu]
    path = "/usr/libexec/qemu-kvm"   # the VMM
    kernel = "/boot/vmlinuz-6.1"
    image = ""
    #initrd = "unset"
    machine_type = "q35"

    # Shared file system
    shared_fs = "virtio-fs"
    virtio_fs_extra_args = [
      "--a", # first
      "--thread-pool-size=1",
      "-o",
      "announce_submounts",
    ]
    valid_hypervisor_paths = ["/usr/libexec/qemu-kvm"]
    initrd = "/boot/kata.img"
    virtio_fs_daemon = "/usr/libexec/virtiofsd"
    valid_virtio_fs_daemon_paths = ["/usr/libexec/virtiofsd"]
    virtio_fs_cache = "auto"

    [agent.kata]
    kernel_modules=[]

    [runtime]
    internetworking_model="tcfilter"
    "##);
    // The link is still a link.
    let file = format!("m/{BASE}/configuration.toml");
    assert!(machine.path(&file).is_symlink());
    // Comments next to kata-osinfo's keys and in its lists keep their places in another `configure`.
    let mine = machine.read(&file);
    let mine = mine.replace("valid_hypervisor_paths = [", "# mine\nvalid_hypervisor_paths = [ # why\n  ");
    let mine = mine.replace("\"announce_submounts\",", "\"announce_submounts\", # too");
    machine.file(&file, &mine);
    let output = machine.run(&with(&["configure", "--profile", "go-2.4"], &["--kata-version", "2.4.0"]));
    assert_eq!((output.code, machine.read(&file)), (0, mine), "{}", output.stderr);
    assert_eq!(machine.run(&["unconfigure"]).code, 0);
    let reverted = machine.read(&file);
    assert!(!reverted.contains("valid_hypervisor_paths") && !reverted.contains("announce_submounts"), "{reverted}");
    for comment in ["# mine", "# why", "# too"] {
        assert_eq!(reverted.matches(comment).count(), 1, "{comment}: {reverted}");
    }
}

#[test]
fn a_later_override_is_reported_with_file_and_line() {
    let machine = Machine::new();
    machine.file(&format!("m/{BASE}/config.d/90-admin.toml"), "# mine\n[hypervisor.qemu]\nshared_fs = \"none\"\n");
    for more in [&["--dry-run"][..], &[][..]] {
        let output = machine.run(&with(
            &["configure", "--profile", "rs-4.0", "--kata-config", &format!("/{BASE}/configuration.toml")],
            more,
        ));
        assert_eq!(output.code, 13, "{}", output.stderr);
        let expected = format!(
            "warning: /{BASE}/config.d/90-admin.toml:3: hypervisor.qemu.shared_fs is \"none\", wanted \"virtio-fs\"\n"
        );
        assert!(output.stderr.contains(&expected), "{}", output.stderr);
    }
}

#[test]
fn a_missing_file_named_in_the_configuration_is_reported() {
    let machine = Machine::new();
    std::fs::remove_file(machine.path("m/opt/kata/image")).expect("removed");
    let output = machine.run(&["configure", "--profile", "go-3.29"]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    let expected =
        format!("/{BASE}/configuration-qemu.toml:6: hypervisor.qemu.image is /opt/kata/image, which is not there");
    assert!(output.stderr.contains(&expected), "{}", output.stderr);
    // With a kernel and an initrd of one's own, the image is not needed.
    assert_eq!(machine.run(&with(&["configure", "--profile", "go-3.29"], &[])).code, 0);
}

#[test]
fn only_forced_configurations_are_marked_as_not_for_production() {
    let machine = Machine::new();
    let drop_in = || machine.read(&format!("m/{BASE}/config.d/50-kata-osinfo.toml"));
    let recorded = || -> Value {
        let state = machine.read("m/var/lib/kata-osinfo/configured.json");
        serde_json::from_str::<Value>(&state).expect("JSON")["configurations"][0]["production"].clone()
    };
    let output = machine.run(&["configure", "--profile", "go-3.29"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let all = format!("{}{}{}", output.stdout, output.stderr, drop_in());
    assert!(!all.to_lowercase().contains("for production"), "{all}");
    assert!(output.stderr.contains("note: kernel: Kata's own kernel is used"), "{}", output.stderr);
    assert_eq!(recorded(), json!(true));
    machine.file("m/boot/kata.img", &cpio(&["usr/bin/kata-agent", "lib/modules/5.10.0/virtiofs.ko"]));
    let output = machine.run(&with(&["configure", "--profile", "go-3.29"], &["--force"]));
    assert!(output.stderr.contains("warning: not for production"), "{}", output.stderr);
    assert!(drop_in().contains("# NOT FOR PRODUCTION"), "{}", drop_in());
    assert_eq!(recorded(), json!(false));
}

/// `--no-shared-fs` needs no other option, because Kata's own configuration names the files that it needs.
#[test]
fn without_a_shared_filesystem_no_virtiofsd_is_needed() {
    let machine = Machine::new();
    std::fs::remove_file(machine.path("m/usr/libexec/virtiofsd")).expect("removed");
    let configure =
        |profile: &str| machine.run(&["configure", "--profile", profile, "--no-shared-fs", "--format", "json"]);
    let output = configure("go-3.29");
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(output.json()["configuration"]["share"], json!({ "name": "none" }));
    let drop_in = machine.read(&format!("m/{BASE}/config.d/50-kata-osinfo.toml"));
    assert!(drop_in.contains("shared_fs = \"none\"") && !drop_in.contains("virtio_fs_daemon"), "{drop_in}");
    let output = configure("go-3.1");
    assert_eq!((output.code, output.json()["error"]["kind"].clone()), (2, json!("no-such-share")), "{}", output.stderr);
}

#[test]
fn a_handler_for_a_missing_container_manager_is_refused() {
    let machine = Machine::new();
    // As `apt remove` leaves them.
    machine.file("m/etc/containerd/config.toml", "version = 2\n");
    machine.file("m/etc/crio/crio.conf", "[crio]\n");
    let before = machine.everything();
    let call =
        |more: &[&str]| machine.run(&[&["configure", "--profile", "go-3.29", "--format", "json"], more].concat());
    let refused = |handler: &str| {
        let output = call(&["--handler", handler]);
        assert_eq!(output.code, 11, "{handler}: {}", output.stderr);
        assert_eq!(output.json()["error"]["kind"], json!("no-container-manager"));
        assert_eq!(machine.everything(), before, "{handler}");
    };
    refused("containerd");
    // A caller that passes containerd's version knows that it will be installed.
    assert_eq!(call(&["--handler", "containerd", "--containerd-version", "2.1", "--dry-run"]).code, 0);
    machine.file("m/usr/sbin/containerd", "");
    std::fs::set_permissions(machine.path("m/usr/sbin/containerd"), PermissionsExt::from_mode(0o755)).expect("set");
    assert_eq!(call(&["--handler", "containerd", "--dry-run"]).code, 0);
    assert_eq!(call(&["--handler", "crio", "--dry-run"]).code, 0);
    std::fs::remove_file(machine.path("m/usr/bin/crio")).expect("removed");
    let before = machine.everything();
    let output = call(&["--handler", "crio"]);
    assert_eq!((output.code, machine.everything() == before), (11, true), "{}", output.stderr);
}

#[test]
fn missing_components_are_named_with_their_own_exit_code() {
    let machine = Machine::new();
    std::fs::remove_file(machine.path("m/usr/libexec/qemu-kvm")).expect("removed");
    let output = machine.run(&["configure", "--profile", "rs-4.0", "--format", "json"]);
    assert_eq!(output.code, 11, "{}", output.stderr);
    assert_eq!(output.json()["outcome"], json!("install"));
    assert_eq!(output.json()["missing"]["packages"], json!(["qemu-kvm"]));
    machine.file(
        "records/mini.yaml",
        &RECORD.replace("vmm: {name: qemu, packages: qemu-kvm, path: /usr/libexec/qemu-kvm}\n", ""),
    );
    let output = machine.run(&["fallback", "--profile", "rs-4.0"]);
    assert_eq!(output.code, 11, "{}", output.stderr);
    assert!(output.stdout.contains("/etc/kata-osinfo/mini.yaml"), "{}", output.stdout);
}

/// Otherwise the profile's first version would be assumed.
#[test]
fn an_unreadable_kata_version_file_is_reported() {
    let machine = Machine::new();
    let path = machine.path("m/opt/kata/VERSION");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
    assert!(made.success());
    let assert_refused = |expected: &str| {
        for call in [&["configure", "--profile", "go-3.29", "--dry-run"][..], &["fallback", "--profile", "go-3.29"]] {
            let output = machine.run(call);
            assert_eq!(output.code, 2, "{call:?}: {}", output.stderr);
            assert!(output.stderr.contains(expected), "{call:?}: {}", output.stderr);
            assert!(output.stderr.contains("hint: fix the file, or name Kata's version"), "{}", output.stderr);
            let named = machine.run(&[call, &["--kata-version", "3.30.0"]].concat());
            assert_eq!(named.code, 0, "{call:?}: {}", named.stderr);
        }
    };
    assert_refused("/opt/kata/VERSION cannot be read: not a regular file");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("made");
    assert_refused("/opt/kata/VERSION cannot be read: not a regular file");
    std::fs::remove_dir(&path).expect("removed");
    std::fs::write(&path, [0xff, 0xfe]).expect("written");
    assert_refused("/opt/kata/VERSION: expected UTF-8 text");
}

/// `check` gives the same answer; Kata would not be able to start the program.
#[test]
fn programs_without_execute_permission_are_refused() {
    let handler = ["--handler", "containerd", "--containerd-version", "2.1"];
    let machine = Machine::new();
    for (program, component, code) in [
        ("usr/libexec/qemu-kvm", Some("vmm"), 11),
        ("usr/libexec/virtiofsd", Some("fs"), 11),
        ("opt/kata/bin/containerd-shim-kata-v2", None, 2),
    ] {
        let machine = machine.copy();
        let path = machine.path("m").join(program);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("set");
        let before = machine.everything();
        let expected = format!("/{program} is not an executable file");
        for more in [&["--dry-run"][..], &[]] {
            let output = machine.run(&[&["configure", "--profile", "rs-4.0"][..], &handler, more].concat());
            let go = machine.run(&[&["configure", "--profile", "go-3.29"][..], &handler, more].concat());
            // The Rust shim is another program.
            for output in if component.is_some() { vec![output, go] } else { vec![go] } {
                let printed = output.stdout + &output.stderr;
                assert_eq!(output.code, code, "{printed}");
                assert!(printed.contains(&expected), "{printed}");
            }
        }
        if let Some(component) = component {
            let output = machine.run(&["fallback", "--profile", "rs-4.0"]);
            assert_eq!(output.code, 11, "{}", output.stdout);
            assert!(output.stdout.contains(&expected), "{}", output.stdout);
            let output = machine.run(&["check", component]);
            assert_eq!(output.code, 1, "{}", output.stdout);
            assert!(output.stdout.contains(&expected), "{}", output.stdout);
        }
        assert_eq!(machine.everything(), before, "{program}");
    }
    // A program that lost its execute permission after `configure`.
    assert_eq!(machine.run(&["configure", "--profile", "go-3.29"]).code, 0);
    assert_eq!(machine.check_findings(), Vec::<String>::new());
    let path = machine.path("m/usr/libexec/virtiofsd");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).expect("set");
    let findings = machine.check_findings();
    assert!(
        findings.iter().any(|t| t.contains("is /usr/libexec/virtiofsd, which is not an executable file")),
        "{findings:?}"
    );
}

#[test]
fn assumed_facts_are_used_only_with_allow_assumed() {
    let machine = Machine::new();
    machine.file("records/mini.yaml", &RECORD.replace("packaging", "assumed"));
    let output = machine.run(&["configure", "--profile", "go-3.29"]);
    assert_eq!((output.code, output.stdout.as_str()), (3, ""));
    for fact in ["vmm qemu path: /usr/libexec/qemu-kvm\n", "fs virtio-fs path: /usr/libexec/virtiofsd\n"] {
        assert!(output.stderr.contains(fact), "{}", output.stderr);
    }
    assert!(!output.stderr.contains("kernel linux"), "guests boot Kata's: {}", output.stderr);
    assert_eq!(machine.run(&["configure", "--profile", "go-3.29", "--allow-assumed"]).code, 0);
}

#[test]
fn build_instructions_contain_evidence_and_a_working_record() {
    let machine = Machine::new();
    machine.file("m/usr/libexec/virtiofsd", "fuse: unknown option(s)");
    let output = machine.run(&["configure", "--profile", "rs-4.0"]);
    assert_eq!(output.code, 12, "{}", output.stderr);
    let why = "# virtio-fs is not used: /usr/libexec/virtiofsd is QEMU's C daemon";
    assert!(output.stdout.starts_with(why), "{}", output.stdout);
    assert!(output.stdout.contains("dnf install -y rust cargo gcc libcap-ng-devel libseccomp-devel"));
    let answer = machine.run(&["fallback", "--profile", "rs-4.0", "--format", "json"]).json();
    assert_eq!(answer["outcome"], json!("build"));
    // Cheaper fixes first: people follow the list from the top.
    let kinds: Vec<&Value> =
        answer["choices"].as_array().expect("a list").iter().map(|choice| &choice["what"]).collect();
    assert_eq!(kinds, ["katas-virtiofsd", "no-shared-fs"]);
    let place = |text: &str| output.stdout.find(text).unwrap_or_else(|| panic!("{text}: {}", output.stdout));
    assert!(place("# Try this before building it: use Kata's own virtiofsd") < place("\n#!/bin/sh"));
    // The record from the instructions, laid over the shipped one as they say, is then used by `configure`.
    let record = answer["instructions"][0]["record"].as_str().expect("a record");
    machine.file("own/mini.yaml", record);
    let lint = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
        .arg("lint")
        .arg(machine.path("own/mini.yaml"))
        .output()
        .expect("it runs");
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
    let release = record.split_once("  - version: 1\n").expect("the release").1;
    machine.file("records/mini.yaml", &format!("{}{release}", RECORD.replace("    codename: first\n", "")));
    machine.file("m/usr/local/libexec/virtiofsd", "--shared-dir");
    let output =
        machine.run(&["configure", "--profile", "rs-4.0", "--kata-config", &format!("/{BASE}/configuration.toml")]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    let drop_in = machine.read(&format!("m/{BASE}/config.d/50-kata-osinfo.toml"));
    assert!(drop_in.contains("virtio_fs_daemon = \"/usr/local/libexec/virtiofsd\""), "{drop_in}");
}

#[test]
fn bad_input_is_reported() {
    let machine = Machine::new();
    let assert_refused = |arguments: &[&str], expected: &str| {
        let output = machine.run(arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {}", output.stderr);
        assert!(output.stderr.contains(expected), "{arguments:?}: {}", output.stderr);
    };
    assert_refused(&["configure", "--profile", "go-9"], "unknown profile");
    assert_refused(&["configure", "--profile", "rs-4.0"], "no Kata configuration at /etc/kata-containers/runtime-rs");
    assert_refused(&["configure", "--profile", "go-3.29", "--initrd", "/nowhere"], "initrd /nowhere: no such file");
    assert_refused(&["configure", "--profile", "go-3.29", "--kernel", "distro"], "needs --initrd");
    assert_refused(&["configure", "--profile", "go-3.29", "--kata-version", "x"], "not a version of Kata");
    assert_refused(&["configure", "--target", "mini:7", "--profile", "go-3.29"], "unknown release");
    machine.file("m/k/clh.toml", "[hypervisor.clh]\npath = \"/x\"\n");
    assert_refused(&["configure", "--profile", "go-3.29", "--kata-config", "/k/clh.toml"], "no [hypervisor.qemu]");
    machine.file("m/k/bad.toml", "[hypervisor.qemu\n");
    assert_refused(&["configure", "--profile", "go-3.29", "--kata-config", "/k/bad.toml"], "not TOML");
    machine.file("m/usr/bin/containerd", "");
    machine.file("m/etc/containerd/config.toml", "[plugins.cri]\n");
    let output = machine.run(&["configure", "--profile", "go-3.29", "--handler", "containerd", "--format", "json"]);
    assert_eq!(output.code, 13, "{}", output.stderr);
    assert_eq!(output.json()["error"]["kind"], json!("no-handler"));
    assert!(output.stderr.contains("has version 1 of"), "{}", output.stderr);
    let no_root = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
        .args(["configure", "--profile", "go-3.29", "--root", "/no/such/root"])
        .output()
        .expect("it runs");
    assert_eq!(no_root.status.code(), Some(2));
}

/// A pre-release of a release that changed the arguments belongs to neither profile, because its arguments are unknown.
#[test]
fn a_pre_release_with_unknown_arguments_is_refused() {
    let machine = Machine::new();
    for (profile, version) in [("go-3.1", "3.1.0-alpha0"), ("go-3.32", "3.32.0-rc0"), ("rs-4.1", "4.1.0-alpha1")] {
        let release = version.split('-').next().expect("a release");
        machine.file("m/opt/kata/VERSION", &format!("{version}\n"));
        for version_arguments in [&[][..], &["--kata-version", version]] {
            for call in ["configure", "fallback"] {
                let output = machine.run(&[&[call, "--profile", profile], version_arguments].concat());
                assert_eq!(output.code, 2, "{version}: {}", output.stderr);
                let expected = format!("kata {version} is a pre-release of {release}");
                assert!(output.stderr.contains(&expected), "{}", output.stderr);
            }
        }
    }
    machine.file("m/opt/kata/VERSION", "3.32.0-dirty\n");
    let output = machine.run(&["configure", "--profile", "go-3.32"]);
    assert_eq!(output.code, 2, "a version that nobody understands is not the profile's: {}", output.stderr);
    // This pre-release changed no arguments.
    machine.file("m/opt/kata/VERSION", "3.30.0-rc0\n");
    let output = machine.run(&["configure", "--profile", "go-3.29", "--dry-run"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stderr.contains("Kata 3.30.0-rc0 (by /opt/kata/VERSION)"), "{}", output.stderr);
}

#[test]
fn a_drop_in_changed_by_others_is_removed_only_by_force() {
    let machine = Machine::new();
    assert_eq!(machine.run(&["configure", "--profile", "go-3.29"]).code, 0);
    let drop_in = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    machine.file(&drop_in, "# mine\n");
    for (call, code) in [(&["configure", "--profile", "go-3.29"][..], 2), (&["unconfigure"][..], 13)] {
        let output = machine.run(call);
        assert_eq!(output.code, code, "{}", output.stderr);
        assert!(output.stderr.contains("was changed after"), "{}", output.stderr);
    }
    assert_eq!(machine.run(&["unconfigure", "--force"]).code, 0);
    assert!(!machine.path(&drop_in).exists());
}

/// Both ways out are named, and what is replaced is reported.
#[test]
fn force_replaces_changes_of_others_in_a_drop_in() {
    let crio = ["configure", "--profile", "go-3.29", "--handler", "crio"];
    let of_kata = format!("m/{BASE}/config.d/50-kata-osinfo.toml");
    for (name, ours, theirs) in [
        (of_kata.as_str(), "machine_type = \"q35\"", "machine_type = \"mine\""),
        ("m/etc/crio/crio.conf.d/50-kata-osinfo.conf", "runtime_type = \"vm\"", "runtime_type = \"oci\""),
    ] {
        let machine = Machine::new();
        let before = machine.everything();
        assert_eq!(machine.run(&crio).code, 0);
        let (written, configured) = (machine.read(name), machine.everything());
        assert!(written.contains(ours), "{written}");
        machine.file(name, &written.replace(ours, theirs));
        let output = machine.run(&crio);
        assert_eq!(output.code, 2, "{}", output.stderr);
        for way in ["`kata-osinfo configure --force`", "`kata-osinfo unconfigure --force`"] {
            assert!(output.stderr.contains(way), "{}", output.stderr);
        }
        let output = machine.run(&[&crio[..], &["--force"]].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        let expected = format!("warning: --force discards others' changes to {}: ", &name[1..]);
        assert!(output.stderr.contains(&expected) && output.stderr.contains(theirs), "{}", output.stderr);
        assert_eq!(machine.read(name), written);
        assert_eq!(machine.everything().len(), configured.len());
        assert_eq!(machine.run(&["unconfigure"]).code, 0);
        assert_eq!(machine.everything(), before);
    }
}

#[test]
fn requirements_are_printed_for_people_and_as_json() {
    let run = |arguments: &[&str]| {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
            .args(["requirements", "--profile", "rs-4.0", "--component"])
            .args(arguments)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    insta::assert_snapshot!(run(&["containerd"]), @r"
    containerd for Kata 4.0.0 (profile rs-4.0)
      -  version  1.7 or later  versions.yaml@4.0.0  (informs only)  externals.containerd.minimum
    ");
    let json: Value = serde_json::from_str(&run(&["qemu", "--format", "json"])).expect("JSON");
    let all = json["requirements"].as_array().expect("a list");
    assert!(all.iter().any(|r| r["what"] == json!("vhost-user-fs-pci") && r["binding"] == json!(true)), "{all:?}");
    assert!(run(&["kernel"]).contains("virtiofs"));
}

/// Kata's own configurations, as `TAG/configuration-qemu.toml.in`: for 2.4.0, 2.5.0, 3.1.0, 3.30.0 from
/// `src/runtime/config/configuration-qemu.toml.in`, for 4.0.0 from
/// `src/runtime-rs/config/configuration-qemu-runtime-rs.toml.in`, in Kata's source at these tags.
#[test]
#[ignore = "by hand: KATA_CONFIGURATIONS names a folder with Kata's configurations"]
fn katas_own_configurations_are_configured_and_restored() {
    let folder = std::env::var_os("KATA_CONFIGURATIONS").expect("KATA_CONFIGURATIONS names a folder");
    let tags =
        [("go-2.4", "2.4.0"), ("go-2.5", "2.5.0"), ("go-3.1", "3.1.0"), ("go-3.29", "3.30.0"), ("rs-4.0", "4.0.0")];
    for (profile, tag) in tags {
        let machine = Machine::new();
        let template = Path::new(&folder).join(tag).join("configuration-qemu.toml.in");
        let text = filled(&std::fs::read_to_string(&template).expect("Kata's configuration"));
        machine.file("m/k/configuration-qemu.toml", &text);
        let before = machine.everything();
        let arguments = ["--kata-version", tag, "--kata-config", "/k/configuration-qemu.toml", "--format", "json"];
        let output = machine.run(&with(&["configure", "--emulated", "--profile", profile], &arguments));
        assert_eq!(output.code, 0, "{tag}: {}", output.stderr);
        let answer = output.json();
        let settings = answer["settings"].as_array().expect("settings").len();
        assert!(settings >= 11, "{tag}: {settings}");
        let edited = machine.read("m/k/configuration-qemu.toml");
        assert_eq!(edited == text, tag != "2.4.0", "{tag}");
        // Every line that is not kata-osinfo's stays, including comments.
        let lost = text.lines().filter(|l| !edited.lines().any(|e| e == *l)).count();
        assert!(lost <= settings, "{tag}: {lost} lines lost");
        assert_eq!(machine.run(&["unconfigure"]).code, 0, "{tag}");
        assert_eq!(machine.everything(), before, "{tag}");
    }
}

/// Fills every `@NAME@` of a template with a text: the merge ignores types.
fn filled(template: &str) -> String {
    let mut text = String::new();
    for line in template.lines() {
        let value = line.split_once('=').map(|(_, v)| v.trim()).unwrap_or_default();
        let bare = value.starts_with('@') && value.ends_with('@') && !line.starts_with('#');
        let line = if bare { line.replace(value, &format!("\"{value}\"")) } else { line.to_owned() };
        text += &line.replace("@PROJECT_TYPE@", "kata");
        text.push('\n');
    }
    text
}

/// Checks Debian's containerd of a release, with the configuration from its package.
///
/// The packages come from the machine's own mirror and are not installed; it takes seconds:
/// `cargo test -p kata-osinfo --test configure -- --ignored debian`, as root.
#[test]
#[ignore = "fetches containerd 1.7 of Debian 13: root and a mirror"]
fn debian_13s_containerd_loads_the_handler() {
    debians_containerd_loads_the_handler("trixie", "1.7");
}

#[test]
#[ignore = "fetches containerd 2 of Debian sid: root and a mirror"]
fn debian_sids_containerd_loads_the_handler() {
    debians_containerd_loads_the_handler("sid", "2.");
}

fn debians_containerd_loads_the_handler(suite: &str, expected: &str) {
    let mirror = debian_mirror();
    assert!(rustix::process::geteuid().is_root(), "needs root");
    let machine = Machine::new();
    let tree = tempfile::tempdir().expect("a folder");
    let must = |command: &mut std::process::Command| {
        let output = command.output().expect("it starts");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?}: {out}{err}");
        out.into_owned()
    };
    must(
        std::process::Command::new("mmdebstrap")
            .args(["--quiet", "--variant=extract", "--mode=root", "--include=base-files,containerd"])
            // The mirror may be a snapshot, whose signatures of moving suites have expired.
            .args(["--aptopt=Acquire::Check-Valid-Until \"false\"", "--aptopt=Acquire::Languages \"none\"", suite])
            .arg(tree.path())
            .arg(format!("deb {mirror} {suite} main")),
    );
    // Kata, QEMU and the daemon are fakes; the record is of a distro with the same paths.
    must(std::process::Command::new("cp").args(["--archive", "--force"]).arg(machine.path("m/.")).arg(tree.path()));
    let inside = |arguments: &[&str]| {
        must(std::process::Command::new("chroot").arg(tree.path()).arg("/usr/bin/containerd").args(arguments))
    };
    let version = inside(&["--version"]);
    let version = version.split_whitespace().nth(2).expect("a version").trim_start_matches('v');
    assert!(version.starts_with(expected), "{version}");
    let version: Vec<&str> = version.split('.').take(2).collect();
    let own = std::fs::read_to_string(tree.path().join("etc/containerd/config.toml")).expect("the package's");
    let shipped = inside(&["config", "dump"]);
    assert!(!shipped.contains("kata"), "{shipped}");

    let kata_osinfo = |arguments: &[&str]| {
        let records = machine.path("records");
        must(
            std::process::Command::new(assert_cmd::cargo::cargo_bin!("kata-osinfo"))
                .arg("--records")
                .arg(records)
                .arg("--root")
                .arg(tree.path())
                .args(arguments),
        )
    };
    let versioned = ["--handler", "containerd", "--containerd-version", &version.join(".")];
    kata_osinfo(&with(&["configure", "--profile", "go-3.29"], &versioned));
    let dump = inside(&["config", "dump"]);
    let merged: toml_edit::DocumentMut = dump.parse().unwrap_or_else(|e| panic!("{e}: {dump}"));
    let plugin = if expected == "2." { "io.containerd.cri.v1.runtime" } else { "io.containerd.grpc.v1.cri" };
    let runtimes = &merged["plugins"][plugin]["containerd"]["runtimes"];
    assert_eq!(runtimes["kata"]["runtime_type"].as_str(), Some("io.containerd.kata.v2"), "{dump}");
    let config = runtimes["kata"]["options"]["ConfigPath"].as_str().expect("a path");
    assert!(tree.path().join(config.trim_start_matches('/')).exists(), "{config}");
    assert_eq!(runtimes["runc"]["runtime_type"].as_str(), Some("io.containerd.runc.v2"), "{dump}");
    // The settings of the package's own configuration are still in effect.
    let values = own.lines().filter_map(|l| Some(l.split_once(" = \"")?.1.trim_end_matches('"')));
    let lost: Vec<&str> = values.filter(|v| !dump.contains(*v)).collect();
    assert!(own.contains("/usr/lib/cni"), "{own}");
    assert_eq!(lost, Vec::<&str>::new(), "{dump}");
    // containerd's CRI starts with the result.
    let mut daemon = std::process::Command::new("timeout");
    daemon.args(["60", "chroot"]).arg(tree.path()).arg("/usr/bin/containerd");
    daemon.args(["--root", "/tmp/root", "--state", "/tmp/state", "--address", "/tmp/containerd.sock"]);
    let mut daemon = daemon.stderr(std::process::Stdio::piped()).spawn().expect("containerd");
    let log = std::io::BufReader::new(daemon.stderr.take().expect("piped"));
    let mut messages = String::new();
    for line in std::io::BufRead::lines(log).map_while(Result::ok) {
        messages += &line;
        messages.push('\n');
        if line.contains("successfully booted") {
            break;
        }
    }
    // `timeout` forwards the signal to containerd.
    rustix::process::kill_process(rustix::process::Pid::from_child(&daemon), rustix::process::Signal::TERM)
        .expect("sent");
    daemon.wait().expect("ended");
    assert!(messages.contains("successfully booted"), "{messages}");
    assert!(!messages.contains("invalid plugin config") && !messages.contains("invalid cri"), "{messages}");
    kata_osinfo(&["unconfigure"]);
    assert_eq!(inside(&["config", "dump"]), shipped);
}

/// containerd itself reads the written handler, and the rest of its configuration stays.
#[test]
#[cfg_attr(lacks = "containerd", ignore = "needs containerd")]
fn containerd_loads_the_handler() {
    let version = std::process::Command::new("containerd").arg("--version").output().expect("containerd");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let machine = Machine::new();
    let two = version.split_whitespace().any(|w| w.trim_start_matches('v').starts_with("2."));
    let (form, plugin) = match two {
        true => (3, "io.containerd.cri.v1.images"),
        false => (2, "io.containerd.grpc.v1.cri"),
    };
    let main = format!("version = {form}\n\n[plugins.\"{plugin}\"]\n  max_concurrent_downloads = 17\n");
    machine.file("m/etc/containerd/config.toml", &main);
    let handler_version = if two { "2.0" } else { "1.6" };
    let arguments = ["--handler", "containerd", "--containerd-version", handler_version];
    let output = machine.run(&with(&["configure", "--profile", "go-3.29"], &arguments));
    assert_eq!(output.code, 0, "{}", output.stderr);
    // The drop-in's path is that inside the machine, so it is translated to this host.
    let config = machine.path("m/etc/containerd/config.toml");
    let text = std::fs::read_to_string(&config).expect("readable");
    let outside = machine.path("m/etc/containerd/conf.d").display().to_string();
    std::fs::write(&config, text.replace("/etc/containerd/conf.d", &outside)).expect("written");
    let dump = std::process::Command::new("containerd")
        .arg("--config")
        .arg(&config)
        .args(["config", "dump"])
        .output()
        .expect("it runs");
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    // The default runtime, too: without it containerd's CRI does not start.
    for expected in [
        "max_concurrent_downloads = 17",
        "runtimes.runc]",
        "runtimes.kata]",
        "io.containerd.kata.v2",
        "configuration.toml",
    ] {
        assert!(dump.contains(expected), "no {expected} in {dump}");
    }
}
