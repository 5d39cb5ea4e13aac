//! Directories that sandboxed programs traverse, made where untrusted programs may have been.

use crate::error::{Context, Failure};
use crate::tree::FolderEntry;
use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat};
use rustix::io::Errno;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Makes a directory if it is missing, readable for everybody: programs in a user namespace must be able to traverse
/// it.
///
/// A link of its name is an error and not followed: untrusted programs may have been there.
pub(crate) fn make(folder: &Path) -> Result<(), Failure> {
    below(&above(folder)?, folder).map(drop)
}

/// Makes such a directory, empty except for the given subdirectories: old content is removed, and no link is followed.
pub(crate) fn make_empty(folder: &Path, parts: &[&str]) -> Result<(), Failure> {
    let above = above(folder)?;
    let again = above.try_clone().context("opening", folder)?;
    FolderEntry::new(again, folder.file_name().unwrap_or_default(), folder.to_owned()).remove()?;
    let made = below(&above, folder)?;
    parts.iter().try_for_each(|part| below(&made, &folder.join(part)).map(drop))
}

/// Makes a directory that only root can read, for settings and credentials.
pub(crate) fn make_private(folder: &Path) -> Result<(), Failure> {
    DirBuilder::new().mode(0o700).create(folder).context("creating", folder)
}

/// Writes a new file that only root can read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).context("writing", path)
}

/// A directory of [`make_private`] that is removed when this is dropped.
pub(crate) struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Makes the directory.
    pub(crate) fn make(path: PathBuf) -> Result<PrivateFolder, Failure> {
        let folder = PrivateFolder(path);
        make_private(&folder.0)?;
        Ok(folder)
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a new file in it that only root can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        write_private(&self.0.join(name), text)
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "credentials were not removed");
        }
    }
}

/// Copies a file and makes it readable for everybody.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    std::fs::copy(from, to).context("copying", from)?;
    std::fs::set_permissions(to, Permissions::from_mode(0o644)).context("changing the mode of", to)
}

/// Copies a file into a directory and makes it readable for everybody; returns its name.
pub(crate) fn copy_into(folder: &Path, file: &Path) -> Result<String, Failure> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    copy(file, &folder.join(&name))?;
    Ok(name)
}

/// Opens the parent directory of a path.
fn above(path: &Path) -> Result<OwnedFd, Failure> {
    let folder = path.parent().unwrap_or(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).map_err(io::Error::from).context("opening", folder)
}

/// Makes and opens the directory of a path, relative to its open parent.
fn below(above: &OwnedFd, path: &Path) -> Result<OwnedFd, Failure> {
    let (name, mode) = (path.file_name().unwrap_or_default(), Mode::from_raw_mode(0o755));
    let made = match mkdirat(above, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {
            openat(above, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        }
        Err(errno) => Err(errno),
    };
    // Independent of this process's umask.
    let made = made.and_then(|folder| fchmod(&folder, mode).map(|()| folder));
    made.map_err(io::Error::from).context("making the folder", path)
}

/// Returns the names in a directory, sorted.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = std::fs::read_dir(folder).context("reading", folder)?;
    let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_created_without_following_links() {
        use std::os::unix::fs::{MetadataExt as _, symlink};
        let (desk, victim) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::set_permissions(victim.path(), Permissions::from_mode(0o700)).unwrap();
        std::fs::write(victim.path().join("file"), "precious").unwrap();
        let (folder, partial) = (desk.path().join("archives"), desk.path().join("archives/partial"));
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().mode() & 0o177_777;
        let unharmed = || {
            assert_eq!(mode(victim.path()), 0o040_700);
            assert_eq!(std::fs::read_to_string(victim.path().join("file")).unwrap(), "precious");
        };
        make(&folder).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        make(&folder).unwrap();
        assert_eq!(mode(&folder), 0o040_755);
        symlink(victim.path(), &partial).unwrap();
        assert!(make(&partial).is_err());
        unharmed();
        make_empty(&folder, &["partial"]).unwrap();
        unharmed();
        assert_eq!((mode(&folder), mode(&partial)), (0o040_755, 0o040_755));
        std::fs::remove_dir_all(&folder).unwrap();
        symlink(victim.path(), &folder).unwrap();
        assert!(make(&folder).is_err());
        make_empty(&folder, &["partial"]).unwrap();
        unharmed();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        // A FIFO is refused without being opened, which would block.
        std::fs::remove_dir(&partial).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &partial, Mode::RUSR).unwrap();
        assert!(make(&partial).is_err());
    }

    #[test]
    fn private_files_must_be_new_and_copies_are_readable() {
        let desk = tempfile::tempdir().unwrap();
        let (private, secret) = (desk.path().join("private"), desk.path().join("private/secret"));
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
        make_private(&private).unwrap();
        write_private(&secret, "login").unwrap();
        assert_eq!((mode(&private), mode(&secret)), (0o700, 0o600));
        // Existing entries are not reused.
        assert!(make_private(&private).is_err() && write_private(&secret, "other").is_err());
        assert_eq!(copy_into(desk.path(), &secret).unwrap(), "secret");
        let copied = desk.path().join("secret");
        assert_eq!((std::fs::read_to_string(&copied).unwrap().as_str(), mode(&copied)), ("login", 0o644));
    }
}
