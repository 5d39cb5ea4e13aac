//! Where an environment's agent is: the kind of environment, and the folder that it works in.

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use suites::environment::Environment;

/// The folder of containers and virtual machines: a volume, or a folder of the disk.
pub const VOLUME: &str = "/kata-qualify";
/// Size of the small filesystem in each share, bytes: small enough to be filled.
pub const SMALL: u64 = 16 << 20;
/// Shares of an environment, each with a small filesystem mounted below it. The last one is the native control's.
pub const SLOTS: usize = 8;

/// An agent's surroundings.
#[derive(Debug, Clone)]
pub struct AgentHome {
    /// The kind of environment.
    pub kind: Environment,
    /// The folder that everything of the agent's lies in.
    pub dir: PathBuf,
    /// The folder of sockets; short, a Unix socket's path has 108 bytes.
    pub sockets: PathBuf,
}

impl AgentHome {
    /// In a container: everything has been made with it.
    pub fn container() -> AgentHome {
        AgentHome { kind: Environment::Container, dir: VOLUME.into(), sockets: "/run/kq".into() }
    }

    /// In one of our virtual machines.
    pub fn vm() -> AgentHome {
        AgentHome { kind: Environment::Vm, dir: VOLUME.into(), sockets: "/run/kq".into() }
    }

    /// On the user's own machine, in a folder that the harness makes and removes.
    pub fn host(dir: &Path) -> AgentHome {
        AgentHome {
            kind: Environment::Host,
            dir: dir.to_owned(),
            sockets: format!("/run/kq-{}", std::process::id()).into(),
        }
    }

    /// Logs and sockets of guests.
    pub fn artifacts(&self) -> PathBuf {
        self.dir.join("artifacts")
    }

    /// The program of a test suite of others, where the harness has sent it.
    pub fn external(&self, name: &str) -> Option<PathBuf> {
        Some(self.dir.join(name)).filter(|path| path.exists())
    }

    /// A share.
    pub fn slot(&self, number: usize) -> PathBuf {
        self.dir.join(format!("slot{number}"))
    }

    /// Makes ready what the kind of environment does not bring along.
    ///
    /// # Errors
    /// What could not be made or mounted.
    pub fn settle(&self) -> io::Result<()> {
        fs::create_dir_all(self.artifacts())?;
        match self.kind {
            Environment::Container => return Ok(()),
            // Modules load as udev finds devices; what is probed before is probed too early.
            Environment::Vm => wait_for_udev(Duration::from_secs(60)),
            // Nobody else is to see our mounts, and they go when we do.
            Environment::Host if rustix::process::geteuid().is_root() => own_mounts()?,
            Environment::Host => return Ok(()),
        }
        for number in 0..SLOTS {
            let small = self.slot(number).join("small");
            fs::create_dir_all(&small)?;
            let size = std::ffi::CString::new(format!("size={SMALL},mode=1777"))?;
            mount("tmpfs", &small, "tmpfs", MountFlags::empty(), size.as_c_str())?;
        }
        Ok(())
    }
}

/// The argument of the process that keeps a container alive.
pub const IDLE: &str = "idle";

impl AgentHome {
    /// Ends the container by its main process: with its init go all processes of its namespace, this one too.
    ///
    /// Elsewhere nothing is called so, and nothing ends.
    pub fn end(&self) {
        let idles = |pid: &u32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = words.split(|byte| *byte == 0);
            words.next().is_some_and(|program| program.ends_with(b"/kata-qualify-agent"))
                && words.next() == Some(IDLE.as_bytes())
        };
        for pid in crate::process::pids().into_iter().filter(idles) {
            let _ = crate::process::signal(pid, rustix::process::Signal::KILL);
        }
    }

    /// Removes what is not in the agent's folder; the harness removes that.
    pub fn leave(&self) {
        if self.kind == Environment::Host {
            let _ = fs::remove_dir_all(&self.sockets);
        }
    }
}

/// udev keeps this file while it has devices to look at.
fn wait_for_udev(within: Duration) {
    let end = Instant::now() + within;
    let busy = || !Path::new("/run/udev/control").exists() || Path::new("/run/udev/queue").exists();
    while busy() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[expect(unsafe_code, reason = "unshare may pull a file descriptor table apart, which this call does not")]
fn own_mounts() -> io::Result<()> {
    // SAFETY: only the mount namespace is unshared; no file descriptor changes its meaning.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }?;
    Ok(mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?)
}
