//! Asynchronous block I/O on the host.

use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::Machine;
use serde_json::json;
use std::path::PathBuf;

/// QEMU opens a disk with `aio=io_uring` while the guest runs, reads from it, and has a ring of the kernel's.
///
/// It is `block_device_aio` of the shipped configuration for every block device that Kata plugs in, in both runtimes.
/// A QEMU that was built without it refuses the option, and a kernel that forbids it fails the first read.
pub(super) fn qemu_reads_a_disk_by_io_uring(machine: &mut dyn Machine) -> Check {
    let disk = Scratch::new()?;
    let node = "kq-io-uring";
    let arguments = json!({
        "driver": "file",
        "node-name": node,
        "filename": disk.0.to_string_lossy(),
        "aio": "io_uring",
        "cache": { "direct": false, "no-flush": false },
    });
    machine.qmp("blockdev-add", arguments)?;
    let read = machine.qmp("human-monitor-command", json!({ "command-line": format!("qemu-io {node} \"read -P 107 0 64k\"") }));
    let rings = rings_of(machine.vmm_pid());
    let gone = machine.qmp("blockdev-del", json!({ "node-name": node }));
    let said = read?.as_str().unwrap_or_default().to_owned();
    ensure!(said.contains("read 65536/65536"), "QEMU did not read the disk by io_uring: {}", said.trim());
    ensure!(!said.contains("Pattern verification failed"), "QEMU read something else than the disk holds");
    ensure!(rings? > 0, "QEMU read the disk and has no io_uring open: it used something else");
    gone.map(drop)
}

/// How many rings a process has open.
fn rings_of(pid: u32) -> Result<usize, Stop> {
    let folder = format!("/proc/{pid}/fd");
    let links = std::fs::read_dir(&folder).doing(format!("reading {folder}"))?.flatten();
    let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    Ok(targets.filter(|target| target.to_string_lossy().contains("io_uring")).count())
}

/// A file of known content, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, Stop> {
        // Not /tmp, which may be a tmpfs and says nothing about a disk.
        let path = PathBuf::from(format!("/var/tmp/kata-qualify-io-uring-{}", std::process::id()));
        let scratch = Scratch(path);
        std::fs::write(&scratch.0, vec![107; 1 << 20]).doing(format!("writing {}", scratch.0.display()))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
