//! The VM environment: a release's disk booted with its own kernel, initrd and init, the agent in it behind a
//! virtio-serial port.
//!
//! The disk is never written to: the machine writes to a layer over it, in an unnamed file. Disks and lines are passed
//! as descriptors, so they have no paths that could be left behind, and QEMU, which runs as a separate user, can open
//! nothing else. QEMU ends with the harness (`PR_SET_PDEATHSIG`), however the harness ends.
//!
//! # The parts of a machine
//!
//! | part | implementation | reason |
//! |---|---|---|
//! | QEMU | Debian 13's, in that release's image, which is its root and read-only; a cached image is used as it is | QEMU's versions differ in the emulation of a processor that virtualizes: 7.2 and 11.1 broke guests of guests |
//! | accelerator | KVM if a small guest boots under it and KVM nests; else TCG with `EPYC,+svm,+npt`, or an equivalent on another architecture | `/dev/kvm` can exist, answer and still run no kernel; the evidence and `doctor` report the result |
//! | QEMU's rights | a user id that nothing else uses, no capabilities, `no_new_privs`, its own filter; disks, lines and `/dev/kvm` as descriptors | guests are not trusted: code that escapes from one must find nothing |
//! | disk | an empty qcow2 over it | the machine writes to an unnamed file |
//! | agent | an archive on a second disk, in an unnamed file; a unit unpacks and starts it | the disk does not have to be made again for each build of the agent; no ssh, no network, no cloud-init |
//! | line, serial log | socket pairs, passed to QEMU as descriptors | no path that could be left behind, nothing to wait for |
//! | mark | an asset tag on the chassis of an emulated machine | a harness inside must not take the machine's KVM for hardware |
//! | lifetime | its own process group, and `PR_SET_PDEATHSIG` set by a thread that lives as long as the machine | a machine must not outlive its run, however the run ends |
//!
//! Inside, KVM, vhost and namespaces are the release's own, so guests get Kata's exact arguments. These include
//! transitional virtio, because Kata sees that its host is a virtual machine. The remaining deviations are the
//! harness's own port and the serial log. Each guest's tap is in its own network namespace, like a pod's.
//!
//! The end of a machine is reported with its cause: its kernel's panic from the serial log, QEMU's end from its exit
//! status, the agent's end from the unit's message on the console, anything else from the silence on the line. No
//! component is blamed for such an end, and the other cells are not affected; `crate::schedule` decides what goes on in
//! a fresh machine.

mod arguments;
pub mod cloud;
mod confined;
pub mod outer;
pub mod pinned;
pub mod process;
mod tiny;

use crate::level;
use crate::line::{AgentOutput, Line};
use crate::seed::SeedFile;
use agent::log::Log;
use agent::process::how_it_ended;
pub use arguments::name;
use arguments::{LAYER_FD, LINE_FD, ROOT_FD, SEED_FD, SERIAL_FD};
use futures_util::StreamExt as _;
use images::{Disk, ExtraFile};
use model::arch::Arch;
use model::foreign::linux::panic_line;
use model::foreign::qemu::last_lines;
use model::redact::{one_line, without_controls};
use model::verified::Basis;
use outer::{MachineAccelerator, OuterQemu};
use process::QemuProcess;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_util::io::ReaderStream;

/// Time that a release may take from QEMU's start to its agent's hello, under emulation on a busy machine.
const BOOT: Duration = Duration::from_secs(420);
/// Time within which the reason for a machine's end may show after its line has ended.
const SHOWS: Duration = Duration::from_secs(3);
/// The directory in the machine into which the agent and its files are unpacked.
const FOLDER: &str = agent::home::VOLUME;
/// The serial number by which the machine recognizes the disk with the agent.
const SEED: &str = "kata-qualify";
/// The message that the unit prints on the console when the agent ends.
const AGENT_ENDED: &str = "kata-qualify: the agent ended:";

