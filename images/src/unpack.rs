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

/// Memory limit for xz's dictionary, in bytes: an archive may ask for 4 GiB. `xz -9` needs 65 MiB.
const XZ: u64 = 128 << 20;

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
        (_, true, _) => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ, 0).map_err(io::Error::other)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream))
        }
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

/// Length of a block of an archive, in bytes: a header, or a part of a sparse file's map.
const BLOCK: u64 = 512;
/// Size limit of a sparse file's map, in bytes: readers of entries read it into memory, too.
const MAP: u64 = 16 << 20;

/// Does the same as [`check_metadata`] for an archive that may have sparse files.
pub(crate) fn check_metadata_and_maps(
    mut from: impl Read,
    archive: &Path,
    go_on: &dyn Fn() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut header = tar::Header::new_old();
    while read_block(&mut from, header.as_mut_bytes()).context("reading", archive)? {
        go_on()?;
        let refuse = |reason: &str| refused(&header.path_bytes(), reason);
        let (kind, size) = (header.entry_type(), header.entry_size().context("reading", archive)?);
        let mut rest = size.checked_next_multiple_of(BLOCK).ok_or_else(|| refuse("it is too large"))?;
        let is_pax = kind.is_pax_local_extensions() || kind.is_pax_global_extensions();
        if (is_pax || kind.is_gnu_longname() || kind.is_gnu_longlink()) && size > METADATA {
            return Err(refuse("its name, link or attributes are too large"));
        }
        if is_pax {
            let mut records = Vec::new();
            from.by_ref().take(size).read_to_end(&mut records).context("reading", archive)?;
            if memchr::memmem::find(&records, b" size=").is_some() {
                return Err(refuse("it is too large for a file of a release"));
            }
            rest -= records.len() as u64;
        }
        if kind.is_gnu_sparse() && header.as_gnu().is_some_and(tar::GnuHeader::is_extended) {
            let (mut map, mut bytes) = (tar::GnuExtSparseHeader::new(), 0);
            while read_block(&mut from, map.as_mut_bytes()).context("reading", archive)? && map.is_extended() {
                bytes += BLOCK;
                if bytes > MAP {
                    return Err(refuse("it has too many holes"));
                }
            }
        }
        io::copy(&mut from.by_ref().take(rest), &mut io::sink()).context("reading", archive)?;
    }
    Ok(())
}

/// Reads a block; returns false for the zeros at the end of an archive, and at the end of the file.
fn read_block(from: &mut impl Read, block: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(block) {
        Ok(()) => Ok(block.iter().any(|byte| *byte != 0)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
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

    /// Checks an archive of one entry of this kind and size, with this content.
    fn checked(kind: EntryType, size: u64, content: impl Read) -> Result<(), String> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        let archive = io::Cursor::new(header.as_bytes().to_vec()).chain(content);
        let checked = check_metadata_and_maps(archive, Path::new("archive"), &|| Ok(()));
        checked.map_err(|failure| failure.cause.to_string())
    }

    #[test]
    fn metadata_that_would_fill_the_memory_is_refused_before_it_is_read() {
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader, EntryType::XGlobalHeader] {
            let refused = checked(kind, 16 << 30, io::repeat(b'x')).unwrap_err();
            assert!(refused.contains("its name, link or attributes are too large"), "{refused}");
        }
        let sized = [&b"20 size=99999999999\n"[..], &[0_u8; 492][..]].concat();
        assert!(checked(EntryType::XHeader, 512, &sized[..]).is_err());
        assert_eq!(checked(EntryType::Regular, 1 << 20, io::repeat(0).take(2 << 20)), Ok(()));
        assert_eq!(checked(EntryType::GNULongName, 3, &[0_u8; 2048][..]), Ok(()));
    }

    #[test]
    fn a_sparse_files_map_is_limited() {
        let mut part = tar::GnuExtSparseHeader::new();
        part.set_is_extended(true);
        let of = |parts: usize| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(EntryType::GNUSparse);
            header.set_size(0);
            header.as_gnu_mut().unwrap().set_is_extended(true);
            header.set_cksum();
            let archive = [&header.as_bytes()[..], &part.as_bytes().repeat(parts)[..], &[0_u8; 1024][..]].concat();
            check_metadata_and_maps(&archive[..], Path::new("archive"), &|| Ok(()))
        };
        assert!(of(100).is_ok());
        let refused = of((MAP / BLOCK) as usize + 1).unwrap_err().cause.to_string();
        assert!(refused.contains("it has too many holes"), "{refused}");
    }

    #[test]
    fn an_xz_file_cannot_ask_for_gibibytes_of_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive.xz");
        let read = |xz: &[u8]| {
            std::fs::write(&path, xz).unwrap();
            let mut out = Vec::new();
            decompressed(File::open(&path).unwrap()).unwrap().read_to_end(&mut out).map(|_| out)
        };
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
        io::Write::write_all(&mut encoder, b"content").unwrap();
        let mut xz = encoder.finish().unwrap();
        // The header of the block, as the xz file format has it: its length, no flags, LZMA2 with one byte of
        // properties, the size of the dictionary, padding, and a checksum.
        assert_eq!(xz[12..16], [2, 0, 0x21, 1]);
        let mut with_dictionary = |size: u8| {
            xz[16] = size;
            let mut sum = flate2::Crc::new();
            sum.update(&xz[12..20]);
            xz[20..24].copy_from_slice(&sum.sum().to_le_bytes());
            read(&xz)
        };
        assert_eq!(with_dictionary(28).unwrap(), b"content", "64 MiB, as `xz -9` has it");
        assert!(with_dictionary(36).is_err(), "1 GiB");
    }

    #[test]
    fn hard_link_targets_are_checked_and_symlink_targets_are_not() {
        let leads_out = |kind| Names::OfTree.entry_leads_out(Path::new("a"), Some(Path::new("../b")), kind);
        assert!(leads_out(EntryType::Link) && !leads_out(EntryType::Symlink));
    }
}
