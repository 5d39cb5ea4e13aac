//! Examines an initrd: the kernels for which it has modules, and whether it contains Kata's agent.

pub mod archives;

use self::archives::{InitrdEntry, InitrdErrorKind, InitrdLimits};
use crate::configure::Initrd;
use root::Root;
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// An ordinary initrd has a fifth of these bytes, and a whole distro has tens of thousands of files.
const LIMITS: InitrdLimits = InitrdLimits { bytes: 1 << 30, entries: 500_000 };
/// Maximum number of kernels counted in one initrd.
const KERNELS: usize = 64;

/// Examines an initrd of a root.
pub fn look(root: &Root, path: &Path) -> Initrd {
    let found = match root.file(path) {
        Ok(file) => read(&mut BufReader::with_capacity(1 << 16, file), LIMITS),
        Err(error) => return Initrd::Unread(error.to_string()),
    };
    match found {
        Ok(Contents { modules, agent }) => Initrd::Has { modules, agent },
        Err(error @ InitrdErrorKind::Foreign(_)) => Initrd::Unread(error.to_string()),
        Err(InitrdErrorKind::Broken(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Initrd::Broken("it is cut short".to_owned())
        }
        Err(InitrdErrorKind::Broken(error)) => Initrd::Broken(error.to_string()),
    }
}

/// The findings so far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    modules: BTreeSet<String>,
    agent: bool,
}

fn read(file: &mut dyn BufRead, limits: InitrdLimits) -> Result<Contents, InitrdErrorKind> {
    let mut found = Contents::default();
    let count = archives::read(file, limits, &mut |entry, content| found.see(entry, content)).map_err(|e| e.cause)?;
    if count == 0 {
        return Err(io::Error::other("it is empty").into());
    }
    Ok(found)
}

