//! Asynchronous block I/O on the host.

use crate::capability::Capability;
use crate::check::{Check, Doing as _, Stop};
use crate::ensure;
use crate::environment::Machine;
use crate::row::{Row, row};
use crate::scratch::{Scratch, write_new};
use serde_json::json;
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("io_uring.rs");

pub(super) static ROWS: &[Row] = &[row!(Machine(qemu_reads_a_disk_by_io_uring), &[Capability::HostIoUring], Qemu)
    .blocked_by(&["smoke::kernel_boots_to_userspace"])];

/// While the guest runs, QEMU copies a disk with `aio=io_uring` on both sides, the copy is identical, and QEMU has an
/// io_uring of the kernel's open.
///
/// Both runtimes ship this as `block_device_aio` for every block device that Kata plugs in. A QEMU that was built
/// without io_uring refuses the option, and on a kernel that forbids io_uring the first request fails. The default is
/// in src/runtime/Makefile@4.1.0 and src/runtime-rs/Makefile@4.1.0.
fn qemu_reads_a_disk_by_io_uring(machine: &mut dyn Machine) -> Check {
    let content: Vec<u8> = (0..1_u32 << 20).map(|at| (at ^ (at >> 8)).to_le_bytes()[0]).collect();
    let from = disk("from", &content)?;
    let to = disk("to", &vec![0; content.len()])?;
    for (node, disk) in [("kq-from", &from), ("kq-to", &to)] {
        let arguments = json!({
            "driver": "file", "node-name": node, "filename": disk.0.to_string_lossy(), "aio": "io_uring",
        });
        machine.qmp("blockdev-add", arguments)?;
    }
    let copy = json!({ "job-id": JOB, "device": "kq-from", "target": "kq-to", "sync": "full", "auto-dismiss": false });
    machine.qmp("blockdev-backup", copy)?;
    let error = job_ends(machine)?;
    let rings = rings_of(machine.vmm_pid())?;
    machine.qmp("job-dismiss", json!({ "id": JOB }))?;
    for node in ["kq-from", "kq-to"] {
        machine.qmp("blockdev-del", json!({ "node-name": node }))?;
    }
    ensure!(error.is_none(), "QEMU did not copy a disk by io_uring: {}", error.unwrap_or_default());
    let copied = std::fs::read(&to.0).doing("reading the copy")?;
    ensure!(copied == content, "QEMU copied a disk by io_uring, and the copy differs");
    ensure!(rings > 0, "QEMU copied a disk and has no io_uring open: it used something else");
    Ok(())
}

const JOB: &str = "kq-copy";

/// Waits for the job's end and returns its error, if any.
fn job_ends(machine: &mut dyn Machine) -> Result<Option<String>, Stop> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let jobs = machine.qmp("query-jobs", json!({}))?;
        let job = jobs.as_array().into_iter().flatten().find(|job| job.get("id") == Some(&JOB.into()));
        let job = job.ok_or_else(|| Stop::fail(format!("QEMU knows nothing of its job: {jobs}")))?;
        if job.get("status") == Some(&"concluded".into()) {
            return Ok(job.get("error").map(|e| e.as_str().unwrap_or_default().to_owned()));
        }
        if Instant::now() > end {
            return Err(Stop::fail(format!("copying a disk by io_uring was not finished within 30 s: {job}")));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the number of io_uring instances that a process has open.
fn rings_of(pid: u32) -> Result<usize, Stop> {
    let folder = format!("/proc/{pid}/fd");
    let links = std::fs::read_dir(&folder).doing(format!("reading {folder}"))?.flatten();
    let targets = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    Ok(targets.filter(|target| target.to_string_lossy().contains("io_uring")).count())
}

/// Creates a file with this content.
fn disk(name: &str, content: &[u8]) -> Result<Scratch, Stop> {
    let file = Scratch::new(&format!("io-uring-{name}"));
    write_new(&file.0, content).doing(format!("writing {}", file.0.display()))?;
    Ok(file)
}
