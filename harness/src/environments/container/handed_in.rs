//! Devices of this machine for a container's guests: KVM as a device, and vhost and taps through a broker.
//!
//! Nothing is handed in if KVM is missing or runs no vCPU, or if the engine is on another machine, which no probe here
//! can examine. Only the release's own QEMU and kernel, in the container, can show whether a guest boots under KVM: if
//! none does, the container is made again without any of these, because a device that opens but does not work must not
//! be present.
//!
//! QEMU opens `/dev/kvm` by itself, as under Kata; its node is in the container, with permission to read and write it
//! but not to create it. Kata opens all other drivers for QEMU, and so does the broker (see `broker`), in a thread of
//! the harness: a container has neither their nodes nor a privilege for them.

use super::broker::Broker;
use crate::environments::vm::outer::KVM_DEVICE;
use agent::broker::{FIRST_CID, FOLDER, SOCKET, first_cid};
use bollard::models::DeviceMapping;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use suites::environment::VcpuError;
use testcontainers::core::{AccessMode, Mount};

/// Time that a vCPU may take for three instructions; a vCPU that hangs, hangs for ever.
const A_VCPU: Duration = Duration::from_secs(5);

/// Reason why containers are not given this machine's KVM.
#[derive(Debug, thiserror::Error)]
pub enum KvmWithheld {
    /// There is no container to give KVM to.
    #[error("no container is used")]
    NoContainer,
    /// Containers may run on another machine.
    #[error("DOCKER_HOST is not a local socket, so the Docker engine may run on another machine")]
    OtherMachine,
    /// No vCPU runs.
    #[error(transparent)]
    Vcpu(#[from] VcpuError),
    /// A vCPU hangs.
    #[error("a vCPU did not run within {} s", A_VCPU.as_secs())]
    Late,
}

/// Checks whether containers may be given this machine's KVM: a vCPU runs, and the engine is on this machine.
///
/// # Errors
/// The reason why not.
pub fn kvm() -> Result<(), KvmWithheld> {
    is_local(std::env::var("DOCKER_HOST").ok().as_deref())?;
    let (sender, receiver) = mpsc::channel();
    // The thread is left behind if KVM hangs.
    std::thread::spawn(move || sender.send(agent::environment::kvm::works()));
    Ok(receiver.recv_timeout(A_VCPU).map_err(|_| KvmWithheld::Late)??)
}

/// Checks whether the engine that `DOCKER_HOST` names is on this machine.
fn is_local(host: Option<&str>) -> Result<(), KvmWithheld> {
    match host.filter(|host| !host.is_empty()) {
        Some(other) if !other.starts_with("unix://") => Err(KvmWithheld::OtherMachine),
        _ => Ok(()),
    }
}

/// Devices handed in to one container; the broker ends with the value.
pub(super) struct HandedIn {
    folder: PathBuf,
    first_cid: u32,
    over: Arc<AtomicBool>,
}

impl HandedIn {
    /// Starts a broker for the container of this volume, with its socket in a new directory.
    ///
    /// # Errors
    /// If the directory or the socket cannot be made.
    pub(super) fn new(folder: &Path, volume: &str) -> io::Result<HandedIn> {
        fs::create_dir_all(folder)?;
        let (first_cid, over) = (first_cid(volume), Arc::<AtomicBool>::default());
        let handed_in = HandedIn { folder: folder.to_owned(), first_cid, over: Arc::clone(&over) };
        let listener = short(folder, |folder| UnixListener::bind(folder.join(SOCKET)))?;
        let broker = Broker::new(first_cid);
        std::thread::Builder::new().name("broker".to_owned()).spawn(move || broker.serve(&listener, &over))?;
        Ok(handed_in)
    }

    /// Returns KVM's device as Docker's API takes it.
    pub(super) fn devices() -> Vec<DeviceMapping> {
        let path = Some(KVM_DEVICE.to_owned());
        vec![DeviceMapping {
            path_on_host: path.clone(),
            path_in_container: path,
            cgroup_permissions: Some("rw".to_owned()),
        }]
    }

    /// Returns the mount of the directory with the broker's socket.
    pub(super) fn mount(&self) -> Mount {
        Mount::bind_mount(self.folder.to_string_lossy(), FOLDER).with_access_mode(AccessMode::ReadOnly)
    }

    /// Returns the environment variable that tells the agent about the broker.
    pub(super) fn variable(&self) -> (&'static str, String) {
        (FIRST_CID, self.first_cid.to_string())
    }
}

impl Drop for HandedIn {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // This connection wakes the broker, which waits in accept(2).
        let _ = short(&self.folder, |folder| UnixStream::connect(folder.join(SOCKET)));
        let _ = fs::remove_dir_all(&self.folder);
        // The run's directory is removed, too, if it is empty now.
        let _ = self.folder.parent().map(fs::remove_dir);
    }
}

/// Calls `call` with a short path of a directory, because the path of a Unix socket may have at most 108 bytes.
fn short<T>(folder: &Path, call: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let open = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    call(Path::new(&format!("/proc/self/fd/{}", open.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent::broker::{Wish, ask};
    use std::os::fd::OwnedFd;

    #[test]
    fn an_engine_on_another_machine_is_not_local() {
        for (host, is) in [
            (None, true),
            (Some(""), true),
            (Some("unix:///run/user/1000/docker.sock"), true),
            (Some("tcp://10.0.0.1:2375"), false),
            (Some("ssh://build@host.example"), false),
        ] {
            assert_eq!(is_local(host).is_ok(), is, "{host:?}");
        }
    }

    /// Runs a broker in a directory whose path is too long for a socket.
    fn with_broker(use_it: impl FnOnce(&dyn Fn(Wish) -> io::Result<OwnedFd>)) {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("x".repeat(120));
        let folder = run.join("broker");
        let handed_in = HandedIn::new(&folder, "volume").unwrap();
        use_it(&|wish| short(&folder, |folder| ask(&folder.join(SOCKET), wish)));
        drop(handed_in);
        assert!(!run.exists(), "nothing is left");
    }

    #[test]
    fn a_broker_serves_only_its_own_guests_and_is_removed_at_the_end() {
        with_broker(|ask| {
            let other = ask(Wish::Dial { cid: first_cid("volume") - 1, port: 1024 }).unwrap_err();
            assert_eq!(other.to_string(), "the context id does not belong to a guest of this container");
            // Either no process listens there, or there is no vsock; in both cases the kernel was asked.
            let own = ask(Wish::Dial { cid: first_cid("volume"), port: 1024 }).unwrap_err();
            assert!(own.raw_os_error().is_some(), "{own}");
        });
    }
}