impl Contents {
    fn see(&mut self, entry: &InitrdEntry, content: &mut dyn Read) -> io::Result<()> {
        if entry.mode & 0o170_000 != 0o100_000 {
            return Ok(());
        }
        let name = entry.name.trim_start_matches("./").trim_start_matches('/');
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

/// Checks for the agent, which contains its own name for its log.
fn is_agent(content: &mut dyn Read) -> io::Result<bool> {
    const NAME: &[u8] = b"kata-agent";
    let mut buffer = vec![0; 1 << 16];
    let mut overlap = 0;
    loop {
        let count = content.read(&mut buffer[overlap..])?;
        if count == 0 {
            return Ok(false);
        }
        let end = overlap + count;
        if memchr::memmem::find(&buffer[..end], NAME).is_some() {
            return Ok(true);
        }
        overlap = end.min(NAME.len() - 1);
        buffer.copy_within(end - overlap..end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::archives::NONE;
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

    fn cpio(files: &[(&str, &[u8])]) -> Vec<u8> {
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

    /// Also reads with a buffer so small that every magic number is split.
    fn read_both_ways(bytes: &[u8]) -> Result<Contents, InitrdErrorKind> {
        let limits = InitrdLimits { bytes: 1 << 20, entries: 100 };
        let read_with = |capacity| read(&mut BufReader::with_capacity(capacity, bytes), limits);
        let (small, large) = (read_with(3), read_with(1 << 16));
        assert_eq!(small.is_ok(), large.is_ok());
        if let (Ok(small), Ok(large)) = (&small, &large) {
            assert_eq!(small, large);
        }
        large
    }

    fn modules(bytes: &[u8]) -> Vec<String> {
        read_both_ways(bytes).unwrap().modules.into_iter().collect()
    }

    #[test]
    fn modules_of_all_kernels_are_found_in_every_archive_format() {
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        let early = cpio(&[("kernel/x86/microcode/GenuineIntel.bin", b"code")]);
        let one = cpio(&[("lib/modules/6.1/kernel/a.ko", b"a"), ("lib/modules/6.1/modules.dep", b"")]);
        let two = cpio(&[("./usr/lib/modules/6.2/b.ko.zst", b"b")]);
        for bytes in [
            [early.clone(), one.clone(), two.clone()].concat(),
            [early.clone(), vec![0; 512], gzip(&one), xz(&two)].concat(),
            [early.clone(), zstd(&[one.clone(), two.clone()].concat())].concat(),
            [xz(&one), vec![0; 7], zstd(&two)].concat(),
        ] {
            assert_eq!(modules(&bytes), ["6.1", "6.2"]);
        }
        // Lists of modules alone are no modules.
        assert_eq!(modules(&cpio(&[("lib/modules/6.1/modules.dep", b"")])), Vec::<String>::new());
    }

    #[test]
    fn the_agent_is_recognized_by_its_name_or_its_content() {
        let agent = |files: &[(&str, &[u8])]| read_both_ways(&cpio(files)).unwrap().agent;
        assert!(agent(&[("usr/bin/kata-agent", b"")]));
        let long = [vec![b'x'; (1 << 16) - 4], b"kata-agent".to_vec()].concat();
        assert!(agent(&[("sbin/init", &long)]) && agent(&[("init", &long)]));
        assert!(!agent(&[("init", b"#!/bin/sh\n"), ("etc/kata", b"kata-agent")]));
    }

    #[test]
    fn an_invalid_truncated_or_oversized_initrd_is_an_error() {
        for (bytes, why) in [
            (b"".to_vec(), "it is empty"),
            (vec![0; 1000], "it is empty"),
            (b"kernel".to_vec(), NONE),
            (b"07".to_vec(), "failed to fill"),
            (b"\x02\x21\x4c\x18 lz4".to_vec(), "compressed by lz4"),
            (entry("a", 0o100_644, b"a"), "failed to fill"),
        ] {
            let error = read_both_ways(&bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let whole = cpio(&[("lib/modules/6.1/a.ko", b"a")]);
        for cut in 1..whole.len() - 4 {
            assert!(read_both_ways(&whole[..cut]).is_err(), "{cut}");
        }
        // A file that claims to be larger than the archive, and files that really unpack to too much.
        let huge = [&cpio(&[])[..54], b"FFFFFFFF"].concat();
        assert!(read_both_ways(&[huge, cpio(&[])[62..].to_vec()].concat()).is_err());
        for bomb in [vec![0; (1 << 20) + 1], cpio(&[("a", &vec![1; 1 << 20])])] {
            for bytes in [zstd::encode_all(bomb.as_slice(), 1).unwrap(), xz(&bomb), gzip(&bomb)] {
                assert!(bytes.len() < 10_000);
                assert!(read_both_ways(&bytes).unwrap_err().to_string().contains("more than any initrd"));
            }
        }
    }

    #[test]
    fn decoders_and_paths_are_limited() {
        let gz = gzip(&cpio(&[("lib/modules/6.1/a.ko", b"a")]));
        assert!(read_both_ways(&gz.repeat(100)).is_ok());
        let error = read_both_ways(&gzip(b"").repeat(1_001)).unwrap_err().to_string();
        assert!(error.contains("more than 1000 archives"), "{error}");
        let long = "x".repeat(4_095);
        let paths = |count: usize| cpio(&vec![(long.as_str(), b"".as_slice()); count]);
        assert!(read_both_ways(&paths(6)).is_ok());
        let error = read_both_ways(&paths(7)).unwrap_err().to_string();
        assert!(error.contains("paths are longer"), "{error}");
    }

    #[test]
    fn too_many_files_and_a_misaligned_archive_are_errors() {
        let files = |count: usize| cpio(&vec![("a", b"".as_slice()); count]);
        assert!(read_both_ways(&files(100)).is_ok());
        assert!(read_both_ways(&files(101)).unwrap_err().to_string().contains("more than 100 files"));
        let odd = [cpio(&[]), vec![0; 3], cpio(&[])].concat();
        assert!(read_both_ways(&odd).unwrap_err().to_string().contains(NONE), "not at a multiple of four bytes");
    }
}
