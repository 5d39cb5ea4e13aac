//! Interfaces for people to a guest and its QEMU: the monitor, and a serial port instead of the console.

use super::BOOTS;
use super::boot::line_reaches_the_host;
use super::hotplug::waits::{Wait, blame_kernel_if_lacking};
use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::ensure;
use crate::environment::{EnvironmentSide, Setting};
use crate::row::{Row, row};
use crate::scratch::Scratch;
use crate::test::Place;
use crate::under;
use model::arch::Arch;
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("consoles.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(monitor_for_people_answers), &[Capability::VmmMonitor], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .under(&under::MONITOR)
        .seconds(120),
    row!(Environment(guest_console_on_a_serial_port_reaches_the_host), &[Capability::VmmLegacySerial], Qemu)
        .places(&[Place::OwnGuest])
        .blocked_by(BOOTS)
        .under(&under::LEGACY_SERIAL)
        .seconds(240),
];

/// The monitor's prompt, after which it waits for a command.
const PROMPT: &str = "(qemu) ";
/// The most that is read of the monitor's output, bytes.
const MOST: usize = 64 << 10;

/// QEMU's human monitor listens on the configured socket, and reports the same QEMU version as QMP.
///
/// With `extra_monitor_socket = "hmp"` and `enable_debug`, a person who inspects a sandbox can talk to its QEMU without
/// disturbing the runtime (`createQmpSocket` in src/runtime/virtcontainers/qemu.go@4.1.0, `add_monitor` in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0).
fn monitor_for_people_answers(env: &dyn EnvironmentSide) -> Check {
    let socket = Scratch::new("monitor");
    let mut machine = env.boot_with(Setting::Monitor(socket.0.clone()))?;
    let machine = machine.as_mut();
    let version = version(&machine.qmp("query-version", json!({}))?)?;
    let wait = Wait::of_test(machine, Duration::from_secs(10), "the monitor answered").scaled();
    let mut output = Vec::new();
    let answer = ask_monitor(&socket.0, "info version", wait, &mut output);
    let answer = answer.map_err(|e| unanswered(&e, &output, machine.is_emulated()))?;
    ensure!(
        answer.contains(&version),
        "by QMP it is QEMU {version}, and its monitor answers `info version` by {:?}",
        answer.chars().take(200).collect::<String>()
    );
    Ok(())
}

/// Returns the kernel options that a console on a serial port needs.
fn for_serial(arch: Arch) -> &'static [&'static str] {
    match arch {
        Arch::X86_64 => &["SERIAL_8250", "SERIAL_8250_CONSOLE"],
        Arch::Aarch64 => &["SERIAL_AMBA_PL011", "SERIAL_AMBA_PL011_CONSOLE"],
        Arch::Ppc64le => &["HVC_CONSOLE"],
        Arch::S390x => &["SCLP_TTY", "SCLP_CONSOLE"],
    }
}

/// Text that the guest writes to its first serial port comes out of the console socket on the host.
///
/// With `use_legacy_serial` the Go runtime gives a guest this port instead of virtio's console, with `console=ttyS0`,
/// so that the kernel's output is visible before it has any virtio driver (`appendConsole` in
/// src/runtime/virtcontainers/qemu_arch_base.go@4.1.0). The runtime uses that name on every architecture, although
/// Linux has another name for the port outside x86_64, so the test writes to the port itself.
fn guest_console_on_a_serial_port_reaches_the_host(env: &dyn EnvironmentSide) -> Check {
    let mut machine = env.boot_with(Setting::LegacySerial)?;
    let arch = env.claims().release.arch;
    line_reaches_the_host(machine.as_mut(), &format!("/dev/{}", arch.serial_console()))
        .map_err(|stop| blame_kernel_if_lacking(env, for_serial(arch), stop))
}

