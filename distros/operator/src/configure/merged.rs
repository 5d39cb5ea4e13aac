//! Kata's configuration as Kata would read it: the main file and its drop-ins, by the runtime's own rules.

mod drop_in;
mod kinds;
mod known;

use super::edit::DROP_IN;
use super::found::objection_to;
use super::toml::{line_of, value_of};
use super::version::reads_drop_ins;
use super::{KeyValue, LocatedConfiguration};
use model::kata_version::KataVersion;
use model::profile::Runtime;
use model::share::Share;
use root::{Root, RootError};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml_edit::{Document, TableLike};

/// MiB of guest memory if the Go runtime's configuration sets none, or less than [`MIN_MEMORY`] (`defaultMemSz` in
/// `src/runtime/pkg/katautils/config.go@3.30.0`).
const DEFAULT_MEMORY: u64 = 2048;

/// MiB below which the Go runtime uses its own default.
const MIN_MEMORY: u64 = 256;

/// A value and where it was set.
#[derive(Debug, Clone, PartialEq)]
struct Leaf {
    value: Value,
    file: PathBuf,
    line: usize,
}

/// A value, and the place that sets it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Set<'a> {
    pub(super) value: &'a Value,
    pub(super) file: &'a Path,
    pub(super) line: usize,
}

/// The configuration that a runtime has after reading everything.
#[derive(Debug, Clone, Default)]
pub struct MergedConfiguration {
    leaves: BTreeMap<Vec<String>, Leaf>,
    problems: Vec<Problem>,
}

/// A fault for which Kata would refuse its configuration, or read it in an unexpected way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; `None` if the whole file is concerned.
    pub line: Option<usize>,
    /// The fault, and the remedy.
    pub message: String,
}

/// A key that does not have the wanted value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NotEffective {
    /// The key: `hypervisor.qemu.path`.
    pub key: String,
    /// The wanted value.
    pub wanted: Value,
    /// The value found; `None` if the key is not set.
    pub found: Option<Value>,
    /// The file that sets it.
    pub file: Option<PathBuf>,
    /// The line in it, from 1.
    pub line: Option<usize>,
}

impl MergedConfiguration {
    /// Reads a configuration and its drop-ins.
    ///
    /// Both runtimes read every file in `config.d` in the byte order of names, whatever its extension. A later file's
    /// keys win, key by key; lists are replaced. They refuse different things. Go: directories, unknown keys of a
    /// drop-in below `hypervisor` and `agent`, and a value of a wrong kind in any file. Rust: everything that is not a
    /// regular file, including symbolic links, unknown keys below `agent`, and a value of a wrong kind that wins.
    /// Go: `decodeDropIns`, `updateFromDropIn` in `src/runtime/pkg/katautils/config.go@3.30.0`.
    /// Rust: `src/libs/kata-types/src/config/drop_in.rs@4.0.0`.
    /// The answers of both loaders are recorded in the tests.
    ///
    /// # Errors
    ///
    /// The main file or a drop-in cannot be read, or the directory of drop-ins cannot be listed; a fault in a drop-in
    /// is a [`Problem`].
    pub fn read(
        root: &Root,
        located: &LocatedConfiguration,
        runtime: Runtime,
        kata: KataVersion,
    ) -> Result<MergedConfiguration, RootError> {
        MergedConfiguration::read_with(root, located, runtime, kata, &BTreeMap::new())
    }

    /// Reads the configuration with some files replaced, removed, or added to its drop-ins: for a dry run.
    ///
    /// # Errors
    ///
    /// As [`MergedConfiguration::read`].
    pub(super) fn read_with(
        root: &Root,
        located: &LocatedConfiguration,
        runtime: Runtime,
        kata: KataVersion,
        replaced: &BTreeMap<PathBuf, Option<String>>,
    ) -> Result<MergedConfiguration, RootError> {
        let main = match replaced.get(&located.path) {
            Some(Some(text)) => text.clone(),
            _ => root.utf8(&located.path)?,
        };
        let mut merged = MergedConfiguration::default();
        let mut drop_ins: BTreeMap<PathBuf, String> = BTreeMap::new();
        if reads_drop_ins(runtime, kata) {
            // The keys of `replaced` are paths without links.
            let folder = root.resolve_new(&located.drop_ins())?;
            for name in root.list(&folder)? {
                let path = folder.join(&name);
                if replaced.contains_key(&path) {
                    continue;
                }
                match drop_in::text(root, &path, &name, runtime)? {
                    Ok(text) => drop_ins.extend([(path, text)]),
                    Err(why) => merged.problems.push(Problem { file: path, line: None, message: why.to_string() }),
                }
            }
            let beside = |p: &&PathBuf| p.parent() == Some(folder.as_path());
            let replaced = replaced.iter().filter(|(p, _)| beside(p));
            drop_ins.extend(replaced.filter_map(|(p, t)| Some((p.clone(), t.clone()?))));
        }
        merged.add(&located.path, &main, (runtime, kata), false);
        let shipped = MergedConfiguration { leaves: merged.leaves.clone(), problems: Vec::new() };
        for (path, text) in drop_ins {
            merged.add(&path, &text, (runtime, kata), true);
        }
        if runtime == Runtime::Rs {
            merged.compare_kinds(&shipped);
        }
        Ok(merged)
    }

