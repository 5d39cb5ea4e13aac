//! A copy of another root's database, in a format that this machine's rpm supports.
//!
//! rpm reads each copy as a user of its own, because every process of that user can change the copy, and so the answer;
//! where there is no such user, as nobody. The rpm of a hostile database may be taken over: so root writes all files
//! while their directory is its own, gives that directory away last, and writes nothing into it afterwards. The
//! directory around it stays root's, so that nobody else can put another one in the copy's place.

use super::{folder, ndb};
use crate::packages::{MAX_BYTES, QueryError};
use crate::process::{Confinement, Invocation, give_to_reader, new_reader};
use root::{Root, RootError};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Name of the database's directory, and beside it of a file with the list of package headers from which a database is
/// made.
const DATABASE: &str = "database";
const HEADERS: &str = "headers";

/// A copy, which is empty if the root has no database yet; removed on drop.
#[derive(Debug)]
pub(super) struct CopiedDatabase {
    around: tempfile::TempDir,
    /// The user whose files these are.
    reader: u32,
}

impl CopiedDatabase {
    /// Copies the database of a root.
    ///
    /// # Errors
    ///
    /// Fails if a file of the database cannot be read, or if all of them together exceed the cap.
    pub(super) fn of(root: &Root) -> Result<CopiedDatabase, QueryError> {
        let made = tempfile::Builder::new().prefix("kata-osinfo-").tempdir();
        let around = made.map_err(|source| RootError::Read { path: std::env::temp_dir(), source })?;
        let copy = CopiedDatabase { around, reader: new_reader() };
        let database = copy.folder();
        let failed = |source: io::Error| RootError::Read { path: database.clone(), source };
        DirBuilder::new().mode(0o700).create(&database).map_err(failed)?;
        let mut headers = None;
        if let Some(from) = folder(root)? {
            headers = header_list(root, &from)?;
            if headers.is_none() {
                copy_files(root, &from, &database, copy.reader)?;
            }
        }
        let give_away = || {
            give_to_reader(&File::open(&database)?, copy.reader)?;
            // The reader goes through this directory, but neither lists nor changes it.
            std::fs::set_permissions(copy.around.path(), Permissions::from_mode(0o711))
        };
        give_away().map_err(failed)?;
        if let Some(headers) = headers {
            let list = copy.around.path().join(HEADERS);
            new_file(&list).and_then(|mut file| file.write_all(&headers)).map_err(failed)?;
            copy.import(root, list)?;
        }
        Ok(copy)
    }

    /// Returns the directory of the copy.
    pub(super) fn folder(&self) -> PathBuf {
        self.around.path().join(DATABASE)
    }

    /// Confines a program of this machine that reads the copy.
    pub(super) fn confine(&self, invocation: &mut Invocation) {
        // No macros from a home directory.
        invocation.env.push(("HOME".to_owned(), "/nonexistent".to_owned()));
        invocation.confinement = Confinement::Reader;
        invocation.user = self.reader;
    }

    /// Makes this machine's rpm build the database from a list of headers.
    fn import(&self, root: &Root, headers: PathBuf) -> Result<(), QueryError> {
        let none = || QueryError::NoRpm(root.path().to_owned());
        let rpmdb = Root::default().which("rpmdb")?.ok_or_else(none)?;
        let folder = self.folder().display().to_string();
        let mut invocation = Invocation::new(&rpmdb, &["--dbpath", &folder, "--importdb"]);
        invocation.input = Some(headers);
        self.confine(&mut invocation);
        let finished = invocation.run(super::WITHIN, None)?;
        match finished.is_ok() {
            true => Ok(()),
            false => Err(QueryError::Refused { path: root.path().to_owned(), message: finished.last_words() }),
        }
    }

    /// Copies the files of the database to a directory of this machine.
    ///
    /// # Errors
    ///
    /// Fails if anything but files of the database is there.
    pub(super) fn put_into(&self, to: &Path) -> io::Result<()> {
        copy_regular(&self.folder(), to)
    }
}

/// Returns the headers of all packages if the database is ndb's, which this machine's rpm may not support.
fn header_list(root: &Root, from: &Path) -> Result<Option<Vec<u8>>, QueryError> {
    if !root.list(from)?.iter().any(|name| name == ndb::FILE) {
        return Ok(None);
    }
    let path = from.join(ndb::FILE);
    let refused = |message: &str| QueryError::Refused { path: root.shown(&path), message: message.to_owned() };
    ndb::header_list(&root.read(&path, MAX_BYTES)?).map(Some).map_err(refused)
}

