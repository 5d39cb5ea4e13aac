//! containerd's handler: a drop-in where containerd merges those, an edit of its configuration where it does not.

use super::Setting;
use super::change::{Change, State, original};
use super::edit::{EditError, LineEnds, edited};
use super::runtime_files::{HandlerError, NAME};
use crate::profile::Runtime;
use crate::root::Root;
use serde_json::json;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, TableLike};

const MAIN: &str = "/etc/containerd/config.toml";
const DROP_IN: &str = "/etc/containerd/conf.d/50-kata-osinfo.toml";

/// The CRI plugin's section, by the version of the configuration's form.
fn plugin(version: i64) -> &'static str {
    match version {
        ..3 => "io.containerd.grpc.v1.cri",
        _ => "io.containerd.cri.v1.runtime",
    }
}

/// The files that make Kata a handler of containerd of version `containerd` (major and minor; `None` is not known).
///
/// containerd before 2.0 replaces a plugin's whole section by that of an imported file, so there the main file is edited;
/// from 2.0 on a drop-in is written and imported, unless the main file imports its directory already; 2.2 and later read
/// it by themselves where there is no main file.
/// Before 2.0 the main file's runtimes also replace the default ones, and the CRI plugin does not start without the one
/// that it takes by default: where the file names none, `runc` is written out beside Kata.
/// Measured with containerd 1.6, 1.7 and 2.1; `tools/packaging/kata-deploy/binary/src/runtime/manager.rs` and `config.rs` at Kata 4.1.0.
///
/// # Errors
///
/// What cannot be read, edited, or would be undone by an import.
pub fn containerd(
    root: &Root,
    state: Option<&State>,
    shim: &Path,
    config: &Path,
    containerd: Option<(u32, u32)>,
) -> Result<Vec<Change>, HandlerError> {
    let main = root.resolve_new(Path::new(MAIN))?;
    let before = original(root, state, &main)?;
    let merges = containerd.is_some_and(|v| v >= (2, 0));
    let edit = |source| HandlerError::Edit { path: main.clone(), source };
    let document: DocumentMut =
        before.as_deref().unwrap_or_default().parse().map_err(|e| edit(EditError::Syntax(e)))?;
    let version = match (document.get("version").and_then(Item::as_integer), &before) {
        (Some(version), _) => version,
        (None, None) if merges => 3,
        (None, None) => 2,
        // Without the key it is version 1: containerd 1.x's own rule.
        (None, Some(text)) if text.trim().is_empty() => 2,
        (None, Some(_)) => 1,
    };
    if version < 2 {
        return Err(HandlerError::OldConfig { path: main, version });
    }
    let mut settings = settings(plugin(version), shim, config);
    // The form's version 3 is containerd 2's.
    if !merges && version < 3 {
        if let Some(import) = replacing_import(root, &document, plugin(version)) {
            return Err(HandlerError::Replaced { import, main, plugin: plugin(version) });
        }
        settings.extend(default_runtime(&document, plugin(version)));
        let text = match &before {
            Some(text) if !text.trim().is_empty() => text.clone(),
            _ => format!("version = {version}\n"),
        };
        let after = edited(&text, &settings).map_err(edit)?;
        return Ok(vec![Change { path: main, before, after }]);
    }
    let path = root.resolve_new(Path::new(DROP_IN))?;
    let head = format!("# Written by kata-osinfo; `kata-osinfo unconfigure` removes it.\nversion = {version}\n");
    let after = edited(&head, &settings).map_err(edit)?;
    let mut changes = vec![Change { before: original(root, state, &path)?, path, after }];
    let alone = before.is_none() && containerd.is_some_and(|v| v >= (2, 2));
    if !alone && !imports(&document).iter().any(|i| covers(i)) {
        let text = before.clone().unwrap_or_else(|| format!("version = {version}\n"));
        let after = with_import(&text).map_err(edit)?;
        changes.push(Change { path: main, before, after });
    }
    Ok(changes)
}

fn setting(table: &[&str], key: &str, value: serde_json::Value) -> Setting {
    Setting { table: table.iter().map(|t| (*t).to_owned()).collect(), key: key.to_owned(), value, why: String::new() }
}

/// The runtime that containerd takes by default, as it describes it itself, unless the file has runtimes or another default.
fn default_runtime(document: &DocumentMut, plugin: &str) -> Option<Setting> {
    let section = document.get("plugins").and_then(|p| p.get(plugin)).and_then(|c| c.get("containerd"));
    let stated = |key: &str| section.and_then(|s| s.get(key));
    let named = stated("default_runtime_name").and_then(Item::as_str);
    let runc = stated("runtimes").is_none() && stated("default_runtime").is_none() && named.is_none_or(|n| n == "runc");
    let table = ["plugins", plugin, "containerd", "runtimes", "runc"];
    runc.then(|| setting(&table, "runtime_type", json!("io.containerd.runc.v2")))
}