    /// Reads the configuration without kata-osinfo's drop-in; `main` is the text for the main file.
    ///
    /// # Errors
    ///
    /// As [`MergedConfiguration::read`].
    pub(super) fn of_others(
        root: &Root,
        located: &LocatedConfiguration,
        (runtime, kata): (Runtime, KataVersion),
        main: &str,
    ) -> Result<MergedConfiguration, RootError> {
        let ours = root.resolve_new(&located.drop_ins().join(DROP_IN))?;
        let replaced = BTreeMap::from([(located.path.clone(), Some(main.to_owned())), (ours, None)]);
        MergedConfiguration::read_with(root, located, runtime, kata, &replaced)
    }

    /// Merges one file; drop-ins have stricter rules.
    fn add(&mut self, file: &Path, text: &str, (runtime, kata): (Runtime, KataVersion), is_drop_in: bool) {
        let document = match Document::parse(text) {
            Ok(document) => document,
            Err(e) => {
                let line = e.span().map(|s| line_of(text, s.start));
                let message = format!("not TOML, Kata would not start: {}", e.message());
                self.problems.push(Problem { file: file.to_owned(), line, message });
                return;
            }
        };
        let mut leaves = Vec::new();
        flatten(document.as_table(), &mut Vec::new(), text, &mut leaves);
        for (path, value, line) in leaves {
            if runtime == Runtime::Go && kinds::is_passed_over(&path) {
                continue;
            }
            let unknown = known::refused(runtime, kata, &path, is_drop_in);
            let clash = if runtime == Runtime::Go { self.clash(&path, &value) } else { None };
            let is_refused = clash.is_some();
            for message in unknown.into_iter().chain(clash) {
                self.problems.push(Problem { file: file.to_owned(), line: Some(line), message });
            }
            if is_refused {
                continue;
            }
            // A value in place of a table, or a table in place of a value, replaces it.
            self.leaves.retain(|old, _| !(old.starts_with(&path) || path.starts_with(old)) || *old == path);
            self.leaves.insert(path, Leaf { value, file: file.to_owned(), line });
        }
    }

    /// Returns files that the configuration names and that are missing or not executable: Kata, or its guests, would
    /// not start.
    ///
    /// Both runtimes resolve these paths when they load the configuration (`resolve_path!` in
    /// `src/libs/kata-types/src/config/hypervisor/mod.rs@4.0.0`, `ResolvePath` in
    /// `src/runtime/pkg/katautils/config.go@3.30.0`); the Go runtime finds a missing daemon only when it starts it.
    ///
    /// # Errors
    ///
    /// It cannot be determined whether a file exists: a directory in its path cannot be searched.
    pub fn missing_files(&self, root: &Root, runtime: Runtime) -> Result<Vec<Problem>, RootError> {
        let virtio_fs =
            self.get(&["hypervisor", "qemu", "shared_fs"]).and_then(Value::as_str) == Some(Share::VirtioFs.name());
        let daemon = virtio_fs.then_some("virtio_fs_daemon");
        let volume = (runtime == Runtime::Go).then_some("firmware_volume");
        let keys = ["path", "kernel", "initrd", "image", "firmware", "pflashes"];
        let mut problems = Vec::new();
        for key in keys.into_iter().chain(volume).chain(daemon) {
            let path = ["hypervisor", "qemu", key].map(str::to_owned).to_vec();
            let Some(leaf) = self.leaves.get(&path) else { continue };
            let all = leaf.value.as_array().map_or_else(|| std::slice::from_ref(&leaf.value), Vec::as_slice);
            for named in all.iter().filter_map(Value::as_str).filter(|n| n.starts_with('/')) {
                let against = match objection_to(root, key, Path::new(named))? {
                    Some(why) => Some(why.to_owned()),
                    None => self.size_refused(root, runtime, key, Path::new(named))?,
                };
                if let Some(why) = against {
                    let message = format!("hypervisor.qemu.{key} is {named}, which {why}: Kata would not start");
                    problems.push(Problem { file: leaf.file.clone(), line: Some(leaf.line), message });
                }
            }
        }
        Ok(problems)
    }

