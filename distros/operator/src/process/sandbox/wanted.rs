//! A sandbox for a program that works on another root than the running system.

use super::scratch::{self, ScratchFiles};
use super::{Files, Network, ProgramSandbox, ids, mounts, submounts};
use root::Root;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a program is to have around it.
#[derive(Debug, Clone)]
pub struct WantedSandbox {
    /// What it works on.
    pub root: SandboxedRoot,
    /// Whether it may change that.
    pub writable: bool,
    /// What it sees of the network.
    pub network: Network,
}

/// What a program in a sandbox works on.
#[derive(Debug, Clone)]
pub enum SandboxedRoot {
    /// It is the machine's and has these settings; it sees the root, if there is one, at [`TARGET`](super::TARGET).
    Target {
        /// The root.
        root: Option<Root>,
        /// The settings.
        settings: Arc<ScratchFiles>,
        /// Whether it has a `/tmp` of its own and not the machine's, to read from.
        own_temporary: bool,
    },
    /// It is the root's own, with the root as its `/`.
    Itself(Root),
}

impl WantedSandbox {
    /// Makes it; nothing runs in it yet.
    ///
    /// # Errors
    ///
    /// What is lacking: root, namespaces, a kernel or a filesystem that can map ids, or a root that is of one piece.
    pub fn make(&self) -> io::Result<ProgramSandbox> {
        if !rustix::process::geteuid().is_root() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it needs root"));
        }
        let files = match &self.root {
            SandboxedRoot::Target { root, settings, own_temporary } => Files::Target {
                scratch: scratch::make(settings).map_err(|error| said("files cannot be kept in memory", &error))?,
                root: root.as_ref().map(|root| self.mapped(root)).transpose()?,
                devices: mounts::devices()?,
                own_temporary: *own_temporary,
                // NixOS has the machine's programs there.
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

    /// The root and what is mounted in it, as ids that are nobody's here see them.
    fn mapped(&self, root: &Root) -> io::Result<(OwnedFd, Vec<(OwnedFd, PathBuf)>)> {
        let flags = if self.writable { ids::NO_DEVICES } else { ids::NO_DEVICES | ids::READ_ONLY };
        let map = |inside: &Path| {
            let folder = root.folder(inside).map_err(io::Error::other)?;
            let unmapped = |error: io::Error| {
                let shown = root.shown(inside);
                said(&format!("ids cannot be mapped on the filesystem of {}", shown.display()), &error)
            };
            ids::mapped_open(&folder, flags).map_err(unmapped)
        };
        let top = map(Path::new("/"))?;
        let below = submounts::of(root)?.into_iter().map(|inside| Ok((map(&Path::new("/").join(&inside))?, inside)));
        Ok((top, below.collect::<io::Result<_>>()?))
    }
}

fn said(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
