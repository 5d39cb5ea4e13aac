//! An initrd that was made elsewhere, with its files: later entries replace earlier ones, and of several hard links
//! only one carries the content.
//!
//! Kata's initrd unpacks to some 130 MB, so only the requested files are kept in memory.

use operator::initrd::archives::{self, InitrdEntry, InitrdLimits};
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

/// Limits for an initrd. Kata's largest, for confidential guests, has a tenth of these bytes, and a whole distro some
/// ten thousand files.
const LIMITS: InitrdLimits = InitrdLimits { bytes: 2 << 30, entries: 500_000 };
/// Maximum number of links followed to reach a file, as in the kernel (`MAXSYMLINKS`).
const LINKS: usize = 40;
/// Maximum length of a link's target in bytes; the kernel makes no link with a longer one (`PATH_MAX`).
const TARGET: u64 = 4096;
/// Size limit of a file that is kept, in bytes; Kata's agent has some 60 MB.
const KEPT: u64 = 512 << 20;
const KIND: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// The files of an initrd.
#[derive(Debug, Default)]
pub struct InitrdFiles {
    /// Contents of files and targets of links; empty for a file that was not requested.
    contents: Vec<Vec<u8>>,
    /// Entries by path, without a leading slash.
    nodes: BTreeMap<String, Node>,
}

/// A file, directory, link or device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    mode: u32,
    /// Index into the contents.
    content: usize,
}

/// Indexes into the contents of files with hard links, by archive, device and inode.
type Shared = BTreeMap<(usize, [u32; 3]), usize>;

impl InitrdFiles {
    /// Reads an initrd with any of the kernel's compressions that Kata and distros use: none, gzip, xz, zstd.
    ///
    /// Only regular files whose content is accepted by `holds` are kept; the others appear empty.
    ///
    /// # Errors
    /// If the data is no such archive, is truncated, or unpacks to more than 2 GiB or too many files; the error has the
    /// position in the file.
    pub fn read(file: &mut dyn BufRead, holds: fn(&[u8]) -> bool) -> io::Result<InitrdFiles> {
        let mut initrd = InitrdFiles::default();
        let mut shared = Shared::new();
        archives::read(file, LIMITS, &mut |entry, content| initrd.add(entry, content, &mut shared, holds))
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
        Ok(initrd)
    }

    /// Returns the paths of all entries, without a leading slash, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// Returns whether the path exists, without following a link.
    pub fn has(&self, path: &str) -> bool {
        self.nodes.contains_key(plain(path))
    }

    /// Returns a regular file's content and permissions; links in the path are followed inside the initrd.
    pub fn file(&self, path: &str) -> Option<(&[u8], u32)> {
        let node = self.nodes.get(&self.resolve(path)?)?;
        (node.mode & KIND == FILE).then(|| (self.content(*node), node.mode & 0o7777))
    }

    /// Resolves the links in a path; `None` if they lead to nothing.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut remaining: Vec<String> = words(path).rev().map(str::to_owned).collect();
        let mut resolved: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(word) = remaining.pop() {
            if word == ".." {
                resolved.pop();
                continue;
            }
            resolved.push(word);
            let here = resolved.join("/");
            match self.nodes.get(&here) {
                Some(node) if node.mode & KIND == LINK => {
                    links += 1;
                    let target = std::str::from_utf8(self.content(*node)).ok().filter(|_| links <= LINKS)?;
                    resolved.pop();
                    if target.starts_with('/') {
                        resolved.clear();
                    }
                    remaining.extend(words(target.trim_end_matches('\0')).rev().map(str::to_owned));
                }
                Some(_) => {}
                None => return None,
            }
        }
        Some(resolved.join("/"))
    }

    fn content(&self, node: Node) -> &[u8] {
        self.contents.get(node.content).map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds an entry.
    fn add(
        &mut self,
        entry: &InitrdEntry,
        content: &mut dyn Read,
        shared: &mut Shared,
        holds: fn(&[u8]) -> bool,
    ) -> io::Result<()> {
        let path = plain(&entry.name).to_owned();
        if path.is_empty() {
            return Ok(());
        }
        let kind = entry.mode & KIND;
        let most = match kind {
            FILE => KEPT,
            LINK => TARGET,
            _ => 0,
        };
        let mut bytes = Vec::new();
        content.take(most + 1).read_to_end(&mut bytes)?;
        let is_larger = bytes.len() as u64 > most;
        if is_larger && kind == LINK {
            return Ok(());
        }
        let has_content = !bytes.is_empty();
        if is_larger || kind == FILE && !holds(&bytes) {
            bytes = Vec::new();
        }
        let next = self.contents.len();
        let is_shared = kind == FILE && entry.links > 1;
        let index = if is_shared { *shared.entry((entry.archive, entry.file)).or_insert(next) } else { next };
        match self.contents.get_mut(index) {
            // One name of several has the content.
            Some(known) if has_content => *known = bytes,
            Some(_) => {}
            None => self.contents.push(bytes),
        }
        self.nodes.insert(path, Node { mode: entry.mode, content: index });
        Ok(())
    }
}

/// Returns a path without a leading `./` or slash and without trailing slashes.
fn plain(path: &str) -> &str {
    let path = path.strip_prefix("./").unwrap_or(path).trim_matches('/');
    if path == "." { "" } else { path }
}