    /// Returns why the Go runtime refuses a file for its size: an empty initrd or image, or an initrd that fills the
    /// guest's memory (`checkHypervisorConfig` in `src/runtime/pkg/katautils/config.go@3.30.0`).
    fn size_refused(
        &self,
        root: &Root,
        runtime: Runtime,
        key: &str,
        named: &Path,
    ) -> Result<Option<String>, RootError> {
        if runtime != Runtime::Go || !["initrd", "image"].contains(&key) {
            return Ok(None);
        }
        let Some(bytes) = root.look(named)?.map(|found| found.len()) else { return Ok(None) };
        let set =
            self.get(&["hypervisor", "qemu", "default_memory"]).and_then(Value::as_u64).filter(|m| *m >= MIN_MEMORY);
        let memory = set.unwrap_or(DEFAULT_MEMORY);
        let megabytes = bytes >> 20;
        Ok(match key {
            _ if bytes == 0 => Some("is empty".to_owned()),
            "initrd" if megabytes >= memory => {
                Some(format!("has {megabytes} MiB, but guests have only {memory} MiB of memory (default_memory)"))
            }
            _ => None,
        })
    }

    /// Returns faults that would keep Kata from starting, or that have unexpected effects.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Returns a value, if the key is set.
    pub fn get(&self, path: &[&str]) -> Option<&Value> {
        let path: Vec<String> = path.iter().map(|p| (*p).to_owned()).collect();
        self.leaves.get(&path).map(|l| &l.value)
    }

    /// Returns a value with its place, if the key is set.
    pub(super) fn leaf(&self, path: &[String]) -> Option<Set<'_>> {
        self.leaves.get(path).map(|l| Set { value: &l.value, file: &l.file, line: l.line })
    }

    /// Returns whether the configuration is for QEMU and no other VMM.
    pub(super) fn is_of_qemu(&self) -> bool {
        let of_a_vmm = self.leaves.keys().filter(|k| k.len() > 2 && k[0] == "hypervisor");
        of_a_vmm.map(|k| k[1].as_str()).collect::<BTreeSet<_>>() == BTreeSet::from(["qemu"])
    }

    /// Returns the key that makes QEMU's guests confidential: they boot a measured kernel and share no filesystem.
    ///
    /// `src/runtime/config/configuration-qemu-snp.toml.in@3.30.0` and the files for TDX, Secure Execution and CCA.
    pub(super) fn confidential(&self) -> Option<(&'static str, Set<'_>)> {
        ["confidential_guest", "sev_snp_guest"].into_iter().find_map(|key| {
            let set = self.leaf(&["hypervisor", "qemu", key].map(str::to_owned))?;
            (set.value.as_bool() == Some(true)).then_some((key, set))
        })
    }

    /// Reports a DAX window, for which the Go runtime passes `cache-size` to QEMU: no released QEMU's `vhost-user-fs`
    /// has this property, so QEMU would not start (`appendFSDevice`, `QemuParams` in
    /// `src/runtime/pkg/govmm/qemu/qemu.go@4.1.0`).
    ///
    /// The Rust runtime does not pass it.
    pub(super) fn dax_window(&self, runtime: Runtime) -> Option<Problem> {
        let key = |name: &str| ["hypervisor", "qemu", name].map(str::to_owned);
        let virtio_fs = self.leaf(&key("shared_fs"))?.value == Share::VirtioFs.name();
        let size = self.leaf(&key("virtio_fs_cache_size"))?;
        let megabytes = size.value.as_u64().filter(|m| *m > 0 && virtio_fs && runtime == Runtime::Go)?;
        let message = format!(
            "hypervisor.qemu.virtio_fs_cache_size is {megabytes}, which asks for a DAX window: no distro's QEMU supports one, so QEMU would not start; set it to 0"
        );
        Some(Problem { file: size.file.to_owned(), line: Some(size.line), message })
    }

    /// Reports another VMM next to QEMU: the Go runtime runs whichever its map yields last, by chance
    /// (`updateRuntimeConfigHypervisor` in `src/runtime/pkg/katautils/config.go@3.30.0`).
    ///
    /// The Rust runtime uses `hypervisor_name`, but reads the other section, too.
    pub(super) fn other_vmm(&self, runtime: Runtime) -> Option<Problem> {
        let mut set = self.leaves.iter().filter(|_| runtime == Runtime::Go);
        let (path, leaf) = set.find(|(path, _)| path.len() > 2 && path[0] == "hypervisor" && path[1] != "qemu")?;
        let message = format!(
            "both hypervisor.{} and hypervisor.qemu are set: Kata picks one of the two VMMs at random",
            path[1]
        );
        Some(Problem { file: leaf.file.clone(), line: Some(leaf.line), message })
    }

    /// Returns the settings that did not take effect, in their order.
    pub fn not_effective(&self, expected: &[KeyValue]) -> Vec<NotEffective> {
        let differs = |setting: &&KeyValue| self.leaves.get(&setting.path()).map(|l| &l.value) != Some(&setting.value);
        expected
            .iter()
            .filter(differs)
            .map(|setting| {
                let found = self.leaves.get(&setting.path());
                NotEffective {
                    key: setting.name(),
                    wanted: setting.value.clone(),
                    found: found.map(|l| l.value.clone()),
                    file: found.map(|l| l.file.clone()),
                    line: found.map(|l| l.line),
                }
            })
            .collect()
    }
}

