//! Values that a configuration already has: kept if no change is forced, extended if they are lists, and reported with
//! file and line wherever they differ from what the release was qualified with.

use super::edit::toml_value;
use super::secrets::hidden;
use super::{KataConfiguration, KeyValue, MergedConfiguration, copy};
use model::kata_version::KataVersion;
use model::profile::Runtime;
use model::redact::SECRET;
use model::virtiofsd::Flavour;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};

/// The fate of a value that others have set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The planned value replaces it.
    Overridden,
    /// It stays, and the planned elements are added.
    Extended,
    /// It stays unchanged, although another value was planned.
    Kept,
}

/// A value that others have set, and that differs from the planned one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForeignValue {
    /// `hypervisor.qemu.path`.
    pub key: String,
    /// The file that sets it.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// Its fate.
    pub fate: Fate,
    /// The old value.
    pub was: Value,
    /// The new value; for a kept value the planned one, `null` if none was planned.
    pub ours: Value,
}

/// Returns a value, or a placeholder if it contains a secret.
fn without_secrets(key: &str, value: &Value) -> Value {
    let key = key.rsplit(['.', ' ']).next().unwrap_or_default();
    let mut line = DocumentMut::new();
    line.insert(key, Item::Value(toml_value(value)));
    let line = line.to_string();
    if hidden(&line) == line { value.clone() } else { SECRET.into() }
}

impl ForeignValue {
    /// Compares an old value with the planned (`ours`) and the resulting (`now`) value.
    pub(super) fn of(
        key: &str,
        place: (&Path, Option<usize>),
        was: &Value,
        ours: &Value,
        now: &Value,
    ) -> Option<ForeignValue> {
        let (fate, ours) = match (now == was, now == ours) {
            (true, true) => return None,
            (true, false) => (Fate::Kept, ours),
            (false, _) if extends(now, was) => (Fate::Extended, now),
            (false, _) => (Fate::Overridden, now),
        };
        let (file, line) = (place.0.to_owned(), place.1);
        let (was, ours) = (without_secrets(key, was), without_secrets(key, ours));
        Some(ForeignValue { key: key.to_owned(), file, line, fate, was, ours })
    }

    /// Describes a value that stays and that the plan does not set.
    pub(super) fn beside(key: &str, place: (&Path, Option<usize>), was: &Value) -> ForeignValue {
        let (file, line) = (place.0.to_owned(), place.1);
        ForeignValue {
            key: key.to_owned(),
            file,
            line,
            fate: Fate::Kept,
            was: without_secrets(key, was),
            ours: Value::Null,
        }
    }

    /// Returns a one-line message: `overrides hypervisor.qemu.path of FILE:LINE: "/opt/q" becomes "/usr/bin/q"`.
    pub fn words(&self) -> String {
        let line = self.line.map(|l| format!(":{l}")).unwrap_or_default();
        let place = format!("{} of {}{line}", self.key, self.file.display());
        let (was, ours) = (&self.was, &self.ours);
        match self.fate {
            Fate::Overridden => format!("overrides {place}: {was} becomes {ours}"),
            Fate::Extended => format!("extends {place}: {was} becomes {ours}"),
            Fate::Kept if ours.is_null() => format!("keeps {place}: {was}, which the release was not qualified with"),
            Fate::Kept => format!("keeps {place}: {was}, where {ours} is what the release was qualified with"),
        }
    }
}

fn extends(now: &Value, was: &Value) -> bool {
    let (Some(now), Some(was)) = (now.as_array(), was.as_array()) else { return false };
    was.iter().all(|item| now.contains(item))
}

/// Returns the planned settings that must be written, adapted to the values that are set `without` kata-osinfo's file.
pub(super) fn settled(
    planned: &[KeyValue],
    without: &MergedConfiguration,
    configuration: &KataConfiguration,
) -> Vec<KeyValue> {
    let settle = |setting: &KeyValue| match without.leaf(&setting.path()) {
        Some(leaf) => value(setting, leaf.value, configuration).map(|value| KeyValue { value, ..setting.clone() }),
        None => Some(setting.clone()),
    };
    planned.iter().filter_map(settle).collect()
}