/// Returns the version in the answer to `query-version`.
fn version(answer: &Value) -> Result<String, Stop> {
    let number = |key: &str| answer.pointer(&format!("/qemu/{key}")).and_then(Value::as_u64);
    match (number("major"), number("minor"), number("micro")) {
        (Some(major), Some(minor), Some(micro)) => Ok(format!("{major}.{minor}.{micro}")),
        _ => Err(Stop::fail(format!("query-version has no version: {answer}"))),
    }
}

/// Returns the monitor's answer to a command; `output` collects the whole output, also if it does not end.
fn ask_monitor(socket: &Path, command: &str, patience: Duration, output: &mut Vec<u8>) -> io::Result<String> {
    let end = Instant::now() + patience;
    let mut stream = UnixStream::connect(socket)?;
    let mut until_prompt = |stream: &mut UnixStream| {
        let from = output.len();
        until(stream, PROMPT, end, output).map(|()| String::from_utf8_lossy(&output[from..]).into_owned())
    };
    // The greeting has the version, too, so skip it.
    until_prompt(&mut stream)?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    until_prompt(&mut stream)
}

/// Reads until the input ends with `last`.
fn until(stream: &mut UnixStream, last: &str, end: Instant, output: &mut Vec<u8>) -> io::Result<()> {
    let from = output.len();
    let mut buffer = [0; 4096];
    while !output[from..].ends_with(last.as_bytes()) {
        let remaining = end.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(remaining))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) if output.len() > MOST => return Err(io::Error::other("it goes on and on")),
            Ok(count) => output.extend_from_slice(&buffer[..count]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Returns the stop for a monitor that did not answer: if it has printed something and the guest is emulated, it may be
/// slow.
fn unanswered(e: &io::Error, output: &[u8], is_emulated: bool) -> Stop {
    let output = String::from_utf8_lossy(output);
    let output: String = output.chars().take(200).collect();
    let what = format!("asking the monitor that QEMU was told to open: {e}; it said {output:?}");
    match e.kind() == ErrorKind::TimedOut && is_emulated && !output.is_empty() {
        true => Stop::error(what),
        false => Stop::fail(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    /// Starts a monitor that answers one command with `answer`, after the echo of the command.
    fn monitor(answer: &'static str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("monitor");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"QEMU 10.0.2 monitor - type 'help' for more information\r\n(qemu) ").unwrap();
            let mut command = [0; 13];
            stream.read_exact(&mut command).unwrap();
            stream.write_all(format!("info version\x1b[K\r\n{answer}").as_bytes()).unwrap();
        });
        (dir, path)
    }

    #[test]
    fn a_monitors_reply_is_read_without_its_greeting() {
        let ask = |answer| {
            let (_dir, path) = monitor(answer);
            ask_monitor(&path, "info version", Duration::from_secs(20), &mut Vec::new())
        };
        assert!(ask("10.0.2 (Debian)\r\n(qemu) ").unwrap().contains("10.0.2"));
        assert!(!ask("unknown command\r\n(qemu) ").unwrap().contains("10.0.2"));
        assert_eq!(ask("10.0").unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_missing_monitor_is_a_failure_and_a_slow_one_an_error() {
        let absent = ask_monitor(Path::new("/nonexistent/monitor"), "info version", Duration::ZERO, &mut Vec::new());
        assert!(matches!(unanswered(&absent.unwrap_err(), b"", true), Stop::Fail { .. }));
        let late = || io::Error::from(ErrorKind::TimedOut);
        assert!(matches!(unanswered(&late(), b"QEMU", true), Stop::Error { .. }));
        assert!(matches!(unanswered(&late(), b"QEMU", false), Stop::Fail { .. }));
        assert!(matches!(unanswered(&late(), b"", true), Stop::Fail { .. }));
    }

    #[test]
    fn a_version_has_three_numbers() {
        let full = json!({ "qemu": { "major": 10, "minor": 0, "micro": 2 }, "package": "Debian" });
        assert_eq!(version(&full), Ok("10.0.2".to_owned()));
        assert!(version(&json!({ "qemu": { "major": 10 } })).is_err());
    }
}
