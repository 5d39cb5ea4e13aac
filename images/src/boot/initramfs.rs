//! The guest's initramfs: one program as PID 1 and the modules that its kernel needs.

use super::modules::{self, Resolution};
use crate::error::{Failure, ImageError, ImageErrorKind, failure_of};
use crate::progress::ImagePhase;
use cpio::NewcBuilder;
use cpio::newc::trailer;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// Directories that every guest has.
const FOLDERS: [&str; 10] = ["dev", "etc", "mnt", "modules", "proc", "root", "run", "sys", "tmp", "var"];
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// A file to put into the initramfs in addition to `/init` and the modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraFile {
    /// Absolute path; its parent directories are created.
    pub path: PathBuf,
    /// Permission bits: `0o755`.
    pub mode: u32,
    /// Content of the file.
    pub content: Cow<'static, [u8]>,
}

/// Builds the initramfs in a file without a name: an uncompressed `newc` archive, reproducible byte for byte.
///
/// `/init` is `init`, `/modules/NN-name.ko` are the decompressed modules, and `/modules/order` lists their file names
/// in the order of loading, one per line.
///
/// # Errors
/// If a module cannot be read or decompressed, or the path of an extra file is not absolute or already in use.
pub fn build(init: &[u8], modules: &Resolution, extra: &[ExtraFile]) -> Result<File, ImageError> {
    in_file(modules, |out| {
        let mut image = Writer::new(out);
        image.skeleton()?;
        image.entry("init", FILE | 0o755, None, init)?;
        image.modules("modules", modules)?;
        image.files(extra)?;
        image.end()
    })
}

/// Writes an initrd into a file without a name, because the initrds of all cells in memory would take most of a run's
/// memory.
pub(crate) fn in_file(
    modules: &Resolution,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Failure>,
) -> Result<File, ImageError> {
    let written = || {
        let mut out = BufWriter::new(tempfile::tempfile().map_err(io_failure)?);
        write(&mut out)?;
        out.into_inner().map_err(|e| io_failure(e.into_error()))
    };
    written().map_err(|failure| match modules.load_order.first() {
        Some(module) => modules::failed(&module.path, failure),
        None => ImageError::new("the guest", ImagePhase::Record, failure),
    })
}

/// Builds a root filesystem to lay [`layer`] over: directories, the two device nodes that PID 1 needs, and these files.
///
/// # Errors
/// If the path of a file is not absolute or already in use.
pub(crate) fn root(files: &[ExtraFile], out: &mut dyn Write) -> Result<(), Failure> {
    let mut image = Writer::new(out);
    image.skeleton()?;
    image.files(files)?;
    image.end()
}

