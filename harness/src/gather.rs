//! Copying of runs' files into one directory.
//!
//! A directory from somebody else may contain anything: only regular files are copied, links are not followed, and what
//! exceeds the limits, or has the name of something else, is left out and reported.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// Maximum number of files that are copied from all directories together.
const MAX_FILES: u64 = 200_000;
/// Maximum number of bytes that are copied from all directories together.
const MAX_BYTES: u64 = 32 << 30;
/// Maximum depth of directories; the harness's own runs have half of that.
const MAX_DEPTH: usize = 16;

/// The remaining room, and the files that were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// Number of files that may still be copied.
    files: u64,
    /// Number of bytes that may still be copied.
    bytes: u64,
    /// Maximum depth of directories.
    depth: usize,
    /// The files that were left out, as messages.
    pub left_out: Vec<String>,
    /// Whether the last message is that the limits were exceeded, which is reported once for all files that follow.
    is_full: bool,
}

impl Default for Gathered {
    fn default() -> Gathered {
        Gathered { files: MAX_FILES, bytes: MAX_BYTES, depth: MAX_DEPTH, left_out: Vec::new(), is_full: false }
    }
}

impl Gathered {
    /// Copies everything below a directory to below another one. An existing file stays, and is reported if it differs.
    ///
    /// # Errors
    /// If something cannot be read or written; a missing directory counts as empty.
    pub fn copy(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.folder(from, to, 0)
    }

    fn folder(&mut self, from: &Path, to: &Path, depth: usize) -> io::Result<()> {
        match fs::symlink_metadata(from) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                self.leave_out(from, "no folder");
                return Ok(());
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        }
        if depth >= self.depth {
            self.leave_out(from, "too deep");
            return Ok(());
        }
        match fs::create_dir_all(to) {
            Ok(()) => {}
            Err(e) if is_about_the_path(&e) => {
                self.leave_out(from, "no folder can have this name here");
                return Ok(());
            }
            Err(e) => return Err(e),
        }
        let mut names = fs::read_dir(from)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .take(usize::try_from(self.files).unwrap_or(usize::MAX).saturating_add(1))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            let (from, to) = (from.join(&name), to.join(&name));
            let meta = fs::symlink_metadata(&from)?;
            if meta.is_dir() {
                self.folder(&from, &to, depth + 1)?;
            } else if meta.is_file() {
                self.file(&from, &to, meta.len())?;
            } else {
                self.leave_out(&from, "neither a file nor a folder");
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &Path, to: &Path, length: u64) -> io::Result<()> {
        let (Some(files), Some(bytes)) = (self.files.checked_sub(1), self.bytes.checked_sub(length)) else {
            if !self.is_full {
                self.left_out.push(format!("{} and what follows: too large", from.display()));
                self.is_full = true;
            }
            return Ok(());
        };
        (self.files, self.bytes) = (files, bytes);
        // A file that grows meanwhile is cut.
        let mut bytes = File::open(from)?.take(length);
        let mut made = match File::options().write(true).create_new(true).open(to) {
            Ok(made) => made,
            Err(e) if is_about_the_path(&e) => {
                let is_file = fs::symlink_metadata(to).is_ok_and(|meta| meta.is_file());
                if !is_file {
                    self.leave_out(from, "no file can have this name here");
                } else if !is_same(&mut bytes, to)? {
                    self.leave_out(from, "another file of this name already exists");
                }
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        io::copy(&mut bytes, &mut made)?;
        made.flush()
    }

    /// Reports a file that is left out for another reason than the limits.
    fn leave_out(&mut self, from: &Path, why: &str) {
        self.left_out.push(format!("{}: {why}", from.display()));
        self.is_full = false;
    }
}

/// Checks whether a path cannot be made because of its name, or because a file and a folder have the same name: a
/// stranger's choice of names must not stop all copying.
fn is_about_the_path(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
    matches!(error.kind(), AlreadyExists | InvalidFilename | IsADirectory | NotADirectory)
}

/// Checks whether a file has exactly these bytes.
fn is_same(bytes: &mut impl io::Read, file: &Path) -> io::Result<bool> {
    let mut file = File::open(file)?;
    let (mut one, mut other) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let read = bytes.read(&mut one)?;
        let part = other.get_mut(..read.max(1)).unwrap_or_default();
        match read {
            0 => return Ok(file.read(part)? == 0),
            _ => match file.read_exact(part) {
                Ok(()) if one.get(..read) == Some(&*part) => {}
                Ok(()) => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(e) => return Err(e),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, name: &str, text: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn files_are_copied_once_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, to] = ["a", "b", "to"].map(|name| dir.path().join(name));
        put(&a, "x/log", "one");
        put(&a, "y", "");
        put(&b, "x/log", "two");
        put(&b, "y", "longer");
        let mut gathered = Gathered::default();
        gathered.copy(&a, &to).unwrap();
        gathered.copy(&a, &to).unwrap();
        gathered.copy(&dir.path().join("none"), &to).unwrap();
        assert_eq!(gathered.left_out, Vec::<String>::new());
        assert_eq!(fs::read_to_string(to.join("x/log")).unwrap(), "one");
        gathered.copy(&b, &to).unwrap();
        assert_eq!(gathered.left_out.len(), 2, "{:?}", gathered.left_out);
        assert_eq!(fs::read_to_string(to.join("x/log")).unwrap(), "one");
        assert_eq!(fs::read_to_string(to.join("y")).unwrap(), "");
    }

    /// One directory has a file where another one has a folder.
    #[test]
    fn a_file_and_a_folder_of_one_name_do_not_stop_the_copying() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, to] = ["a", "b", "to"].map(|name| dir.path().join(name));
        put(&a, "x/log", "one");
        put(&a, "y", "two");
        put(&b, "x", "three");
        put(&b, "y/log", "four");
        put(&b, "z", "five");
        let mut gathered = Gathered::default();
        gathered.copy(&a, &to).unwrap();
        gathered.copy(&b, &to).unwrap();
        gathered.copy(&b, &to.join("z/below")).unwrap();
        let expected =
            ["x: no file can have this name", "y: no folder can have this name", "b: no folder can have this name"];
        assert_eq!(gathered.left_out.len(), expected.len(), "{:?}", gathered.left_out);
        for (left_out, words) in gathered.left_out.iter().zip(expected) {
            assert!(left_out.contains(words), "{words}: {left_out}");
        }
        for (file, text) in [("x/log", "one"), ("y", "two"), ("z", "five")] {
            assert_eq!(fs::read_to_string(to.join(file)).unwrap(), text);
        }
    }

