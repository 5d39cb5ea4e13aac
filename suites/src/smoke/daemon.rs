//! virtiofsd by itself, and QEMU's half of virtio-fs by itself: each is blamed for its own refusal only.

use crate::capability::Capability;
use crate::check::{Check, Stop};
use crate::environment::{Daemon, EnvironmentSide};
use crate::outcome::FailureDetail;
use crate::reproducer::Reproducer;
use crate::row::{Row, row};
use crate::under;
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("daemon.rs");

pub(super) static ROWS: &[Row] = &[
    row!(Environment(virtiofsd_accepts_the_profiles_flags), &[Capability::FsVirtioFs], Virtiofsd)
        .blocked_by(&["smoke::virtiofsd_is_where_the_record_says"])
        .seconds(30)
        .reproduced(Reproducer::DaemonRefuses),
    row!(Environment(virtiofsd_prints_what_runtime_rs_waits_for), &[Capability::FsVirtioFs], Virtiofsd)
        .blocked_by(&["smoke::virtiofsd_accepts_the_profiles_flags"])
        .under(&under::READY_LINE)
        .seconds(30),
    row!(Environment(qemu_accepts_the_arguments_of_virtio_fs), &[Capability::FsVirtioFs], Qemu)
        .blocked_by(&["smoke::qemu_has_the_devices_of_virtio_fs"])
        .reproduced(Reproducer::QemuRefuses),
];

/// The line on standard error that runtime-rs waits for, without a time-out of its own
/// (src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.0.0).
const RUNTIME_RS_WAITS_FOR: &str = "Waiting for vhost-user socket connection";

/// virtiofsd takes the profile's flags and stays alive, waiting for QEMU to connect.
///
/// Kata 3.2 and later pass the Rust daemon's flags, earlier ones the C daemon's `-o` options; a daemon that refuses
/// them exits at once, and Kata's pod never starts. The flags are those of
/// src/runtime/virtcontainers/virtiofsd.go@4.1.0 and `virtiofsd_args` in
/// src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.1.0.
fn virtiofsd_accepts_the_profiles_flags(env: &dyn EnvironmentSide) -> Check {
    let mut daemon = env.start_virtiofsd()?;
    match daemon.wait(Duration::from_secs(1)) {
        None => Ok(()),
        Some(how) => Err(ended("ended at once", &how, &*daemon)),
    }
}

/// Returns the stop for a daemon that ended, with the daemon's own words.
fn ended(when: &str, how: &str, daemon: &dyn Daemon) -> Stop {
    let stderr = daemon.last_lines();
    let lacks_flag = FailureDetail::of_daemon(&stderr);
    let detail = lacks_flag.unwrap_or_else(|| FailureDetail::DaemonEnded { said: stderr.clone() });
    Stop::fail(format!("virtiofsd {when} ({how}): {stderr}")).showing(detail)
}

/// virtiofsd prints the line that runtime-rs waits for before it lets QEMU start, once it has opened its socket.
///
/// runtime-rs has no time-out there: every pod hangs if a daemon words the line differently, or logs it elsewhere. That
/// is `run_virtiofsd` in src/runtime-rs/crates/resource/src/share_fs/share_virtio_fs_standalone.rs@4.1.0.
fn virtiofsd_prints_what_runtime_rs_waits_for(env: &dyn EnvironmentSide) -> Check {
    let mut daemon = env.start_virtiofsd()?;
    prints_the_ready_line(&mut *daemon)
}

fn prints_the_ready_line(daemon: &mut dyn Daemon) -> Check {
    let deadline = daemon.deadline();
    let end = Instant::now() + deadline;
    while Instant::now() < end {
        if daemon.log().contains(RUNTIME_RS_WAITS_FOR) {
            return Ok(());
        }
        if let Some(how) = daemon.wait(Duration::from_millis(50)) {
            return Err(ended("ended", &how, &*daemon));
        }
    }
    let (seen, seconds) = (daemon.last_lines(), deadline.as_secs());
    // Without its socket it is still starting, so that this machine is slow.
    Err(match daemon.listens() {
        true => Stop::fail(format!("{RUNTIME_RS_WAITS_FOR:?} did not appear within {seconds} s; seen: {seen}")),
        false => Stop::error(format!("virtiofsd runs and has no socket after {seconds} s; seen: {seen}")),
    })
}

/// QEMU accepts the profile's virtio-fs arguments and starts to speak vhost-user with the listener.
///
/// The listener is the harness's own and never answers, so a refusal here is QEMU's and not the daemon's: QEMU before
/// 6.0 does not know the `readonly=` that runtime-rs always passes. The Go runtime's arguments are in
/// `appendVhostUserDevice` in src/runtime/virtcontainers/qemu_arch_base.go@4.1.0, those of runtime-rs in
/// src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.1.0.
fn qemu_accepts_the_arguments_of_virtio_fs(env: &dyn EnvironmentSide) -> Check {
    env.start_qemu_against_a_silent_daemon()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A daemon that lives, prints something else, and has a socket or not.
    struct Alive {
        listens: bool,
    }

    impl Daemon for Alive {
        fn log(&self) -> String {
            "ready\n".to_owned()
        }

        fn wait(&mut self, _: Duration) -> Option<String> {
            None
        }

        fn deadline(&self) -> Duration {
            Duration::from_millis(20)
        }

        fn listens(&self) -> bool {
            self.listens
        }
    }

    #[test]
    fn a_daemon_that_is_still_starting_has_not_failed() {
        let silent = prints_the_ready_line(&mut Alive { listens: true });
        assert!(matches!(&silent, Err(Stop::Fail { .. })), "{silent:?}");
        let slow = prints_the_ready_line(&mut Alive { listens: false });
        assert!(matches!(&slow, Err(Stop::Error { .. })), "{slow:?}");
    }

    struct Ended;

    impl Daemon for Ended {
        fn log(&self) -> String {
            "fuse: unknown option\n".to_owned()
        }

        fn wait(&mut self, _: Duration) -> Option<String> {
            Some("exit code 1".to_owned())
        }

        fn deadline(&self) -> Duration {
            Duration::ZERO
        }

        fn listens(&self) -> bool {
            false
        }
    }

    #[test]
    fn the_daemons_own_message_is_in_the_detail() {
        let detail = FailureDetail::DaemonLacksFlag { said: "fuse: unknown option".to_owned() };
        let expected = Stop::fail("virtiofsd ended at once (exit code 1): fuse: unknown option").showing(detail);
        assert_eq!(ended("ended at once", "exit code 1", &Ended), expected);
    }
}
