//! A sandbox for a program that works on a root other than the running system.

use super::scratch::{self, ScratchFiles};
use super::{Files, Network, ProgramSandbox, ids, mounts, submounts};
use root::Root;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The requested sandbox of a program.
#[derive(Debug, Clone)]
pub struct WantedSandbox {
    /// The root to work on.
    pub root: SandboxedRoot,
    /// Whether the program may change the root.
    pub writable: bool,
    /// The program's access to the network.
    pub network: Network,
}

/// The root that a program in a sandbox works on.
#[derive(Debug, Clone)]
pub enum SandboxedRoot {
    /// The program is the machine's and uses these settings; it sees the root, if there is one, at
    /// [`TARGET`](super::TARGET).
    Target {
        /// The root.
        root: Option<Root>,
        /// The settings.
        settings: Arc<ScratchFiles>,
        /// Whether the program gets an empty `/tmp` instead of the machine's read-only one.
        own_temporary: bool,
    },
    /// The program is the root's own, with the root as its `/`.
    Itself(Root),
}

impl WantedSandbox {
    /// Makes the sandbox; no program runs in it yet.
    ///
    /// # Errors
    ///
    /// Names the missing prerequisite: root, namespaces, a kernel or filesystem that can map ids, or a root without
    /// mounts that also belong to the machine.
    pub fn make(&self) -> io::Result<ProgramSandbox> {
        if !rustix::process::geteuid().is_root() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it needs root"));
        }
        let files = match &self.root {
            SandboxedRoot::Target { root, settings, own_temporary } => Files::Target {
                scratch: scratch::make(settings)
                    .map_err(|error| with_context("files cannot be kept in memory", &error))?,
                root: root.as_ref().map(|root| self.mapped(root)).transpose()?,
                devices: mounts::devices()?,
                own_temporary: *own_temporary,
                // On NixOS, `/run` has the machine's programs.
                without_services: self.network == Network::None && !Path::new("/run/current-system").exists(),
            },
            SandboxedRoot::Itself(root) => {
                for folder in ["/proc", "/dev"].map(Path::new) {
                    match self.writable {
                        true => root.make_folder(folder).map(drop).map_err(io::Error::other)?,
                        false => root.folder(folder).map(drop).map_err(io::Error::other)?,
                    }
                }
                let (top, mounts) = self.mapped(root)?;
                Files::Tree { root: top, devices: mounts::devices()?, mounts, temporary: !self.writable }
            }
        };
        Ok(ProgramSandbox { files, network: self.network, users: ids::namespace()? })
    }

    /// Clones the root and the mounts in it, with its ids mapped to those of the sandbox.
    fn mapped(&self, root: &Root) -> io::Result<(OwnedFd, Vec<(OwnedFd, PathBuf)>)> {
        let flags = if self.writable { ids::NO_DEVICES } else { ids::NO_DEVICES | ids::READ_ONLY };
        let map = |inside: &Path| {
            let folder = root.folder(inside).map_err(io::Error::other)?;
            let unmapped = |error: io::Error| {
                let shown = root.shown(inside);
                with_context(&format!("ids cannot be mapped on the filesystem of {}", shown.display()), &error)
            };
            ids::mapped_open(&folder, flags).map_err(unmapped)
        };
        let top = map(Path::new("/"))?;
        let below = submounts::of(root)?.into_iter().map(|inside| Ok((map(&Path::new("/").join(&inside))?, inside)));
        Ok((top, below.collect::<io::Result<_>>()?))
    }
}

fn with_context(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
