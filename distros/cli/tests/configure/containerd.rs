//! `configure --handler` on the layouts of real container managers, and how containerd itself reads the result.

use crate::machine::{BASE, Machine, debian_mirror};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Expected result of `configure`: the handler is in effect, it is reported as not in effect, or nothing is written.
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
    /// Files in `/etc/containerd`.
    files: &'static [(&'static str, &'static str)],
    /// Results by containerd's version, as in `VERSIONS`.
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
    Layout {
        name: "a plugin's section whose name is not one of containerd's",
        files: &[("config.toml", "version = 2\n[plugins.\"a.b.c.d\"]\nx = 1\n#V2")],
        ends: [Yes, No, Yes, Yes, Yes],
    },
    Layout {
        name: "a plugin is disabled whose name is not one of containerd's",
        files: &[("config.toml", "version = 2\ndisabled_plugins = [\"a.b.c.d\"]\n#V2")],
        ends: [Yes, No, Yes, Yes, Yes],
    },
    Layout { name: "not TOML", files: &[("config.toml", "version = [\n")], ends: [No; 5] },
    Layout { name: "a version that is a float", files: &[("config.toml", "version = 2.0\n")], ends: [No; 5] },
    Layout {
        name: "an imported file's version is a string",
        files: &[
            ("config.toml", "version = 2\nimports = [\"/etc/containerd/one.toml\"]\n"),
            ("one.toml", "oom_score = 1\nversion = \"2\"\n"),
        ],
        ends: [No; 5],
    },
    Layout {
        name: "imports that are no array",
        files: &[("config.toml", "version = 2\nimports = \"/etc/containerd/conf.d/*.toml\"\n")],
        ends: [No; 5],
    },
    Layout {
        name: "disabled plugins that are no strings",
        files: &[("config.toml", "version = 2\ndisabled_plugins = [\n  1,\n]\n")],
        ends: [No; 5],
    },
    Layout { name: "plugins that are no table", files: &[("config.toml", "plugins = []\n")], ends: [No; 5] },
];

fn machine_with(layout: &Layout) -> Machine {
    let machine = Machine::new();
    for (name, text) in layout.files {
        machine.file(&format!("m/etc/containerd/{name}"), &text.replace("#V2", V2));
    }
    machine
}

fn end(output: &crate::machine::Output) -> End {
    match (output.code, output.stderr.contains("error: ")) {
        (0, false) => Yes,
        (13, false) => Not,
        (13, true) => No,
        other => panic!("{other:?}: {}", output.stderr),
    }
}

/// Returns the call for a version of containerd; it names Kata's configuration, because some handlers name another one.
fn call(version: &str) -> Vec<String> {
    let named = format!("/{BASE}/configuration.toml");
    let call = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--kata-config", &named];
    call.iter().chain(&["--containerd-version", version]).map(|a| (*a).to_owned()).collect()
}

fn configured(machine: &Machine, version: &str) -> crate::machine::Output {
    machine.run(&call(version).iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn every_layout_has_its_expected_result() {
    // Parallel, because there are hundreds of calls, each of which waits for a program.
    std::thread::scope(|scope| {
        for (at, version) in VERSIONS.into_iter().enumerate() {
            scope.spawn(move || {
                for layout in LAYOUTS {
                    assert_expected_result(layout, version, layout.ends[at]);
                }
            });
        }
    });
}

fn assert_expected_result(layout: &Layout, version: &str, expected: End) {
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
            let findings = machine.check_findings();
            assert_eq!(findings.is_empty(), expected == Yes, "{} with {version}: {findings:?}", layout.name);
            // A second call changes nothing, and everything can be taken back.
            if ["1.7", "2.1"].contains(&version) {
                let once = machine.everything();
                assert_eq!(end(&configured(&machine, version)), expected, "{}", layout.name);
                assert_eq!(machine.everything(), once, "{} with {version}", layout.name);
            }
            assert_eq!(machine.run(&["unconfigure"]).code, 0);
            assert_eq!(machine.everything(), before, "{}", layout.name);
        }
    }
}

#[test]
fn causes_that_keep_a_handler_from_taking_effect_are_reported() {
    let assert_reported = |name: &str, version: &str, expected: &str| {
        let layout = LAYOUTS.iter().find(|l| l.name == name).expect("a layout");
        let output = configured(&machine_with(layout), version);
        assert!(output.stderr.contains(expected), "{name}: {}", output.stderr);
    };
    assert_reported(
        "CRI is disabled",
        "1.7",
        "/etc/containerd/config.toml:2: disabled_plugins contains containerd's CRI plugin",
    );
    assert_reported("a later drop-in disables CRI", "2.1", "/etc/containerd/conf.d/9.toml:2: disabled_plugins");
    assert_reported(
        "a later drop-in has another handler of that name",
        "2.1",
        "/etc/containerd/conf.d/kata-deploy.toml:5: handler kata: options.ConfigPath is \"/another.toml\", wanted ",
    );
    assert_reported("an import is missing", "2.3", "/etc/containerd/nowhere.toml is imported but does not exist");
    assert_reported("an import of an import replaces the section", "1.7", "/etc/containerd/two.toml, which");
    assert_reported(
        "a plugin is disabled whose name is not one of containerd's",
        "1.7",
        "`a.b.c.d` is not a plugin's name: ",
    );
    assert_reported("version 3", "1.7", "has version 3, but this containerd accepts at most 2");
    for version in VERSIONS {
        for (name, expected) in [
            ("a version that is a float", "config.toml:1: version is of type float, expected an integer"),
            ("an imported file's version is a string", "one.toml:2: version is of type string, expected an integer"),
            ("imports that are no array", "config.toml:2: imports is of type string, expected an array of strings"),
            ("disabled plugins that are no strings", "config.toml:2: disabled_plugins is of type array, expected an"),
            ("plugins that are no table", "config.toml:1: plugins is of type array, expected a table"),
        ] {
            assert_reported(name, version, &format!("/etc/containerd/{expected}"));
        }
    }
    // containerd 1 has no `config migrate`.
    for version in ["1.6", "1.7"] {
        assert_reported(
            "CRI is disabled in version 1, as Docker's package has it",
            version,
            "`containerd config default` prints an example",
        );
    }
    assert_reported("version 1", "2.1", "`containerd config migrate`");
}