/// Returns the settings in a text.
pub(super) fn settings_in(text: &str) -> Vec<KeyValue> {
    let Ok(document) = Document::parse(text) else { return Vec::new() };
    let mut leaves = Vec::new();
    flatten(document.as_table(), &mut Vec::new(), text, &mut leaves);
    let setting = |(mut table, value, _): (Vec<String>, Value, usize)| {
        let key = table.pop()?;
        Some(KeyValue { table, key, value, why: String::new() })
    };
    leaves.into_iter().filter_map(setting).collect()
}

fn flatten(table: &dyn TableLike, path: &mut Vec<String>, text: &str, leaves: &mut Vec<(Vec<String>, Value, usize)>) {
    for (key, item) in table.iter() {
        path.push(key.to_owned());
        match item.as_table_like() {
            Some(table) => flatten(table, path, text, leaves),
            None => {
                let start = item.span().map_or(0, |s| s.start);
                leaves.push((path.clone(), value_of(item), line_of(text, start)));
            }
        }
        path.pop();
    }
}

#[cfg(test)]
mod answers;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Creates a machine with a configuration and drop-ins.
    pub(super) fn machine(main: &str, drop_ins: &[(&str, &str)]) -> (tempfile::TempDir, Root, LocatedConfiguration) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("k/config.d")).unwrap();
        std::fs::write(dir.path().join("k/configuration.toml"), main).unwrap();
        for (name, text) in drop_ins {
            std::fs::write(dir.path().join("k/config.d").join(name), text).unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        let path = PathBuf::from("/k/configuration.toml");
        let located = LocatedConfiguration {
            named: path.clone(),
            path,
            by: "test".to_owned(),
            others: Vec::new(),
            searched: true,
        };
        (dir, root, located)
    }

    const MAIN: &str =
        "[hypervisor.qemu]\npath = \"/a\"\npflashes = [\"1\", \"2\"]\n\n[runtime]\nsandbox_cgroup_only = true\n";
    const GO: KataVersion = KataVersion::new(3, 30, 0);

    /// Returns whether anything is set below a table.
    fn has_table(merged: &MergedConfiguration, path: &[&str]) -> bool {
        merged.leaves.keys().any(|k| k.len() > path.len() && k.iter().zip(path).all(|(a, b)| a == b))
    }

    fn setting(key: &str, value: Value) -> KeyValue {
        KeyValue { table: vec!["hypervisor".into(), "qemu".into()], key: key.into(), value, why: String::new() }
    }

    #[test]
    fn later_drop_ins_win_key_by_key_and_lists_are_replaced() {
        let drop_ins = [
            ("50-b.toml", "[hypervisor.qemu]\npath = \"/b\"\npflashes = []\n"),
            // The extension does not matter, and in byte order 9 comes after 50.
            ("9-c", "# mine\n[hypervisor]\nqemu = { path = \"/c\" }\n"),
        ];
        let (_dir, root, located) = machine(MAIN, &drop_ins);
        for (runtime, kata) in [(Runtime::Go, GO), (Runtime::Rs, KataVersion::new(4, 0, 0))] {
            let merged = MergedConfiguration::read(&root, &located, runtime, kata).unwrap();
            assert_eq!(merged.problems(), []);
            assert_eq!(merged.get(&["hypervisor", "qemu", "pflashes"]), Some(&json!([])));
            assert_eq!(merged.get(&["runtime", "sandbox_cgroup_only"]), Some(&json!(true)));
            assert_eq!(
                merged.not_effective(&[setting("path", json!("/b")), setting("pflashes", json!([]))]),
                [NotEffective {
                    key: "hypervisor.qemu.path".into(),
                    wanted: json!("/b"),
                    found: Some(json!("/c")),
                    file: Some("/k/config.d/9-c".into()),
                    line: Some(3),
                }]
            );
        }
    }

    #[test]
    fn before_2_5_drop_ins_are_not_read() {
        let (_dir, root, located) = machine(MAIN, &[("50.toml", "[hypervisor.qemu]\npath = \"/b\"\n")]);
        let merged = MergedConfiguration::read(&root, &located, Runtime::Go, KataVersion::new(2, 4, 3)).unwrap();
        let found = merged.not_effective(&[setting("path", json!("/b")), setting("initrd", json!("/i"))]);
        assert_eq!((found[0].line, found[0].file.as_deref()), (Some(2), Some(located.path.as_path())));
        assert_eq!((&found[1].found, found[1].line), (&None, None));
    }

    #[test]
    fn what_a_runtime_refuses_is_reported_with_file_and_line() {
        let (dir, root, located) =
            machine(MAIN, &[("a.toml", "[hypervisor.qemu]\n\nblock_device_aio = \"threads\"\n"), ("b", "x = [\n")]);
        std::fs::create_dir(dir.path().join("k/config.d/c")).unwrap();
        std::os::unix::fs::symlink("a.toml", dir.path().join("k/config.d/d.toml")).unwrap();
        let reported = |runtime, kata| {
            let merged = MergedConfiguration::read(&root, &located, runtime, kata).unwrap();
            let mut places: Vec<(String, Option<usize>)> = merged
                .problems()
                .iter()
                .map(|p| (p.file.file_name().unwrap().to_str().unwrap().to_owned(), p.line))
                .collect();
            places.sort();
            places
        };
        let name = |n: &str, line| (n.to_owned(), line);
        let syntax = Some(1);
        assert_eq!(
            reported(Runtime::Go, KataVersion::new(2, 5, 0)),
            [name("a.toml", Some(3)), name("b", syntax), name("c", None), name("d.toml", Some(3))]
        );
        assert_eq!(reported(Runtime::Go, GO), [name("b", syntax), name("c", None)]);
        // The Rust runtime refuses links.
        assert_eq!(
            reported(Runtime::Rs, KataVersion::new(4, 0, 0)),
            [name("b", syntax), name("c", None), name("d.toml", None)]
        );
    }

    #[test]
    fn a_drop_in_that_is_too_large_is_an_error() {
        let (dir, root, located) = machine(MAIN, &[]);
        let huge = std::fs::File::create(dir.path().join("k/config.d/a.toml")).unwrap();
        huge.set_len(root::MAX_CONFIGURATION + 1).unwrap();
        let error = MergedConfiguration::read(&root, &located, Runtime::Go, GO).unwrap_err();
        assert!(error.is_unreadable(), "{error}");
    }

    #[test]
    fn a_value_in_the_place_of_a_table_replaces_it() {
        let (_dir, root, located) = machine(MAIN, &[("a", "hypervisor = 1\n"), ("b", "[runtime.x]\ny = 1\n")]);
        let merged = MergedConfiguration::read(&root, &located, Runtime::Rs, KataVersion::new(4, 0, 0)).unwrap();
        assert!(!has_table(&merged, &["hypervisor", "qemu"]));
        assert_eq!(merged.get(&["hypervisor"]), Some(&json!(1)));
        assert!(has_table(&merged, &["runtime"]));
    }
}
