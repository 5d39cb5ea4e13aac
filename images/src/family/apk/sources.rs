//! A release's package sources and trusted keys, read from a system's files as data.
//!
//! No mirror is hard-coded in this program, and no key is fetched.

use super::{KEPT, KEYS};
use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::family::repositories;
use crate::tree;
use model::package::is_plain;
use model::release::{Archive, Release};
use root::Root;
use std::path::{Path, PathBuf};

/// List of repositories, one per line.
pub(super) const REPOSITORIES: &str = "/etc/apk/repositories";
/// Directory of the keys that a system trusts.
pub(super) const OF_SYSTEM: &str = "/etc/apk/keys";
/// The repository that every release has.
const MAIN: &str = "main";
/// Size limit of the list, and of a key, in bytes.
const MAX: u64 = 1 << 20;

/// Returns name and address of the repositories of a system or a mirror, and of additional ones from the record.
///
/// # Errors
/// If no repository is known.
pub(super) fn repositories(
    system: Option<&Root>,
    mirror: Option<&str>,
    release: &Release,
) -> Result<Vec<(String, String)>, Failure> {
    let mut known: Vec<String> = match (mirror, system) {
        // The option names the directory above the repositories: `MIRROR/v3.22/main`.
        (Some(mirror), _) => vec![format!("{mirror}/{MAIN}")],
        (None, Some(root)) => of_system(root)?,
        (None, None) => Vec::new(),
    };
    let above = known.first().and_then(|first| first.rsplit_once('/')).map(|(above, _)| above.to_owned());
    let Some(above) = above else {
        return Err(ImageErrorKind::NoMirror { suite: release.name(), archive: Archive::Main }.into());
    };
    for id in release.repositories.iter().filter(|id| is_plain(id) && !id.contains('/')) {
        if !known.iter().any(|address| name(address) == id) {
            known.push(format!("{above}/{id}"));
        }
    }
    known.retain(|address| is_plain(name(address)));
    // Only one repository per name, because the name becomes a directory.
    let mut all: Vec<(String, String)> = Vec::new();
    for address in known {
        if !all.iter().any(|(id, _)| id == name(&address)) {
            all.push((name(&address).to_owned(), address));
        }
    }
    Ok(all)
}

fn name(address: &str) -> &str {
    address.rsplit('/').next().unwrap_or_default()
}

/// Returns the addresses in a system's list, without those that have a tag, which are only for packages that name it.
fn of_system(root: &Root) -> Result<Vec<String>, Failure> {
    let list = Path::new(REPOSITORIES);
    if !root.has_file(list).map_err(tree::failed)? {
        return Ok(Vec::new());
    }
    let text = root.read_text(list, MAX).map_err(tree::failed)?;
    let is_address = |line: &&str| line.starts_with("https://") || line.starts_with("http://");
    Ok(text.lines().map(str::trim).filter(is_address).map(|line| line.trim_end_matches('/').to_owned()).collect())
}

/// Returns the addresses in a system's settings.
pub(super) fn addresses(root: &Root) -> Vec<String> {
    of_system(root).unwrap_or_default()
}

/// Writes the list of repositories: `main ADDRESS`.
pub(super) fn write(folder: &Path, repositories: &[(String, String)]) -> Result<(), Failure> {
    repositories::write(&folder.join(KEPT), repositories.iter().map(|(id, address)| (id.as_str(), address.as_str())))
}

/// Reads the list of repositories.
pub(super) fn written(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    repositories::read(&folder.join(KEPT))
}

/// Copies the keys: those of the caller, or else of a system. A signature names its key by the name of the file.
pub(super) fn keys(folder: &Path, system: Option<&Root>, files: &[PathBuf]) -> Result<(), Failure> {
    let to = folder.join(KEYS);
    let put = |name: &str, key: Vec<u8>| {
        let path = to.join(name);
        std::fs::write(&path, key).context("writing", &path)
    };
    let mut found = 0;
    for file in files {
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        put(name, std::fs::read(file).context("reading the key", file)?)?;
        found += 1;
    }
    if let Some(root) = system.filter(|_| files.is_empty()) {
        let folder = Path::new(OF_SYSTEM);
        for name in root.list(folder).map_err(tree::failed)?.iter().filter(|name| name.ends_with(".pub")) {
            put(name, root.read(&folder.join(name), MAX).map_err(tree::failed)?)?;
            found += 1;
        }
    }
    match found {
        0 => {
            let detail = "no key is given by a base or with --mirror-key".to_owned();
            Err(ImageErrorKind::Untrusted { detail }.into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/apk/keys")).unwrap();
        let list = "https://mirror.example/alpine/v3.22/main\n#https://mirror.example/alpine/v3.22/community\n\
            @edge https://mirror.example/alpine/edge/main\n/media/cdrom/apks\n";
        std::fs::write(dir.path().join("etc/apk/repositories"), list).unwrap();
        std::fs::write(dir.path().join("etc/apk/keys/alpine@example-1.rsa.pub"), "key").unwrap();
        dir
    }

    #[test]
    fn repositories_of_the_record_are_added_to_those_of_the_base() {
        let (dir, mut release) = (base(), crate::fixtures::release("3.22", "-"));
        release.repositories = vec!["community".to_owned(), "main".to_owned()];
        let root = Root::new(dir.path()).unwrap();
        let found = repositories(Some(&root), None, &release).unwrap();
        let repository = |id: &str, above: &str| (id.to_owned(), format!("{above}/{id}"));
        let own = "https://mirror.example/alpine/v3.22";
        assert_eq!(found, [repository("main", own), repository("community", own)]);
        let found = repositories(Some(&root), Some("http://near.example/v3.22"), &release).unwrap();
        assert_eq!(
            found,
            [repository("main", "http://near.example/v3.22"), repository("community", "http://near.example/v3.22")]
        );
        assert!(matches!(repositories(None, None, &release).unwrap_err().cause, ImageErrorKind::NoMirror { .. }));
    }

    #[test]
    fn keys_are_copied_from_the_base_and_missing_keys_are_an_error() {
        let (dir, folder) = (base(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(folder.path().join(KEYS)).unwrap();
        assert!(matches!(keys(folder.path(), None, &[]).unwrap_err().cause, ImageErrorKind::Untrusted { .. }));
        keys(folder.path(), Some(&Root::new(dir.path()).unwrap()), &[]).unwrap();
        assert!(folder.path().join(KEYS).join("alpine@example-1.rsa.pub").exists());
    }
}
