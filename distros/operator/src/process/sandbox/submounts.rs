//! The mounts in a root that belong to it, such as a separate disk for `/boot` or `/var`.

use model::procfs::Mount;
use root::Root;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

/// Directories whose mounts are the running system's, and into which no package installs.
const NOT_ITS_OWN: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// Maximum length of a path that is looked up after a fork, in bytes.
const MAX_PATH: usize = 255;

/// Returns the mount points in a root, as paths inside it, parents first.
///
/// # Errors
///
/// Fails if a filesystem is also mounted outside the root, because it might be the machine's.
pub(super) fn of(root: &Root) -> io::Result<Vec<PathBuf>> {
    // A thread can have mounts of its own, and it is this thread that opens them.
    folders(&std::fs::read("/proc/thread-self/mountinfo")?, root.path())
}

fn folders(mountinfo: &[u8], top: &Path) -> io::Result<Vec<PathBuf>> {
    let mounted: Vec<Mount> = Mount::all(mountinfo).collect();
    // A mount that covers the root itself counts as the root.
    let elsewhere: HashMap<&str, &Path> = mounted
        .iter()
        .filter(|mount| !mount.at.starts_with(top))
        .map(|mount| (mount.device.as_str(), mount.at.as_path()))
        .collect();
    let mut found = Vec::new();
    for mount in &mounted {
        let Ok(inside) = mount.at.strip_prefix(top) else { continue };
        let Some(first) = inside.components().next() else { continue };
        if NOT_ITS_OWN.iter().any(|name| first.as_os_str() == *name) {
            continue;
        }
        // Skips a file that a container engine or an admin has mounted over one of the root's.
        if mount.at.is_file() {
            continue;
        }
        if let Some(other) = elsewhere.get(mount.device.as_str()) {
            let (at, other) = (mount.at.display(), other.display());
            return Err(io::Error::other(format!(
                "what is mounted at {at} is also mounted at {other}, and may belong to the root or to this machine: unmount one of them"
            )));
        }
        if inside.as_os_str().len() > MAX_PATH {
            return Err(io::Error::other(format!("{} is too long a path", mount.at.display())));
        }
        found.push(inside.to_owned());
    }
    found.sort();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
30 22 8:17 / /mnt/a\\040b rw - ext4 /dev/sdb1 rw
31 30 8:18 / /mnt/a\\040b/var rw - ext4 /dev/sdb2 rw
32 31 8:19 / /mnt/a\\040b/var/lib rw - ext4 /dev/sdb3 rw
33 30 0:21 / /mnt/a\\040b/proc rw - proc proc rw
34 30 0:22 / /mnt/a\\040b/dev/shm rw - tmpfs tmpfs rw
";

    #[test]
    fn the_roots_own_disks_are_found_and_a_disk_of_the_machine_is_refused() {
        let top = Path::new("/mnt/a b");
        assert_eq!(folders(LINES.as_bytes(), top).unwrap(), [Path::new("var"), Path::new("var/lib")]);
        let bound = format!("{LINES}35 30 8:1 /srv /mnt/a\\040b/srv rw - ext4 /dev/sda1 rw\n");
        let error = folders(bound.as_bytes(), top).unwrap_err().to_string();
        assert!(error.contains("is mounted at /mnt/a b/srv is also mounted at /,"), "{error}");
        assert_eq!(folders(bound.as_bytes(), Path::new("/elsewhere")).unwrap(), Vec::<PathBuf>::new());
    }
}
