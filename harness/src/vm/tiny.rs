//! A guest of a second or two: the pinned release's kernel, our agent as its init, and what it is given to do.

use crate::built_in::AGENT;
use crate::vm::outer::{Accelerator, Outer};
use crate::vm::process::Process;
use agent::client::Client;
use agent::ending::panic_line;
use agent::log::Log;
use agent::protocol::{GuestReply, PORT};
use images::ExtraFile;
use images::boot::{initramfs, kernel, modules};
use kata_osinfo::diagnostic::error_chain;
use kata_osinfo::release::Release;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const LINE_FD: i32 = 10;
const SERIAL_FD: i32 = 11;
/// The first number that is free for a caller's descriptors.
pub(super) const FREE_FD: i32 = 12;

/// What a tiny guest has besides a line to its agent.
#[derive(Default)]
pub(super) struct Extras<'a> {
    /// Kernel modules, besides those of the line.
    pub(super) modules: &'a [&'a str],
    /// QEMU's arguments.
    pub(super) arguments: Vec<String>,
    /// Descriptors with their numbers, from [`FREE_FD`] on.
    pub(super) descriptors: Vec<(OwnedFd, i32)>,
}

/// A tiny guest; dropping it ends it.
pub(super) struct Tiny {
    /// The line to its agent.
    pub(super) client: Client<GuestReply>,
    process: Process,
    stderr: Log,
    serial: Log,
    _folder: tempfile::TempDir,
}

impl Tiny {
    /// Starts its QEMU, and waits for nothing.
    pub(super) fn start(outer: &Outer, accelerator: &Accelerator, extras: Extras<'_>) -> Result<Tiny, String> {
        let (initramfs, vmlinuz) = guest(outer.tree(), outer.release(), extras.modules)?;
        let started = || {
            let folder = tempfile::tempdir()?;
            let [kernel, initrd] = ["vmlinuz", "initramfs"].map(|name| folder.path().join(name));
            std::fs::write(&kernel, vmlinuz)?;
            std::fs::write(&initrd, initramfs)?;
            let (line, line_there) = UnixStream::pair()?;
            let (serial, serial_there) = UnixStream::pair()?;
            let mut descriptors: Vec<(OwnedFd, i32)> =
                vec![(line_there.into(), LINE_FD), (serial_there.into(), SERIAL_FD)];
            descriptors.extend(extras.descriptors);
            let words: Vec<String> = fixed().into_iter().chain(extras.arguments).collect();
            let command = outer.command_under(accelerator, &kernel, &initrd, &words)?;
            let (process, stderr) = Process::start(command, descriptors)?;
            let stderr = Log::collect(stderr, &folder.path().join("stderr"))?;
            let serial = Log::collect(serial, &folder.path().join("serial"))?;
            Ok(Tiny { client: Client::new(line)?, process, stderr, serial, _folder: folder })
        };
        started().map_err(|e: io::Error| format!("starting a guest: {e}"))
    }

    /// Whether its QEMU runs.
    pub(super) fn runs(&self) -> bool {
        self.process.ended().is_none()
    }

    /// What its QEMU printed.
    pub(super) fn said(&self) -> String {
        self.stderr.text()
    }

    /// How it ended, once its last words have had time to arrive; `None` while it runs.
    pub(super) fn ending(&self) -> Option<String> {
        let how = self.process.ended()?;
        let end = Instant::now() + Duration::from_secs(2);
        while !self.stderr.closed() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        match panic_line(&self.serial.text()) {
            Some(line) => Some(format!("its kernel panicked: {line}")),
            None => Some(format!("QEMU ended ({how}): {}", first_line(&self.said()))),
        }
    }
}

/// QEMU's arguments apart from the accelerator's, the kernel's and the caller's.
fn fixed() -> Vec<String> {
    let mut words: Vec<String> =
        ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"].map(str::to_owned).into();
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    add("-machine", "q35".to_owned());
    add("-m", "512M".to_owned());
    add("-append", "panic=-1 quiet console=ttyS0 no_timer_check".to_owned());
    add("-chardev", format!("socket,id=serial,fd={SERIAL_FD}"));
    add("-serial", "chardev:serial".to_owned());
    add("-device", "virtio-serial-pci,id=ports".to_owned());
    add("-chardev", format!("socket,id=line,fd={LINE_FD}"));
    add("-device", format!("virtserialport,bus=ports.0,chardev=line,name={PORT}"));
    words
}

/// The line that tells; after it QEMU prints a page of registers.
pub(super) fn first_line(text: &str) -> String {
    let tells = |line: &&str| !line.contains("warning:") && !line.trim().is_empty();
    text.lines().find(tells).unwrap_or("it printed nothing").chars().take(200).collect()
}

/// The smallest guest that says hello: an initramfs of the agent with what a virtio-serial port needs and these modules
/// besides, and the kernel for it.
///
/// # Errors
/// As [`boot_files`].
fn guest(tree: &Path, release: &Release, more: &[&str]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let kernel = kernel::find(tree, release).map_err(|e| error_chain(&e))?;
    let names: Vec<String> = ["virtio_pci", "virtio_console"].iter().chain(more).map(|n| (*n).to_owned()).collect();
    let found = modules::resolve(tree, &kernel.modules_dir, &names).map_err(|e| error_chain(&e))?;
    let load: Vec<&str> = found.load_order.iter().map(|m| m.name.as_str()).collect();
    let list = ExtraFile { path: "/modules/boot".to_owned(), mode: 0o644, content: load.join("\n").into_bytes() };
    let initramfs = initramfs::build(AGENT, &found, &[list]).map_err(|e| error_chain(&e))?;
    let vmlinuz = kernel::read(tree, &kernel).map_err(|e| error_chain(&e))?;
    Ok((initramfs, vmlinuz))
}
