//! Writing of a site's directory: completely or not at all, and never over anything but an older site.

use super::gather::{History, of_history};
use crate::matrix::Matrix;
use model::profile::Profile;
use model::record::Record;
use rustix::fs::{CWD, RenameFlags};
use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use suites::catalogue::Test;

/// The file that lists all files of a site, so that only a site is ever replaced.
const MARK: &str = ".kata-qualify-site";
/// The first line of this file.
const FIRST: &str = "A site that kata-qualify has made, of these files:";
/// Maximum size of this file that is read, in bytes.
const MAX_MARK: u64 = 64 << 20;

/// Why a site could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The directory contains files that are not a site's.
    #[error("{dir} contains {what}, which does not belong to a site: expected an empty or absent folder, or an older \
             site", dir = .dir.display())]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// A description of its content.
        what: String,
    },
    /// A file or directory cannot be written.
    #[error("writing the site {dir}", dir = .0.display())]
    Write(PathBuf, #[source] io::Error),
}

/// A summary of what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenSite {
    /// The number of files.
    pub files: usize,
    /// The number of releases with any result.
    pub releases: usize,
    /// The number of runs that do not count, or only in part.
    pub withheld: usize,
}

/// Writes the site of the records and the runs that extend them, in place of an older site.
///
/// The same input gives the same bytes.
///
/// # Errors
/// If the directory contains other files, or cannot be written; it is then unchanged.
pub fn write(
    records: &[&Record],
    runs: &[Matrix],
    catalogue: &[Test],
    profiles: &[Profile],
    dir: &Path,
) -> Result<WrittenSite, SiteError> {
    refuse_foreign(dir)?;
    let history = History::new(records, runs);
    let standings = history.standings();
    let site = of_history(&history, &standings, catalogue, profiles);
    let failed = |e| SiteError::Write(dir.to_owned(), e);
    let new = temporary_sibling(dir).map_err(failed)?;
    let mut folder = Folder::new(new.path());
    site.render(&mut |path, text| folder.put(path, text)).map_err(failed)?;
    let names: String = folder.files.iter().map(|file| format!("{file}\n")).collect();
    folder.put(MARK, &format!("{FIRST}\n{names}")).map_err(failed)?;
    // The whole filesystem is synced at once, because syncing each file would take a minute.
    std::fs::File::open(new.path()).and_then(|folder| Ok(rustix::fs::syncfs(folder)?)).map_err(failed)?;
    let written = WrittenSite {
        files: folder.files.len(),
        releases: site.releases.len(),
        withheld: site.runs.iter().filter(|run| !run.withheld.is_empty()).count(),
    };
    replace(new, dir).map_err(failed)?;
    Ok(written)
}

/// Creates a temporary directory next to the one that it will replace.
pub(crate) fn temporary_sibling(dir: &Path) -> io::Result<tempfile::TempDir> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
    builder.prefix(".site").tempdir_in(parent)
}

/// Replaces a directory atomically, and removes the old one.
pub(crate) fn replace(new: tempfile::TempDir, dir: &Path) -> io::Result<()> {
    match std::fs::rename(new.path(), dir) {
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
        done => return done,
    }
    match rustix::fs::renameat_with(CWD, new.path(), CWD, dir, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        // The filesystem cannot exchange two directories.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            let old = temporary_sibling(dir)?;
            std::fs::rename(dir, old.path())?;
            if let Err(e) = std::fs::rename(new.path(), dir) {
                std::fs::rename(old.path(), dir)?;
                return Err(e);
            }
            return old.close();
        }
        Err(e) => return Err(e.into()),
    }
    new.close()
}

/// A directory that is being filled.
pub(crate) struct Folder<'f> {
    root: &'f Path,
    folders: BTreeSet<PathBuf>,
    files: BTreeSet<String>,
}

