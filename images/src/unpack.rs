//! Unpacks untrusted tar archives: the unpacked bytes are counted, and nothing is written outside a directory.

use crate::error::{Context, Failure, ImageErrorKind};
use model::redact::{one_line, without_controls};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path};

/// Limits of an archive, or their unused part.
#[derive(Clone, Copy)]
pub(crate) struct UnpackLimits {
    pub(crate) entries: u64,
    /// Unpacked bytes, holes included.
    pub(crate) bytes: u64,
    /// Message for an archive that exceeds a limit.
    pub(crate) reason: &'static str,
}

/// First bytes of a zstd frame (RFC 8878, section 3.1.1).
pub(crate) const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An archive that is opened once: the checked file is the unpacked one, even if the path now leads elsewhere.
pub(crate) struct ArchiveFile<'p> {
    file: File,
    path: &'p Path,
}

impl<'p> ArchiveFile<'p> {
    /// Opens a regular file.
    pub(crate) fn open(path: &'p Path) -> Result<ArchiveFile<'p>, Failure> {
        // Non-blocking, because opening a pipe waits for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
        let archive = ArchiveFile { file: File::from(opened.context("opening", path)?), path };
        match archive.file.metadata().context("reading", path)?.is_file() {
            true => Ok(archive),
            false => Err(archive.refused("it is not a regular file")),
        }
    }

    /// Returns the file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the size of the compressed file in bytes.
    pub(crate) fn size(&self) -> Result<u64, Failure> {
        Ok(self.file.metadata().context("reading", self.path)?.len())
    }

    /// Returns whether the archive is compressed with zstd.
    pub(crate) fn is_zstd(&self) -> bool {
        let mut head = [0; ZSTD.len()];
        self.file.read_exact_at(&mut head, 0).is_ok() && head == ZSTD
    }

    /// Returns a reader of the decompressed content from its beginning; only one such reader can be used at a time.
    pub(crate) fn content(&self) -> Result<Box<dyn Read>, Failure> {
        let rewound = (&self.file).rewind().and_then(|()| decompressed(self.file.try_clone()?));
        rewound.context("reading", self.path)
    }

    /// Makes a refusal of the whole archive.
    pub(crate) fn refused(&self, reason: &str) -> Failure {
        refused(self.path.file_name().unwrap_or_default().as_encoded_bytes(), reason)
    }
}

/// Returns a file's content, decompressed according to its first bytes: gzip, xz, zstd, or uncompressed.
pub(crate) fn decompressed(file: File) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(1 << 20, file);
    let head = file.fill_buf()?;
    let begins = |magic: &[u8]| head.starts_with(magic);
    let (is_zstd, is_xz, is_gzip) = (begins(&ZSTD), begins(b"\xfd7zXZ\0"), begins(&[0x1f, 0x8b]));
    Ok(match (is_zstd, is_xz, is_gzip) {
        (true, ..) => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        (_, true, _) => Box::new(liblzma::read::XzDecoder::new(file)),
        (.., true) => Box::new(flate2::read::MultiGzDecoder::new(file)),
        _ => Box::new(file),
    })
}

/// Names that an archive may have, judged by their text; links on the way are checked when an entry is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Names of a tree, which may begin with `/` or `.`.
    OfTree,
    /// Names in an export of this crate, without such a beginning.
    Plain,
}

impl Names {
    /// Returns whether a name leads out of the target directory; a name with `..` is refused without resolving it.
    pub(crate) fn lead_out(self, name: &Path) -> bool {
        let leads_out = |part| match part {
            Component::Normal(_) => false,
            Component::RootDir | Component::CurDir => self == Names::Plain,
            Component::ParentDir | Component::Prefix(_) => true,
        };
        name.components().any(leads_out)
    }

    /// Returns whether an entry leads out, by its own name or by the target of a hard link.
    pub(crate) fn entry_leads_out(self, path: &Path, target: Option<&Path>, kind: tar::EntryType) -> bool {
        self.lead_out(path) || (kind.is_hard_link() && target.is_some_and(|target| self.lead_out(target)))
    }
}

/// Judges an entry by its path, the target of a link, and its kind; the error is the reason for the refusal.
pub(crate) type Judge = dyn Fn(&Path, Option<&Path>, tar::EntryType) -> Result<(), &'static str>;

/// Unpacks an archive into an existing directory, as long as `go_on` succeeds.
///
/// The caller has configured in `tar` whether owners, times and attributes are kept; `archive` is the path for
/// messages.
///
/// # Errors
/// [`ImageErrorKind::BadArchive`] for an entry that is refused, leads out of the directory, or exceeds a limit.
pub(crate) fn unpack<R: Read>(
    tar: tar::Archive<R>,
    archive: &Path,
    folder: &Path,
    limits: &UnpackLimits,
    judge: &Judge,
    go_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    each(tar, archive, &mut { *limits }, judge, go_on, |entry| put(entry, folder, "its path leads out of the folder"))
}

