//! A bare virtual machine: one QEMU command that boots the same disk until systemd reaches the same target.

use anyhow::Context as _;
use harness::environments::vm::outer::OuterQemu;
use images::Disk;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The harness's own default for `--vm-memory`, MiB.
const MEMORY: u32 = 4096;
/// The harness's own deadline for a machine's boot.
const DEADLINE: Duration = Duration::from_secs(420);

/// A QEMU that is killed, however the measurement ends.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures the seconds from QEMU's start until systemd reports on the console that it has reached `multi-user.target`.
///
/// systemd's lines on the emulated console cost the floor some time that the harness, which silences them, does not
/// pay.
pub(crate) fn boot(outer: &OuterQemu, disk: &Disk, cpus: usize) -> anyhow::Result<f64> {
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let drive = format!("file={},format=raw,if=virtio,snapshot=on,cache=unsafe", path(&disk.root).replace(',', ",,"));
    // This machine has no disk from which the agent's unit could unpack the agent.
    let append = "root=/dev/vda rw console=ttyS0 panic=-1 tsc=reliable no_timer_check systemd.show_status=1 \
                  systemd.mask=kata-qualify.service";
    let arguments = [
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-machine",
        "q35",
        "-smp",
        &cpus.to_string(),
        "-m",
        &format!("{MEMORY}M"),
        "-kernel",
        &path(&disk.vmlinuz),
        "-initrd",
        &path(&disk.initrd),
        "-append",
        append,
        "-drive",
        &drive,
        "-device",
        "virtio-rng-pci",
        "-serial",
        "stdio",
    ]
    .map(str::to_owned);
    let mut command = outer.unconfined(&arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let began = Instant::now();
    let mut machine = Machine(command.spawn().context("starting the pinned QEMU")?);
    let serial = machine.0.stdout.take().context("QEMU has no standard output")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(serial).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            // `Reached target Multi-User System.`, and since systemd 250 `Reached target multi-user.target - …`.
            if line.contains("Reached target") && line.to_lowercase().contains("multi-user") {
                let _ = sender.send(began.elapsed().as_secs_f64());
                return;
            }
        }
    });
    receiver.recv_timeout(DEADLINE).context("the bare machine did not say that it reached multi-user.target")
}