/// Returns the files that are added to the tree before it becomes a disk: a unit that starts the agent, and others. The
/// agent itself is not on the disk, so that the disk does not depend on this build.
pub fn files(arch: Arch) -> Vec<ExtraFile> {
    let unit = format!(
        "[Unit]\n\
         Description=Qualification agent\n\
         [Service]\n\
         Type=simple\n\
         ExecStartPre=/bin/mkdir -p {FOLDER}\n\
         ExecStartPre=/bin/tar -xf /dev/disk/by-id/virtio-{SEED} -C {FOLDER}\n\
         ExecStart={FOLDER}/agent vm\n\
         ExecStopPost=/bin/sh -c 'echo \"{AGENT_ENDED} $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS\" > /dev/console'\n\
         StandardOutput=journal+console\n\
         StandardError=journal+console\n\
         TasksMax=infinity\n\
         LimitMEMLOCK=infinity\n\
         OOMScoreAdjust=-900\n"
    );
    let drop_in = "[Unit]\nWants=kata-qualify.service\n";
    let text = |path: &str, content: &str| {
        let content = content.to_owned().into_bytes().into();
        ExtraFile { path: path.into(), mode: 0o644, content }
    };
    let mut files = vec![
        text("/etc/systemd/system/kata-qualify.service", &unit),
        text("/etc/systemd/system/multi-user.target.d/kata-qualify.conf", drop_in),
        // Fixed, so that systemd does not take each boot for the first one.
        text("/etc/machine-id", "6b6174612d7175616c69667900000001\n"),
        text("/etc/hostname", "kata-qualify\n"),
        // Masked, because the tests start their own engine.
        text("/etc/systemd/system/docker.service", ""),
        text("/etc/systemd/system/docker.socket", ""),
        // containerd copies this file for each pod.
        text("/etc/hosts", "127.0.0.1 localhost\n"),
        text("/etc/fstab", "/dev/vda / ext4 defaults 0 0\n"),
    ];
    // No device of such a machine makes udev load these modules.
    if arch == Arch::Ppc64le {
        files.push(text("/etc/modules-load.d/kata-qualify.conf", "kvm\nkvm_hv\n"));
    }
    files
}

/// Memory and CPUs of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub cpus: u32,
}

/// Reason why a machine did not come up.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// A preparation for QEMU on this machine failed.
    #[error("{doing}")]
    Prepare {
        /// The action, as a gerund.
        doing: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The machine's agent did not say hello.
    #[error("booting the release: {how}")]
    Boot {
        /// How the machine ended, or the last lines of its console.
        how: String,
    },
}

/// A booted release with its agent.
pub struct Vm {
    process: QemuProcess,
    serial: Log,
    stderr: Log,
    /// The machine's memory and CPUs.
    pub size: Size,
    /// The line to the agent.
    pub line: Line,
}

/// Boots a disk and waits for its agent. `seed` has the agent and its files, by their names in the agent's directory.
///
/// # Errors
/// How the machine ended, or the last lines of its console.
pub async fn start(outer: &OuterQemu, disk: &Disk, size: Size, seed: &[SeedFile], logs: &Path) -> Result<Vm, VmError> {
    let failed = |doing| move |source| VmError::Prepare { doing, source };
    std::fs::create_dir_all(logs).map_err(failed("making the folder of the machine's logs"))?;
    let (line_here, line_there) = UnixStream::pair().map_err(failed("making the agent's line"))?;
    let (serial_here, serial_there) = UnixStream::pair().map_err(failed("making the serial line"))?;
    let seed = pack(seed).map_err(failed("packing the agent"))?;
    let root = File::open(&disk.root).map_err(failed("opening the machine's disk"))?;
    let layer = layer(&root).map_err(failed("making the layer over the machine's disk"))?;
    // The descriptor numbers are those in `arguments`.
    let fds: Vec<(OwnedFd, i32)> = vec![
        (line_there.into(), LINE_FD),
        (serial_there.into(), SERIAL_FD),
        (seed.into(), SEED_FD),
        (root.into(), ROOT_FD),
        (layer.into(), LAYER_FD),
    ];
    let is_emulated = outer.accelerator != MachineAccelerator::Kvm || level::here().basis == Basis::Emulated;
    let arguments = arguments::of(outer.arch, &outer.accelerator, disk, size, is_emulated);
    let command = outer.command(&disk.vmlinuz, &disk.initrd, &arguments);
    let command = command.map_err(failed("confining the machine's QEMU"))?;
    tracing::debug!("booting a machine: {command:?}");
    let (process, stderr) = QemuProcess::start(command, fds).map_err(failed("starting the machine's QEMU"))?;
    let serial = Log::collect(serial_here, &logs.join("serial.log")).map_err(failed("logging the serial line"))?;
    let stderr = Log::collect(stderr, &logs.join("qemu.log")).map_err(failed("logging QEMU"))?;
    line_here.set_nonblocking(true).map_err(failed("setting the agent's line up"))?;
    let stream = tokio::net::UnixStream::from_std(line_here).map_err(failed("setting the agent's line up"))?;
    let (from, to) = stream.into_split();
    let output =
        ReaderStream::with_capacity(from, 64 << 10).map(|read| read.map(|bytes| AgentOutput::Frames(bytes.to_vec())));
    match Line::open(output, to, BOOT).await {
        Ok(line) => Ok(Vm { process, serial, stderr, size, line }),
        Err(e) => {
            let why = ending(&process, &serial, &stderr).await;
            Err(VmError::Boot { how: why.unwrap_or_else(|| running_message(&e.to_string(), &serial)) })
        }
    }
}

