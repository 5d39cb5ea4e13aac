//! A cache is used only if no other user can change it, because root acts on its content.
//!
//! Each of its own directories and locks must be no link, belong to this user or to root, and be closed to others for
//! writing. No other user may be able to replace the cache either, because its content is reached by path. So the
//! directories above it, and those that links lead through, must belong to this user, to root or to the user who called
//! sudo; others may write to such a directory only if they cannot rename files of other users in it, as in `/tmp`.

use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// A part of a cache that another user could have made or could change.
#[derive(Debug, thiserror::Error)]
#[error("{} {}", .path.display(), distrust(.reason))]
pub struct UntrustedPath {
    /// Path of the part.
    pub path: PathBuf,
    /// Reason for the refusal.
    pub reason: String,
}

impl UntrustedPath {
    /// Returns the reason and the expectation, for callers that name the path themselves.
    pub(super) fn message(&self) -> String {
        distrust(&self.reason)
    }
}

fn distrust(reason: &str) -> String {
    format!("{reason}: expected a folder or file that belongs to you and that nobody else may write to")
}

/// A directory or link on the way to a cache that another user could replace.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} cannot be used, because its parent {} {reason}: expected folders that belong to you or to root and that nobody \
     else may write to",
    .cache.display(),
    .path.display()
)]
pub struct UntrustedWay {
    /// Directory of the cache.
    pub cache: PathBuf,
    /// The directory or link on the way.
    pub path: PathBuf,
    /// Reason for the refusal.
    pub reason: String,
}

/// Checks an existing directory of a cache, and the directories above it.
///
/// # Errors
/// [`UntrustedPath`] or [`UntrustedWay`] inside an error of the kind `PermissionDenied`; or the error of reading the
/// directory's metadata.
pub fn check(folder: &Path) -> io::Result<()> {
    check_parents(folder)?;
    let meta = std::fs::symlink_metadata(folder)?;
    let reason = if meta.is_symlink() {
        Some("is a link".to_owned())
    } else if meta.is_dir() {
        untrusted_reason(&meta)
    } else {
        Some("is not a folder".to_owned())
    };
    refuse(folder, reason)
}

/// Makes a directory of a cache, with missing parents, or checks an existing one, and closes it to others: the trees in
/// it have setuid programs.
///
/// # Errors
/// As [`check`]; or if the directory cannot be made.
pub fn make(folder: &Path) -> io::Result<()> {
    match check(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Ok(()) => return close(folder),
        Err(e) => return Err(e),
    }
    if let Some(above) = folder.parent() {
        std::fs::create_dir_all(above)?;
    }
    match DirBuilder::new().mode(PRIVATE).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => check(folder),
    }
}

/// Checks the existing directories above, and links and the directories that they lead through.
fn check_parents(folder: &Path) -> io::Result<()> {
    let whole = std::path::absolute(folder)?;
    let judge = |path: &Path, reason: Option<String>| match reason {
        None => Ok(()),
        Some(reason) => {
            let untrusted = UntrustedWay { cache: folder.to_owned(), path: path.to_owned(), reason };
            Err(io::Error::new(io::ErrorKind::PermissionDenied, untrusted))
        }
    };
    // In reverse order, as a stack.
    let mut remaining = parts(whole.parent().unwrap_or(&whole));
    let (mut current, mut links) = (PathBuf::from("/"), 0);
    judge(&current, others_may_rename_in(&std::fs::symlink_metadata(&current)?))?;
    while let Some(part) = remaining.pop() {
        if part == ".." {
            current.pop();
            continue;
        }
        let next = current.join(&part);
        let meta = match std::fs::symlink_metadata(&next) {
            // Once this directory exists, its maker checks it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            meta => meta?,
        };
        if !meta.is_symlink() {
            judge(&next, others_may_rename_in(&meta))?;
            current = next;
            continue;
        }
        judge(&next, belongs_to_another(&meta))?;
        links += 1;
        if links > LINKS {
            return Err(rustix::io::Errno::LOOP.into());
        }
        let target = std::fs::read_link(&next)?;
        if target.is_absolute() {
            current = PathBuf::from("/");
        }
        remaining.extend(parts(&target));
    }
    Ok(())
}

