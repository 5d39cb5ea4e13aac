//! Reads the entries of an initrd as the kernel unpacks it (`init/initramfs.c`).
//!
//! An initrd is a sequence of `newc` archives, each compressed or not, with zeros between them. An uncompressed archive
//! begins at a multiple of four bytes and ends with its trailer; compressed data may hold several archives. Nothing is
//! stored here, and no more is unpacked than the limits allow.

use std::io::{self, BufRead, BufReader, Read};

/// Maximum length of a path in bytes, as the kernel's `PATH_MAX`.
const NAME: usize = 4096;
/// Maximum average length of paths in bytes, per permitted entry, because readers may keep all of them.
const NAMES: u64 = 256;
/// Maximum number of archives or pieces of compressed data; each costs a decoder. Ordinary initrds have two or three.
const PIECES: usize = 1_000;
/// Memory limit for xz's dictionary, in bytes.
const DICTIONARY: u64 = 128 << 20;

pub(super) const NONE: &str = "expected a newc archive, plain or compressed";

/// Limits on the content of an initrd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitrdLimits {
    /// Maximum number of unpacked bytes.
    pub bytes: u64,
    /// Maximum number of files, directories, links and nodes.
    pub entries: usize,
}

/// A file, directory, link or node, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitrdEntry {
    /// The path unchanged, except that bytes that are not UTF-8 become U+FFFD.
    pub name: String,
    /// Type and permissions, as in `stat`.
    pub mode: u32,
    /// The number of hard links.
    pub links: u32,
    /// Identifies the file within its archive: the device's numbers and the inode's, which all names of a file share.
    pub file: [u32; 3],
    /// Index of the archive, from 0; names in different archives are different files.
    pub archive: usize,
}

/// Receives an entry and its content, and need not read all of it.
pub type EntryVisitor<'v> = &'v mut dyn FnMut(&InitrdEntry, &mut dyn Read) -> io::Result<()>;

/// The reason why an initrd was not read to its end.
#[derive(Debug, thiserror::Error)]
#[error("the archive at byte {at}: {cause}")]
pub struct InitrdError {
    /// Offset of the archive, or of the data found in its place.
    pub at: u64,
    /// The reason.
    pub cause: InitrdErrorKind,
}

/// A defect of an archive.
#[derive(Debug, thiserror::Error)]
pub enum InitrdErrorKind {
    /// The compression is known to the kernel but not supported here.
    #[error("it is compressed by {0}, which is not read here")]
    Foreign(&'static str),
    /// The data are not an archive, truncated, or unpack to too much; or the visitor failed.
    #[error("{0}")]
    Broken(#[from] io::Error),
}

/// Reads all entries in order and passes each to `visit`. Returns the number of archives; several that were compressed
/// together count as one.
///
/// # Errors
///
/// Fails for data that are not such an archive, truncated, compressed by anything but gzip, xz or zstd, or beyond the
/// limits.
pub fn read(file: &mut dyn BufRead, limits: InitrdLimits, visit: EntryVisitor<'_>) -> Result<usize, InitrdError> {
    let mut whole = Counted { from: file, at: 0 };
    let names = (limits.entries as u64).saturating_mul(NAMES);
    let mut walk = Walk { limits, remaining: limits, names, archive: 0, visit };
    let mut count = 0;
    loop {
        let wrong = |at: u64| move |cause: InitrdErrorKind| InitrdError { at, cause };
        let there_is_more = skip_zeros(&mut whole, &mut walk);
        if !there_is_more.map_err(|e| wrong(whole.at)(e.into()))? {
            return Ok(count);
        }
        let at = whole.at;
        if count == PIECES {
            return Err(wrong(at)(io::Error::other(format!("it has more than {PIECES} archives")).into()));
        }
        read_piece(&mut whole, &mut walk).map_err(wrong(at))?;
        walk.archive += 1;
        count += 1;
    }
}

/// Reads one uncompressed archive, or one piece of compressed data.
fn read_piece(whole: &mut Counted<&mut dyn BufRead>, walk: &mut Walk<'_>) -> Result<(), InitrdErrorKind> {
    if whole.at.is_multiple_of(4) && whole.fill_buf()?.first() == Some(&b'0') {
        read_archive(whole, Ends::AtTrailer, walk)?;
        return Ok(());
    }
    // The buffer may end anywhere, so the first bytes are read and then put back before the rest.
    let mut magic = Vec::with_capacity(6);
    Read::take(&mut *whole, 6).read_to_end(&mut magic)?;
    let input = Joined { first: magic.as_slice(), rest: whole };
    let mut unpacked = |from: &mut dyn Read| {
        let from = BufReader::with_capacity(1 << 16, from);
        read_archive(&mut Counted { from, at: 0 }, Ends::WithItsBytes, walk)
    };
    match magic.as_slice() {
        [0x1f, 0x8b, ..] => unpacked(&mut flate2::bufread::GzDecoder::new(input))?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            unpacked(&mut zstd::stream::read::Decoder::with_buffer(input)?.single_frame())?;
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            let stream = liblzma::stream::Stream::new_stream_decoder(DICTIONARY, 0).map_err(io::Error::other)?;
            unpacked(&mut liblzma::bufread::XzDecoder::new_stream(input, stream))?;
        }
        [0x02, 0x21, 0x4c, 0x18, ..] => return Err(InitrdErrorKind::Foreign("lz4")),
        [b'B', b'Z', b'h', ..] => return Err(InitrdErrorKind::Foreign("bzip2")),
        [0x89, b'L', b'Z', b'O', ..] => return Err(InitrdErrorKind::Foreign("lzo")),
        [0x5d, 0, 0, ..] => return Err(InitrdErrorKind::Foreign("lzma")),
        _ => return Err(io::Error::other(NONE).into()),
    }
    Ok(())
}

/// Reads the entries of an archive.
fn read_archive<R: BufRead>(from: &mut Counted<R>, ends: Ends, walk: &mut Walk<'_>) -> io::Result<()> {
    let mut padding = Vec::new();
    loop {
        if !skip_zeros(from, walk)? && ends == Ends::WithItsBytes {
            return Ok(());
        }
        let mut head = [0; 110];
        from.read_exact(&mut head)?;
        if !matches!(&head[..6], b"070701" | b"070702") {
            return Err(io::Error::other(NONE));
        }
        // Thirteen numbers of eight digits: inode, mode, user, group, links, time, size, device's two numbers, the
        // node's own two, length of the name, checksum.
        let field = |number: usize| {
            let at = 6 + 8 * number;
            let text = str::from_utf8(&head[at..at + 8]).ok();
            text.and_then(|t| u32::from_str_radix(t, 16).ok()).ok_or_else(|| io::Error::other("a field is no number"))
        };
        let (mode, size, length) = (field(1)?, u64::from(field(6)?), field(11)? as usize);
        if length == 0 || length > NAME {
            return Err(io::Error::other("a name is too long"));
        }
        let mut name = vec![0; length];
        from.read_exact(&mut name)?;
        skip_padding(from, &mut padding)?;
        walk.take_bytes(size + length as u64 + 110)?;
        let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(&name)).into_owned();
        if name == "TRAILER!!!" {
            if ends == Ends::AtTrailer {
                return Ok(());
            }
            walk.archive += 1;
            continue;
        }
        walk.take_entry(length as u64)?;
        let file = [field(7)?, field(8)?, field(0)?];
        let entry = InitrdEntry { name, mode, links: field(4)?, file, archive: walk.archive };
        let mut content = Read::take(&mut *from, size);
        (walk.visit)(&entry, &mut content)?;
        io::copy(&mut content, &mut io::sink())?;
        if content.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        skip_padding(from, &mut padding)?;
    }
}

