//! The entries of an initrd, read as the kernel unpacks it (`init/initramfs.c`).
//!
//! An initrd is `newc` archives one after the other, each of them compressed or not, with zeros between them.
//! One that is not compressed begins at a multiple of four bytes, and ends with its trailer; what was compressed may hold
//! several.
//! Nothing is kept here, and no more is unpacked than the limits allow.

use std::io::{self, BufRead, BufReader, Read};

/// A path's bytes, as the kernel's `PATH_MAX`.
const NAME: usize = 4096;
/// Memory for xz's dictionary.
const DICTIONARY: u64 = 128 << 20;

pub(super) const NONE: &str = "expected a newc archive, plain or compressed";

/// What an initrd may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitrdLimits {
    /// Bytes that it unpacks to.
    pub bytes: u64,
    /// Files, folders, links and nodes.
    pub entries: usize,
}

/// A file, folder, link or node, before its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitrdEntry {
    /// Its path as it stands there; what is not UTF-8 becomes U+FFFD.
    pub name: String,
    /// Its type and permissions, as `stat` has them.
    pub mode: u32,
    /// How many names the file has.
    pub links: u32,
    /// Which file of its archive it is: the device's numbers and the inode's, which all names of a file share.
    pub file: [u32; 3],
    /// Which archive it is in, counted from 0; names in different archives are different files.
    pub archive: usize,
}

/// Takes an entry and its content, of which it may leave any part.
pub type Visit<'v> = &'v mut dyn FnMut(&InitrdEntry, &mut dyn Read) -> io::Result<()>;

/// Why an initrd was not read to its end.
#[derive(Debug, thiserror::Error)]
#[error("the archive at byte {at}: {cause}")]
pub struct InitrdError {
    /// Where the archive, or what stands in the place of one, begins.
    pub at: u64,
    /// Why.
    pub cause: InitrdErrorKind,
}

/// What is the matter with an archive.
#[derive(Debug, thiserror::Error)]
pub enum InitrdErrorKind {
    /// It is compressed in a way that the kernel knows and this program does not.
    #[error("it is compressed by {0}, which is not read here")]
    Foreign(&'static str),
    /// It is no archive, or cut short, or unpacks to too much; or the visitor failed.
    #[error("{0}")]
    Broken(#[from] io::Error),
}

/// Reads all entries in their order, and has each visited; gives how many archives there are, of which several that were
/// compressed together count as one.
///
/// # Errors
///
/// What is no such archive, is cut short, is compressed by something else than gzip, xz or zstd, or is beyond the limits.
pub fn read(file: &mut dyn BufRead, limits: InitrdLimits, visit: Visit<'_>) -> Result<usize, InitrdError> {
    let mut whole = Counted { from: file, at: 0 };
    let mut walk = Walk { limits, left: limits, archive: 0, visit };
    let mut count = 0;
    loop {
        let wrong = |at: u64| move |cause: InitrdErrorKind| InitrdError { at, cause };
        let there_is_more = skip_zeros(&mut whole, &mut walk);
        if !there_is_more.map_err(|e| wrong(whole.at)(e.into()))? {
            return Ok(count);
        }
        let at = whole.at;
        piece(&mut whole, &mut walk).map_err(wrong(at))?;
        walk.archive += 1;
        count += 1;
    }
}

/// One archive that is not compressed, or what was compressed together.
fn piece(whole: &mut Counted<&mut dyn BufRead>, walk: &mut Walk<'_>) -> Result<(), InitrdErrorKind> {
    if whole.at.is_multiple_of(4) && whole.fill_buf()?.first() == Some(&b'0') {
        archive(whole, Ends::AtTrailer, walk)?;
        return Ok(());
    }
    // A buffer may end anywhere, so the first bytes are read and put before the rest.
    let mut magic = Vec::with_capacity(6);
    Read::take(&mut *whole, 6).read_to_end(&mut magic)?;
    let input = Joined { first: magic.as_slice(), rest: whole };
    let mut unpacked = |from: &mut dyn Read| {
        let from = BufReader::with_capacity(1 << 16, from);
        archive(&mut Counted { from, at: 0 }, Ends::WithItsBytes, walk)
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
fn archive<R: BufRead>(from: &mut Counted<R>, ends: Ends, walk: &mut Walk<'_>) -> io::Result<()> {
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
        // Thirteen numbers of eight digits: inode, mode, user, group, links, time, size, device, its own device, length of the
        // name, checksum.
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
        walk.take_entry()?;
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

/// Goes on to what is no zero; whether there is any.
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

/// Goes on to the next multiple of four.
fn skip_padding<R: Read>(from: &mut Counted<R>, padding: &mut Vec<u8>) -> io::Result<()> {
    let count = from.at.next_multiple_of(4) - from.at;
    padding.clear();
    // The last one may be missing.
    Read::take(from, count).read_to_end(padding)?;
    Ok(())
}

/// How far an initrd has been read.
struct Walk<'v> {
    limits: InitrdLimits,
    /// What may still be read.
    left: InitrdLimits,
    archive: usize,
    visit: Visit<'v>,
}

impl Walk<'_> {
    fn take_bytes(&mut self, bytes: u64) -> io::Result<()> {
        let left = self.left.bytes.checked_sub(bytes);
        self.left.bytes = left.ok_or_else(|| io::Error::other("it unpacks to more than any initrd"))?;
        Ok(())
    }

    fn take_entry(&mut self) -> io::Result<()> {
        let left = self.left.entries.checked_sub(1);
        let most = self.limits.entries;
        self.left.entries = left.ok_or_else(|| io::Error::other(format!("it has more than {most} files")))?;
        Ok(())
    }
}

/// Where an archive ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// After its trailer: another one may follow.
    AtTrailer,
    /// With its last byte: it was decompressed.
    WithItsBytes,
}

/// A reader that knows where it is.
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

/// Bytes that were read already, and those that follow them.
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
            Some(left) if !self.first.is_empty() => self.first = left,
            _ => self.rest.consume(count),
        }
    }
}
