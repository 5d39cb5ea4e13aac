//! What an initrd brings, by what is in it: for which kernels it has modules, and whether Kata's agent is there.
//!
//! It is read as the kernel unpacks it (`init/initramfs.c`): `newc` archives one after the other, each of them compressed
//! or not, with zeros between them. Nothing of it is kept, and no more than [`BYTES`] of it is unpacked.

use crate::configure::Initrd;
use root::Root;
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// What an initrd may unpack to; an ordinary one has a fifth of it.
const BYTES: u64 = 1 << 30;
/// Entries at most: a whole distro has some ten thousands.
const ENTRIES: usize = 500_000;
/// A path's bytes, as the kernel's `PATH_MAX`.
const NAME: usize = 4096;
/// Kernels of which one initrd is believed to have modules.
const KERNELS: usize = 64;
/// Memory for xz's dictionary.
const DICTIONARY: u64 = 128 << 20;

const NONE: &str = "expected newc archives, plain or compressed";

/// Looks into an initrd of a root.
pub fn look(root: &Root, path: &Path) -> Initrd {
    let found = match root.file(path) {
        Ok(file) => read(&mut BufReader::with_capacity(1 << 16, file), BYTES),
        Err(error) => return Initrd::Unread(error.to_string()),
    };
    match found {
        Ok(Contents { modules, agent }) => Initrd::Has { modules, agent },
        Err(InitrdError::Foreign(by)) => Initrd::Unread(format!("it is compressed by {by}, which is not read here")),
        Err(InitrdError::Broken(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Initrd::Broken("it is cut short".to_owned())
        }
        Err(InitrdError::Broken(error)) => Initrd::Broken(error.to_string()),
    }
}

/// What was found so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    modules: BTreeSet<String>,
    agent: bool,
}