/// Maximum number of links on the way to a directory, as in the kernel.
const LINKS: usize = 40;

/// Returns the names in a path, from its end.
fn parts(path: &Path) -> Vec<OsString> {
    let name = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// Returns the reason if another user could replace an entry of this directory.
fn others_may_rename_in(meta: &Metadata) -> Option<String> {
    const STICKY: u32 = 0o1000;
    belongs_to_another(meta)
        .filter(|_| !is_of_sudo(meta.uid(), std::env::var("SUDO_UID").ok().as_deref()))
        .or_else(|| others_may_write(meta).filter(|_| meta.mode() & STICKY == 0))
}

/// Returns whether a directory belongs to the user who became root by sudo, according to `SUDO_UID`: a checkout in that
/// user's home can be trusted.
fn is_of_sudo(owner: u32, variable: Option<&str>) -> bool {
    variable.and_then(|user| user.parse().ok()) == Some(owner)
}

const PRIVATE: u32 = 0o700;

fn close(folder: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = File::from(rustix::fs::open(folder, flags, Mode::empty())?);
    let meta = folder.metadata()?;
    // If it belongs to root and this process to another user, its mode is not this process's to change.
    if meta.mode() & 0o077 == 0 || meta.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    folder.set_permissions(PermissionsExt::from_mode(PRIVATE))
}

/// Opens a lock of a cache, and creates it if it is missing.
///
/// # Errors
/// [`UntrustedPath`] as in [`check`], for a link too; or if the lock cannot be opened.
pub fn lock(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDWR | OFlags::CREATE)
}

/// Opens an existing lock of a cache.
///
/// # Errors
/// As [`lock`]; or if the lock does not exist.
pub fn existing_lock(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDONLY)
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    // Non-blocking, because opening a pipe would wait for its other end.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::LOOP) => return Err(foreign(path, "is a link".to_owned())),
        Err(e) => return Err(e.into()),
    };
    let meta = file.metadata()?;
    let reason = if meta.is_file() { untrusted_reason(&meta) } else { Some("is not a regular file".to_owned()) };
    refuse(path, reason)?;
    Ok(file)
}

fn untrusted_reason(meta: &Metadata) -> Option<String> {
    belongs_to_another(meta).or_else(|| others_may_write(meta))
}

fn belongs_to_another(meta: &Metadata) -> Option<String> {
    let user = rustix::process::geteuid().as_raw();
    let is_trusted = meta.uid() == user || meta.uid() == 0;
    (!is_trusted).then(|| format!("belongs to user {}, but you are user {user}", meta.uid()))
}

fn others_may_write(meta: &Metadata) -> Option<String> {
    if meta.mode() & 0o002 != 0 {
        return Some(format!("is writable by everybody (mode {:o})", meta.mode() & 0o7777));
    }
    // With user private groups, the default umask of some distros makes new directories writable for the group.
    if meta.mode() & 0o020 != 0 && meta.gid() != rustix::process::getegid().as_raw() && meta.gid() != 0 {
        return Some(format!("is writable by group {} (mode {:o})", meta.gid(), meta.mode() & 0o7777));
    }
    None
}

fn refuse(path: &Path, reason: Option<String>) -> io::Result<()> {
    reason.map_or(Ok(()), |reason| Err(foreign(path, reason)))
}

