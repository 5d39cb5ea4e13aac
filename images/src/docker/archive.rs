//! A tree as a tar archive, streamed to Docker.

use crate::tree::archived::{BYTES, Entries};
use futures_util::Stream;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Size of a chunk, in bytes.
const CHUNK: usize = 1 << 20;

/// Streams the archive of a tree, or of some of its entries; the result of the writing task tells whether it succeeded.
pub(super) fn stream<Chunk: From<Vec<u8>>>(
    tree: PathBuf,
    only: Option<BTreeSet<PathBuf>>,
) -> (tokio::task::JoinHandle<io::Result<()>>, impl Stream<Item = io::Result<Chunk>> + Send + 'static) {
    let (sender, receiver) = mpsc::channel::<io::Result<Vec<u8>>>(4);
    let writing = tokio::task::spawn_blocking(move || {
        let mut sink = Sink { sender, buffer: Vec::with_capacity(CHUNK) };
        let done = write(&tree, only.as_ref(), &mut sink).and_then(|()| sink.flush());
        if let Err(error) = &done {
            // A broken stream keeps Docker from accepting a truncated tree.
            let _ = sink.sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
        done
    });
    let body = futures_util::stream::unfold(receiver, |mut receiver| async {
        let chunk = receiver.recv().await?;
        Some((chunk.map(Chunk::from), receiver))
    });
    (writing, body)
}

/// Passes the archive to the async side in chunks.
struct Sink {
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    buffer: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(full)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// Writes a tree, or only the given entries, as a tar archive.
fn write(tree: &Path, only: Option<&BTreeSet<PathBuf>>, sink: impl Write) -> io::Result<()> {
    let mut builder = tar::Builder::new(sink);
    builder.mode(tar::HeaderMode::Complete);
    let mut archived = Entries::new(BYTES, is_taken);
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let mut entries = std::fs::read_dir(tree.join(&folder))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = folder.join(entry.file_name());
            let meta = entry.metadata()?;
            if !meta.is_dir() && !meta.is_file() && !meta.is_symlink() {
                continue;
            }
            if only.is_none_or(|only| only.contains(&path)) {
                archived.append(&mut builder, &entry.path(), &path, &meta)?;
            }
            let dockers_own = ["proc", "sys", "dev"].iter().any(|own| path == Path::new(own));
            if meta.is_dir() && !dockers_own {
                folders.push(path);
            }
        }
    }
    builder.into_inner()?.flush()
}

/// Returns whether an extended attribute is kept: `trusted.*` belong to overlayfs, and `system.*` are ACLs, which
/// Docker refuses.
fn is_taken(name: &[u8]) -> bool {
    name.starts_with(b"security.capability") || name.starts_with(b"user.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_huge_sparse_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::File::create(dir.path().join("hole")).unwrap().set_len(BYTES + 1).unwrap();
        let error = write(dir.path(), None, io::sink()).unwrap_err().to_string();
        assert_eq!(error, "with hole the tree is too large for a release");
    }

    #[test]
    fn an_archive_keeps_modes_links_and_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path();
        std::fs::create_dir_all(tree.join("usr/bin")).unwrap();
        std::fs::create_dir_all(tree.join("dev/pts")).unwrap();
        std::fs::write(tree.join("usr/bin/a"), "content").unwrap();
        std::fs::set_permissions(tree.join("usr/bin/a"), PermissionsExt::from_mode(0o4755)).unwrap();
        std::fs::hard_link(tree.join("usr/bin/a"), tree.join("usr/bin/b")).unwrap();
        symlink("usr/bin", tree.join("bin")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
        let name = "user.kata";
        let marked = rustix::fs::setxattr(tree.join("usr/bin/a"), name, b"1", rustix::fs::XattrFlags::empty()).is_ok();
        let mut bytes = Vec::new();
        write(tree, None, &mut bytes).unwrap();
        let mut found = HashMap::new();
        let mut attributes = Vec::new();
        let mut reader = tar::Archive::new(bytes.as_slice());
        for entry in reader.entries().unwrap() {
            let mut entry = entry.unwrap();
            if let Some(pax) = entry.pax_extensions().unwrap() {
                attributes.extend(pax.map(|p| p.unwrap().key().unwrap().to_owned()));
            }
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let header = entry.header().clone();
            let path = entry.path().unwrap().display().to_string();
            found.insert(path.trim_end_matches('/').to_owned(), (header.entry_type(), header.mode().unwrap(), text));
        }
        assert_eq!(found["usr/bin/a"].1 & 0o7777, 0o4755);
        assert_eq!(found["usr/bin/a"].2, "content");
        assert_eq!(found["usr/bin/b"].0, tar::EntryType::Link);
        assert_eq!(found["bin"].0, tar::EntryType::Symlink);
        assert!(found.contains_key("dev") && !found.contains_key("dev/pts"));
        assert!(!found.contains_key("socket"));
        assert_eq!(attributes.contains(&"SCHILY.xattr.user.kata".to_owned()), marked);
    }
}