impl<'f> Folder<'f> {
    pub(crate) fn new(root: &'f Path) -> Folder<'f> {
        Folder { root, folders: BTreeSet::new(), files: BTreeSet::new() }
    }

    /// Writes a file by its path below the directory.
    pub(crate) fn put(&mut self, path: &str, text: &str) -> io::Result<()> {
        // Names are made plain where they become paths; this check is the last line of defence.
        if !is_plain(path) {
            return Err(io::Error::other(format!("{path:?} is not a plain path")));
        }
        if !self.files.insert(path.to_owned()) {
            return Err(io::Error::other(format!("{path} would be written twice")));
        }
        let file = self.root.join(path);
        if let Some(parent) = file.parent().filter(|parent| !self.folders.contains(*parent)) {
            std::fs::create_dir_all(parent)?;
            self.folders.insert(parent.to_owned());
        }
        std::fs::write(file, text)
    }
}

/// Checks whether a path stays below its directory for any reader.
fn is_plain(path: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-~".contains(c);
    path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.chars().all(fits))
}

/// Refuses a directory that contains anything but a site of this program.
fn refuse_foreign(dir: &Path) -> Result<(), SiteError> {
    let failed = |e| SiteError::Write(dir.to_owned(), e);
    let foreign = |what: String| Err(SiteError::Foreign { dir: dir.to_owned(), what });
    match std::fs::symlink_metadata(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
        Ok(found) if !found.is_dir() => return foreign("no files: it is no folder".to_owned()),
        Ok(_) => {}
    }
    let own_files = mark(&dir.join(MARK));
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(dir.join(&folder)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let path = match folder.as_str() {
                "" => name.to_string_lossy().into_owned(),
                folder => format!("{folder}/{}", name.to_string_lossy()),
            };
            match entry.file_type().map_err(failed)? {
                kind if kind.is_dir() => folders.push(path),
                kind if kind.is_file() && own_files.contains(&path) => {}
                _ => return foreign(path),
            }
        }
    }
    Ok(())
}

/// Returns the files that a site's mark lists, and the mark itself; empty if the file is not such a mark.
fn mark(path: &Path) -> BTreeSet<String> {
    let is_small = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() <= MAX_MARK);
    let mut text = String::new();
    let read =
        is_small.then(|| std::fs::File::open(path).and_then(|file| file.take(MAX_MARK).read_to_string(&mut text)));
    let mut lines = text.lines();
    match read {
        Some(Ok(_)) if lines.next() == Some(FIRST) => lines.map(str::to_owned).chain([MARK.to_owned()]).collect(),
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{FIRST}\nindex.html\ncell/a.html\n")).unwrap();
        }
        dir
    }

    #[test]
    fn only_a_generated_site_may_be_replaced() {
        for files in [&[][..], &[MARK], &[MARK, "index.html"], &[MARK, "index.html", "cell/a.html"]] {
            let dir = folder(files);
            refuse_foreign(dir.path()).unwrap();
        }
        refuse_foreign(Path::new("/nonexistent/site")).unwrap();
        for (files, what) in [
            (&["index.html"][..], "index.html"),
            (&[MARK, "index.html", "CNAME"], "CNAME"),
            (&[MARK, "cell/mine.html"], "cell/mine.html"),
        ] {
            let dir = folder(files);
            let refused = refuse_foreign(dir.path()).unwrap_err().to_string();
            assert!(refused.contains(&format!(" contains {what}, which does not belong to a site")), "{refused}");
        }
        let dir = folder(&[MARK]);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("index.html")).unwrap();
        assert!(refuse_foreign(dir.path()).is_err(), "a link is no file of ours");
        assert!(refuse_foreign(&dir.path().join(MARK)).is_err(), "a file is no folder");
    }

    #[test]
    fn a_folder_is_replaced_as_a_whole() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("site");
        for text in ["one", "two"] {
            let new = temporary_sibling(&dir).unwrap();
            std::fs::write(new.path().join(text), text).unwrap();
            replace(new, &dir).unwrap();
            let names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, [text]);
        }
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn files_outside_the_folder_and_duplicates_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(dir.path());
        folder.put("cell/a~2.html", "").unwrap();
        for path in ["../a", "/a", "a/../b", "a//b", "", "a\0", "a b", "cell/a~2.html"] {
            assert!(folder.put(path, "").is_err(), "{path:?}");
        }
    }
}
