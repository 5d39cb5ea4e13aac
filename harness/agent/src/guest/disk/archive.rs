//! A directory as a tar archive, with owners, modes, times, hard links, holes, and extended attributes, including ACLs
//! and capabilities.

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Linux's maximum size of a list of attributes, and of a value.
const ATTRIBUTE: usize = 64 << 10;
/// Size of the pieces in which the archive is written.
const PIECE: usize = 1 << 20;

/// Writes the content of a directory; returns the archive's length.
///
/// Device nodes, pipes and sockets are left out: a system makes its own at boot.
pub(super) fn write(root: &Path, output: &File) -> io::Result<u64> {
    let counted = Counted { to: BufWriter::with_capacity(PIECE, output), bytes: 0 };
    let mut writer = Writer { tar: Builder::new(counted), links: HashMap::new() };
    writer.tar.follow_symlinks(false);
    writer.folder(root, Path::new(""))?;
    let mut counted = writer.tar.into_inner()?;
    counted.flush()?;
    Ok(counted.bytes)
}

struct Writer<W: Write> {
    tar: Builder<W>,
    /// First name of each file with hard links.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Writer<W> {
    fn folder(&mut self, root: &Path, name: &Path) -> io::Result<()> {
        let mut names: Vec<PathBuf> =
            fs::read_dir(root.join(name))?.map(|entry| Ok(name.join(entry?.file_name()))).collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let path = root.join(&name);
            let meta = path.symlink_metadata().map_err(|e| super::doing("looking at", &name, &e))?;
            self.entry(&path, &name, &meta).map_err(|e| super::doing("archiving", &name, &e))?;
            if meta.is_dir() {
                self.folder(root, &name)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: &Path, meta: &Metadata) -> io::Result<()> {
        let kind = meta.file_type();
        if !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
            return Ok(());
        }
        if kind.is_file() && meta.nlink() > 1 {
            if let Some(first) = self.links.get(&(meta.dev(), meta.ino())) {
                let mut header = header(EntryType::Link, meta);
                return self.tar.append_link(&mut header, name, first);
            }
            self.links.insert((meta.dev(), meta.ino()), name.to_owned());
        }
        let attributes = attributes(path)?;
        if !attributes.is_empty() {
            self.tar.append_pax_extensions(attributes.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        }
        if kind.is_dir() {
            return self.tar.append_data(&mut header(EntryType::Directory, meta), name, io::empty());
        }
        if kind.is_symlink() {
            return self.tar.append_link(&mut header(EntryType::Symlink, meta), name, fs::read_link(path)?);
        }
        self.tar.append_file(name, &mut File::open(path)?)
    }
}

fn header(kind: EntryType, meta: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_metadata(meta);
    header.set_entry_type(kind);
    header.set_size(0);
    header
}

/// Returns a file's extended attributes, with the keys that tar programs agree on.
fn attributes(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut list = vec![0; ATTRIBUTE];
    let length = match llistxattr(path, &mut list[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(e) => return Err(e.into()),
    };
    let mut found = Vec::new();
    for name in list[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        // A key must be text; other names exist only in theory.
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let mut value = vec![0; ATTRIBUTE];
        let length = lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        found.push((format!("SCHILY.xattr.{name}"), value));
    }
    Ok(found)
}

/// A writer that counts the bytes.
struct Counted<W> {
    to: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.to.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn an_archive_has_all_files_of_its_folder_except_sockets() {
        let dir = tempfile::tempdir().unwrap();
        let (root, archive) = (dir.path().join("root"), dir.path().join("archive"));
        fs::create_dir_all(root.join("etc/deep")).unwrap();
        fs::write(root.join("etc/file"), "content").unwrap();
        fs::set_permissions(root.join("etc/file"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::hard_link(root.join("etc/file"), root.join("same")).unwrap();
        symlink("/etc/file", root.join("link")).unwrap();
        let long = "x".repeat(150);
        fs::write(root.join("etc").join(&long), "long").unwrap();
        let hole = File::create(root.join("hole")).unwrap();
        hole.set_len(64 << 20).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let attributed =
            rustix::fs::setxattr(root.join("etc/file"), "user.kept", b"a\0b", rustix::fs::XattrFlags::empty()).is_ok();
        let bytes = write(&root, &File::create(&archive).unwrap()).unwrap();
        assert_eq!(bytes, archive.metadata().unwrap().len());
        assert!(bytes < 1 << 20, "{bytes}: the hole was written out");
        let mut names = Vec::new();
        let mut reader = tar::Archive::new(File::open(&archive).unwrap());
        for entry in reader.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let link = entry.link_name().unwrap().map(|link| link.to_string_lossy().into_owned());
            match name.as_str() {
                "etc/file" => {
                    let mut content = String::new();
                    assert_eq!(entry.header().mode().unwrap() & 0o7777, 0o4750);
                    let has_attribute = entry
                        .pax_extensions()
                        .unwrap()
                        .is_some_and(|mut all| all.any(|one| one.is_ok_and(|one| one.value_bytes() == b"a\0b")));
                    assert_eq!(has_attribute, attributed);
                    entry.read_to_string(&mut content).unwrap();
                    assert_eq!(content, "content");
                }
                "same" => {
                    assert_eq!((entry.header().entry_type(), link.as_deref()), (EntryType::Link, Some("etc/file")))
                }
                "link" => assert_eq!(link.as_deref(), Some("/etc/file")),
                "hole" => assert_eq!(entry.size(), 64 << 20),
                _ => {}
            }
            names.push(name.trim_end_matches('/').to_owned());
        }
        let expected = ["etc", "etc/deep", "etc/file", &format!("etc/{long}"), "hole", "link", "same"];
        assert_eq!(names, expected);
    }
}