/// Returns the value to write if the admin has set one; `None` if the admin's stays.
fn value(setting: &KeyValue, theirs: &Value, c: &KataConfiguration) -> Option<Value> {
    let ours = &setting.value;
    let keep = |yes: bool| if yes { None } else { Some(ours.clone()) };
    match setting.key.as_str() {
        "valid_hypervisor_paths" | "valid_virtio_fs_daemon_paths" => Some(joined(theirs, ours)),
        "virtio_fs_cache" => keep(theirs.as_str().is_some_and(|mode| is_known(mode, c))),
        "virtio_fs_extra_args" => {
            let (Some(mine), Some(found)) = (words(ours), words(theirs)) else { return Some(ours.clone()) };
            let all = options_joined(&found, &mine, c.flavour);
            if all == found { None } else { Some(json!(all)) }
        }
        // Only Kata's default does not work.
        "block_device_aio" => keep(theirs.as_str().is_some_and(|aio| ["threads", "native"].contains(&aio))),
        "dial_timeout" | "create_container_timeout" | "reconnect_timeout_ms" => keep(theirs.as_u64() >= ours.as_u64()),
        "hypervisor_name" => keep(theirs == ours),
        _ => Some(ours.clone()),
    }
}

/// Returns whether Kata and the daemon know a cache mode.
///
/// `virtio_fs_cache` in `src/runtime/virtcontainers/virtiofsd.go@2.5.0`, `@3.1.0`, `@3.2.0` and `@3.20.0`, and in
/// `src/libs/kata-types/src/config/hypervisor/mod.rs@4.1.0`; QEMU's own daemon has `none`, the Rust daemon `never`.
fn is_known(mode: &str, c: &KataConfiguration) -> bool {
    let go_before = |version| c.runtime == Runtime::Go && c.kata < version;
    match mode {
        "auto" | "always" => true,
        "never" => c.flavour != Flavour::C,
        "none" => go_before(KataVersion::new(3, 2, 0)),
        "metadata" => c.runtime == Runtime::Go && !go_before(METADATA) && c.flavour != Flavour::C,
        _ => false,
    }
}

/// The first version in which the Go runtime accepts `metadata`.
const METADATA: KataVersion = KataVersion::new(3, 20, 0);

/// Returns `theirs`, extended by the elements that only `ours` has.
pub(super) fn joined(theirs: &Value, ours: &Value) -> Value {
    let (Some(theirs), Some(ours)) = (theirs.as_array(), ours.as_array()) else { return ours.clone() };
    let new = ours.iter().filter(|item| !theirs.contains(item));
    theirs.iter().chain(new).cloned().collect()
}

fn words(list: &Value) -> Option<Vec<String>> {
    list.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
}

/// One option of a daemon: its name in a normalized spelling, and the words that were given.
#[derive(Debug)]
struct DaemonOption {
    name: String,
    words: Vec<String>,
}

/// Parses `--name=value`, `--name value`, `-o name=value,name` and anything else.
fn options(words: &[String]) -> Vec<DaemonOption> {
    let name = |text: &str| text.split('=').next().unwrap_or_default().replace('_', "-");
    let mut all = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if word == "-o" {
            for part in words.next().iter().flat_map(|list| list.split(',')) {
                all.push(DaemonOption { name: name(part), words: vec![word.clone(), part.to_owned()] });
            }
            continue;
        }
        let mut option = DaemonOption { name: name(word.trim_start_matches('-')), words: vec![word.clone()] };
        if word.starts_with("--") && !word.contains('=') {
            option.words.extend(words.next_if(|next| !next.starts_with('-')).cloned());
        }
        all.push(option);
    }
    all
}

/// Options that QEMU's own daemon accepts only after `-o`, and the Rust daemon also in the form `--name`.
///
/// `tools/virtiofsd/helper.c` and `passthrough_ll.c` in QEMU at v7.2.0; `compat.rs` in virtiofsd at v1.10.0.
const AFTER_O: [&str; 11] = [
    "announce-submounts",
    "killpriv-v2",
    "log-level",
    "modcaps",
    "posix-acl",
    "readdirplus",
    "sandbox",
    "security-label",
    "writeback",
    "xattr",
    "xattrmap",
];

/// Returns `theirs`, in a form that the daemon accepts, followed by those options of `ours` that `theirs` does not set.
fn options_joined(theirs: &[String], ours: &[String], flavour: Flavour) -> Vec<String> {
    let found = options(theirs);
    let new: Vec<DaemonOption> =
        options(ours).into_iter().filter(|o| !found.iter().any(|f| f.name == o.name)).collect();
    let adapt = |option: &DaemonOption| match option.words.as_slice() {
        [word, value @ ..]
            if flavour == Flavour::C && word.starts_with("--") && AFTER_O.contains(&option.name.as_str()) =>
        {
            let whole = [&[word.trim_start_matches('-').to_owned()], value].concat().join("=");
            let (name, value) = whole.split_once('=').map_or((whole.as_str(), None), |(n, v)| (n, Some(v)));
            let value = value.map(|v| format!("={v}")).unwrap_or_default();
            vec!["-o".to_owned(), format!("{}{value}", name.replace('-', "_"))]
        }
        words => words.to_vec(),
    };
    let adapted: Vec<String> = found.iter().flat_map(adapt).collect();
    let plain: Vec<String> = found.iter().flat_map(|o| o.words.clone()).collect();
    // If nothing had to be rewritten, their spelling stays.
    let theirs = if adapted == plain { theirs.to_vec() } else { adapted };
    theirs.into_iter().chain(new.into_iter().flat_map(|o| o.words)).collect()
}

