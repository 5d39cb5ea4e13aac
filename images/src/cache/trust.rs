//! A cache is used only if nobody else can change it: root acts on what its folders hold.
//!
//! Each of its own folders and locks must be no link, belong to this user or to root, and be closed to others for writing.
//! Nobody else may put something else in the place of the cache either, because what is in it is reached by its path: the
//! folders above it, and those of links on the way, belong to this user, to root or to the user who called sudo, and others
//! may write at most to one in which they cannot rename what is not theirs, such as `/tmp`.

use rustix::fs::{Mode, OFlags};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// A part of a cache that somebody else could have made or could change.
#[derive(Debug, thiserror::Error)]
#[error("{} {}", .path.display(), distrust(.reason))]
pub struct UntrustedPath {
    /// Which.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl UntrustedPath {
    /// What is wrong with it and what was expected, for whoever names the path already.
    pub(super) fn words(&self) -> String {
        distrust(&self.reason)
    }
}

fn distrust(reason: &str) -> String {
    format!("{reason}: expected a folder or file that belongs to you and that nobody else may write to")
}

/// A folder or a link on the way to a cache that lets somebody else put another one in its place.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} cannot be used, because its parent {} {reason}: expected folders that belong to you or to root and that nobody \
     else may write to",
    .cache.display(),
    .path.display()
)]
pub struct UntrustedWay {
    /// The folder of the cache.
    pub cache: PathBuf,
    /// What is on the way.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Checks a folder of a cache that is there, and the folders above it.
///
/// # Errors
/// [`UntrustedPath`] or [`UntrustedWay`] inside an error of the kind `PermissionDenied`; or that the folder cannot be
/// looked at.
pub fn check(folder: &Path) -> io::Result<()> {
    check_way(folder)?;
    let meta = std::fs::symlink_metadata(folder)?;
    let reason = if meta.is_symlink() {
        Some("is a link".to_owned())
    } else if meta.is_dir() {
        not_ours(&meta)
    } else {
        Some("is not a folder".to_owned())
    };
    refuse(folder, reason)
}

/// Makes a folder of a cache, with what is missing above it, or checks the one that is there, and closes it to others:
/// the trees in it have setuid programs.
///
/// # Errors
/// As [`check`]; or that it cannot be made.
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

/// Checks the folders above, as far as they are there, and the links that lead through them.
fn check_way(folder: &Path) -> io::Result<()> {
    let whole = std::path::absolute(folder)?;
    let judge = |path: &Path, reason: Option<String>| match reason {
        None => Ok(()),
        Some(reason) => {
            let untrusted = UntrustedWay { cache: folder.to_owned(), path: path.to_owned(), reason };
            Err(io::Error::new(io::ErrorKind::PermissionDenied, untrusted))
        }
    };
    // The last one comes first.
    let mut left = parts(whole.parent().unwrap_or(&whole));
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    judge(&at, others_may_rename_in(&std::fs::symlink_metadata(&at)?))?;
    while let Some(part) = left.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let meta = match std::fs::symlink_metadata(&next) {
            // The maker of the folder checks it then.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            meta => meta?,
        };
        if !meta.is_symlink() {
            judge(&next, others_may_rename_in(&meta))?;
            at = next;
            continue;
        }
        judge(&next, belongs_to_another(&meta))?;
        links += 1;
        if links > LINKS {
            return Err(rustix::io::Errno::LOOP.into());
        }
        let target = std::fs::read_link(&next)?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        left.extend(parts(&target));
    }
    Ok(())
}

/// Links on the way to a folder at most, as for the kernel.
const LINKS: usize = 40;

/// The names in a path, from its end on.
fn parts(path: &Path) -> Vec<OsString> {
    let name = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// Why others could put something else in the place of what is in this folder and theirs not.
fn others_may_rename_in(meta: &Metadata) -> Option<String> {
    const STICKY: u32 = 0o1000;
    belongs_to_another(meta)
        .filter(|_| !is_of_sudo(meta.uid(), std::env::var("SUDO_UID").ok().as_deref()))
        .or_else(|| others_may_write(meta).filter(|_| meta.mode() & STICKY == 0))
}

/// Whether a folder is of the user who became root by sudo, as its variable says: a checkout in that user's home is no
/// stranger's.
fn is_of_sudo(owner: u32, variable: Option<&str>) -> bool {
    variable.and_then(|user| user.parse().ok()) == Some(owner)
}

const PRIVATE: u32 = 0o700;

fn close(folder: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = File::from(rustix::fs::open(folder, flags, Mode::empty())?);
    let meta = folder.metadata()?;
    // Root's, where this is another user: not this one's to change.
    if meta.mode() & 0o077 == 0 || meta.uid() != rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    folder.set_permissions(PermissionsExt::from_mode(PRIVATE))
}

/// Opens a lock of a cache, and makes it if it is not there.
///
/// # Errors
/// [`UntrustedPath`] as in [`check`], for a link too; or that it cannot be opened.
pub fn lock(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDWR | OFlags::CREATE)
}

