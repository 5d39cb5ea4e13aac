//! QEMU against a silent virtiofsd: a check that its virtio-fs part speaks vhost-user at all.

use crate::launch::compose::Composed;
use crate::launch::deadlines::Deadlines;
use crate::launch::ending::{ProcessEnd, vmm_ended};
use crate::launch::paths::GuestPaths;
use crate::launch::qemu_process;
use crate::process::{kill_group, stderr_log, wait};
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};
use suites::check::Stop;

/// Starts QEMU's virtio-fs part against the harness's own listener; `Ok` once it speaks vhost-user.
pub(crate) fn against_a_silent_daemon(
    composed: &Composed,
    paths: &GuestPaths,
    deadlines: Deadlines,
) -> Result<(), Stop> {
    let failed = |e: io::Error| Stop::error(format!("listening on {}: {e}", paths.virtiofsd.display()));
    let listener = UnixListener::bind(&paths.virtiofsd).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let mut qemu = qemu_process::start(composed, paths)?;
    let result = wait_for_message(&listener, &mut qemu, &paths.dir.join("qemu.log"), deadlines.vhost_user);
    kill_group(&mut qemu);
    result
}

/// Waits for the first bytes of QEMU's first vhost-user message.
fn wait_for_message(listener: &UnixListener, qemu: &mut Child, log: &Path, within: Duration) -> Result<(), Stop> {
    let stderr = stderr_log(qemu, log).map_err(|e| Stop::error(format!("logging QEMU: {e}")))?;
    let end = Instant::now() + within;
    let mut connection: Option<UnixStream> = None;
    while Instant::now() < end {
        if connection.is_none()
            && let Ok((stream, _)) = listener.accept()
        {
            stream.set_nonblocking(true).map_err(|e| Stop::error(e.to_string()))?;
            connection = Some(stream);
        }
        let mut header = [0; 12];
        if let Some(stream) = &mut connection
            && matches!(io::Read::read(stream, &mut header), Ok(1..))
        {
            return Ok(());
        }
        if let Some(status) = wait(qemu, Duration::from_millis(10)).map_err(|e| Stop::error(e.to_string()))? {
            stderr.settle();
            let ending = vmm_ended(ProcessEnd::of_qemu(status, &stderr.text()), &stderr.last_lines(4));
            return Err(ending.stop("starting QEMU against a listener of ours"));
        }
    }
    Err(Stop::fail(format!("QEMU did not speak vhost-user within {within:?}: {}", stderr.last_lines(4))))
}
