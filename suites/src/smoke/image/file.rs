//! The image's file, made as Kata's builder makes it.

use super::layout;
use crate::check::{Doing as _, Stop};
use crate::environment::EnvironmentSide;
use crate::scratch;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of a file in the image.
pub(super) const FILE: &str = "words";
/// The program that becomes process 1: systemd or the agent in Kata's image.
pub(super) const PROGRAM: &str = "/sbin/init";
/// The directories that a guest needs in the image: mount points as for PID 1, because nothing can be created in a
/// read-only image.
const FOLDERS: [&str; 8] = ["dev", "mnt/share", "proc", "run", "sbin", "scratch", "sys", "tmp"];

/// Whether an image has [`PROGRAM`] in addition to [`FILE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    File,
    Program,
}

/// An image's file; dropping it removes the file.
pub(super) struct ScratchImage(pub(super) PathBuf);

impl ScratchImage {
    pub(super) fn make(env: &dyn EnvironmentSide, content: Content) -> Result<ScratchImage, Stop> {
        let image = ScratchImage(scratch::path("image"));
        let failed = |e: io::Error| Stop::error(format!("making an image: {e}"));
        let (tree, filesystem) = (image.0.with_extension("d"), image.0.with_extension("ext4"));
        // Fails if another user was faster: what is in a directory of that user may be links.
        fs::create_dir(&tree).map_err(failed)?;
        fs::write(tree.join(FILE), words()).map_err(failed)?;
        if content == Content::Program {
            for folder in FOLDERS {
                fs::create_dir_all(tree.join(folder)).map_err(failed)?;
            }
            // The running agent: the guest uses the same program, which needs no other file.
            fs::copy("/proc/self/exe", tree.join(PROGRAM.trim_start_matches('/'))).map_err(failed)?;
        }
        File::create_new(&filesystem).and_then(|file| file.set_len(layout::PARTITION_BYTES)).map_err(failed)?;
        let paths = [&tree, &filesystem].map(|path| path.to_string_lossy().into_owned());
        let output = env.run(
            &["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-d", &paths[0], &paths[1]],
            Duration::from_secs(60),
        )?;
        let made = match output.ok() {
            true => image.assemble(&filesystem).map_err(failed),
            false => Err(Stop::error(format!("making an image: mke2fs: {}", output.tail()))),
        };
        let _ = fs::remove_dir_all(&tree);
        let _ = fs::remove_file(&filesystem);
        made.map(|()| image)
    }

    /// Copies the filesystem behind the tables, without its holes.
    fn assemble(&self, filesystem: &Path) -> io::Result<()> {
        let image = File::create_new(&self.0)?;
        layout::write(&image)?;
        let mut at = layout::PARTITION;
        blocks(filesystem, |block| {
            if block.iter().any(|byte| *byte != 0) {
                image.write_all_at(block, at)?;
            }
            at += block.len() as u64;
            Ok(())
        })
    }

    /// Returns a hash of the file's content.
    pub(super) fn sum(&self) -> Result<u64, Stop> {
        let mut hasher = DefaultHasher::new();
        blocks(&self.0, |block| {
            hasher.write(block);
            Ok(())
        })
        .doing("reading the image's file")?;
        Ok(hasher.finish())
    }
}

impl Drop for ScratchImage {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Returns the content of the file: 64 KiB of numbered lines.
pub(super) fn words() -> String {
    (0..4096).map(|number| format!("line {number:010}\n")).collect()
}

/// Passes a file to `with` in blocks.
fn blocks(path: &Path, mut with: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count => with(&buffer[..count])?,
        }
    }
}
