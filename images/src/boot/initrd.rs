//! An initrd that was made elsewhere, read as the kernel unpacks it: `cpio` archives one after the other, compressed or
//! not.
//!
//! The rules are those of `init/initramfs.c`: zeros between archives are skipped, an archive that is not compressed begins
//! at a multiple of four bytes, what comes later replaces what came before, and of a file with several names one name
//! carries the content.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;

/// What an initrd may unpack to: Kata's largest, for confidential guests, has a tenth of it.
const BYTES: usize = 2 << 30;
/// Entries at most: a whole distro has some ten thousands.
const ENTRIES: usize = 500_000;
/// Links followed on the way to one file, as the kernel does (`MAXSYMLINKS`).
const LINKS: usize = 40;
const KIND: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// The files of an initrd.
#[derive(Debug, Default)]
pub struct Initrd {
    /// The initrd as it is, and what its compressed archives unpack to.
    archives: Vec<Vec<u8>>,
    /// By path, without a slash at its beginning.
    entries: BTreeMap<String, Entry>,
}

/// A file, folder, link or node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    mode: u32,
    /// Which archive has the content, and where.
    archive: usize,
    content: Range<usize>,
}

impl Initrd {
    /// Reads an initrd of any of the kernel's compressions that Kata and distros use: none, gzip, xz, zstd.
    ///
    /// # Errors
    /// What is no such archive, is cut short, or unpacks to more than 2 GiB; with the place in the file.
    pub fn read(bytes: Vec<u8>) -> io::Result<Initrd> {
        let mut initrd = Initrd { archives: vec![bytes], entries: BTreeMap::new() };
        let mut left = BYTES;
        let mut at = 0;
        while at < initrd.archives[0].len() {
            let rest = &initrd.archives[0][at..];
            let wrong = |e: io::Error| io::Error::new(e.kind(), format!("the archive at byte {at}: {e}"));
            if rest[0] == 0 {
                at += 1;
            } else if rest[0] == b'0' && at.is_multiple_of(4) {
                at = initrd.take(0, at, Ends::AtTrailer).map_err(wrong)?;
            } else {
                let (unpacked, taken) = decompress(rest, left).map_err(wrong)?;
                left -= unpacked.len();
                initrd.archives.push(unpacked);
                initrd.take(initrd.archives.len() - 1, 0, Ends::WithItsBytes).map_err(wrong)?;
                at += taken;
            }
        }
        Ok(initrd)
    }

    /// The bytes that were read.
    pub fn into_bytes(self) -> Vec<u8> {
        self.archives.into_iter().next().unwrap_or_default()
    }

    /// The paths of everything in it, without a slash at the beginning, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is anything of that path, without following a link.
    pub fn has(&self, path: &str) -> bool {
        self.entries.contains_key(plain(path))
    }

    /// A regular file's content and permissions; links on the way, folders' too, are followed inside the initrd.
    pub fn file(&self, path: &str) -> Option<(&[u8], u32)> {
        let entry = &self.entries[&self.resolve(path)?];
        (entry.mode & KIND == FILE).then(|| (self.content(entry), entry.mode & 0o7777))
    }

