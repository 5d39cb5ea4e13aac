//! Location of an environment's agent: the kind of environment, and the working directory.

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use suites::environment::Environment;

/// Directory in containers and virtual machines: a volume, or a directory of the disk.
pub const VOLUME: &str = "/kata-qualify";
/// Size of the small filesystem in each share, in bytes: small enough to be filled.
pub const SMALL: u64 = 16 << 20;
/// Number of an environment's shares, each with a small filesystem mounted below it. The last one is for the native
/// control.
pub const SLOTS: usize = 8;

/// An agent's surroundings.
#[derive(Debug, Clone)]
pub struct AgentHome {
    /// The kind of environment.
    pub kind: Environment,
    /// Directory of all of the agent's files.
    pub dir: PathBuf,
    /// Directory of sockets; short, because the path of a Unix socket is limited to 108 bytes.
    pub sockets: PathBuf,
}

impl AgentHome {
    /// Returns the home in a container, which was made with everything.
    pub fn container() -> AgentHome {
        AgentHome { kind: Environment::Container, dir: VOLUME.into(), sockets: "/run/kq".into() }
    }

    /// Returns the home in a virtual machine of the harness.
    pub fn vm() -> AgentHome {
        AgentHome { kind: Environment::Vm, dir: VOLUME.into(), sockets: "/run/kq".into() }
    }

    /// Returns the home on the user's own machine, in a directory that the harness makes and removes.
    pub fn host(dir: &Path) -> AgentHome {
        AgentHome {
            kind: Environment::Host,
            dir: dir.to_owned(),
            sockets: format!("/run/kq-{}", std::process::id()).into(),
        }
    }

    /// Returns the directory of guests' logs, and of other logs.
    pub fn artifacts(&self) -> PathBuf {
        self.dir.join("artifacts")
    }

    /// Returns the program of an external test suite, if the harness has sent it.
    pub fn external(&self, name: &str) -> Option<PathBuf> {
        Some(self.dir.join(name)).filter(|path| path.exists())
    }

    /// Returns the directory of a share.
    pub fn slot(&self, number: usize) -> PathBuf {
        self.dir.join(format!("slot{number}"))
    }

    /// Returns the directory of files that native checks need beside a share.
    ///
    /// It is not /tmp: on this machine every user could put links or other results there.
    pub fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    /// Prepares what the kind of environment does not provide.
    ///
    /// # Errors
    /// If something could not be made or mounted.
    pub fn settle(&self) -> io::Result<()> {
        fs::create_dir_all(self.artifacts())?;
        fs::create_dir_all(self.scratch())?;
        match self.kind {
            Environment::Container => return Ok(()),
            // Modules load while udev finds devices; probing must wait for that.
            Environment::Vm => wait_for_udev(Duration::from_secs(60)),
            // The mounts are private to the harness, and disappear with it.
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
    /// Kills the container's main process: with a container's init, all processes of its namespace die, including this
    /// one.
    ///
    /// In other environments no process has this name, and nothing is killed.
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

    /// Removes files outside the agent's directory, which the harness removes.
    pub fn leave(&self) {
        if self.kind == Environment::Host {
            let _ = fs::remove_dir_all(&self.sockets);
        }
    }
}

/// Waits for udev, which keeps this file while it processes devices.
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