/// Builds an archive to append to another initrd: `/init` and one directory with the modules and `files`. It has no
/// other entries, because an entry for a directory that is a link in the initrd (as with a merged `/usr`) would remove
/// the link.
///
/// `FOLDER/modules/order` lists the modules as [`build`] does. `/init` is in the archive twice, first as a link:
/// otherwise the kernel would write through an `/init` of the other initrd that is a hard link to another file.
///
/// # Errors
/// If a module cannot be read or decompressed.
pub(crate) fn layer(
    init: &[u8],
    modules: &Resolution,
    folder: &str,
    files: &[(&str, &[u8])],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut image = Writer::new(out);
    image.entry("init", LINK | 0o777, None, folder.as_bytes())?;
    image.entry("init", FILE | 0o755, None, init)?;
    image.entry(folder, FOLDER | 0o755, None, &[])?;
    image.entry(&format!("{folder}/modules"), FOLDER | 0o755, None, &[])?;
    image.modules(&format!("{folder}/modules"), modules)?;
    for (name, content) in files {
        image.entry(&format!("{folder}/{name}"), FILE | 0o644, None, content)?;
    }
    image.end()
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    next: u32,
    written: BTreeSet<String>,
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut dyn Write) -> Writer<'a> {
        Writer { out, next: 1, written: BTreeSet::new() }
    }

    fn skeleton(&mut self) -> Result<(), Failure> {
        for folder in FOLDERS {
            // `/tmp` is writable for all, `/root` is private.
            let mode = match folder {
                "tmp" => 0o1777,
                "root" => 0o700,
                _ => 0o755,
            };
            self.entry(folder, FOLDER | mode, None, &[])?;
        }
        // The kernel opens `/dev/console` for PID 1's standard streams before anything can be mounted.
        self.entry("dev/console", CHARACTER_DEVICE | 0o600, Some((5, 1)), &[])?;
        self.entry("dev/null", CHARACTER_DEVICE | 0o666, Some((1, 3)), &[])
    }

    /// Adds the modules below an existing directory, and the list of their order.
    fn modules(&mut self, folder: &str, modules: &Resolution) -> Result<(), Failure> {
        let mut order = Vec::new();
        modules::load(modules, |module, bytes| {
            let name = format!("{:02}-{}.ko", order.len(), module.name);
            self.entry(&format!("{folder}/{name}"), FILE | 0o644, None, bytes)?;
            order.push(name + "\n");
            Ok(())
        })?;
        let order = order.concat();
        self.entry(&format!("{folder}/order"), FILE | 0o644, None, order.as_bytes())
    }

    /// Adds files with their missing parent directories.
    fn files(&mut self, files: &[ExtraFile]) -> Result<(), Failure> {
        for file in files {
            let shown = || file.path.display().to_string();
            let refuse = |reason: &str| ImageErrorKind::BadOverlay { path: shown(), reason: reason.to_owned() };
            let path = file.path.to_str().and_then(|path| path.strip_prefix('/'));
            let path = path.ok_or_else(|| refuse("expected an absolute path"))?;
            let parts: Vec<&str> = path.split('/').collect();
            if parts.iter().any(|p| ["", ".", ".."].contains(p)) {
                return Err(refuse("expected a plain absolute path").into());
            }
            for depth in 1..parts.len() {
                let folder = parts[..depth].join("/");
                if !self.written.contains(&folder) {
                    self.entry(&folder, FOLDER | 0o755, None, &[])?;
                }
            }
            if self.written.contains(path) {
                return Err(refuse("exists already").into());
            }
            self.entry(path, FILE | (file.mode & 0o7777), None, &file.content)?;
        }
        Ok(())
    }

    fn end(self) -> Result<(), Failure> {
        trailer(self.out).map(drop).map_err(io_failure)
    }

    fn entry(&mut self, name: &str, mode: u32, device: Option<(u32, u32)>, content: &[u8]) -> Result<(), Failure> {
        let (major, minor) = device.unwrap_or_default();
        let links = if mode & 0o170_000 == FOLDER { 2 } else { 1 };
        // Times, owners and inode numbers are fixed, so that the archive depends only on its content.
        let builder = NewcBuilder::new(name)
            .ino(self.next)
            .mode(mode)
            .uid(0)
            .gid(0)
            .nlink(links)
            .mtime(0)
            .rdev_major(major)
            .rdev_minor(minor);
        let size = u32::try_from(content.len()).map_err(|e| io_failure(io::Error::other(e)))?;
        let mut writer = builder.write(&mut *self.out, size);
        writer.write_all(content).map_err(io_failure)?;
        writer.finish().map_err(io_failure)?;
        self.next += 1;
        self.written.insert(name.to_owned());
        Ok(())
    }
}

fn io_failure(source: io::Error) -> Failure {
    failure_of(source, || "writing the initramfs".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::NewcReader;
    use std::collections::BTreeMap;
    use std::io::{Read as _, Seek as _};
    use std::path::Path;

    fn sample(extra: &[ExtraFile]) -> Result<Vec<u8>, ImageError> {
        let dir = modules::tests::tree();
        let found = modules::resolve(dir.path(), Path::new("/"), &["virtiofs".to_owned()]).unwrap();
        let mut file = build(b"#!init", &found, extra)?;
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        Ok(bytes)
    }

    fn file(path: &str) -> ExtraFile {
        ExtraFile { path: path.into(), mode: 0o640, content: b"x".to_vec().into() }
    }

    #[test]
    fn files_modules_and_modes_are_in_the_built_initramfs() {
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
        // The kernel unpacks in order: a directory must come before its content.
        let position = |n: &str| names.iter().position(|x| x == n).unwrap();
        assert!(
            position("etc/kata") < position("etc/kata/deep")
                && position("etc/kata/deep") < position("etc/kata/deep/file")
        );
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(sample(&[]).unwrap(), sample(&[]).unwrap());
    }

    #[test]
    fn no_entry_has_a_time_or_an_owner() {
        let bytes = sample(&[file("/etc/kata/file")]).unwrap();
        let (mut rest, mut names) = (bytes.as_slice(), Vec::new());
        loop {
            let reader = NewcReader::new(rest).unwrap();
            let entry = reader.entry();
            assert_eq!((entry.mtime(), entry.uid(), entry.gid()), (0, 0, 0), "{}", entry.name());
            if entry.is_trailer() {
                break;
            }
            names.push(entry.name().to_owned());
            rest = reader.finish().unwrap();
        }
        for name in ["init", "dev/console", "etc/kata", "etc/kata/file", "modules/order"] {
            assert!(names.iter().any(|one| one == name), "{names:?}");
        }
    }

    #[test]
    fn invalid_paths_of_extra_files_are_refused() {
        for path in ["relative", "/", "/a/../b", "/init", "/etc"] {
            assert!(sample(&[file(path)]).is_err(), "{path}");
        }
    }
}
