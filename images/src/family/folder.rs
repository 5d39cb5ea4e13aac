//! Folders that programs in a sandbox pass through, made where programs that are not trusted may have been.

use crate::error::{Context, Failure};
use crate::tree::FolderEntry;
use rustix::fs::{Mode, OFlags, fchmod, mkdirat, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Makes a folder where it is missing, readable for everybody: programs in a user namespace must pass through it.
///
/// A link of its name is an error and not followed: programs that are not trusted may have been there.
pub(crate) fn make(folder: &Path) -> Result<(), Failure> {
    below(&above(folder)?, folder).map(drop)
}

/// Makes such a folder again, empty except for these folders: what was there is removed, and no link is followed.
pub(crate) fn make_anew(folder: &Path, parts: &[&str]) -> Result<(), Failure> {
    let above = above(folder)?;
    let again = above.try_clone().context("opening", folder)?;
    FolderEntry::new(again, folder.file_name().unwrap_or_default(), folder.to_owned()).remove()?;
    let made = below(&above, folder)?;
    parts.iter().try_for_each(|part| below(&made, &folder.join(part)).map(drop))
}

/// The folder that a path is in.
fn above(path: &Path) -> Result<OwnedFd, Failure> {
    let folder = path.parent().unwrap_or(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).map_err(io::Error::from).context("opening", folder)
}

/// The folder of that path, made below the open one.
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

/// The names in a folder, sorted.
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
    fn a_folder_is_made_where_it_is_to_be_and_nowhere_else() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
        let (desk, victim) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::set_permissions(victim.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(victim.path().join("file"), "precious").unwrap();
        let (folder, partial) = (desk.path().join("archives"), desk.path().join("archives/partial"));
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().mode() & 0o177_777;
        let unharmed = || {
            assert_eq!(mode(victim.path()), 0o040_700);
            assert_eq!(std::fs::read_to_string(victim.path().join("file")).unwrap(), "precious");
        };
        make(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        make(&folder).unwrap();
        assert_eq!(mode(&folder), 0o040_755);
        symlink(victim.path(), &partial).unwrap();
        assert!(make(&partial).is_err());
        unharmed();
        make_anew(&folder, &["partial"]).unwrap();
        unharmed();
        assert_eq!((mode(&folder), mode(&partial)), (0o040_755, 0o040_755));
        std::fs::remove_dir_all(&folder).unwrap();
        symlink(victim.path(), &folder).unwrap();
        assert!(make(&folder).is_err());
        make_anew(&folder, &["partial"]).unwrap();
        unharmed();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        // Neither is what is no folder at all opened and waited for.
        std::fs::remove_dir(&partial).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &partial, Mode::RUSR).unwrap();
        assert!(make(&partial).is_err());
    }
}
