//! The files that a machine's containerds read.

use super::super::keys::is_marked_as_ours;
use super::config::{ContainerdConfig, Unread};
use super::distribution::ContainerdOwner;
use super::files::{Files, Replaced};
use super::loaded::{File, GRPC, LoadError, RUNTIME, read};
use super::loading::Loading;
use super::loss::as_read;
use model::profile::Runtime;
use root::{Root, RootError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The files of one containerd.
#[derive(Debug)]
pub(in super::super) struct ReadFiles<'p> {
    place: &'p ContainerdConfig,
    /// `None` if this containerd would not start, which is reported by the code that writes its handler.
    files: Option<Vec<File>>,
}

impl ReadFiles<'_> {
    /// Returns the existing or future path of kata-osinfo's drop-in.
    pub(in super::super) fn drop_in(&self) -> &Path {
        &self.place.drop_in
    }
}

/// Reads the files of some containerds.
///
/// # Errors
///
/// The errors of `unread` for a main file that cannot be read or looked for, or that imports such a file.
pub(in super::super) fn read_files<'p>(
    root: &Root,
    places: &'p [ContainerdConfig],
    unread: &mut Unread<'_>,
) -> Result<Vec<ReadFiles<'p>>, RootError> {
    let mut all = Vec::new();
    for place in places {
        let files = as_read(root, &place.main, Some(place), &Replaced::new()).map_err(LoadError::from);
        let files = files
            .and_then(|replaced| read(&Files { root, replaced: &replaced }, &place.main, Loading::MergesThenMigrates));
        match files {
            Err(LoadError::Root(error)) if error.is_unreadable() => unread(&place.main, error)?,
            files => all.push(ReadFiles { place, files: files.ok() }),
        }
    }
    Ok(all)
}

/// Returns the `ConfigPath` of every Kata handler, with the runtime that reads it.
pub(in super::super) fn config_paths(all: &[ReadFiles<'_>]) -> Vec<(Runtime, String)> {
    let mut handlers: BTreeMap<(ContainerdOwner, String), &Value> = BTreeMap::new();
    for ReadFiles { place, files } in all {
        for file in files.iter().flatten() {
            for (name, handler) in [GRPC, RUNTIME].into_iter().filter_map(|p| file.runtimes(p)).flatten() {
                handlers.insert((place.owner, name.clone()), handler);
            }
        }
    }
    let text = |handler: &Value, key: &str| handler.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut paths = Vec::new();
    for handler in handlers.values() {
        let path = handler.get("options").map(|o| text(o, "ConfigPath")).unwrap_or_default();
        let shim = text(handler, "runtime_path");
        // These names distinguish the Rust runtime's shim and configurations from the Go runtime's.
        let is_rust =
            [&shim, &path].iter().any(|p| p.contains("runtime-rs")) || shim.ends_with("/containerd-shim-kata-rs-v2");
        if text(handler, "runtime_type").starts_with("io.containerd.kata") && !path.is_empty() {
            paths.push((if is_rust { Runtime::Rs } else { Runtime::Go }, path));
        }
    }
    paths
}

/// Returns the files that are marked as kata-osinfo's, including its drop-ins. For a containerd that would not start,
/// the files in the drop-in's directory are checked.
pub(in super::super) fn paths_marked_as_ours(root: &Root, all: &[ReadFiles<'_>]) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    for ReadFiles { place, files } in all {
        match files {
            Some(files) => paths.extend(files.iter().filter(|f| f.is_marked_as_ours()).map(|f| f.path.clone())),
            None => {
                let folder = place.drop_in.with_file_name("");
                let beside = root.list_if_any(&folder).unwrap_or_default().into_iter().map(|name| folder.join(name));
                let text = |path: &PathBuf| root.text_if_any(path).ok().flatten();
                paths.extend(beside.filter(|path| text(path).is_some_and(|text| is_marked_as_ours(&text))));
            }
        }
    }
    paths
}