#[test]
fn a_named_containerd_config_must_exist_unless_it_is_the_default() {
    let machine = Machine::new();
    let before = machine.everything();
    let named = |name: &str, more: &[&str]| {
        let call = call("2.1");
        let call: Vec<&str> = call.iter().map(String::as_str).chain(["--containerd-config", name]).collect();
        machine.run(&[&call[..], more].concat())
    };
    for name in ["/etc/containerd/confg.toml", "/var/lib/rancher/k3s/agent/etc/containerd/config.toml", "/etc"] {
        for more in [&[][..], &["--dry-run"][..]] {
            let output = named(name, more);
            let expected = format!("error: no containerd configuration at {name}: name containerd");
            assert!(output.code == 2 && output.stderr.contains(&expected), "{}: {}", output.code, output.stderr);
            assert_eq!(machine.everything(), before);
        }
    }
    // containerd does without its default main file, unless the file is named.
    let output = named("/etc/containerd/config.toml", &[]);
    assert_eq!(output.code, 0, "{}", output.stderr);
}

/// Runs a version of containerd on each layout, before and after `configure`.
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
        let is_configured = config.is_some_and(|c| c.as_str().is_some_and(|c| c.starts_with(&format!("/{BASE}"))));
        let disabled = after.as_ref().is_some_and(|d| {
            d["disabled_plugins"].as_array().is_some_and(|d| d.iter().any(|p| p == "io.containerd.grpc.v1.cri"))
        });
        assert_eq!(end(&output), layout.ends[at], "{name}: {}", output.stderr);
        match layout.ends[at] {
            Yes => assert!(is_configured && !disabled, "{name}: {kata:?}"),
            Not => assert!(!is_configured || disabled, "{name}: {kata:?}"),
            No => continue,
        }
        // Everything else is unchanged.
        let (before, after) = (before.expect("it starts"), after.expect("it starts"));
        let others = |dump: &Value| {
            let mut dump = dump.clone();
            for plugin in PLUGINS {
                let runtimes = dump.pointer_mut(&format!("/plugins/{plugin}/containerd/runtimes"));
                if let Some(runtimes) = runtimes.and_then(Value::as_object_mut) {
                    runtimes.remove("kata");
                    // containerd 1 prints fewer keys for a default runtime that is written out.
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

/// Removes empty tables: containerd 2 also prints what remains of the section of version 2, which nothing reads.
fn prune(value: &mut Value) {
    let Some(map) = value.as_object_mut() else { return };
    map.values_mut().for_each(prune);
    map.retain(|_, v| v.as_object().is_none_or(|m| !m.is_empty()));
}

const PLUGINS: [&str; 2] = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];

/// Returns the handlers in the section that is read: containerd 2 prints the older one, too.
fn runtimes(dump: &Value) -> serde_json::Map<String, Value> {
    let of = |p: &str| dump["plugins"][p]["containerd"]["runtimes"].as_object().cloned();
    PLUGINS.into_iter().rev().find_map(of).unwrap_or_default()
}

/// Returns `containerd config dump` of a machine's configuration, as JSON; `None` if containerd rejects it.
fn dump(containerd: &Path, machine: &Machine) -> Option<Value> {
    let text = printed(containerd, machine, "dump")?;
    let document: toml_edit::DocumentMut = text.parse().unwrap_or_else(|e| panic!("{e}: {text}"));
    Some(json_of(document.as_item()))
}

/// Returns the output of a `containerd config` subcommand for a machine's configuration; `None` if containerd rejects
/// it.
///
/// Paths in the files are those inside the machine, so containerd reads a copy with paths on this host.
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
        // containerd 1.x requires the named file to exist; `version = 2` alone sets nothing.
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
fn only_a_debian_mirror_is_chosen_among_apt_sites() {
    let sites = "http://mirror.example/ubuntu\nhttp://mirror.example/debian-security\nhttp://mirror.example/debian/\n";
    assert_eq!(crate::machine::debian_among(sites), Some("http://mirror.example/debian"));
    assert_eq!(crate::machine::debian_among("http://mirror.example/ubuntu\n"), None);
}

#[test]
#[cfg_attr(lacks = "containerd", ignore = "needs containerd")]
fn this_machines_containerd_agrees() {
    let output = Command::new("containerd").arg("--version").output().expect("containerd");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let version =
        |v: &&&str| output.split_whitespace().any(|w| w.trim_start_matches('v').starts_with(&format!("{v}.")));
    let version = VERSIONS.iter().find(version);
    let version = version.unwrap_or_else(|| panic!("expected one of {VERSIONS:?}, which have layouts, got {output}"));
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

/// After `configure`, runs `config migrate` of a containerd 2 on each layout: `unconfigure` removes kata-osinfo's
/// content from the result, or reports that it stays.
fn assert_unconfigure_works_after_migration(containerd: &Path) {
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
                let is_reported = output.code == 13 && output.stderr.contains("config.toml is not fully reverted");
                let is_removed = output.code == 0 && !now.contains(&format!("/{BASE}/configuration.toml"));
                assert!(
                    is_reported || is_removed,
                    "{} with {version}: {}: {}",
                    layout.name,
                    output.code,
                    output.stderr
                );
                assert!(is_reported || !now.contains("50-kata-osinfo"), "{} with {version}: {now}", layout.name);
            }
        }
    }
    assert!(migrated > 8, "{migrated}");
}