/// Why it is not known what is in an initrd.
#[derive(Debug, thiserror::Error)]
enum InitrdError {
    /// It is compressed in a way that the kernel knows and this program does not.
    #[error("compressed by {0}")]
    Foreign(&'static str),
    /// It is no initrd, or cut short, or unpacks to too much.
    #[error("{0}")]
    Broken(#[from] io::Error),
}

fn read(file: &mut dyn BufRead, limit: u64) -> Result<Contents, InitrdError> {
    let mut found = Contents::default();
    let mut left = Left { bytes: limit, entries: ENTRIES };
    let mut whole = Counted { from: file, at: 0 };
    let mut any = false;
    while skip_zeros(&mut whole, &mut left)? {
        any = true;
        if whole.fill_buf()?.first() == Some(&b'0') {
            archive(&mut whole, Ends::AtTrailer, &mut left, &mut found)?;
        } else {
            // A buffer may end anywhere, so the first bytes are read and put before the rest.
            let mut magic = [0; 6];
            whole.read_exact(&mut magic)?;
            compressed(&magic, &mut whole, &mut left, &mut found)?;
        }
    }
    if !any {
        return Err(io::Error::other("it is empty").into());
    }
    Ok(found)
}

/// Goes on to what is no zero; whether there is any.
fn skip_zeros<R: BufRead>(from: &mut Counted<R>, left: &mut Left) -> io::Result<bool> {
    loop {
        let begin = from.fill_buf()?;
        let zeros = begin.iter().take_while(|b| **b == 0).count();
        if zeros == 0 {
            return Ok(!begin.is_empty());
        }
        left.take(zeros as u64)?;
        from.consume(zeros);
    }
}

/// One compressed archive, or several that were compressed together.
fn compressed(
    magic: &[u8; 6],
    rest: &mut Counted<&mut dyn BufRead>,
    left: &mut Left,
    found: &mut Contents,
) -> Result<(), InitrdError> {
    let input = Joined { first: magic.as_slice(), rest };
    let mut read = |from: &mut dyn Read| {
        let from = BufReader::with_capacity(1 << 16, from);
        archive(&mut Counted { from, at: 0 }, Ends::WithItsBytes, left, found)
    };
    match magic {
        [0x1f, 0x8b, ..] => read(&mut flate2::bufread::GzDecoder::new(input))?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            read(&mut zstd::stream::read::Decoder::with_buffer(input)?.single_frame())?;
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            let stream = liblzma::stream::Stream::new_stream_decoder(DICTIONARY, 0).map_err(io::Error::other)?;
            read(&mut liblzma::bufread::XzDecoder::new_stream(input, stream))?;
        }
        [0x02, 0x21, 0x4c, 0x18, ..] => return Err(InitrdError::Foreign("lz4")),
        [b'B', b'Z', b'h', ..] => return Err(InitrdError::Foreign("bzip2")),
        [0x89, b'L', b'Z', b'O', ..] => return Err(InitrdError::Foreign("lzo")),
        [0x5d, 0, 0, ..] => return Err(InitrdError::Foreign("lzma")),
        _ => return Err(io::Error::other(NONE).into()),
    }
    Ok(())
}

/// What may still be read.
struct Left {
    bytes: u64,
    entries: usize,
}

impl Left {
    fn take(&mut self, bytes: u64) -> io::Result<()> {
        self.bytes =
            self.bytes.checked_sub(bytes).ok_or_else(|| io::Error::other("it unpacks to more than any initrd"))?;
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

/// Reads the entries of an archive.
fn archive<R: BufRead>(from: &mut Counted<R>, ends: Ends, left: &mut Left, found: &mut Contents) -> io::Result<()> {
    let mut padding = Vec::new();
    loop {
        if ends == Ends::WithItsBytes && !skip_zeros(from, left)? {
            return Ok(());
        }
        let mut head = [0; 110];
        from.read_exact(&mut head)?;
        if !matches!(&head[..6], b"070701" | b"070702") {
            return Err(io::Error::other(NONE));
        }
        let field = |at: usize| {
            let text = str::from_utf8(&head[at..at + 8]).ok();
            text.and_then(|t| u32::from_str_radix(t, 16).ok()).ok_or_else(|| io::Error::other("a field is no number"))
        };
        let (mode, size, length) = (field(14)?, u64::from(field(54)?), field(94)? as usize);
        if length == 0 || length > NAME {
            return Err(io::Error::other("a name is too long"));
        }
        let mut name = vec![0; length];
        from.read_exact(&mut name)?;
        skip(from, &mut padding)?;
        left.take(size + length as u64 + 110)?;
        let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(&name)).into_owned();
        if name == "TRAILER!!!" {
            if ends == Ends::AtTrailer {
                return Ok(());
            }
            continue;
        }
        left.entries = left.entries.checked_sub(1).ok_or_else(|| io::Error::other("it has more than 500000 files"))?;
        let mut content = Read::take(&mut *from, size);
        if mode & 0o170_000 == 0o100_000 {
            found.see(&name, &mut content)?;
        }
        io::copy(&mut content, &mut io::sink())?;
        if content.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        skip(from, &mut padding)?;
    }
}

/// Goes on to the next multiple of four.
fn skip<R: Read>(from: &mut Counted<R>, padding: &mut Vec<u8>) -> io::Result<()> {
    let count = from.at.next_multiple_of(4) - from.at;
    padding.clear();
    // The last one may be missing.
    Read::take(from, count).read_to_end(padding)?;
    Ok(())
}

impl Contents {
    fn see(&mut self, name: &str, content: &mut dyn Read) -> io::Result<()> {
        let name = name.trim_start_matches("./").trim_start_matches('/');
        let name = name.strip_prefix("usr/").unwrap_or(name);
        let file = name.rsplit('/').next().unwrap_or_default();
        if let Some((release, _)) = name.strip_prefix("lib/modules/").and_then(|rest| rest.split_once('/'))
            && [".ko", ".ko.gz", ".ko.xz", ".ko.zst"].iter().any(|end| file.ends_with(end))
            && self.modules.len() < KERNELS
        {
            self.modules.insert(release.to_owned());
        }
        self.agent |= file == "kata-agent" || ["init", "sbin/init", "bin/init"].contains(&name) && is_agent(content)?;
        Ok(())
    }
}

/// The agent names itself in its log.
fn is_agent(content: &mut dyn Read) -> io::Result<bool> {
    const NAME: &[u8] = b"kata-agent";
    let mut buffer = vec![0; 1 << 16];
    let mut kept = 0;
    loop {
        let count = content.read(&mut buffer[kept..])?;
        if count == 0 {
            return Ok(false);
        }
        let end = kept + count;
        if memchr::memmem::find(&buffer[..end], NAME).is_some() {
            return Ok(true);
        }
        kept = end.min(NAME.len() - 1);
        buffer.copy_within(end - kept..end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn entry(name: &str, mode: u32, content: &[u8]) -> Vec<u8> {
        let mut out = format!("070701{:08X}{mode:08X}{:08X}{:08X}{:08X}{:08X}", 1, 0, 0, 1, 0).into_bytes();
        out.extend(
            format!("{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}", content.len(), 0, 0, 0, 0, name.len() + 1, 0).bytes(),
        );
        out.extend(name.bytes().chain([0]));
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(content);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn made(files: &[(&str, &[u8])]) -> Vec<u8> {
        let files = files.iter().flat_map(|(name, content)| entry(name, 0o100_644, content));
        files.chain(entry("TRAILER!!!", 0, b"")).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(bytes).unwrap();
        xz.finish().unwrap()
    }

    /// With a buffer so small that every magic number is cut.
    fn seen(bytes: &[u8]) -> Result<Contents, InitrdError> {
        let with = |capacity| read(&mut BufReader::with_capacity(capacity, bytes), 1 << 20);
        let (small, large) = (with(3), with(1 << 16));
        assert_eq!(small.is_ok(), large.is_ok());
        if let (Ok(small), Ok(large)) = (&small, &large) {
            assert_eq!(small, large);
        }
        large
    }

    fn modules(bytes: &[u8]) -> Vec<String> {
        seen(bytes).unwrap().modules.into_iter().collect()
    }

    #[test]
    fn modules_of_every_kernel_are_found_in_every_form() {
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let early = made(&[("kernel/x86/microcode/GenuineIntel.bin", b"code")]);
        let one = made(&[("lib/modules/6.1/kernel/a.ko", b"a"), ("lib/modules/6.1/modules.dep", b"")]);
        let two = made(&[("./usr/lib/modules/6.2/b.ko.zst", b"b")]);
        for bytes in [
            [early.clone(), one.clone(), two.clone()].concat(),
            [early.clone(), vec![0; 512], gzip(&one), xz(&two)].concat(),
            [early.clone(), zstd(&[one.clone(), two.clone()].concat())].concat(),
            [xz(&one), vec![0; 7], zstd(&two)].concat(),
        ] {
            assert_eq!(modules(&bytes), ["6.1", "6.2"]);
        }
        // Lists alone are no modules.
        assert_eq!(modules(&made(&[("lib/modules/6.1/modules.dep", b"")])), Vec::<String>::new());
    }

    #[test]
    fn the_agent_is_known_by_its_name_or_by_what_it_says() {
        let agent = |files: &[(&str, &[u8])]| seen(&made(files)).unwrap().agent;
        assert!(agent(&[("usr/bin/kata-agent", b"")]));
        let long = [vec![b'x'; (1 << 16) - 4], b"kata-agent".to_vec()].concat();
        assert!(agent(&[("sbin/init", &long)]) && agent(&[("init", &long)]));
        assert!(!agent(&[("init", b"#!/bin/sh\n"), ("etc/kata", b"kata-agent")]));
    }

    #[test]
    fn what_is_none_or_too_much_is_an_error() {
        for (bytes, why) in [
            (b"".to_vec(), "it is empty"),
            (vec![0; 1000], "it is empty"),
            (b"kernel".to_vec(), NONE),
            (b"07".to_vec(), "failed to fill"),
            (b"\x02\x21\x4c\x18 lz4".to_vec(), "compressed by lz4"),
            (entry("a", 0o100_644, b"a"), "failed to fill"),
        ] {
            let said = seen(&bytes).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
        let whole = made(&[("lib/modules/6.1/a.ko", b"a")]);
        for cut in 1..whole.len() - 4 {
            assert!(seen(&whole[..cut]).is_err(), "{cut}");
        }
        // A file that says that it is larger than there is, and one that really is.
        let huge = [&made(&[])[..54], b"FFFFFFFF"].concat();
        assert!(seen(&[huge, made(&[])[62..].to_vec()].concat()).is_err());
        for bomb in [vec![0; (1 << 20) + 1], made(&[("a", &vec![1; 1 << 20])])] {
            for bytes in [zstd::encode_all(bomb.as_slice(), 1).unwrap(), xz(&bomb), gzip(&bomb)] {
                assert!(bytes.len() < 10_000);
                assert!(seen(&bytes).unwrap_err().to_string().contains("more than any initrd"));
            }
        }
    }
}
