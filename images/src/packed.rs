//! Files as one `tar.zst`: packing is reproducible byte for byte, and unpacking an untrusted archive is safe.

use crate::error::{Failure, ImageErrorKind};
use crate::unpack::{self, ArchiveFile, UnpackLimits};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tar::EntryType;

/// Compression level, high because files are packed once and then distributed.
const LEVEL: i32 = 19;
/// Overhead of an entry in bytes: headers, a long name, padding.
const BESIDES: u64 = 4096;
/// Maximum length of a file's name, and maximum number of its parts.
const MAX_NAME: usize = 512;
const MAX_PARTS: usize = 16;

/// Limits for an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedLimits {
    /// Size limit of the archive itself, in bytes.
    pub packed: u64,
    /// Maximum number of files.
    pub files: u64,
    /// Size limit of all files together, in bytes.
    pub bytes: u64,
}

/// Writes files as an archive, without times, users or names of this machine.
///
/// # Errors
/// If the archive cannot be written, or [`unpack`] would refuse a name.
pub fn pack(files: &BTreeMap<String, Vec<u8>>, to: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(zstd::stream::write::Encoder::new(to, LEVEL)?);
    for (name, bytes) in files {
        if !is_plain(name) {
            return Err(io::Error::other(format!("{name:?} is not a plain file name")));
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes.as_slice())?;
    }
    tar.into_inner()?.finish()?.flush()
}

/// Unpacks an archive of files into an empty directory.
///
/// The archive may have only regular files with plain names, each once; any other entry makes the call fail, and
/// nothing is written outside the directory. The unpacked bytes are counted on the way.
///
/// # Errors
/// [`ImageErrorKind::BadArchive`], or if a file cannot be read or written.
pub fn unpack(archive: &Path, folder: &Path, limits: PackedLimits) -> Result<(), ImageErrorKind> {
    unpacked(archive, folder, limits).map_err(|failure| failure.cause)
}

fn unpacked(archive: &Path, folder: &Path, limits: PackedLimits) -> Result<(), Failure> {
    let go_on = || -> Result<(), Failure> { Ok(()) };
    let opened = ArchiveFile::open(archive)?;
    if opened.size()? > limits.packed {
        return Err(opened.refused("it is too large"));
    }
    if !opened.is_zstd() {
        return Err(opened.refused("it is not compressed with zstd"));
    }
    // Highly compressed content is read no further than the limits could allow.
    let limit = limits.bytes.saturating_add((limits.files + 1).saturating_mul(BESIDES));
    let entries = || Ok::<_, Failure>(tar::Archive::new(opened.content()?.take(limit)));
    unpack::check_metadata(entries()?, archive, &go_on)?;
    let seen = RefCell::new(BTreeSet::new());
    let accept = move |path: &Path, _: Option<&Path>, kind: EntryType| match kind {
        EntryType::Regular if !path.to_str().is_some_and(is_plain) => Err("its name is not a plain file name"),
        EntryType::Regular if !seen.borrow_mut().insert(path.to_owned()) => Err("the archive contains it twice"),
        EntryType::Regular => Ok(()),
        _ => Err("it is not a regular file"),
    };
    let unpack_limits =
        UnpackLimits { entries: limits.files, bytes: limits.bytes, reason: "the archive's content is too large" };
    let mut tar = entries()?;
    tar.set_preserve_permissions(false);
    tar.set_preserve_mtime(false);
    unpack::unpack(tar, archive, folder, &unpack_limits, &accept, &go_on)
}

/// Returns whether a name is that of a file below a directory, in characters that no shell, page or terminal
/// interprets.
pub fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~/".contains(c);
    let parts = || name.split('/');
    name.len() <= MAX_NAME
        && name.chars().all(is_plain)
        && parts().count() <= MAX_PARTS
        && parts().all(|part| !matches!(part, "" | "." | ".."))
}

/// Returns whether a name is that of a file directly in a directory, [plain](is_plain) and not hidden.
pub fn is_plain_file(name: &str) -> bool {
    is_plain(name) && !name.contains('/') && !name.starts_with('.')
}

