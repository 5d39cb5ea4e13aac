//! A guest that runs for a second or two: the pinned release's kernel, the harness's agent as its init, and one task.

use super::outer::{MachineAccelerator, OuterQemu};
use super::process::QemuProcess;
use crate::built_in::AGENT;
use agent::log::Log;
use agent::process::how_it_ended;
use images::boot::{initramfs, kernel, modules};
use images::{ExtraFile, ImageError};
use model::arch::Arch;
use model::foreign::linux::panic_line;
use model::foreign::qemu::{first_line, reports_error};
use model::release::Release;
use protocol::client::Client;
use protocol::message::GuestReply;
use qemu::deviation::RPC_PORT;
use std::fs::File;
use std::io::{self, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const LINE_FD: i32 = 10;
const SERIAL_FD: i32 = 11;
/// The first descriptor number that is free for callers.
pub(super) const FREE_FD: i32 = 12;

/// Reason why a tiny guest could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TinyError {
    /// The guest's kernel or initramfs could not be made.
    #[error(transparent)]
    BootFiles(#[from] ImageError),
    /// A preparation for the guest's QEMU on this machine failed.
    #[error("starting a guest")]
    Start(#[source] io::Error),
}

/// Parts of a tiny guest in addition to a line to its agent.
#[derive(Default)]
pub(super) struct Extras<'a> {
    /// Kernel modules in addition to those for the line.
    pub(super) modules: &'a [&'a str],
    /// QEMU's arguments.
    pub(super) arguments: Vec<String>,
    /// Descriptors with their numbers, from [`FREE_FD`] on.
    pub(super) descriptors: Vec<(OwnedFd, i32)>,
}

/// A tiny guest; dropping the value ends the guest.
pub(super) struct Tiny {
    /// The line to its agent.
    pub(super) client: Client<GuestReply>,
    process: QemuProcess,
    stderr: Log,
    serial: Log,
    _folder: tempfile::TempDir,
}

impl Tiny {
    /// Starts the guest's QEMU, and does not wait for anything.
    pub(super) fn start(
        outer: &OuterQemu,
        accelerator: &MachineAccelerator,
        extras: Extras<'_>,
    ) -> Result<Tiny, TinyError> {
        let (mut initramfs, vmlinuz) = guest(outer.tree(), outer.release(), extras.modules)?;
        let started = || {
            let folder = tempfile::tempdir()?;
            let [kernel, initrd] = ["vmlinuz", "initramfs"].map(|name| folder.path().join(name));
            std::fs::write(&kernel, vmlinuz)?;
            initramfs.rewind()?;
            io::copy(&mut initramfs, &mut File::create(&initrd)?)?;
            let (line, line_there) = UnixStream::pair()?;
            let (serial, serial_there) = UnixStream::pair()?;
            let mut descriptors: Vec<(OwnedFd, i32)> =
                vec![(line_there.into(), LINE_FD), (serial_there.into(), SERIAL_FD)];
            descriptors.extend(extras.descriptors);
            let words: Vec<String> = fixed(outer.arch).into_iter().chain(extras.arguments).collect();
            let command = outer.command_under(accelerator, &kernel, &initrd, &words)?;
            let (process, stderr) = QemuProcess::start(command, descriptors)?;
            let stderr = Log::collect(stderr, &folder.path().join("stderr"))?;
            let serial = Log::collect(serial, &folder.path().join("serial"))?;
            Ok(Tiny { client: Client::new(line)?, process, stderr, serial, _folder: folder })
        };
        started().map_err(TinyError::Start)
    }

    /// Checks whether the guest's QEMU is running.
    pub(super) fn runs(&self) -> bool {
        self.process.ended().is_none()
    }

    /// Checks whether the guest's QEMU reports an error.
    pub(super) fn reports_error(&self) -> bool {
        reports_error(&self.stderr.text())
    }

    /// Returns the first line that the guest's QEMU printed and that is not a warning.
    pub(super) fn first_line(&self) -> String {
        first_line(&self.stderr.text())
    }

    /// Describes how QEMU ended, once its last lines have had time to arrive; `None` while it runs.
    pub(super) fn ending(&self) -> Option<String> {
        let status = self.process.ended()?;
        let end = Instant::now() + Duration::from_secs(2);
        while !self.stderr.closed() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        match panic_line(&self.serial.text()) {
            Some(line) => Some(format!("its kernel panicked: {line}")),
            None => Some(format!("QEMU ended ({}): {}", how_it_ended(status), self.first_line())),
        }
    }
}

/// Returns QEMU's arguments, except for the accelerator's, the kernel's and the caller's.
fn fixed(arch: Arch) -> Vec<String> {
    let mut words: Vec<String> =
        ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"].map(str::to_owned).into();
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    add("-machine", arch.machine_type().to_owned());
    add("-m", "512M".to_owned());
    // `no_timer_check` is a parameter of x86; other kernels ignore it.
    add("-append", format!("panic=-1 quiet console={} no_timer_check", arch.serial_console()));
    add("-chardev", format!("socket,id=serial,fd={SERIAL_FD}"));
    add("-serial", "chardev:serial".to_owned());
    add("-device", format!("virtio-serial-{},id=ports", arch.virtio_bus()));
    add("-chardev", format!("socket,id=line,fd={LINE_FD}"));
    add("-device", format!("virtserialport,bus=ports.0,chardev=line,name={RPC_PORT}"));
    words
}

/// Builds the smallest guest that says hello: an initramfs with the agent, the modules of a virtio-serial port and the
/// modules `more`, and the matching kernel.
///
/// # Errors
/// If the tree has no kernel, or lacks the file of a module.
fn guest(tree: &Path, release: &Release, more: &[&str]) -> Result<(File, Vec<u8>), ImageError> {
    let kernel = kernel::find(tree, release)?;
    let names: Vec<String> = ["virtio_pci", "virtio_console"].iter().chain(more).map(|n| (*n).to_owned()).collect();
    let found = modules::resolve(tree, &kernel.modules_dir, &names)?;
    let load: Vec<&str> = found.load_order.iter().map(|m| m.name.as_str()).collect();
    let list = ExtraFile { path: "/modules/boot".into(), mode: 0o644, content: load.join("\n").into_bytes().into() };
    let initramfs = initramfs::build(AGENT, &found, &[list])?;
    let vmlinuz = kernel::read(tree, &kernel)?;
    Ok((initramfs, vmlinuz))
}