/// Skips zeros; returns whether any data follow.
fn skip_zeros<R: BufRead>(from: &mut Counted<R>, walk: &mut Walk<'_>) -> io::Result<bool> {
    loop {
        let begin = from.fill_buf()?;
        let zeros = begin.iter().take_while(|b| **b == 0).count();
        if zeros == 0 {
            return Ok(!begin.is_empty());
        }
        walk.take_bytes(zeros as u64)?;
        from.consume(zeros);
    }
}

/// Skips to the next multiple of four bytes.
fn skip_padding<R: Read>(from: &mut Counted<R>, padding: &mut Vec<u8>) -> io::Result<()> {
    let count = from.at.next_multiple_of(4) - from.at;
    padding.clear();
    // The last padding may be missing.
    Read::take(from, count).read_to_end(padding)?;
    Ok(())
}

/// The state of reading an initrd.
struct Walk<'v> {
    limits: InitrdLimits,
    /// The remaining limits.
    remaining: InitrdLimits,
    /// The remaining bytes of paths.
    names: u64,
    archive: usize,
    visit: EntryVisitor<'v>,
}

impl Walk<'_> {
    fn take_bytes(&mut self, bytes: u64) -> io::Result<()> {
        let remaining = self.remaining.bytes.checked_sub(bytes);
        self.remaining.bytes = remaining.ok_or_else(|| io::Error::other("it unpacks to more than any initrd"))?;
        Ok(())
    }

    fn take_entry(&mut self, name: u64) -> io::Result<()> {
        let names = self.names.checked_sub(name);
        self.names = names.ok_or_else(|| io::Error::other("its paths are longer than those of any initrd"))?;
        let remaining = self.remaining.entries.checked_sub(1);
        let most = self.limits.entries;
        self.remaining.entries = remaining.ok_or_else(|| io::Error::other(format!("it has more than {most} files")))?;
        Ok(())
    }
}

/// The end of an archive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// After its trailer: another archive may follow.
    AtTrailer,
    /// With its last byte, for decompressed data.
    WithItsBytes,
}

/// A reader that counts its position.
struct Counted<R> {
    from: R,
    at: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.at += count as u64;
        self.from.consume(count);
    }
}

/// Bytes that were already read, followed by the rest.
struct Joined<'a, R> {
    first: &'a [u8],
    rest: &'a mut R,
}

impl<R: BufRead> Read for Joined<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Joined<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.first.is_empty() { self.rest.fill_buf() } else { Ok(self.first) }
    }

    fn consume(&mut self, count: usize) {
        match self.first.get(count..) {
            Some(remaining) if !self.first.is_empty() => self.first = remaining,
            _ => self.rest.consume(count),
        }
    }
}