fn foreign(path: &Path, reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, UntrustedPath { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    fn error_of(result: io::Result<()>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn the_user_who_called_sudo_is_trusted() {
        assert!(is_of_sudo(1000, Some("1000")));
        assert!(!is_of_sudo(1001, Some("1000")) && !is_of_sudo(1000, None) && !is_of_sudo(0, Some("root")));
    }

    #[test]
    fn a_cache_folder_is_created_private_and_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("a/b/cache");
        make(&cache).unwrap();
        let mode = || std::fs::metadata(&cache).unwrap().mode() & 0o7777;
        assert_eq!(mode(), 0o700);
        // As an older version made it.
        std::fs::set_permissions(&cache, PermissionsExt::from_mode(0o755)).unwrap();
        make(&cache).unwrap();
        assert_eq!(mode(), 0o700, "others could run what is in its trees");
        lock(&cache.join("lock")).unwrap();
        existing_lock(&cache.join("lock")).unwrap();
        assert_eq!(existing_lock(&cache.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn links_and_world_writable_folders_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        assert!(error_of(make(&link)).contains("is a link"), "{}", error_of(make(&link)));
        std::fs::set_permissions(&real, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(error_of(check(&real)).contains("is writable by everybody (mode 777)"), "{}", error_of(check(&real)));
        // Opening a lock that is a link would create its target.
        let target = dir.path().join("target");
        symlink(&target, dir.path().join("lock")).unwrap();
        assert!(error_of(lock(&dir.path().join("lock")).map(drop)).contains("is a link"));
        assert!(!target.exists());
        assert!(error_of(lock(dir.path()).map(drop)).contains("irectory"));
    }

    #[test]
    #[cfg_attr(lacks = "root", ignore = "needs root")]
    fn folders_and_locks_of_another_user_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("folder"), dir.path().join("file"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "").unwrap();
        chown(&folder, Some(65534), None).unwrap();
        chown(&file, Some(65534), None).unwrap();
        assert!(error_of(make(&folder)).contains("belongs to user 65534"), "{}", error_of(make(&folder)));
        assert!(error_of(lock(&file).map(drop)).contains("belongs to user 65534"));
    }

    #[test]
    fn a_cache_below_a_world_writable_folder_is_refused_unless_sticky() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        let cache = open.join("mine/cache");
        make(&cache).unwrap();
        let mode = |mode: u32| std::fs::set_permissions(&open, PermissionsExt::from_mode(mode)).unwrap();
        // Everybody could rename `mine` and put another directory in its place.
        mode(0o777);
        let why = format!("its parent {} is writable by everybody (mode 777)", open.display());
        assert!(error_of(check(&cache)).contains(&why), "{}", error_of(check(&cache)));
        assert!(error_of(make(&cache)).contains(&why), "{}", error_of(make(&cache)));
        let new = open.join("new/cache");
        assert!(error_of(make(&new)).contains(&why), "{}", error_of(make(&new)));
        assert!(!new.exists(), "made where it is not trusted");
        // Sticky, as in `/tmp`.
        mode(0o1777);
        check(&cache).unwrap();
        make(&new).unwrap();
    }

    #[test]
    fn folders_that_contain_links_of_the_path_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let (open, own) = (dir.path().join("open"), dir.path().join("own"));
        make(&own.join("cache")).unwrap();
        std::fs::create_dir(&open).unwrap();
        symlink("../own", open.join("way")).unwrap();
        let cache = open.join("way/cache");
        check(&cache).unwrap();
        // The resolved path is safe, but the link is in a directory that others can write to.
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
        check(&own.join("cache")).unwrap();
        assert!(error_of(check(&cache)).contains("open is writable by everybody"), "{}", error_of(check(&cache)));
        let first = dir.path().join("first");
        symlink(open.join("way"), &first).unwrap();
        assert!(error_of(check(&first.join("cache"))).contains("open is writable by everybody"), "behind another link");
        symlink("round", dir.path().join("round")).unwrap();
        assert!(check(&dir.path().join("round/cache")).is_err());
    }

    #[test]
    #[cfg_attr(lacks = "root", ignore = "needs root")]
    fn a_cache_below_another_users_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (home, link) = (dir.path().join("home"), dir.path().join("link"));
        let cache = home.join("cache");
        make(&cache).unwrap();
        chown(&home, Some(65534), None).unwrap();
        let why = format!("its parent {} belongs to user 65534", home.display());
        assert!(error_of(check(&cache)).contains(&why), "{}", error_of(check(&cache)));
        chown(&home, Some(0), None).unwrap();
        check(&cache).unwrap();
        symlink(&home, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
        assert!(error_of(check(&link.join("cache"))).contains("link belongs to user 65534"));
    }
}