/// Returns all values of others that differ from the plan; values that a later file of theirs decides are reported
/// elsewhere.
pub(super) fn foreign_values(
    planned: &[KeyValue],
    settled: &[KeyValue],
    without: &MergedConfiguration,
    merged: &MergedConfiguration,
) -> Vec<ForeignValue> {
    let foreign_value = |setting: &KeyValue| {
        let path = setting.path();
        let was = without.leaf(&path)?;
        let written = settled.iter().find(|s| s.path() == path);
        if written.is_some_and(|s| merged.leaf(&path).map(|l| l.value) != Some(&s.value)) {
            return None;
        }
        let now = written.map_or(was.value, |s| &s.value);
        ForeignValue::of(&setting.name(), (was.file, Some(was.line)), was.value, &setting.value, now)
    };
    planned.iter().filter_map(foreign_value).collect()
}

/// Maps places in a copy to places in its source.
pub(super) fn in_source(theirs: &mut [ForeignValue], copy: &Path, source: &Path) {
    for theirs in theirs.iter_mut().filter(|t| t.file == copy) {
        theirs.file = source.to_owned();
        theirs.line = theirs.line.map(|l| l.saturating_sub(copy::HEAD_LINES));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined_options(theirs: &[&str], ours: &[&str], flavour: Flavour) -> Vec<String> {
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        options_joined(&owned(theirs), &owned(ours), flavour)
    }

    const OURS: [&str; 2] = ["--thread-pool-size=1", "--announce-submounts"];

    #[test]
    fn virtiofsd_options_are_merged_by_name() {
        let join = |theirs: &[&str]| joined_options(theirs, &OURS, Flavour::Rust);
        assert_eq!(join(&[]), OURS);
        // The same options in another spelling, and other values of theirs.
        for same in [
            &["--thread-pool-size=1", "-o", "announce_submounts"][..],
            &["--thread-pool-size", "4", "--announce-submounts", "--xattr"],
            &["-o", "xattr,announce_submounts", "--thread-pool-size=0"],
        ] {
            assert_eq!(join(same), same);
        }
        assert_eq!(
            join(&["--xattr", "--log-level", "debug"]),
            ["--xattr", "--log-level", "debug", "--thread-pool-size=1", "--announce-submounts"]
        );
    }

    #[test]
    fn the_c_daemon_gets_its_own_option_spelling() {
        let ours = ["--thread-pool-size=1", "-o", "announce_submounts"];
        let join = |theirs: &[&str]| joined_options(theirs, &ours, Flavour::C);
        assert_eq!(
            join(&["--xattr", "--thread-pool-size=1"]),
            ["-o", "xattr", "--thread-pool-size=1", "-o", "announce_submounts"]
        );
        assert_eq!(
            join(&[
                "--log-level=debug",
                "--sandbox",
                "chroot",
                "-o",
                "announce_submounts,xattr",
                "--thread-pool-size=2"
            ]),
            [
                "-o",
                "log_level=debug",
                "-o",
                "sandbox=chroot",
                "-o",
                "announce_submounts",
                "-o",
                "xattr",
                "--thread-pool-size=2"
            ]
        );
    }

    #[test]
    fn foreign_values_are_reported_as_overridden_extended_or_kept() {
        let words_for = |was: Value, ours: Value, now: Value| {
            ForeignValue::of("a.b", (Path::new("/f"), Some(3)), &was, &ours, &now).map(|t| t.words())
        };
        assert_eq!(words_for(json!("a"), json!("a"), json!("a")), None);
        assert_eq!(
            words_for(json!("a"), json!("b"), json!("b")).unwrap(),
            "overrides a.b of /f:3: \"a\" becomes \"b\""
        );
        assert_eq!(words_for(json!([1]), json!([2]), json!([1, 2])).unwrap(), "extends a.b of /f:3: [1] becomes [1,2]");
        assert_eq!(
            words_for(json!("a"), json!("b"), json!("a")).unwrap(),
            "keeps a.b of /f:3: \"a\", where \"b\" is what the release was qualified with"
        );
        let beside = ForeignValue::beside("a.b", (Path::new("/f"), None), &json!("a"));
        assert_eq!(beside.words(), "keeps a.b of /f: \"a\", which the release was not qualified with");
    }
}
