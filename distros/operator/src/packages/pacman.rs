//! pacman's local database: a folder a package, with `desc` and `files`.

use super::{Budget, Entry, MAX_BYTES, without_version};
use root::{Root, RootError};
use std::path::{Path, PathBuf};

const LOCAL: &str = "/var/lib/pacman/local";

pub(super) fn entries(root: &Root) -> Result<Vec<Entry>, RootError> {
    let mut entries = Vec::new();
    for (_, desc) in folders(root)? {
        entries.push(Entry {
            name: field(&desc, "NAME").into_iter().next().unwrap_or_default(),
            version: field(&desc, "VERSION").into_iter().next().unwrap_or_default(),
            provides: field(&desc, "PROVIDES").iter().map(|p| without_version(p).to_owned()).collect(),
        });
    }
    Ok(entries)
}

pub(super) fn owner(root: &Root, paths: &[String]) -> Result<Option<String>, RootError> {
    for (folder, desc) in folders(root)? {
        let text = match root.read_text(&folder.join("files"), MAX_BYTES) {
            Err(error) if error.is_missing() => continue,
            text => text?,
        };
        // Without the leading slash.
        if field(&text, "FILES").iter().any(|f| paths.iter().any(|p| p.trim_start_matches('/') == f)) {
            return Ok(field(&desc, "NAME").into_iter().next());
        }
    }
    Ok(None)
}

/// Each package's folder and description.
fn folders(root: &Root) -> Result<Vec<(PathBuf, String)>, RootError> {
    let mut folders = Vec::new();
    let mut budget = Budget(MAX_BYTES);
    for name in root.list(Path::new(LOCAL))? {
        let folder = Path::new(LOCAL).join(name);
        match budget.text(root, &folder.join("desc")) {
            Ok(desc) => folders.push((folder, desc)),
            // The folder's own `ALPM_DB_VERSION` is a file.
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(folders)
}

/// The lines below `%NAME%`, up to an empty one.
fn field(text: &str, name: &str) -> Vec<String> {
    let head = format!("%{name}%");
    let after = text.lines().skip_while(|l| *l != head).skip(1);
    after.take_while(|l| !l.is_empty()).map(str::to_owned).collect()
}