/// Opens a lock of a cache that is there.
///
/// # Errors
/// As [`lock`]; and that there is none.
pub fn existing_lock(path: &Path) -> io::Result<File> {
    open(path, OFlags::RDONLY)
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    // Not blocking: a pipe would wait for its other end.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::LOOP) => return Err(foreign(path, "is a link".to_owned())),
        Err(e) => return Err(e.into()),
    };
    let meta = file.metadata()?;
    let reason = if meta.is_file() { not_ours(&meta) } else { Some("is not a regular file".to_owned()) };
    refuse(path, reason)?;
    Ok(file)
}

fn not_ours(meta: &Metadata) -> Option<String> {
    belongs_to_another(meta).or_else(|| others_may_write(meta))
}

fn belongs_to_another(meta: &Metadata) -> Option<String> {
    let user = rustix::process::geteuid().as_raw();
    let is_ours = meta.uid() == user || meta.uid() == 0;
    (!is_ours).then(|| format!("belongs to user {}, but you are user {user}", meta.uid()))
}

fn others_may_write(meta: &Metadata) -> Option<String> {
    if meta.mode() & 0o002 != 0 {
        return Some(format!("is writable by everybody (mode {:o})", meta.mode() & 0o7777));
    }
    // With a group of one's own the usual file mode of some distros opens new folders to it.
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

    fn said(result: io::Result<()>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn the_user_of_sudo_is_no_stranger() {
        assert!(is_of_sudo(1000, Some("1000")));
        assert!(!is_of_sudo(1001, Some("1000")) && !is_of_sudo(1000, None) && !is_of_sudo(0, Some("root")));
    }

    #[test]
    fn a_folder_of_ones_own_is_made_and_taken() {
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
    fn links_and_what_everybody_may_write_to_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        assert!(said(make(&link)).contains("is a link"), "{}", said(make(&link)));
        std::fs::set_permissions(&real, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(said(check(&real)).contains("is writable by everybody (mode 777)"), "{}", said(check(&real)));
        // A lock that is a link would be made wherever it points.
        let target = dir.path().join("target");
        symlink(&target, dir.path().join("lock")).unwrap();
        assert!(said(lock(&dir.path().join("lock")).map(drop)).contains("is a link"));
        assert!(!target.exists());
        assert!(said(lock(dir.path()).map(drop)).contains("irectory"));
    }

    #[test]
    #[cfg_attr(lacks = "root", ignore = "needs root")]
    fn what_belongs_to_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("folder"), dir.path().join("file"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "").unwrap();
        chown(&folder, Some(65534), None).unwrap();
        chown(&file, Some(65534), None).unwrap();
        assert!(said(make(&folder)).contains("belongs to user 65534"), "{}", said(make(&folder)));
        assert!(said(lock(&file).map(drop)).contains("belongs to user 65534"));
    }

    #[test]
    fn a_cache_whose_place_others_may_take_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = dir.path().join("open");
        let cache = open.join("mine/cache");
        make(&cache).unwrap();
        let mode = |mode: u32| std::fs::set_permissions(&open, PermissionsExt::from_mode(mode)).unwrap();
        // Everybody could rename `mine` and put another one there.
        mode(0o777);
        let why = format!("its parent {} is writable by everybody (mode 777)", open.display());
        assert!(said(check(&cache)).contains(&why), "{}", said(check(&cache)));
        assert!(said(make(&cache)).contains(&why), "{}", said(make(&cache)));
        let new = open.join("new/cache");
        assert!(said(make(&new)).contains(&why), "{}", said(make(&new)));
        assert!(!new.exists(), "made where it is not trusted");
        // As in `/tmp`.
        mode(0o1777);
        check(&cache).unwrap();
        make(&new).unwrap();
    }

    #[test]
    fn a_link_on_the_way_is_followed_through_folders_that_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let (open, own) = (dir.path().join("open"), dir.path().join("own"));
        make(&own.join("cache")).unwrap();
        std::fs::create_dir(&open).unwrap();
        symlink("../own", open.join("way")).unwrap();
        let cache = open.join("way/cache");
        check(&cache).unwrap();
        // The resolved path is nobody else's, and the link is.
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
        check(&own.join("cache")).unwrap();
        assert!(said(check(&cache)).contains("open is writable by everybody"), "{}", said(check(&cache)));
        let first = dir.path().join("first");
        symlink(open.join("way"), &first).unwrap();
        assert!(said(check(&first.join("cache"))).contains("open is writable by everybody"), "behind another link");
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
        assert!(said(check(&cache)).contains(&why), "{}", said(check(&cache)));
        chown(&home, Some(0), None).unwrap();
        check(&cache).unwrap();
        symlink(&home, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(65534), None).unwrap();
        assert!(said(check(&link.join("cache"))).contains("link belongs to user 65534"));
    }
}
