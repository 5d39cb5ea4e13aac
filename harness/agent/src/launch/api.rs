//! A guest of Cloud Hypervisor or Firecracker: started, configured over its API, reached by vsock.
//!
//! The `vmms` crate decides what is started and configured. The guest's serial port is the VMM's standard output, as
//! with Kata's `enable_debug`; the VMM's own messages are its standard error.

mod condition;
mod machine;
mod start;

use crate::launch::compose;
use crate::launch::daemon::DaemonProcess;
use crate::launch::deadlines::Deadlines;
use crate::launch::paths::GuestPaths;
use crate::launch::provided::Provided;
use crate::log::Log;
use crate::process::{kill_group, wait};
use model::foreign::linux::panic_line;
use model::kernel::KernelRelease;
use model::profile::{ModuleUse, Profile};
use protocol::client::{Client, ClientError};
use protocol::message::{GuestReply, GuestRequest, Launched};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::environment::ModuleSet;
use suites::outcome::Component;
use suites::share::Share;
use vmms::vmm::Kind;

/// A running guest.
pub(crate) struct ApiGuest {
    kind: Kind,
    vmm: Component,
    profile: Profile,
    launched: Launched,
    paths: GuestPaths,
    share: Option<Share>,
    process: Child,
    ended: Option<ExitStatus>,
    daemon: Option<DaemonProcess>,
    serial: Log,
    words: Log,
    agent: Option<Client<GuestReply>>,
    deadlines: Deadlines,
    provided: Provided,
    max_vcpus: u32,
    kernel: KernelRelease,
    modules: BTreeMap<ModuleUse, ModuleSet>,
    boot_time: Duration,
}

impl ApiGuest {
    /// Returns how it was started.
    pub(crate) fn launched(&self) -> &Launched {
        &self.launched
    }

    /// Returns the paths of the logs.
    pub(crate) fn artifacts(&self) -> Vec<PathBuf> {
        logs_in(&self.paths)
    }

    /// Returns the socket of the VMM's API.
    fn api(&self) -> PathBuf {
        api_of(&self.paths)
    }

    /// Returns the socket of the guest's vsock.
    fn vsock(&self) -> PathBuf {
        vsock_of(&self.paths)
    }

    /// Loads the share's modules and mounts it as Kata's agent would.
    fn mount(&mut self) -> Result<(), Stop> {
        let Some(share) = self.share else { return Ok(()) };
        self.load(ModuleUse::from(share))?;
        let request = compose::mount(configuration_of(share), self.deadlines.device);
        let Some(request) = request else { return Ok(()) };
        self.request(request, self.deadlines.mount, "mounting the share in the guest").map(drop)
    }

    fn load(&mut self, used_for: ModuleUse) -> Result<(), Stop> {
        let Some(request) = compose::load(&self.modules, used_for) else { return Ok(()) };
        self.request(request, self.deadlines.modules, "loading modules").map(drop)
    }

    /// Sends a request to the guest; a missing answer becomes a stop that says how the guest ended.
    fn request(&mut self, request: GuestRequest, deadline: Duration, doing: &str) -> Result<GuestReply, Stop> {
        let Some(agent) = &self.agent else { return Err(Stop::error(format!("{doing}: the guest has no agent"))) };
        let (process, serial, silence) = (&mut self.process, &self.serial, self.deadlines.silence);
        let mut ended = self.ended;
        let reply = agent.ask(request, deadline, || {
            ended = ended.or(wait(process, Duration::ZERO).ok().flatten());
            ended.is_none() && agent.silent_for() < silence && panic_line(&serial.text()).is_none()
        });
        self.ended = ended;
        match reply {
            Ok(GuestReply::Failed { message }) => Err(Stop::fail(format!("{doing}: {message}"))),
            Ok(reply) => Ok(reply),
            // The guest is alive, but the requested action does not end.
            Err(e @ ClientError::Late(_)) => Err(Stop::fail(format!("{doing}: {e}"))),
            Err(e) => Err(self.lost(doing, &e)),
        }
    }
}

impl Drop for ApiGuest {
    fn drop(&mut self) {
        kill_group(&mut self.process);
        drop(self.daemon.take());
    }
}

/// Returns the name of the share's configuration in guests of QEMU.
fn configuration_of(share: Share) -> Configuration {
    match share {
        Share::VirtioFs => Configuration::VirtioFs,
        Share::Virtio9p => Configuration::Virtio9p,
        Share::VirtioBlk => Configuration::VirtioBlk,
    }
}

fn api_of(paths: &GuestPaths) -> PathBuf {
    paths.sockets.join("api")
}

fn vsock_of(paths: &GuestPaths) -> PathBuf {
    paths.sockets.join("vsock")
}

/// Returns the logs in a guest's directory.
fn logs_in(paths: &GuestPaths) -> Vec<PathBuf> {
    let logs = ["serial.log", "vmm.log", "machine.json", "virtiofsd.log"].iter().map(|name| paths.dir.join(name));
    logs.filter(|log| log.exists()).collect()
}