    /// Where a path leads when the links on it are followed; nothing, if they lead to nothing.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut left: Vec<String> = words(path).rev().map(str::to_owned).collect();
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(word) = left.pop() {
            if word == ".." {
                done.pop();
                continue;
            }
            done.push(word);
            let here = done.join("/");
            match self.entries.get(&here) {
                Some(entry) if entry.mode & KIND == LINK => {
                    links += 1;
                    let target = std::str::from_utf8(self.content(entry)).ok().filter(|_| links <= LINKS)?;
                    done.pop();
                    if target.starts_with('/') {
                        done.clear();
                    }
                    left.extend(words(target.trim_end_matches('\0')).rev().map(str::to_owned));
                }
                Some(_) => {}
                None => return None,
            }
        }
        Some(done.join("/"))
    }

    fn content(&self, entry: &Entry) -> &[u8] {
        &self.archives[entry.archive][entry.content.clone()]
    }

    /// Takes the entries of one piece from a place on; gives the place after it.
    fn take(&mut self, archive: usize, mut at: usize, ends: Ends) -> io::Result<usize> {
        let Initrd { archives, entries } = self;
        let bytes = &archives[archive];
        let mut linked: BTreeMap<(u32, u32, u32), Vec<String>> = BTreeMap::new();
        loop {
            match bytes.get(at) {
                None if ends == Ends::WithItsBytes => break,
                Some(0) => {
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let reader = cpio::NewcReader::new(bytes.get(at..).unwrap_or_default())?;
            let head = reader.entry().clone();
            let size = head.file_size() as usize;
            let next = bytes.len() - reader.finish()?.len();
            if head.is_trailer() {
                linked.clear();
                at = next;
                if ends == Ends::AtTrailer {
                    break;
                }
                continue;
            }
            if size > next - at {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // The content lies before its own padding.
            let end = next - (size.next_multiple_of(4) - size);
            let entry = Entry { mode: head.mode(), archive, content: end - size..end };
            at = next;
            let path = plain(head.name()).to_owned();
            if path.is_empty() {
                continue;
            }
            if entries.len() >= ENTRIES {
                return Err(io::Error::other("it has more files than any initrd of Kata"));
            }
            if entry.mode & KIND == FILE && head.nlink() > 1 {
                let names = linked.entry((head.dev_major(), head.dev_minor(), head.ino())).or_default();
                names.push(path.clone());
                if size > 0 {
                    for name in names.iter() {
                        entries.insert(name.clone(), entry.clone());
                    }
                } else if let Some(known) = names.first().and_then(|name| entries.get(name)).cloned() {
                    entries.insert(path, known);
                    continue;
                }
            }
            entries.insert(path, entry);
        }
        Ok(at)
    }
}

/// Where a piece of an initrd ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// After the first trailer: another piece may follow.
    AtTrailer,
    /// With its last byte: it was decompressed.
    WithItsBytes,
}

/// A path without what makes it absolute or relative.
fn plain(path: &str) -> &str {
    let path = path.strip_prefix("./").unwrap_or(path).trim_matches('/');
    if path == "." { "" } else { path }
}

fn words(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|word| !["", "."].contains(word))
}

