//! Modules of the initramfs, loaded into the guest's kernel.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Directory of the modules in the initramfs.
const FOLDER: &str = "/modules";

/// Loads the module of that name from the initramfs; a module that is already loaded is no error.
pub(super) fn load(name: &str) -> io::Result<()> {
    insert(&file_of(name)?)
}

/// As [`load`], with the module's parameters from the kernel's command line, as modprobe does.
pub(super) fn load_with_parameters(name: &str, command_line: &str) -> io::Result<()> {
    insert_with(&file_of(name)?, &parameters(name, command_line))
}

/// Returns the module's parameters on the kernel's command line, `virtio_mmio.device=4K@0xd0000000:5` for
/// `virtio_mmio`: a built-in driver reads them there, for a module modprobe does.
fn parameters(name: &str, command_line: &str) -> String {
    let normalised = name.replace('-', "_");
    let of_it = |word: &&str| word.split_once('.').is_some_and(|(module, _)| module.replace('-', "_") == normalised);
    let words = command_line.split_whitespace().filter(of_it);
    words.filter_map(|word| Some(word.split_once('.')?.1)).collect::<Vec<_>>().join(" ")
}

/// Returns the file of the module of that name.
pub(super) fn file_of(name: &str) -> io::Result<PathBuf> {
    let normalised = name.replace('-', "_");
    fs::read_dir(FOLDER)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| name_of(path).is_some_and(|n| n == normalised))
        .ok_or_else(|| io::Error::other(format!("module {name} is not in the initramfs")))
}

/// Returns `virtio_fs` for `/modules/07-virtio-fs.ko`.
fn name_of(path: &Path) -> Option<String> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".ko")?;
    let name = stem.split_once('-').map_or(stem, |(_, name)| name);
    Some(name.replace('-', "_"))
}

/// Loads the module in a file.
pub(crate) fn insert(path: &Path) -> io::Result<()> {
    insert_with(path, "")
}

fn insert_with(path: &Path, parameters: &str) -> io::Result<()> {
    let file = File::open(path)?;
    match rustix::system::finit_module(&file, &CString::new(parameters)?, 0) {
        // NODEV: a driver for hardware that this guest lacks, such as a CPU's own CRC32C instruction.
        Ok(()) | Err(rustix::io::Errno::EXIST | rustix::io::Errno::NODEV) => Ok(()),
        Err(e) => Err(io::Error::other(format!("loading {}: {e}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::parameters;

    #[test]
    fn a_module_gets_its_parameters_from_the_command_line() {
        let line = "pci=off virtio_mmio.device=4K@0xd0000000:5 scsi_mod.scan=none virtio-mmio.device=4K@0xd0001000:6";
        assert_eq!(parameters("virtio_mmio", line), "device=4K@0xd0000000:5 device=4K@0xd0001000:6");
        assert_eq!(parameters("virtio_blk", line), "");
    }
}