/// Reads the files below a directory, by their names; other entries are skipped.
///
/// # Errors
/// If a file cannot be read, or a limit is exceeded.
pub fn files(folder: &Path, limits: PackedLimits) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut all = BTreeMap::new();
    let (mut remaining, mut folders) = (limits.bytes, vec![PathBuf::new()]);
    while let Some(below) = folders.pop() {
        for entry in std::fs::read_dir(folder.join(&below))? {
            let entry = entry?;
            let (path, kind) = (below.join(entry.file_name()), entry.file_type()?);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let name = path.to_str().filter(|name| is_plain(name)).map(str::to_owned);
                let name = name.ok_or_else(|| io::Error::other(format!("{path:?} is not a plain file name")))?;
                let mut bytes = Vec::new();
                File::open(entry.path())?.take(remaining.saturating_add(1)).read_to_end(&mut bytes)?;
                let rest = remaining.checked_sub(bytes.len() as u64).filter(|_| (all.len() as u64) < limits.files);
                remaining = rest.ok_or_else(|| io::Error::other("there is too much to pack"))?;
                all.insert(name, bytes);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PackedLimits = PackedLimits { packed: 1 << 20, files: 4, bytes: 1 << 16 };

    fn made(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn compressed(tar: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(tar, 1).unwrap()
    }

    type Files = BTreeMap<String, Vec<u8>>;

    /// Unpacks an archive into a subdirectory; returns its files or the error, and the names outside it.
    fn tried(archive: &[u8]) -> (Result<Files, String>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (dir.path().join("bundle"), dir.path().join("folder"));
        std::fs::write(&file, archive).unwrap();
        std::fs::create_dir(&folder).unwrap();
        let result = unpack(&file, &folder, LIMITS).map_err(|e| e.to_string());
        let outside = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut outside: Vec<String> = outside.collect();
        outside.sort();
        (result.map(|()| files(&folder, LIMITS).unwrap()), outside)
    }

    /// Builds an archive of one entry without any check of its name.
    fn entry(kind: EntryType, name: &[u8], link: &[u8], size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o4777);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_size(size);
        header.set_cksum();
        let mut tar = header.as_bytes().to_vec();
        let padded = usize::try_from(size.min(1 << 20).div_ceil(512) * 512).unwrap();
        tar.extend(vec![b'x'; padded]);
        tar.extend([0; 1024]);
        compressed(&tar)
    }

    #[test]
    fn packing_round_trips_and_is_reproducible() {
        let long = format!("artifacts/{}/log", "x".repeat(150));
        let files = made(&[("SHA256SUMS", "x"), ("a/b.c", ""), (&long, "lines\n")]);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        pack(&files, &mut one).unwrap();
        pack(&files, &mut two).unwrap();
        assert_eq!(one, two);
        assert_eq!(tried(&one), (Ok(files), vec!["bundle".to_owned(), "folder".to_owned()]));
        assert!(pack(&made(&[("../x", "")]), Vec::new()).is_err());
    }

    #[test]
    fn hostile_archives_are_refused_and_write_nothing_outside() {
        let file = EntryType::Regular;
        let mut twice = tar::Builder::new(Vec::new());
        for text in ["1", "2"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            twice.append_data(&mut header, "x", text.as_bytes()).unwrap();
        }
        let mut many = tar::Builder::new(Vec::new());
        for name in ["1", "2", "3", "4", "5"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            many.append_data(&mut header, name, io::empty()).unwrap();
        }
        for (what, archive, why) in [
            ("a way up", entry(file, b"../x", b"", 1), "not a plain file name"),
            ("a way up inside", entry(file, b"a/../../x", b"", 1), "not a plain file name"),
            ("an absolute name", entry(file, b"/x", b"", 1), "not a plain file name"),
            ("control characters", entry(file, b"\x1b[2Jx", b"", 1), "not a plain file name"),
            ("no text", entry(file, b"\xff", b"", 1), "not a plain file name"),
            ("a folder", entry(EntryType::Directory, b"x", b"", 0), "not a regular file"),
            ("a link", entry(EntryType::Symlink, b"x", b"/etc/passwd", 0), "not a regular file"),
            ("a hard link", entry(EntryType::Link, b"x", b"/etc/passwd", 0), "not a regular file"),
            ("a device", entry(EntryType::Char, b"x", b"", 0), "not a regular file"),
            ("a pipe", entry(EntryType::Fifo, b"x", b"", 0), "not a regular file"),
            ("too much", entry(file, b"x", b"", (1 << 16) + 1), "content is too large"),
            ("far too much", entry(file, b"x", b"", 1 << 18), "reading"),
            ("a claim", entry(file, b"x", b"", 1 << 32), "reading"),
            ("a name of megabytes", entry(EntryType::GNULongName, b"x", b"", 2 << 20), "attributes are too large"),
            ("the same twice", compressed(&twice.into_inner().unwrap()), "contains it twice"),
            ("too many", compressed(&many.into_inner().unwrap()), "content is too large"),
            ("a bomb", compressed(&vec![0; 64 << 20]), ""),
            ("no archive", b"hello".to_vec(), "not compressed with zstd"),
            ("nothing", Vec::new(), "not compressed with zstd"),
            ("too large", vec![0x28; (1 << 20) + 1], "it is too large"),
        ] {
            let (result, outside) = tried(&archive);
            assert_eq!(outside, ["bundle", "folder"], "{what}");
            match result {
                // An archive of zeros only has no files.
                Ok(files) => assert!(why.is_empty() && files.is_empty(), "{what}"),
                Err(error) => assert!(!why.is_empty() && error.contains(why), "{what}: {error}"),
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
        for other in [dir.path(), &fifo] {
            assert!(unpack(other, dir.path(), LIMITS).unwrap_err().to_string().contains("not a regular file"));
        }
    }

    #[test]
    fn names_with_special_components_or_characters_are_not_plain() {
        for (name, plain, file) in [
            ("a_1.0+b-1~c_amd64.deb", true, true),
            ("a/b.log", true, false),
            (".hidden", true, false),
            ("", false, false),
            ("..", false, false),
            ("a/../b", false, false),
            ("/a", false, false),
            ("a b", false, false),
            ("a\u{1b}[m", false, false),
        ] {
            assert_eq!((is_plain(name), is_plain_file(name)), (plain, file), "{name:?}");
        }
    }

    #[test]
    fn a_truncated_archive_is_refused() {
        let mut whole = Vec::new();
        pack(&made(&[("a", &"text ".repeat(1000))]), &mut whole).unwrap();
        assert!(tried(&whole).0.is_ok());
        for length in [4, whole.len() / 2, whole.len() - 1] {
            assert!(tried(&whole[..length]).0.is_err(), "cut at {length}");
        }
    }
}
