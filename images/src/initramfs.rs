//! The guest's initramfs: one program as PID 1 and the modules that its kernel needs.

use crate::error::{Cause, Failure, ImageError, Phase};
use crate::modules::{self, Resolution};
use cpio::NewcBuilder;
use cpio::newc::trailer;
use std::collections::BTreeSet;
use std::io::Write;

/// The folders that every guest has.
const FOLDERS: [&str; 10] = ["dev", "etc", "mnt", "modules", "proc", "root", "run", "sys", "tmp", "var"];
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// A file to put into the initramfs besides `/init` and the modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraFile {
    /// Absolute; its folders are made.
    pub path: String,
    /// The permission bits: `0o755`.
    pub mode: u32,
    /// The bytes.
    pub content: Vec<u8>,
}

/// Builds the initramfs: a `newc` archive, not compressed, the same bytes for the same input.
///
/// `/init` is `init`, `/modules/NN-name.ko` are the decompressed modules, and `/modules/order` lists their file names
/// in the order of loading, one a line.
///
/// # Errors
/// A module that cannot be read or decompressed, or an extra file whose path is not absolute or is already taken.
pub fn build(init: &[u8], modules: &Resolution, extra: &[ExtraFile]) -> Result<Vec<u8>, ImageError> {
    let loaded = modules::load(&modules.load_order)?;
    archive(init, modules, &loaded, extra).map_err(|f| ImageError::new("the guest", Phase::Record, f))
}

fn archive(init: &[u8], modules: &Resolution, loaded: &[Vec<u8>], extra: &[ExtraFile]) -> Result<Vec<u8>, Failure> {
    let size: usize = loaded.iter().map(Vec::len).sum::<usize>() + extra.iter().map(|e| e.content.len()).sum::<usize>();
    let mut image = Writer { out: Vec::with_capacity(size + init.len() + 65536), next: 1, taken: BTreeSet::new() };
    for folder in FOLDERS {
        // `/tmp` is everybody's, `/root` is root's.
        let mode = match folder {
            "tmp" => 0o1777,
            "root" => 0o700,
            _ => 0o755,
        };
        image.entry(folder, FOLDER | mode, None, &[])?;
    }
    // The kernel opens it for PID 1's standard streams before anything can be mounted.
    image.entry("dev/console", CHARACTER_DEVICE | 0o600, Some((5, 1)), &[])?;
    image.entry("dev/null", CHARACTER_DEVICE | 0o666, Some((1, 3)), &[])?;
    image.entry("init", FILE | 0o755, None, init)?;
    let mut order = String::new();
    for (n, (module, bytes)) in modules.load_order.iter().zip(loaded).enumerate() {
        let name = format!("{n:02}-{}.ko", module.name);
        image.entry(&format!("modules/{name}"), FILE | 0o644, None, bytes)?;
        order.push_str(&name);
        order.push('\n');
    }
    image.entry("modules/order", FILE | 0o644, None, order.as_bytes())?;
    for file in extra {
        let refuse = |reason: &str| Cause::BadOverlay { path: file.path.clone(), reason: reason.to_owned() };
        let path = file.path.strip_prefix('/').ok_or_else(|| refuse("expected an absolute path"))?;
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|p| ["", ".", ".."].contains(p)) {
            return Err(refuse("expected a plain absolute path").into());
        }
        for depth in 1..parts.len() {
            let folder = parts[..depth].join("/");
            if !image.taken.contains(&folder) {
                image.entry(&folder, FOLDER | 0o755, None, &[])?;
            }
        }
        if image.taken.contains(path) {
            return Err(refuse("is there already").into());
        }
        image.entry(path, FILE | (file.mode & 0o7777), None, &file.content)?;
    }
    trailer(image.out).map_err(io_failure)
}

struct Writer {
    out: Vec<u8>,
    next: u32,
    taken: BTreeSet<String>,
}

impl Writer {
    fn entry(&mut self, name: &str, mode: u32, device: Option<(u32, u32)>, content: &[u8]) -> Result<(), Failure> {
        let (major, minor) = device.unwrap_or_default();
        let links = if mode & 0o170_000 == FOLDER { 2 } else { 1 };
        // Times, owners and inode numbers are fixed: the archive depends on nothing but its content.
        let builder = NewcBuilder::new(name)
            .ino(self.next)
            .mode(mode)
            .uid(0)
            .gid(0)
            .nlink(links)
            .mtime(0)
            .rdev_major(major)
            .rdev_minor(minor);
        let size = u32::try_from(content.len()).map_err(|e| io_failure(std::io::Error::other(e)))?;
        let mut writer = builder.write(&mut self.out, size);
        writer.write_all(content).map_err(io_failure)?;
        writer.finish().map_err(io_failure)?;
        self.next += 1;
        self.taken.insert(name.to_owned());
        Ok(())
    }
}

fn io_failure(source: std::io::Error) -> Failure {
    Cause::Io { context: "writing the initramfs".to_owned(), source }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::NewcReader;
    use std::collections::BTreeMap;
    use std::io::Read;

    fn sample(extra: &[ExtraFile]) -> Result<Vec<u8>, ImageError> {
        let dir = modules::tests::tree();
        let found = modules::resolve(dir.path(), &["virtiofs".to_owned()]).unwrap();
        build(b"#!init", &found, extra)
    }

    fn file(path: &str) -> ExtraFile {
        ExtraFile { path: path.to_owned(), mode: 0o640, content: b"x".to_vec() }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let bytes = sample(&[file("/etc/kata/deep/file")]).unwrap();
        let mut found = BTreeMap::new();
        let mut names = Vec::new();
        let mut rest: &[u8] = &bytes;
        loop {
            let mut reader = NewcReader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let name = reader.entry().name().to_owned();
            let (mode, device) = (reader.entry().mode(), (reader.entry().rdev_major(), reader.entry().rdev_minor()));
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            rest = reader.finish().unwrap();
            names.push(name.clone());
            found.insert(name, (mode, device, content));
        }
        assert_eq!(found["init"], (0o100_755, (0, 0), b"#!init".to_vec()));
        assert_eq!(found["dev/console"].1, (5, 1));
        assert_eq!(found["etc/kata/deep/file"].0, 0o100_640);
        assert_eq!(found["modules/03-virtiofs.ko"].2, modules::tests::ELF);
        let order = String::from_utf8(found["modules/order"].2.clone()).unwrap();
        assert_eq!(order, "00-virtio_ring.ko\n01-virtio.ko\n02-fuse.ko\n03-virtiofs.ko\n");
        // The kernel unpacks in order: a folder must stand before what is in it.
        let at = |n: &str| names.iter().position(|x| x == n).unwrap();
        assert!(at("etc/kata") < at("etc/kata/deep") && at("etc/kata/deep") < at("etc/kata/deep/file"));
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(sample(&[]).unwrap(), sample(&[]).unwrap());
    }

    #[test]
    fn odd_paths_are_refused() {
        for path in ["relative", "/", "/a/../b", "/init", "/etc"] {
            assert!(sample(&[file(path)]).is_err(), "{path}");
        }
    }
}