fn words(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|word| !["", "."].contains(word))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write as _;

    const FOLDER: u32 = 0o040_000;

    /// An entry of a test archive: path, mode, inode with its number of hard links, content.
    pub(crate) type Made<'a> = (&'a str, u32, (u32, u32), &'a [u8]);

    /// Reads an initrd and keeps all files.
    pub(crate) fn read(bytes: impl AsRef<[u8]>) -> io::Result<InitrdFiles> {
        InitrdFiles::read(&mut bytes.as_ref(), |_| true)
    }

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

    /// Returns an initrd with a merged `/usr`, as in a distro, and `/init` as a link.
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
    fn links_are_followed_inside_the_initrd() {
        let initrd = read(merged_usr()).unwrap();
        assert_eq!(initrd.resolve("/init").unwrap(), "usr/bin/init");
        assert_eq!(initrd.file("/sbin/../bin/./init").unwrap(), (b"agent".as_slice(), 0o755));
        assert!(initrd.has("bin") && !initrd.has("bin/init"), "`has` follows nothing");
        assert_eq!(initrd.file("/bin"), None, "it is a folder, not a file");
        let circle = archive(&[("a", LINK, (1, 1), b"b"), ("b", LINK, (2, 1), b"a")]);
        assert_eq!(read(circle).unwrap().resolve("a"), None);
        let out = archive(&[("a", LINK, (1, 1), b"../../etc/passwd")]);
        assert_eq!(read(out).unwrap().resolve("a"), None);
    }

    #[test]
    fn hard_links_share_the_content_of_the_entry_that_has_it() {
        let last = archive(&[("a", FILE, (9, 2), b""), ("x", FILE, (1, 1), b""), ("b", FILE, (9, 2), b"both")]);
        let first = archive(&[("a", FILE, (9, 2), b"both"), ("b", FILE, (9, 2), b"")]);
        for bytes in [last, first] {
            let initrd = read(bytes).unwrap();
            assert_eq!(initrd.file("a").unwrap().0, b"both");
            assert_eq!(initrd.file("b").unwrap().0, b"both");
        }
        // The same inode number in another archive is another file.
        let mut two = archive(&[("a", FILE, (9, 2), b"one"), ("b", FILE, (9, 2), b"")]);
        two.extend(archive(&[("c", FILE, (9, 2), b"")]));
        assert_eq!(read(two).unwrap().file("c").unwrap().0, b"");
    }

    #[test]
    fn a_hostile_initrd_costs_neither_memory_nor_time() {
        // The kernel makes no link with such a target; its words would fill the memory.
        let long = "a/".repeat(2_100);
        let fitting = format!("{}x", "./".repeat(2_000));
        let links = archive(&[
            ("long", LINK, (1, 1), long.as_bytes()),
            ("fitting", LINK, (2, 1), fitting.as_bytes()),
            ("x", FILE, (3, 1), b"file"),
        ]);
        let initrd = read(links).unwrap();
        assert!(!initrd.has("long"));
        assert_eq!(initrd.file("fitting").unwrap().0, b"file");
        // Each of many names of one file brings content: the work grows with their number, not with its square.
        let names: Vec<String> = (0..50_000).map(|number| number.to_string()).collect();
        let entries: Vec<Made<'_>> = names.iter().map(|name| (name.as_str(), FILE, (9, 2), b"c".as_slice())).collect();
        let (sender, receiver) = std::sync::mpsc::channel();
        let bytes = archive(&entries);
        std::thread::spawn(move || sender.send(read(bytes).unwrap().contents.len()));
        assert_eq!(receiver.recv_timeout(std::time::Duration::from_secs(60)), Ok(1));
    }

    #[test]
    fn only_files_that_match_the_filter_are_kept_in_memory() {
        let made = archive(&[
            ("large", FILE, (1, 1), b"nobody asked"),
            ("agent", FILE, (2, 2), b"agent"),
            ("second", FILE, (2, 2), b""),
            ("link", LINK, (3, 1), b"second"),
        ]);
        let initrd = InitrdFiles::read(&mut gzip(&made).as_slice(), |content| content == b"agent").unwrap();
        assert_eq!(initrd.file("link").unwrap().0, b"agent");
        assert_eq!(initrd.file("large").unwrap().0, b"");
        assert_eq!(initrd.contents.concat(), b"agentsecond", "the file, and where the link leads");
    }

    #[test]
    fn concatenated_archives_are_read_compressed_or_not() {
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
            let initrd = read(bytes).unwrap();
            assert_eq!(initrd.paths().collect::<Vec<_>>(), ["one", "same", "three", "two"]);
            assert_eq!(initrd.file("same").unwrap().0, b"late", "the later one counts");
        }
    }

    #[test]
    fn truncated_or_invalid_archives_are_refused() {
        let whole = gzip(&merged_usr());
        for cut in [1, 20, whole.len() / 2, whole.len() - 1] {
            assert!(read(&whole[..cut]).is_err(), "{cut}");
        }
        let plain = merged_usr();
        // The last three bytes are the trailer's padding, which may be missing.
        for cut in 1..plain.len() - 3 {
            assert!(read(&plain[..cut]).is_err(), "{cut}");
        }
        let mut noise = plain.clone();
        noise.extend(b"noise");
        let error = read(noise).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the archive at byte {}: expected a newc archive", plain.len())), "{error}");
    }
}
