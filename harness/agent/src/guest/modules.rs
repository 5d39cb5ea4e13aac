//! Modules of the initramfs, inserted into the guest's kernel.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Where the initramfs has them.
const FOLDER: &str = "/modules";

/// Loads the module of that name from the initramfs; one that is there already is fine.
pub(super) fn load(name: &str) -> io::Result<()> {
    insert(&file_of(name)?)
}

/// The file of the module of that name.
pub(super) fn file_of(name: &str) -> io::Result<PathBuf> {
    let wanted = name.replace('-', "_");
    fs::read_dir(FOLDER)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| name_of(path).is_some_and(|n| n == wanted))
        .ok_or_else(|| io::Error::other(format!("module {name} is not in the initramfs")))
}

/// `/modules/07-virtio-fs.ko` is `virtio_fs`.
fn name_of(path: &Path) -> Option<String> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".ko")?;
    let name = stem.split_once('-').map_or(stem, |(_, name)| name);
    Some(name.replace('-', "_"))
}

/// Inserts the module in a file.
pub(crate) fn insert(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    match rustix::system::finit_module(&file, c"", 0) {
        // NODEV: a driver for hardware that this guest lacks, such as a CPU's own CRC32C instruction.
        Ok(()) | Err(rustix::io::Errno::EXIST | rustix::io::Errno::NODEV) => Ok(()),
        Err(e) => Err(io::Error::other(format!("loading {}: {e}", path.display()))),
    }
}
