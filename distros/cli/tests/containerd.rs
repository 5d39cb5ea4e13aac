//! `configure --handler` on the layouts of container managers that there are, and what containerd itself makes of them.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

mod machine;

use machine::{BASE, Machine, debian_mirror};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How `configure` ends: the handler is there, it is told not to be, or it cannot be and nothing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Yes,
    Not,
    No,
}
use End::{No, Not, Yes};

const VERSIONS: [&str; 5] = ["1.6", "1.7", "2.1", "2.2", "2.3"];

struct Layout {
    name: &'static str,
    /// Below `/etc/containerd`.
    files: &'static [(&'static str, &'static str)],
    /// By containerd's version, as in `VERSIONS`.
    ends: [End; 5],
}

const V2: &str = "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"registry.example/two:1\"\n\
                  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
                  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.two]\nruntime_type = \"io.containerd.runc.v2\"\n";

macro_rules! two {
    () => {
        "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.two]\nruntime_type = \"io.containerd.runc.v2\"\n"
    };
}

macro_rules! three {
    () => {
        "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.three]\nruntime_type = \"io.containerd.runc.v2\"\n"
    };
}

macro_rules! another_kata {
    () => {
        "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.kata]\nruntime_type = \"io.containerd.kata.v2\"\n\
         [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.kata.options]\nConfigPath = \"/another.toml\"\n"
    };
}