/// Decompresses one piece, of `limit` bytes at most; gives it and how many bytes it took.
fn decompress(bytes: &[u8], limit: usize) -> io::Result<(Vec<u8>, usize)> {
    let mut out = Vec::new();
    let mut read = |from: &mut dyn Read| {
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        from.take(most.saturating_add(1)).read_to_end(&mut out)?;
        if out.len() > limit {
            return Err(io::Error::other("it unpacks to more than any initrd of Kata"));
        }
        Ok(())
    };
    let left = match bytes {
        [0x1f, 0x8b, ..] => {
            let mut reader = flate2::bufread::GzDecoder::new(bytes);
            read(&mut reader)?;
            reader.into_inner().len()
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut reader = zstd::stream::read::Decoder::with_buffer(bytes)?.single_frame();
            read(&mut reader)?;
            reader.finish().len()
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let mut reader = liblzma::bufread::XzDecoder::new(bytes);
            read(&mut reader)?;
            reader.into_inner().len()
        }
        _ => return Err(io::Error::other("expected a newc archive, plain or compressed by gzip, xz or zstd")),
    };
    Ok((out, bytes.len() - left))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write as _;

    const FOLDER: u32 = 0o040_000;

    /// What a made archive has: path, mode, inode with its number of names, content.
    pub(crate) type Made<'a> = (&'a str, u32, (u32, u32), &'a [u8]);

    pub(crate) fn archive(entries: &[Made<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (path, mode, (ino, links), content) in entries {
            let builder = cpio::NewcBuilder::new(path).mode(*mode).ino(*ino).nlink(*links);
            let mut writer = builder.write(&mut out, content.len() as u32);
            writer.write_all(content).unwrap();
            writer.finish().unwrap();
        }
        cpio::newc::trailer(out).unwrap()
    }

    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(bytes).unwrap();
        gz.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(bytes).unwrap();
        xz.finish().unwrap()
    }

    /// A merged `/usr` as a distro's, with `/init` as a link.
    pub(crate) fn merged_usr() -> Vec<u8> {
        archive(&[
            (".", FOLDER | 0o755, (1, 2), b""),
            ("./usr", FOLDER | 0o755, (2, 2), b""),
            ("./usr/bin", FOLDER | 0o755, (3, 2), b""),
            ("./bin", LINK | 0o777, (4, 1), b"usr/bin"),
            ("./sbin", LINK | 0o777, (5, 1), b"/usr/bin"),
            ("./usr/bin/init", FILE | 0o755, (6, 1), b"agent"),
            ("./init", LINK | 0o777, (7, 1), b"/sbin/init"),
        ])
    }

    #[test]
    fn links_of_files_and_folders_are_followed_inside() {
        let initrd = Initrd::read(merged_usr()).unwrap();
        assert_eq!(initrd.resolve("/init").unwrap(), "usr/bin/init");
        assert_eq!(initrd.file("/sbin/../bin/./init").unwrap(), (b"agent".as_slice(), 0o755));
        assert!(initrd.has("bin") && !initrd.has("bin/init"), "`has` follows nothing");
        assert_eq!(initrd.file("/bin"), None, "a folder is no file");
        let circle = archive(&[("a", LINK, (1, 1), b"b"), ("b", LINK, (2, 1), b"a")]);
        assert_eq!(Initrd::read(circle).unwrap().resolve("a"), None);
        let out = archive(&[("a", LINK, (1, 1), b"../../etc/passwd")]);
        assert_eq!(Initrd::read(out).unwrap().resolve("a"), None);
    }

    #[test]
    fn of_several_names_one_carries_the_content() {
        let last = archive(&[("a", FILE, (9, 2), b""), ("x", FILE, (1, 1), b""), ("b", FILE, (9, 2), b"both")]);
        let first = archive(&[("a", FILE, (9, 2), b"both"), ("b", FILE, (9, 2), b"")]);
        for bytes in [last, first] {
            let initrd = Initrd::read(bytes).unwrap();
            assert_eq!(initrd.file("a").unwrap().0, b"both");
            assert_eq!(initrd.file("b").unwrap().0, b"both");
        }
        // Another archive's inode of that number is another file.
        let mut two = archive(&[("a", FILE, (9, 2), b"one"), ("b", FILE, (9, 2), b"")]);
        two.extend(archive(&[("c", FILE, (9, 2), b"")]));
        assert_eq!(Initrd::read(two).unwrap().file("c").unwrap().0, b"");
    }

    #[test]
    fn archives_follow_each_other_compressed_or_not_padded_or_not() {
        let (one, two, three) = (
            archive(&[("one", FILE, (1, 1), b"1"), ("same", FILE, (2, 1), b"early")]),
            archive(&[("two", FILE, (1, 1), b"2")]),
            archive(&[("three", FILE, (1, 1), b"3"), ("same", FILE, (2, 1), b"late")]),
        );
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let together = |pieces: &[Vec<u8>]| pieces.concat();
        for bytes in [
            together(&[one.clone(), two.clone(), three.clone()]),
            together(&[one.clone(), gzip(&two), gzip(&three)]),
            together(&[gzip(&one), zstd(&two), xz(&three)]),
            together(&[one.clone(), vec![0; 512], zstd(&[two.clone(), three.clone()].concat())]),
        ] {
            let initrd = Initrd::read(bytes).unwrap();
            assert_eq!(initrd.paths().collect::<Vec<_>>(), ["one", "same", "three", "two"]);
            assert_eq!(initrd.file("same").unwrap().0, b"late", "the later one counts");
        }
    }

    #[test]
    fn what_is_cut_short_or_no_archive_is_an_error_with_its_place() {
        let whole = gzip(&merged_usr());
        for cut in [1, 20, whole.len() / 2, whole.len() - 1] {
            assert!(Initrd::read(whole[..cut].to_vec()).is_err(), "{cut}");
        }
        let plain = merged_usr();
        for cut in 1..plain.len() {
            assert!(Initrd::read(plain[..cut].to_vec()).is_err(), "{cut}");
        }
        let mut noise = plain.clone();
        noise.extend(b"noise");
        let error = Initrd::read(noise).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the archive at byte {}: expected a newc archive", plain.len())), "{error}");
    }
}