/// Copies the files of a root's database to a directory that is still the caller's.
fn copy_files(root: &Root, from: &Path, to: &Path, reader: u32) -> Result<(), QueryError> {
    let mut remaining = MAX_BYTES;
    for name in root.list(from)? {
        let path = from.join(&name);
        if is_temporary(&name) || !root.has_file(&path)? {
            continue;
        }
        let bytes = root.read(&path, remaining)?;
        remaining -= bytes.len() as u64;
        let copy = to.join(&name);
        let put = || {
            let mut file = new_file(&copy)?;
            file.write_all(&bytes)?;
            give_to_reader(&file, reader)
        };
        put().map_err(|source| RootError::Read { path: copy.clone(), source })?;
    }
    Ok(())
}

/// Makes a file that must not exist yet, not even as a link.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Checks whether a file is a lock or shared memory of a process that has the database open: the data are in the other
/// files.
fn is_temporary(name: &str) -> bool {
    name.starts_with('.') || name.starts_with("__db.") || name.ends_with("-shm")
}

/// Copies files of a directory in which nobody may have put links: none is followed, and a file that also has another
/// name is refused.
fn copy_regular(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let name = entry?.file_name();
        if is_temporary(&name.to_string_lossy()) {
            continue;
        }
        let path = from.join(&name);
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let mut file = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.nlink() != 1 {
            return Err(io::Error::other(format!("{} is not a file of the database", path.display())));
        }
        let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to.join(&name))?;
        io::copy(&mut file, &mut copy)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A root with a database of one file.
    fn root(dir: &Path) -> Root {
        let rpm = dir.join("root/var/lib/rpm");
        std::fs::create_dir_all(&rpm).unwrap();
        std::fs::write(rpm.join("Packages"), "the database").unwrap();
        Root::new(&dir.join("root")).unwrap()
    }

    #[test]
    fn no_link_that_lies_in_the_way_is_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, folder) = (dir.path().join("theirs"), dir.path().join("copy"));
        std::fs::write(&theirs, "unchanged").unwrap();
        std::fs::create_dir(&folder).unwrap();
        let before = theirs.metadata().unwrap();
        for planted in [theirs.clone(), dir.path().join("new")] {
            symlink(&planted, folder.join("Packages")).unwrap();
            let refused = copy_files(&root(dir.path()), Path::new("/var/lib/rpm"), &folder, new_reader()).unwrap_err();
            assert!(matches!(refused, QueryError::Read(_)), "{refused}");
            std::fs::remove_file(folder.join("Packages")).unwrap();
        }
        let after = theirs.metadata().unwrap();
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "unchanged");
        assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
        assert!(!dir.path().join("new").exists());
    }

    #[test]
    fn no_link_in_the_copy_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let [secret, from, to] = ["secret", "from", "to"].map(|name| dir.path().join(name));
        std::fs::write(&secret, "secret").unwrap();
        std::fs::create_dir(&from).unwrap();
        std::fs::create_dir(&to).unwrap();
        std::fs::write(from.join("rpmdb.sqlite"), "data").unwrap();
        std::fs::write(from.join("rpmdb.sqlite-shm"), "not copied").unwrap();
        copy_regular(&from, &to).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("rpmdb.sqlite")).unwrap(), "data");
        assert!(!to.join("rpmdb.sqlite-shm").exists());
        let plants: [fn(&Path, &Path) -> io::Result<()>; 2] =
            [|target, link| symlink(target, link), |target, link| std::fs::hard_link(target, link)];
        for plant in plants {
            plant(&secret, &from.join("planted")).unwrap();
            assert!(copy_regular(&from, &to).is_err());
            assert!(!to.join("planted").exists());
            std::fs::remove_file(from.join("planted")).unwrap();
        }
    }

    #[test]
    #[cfg_attr(lacks = "mounting", ignore = "needs root that may make namespaces")]
    fn only_the_copy_itself_is_its_readers_and_no_other_process_has_that_user() {
        let dir = tempfile::tempdir().unwrap();
        let copy = CopiedDatabase::of(&root(dir.path())).unwrap();
        let other = CopiedDatabase::of(&root(dir.path())).unwrap();
        assert!(copy.reader != other.reader && copy.reader > 65_534 && other.reader > 65_534);
        let mut invocation = Invocation::new(Path::new("/bin/sh"), &["-c", "id -u; id -g"]);
        copy.confine(&mut invocation);
        let ran = invocation.run(super::super::WITHIN, None).unwrap();
        assert_eq!(ran.stdout, format!("{0}\n{0}\n", copy.reader), "{ran:?}");
        let owner_and_mode = |path: &Path| {
            let meta = path.metadata().unwrap();
            (meta.uid(), meta.mode() & 0o777)
        };
        assert_eq!(owner_and_mode(copy.around.path()), (0, 0o711));
        assert_eq!(owner_and_mode(&copy.folder()), (copy.reader, 0o700));
        assert_eq!(owner_and_mode(&copy.folder().join("Packages")), (copy.reader, 0o600));
    }
}