/// Checks the containerd of a Debian suite; its package is unpacked but not installed.
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
    let version_output = Command::new(&containerd).arg("--version").output().expect("it runs").stdout;
    let version_output = String::from_utf8_lossy(&version_output).into_owned();
    assert!(version_output.split_whitespace().any(|w| w.starts_with(&format!("{version}."))), "{version_output}");
    containerd_agrees(&containerd, version);
    if version.starts_with('2') {
        assert_unconfigure_works_after_migration(&containerd);
    }
}

#[test]
fn k3s_and_rke2_get_a_drop_in_for_their_own_containerd() {
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
        machine.file("m/k/configuration.toml", crate::machine::KATA);
        let before = machine.everything();
        let output = machine.run(&["configure", "--profile", "go-3.29", "--handler", "containerd", "--format", "json"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        let answer = output.json();
        // The handler names the configuration of Kata that it belongs to.
        assert_eq!(answer["kata-config"]["path"], json!("/k/configuration.toml"));
        let drop_in = format!("/{folder}/config-v3.toml.d/50-kata-osinfo.toml");
        assert_eq!(answer["files"], json!(["/k/config.d/50-kata-osinfo.toml", drop_in]));
        assert_eq!(machine.read(&format!("m/{folder}/config.toml")), main);
        assert!(machine.read(&format!("m{drop_in}")).starts_with("# Written by kata-osinfo"));
        assert_eq!(machine.check_findings(), Vec::<String>::new());
        assert_eq!(machine.run(&["unconfigure"]).code, 0);
        assert_eq!(machine.everything(), before);
        // Without the import the drop-in would not be read, and the main file is regenerated by the distribution.
        machine.file(&format!("m/{folder}/config.toml"), "version = 3\n");
        let before = machine.everything();
        let output = configured(&machine, "2.1");
        assert_eq!(output.code, 13, "{}", output.stderr);
        let template =
            "config-v3.toml.tmpl, which does not exist yet and needs `{{ template \"base\" . }}` after that line";
        assert!(output.stderr.contains(template), "{}", output.stderr);
        // containerd 1 would lose the other keys of the section.
        machine.file(
            &format!("m/{folder}/config.toml"),
            &format!("version = 2\nimports = [\"/{folder}/config.toml.d/*.toml\"]\n{V2}"),
        );
        for version in ["1.6", "1.7"] {
            let output = configured(&machine, version);
            assert_eq!(output.code, 13, "{}", output.stderr);
            let why =
                "without side effects: other handlers would change, because a later file's section takes the place";
            assert!(output.stderr.contains(why), "{}", output.stderr);
        }
        machine.file(&format!("m/{folder}/config.toml"), "version = 3\n");
        assert_eq!(machine.everything(), before);
        // With two containerds, the message asks for the right one.
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

/// The main file on disk differs from the one after a restart, when the distribution renders its template.
#[test]
fn a_template_without_the_drop_in_import_is_reported() {
    for name in ["k3s", "rke2"] {
        let folder = format!("var/lib/rancher/{name}/agent/etc/containerd");
        let main = format!("version = 3\nimports = [\"/{folder}/config-v3.toml.d/*.toml\"]\n");
        let base = "{{ template \"base\" . }}\n[debug]\nlevel = \"debug\"\n";
        for (template, text, is_reported) in [
            ("config-v3.toml.tmpl", "version = 3\n", true),
            ("config-v3.toml.tmpl", base, false),
            ("config-v3.toml.tmpl", main.as_str(), false),
            // This template renders a file of version 2, which has another drop-in directory.
            ("config.toml.tmpl", base, true),
        ] {
            let machine = Machine::new();
            machine.file(&format!("m/{folder}/config.toml"), &main);
            let since = machine.copy();
            machine.file(&format!("m/{folder}/{template}"), text);
            let before = machine.everything();
            let output = configured(&machine, "2.1");
            assert_eq!(output.code, if is_reported { 13 } else { 0 }, "{text}: {}", output.stderr);
            let expected =
                format!("/{folder}/{template} does not import /{folder}/config-v3.toml.d/: {name} regenerates ");
            assert_eq!(output.stderr.contains(&expected), is_reported, "{}", output.stderr);
            assert_eq!(machine.everything() == before, is_reported);
            // A template that was added after `configure`.
            assert_eq!(configured(&since, "2.1").code, 0);
            since.file(&format!("m/{folder}/{template}"), text);
            let found = since.check_findings();
            let expected =
                format!("/{folder}/{template}: {name} regenerates /{folder}/config.toml from this template at ");
            assert_eq!(found.len(), usize::from(is_reported), "{found:?}");
            assert!(found.iter().all(|problem| problem.starts_with(&expected)), "{found:?}");
            assert_eq!(since.run(&["unconfigure"]).code, 0);
        }
    }
}

/// Signs that a Kubernetes distribution is installed, before it has written its containerd's configuration.
#[test]
fn a_kubernetes_distribution_that_never_started_is_refused() {
    for (name, file, sign) in [
        ("k3s", "usr/local/bin/k3s", "usr/local/bin/k3s"),
        ("k3s", "opt/bin/k3s", "opt/bin/k3s"),
        ("k3s", "etc/systemd/system/k3s-agent.service", "etc/systemd/system/k3s-agent.service"),
        ("k3s", "etc/rancher/k3s/config.yaml", "etc/rancher/k3s/config.yaml"),
        ("k3s", "etc/rancher/k3s/config.yaml.d/10.yaml", "etc/rancher/k3s"),
        ("k3s", "var/lib/rancher/k3s/server/db", "var/lib/rancher/k3s"),
        ("rke2", "usr/bin/rke2", "usr/bin/rke2"),
        ("rke2", "opt/rke2/bin/rke2", "opt/rke2/bin/rke2"),
        (
            "rke2",
            "usr/local/lib/systemd/system/rke2-server.service",
            "usr/local/lib/systemd/system/rke2-server.service",
        ),
        ("rke2", "var/lib/rancher/rke2/bin/", "var/lib/rancher/rke2"),
        ("k0s", "usr/local/bin/k0s", "usr/local/bin/k0s"),
        ("k0s", "etc/init.d/k0scontroller", "etc/init.d/k0scontroller"),
        ("k0s", "etc/k0s/k0s.yaml", "etc/k0s"),
        ("k0s", "var/lib/k0s/bin/", "var/lib/k0s"),
        ("microk8s", "snap/bin/microk8s", "snap/bin/microk8s"),
        ("microk8s", "var/snap/microk8s/common/", "var/snap/microk8s"),
    ] {
        let machine = Machine::new();
        match file.ends_with('/') {
            true => std::fs::create_dir_all(machine.path(&format!("m/{file}"))).expect("made"),
            false => machine.file(&format!("m/{file}"), ""),
        }
        // A configuration file without a known reader is not a sign of a containerd in use.
        for main in [None, Some("version = 2\n")] {
            if let Some(text) = main {
                machine.file(MAIN, text);
            }
            let before = machine.everything();
            for more in [&["--dry-run"][..], &[][..]] {
                let call = call("2.1");
                let call: Vec<&str> = call.iter().map(String::as_str).chain(more.iter().copied()).collect();
                let output = machine.run(&call);
                let expected = format!("error: {name} is installed (/{sign}), but ");
                assert!(output.code == 13 && output.stderr.contains(&expected), "{}: {}", output.code, output.stderr);
                assert!(output.stderr.contains("or pass --containerd-config with the file"), "{}", output.stderr);
                assert_eq!(machine.everything(), before, "{file}");
            }
        }
        let call = call("2.1");
        let named = call.iter().map(String::as_str).chain(["--containerd-config", "/etc/containerd/config.toml"]);
        let output = machine.run(&named.collect::<Vec<_>>());
        assert_eq!(output.code, 0, "{file}: {}", output.stderr);
    }
}

#[test]
fn a_kubernetes_distribution_next_to_containerd_is_a_warning() {
    let warning = "warning: k3s is installed, too (/usr/local/bin/k3s), and has its own containerd: if that is the one";
    let program = |machine: &Machine, name: &str| {
        machine.file(&format!("m/{name}"), "");
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(machine.path(&format!("m/{name}")), executable).expect("set");
    };
    let machine = Machine::new();
    program(&machine, "usr/local/bin/k3s");
    program(&machine, "usr/bin/containerd");
    // An installed containerd is not necessarily in use.
    assert_eq!(configured(&machine, "2.1").code, 13);
    let running = machine.copy();
    running.file("m/run/containerd/containerd.sock", "");
    machine.file(MAIN, "version = 2\n");
    for machine in [machine, running] {
        let output = configured(&machine, "2.1");
        assert!(output.code == 0 && output.stderr.contains(warning), "{}: {}", output.code, output.stderr);
        assert!(machine.path("m/etc/containerd/conf.d/50-kata-osinfo.toml").exists());
    }
    // Once k3s has written its configuration, that one is used.
    let machine = Machine::new();
    program(&machine, "usr/local/bin/k3s");
    let folder = "var/lib/rancher/k3s/agent/etc/containerd";
    let imports = format!("version = 3\nimports = [\"/{folder}/config-v3.toml.d/*.toml\"]\n");
    machine.file(&format!("m/{folder}/config.toml"), &imports);
    let output = configured(&machine, "2.1");
    assert!(output.code == 0 && !output.stderr.contains("k3s is installed"), "{}: {}", output.code, output.stderr);
}

#[test]
fn the_data_dir_of_k3s_and_rke2_is_honoured() {
    let main = |data: &str| format!("{data}/agent/etc/containerd/config.toml");
    let drop_in = |data: &str| format!("{data}/agent/etc/containerd/config-v3.toml.d/50-kata-osinfo.toml");
    let write_main_file = |machine: &Machine, data: &str| {
        let imports = format!("version = 3\nimports = [\"{data}/agent/etc/containerd/config-v3.toml.d/*.toml\"]\n");
        machine.file(&format!("m{}", main(data)), &imports);
    };
    for name in ["k3s", "rke2"] {
        let machine = Machine::new();
        // The file that it wrote before its data directory was changed is no longer read.
        write_main_file(&machine, &format!("/var/lib/rancher/{name}"));
        machine.file(&format!("m/etc/rancher/{name}/config.yaml"), "data-dir: /data # the large disk\n");
        let output = configured(&machine, "2.1");
        let expected =
            format!("{name} is installed (/etc/rancher/{name}/config.yaml), but {}, which its", main("/data"));
        assert!(output.code == 13 && output.stderr.contains(&expected), "{}: {}", output.code, output.stderr);
        for (data, text) in [("/data", ""), ("/two", "data-dir: \"/two\"\n")] {
            machine.file(&format!("m/etc/rancher/{name}/config.yaml.d/10-disk.yaml"), text);
            write_main_file(&machine, data);
            let before = machine.everything();
            let output = configured(&machine, "2.1");
            assert_eq!(output.code, 0, "{}", output.stderr);
            assert!(output.stdout.contains(&drop_in(data)), "{data}: {}", output.stdout);
            assert_eq!(machine.check_findings(), Vec::<String>::new());
            assert_eq!(machine.run(&["unconfigure"]).code, 0);
            assert_eq!(machine.everything(), before);
        }
        machine.file(&format!("m/etc/rancher/{name}/config.yaml"), "data-dir: [\n");
        let output = configured(&machine, "2.1");
        let expected = format!("/etc/rancher/{name}/config.yaml is not a YAML map");
        assert!(output.code == 13 && output.stderr.contains(&expected), "{}: {}", output.code, output.stderr);
    }
    // The data directory may be set on the command line, which is not read.
    let machine = Machine::new();
    write_main_file(&machine, "/srv/rke2");
    let (call, main) = (call("2.1"), main("/srv/rke2"));
    let named = call.iter().map(String::as_str).chain(["--containerd-config", &main]);
    let output = machine.run(&named.collect::<Vec<_>>());
    assert!(output.code == 0 && output.stdout.contains(&drop_in("/srv/rke2")), "{}{}", output.stdout, output.stderr);
    assert_eq!(machine.check_findings(), Vec::<String>::new());
}

#[test]
fn k0s_and_microk8s_get_a_handler_in_their_own_files() {
    let written_files = |main: &str, text: &str, version: &str| {
        let machine = Machine::new();
        machine.file(&format!("m{main}"), text);
        let before = machine.everything();
        let arguments = ["--containerd-version", version, "--format", "json"];
        let call = [&["configure", "--profile", "go-3.29", "--handler", "containerd"], &arguments[..]].concat();
        let output = machine.run(&call);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(machine.run(&call).json()["diff"], json!(""));
        assert_eq!(machine.check_findings(), Vec::<String>::new());
        let files = output.json()["files"].as_array().expect("files")[1..].to_vec();
        let texts: Vec<String> =
            files.iter().map(|f| machine.read(&format!("m{}", f.as_str().expect("a path")))).collect();
        assert_eq!(machine.run(&["unconfigure"]).code, 0);
        assert_eq!(machine.everything(), before);
        (json!(files), texts)
    };
    let k0s = "/etc/k0s/containerd.toml";
    let drop_in = "/etc/k0s/containerd.d/50-kata-osinfo.toml";
    // k0s's own file, of 1.36 and of earlier versions.
    let new = "# k0s_managed=true\nversion = 3\nimports = [\"/etc/k0s/containerd.d/*.toml\"]\n";
    let (files, texts) = written_files(k0s, new, "2.1");
    assert_eq!(files, json!([drop_in]));
    assert!(texts[0].contains("\nversion = 3\n"), "{}", texts[0]);
    let old = "# k0s_managed=true\nversion = 2\nimports = [\"/run/k0s/containerd-cri.toml\"]\n";
    let (files, texts) = written_files(k0s, old, "1.7");
    assert_eq!(files, json!([drop_in]));
    assert!(texts[0].contains("\nversion = 2\n"), "{}", texts[0]);
    // The admin's file.
    let (files, texts) = written_files(k0s, "version = 2\n", "1.7");
    assert_eq!(files, json!([k0s]));
    assert!(texts[0].contains("runtimes.kata]"), "{}", texts[0]);
    let template = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"${SNAPSHOTTER}\"\n\
                    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"${RUNTIME_TYPE}\"\n";
    let place = "/var/snap/microk8s/current/args/containerd-template.toml";
    let (files, texts) = written_files(place, template, "1.7");
    assert_eq!(files, json!([place]));
    assert!(texts[0].contains("${SNAPSHOTTER}") && texts[0].contains("runtimes.kata]"), "{}", texts[0]);
    // Another default runtime stays, even one that is filled in at start, and `runc` stays next to it.
    let section = "[plugins.\"io.containerd.grpc.v1.cri\".containerd";
    for default in ["nvidia", "${RUNTIME}"] {
        let template = format!("version = 2\n{section}]\ndefault_runtime_name = \"{default}\"\n");
        let (_, texts) = written_files(place, &template, "1.7");
        assert!(texts[0].starts_with(&template) && texts[0].contains("runtimes.kata]"), "{}", texts[0]);
        assert!(texts[0].contains("runtimes.runc]"), "{}", texts[0]);
    }
}

#[test]
fn a_later_crio_drop_in_that_overrides_the_handler_is_reported() {
    let machine = Machine::new();
    let folder = "m/etc/crio/crio.conf.d";
    let other_handler = "[crio.runtime.runtimes.kata]\nruntime_path = \"/other\"\nruntime_type = \"vm\"\n";
    machine.file(&format!("{folder}/10-theirs.conf"), other_handler);
    assert_eq!(machine.run(&CRIO).code, 0);
    machine.file(&format!("{folder}/99-kata-deploy"), other_handler);
    for more in [&["--dry-run"][..], &[]] {
        let output = machine.run(&[&CRIO, more].concat());
        assert_eq!(output.code, 13, "{}", output.stderr);
        let expected = "/etc/crio/crio.conf.d/99-kata-deploy:2: handler kata: runtime_path is \"/other\", wanted ";
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
    // The same handler in a later file changes nothing.
    let written = machine.read(&format!("{folder}/50-kata-osinfo.conf"));
    machine.file(&format!("{folder}/99-kata-deploy"), &written);
    assert_eq!(machine.run(&CRIO).code, 0);
}

/// A dry run's output, or a log of it, must not reveal passwords to its readers.
#[test]
fn passwords_of_registries_are_not_shown() {
    const MAIN: &str = "m/etc/containerd/config.toml";
    let main = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"r.example\".auth]\n\
                username = \"u\"\npassword = \"hunter2\" # hunter2\n";
    let call = ["configure", "--profile", "go-3.29", "--handler", "containerd", "--containerd-version", "1.7"];
    let machine = Machine::new();
    machine.file(MAIN, main);
    let hides = |call: &[&str]| {
        let output = machine.run(call);
        let printed = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(output.code, 0, "{call:?}: {printed}");
        assert!(printed.contains("<redacted>") && !printed.contains("hunter2"), "{call:?}: {printed}");
    };
    for more in [&["--dry-run"][..], &["--dry-run", "--format", "json"]] {
        hides(&[&call[..], more].concat());
    }
    assert_eq!(machine.run(&call).code, 0);
    assert!(machine.read(MAIN).contains("password = \"hunter2\" # hunter2\n"), "{}", machine.read(MAIN));
    hides(&["unconfigure", "--dry-run"]);
    // Nor the line of a file that is not TOML.
    for version in ["1.7", "2.1"] {
        let machine = Machine::new();
        machine.file(MAIN, &main.replace("hunter2\"", "hunter2"));
        let output = machine.run(&[&call[..6], &[version]].concat());
        assert_eq!(output.code, 13, "{version}: {}", output.stderr);
        let is_reported = output.stderr.contains("not TOML: line ");
        assert!(is_reported && !output.stderr.contains("hunter2"), "{version}: {}", output.stderr);
    }
}

/// A later handler replaces kata-osinfo's as a whole, so each of its keys counts, and so does each missing one.
#[test]
fn a_later_crio_handler_is_reported_if_any_key_differs() {
    let machine = Machine::new();
    let folder = "m/etc/crio/crio.conf.d";
    let earlier = "[crio.runtime.runtimes.kata]\nallowed_annotations = [\"a\"]\n";
    machine.file(&format!("{folder}/10-theirs.conf"), earlier);
    assert_eq!(machine.run(&CRIO).code, 0);
    let written = machine.read(&format!("{folder}/50-kata-osinfo.conf"));
    let changed = |from: &str, to: &str| {
        assert!(written.contains(from), "{written}");
        written.replace(from, to)
    };
    for (later, expected) in [
        (
            changed("privileged_without_host_devices = true\n", ""),
            "privileged_without_host_devices is not set, wanted true",
        ),
        (
            changed("privileged_without_host_devices = true", "privileged_without_host_devices = false"),
            "privileged_without_host_devices is false, wanted true",
        ),
        (changed("/run/vc", "/run/other"), "runtime_root is \"/run/other\", wanted \"/run/vc\""),
        (changed("allowed_annotations = [\"a\"]\n", ""), "allowed_annotations is not set, wanted [\"a\"]"),
        (format!("{written}monitor_path = \"/m\"\n"), "monitor_path is \"/m\", wanted not set"),
    ] {
        machine.file(&format!("{folder}/99-later"), &later);
        let output = machine.run(&CRIO);
        assert_eq!(output.code, 13, "{expected}: {}", output.stderr);
        let is_reported =
            |line: &str| line.contains("/99-later:") && line.contains(&format!("handler kata: {expected}"));
        assert!(output.stderr.lines().any(is_reported), "{expected}: {}", output.stderr);
        let by_check = machine.check_findings();
        assert!(by_check.iter().any(|line| is_reported(line)), "{expected}: {by_check:?}");
    }
    // A key that was added to kata-osinfo's file by hand is not another handler.
    std::fs::remove_file(machine.path(&format!("{folder}/99-later"))).expect("removed");
    machine.file(&format!("{folder}/50-kata-osinfo.conf"), &format!("{written}monitor_path = \"/m\"\n"));
    let by_check = machine.check_findings();
    assert!(!by_check.iter().any(|line| line.contains("handler kata")), "{by_check:?}");
}

const CRIO: [&str; 5] = ["configure", "--profile", "go-3.29", "--handler", "crio"];

/// CRI-O reads its directory in the order of Go's `filepath.Walk`: by each path component, not by whole paths.
#[test]
fn crio_drop_ins_in_subfolders_are_ordered_by_path_component() {
    let other_handler = "[crio.runtime.runtimes.kata]\nruntime_path = \"/other\"\nruntime_type = \"vm\"\n";
    for (name, is_later) in [
        ("10-site/99.conf", false),
        ("50-kata-osinfo/99.conf", false),
        ("50-kata-osinfo.conf.d/10", true),
        ("60-site/deep/10.conf", true),
    ] {
        let machine = Machine::new();
        let file = format!("/etc/crio/crio.conf.d/{name}");
        machine.file(&format!("m{file}"), other_handler);
        let output = machine.run(&CRIO);
        assert_eq!(output.code, if is_later { 13 } else { 0 }, "{name}: {}", output.stderr);
        let expected = format!("warning: {file}:2: handler kata: runtime_path is \"/other\", wanted ");
        assert_eq!(output.stderr.contains(&expected), is_later, "{name}: {}", output.stderr);
        let overridden = format!("note: overrides handler kata: runtime_path of {file}:2");
        assert_eq!(output.stderr.contains(&overridden), !is_later, "{name}: {}", output.stderr);
        let findings = machine.check_findings();
        assert_eq!(
            findings.iter().any(|t| t.starts_with(&format!("{file}:2: handler kata"))),
            is_later,
            "{findings:?}"
        );
    }
    // Of several drop-ins the last one decides.
    let machine = Machine::new();
    assert_eq!(machine.run(&CRIO).code, 0);
    let written = machine.read("m/etc/crio/crio.conf.d/50-kata-osinfo.conf");
    machine.file("m/etc/crio/crio.conf.d/60-site/10.conf", other_handler);
    machine.file("m/etc/crio/crio.conf.d/70-site/10.conf", &written);
    assert_eq!(machine.run(&CRIO).code, 0);
    assert_eq!(machine.check_findings(), Vec::<String>::new());
}

#[test]
fn a_config_that_keeps_crio_from_starting_is_refused() {
    let (sound, broken) = ("[crio]\n", "x = [\n");
    for (name, place, why) in [
        ("crio.conf", "crio.conf:1", "CRI-O would not start: not TOML: "),
        ("crio.conf.d/10-early", "crio.conf.d/10-early:1", "CRI-O would not start: not TOML: "),
        ("crio.conf.d/60-site/x.conf", "crio.conf.d/60-site/x.conf:1", "CRI-O would not start: not TOML: "),
        ("crio.conf.d/60-link", "crio.conf.d/60-link", "CRI-O would not start: CRI-O reads it as a file, but it"),
        ("crio.conf.d/70-gone", "crio.conf.d/70-gone", "CRI-O would not start: "),
    ] {
        let put = |machine: &Machine| match name {
            "crio.conf.d/60-link" => symlink("/etc/site", machine.path(&format!("m/etc/crio/{name}"))).expect("a link"),
            "crio.conf.d/70-gone" => symlink("/nowhere", machine.path(&format!("m/etc/crio/{name}"))).expect("a link"),
            _ => machine.file(&format!("m/etc/crio/{name}"), broken),
        };
        let machine = Machine::new();
        machine.file("m/etc/site/10.conf", sound);
        machine.file("m/etc/crio/crio.conf.d/20-sound.conf", sound);
        let configured = machine.copy();
        put(&machine);
        let before = machine.everything();
        let output = machine.run(&CRIO);
        let expected = format!("error: /etc/crio/{place}: {why}");
        assert!(output.code == 13 && output.stderr.contains(&expected), "{name}: {} {}", output.code, output.stderr);
        assert_eq!(machine.everything(), before, "{name}");
        assert_eq!(configured.run(&CRIO).code, 0);
        put(&configured);
        let findings = configured.check_findings();
        assert!(findings.iter().any(|t| t.starts_with(&format!("/etc/crio/{place}: {why}"))), "{name}: {findings:?}");
    }
}

/// Output of `containerd config migrate` of 2.1.9 for a main file of version 2 that `configure` had edited for 1.7.
///
/// For a main file of version 3 with kata-osinfo's drop-in the output is the same, except for its imports.
const MIGRATED: &str = include_str!("../fixtures/containerd/migrated-by-2.1.9.toml");
const EDITED: &str =
    "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"registry.example/two:1\"\n";
const MAIN: &str = "m/etc/containerd/config.toml";

/// Returns the version that is configured for, the main file before, and the migrated one.
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

/// Returns the migrated text without kata-osinfo's handler and import.
fn without_kata_osinfo(text: &str) -> String {
    let start =
        text.find("        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata]").expect("the handler");
    let last = "ConfigPath = '/opt/kata/share/defaults/kata-containers/configuration.toml'\n";
    let end = text.find(last).expect("its last key") + last.len();
    let import = "imports = ['/etc/containerd/conf.d/50-kata-osinfo.toml']\n";
    format!("{}{}", &text[..start], &text[end..]).replace(import, "")
}

#[test]
fn unconfigure_removes_a_migrated_handler() {
    for (version, before, text) in migrations() {
        let machine = migrated(version, before, &text);
        let dry = machine.run(&["unconfigure", "--dry-run"]);
        assert!(dry.code == 0 && dry.stdout.contains("-          runtime_path = "), "{version}: {}", dry.stdout);
        let again = machine.copy();
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{version}: {}", output.stderr);
        assert_eq!(machine.read(MAIN), without_kata_osinfo(&text));
        let output = machine.run(&["unconfigure"]);
        assert!(output.code == 0 && output.stderr.contains("nothing is configured"), "{}", output.stderr);
        // Following the hint: migrate, then configure again.
        assert_eq!(configured(&again, "2.1").code, 0);
        assert_eq!(again.check_findings(), Vec::<String>::new());
        let output = again.run(&["unconfigure"]);
        assert_eq!(output.code, 0, "{version}: {}", output.stderr);
        let now = again.read(MAIN);
        // An import that existed before stays as migrated.
        assert_eq!(
            now.replace("imports = []\n", ""),
            without_kata_osinfo(&text).replace("imports = []\n", ""),
            "{version}"
        );
        assert!(!again.path("m/etc/containerd/conf.d/50-kata-osinfo.toml").exists());
    }
}

#[test]
fn a_changed_migrated_handler_is_removed_only_by_force() {
    let [edited, _, imported] = migrations();
    for (version, before, text) in [edited, imported] {
        let changed = text.replace("ConfigPath = '/opt", "ConfigPath = '/mine");
        let machine = migrated(version, before, &changed);
        let output = machine.run(&["unconfigure"]);
        assert_eq!(output.code, 13, "{}", output.stderr);
        let line = changed.lines().position(|l| l.contains("ConfigPath = '/mine")).expect("there") + 1;
        let expected = format!(
            "/etc/containerd/config.toml is not fully reverted: the handler was changed after kata-osinfo wrote it, so \
             none of it is reverted: put `options.ConfigPath` (line {line}) back to \"/opt/kata/"
        );
        assert!(output.stderr.contains(&expected), "{}", output.stderr);
        // Part of a handler would not work.
        let now = machine.read(MAIN);
        assert!(now.contains("ConfigPath = '/mine") && now.contains("/opt/kata/bin/containerd-shim-kata-v2"), "{now}");
        let output = machine.run(&["unconfigure", "--force"]);
        assert_eq!(output.code, 0, "{}", output.stderr);
        assert_eq!(machine.read(MAIN), without_kata_osinfo(&text));
    }
}

/// Only the section's names were changed, by hand.
#[test]
fn unconfigure_removes_a_handler_that_was_moved_by_hand() {
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

/// containerd does not start with an import of a missing file.
#[test]
fn a_drop_in_is_kept_while_its_import_cannot_be_removed() {
    let drop_in = "m/etc/containerd/conf.d/50-kata-osinfo.toml";
    let machine = Machine::new();
    machine.file(MAIN, "version = 3\n");
    assert_eq!(configured(&machine, "2.1").code, 0);
    let written = machine.read(MAIN);
    assert!(written.contains("50-kata-osinfo.toml"), "{written}");
    machine.file(MAIN, &format!("{written}a slip\n"));
    for call in [&["unconfigure", "--dry-run"][..], &["unconfigure"]] {
        let output = machine.run(call);
        assert_eq!(output.code, 13, "{}", output.stderr);
        let expected = "conf.d/50-kata-osinfo.toml is not fully reverted: a file that may refer to it is not";
        assert!(output.stderr.contains(expected), "{}", output.stderr);
        assert!(!output.stdout.contains("containerd/conf.d"), "{}", output.stdout);
        assert!(machine.path(drop_in).exists());
    }
    machine.file(MAIN, &written);
    let output = machine.run(&["unconfigure"]);
    assert_eq!((output.code, machine.read(MAIN).as_str()), (0, "version = 3\n"), "{}", output.stderr);
    assert!(!machine.path(drop_in).exists());
}