fn settings(plugin: &str, shim: &Path, config: &Path) -> Vec<Setting> {
    let runtime = ["plugins", plugin, "containerd", "runtimes", NAME];
    let options: Vec<&str> = runtime.into_iter().chain(["options"]).collect();
    vec![
        setting(&runtime, "runtime_type", json!("io.containerd.kata.v2")),
        setting(&runtime, "runtime_path", json!(shim.display().to_string())),
        setting(&runtime, "privileged_without_host_devices", json!(true)),
        setting(&runtime, "pod_annotations", json!(["io.katacontainers.*"])),
        setting(&options, "ConfigPath", json!(config.display().to_string())),
    ]
}

/// Whether an `imports` entry covers the drop-in.
fn covers(import: &str) -> bool {
    import == DROP_IN || import == "/etc/containerd/conf.d/*.toml" || import == "/etc/containerd/conf.d/*"
}

fn imports(document: &DocumentMut) -> Vec<String> {
    let list = document.get("imports").and_then(Item::as_array);
    list.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn with_import(text: &str) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let line_ends = LineEnds::of(text, &document)?;
    let item = document.entry("imports").or_insert_with(|| toml_edit::Array::new().into());
    let list = item.as_array_mut().ok_or_else(|| EditError::NotATable("imports".to_owned()))?;
    list.push(DROP_IN);
    Ok(line_ends.put(document.to_string()))
}

/// The first imported file that has the plugin's section.
fn replacing_import(root: &Root, document: &DocumentMut, plugin: &str) -> Option<PathBuf> {
    imported(root, document)
        .into_iter()
        .find(|(_, text)| {
            text.parse::<DocumentMut>().is_ok_and(|d| d.get("plugins").and_then(|p| p.get(plugin)).is_some())
        })
        .map(|(path, _)| path)
}

/// The imported files with their texts; a `*` is one in the last component.
fn imported(root: &Root, document: &DocumentMut) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for import in imports(document) {
        let path = Path::new(MAIN).with_file_name("").join(&import);
        let Some((before, after)) = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.split_once('*'))
            .map(|(b, a)| (b.to_owned(), a.to_owned()))
        else {
            files.push(path);
            continue;
        };
        let folder = path.with_file_name("");
        let names = root.list(&folder).unwrap_or_default();
        let names = names.iter().map(String::as_str);
        files.extend(names.filter(|n| n.starts_with(&before) && n.ends_with(&after)).map(|n| folder.join(n)));
    }
    files.into_iter().filter_map(|path| Some((path.clone(), root.utf8(&path).ok()?))).collect()
}