/// Makes an empty layer over a disk, in an unnamed file.
fn layer(disk: &File) -> io::Result<File> {
    let file = tempfile::tempfile()?;
    let header = images::base::qcow2::empty(disk.metadata()?.len());
    (&file).write_all(&header)?;
    Ok(file)
}

/// Packs the agent and its files as an archive in an unnamed file, padded to whole sectors of a disk.
fn pack(files: &[SeedFile]) -> io::Result<File> {
    let mut archive = tar::Builder::new(tempfile::tempfile()?);
    for SeedFile { name, content } in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        let (size, mut reader) = content.open()?;
        header.set_size(size);
        archive.append_data(&mut header, name, &mut reader)?;
    }
    let mut file = archive.into_inner()?;
    let length = file.stream_position()?;
    file.set_len(length.next_multiple_of(1 << 20))?;
    file.flush()?;
    // QEMU accepts a descriptor only if it was opened the way the disk is used: read-only.
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

impl Vm {
    /// Describes how the machine or its agent ended; `None` if both seem to run.
    pub async fn ending(&self) -> Option<String> {
        ending(&self.process, &self.serial, &self.stderr).await
    }

    /// Returns the last lines of the serial log.
    pub fn last_words(&self) -> String {
        self.serial.last_lines(3)
    }

    /// Returns QEMU's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends the machine and removes all that belongs to it.
    pub async fn stop(self) {
        let Vm { process, line, .. } = self;
        drop(line);
        // Killing and reaping take a moment, and must not block the other cells.
        let _ = tokio::task::spawn_blocking(move || drop(process)).await;
    }
}

/// Describes an end. The kernel's last lines and QEMU's exit arrive through different pipes in any order, so this waits
/// a moment for both.
async fn ending(process: &QemuProcess, serial: &Log, stderr: &Log) -> Option<String> {
    let end = Instant::now() + SHOWS;
    while process.ended().is_none() && Instant::now() < end && agent_ended(&serial.text()).is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let text = serial.text();
    if let Some(line) = panic_line(&text) {
        return Some(format!("the virtual machine's kernel panicked: {line}"));
    }
    if let Some(status) = process.ended() {
        let (how, last_output) = (how_it_ended(status), last_lines(&stderr.text()));
        return Some(if status.success() {
            "the virtual machine powered itself off or reset itself".to_owned()
        } else if last_output.is_empty() {
            format!("the virtual machine's QEMU ended: {how}")
        } else {
            format!("the virtual machine's QEMU ended: {how}: {last_output}")
        });
    }
    agent_ended(&text).map(|how| format!("the virtual machine runs, but the agent in it ended: {how}"))
}

/// Returns the unit's message about the agent's end: `signal killed KILL`.
fn agent_ended(serial: &str) -> Option<String> {
    let line = serial.lines().rev().find_map(|line| line.split_once(AGENT_ENDED))?.1;
    Some(one_line(&without_controls(line, 100), 100))
}

fn running_message(error: &str, serial: &Log) -> String {
    format!("{error}; the virtual machine runs; last on its serial line: {}", serial.last_lines(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Content;

    #[test]
    fn the_agents_end_is_found_in_a_noisy_console() {
        let serial = "[  OK  ] x\r\nlogin: kata-qualify: the agent ended: signal killed KILL\r\n[ 9.1] y\r\n";
        assert_eq!(agent_ended(serial).as_deref(), Some("signal killed KILL"));
        assert_eq!(agent_ended("[ 9.1] y\n"), None);
    }

    #[test]
    fn the_seed_is_an_archive_of_whole_sectors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shim");
        std::fs::write(&path, [9; 700]).unwrap();
        let of = |name: &str, content: Content| SeedFile { name: name.to_owned(), content };
        let files = [
            of("agent", Content::Static(b"binary")),
            of("initramfs", Content::Static(&[7; 3000])),
            of("kata/shim", Content::File(path)),
        ];
        let file = pack(&files).unwrap();
        assert_eq!(file.metadata().unwrap().len() % 512, 0);
        let names: Vec<String> = tar::Archive::new(file)
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["agent", "initramfs", "kata/shim"]);
    }
}