const LAYOUTS: &[Layout] = &[
    Layout { name: "nothing", files: &[], ends: [Yes; 5] },
    Layout { name: "version 2", files: &[("config.toml", "version = 2\n#V2")], ends: [Yes; 5] },
    Layout { name: "version 3", files: &[("config.toml", three!())], ends: [No, No, Yes, Yes, Yes] },
    Layout { name: "comments", files: &[("config.toml", "# version = 2\n# imports = []\n")], ends: [Yes; 5] },
    Layout {
        name: "an imported file replaces the section, by a class of characters",
        files: &[
            ("config.toml", "version = 2\nimports = [\"/etc/containerd/conf.d/[0-9]*-*.toml\"]\n#V2"),
            ("conf.d/10-cri.toml", two!()),
        ],
        ends: [No, No, Yes, Yes, Yes],
    },
    Layout {
        name: "an imported file replaces the section, by a folder",
        files: &[
            ("config.toml", "version = 2\nimports = [\"/etc/containerd/*/cri.toml\"]\n"),
            ("conf.d/cri.toml", concat!("version = 2\n", two!())),
        ],
        ends: [No, No, Yes, Yes, Yes],
    },
    Layout {
        name: "an import of an import replaces the section",
        files: &[
            ("config.toml", "version = 2\nimports = [\"one.toml\"]\n"),
            ("one.toml", "version = 2\nimports = [\"x/../two.toml\"]\n"),
            ("two.toml", concat!("version = 2\n", two!())),
        ],
        ends: [No, No, Yes, Yes, Yes],
    },
    Layout {
        name: "imports in a circle",
        files: &[
            ("config.toml", "version = 2\nimports = [\"one.toml\"]\n#V2"),
            ("one.toml", "version = 2\nimports = [\"config.toml\", \"/etc/containerd/*.toml\"]\n"),
        ],
        ends: [Yes; 5],
    },
    Layout {
        name: "an import is missing",
        files: &[("config.toml", "version = 2\nimports = [\"/etc/containerd/nowhere.toml\"]\n")],
        ends: [No; 5],
    },
    Layout {
        name: "a drop-in of version 3 after a main file of version 2",
        files: &[
            ("config.toml", "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n#V2"),
            ("conf.d/99-three.toml", three!()),
        ],
        ends: [No, No, Yes, Yes, No],
    },
    Layout {
        name: "a drop-in of version 2 after a main file of version 3",
        files: &[
            ("config.toml", "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n"),
            ("conf.d/99-two.toml", concat!("version = 2\n", two!())),
        ],
        ends: [No, No, Yes, Yes, Yes],
    },
    Layout {
        name: "a drop-in without a version after a main file of version 2",
        files: &[
            ("config.toml", "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n#V2"),
            ("conf.d/10-x.toml", "oom_score = 1\n"),
        ],
        ends: [Yes; 5],
    },
    Layout {
        name: "a later drop-in has another handler of that name",
        files: &[
            ("config.toml", "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n"),
            ("conf.d/kata-deploy.toml", another_kata!()),
        ],
        ends: [No, No, Not, Not, Not],
    },
    Layout {
        name: "an earlier drop-in has another handler of that name",
        files: &[
            ("config.toml", "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n"),
            ("conf.d/10-kata.toml", another_kata!()),
        ],
        ends: [No, No, Yes, Yes, Yes],
    },
    Layout {
        name: "CRI is disabled",
        files: &[("config.toml", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n")],
        ends: [Not; 5],
    },
    Layout {
        name: "CRI's images are disabled, without which it does not come up",
        files: &[("config.toml", "version = 3\ndisabled_plugins = [\"io.containerd.cri.v1.images\"]\n")],
        ends: [No, No, Not, Not, Not],
    },
    Layout {
        name: "the controller of CRI's sandboxes is disabled",
        files: &[(
            "config.toml",
            "version = 3\ndisabled_plugins = [\"io.containerd.podsandbox.controller.v1.podsandbox\"]\n",
        )],
        ends: [No, No, Not, Not, Not],
    },
    Layout {
        name: "CRI is disabled in version 1, as Docker's package has it",
        files: &[("config.toml", "disabled_plugins = [\"cri\"]\n\n#root = \"/var/lib/containerd\"\n")],
        ends: [No, No, Not, Not, Not],
    },
    Layout {
        name: "CRI is disabled by a name of version 1 in version 2",
        files: &[("config.toml", "version = 2\ndisabled_plugins = [\"cri\"]\n")],
        ends: [No; 5],
    },
    Layout {
        name: "a later drop-in disables CRI",
        files: &[
            ("config.toml", "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n"),
            ("conf.d/9.toml", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"),
        ],
        ends: [Not; 5],
    },
    Layout {
        name: "version 1",
        files: &[("config.toml", "version = 1\n[plugins.cri]\nsandbox_image = \"registry.example/one:1\"\n")],
        ends: [No; 5],
    },
    Layout { name: "not TOML", files: &[("config.toml", "version = [\n")], ends: [No; 5] },
];

fn machine_with(layout: &Layout) -> Machine {
    let machine = Machine::new();
    for (name, text) in layout.files {
        machine.file(&format!("m/etc/containerd/{name}"), &text.replace("#V2", V2));
    }
    machine
}

fn end(output: &machine::Output) -> End {
    match (output.code, output.stderr.contains("error: ")) {
        (0, false) => Yes,
        (13, false) => Not,
        (13, true) => No,
        other => panic!("{other:?}: {}", output.stderr),
    }
}

/// The call for a containerd of a version; Kata's configuration is named, because some handlers name another.
fn call(version: &str) -> Vec<String> {
    let named = format!("/{BASE}/configuration.toml");
    let call = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--kata-config", &named];
    call.iter().chain(&["--containerd-version", version]).map(|a| (*a).to_owned()).collect()
}

fn configured(machine: &Machine, version: &str) -> machine::Output {
    machine.run(&call(version).iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn every_layout_gets_the_handler_or_is_told() {
    for layout in LAYOUTS {
        for (version, expected) in VERSIONS.iter().zip(layout.ends) {
            let machine = machine_with(layout);
            let before = machine.everything();
            let call = call(version);
            let dry = machine.run(&call.iter().map(String::as_str).chain(["--dry-run"]).collect::<Vec<_>>());
            assert_eq!(end(&dry), expected, "{} with {version}: {}{}", layout.name, dry.stderr, dry.stdout);
            assert_eq!(machine.everything(), before, "{}", layout.name);
            let output = configured(&machine, version);
            assert_eq!(end(&output), expected, "{} with {version}: {}", layout.name, output.stderr);
            match expected {
                No => assert_eq!(machine.everything(), before, "{}", layout.name),
                Yes | Not => {
                    let told = machine.told_by_check();
                    assert_eq!(told.is_empty(), expected == Yes, "{} with {version}: {told:?}", layout.name);
                    // Once more changes nothing, and all of it can be taken back.
                    if ["1.7", "2.1"].contains(version) {
                        let once = machine.everything();
                        assert_eq!(end(&configured(&machine, version)), expected, "{}", layout.name);
                        assert_eq!(machine.everything(), once, "{} with {version}", layout.name);
                    }
                    assert_eq!(machine.run(&["unconfigure"]).code, 0);
                    assert_eq!(machine.everything(), before, "{}", layout.name);
                }
            }
        }
    }
}

#[test]
fn what_keeps_a_handler_from_having_an_effect_is_told() {
    let told = |name: &str, version: &str, expected: &str| {
        let layout = LAYOUTS.iter().find(|l| l.name == name).expect("a layout");
        let output = configured(&machine_with(layout), version);
        assert!(output.stderr.contains(expected), "{name}: {}", output.stderr);
    };
    told("CRI is disabled", "1.7", "/etc/containerd/config.toml:2: disabled_plugins has containerd's CRI plugin");
    told("a later drop-in disables CRI", "2.1", "/etc/containerd/conf.d/9.toml:2: disabled_plugins");
    told(
        "a later drop-in has another handler of that name",
        "2.1",
        "/etc/containerd/conf.d/kata-deploy.toml:5: handler kata: options.ConfigPath is \"/another.toml\", wanted ",
    );
    told("an import is missing", "2.3", "/etc/containerd/nowhere.toml is imported and is not there");
    told("an import of an import replaces the section", "1.7", "/etc/containerd/two.toml, which");
    told("version 3", "1.7", "has version 3, this containerd reads up to 2");
    // containerd 1 has no `config migrate`.
    for version in ["1.6", "1.7"] {
        told(
            "CRI is disabled in version 1, as Docker's package has it",
            version,
            "`containerd config default` prints one",
        );
    }
    told("version 1", "2.1", "`containerd config migrate`");
}

/// Runs the containerd of a version on each layout, before and after; `None` where there is no such layout for it.
fn containerd_agrees(containerd: &Path, version: &str) {
    let at = VERSIONS.iter().position(|v| *v == version).expect("a version");
    for layout in LAYOUTS {
        let name = layout.name;
        let machine = machine_with(layout);
        let before = dump(containerd, &machine);
        let output = configured(&machine, version);
        let after = dump(containerd, &machine);
        let kata = after.as_ref().and_then(|d| runtimes(d).get("kata").cloned());
        let config = kata.as_ref().map(|k| k["options"]["ConfigPath"].clone());
        let ours = config.is_some_and(|c| c.as_str().is_some_and(|c| c.starts_with(&format!("/{BASE}"))));
        let disabled = after.as_ref().is_some_and(|d| {
            d["disabled_plugins"].as_array().is_some_and(|d| d.iter().any(|p| p == "io.containerd.grpc.v1.cri"))
        });
        assert_eq!(end(&output), layout.ends[at], "{name}: {}", output.stderr);
        match layout.ends[at] {
            Yes => assert!(ours && !disabled, "{name}: {kata:?}"),
            Not => assert!(!ours || disabled, "{name}: {kata:?}"),
            No => continue,
        }
        // Everything else is as it was.
        let (before, after) = (before.expect("it starts"), after.expect("it starts"));
        let others = |dump: &Value| {
            let mut dump = dump.clone();
            for plugin in PLUGINS {
                let runtimes = dump.pointer_mut(&format!("/plugins/{plugin}/containerd/runtimes"));
                if let Some(runtimes) = runtimes.and_then(Value::as_object_mut) {
                    runtimes.remove("kata");
                    // containerd 1 says less of a default runtime that is written out.
                    runtimes.remove("runc");
                }
            }
            if let Some(map) = dump.as_object_mut() {
                map.remove("imports");
                map.remove("version");
            }
            prune(&mut dump);
            dump
        };
        assert_eq!(others(&before), others(&after), "{name}");
        let had = |dump: &Value| runtimes(dump).contains_key("runc");
        assert!(had(&after) || !had(&before), "{name}");
    }
}

/// containerd 2 also prints what is left in the section of version 2, which nothing reads.
fn prune(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    map.values_mut().for_each(prune);
    map.retain(|_, v| v.as_object().is_none_or(|m| !m.is_empty()));
}

const PLUGINS: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];

/// The handlers, of the section that is read: containerd 2 prints the older one too.
fn runtimes(dump: &Value) -> serde_json::Map<String, Value> {
    let of = |p: &str| dump["plugins"][p]["containerd"]["runtimes"].as_object().cloned();
    PLUGINS.into_iter().rev().find_map(of).unwrap_or_default()
}

/// `containerd config dump` of a machine's configuration, as JSON; `None` where it refuses it.
fn dump(containerd: &Path, machine: &Machine) -> Option<Value> {
    let text = printed(containerd, machine, "dump")?;
    let document: toml_edit::DocumentMut = text.parse().unwrap_or_else(|e| panic!("{e}: {text}"));
    Some(json_of(document.as_item()))
}

/// What a call of `containerd config` prints of a machine's configuration; `None` where it refuses it.
///
/// The paths in the files are the machine's: a copy gets those of this one.
fn printed(containerd: &Path, machine: &Machine, call: &str) -> Option<String> {
    let copy = tempfile::tempdir().expect("a folder");
    let from = machine.path("m/etc/containerd");
    let mut todo = if from.exists() { vec![PathBuf::new()] } else { Vec::new() };
    while let Some(folder) = todo.pop() {
        std::fs::create_dir_all(copy.path().join(&folder)).expect("made");
        for entry in std::fs::read_dir(from.join(&folder)).expect("listed") {
            let name = folder.join(entry.expect("an entry").file_name());
            if from.join(&name).is_dir() {
                todo.push(name);
                continue;
            }
            let text = std::fs::read_to_string(from.join(&name)).expect("readable");
            let text = text.replace("/etc/containerd", &copy.path().display().to_string());
            std::fs::write(copy.path().join(&name), text).expect("written");
        }
    }
    let main = copy.path().join("config.toml");
    if !main.exists() {
        // A file that is named must be there for 1.x; `version = 2` alone says nothing.
        std::fs::write(&main, "version = 2\n").expect("written");
    }
    let output = Command::new(containerd).arg("--config").arg(&main).args(["config", call]).output().expect("it runs");
    if !output.status.success() {
        return None;
    }
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some(text.replace(&copy.path().display().to_string(), "/etc/containerd"))
}

fn json_of(item: &toml_edit::Item) -> Value {
    if let Some(table) = item.as_table_like() {
        return table.iter().map(|(k, v)| (k.to_owned(), json_of(v))).collect::<serde_json::Map<_, _>>().into();
    }
    if let Some(array) = item.as_array() {
        return array.iter().map(|v| json!(v.as_str())).collect();
    }
    json!(item.to_string().trim()).as_str().map_or(Value::Null, |t| json!(item.as_str().unwrap_or(t)))
}

#[test]
fn a_debian_site_is_no_other_distros() {
    let sites = "http://mirror.example/ubuntu\nhttp://mirror.example/debian-security\nhttp://mirror.example/debian/\n";
    assert_eq!(machine::debian_among(sites), Some("http://mirror.example/debian"));
    assert_eq!(machine::debian_among("http://mirror.example/ubuntu\n"), None);
}

#[test]
#[cfg_attr(lacks = "containerd", ignore = "needs containerd")]
fn this_machines_containerd_agrees() {
    let said = Command::new("containerd").arg("--version").output().expect("containerd");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = |v: &&&str| said.split_whitespace().any(|w| w.trim_start_matches('v').starts_with(&format!("{v}.")));
    let version = VERSIONS.iter().find(version);
    let version = version.unwrap_or_else(|| panic!("expected one of {VERSIONS:?}, which have layouts, got {said}"));
    containerd_agrees(Path::new("containerd"), version);
}

#[test]
#[ignore = "fetches containerd 1.7 of Debian 13: a mirror in apt's sources"]
fn debian_13s_containerd_agrees() {
    debians_containerd_agrees("trixie", "1.7");
}

#[test]
#[ignore = "fetches containerd 2 of Debian sid: a mirror in apt's sources"]
fn debian_sids_containerd_agrees() {
    debians_containerd_agrees("sid", "2.1");
}

/// What `config migrate` of a containerd 2 makes of each layout after `configure`: nothing of ours stays in it without a
/// word.
fn nothing_stays_after_the_migration_of(containerd: &Path) {
    let mut migrated = 0;
    for layout in LAYOUTS {
        for version in ["1.7", "2.1"] {
            let machine = machine_with(layout);
            if end(&configured(&machine, version)) == No {
                continue;
            }
            let Some(text) = printed(containerd, &machine, "migrate") else { continue };
            migrated += 1;
            machine.file("m/etc/containerd/config.toml", &text);
            for more in [&[][..], &["2.1"][..]] {
                let machine = machine.copy();
                more.iter().for_each(|version| drop(configured(&machine, version)));
                let output = machine.run(&["unconfigure"]);
                let now = machine.read("m/etc/containerd/config.toml");
                let is_told = output.code == 13 && output.stderr.contains("config.toml is not taken back");
                let is_gone = output.code == 0 && !now.contains(&format!("/{BASE}/configuration.toml"));
                assert!(is_told || is_gone, "{} with {version}: {}: {}", layout.name, output.code, output.stderr);
                assert!(is_told || !now.contains("50-kata-osinfo"), "{} with {version}: {now}", layout.name);
            }
        }
    }
    assert!(migrated > 8, "{migrated}");
}

/// The binary of a suite's package, unpacked and not installed.
fn debians_containerd_agrees(suite: &str, version: &str) {
    let mirror = debian_mirror();
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    assert!(Path::new(key).exists(), "needs Debian's keys: apt-get install debian-archive-keyring");
    let dir = tempfile::tempdir().expect("a folder");
    let source = dir.path().join("sources.list");
    std::fs::write(&source, format!("deb [signed-by={key}] {mirror} {suite} main\n")).expect("written");
    for folder in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(dir.path().join(folder)).expect("made");
    }
    let option = |name: &str, value: String| ["--option".to_owned(), format!("{name}={value}")];
    let place = |name: &str| dir.path().join(name).display().to_string();
    let options = [
        option("Dir::Etc::SourceList", place("sources.list")),
        option("Dir::Etc::SourceParts", "/dev/null".to_owned()),
        option("Dir::State::Lists", place("lists")),
        option("Dir::Cache", place("cache")),
        // The mirror may be a snapshot, whose signatures of moving suites have expired.
        option("Acquire::Check-Valid-Until", "false".to_owned()),
        option("Acquire::Languages", "none".to_owned()),
    ];
    for call in [&["update"][..], &["download", "containerd"][..]] {
        let output = Command::new("apt-get")
            .current_dir(dir.path())
            .args(options.concat())
            .args(call)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut packages = std::fs::read_dir(dir.path()).expect("listed").filter_map(|e| Some(e.ok()?.path()));
    let package = packages.find(|p| p.extension().is_some_and(|e| e == "deb")).expect("a package");
    let tree = dir.path().join("tree");
    let unpacked = Command::new("dpkg-deb").arg("-x").arg(package).arg(&tree).status().expect("it runs");
    assert!(unpacked.success());
    let containerd = tree.join("usr/bin/containerd");
    let said = Command::new(&containerd).arg("--version").output().expect("it runs").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.split_whitespace().any(|w| w.starts_with(&format!("{version}."))), "{said}");
    containerd_agrees(&containerd, version);
    if version.starts_with('2') {
        nothing_stays_after_the_migration_of(&containerd);
    }
}

#[test]
fn the_distributions_of_kubernetes_are_written_to_where_theirs_reads() {
    let rancher = |name: &str| format!("var/lib/rancher/{name}/agent/etc/containerd");
    for name in ["k3s", "rke2"] {
        let folder = rancher(name);
        let machine = Machine::new();
        let main = format!(
            "version = 3\nimports = [\"/{folder}/config-v3.toml.d/*.toml\"]\n\
             [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.kata-qemu]\nruntime_type = \"io.containerd.kata-qemu.v2\"\n\
             [plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.kata-qemu.options]\nConfigPath = \"/k/configuration.toml\"\n"
        );
        machine.file(&format!("m/{folder}/config.toml"), &main);
        machine.file("m/k/configuration.toml", machine::KATA);
        let before = machine.everything();
        let output = machine.run(&["configure", "--profile", "go-3.29", "--handler", "containerd", "--format", "json"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        let answer = output.json();
        // And its handler says which configuration of Kata's it is about.
        assert_eq!(answer["kata-config"]["path"], json!("/k/configuration.toml"));
        let drop_in = format!("/{folder}/config-v3.toml.d/50-kata-osinfo.toml");
        assert_eq!(answer["files"], json!(["/k/config.d/50-kata-osinfo.toml", drop_in]));
        assert_eq!(machine.read(&format!("m/{folder}/config.toml")), main);
        assert!(machine.read(&format!("m{drop_in}")).starts_with("# Written by kata-osinfo"));
        assert_eq!(machine.told_by_check(), Vec::<String>::new());
        assert_eq!(machine.run(&["unconfigure"]).code, 0);
        assert_eq!(machine.everything(), before);
        // Without the import there is nothing that is read, and the file is rebuilt.
        machine.file(&format!("m/{folder}/config.toml"), "version = 3\n");
        let before = machine.everything();
        let output = configured(&machine, "2.1");
        assert_eq!(output.code, 13, "{}", output.stderr);
        assert!(output.stderr.contains("config-v3.toml.tmpl, and restart"), "{}", output.stderr);
        // containerd 1 would lose what else the section says.
        machine.file(
            &format!("m/{folder}/config.toml"),
            &format!("version = 2\nimports = [\"/{folder}/config.toml.d/*.toml\"]\n{V2}"),
        );
        assert_eq!(configured(&machine, "1.7").code, 13);
        machine.file(&format!("m/{folder}/config.toml"), "version = 3\n");
        assert_eq!(machine.everything(), before);
        // Two containerds: which one is meant is said.
        machine.file("m/etc/containerd/config.toml", "version = 2\n");
        let output = configured(&machine, "1.7");
        assert_eq!(output.code, 2, "{}", output.stderr);
        assert!(output.stderr.contains("--containerd-config: /var/lib/rancher"), "{}", output.stderr);
        let output = machine.run(&[
            "configure",
            "--profile",
            "go-3.29",
            "--handler",
            "containerd",
            "--containerd-version",
            "1.7",
            "--containerd-config",
            "/etc/containerd/config.toml",
        ]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert!(machine.read("m/etc/containerd/config.toml").contains("runtimes.kata]"));
    }
}

#[test]
fn k0s_and_microk8s_get_theirs() {
    let wrote = |main: &str, text: &str, version: &str| {
        let machine = Machine::new();
        machine.file(&format!("m{main}"), text);
        let before = machine.everything();
        let arguments = ["--containerd-version", version, "--format", "json"];
        let call = [&["configure", "--profile", "go-3.29", "--handler", "containerd"], &arguments[..]].concat();
        let output = machine.run(&call);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(machine.run(&call).json()["diff"], json!(""));
        assert_eq!(machine.told_by_check(), Vec::<String>::new());
        let files = output.json()["files"].as_array().expect("files")[1..].to_vec();
        let texts: Vec<String> =
            files.iter().map(|f| machine.read(&format!("m{}", f.as_str().expect("a path")))).collect();
        assert_eq!(machine.run(&["unconfigure"]).code, 0);
        assert_eq!(machine.everything(), before);
        (json!(files), texts)
    };
    let k0s = "/etc/k0s/containerd.toml";
    let drop_in = "/etc/k0s/containerd.d/50-kata-osinfo.toml";
    // Its own file, of 1.36 and of before.
    let new = "# k0s_managed=true\nversion = 3\nimports = [\"/etc/k0s/containerd.d/*.toml\"]\n";
    let (files, texts) = wrote(k0s, new, "2.1");
    assert_eq!(files, json!([drop_in]));
    assert!(texts[0].contains("\nversion = 3\n"), "{}", texts[0]);
    let old = "# k0s_managed=true\nversion = 2\nimports = [\"/run/k0s/containerd-cri.toml\"]\n";
    let (files, texts) = wrote(k0s, old, "1.7");
    assert_eq!(files, json!([drop_in]));
    assert!(texts[0].contains("\nversion = 2\n"), "{}", texts[0]);
    // The admin's.
    let (files, texts) = wrote(k0s, "version = 2\n", "1.7");
    assert_eq!(files, json!([k0s]));
    assert!(texts[0].contains("runtimes.kata]"), "{}", texts[0]);
    let template = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"${SNAPSHOTTER}\"\n\
                    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"${RUNTIME_TYPE}\"\n";
    let place = "/var/snap/microk8s/current/args/containerd-template.toml";
    let (files, texts) = wrote(place, template, "1.7");
    assert_eq!(files, json!([place]));
    assert!(texts[0].contains("${SNAPSHOTTER}") && texts[0].contains("runtimes.kata]"), "{}", texts[0]);
}

#[test]
fn a_later_drop_in_of_crio_is_told() {
    let machine = Machine::new();
    let folder = "m/etc/crio/crio.conf.d";
    let theirs = "[crio.runtime.runtimes.kata]\nruntime_path = \"/other\"\nruntime_type = \"vm\"\n";
    machine.file(&format!("{folder}/10-theirs.conf"), theirs);
    let call = ["configure", "--profile", "go-3.29", "--handler", "crio"];
    assert_eq!(machine.run(&call).code, 0);
    machine.file(&format!("{folder}/99-kata-deploy"), theirs);
    for more in [&["--dry-run"][..], &[]] {
        let output = machine.run(&[&call, more].concat());
        assert_eq!(output.code, 13, "{}", output.stderr);
        let told = "/etc/crio/crio.conf.d/99-kata-deploy:2: handler kata: runtime_path is \"/other\", wanted ";
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
    // The same handler again changes nothing.
    let ours = machine.read(&format!("{folder}/50-kata-osinfo.conf"));
    machine.file(&format!("{folder}/99-kata-deploy"), &ours);
    assert_eq!(machine.run(&call).code, 0);
}

/// What `containerd config migrate` of 2.1.9 printed of a main file of version 2 that `configure` had edited for 1.7.
///
/// Of a main file of version 3 with our drop-in it prints the same, but for the imports that it had.
const MIGRATED: &str = include_str!("fixtures/containerd/migrated-by-2.1.9.toml");
const EDITED: &str =
    "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"registry.example/two:1\"\n";
const MAIN: &str = "m/etc/containerd/config.toml";

/// The version that is configured for, the main file before, and that which the migration printed.
fn migrations() -> [(&'static str, &'static str, String); 3] {
    let imports =
        |import: &str| MIGRATED.replace("imports = []", &format!("imports = ['/etc/containerd/conf.d/{import}']"));
    [
        ("1.7", EDITED, MIGRATED.to_owned()),
        ("2.1", "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n", imports("*.toml")),
        ("2.1", "version = 3\n", imports("50-kata-osinfo.toml")),
    ]
}

fn migrated(version: &str, before: &str, text: &str) -> Machine {
    let machine = Machine::new();
    machine.file(MAIN, before);
    assert_eq!(configured(&machine, version).code, 0);
    machine.file(MAIN, text);
    machine
}

/// What was printed, without our handler and our import.
fn without_ours(text: &str) -> String {
    let start =
        text.find("        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata]").expect("the handler");
    let last = "ConfigPath = '/opt/kata/share/defaults/kata-containers/configuration.toml'\n";
    let end = text.find(last).expect("its last key") + last.len();
    let import = "imports = ['/etc/containerd/conf.d/50-kata-osinfo.toml']\n";
    format!("{}{}", &text[..start], &text[end..]).replace(import, "")
}

#[test]
fn a_migrated_handler_is_taken_back() {
    for (version, before, text) in migrations() {
        let machine = migrated(version, before, &text);
        let dry = machine.run(&["unconfigure", "--dry-run"]);
        assert!(dry.code == 0 && dry.stdout.contains("-          runtime_path = "), "{version}: {}", dry.stdout);
        let again = machine.copy();
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{version}: {}", output.stderr);
        assert_eq!(machine.read(MAIN), without_ours(&text));
        let output = machine.run(&["unconfigure"]);
        assert!(output.code == 0 && output.stderr.contains("nothing is configured"), "{}", output.stderr);
        // As the hint says: migrate, then configure again.
        assert_eq!(configured(&again, "2.1").code, 0);
        assert_eq!(again.told_by_check(), Vec::<String>::new());
        let output = again.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{version}: {}", output.stderr);
        let now = again.read(MAIN);
        // An import that was there already stays as it was made.
        assert_eq!(now.replace("imports = []\n", ""), without_ours(&text).replace("imports = []\n", ""), "{version}");
        assert!(!again.path("m/etc/containerd/conf.d/50-kata-osinfo.toml").exists());
    }
}

#[test]
fn a_migrated_handler_that_was_changed_is_told_and_goes_by_force() {
    let [edited, _, imported] = migrations();
    for (version, before, text) in [edited, imported] {
        let changed = text.replace("ConfigPath = '/opt", "ConfigPath = '/mine");
        let machine = migrated(version, before, &changed);
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 13, "{}", output.stderr);
        let told = "/etc/containerd/config.toml is not taken back, or not all of it: \
                    plugins.io.containerd.cri.v1.runtime.containerd.runtimes.kata.options.ConfigPath has another value";
        assert!(output.stderr.contains(told), "{}", output.stderr);
        // Half a handler would start nothing.
        let now = machine.read(MAIN);
        assert!(now.contains("ConfigPath = '/mine") && now.contains("/opt/kata/bin/containerd-shim-kata-v2"), "{now}");
        let output = machine.run(&["unconfigure", "--force"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(machine.read(MAIN), without_ours(&text));
    }
}

/// Where only the names were changed, by hand.
#[test]
fn a_handler_that_was_moved_by_hand_is_taken_back_to_the_byte() {
    let machine = Machine::new();
    machine.file(MAIN, EDITED);
    assert_eq!(configured(&machine, "1.7").code, 0);
    let moved = |text: &str| {
        let text = text.replace("version = 2\n", "version = 3\n");
        text.replace("io.containerd.grpc.v1.cri\".containerd", "io.containerd.cri.v1.runtime\".containerd")
    };
    machine.file(MAIN, &moved(&machine.read(MAIN)));
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, machine.read(MAIN)), (0, moved(EDITED)), "{}", output.stderr);
}

/// containerd does not start with an import of a file that has gone.
#[test]
fn a_drop_in_stays_while_what_imports_it_cannot_be_taken_back() {
    let drop_in = "m/etc/containerd/conf.d/50-kata-osinfo.toml";
    let machine = Machine::new();
    machine.file(MAIN, "version = 3\n");
    assert_eq!(configured(&machine, "2.1").code, 0);
    let ours = machine.read(MAIN);
    assert!(ours.contains("50-kata-osinfo.toml"), "{ours}");
    machine.file(MAIN, &format!("{ours}a slip\n"));
    for call in [&["unconfigure", "--dry-run"][..], &["unconfigure"]] {
        let output = machine.run(call);
        assert_eq!(output.code, 13, "{}", output.stderr);
        let told = "conf.d/50-kata-osinfo.toml is not taken back, or not all of it: what may name it is not taken back";
        assert!(output.stderr.contains(told), "{}", output.stderr);
        assert!(!output.stdout.contains("containerd/conf.d"), "{}", output.stdout);
        assert!(machine.path(drop_in).exists());
    }
    machine.file(MAIN, &ours);
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, machine.read(MAIN).as_str()), (0, "version = 3\n"), "{}", output.stderr);
    assert!(!machine.path(drop_in).exists());
}