/// Calls `put` for each entry of an archive, and subtracts it from the limits in `remaining`.
///
/// Directories come last, the deepest first, so that their modes and times do not interfere with their content.
///
/// # Errors
/// As [`unpack`], and errors of `put`.
pub(crate) fn each<R: Read>(
    mut tar: tar::Archive<R>,
    archive: &Path,
    remaining: &mut UnpackLimits,
    judge: &Judge,
    go_on: &dyn Fn() -> Result<(), Failure>,
    mut put: impl FnMut(&mut tar::Entry<'_, R>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut folders = Vec::new();
    for entry in tar.entries().context("reading", archive)? {
        let mut entry = entry.context("reading", archive)?;
        go_on()?;
        match (remaining.entries.checked_sub(1), remaining.bytes.checked_sub(entry.size())) {
            (Some(entries), Some(bytes)) => *remaining = UnpackLimits { entries, bytes, ..*remaining },
            _ => return Err(refused(&entry.path_bytes(), remaining.reason)),
        }
        let judged = {
            let path = entry.path().context("reading", archive)?;
            let target = entry.link_name().context("reading", archive)?;
            judge(&path, target.as_deref(), entry.header().entry_type())
        };
        judged.map_err(|reason| refused(&entry.path_bytes(), reason))?;
        match entry.header().entry_type().is_dir() {
            true => folders.push(entry),
            false => put(&mut entry)?,
        }
    }
    folders.sort_by(|a, b| b.path_bytes().cmp(&a.path_bytes()));
    folders.iter_mut().try_for_each(put)
}

/// Size limit of a name, a link's target or attributes before an entry, in bytes: they are read into memory.
const METADATA: u64 = 1 << 20;

/// Refuses an archive with too much metadata for an entry, because readers of entries read metadata into memory.
///
/// Sizes must be in the entries' own headers, or data could hide the next entry.
pub(crate) fn check_metadata<R: Read>(
    mut tar: tar::Archive<R>,
    archive: &Path,
    go_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    for entry in tar.entries().context("reading", archive)?.raw(true) {
        let mut entry = entry.context("reading", archive)?;
        go_on()?;
        let kind = entry.header().entry_type();
        let is_pax = kind.is_pax_local_extensions() || kind.is_pax_global_extensions();
        if kind.is_gnu_sparse() {
            return Err(refused(&entry.path_bytes(), "it is a sparse file, which is not allowed in images"));
        }
        if (is_pax || kind.is_gnu_longname() || kind.is_gnu_longlink()) && entry.size() > METADATA {
            return Err(refused(&entry.path_bytes(), "its name, link or attributes are too large"));
        }
        if is_pax {
            let mut records = Vec::new();
            entry.read_to_end(&mut records).context("reading", archive)?;
            if memchr::memmem::find(&records, b" size=").is_some() {
                return Err(refused(&entry.path_bytes(), "it is too large for a file of a release"));
            }
        }
    }
    Ok(())
}

/// Puts an entry into a directory; an entry that leads out, even through a link, is refused with `reason` or fails.
pub(crate) fn put<R: Read>(entry: &mut tar::Entry<'_, R>, folder: &Path, reason: &'static str) -> Result<(), Failure> {
    let leads_out = Names::OfTree.lead_out(&entry.path().context("unpacking into", folder)?);
    match !leads_out && entry.unpack_in(folder).context("unpacking into", folder)? {
        true => Ok(()),
        false => Err(refused(&entry.path_bytes(), reason)),
    }
}

/// Makes a refusal of an entry; its path is made printable.
pub(crate) fn refused(path: &[u8], reason: &str) -> Failure {
    let entry = one_line(&without_controls(&String::from_utf8_lossy(path), 200), 200);
    ImageErrorKind::BadArchive { entry, reason: reason.to_owned() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::EntryType;

    #[test]
    fn names_with_parent_components_lead_out_of_the_tree() {
        for (name, of_tree, plain) in [
            ("a/b", false, false),
            ("./a", false, true),
            ("/a", false, true),
            ("../a", true, true),
            ("a/../b", true, true),
            ("a/..", true, true),
            ("..a/b..", false, false),
        ] {
            let name = Path::new(name);
            assert_eq!((Names::OfTree.lead_out(name), Names::Plain.lead_out(name)), (of_tree, plain), "{name:?}");
        }
    }

    #[test]
    fn hard_link_targets_are_checked_and_symlink_targets_are_not() {
        let leads_out = |kind| Names::OfTree.entry_leads_out(Path::new("a"), Some(Path::new("../b")), kind);
        assert!(leads_out(EntryType::Link) && !leads_out(EntryType::Symlink));
    }
}