/// The `ConfigPath` of every Kata handler for a runtime, in the main file and what it imports.
pub(super) fn config_paths(root: &Root, runtime: Runtime) -> Vec<String> {
    let Ok(Some(main)) = root.utf8_if_any(Path::new(MAIN)) else { return Vec::new() };
    let Ok(document) = main.parse::<DocumentMut>() else { return Vec::new() };
    let texts = imported(root, &document).into_iter().map(|(_, text)| text);
    let mut paths = Vec::new();
    for document in std::iter::once(main.clone()).chain(texts).filter_map(|t| t.parse::<DocumentMut>().ok()) {
        for plugin in [plugin(2), plugin(3)] {
            let runtimes = ["plugins", plugin, "containerd", "runtimes"]
                .iter()
                .try_fold(document.as_table() as &dyn TableLike, |t, k| t.get(k).and_then(Item::as_table_like));
            for (_, handler) in runtimes.into_iter().flat_map(TableLike::iter) {
                let kind = handler.get("runtime_type").and_then(Item::as_str).unwrap_or_default();
                let path = handler.get("options").and_then(|o| o.get("ConfigPath")).and_then(Item::as_str);
                let shim = handler.get("runtime_path").and_then(Item::as_str).unwrap_or_default();
                // Kata keeps the Rust runtime's shim and configurations apart by these names.
                let rust = [shim, path.unwrap_or_default()].iter().any(|p| p.contains("runtime-rs"))
                    || shim.ends_with("/containerd-shim-kata-rs-v2");
                if kind.starts_with("io.containerd.kata") && rust == (runtime == Runtime::Rs) {
                    paths.extend(path.map(str::to_owned));
                }
            }
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIM: &str = "/opt/kata/bin/containerd-shim-kata-v2";
    const CONFIG: &str = "/opt/kata/configuration.toml";

    fn machine(main: Option<&str>) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/containerd/conf.d")).unwrap();
        if let Some(text) = main {
            std::fs::write(dir.path().join("etc/containerd/config.toml"), text).unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        (dir, root)
    }

    fn changes(root: &Root, version: Option<(u32, u32)>) -> Result<Vec<Change>, HandlerError> {
        containerd(root, None, Path::new(SHIM), Path::new(CONFIG), version)
    }

    #[test]
    fn containerd_1_is_edited_in_place() {
        let main = "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\"] # CRI\n  sandbox_image = \"p:1\"\n";
        let (_dir, root) = machine(Some(main));
        let changes = changes(&root, Some((1, 6))).unwrap();
        assert_eq!(changes.len(), 1);
        insta::assert_snapshot!(changes[0].after, @r#"
        version = 2

        [plugins."io.containerd.grpc.v1.cri"] # CRI
          sandbox_image = "p:1"

        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]
        runtime_type = "io.containerd.kata.v2"
        runtime_path = "/opt/kata/bin/containerd-shim-kata-v2"
        privileged_without_host_devices = true
        pod_annotations = ["io.katacontainers.*"]

        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata.options]
        ConfigPath = "/opt/kata/configuration.toml"

        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
        "#);
    }

    #[test]
    fn runtimes_that_containerd_1_has_are_not_added_to() {
        let section = "plugins.\"io.containerd.grpc.v1.cri\".containerd";
        for stated in [
            format!("[{section}]\ndefault_runtime_name = \"mine\"\n"),
            format!("[{section}.runtimes.crun]\nruntime_type = \"io.containerd.runc.v2\"\n"),
        ] {
            let (_dir, root) = machine(Some(&format!("version = 2\n{stated}")));
            let changes = changes(&root, Some((1, 7))).unwrap();
            assert!(!changes[0].after.contains("runtimes.runc"), "{}", changes[0].after);
        }
        let (_dir, root) = machine(Some(&format!("version = 2\n[{section}]\ndefault_runtime_name = \"runc\"\n")));
        assert!(changes(&root, Some((1, 7))).unwrap()[0].after.contains("runtimes.runc"));
    }

    #[test]
    fn containerd_2_gets_a_drop_in_that_is_imported_once() {
        let (_dir, root) = machine(Some("version = 3\nimports = [\"/etc/other.toml\"]\n"));
        let two = changes(&root, Some((2, 1))).unwrap();
        assert_eq!(two.len(), 2);
        insta::assert_snapshot!(two[0].after, @r#"
        # Written by kata-osinfo; `kata-osinfo unconfigure` removes it.
        version = 3

        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata]
        runtime_type = "io.containerd.kata.v2"
        runtime_path = "/opt/kata/bin/containerd-shim-kata-v2"
        privileged_without_host_devices = true
        pod_annotations = ["io.katacontainers.*"]

        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata.options]
        ConfigPath = "/opt/kata/configuration.toml"
        "#);
        assert_eq!(
            two[1].after,
            "version = 3\nimports = [\"/etc/other.toml\", \"/etc/containerd/conf.d/50-kata-osinfo.toml\"]\n"
        );
        let (_dir, root) = machine(Some("version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n"));
        assert_eq!(changes(&root, Some((2, 2))).unwrap().len(), 1);
        let (_dir, root) = machine(None);
        assert_eq!(changes(&root, Some((2, 2))).unwrap().len(), 1);
        assert_eq!(changes(&root, Some((2, 0))).unwrap().len(), 2);
        // A form of version 3 says that it is containerd 2, a form of version 2 does not say which.
        let (_dir, root) = machine(Some("version = 3\n"));
        assert_eq!(changes(&root, None).unwrap().len(), 2);
        let (_dir, root) = machine(Some("version = 2\n"));
        let in_place = changes(&root, None).unwrap();
        assert_eq!((in_place.len(), in_place[0].path.as_path()), (1, Path::new(MAIN)));
    }

    #[test]
    fn what_would_be_undone_or_is_too_old_is_refused() {
        let (dir, root) = machine(Some("version = 2\nimports = [\"conf.d/*.toml\"]\n"));
        let import = dir.path().join("etc/containerd/conf.d/x.toml");
        std::fs::write(&import, "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"p\"\n").unwrap();
        assert!(matches!(changes(&root, Some((1, 7))), Err(HandlerError::Replaced { .. })));
        std::fs::write(&import, "[plugins.\"other\"]\nx = 1\n").unwrap();
        assert!(changes(&root, Some((1, 7))).is_ok());
        let (_dir, root) = machine(Some("[plugins.cri]\nx = 1\n"));
        let error = changes(&root, None).unwrap_err().to_string();
        assert!(error.contains("version 1") && error.contains("config migrate"), "{error}");
        let (_dir, root) = machine(Some("version = [\n"));
        assert!(matches!(changes(&root, None), Err(HandlerError::Edit { .. })));
    }
}