    #[test]
    fn consecutive_files_beyond_the_limit_are_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from: too much", "to"].map(|name| dir.path().join(name));
        for name in ["a", "b", "d", "e"] {
            put(&from, name, "12345");
        }
        std::os::unix::fs::symlink("/etc", from.join("c")).unwrap();
        let mut gathered = Gathered { bytes: 3, ..Gathered::default() };
        gathered.copy(&from, &to).unwrap();
        let expected =
            ["a and what follows: too large", "c: neither a file nor a folder", "d and what follows: too large"];
        assert_eq!(gathered.left_out, expected.map(|what| format!("{}/{what}", from.display())));
    }

    #[test]
    fn links_deep_folders_and_large_files_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        put(&from, "a", "12345");
        put(&from, "b", "12345");
        put(&from, "c/d/e", "1");
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", from.join("z")).unwrap();
        let mut gathered = Gathered { bytes: 8, depth: 2, ..Gathered::default() };
        gathered.copy(&from, &to).unwrap();
        let expected = [
            "b and what follows: too large",
            "c/d: too deep",
            "link: neither a file nor a folder",
            "z: neither a file nor a folder",
        ];
        let expected = expected.map(|what| format!("{}/{what}", from.display()));
        assert_eq!(gathered.left_out, expected);
        let mut names: Vec<_> = fs::read_dir(&to).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "c"]);
        let link = dir.path().join("folder");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        let mut gathered = Gathered::default();
        gathered.copy(&link, &dir.path().join("other")).unwrap();
        assert!(gathered.left_out[0].ends_with("folder: no folder") && !dir.path().join("other").exists());
    }
}
