//! The view of the environment for one test, and the test's data for the report.

use crate::broker::{self, Wish};
use crate::environment::kvm;
use crate::environment::launcher::Launcher;
use crate::launch::compose::{self, Composed};
use crate::launch::daemon::DaemonProcess;
use crate::launch::deadlines::Deadlines;
use crate::launch::disk_server::DiskProcess;
use crate::launch::paths::GuestPaths;
use crate::launch::provided::RequiredDevice;
use crate::launch::running::{NotStarted, RunningGuest};
use crate::launch::silent_daemon::against_a_silent_daemon;
use crate::launch::vhost;
use crate::process;
use model::profile::Profile;
use model::sync::locked;
use protocol::message::Launched;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::environment::{
    Claims, CommandOutput, Daemon, DiskServer, EnvironmentSide, Machine, OtherMachine, Setting, Tap, VcpuError, VcpuRun,
};
use suites::outcome::Component;
use suites::share::Share;
use suites::vsock;

/// The environment as one test sees it.
pub(super) struct TestEnvironment<'a> {
    launcher: &'a Launcher,
    claims: Arc<Claims>,
    profile: &'a Profile,
    report: Mutex<ForReport>,
}

/// Data of a test for the report.
#[derive(Default)]
pub(super) struct ForReport {
    /// Notes of its body.
    pub(super) notes: Vec<String>,
    /// Absolute paths of logs.
    pub(super) artifacts: Vec<String>,
    /// Guests and daemons that its body started.
    pub(super) launched: Vec<Launched>,
}

impl<'a> TestEnvironment<'a> {
    pub(super) fn new(launcher: &'a Launcher, claims: Arc<Claims>, profile: &'a Profile) -> TestEnvironment<'a> {
        TestEnvironment { launcher, claims, profile, report: Mutex::default() }
    }

    /// Takes the data that the test has collected so far.
    pub(super) fn take_report(&self) -> ForReport {
        std::mem::take(&mut *locked(&self.report))
    }

    /// Adds notes and logs from elsewhere.
    pub(super) fn add(&self, notes: Vec<String>, artifacts: Vec<String>) {
        let mut report = locked(&self.report);
        report.notes.extend(notes);
        report.artifacts.extend(artifacts);
    }

    /// Adds a guest's logs.
    pub(super) fn keep_artifacts(&self, guest: &RunningGuest) {
        self.keep(&guest.artifacts(), None);
    }

    fn keep(&self, logs: &[PathBuf], launched: Option<Launched>) {
        let mut report = locked(&self.report);
        report.artifacts.extend(logs.iter().map(|log| log.to_string_lossy().into_owned()));
        report.launched.extend(launched);
    }

    /// Returns the reason why a guest was not started, and keeps the logs of the attempt.
    fn not_started(&self, tried: NotStarted) -> Stop {
        self.keep(&tried.logs, tried.launched);
        tried.stop
    }

    fn boot_as(&self, configuration: Configuration, required: RequiredDevice) -> Result<Box<dyn Machine>, Stop> {
        self.boot_guest(configuration, required, Setting::Shipped)
    }

    fn boot_guest(
        &self,
        configuration: Configuration,
        required: RequiredDevice,
        setting: Setting,
    ) -> Result<Box<dyn Machine>, Stop> {
        let mut profile = self.profile.clone();
        let (vcpus, memory_mib) = setting.size();
        profile.qemu.vcpus = vcpus.unwrap_or(profile.qemu.vcpus);
        profile.qemu.memory_mib = memory_mib.unwrap_or(profile.qemu.memory_mib);
        let started = self.launcher.start(&profile, configuration, required, setting);
        let guest = started.map_err(|tried| self.not_started(*tried))?;
        self.keep(&guest.artifacts(), Some(guest.launched().clone()));
        Ok(Box::new(guest))
    }

    /// Composes a guest with the profile's virtio-fs without starting it; returns it with its time limits.
    fn compose_virtio_fs(&self) -> Result<(Composed, GuestPaths, Deadlines), Stop> {
        let paths = self.launcher.paths(Setting::Shipped)?;
        let provided = self.launcher.provided_with(RequiredDevice::None);
        let composed = compose::compose(self.profile, Configuration::VirtioFs, provided, &self.claims, &paths)?;
        Ok((composed, paths, Deadlines::of(provided.nested)))
    }
}

impl EnvironmentSide for TestEnvironment<'_> {
    fn claims(&self) -> &Claims {
        &self.claims
    }

    fn profile(&self) -> &Profile {
        self.profile
    }

    fn run(&self, argv: &[&str], deadline: Duration) -> Result<CommandOutput, Stop> {
        process::run(argv, &[], deadline)
    }

    fn read(&self, path: &str) -> Result<String, Stop> {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(4 << 20).read_to_end(&mut text));
        read.map_err(|e| Stop::fail(format!("reading {path}: {e}")))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn start_virtiofsd(&self) -> Result<Box<dyn Daemon>, Stop> {
        let (composed, paths, deadlines) = self.compose_virtio_fs()?;
        locked(&self.report).launched.push(composed.launched());
        let process = DaemonProcess::start(&composed, &paths, deadlines)?;
        Ok(Box::new(DaemonAlone { process, _paths: paths }))
    }

    fn start_qemu_against_a_silent_daemon(&self) -> Result<(), Stop> {
        let (composed, paths, deadlines) = self.compose_virtio_fs()?;
        against_a_silent_daemon(&composed, &paths, deadlines)
    }

    fn serve_disk(&self, file: &Path) -> Result<Box<dyn DiskServer>, Stop> {
        let paths = self.launcher.paths(Setting::Shipped)?;
        let deadlines = Deadlines::of(self.launcher.provided_with(RequiredDevice::None).nested);
        let process = DiskProcess::start(file, paths, deadlines)?;
        self.keep(&[process.log().to_owned()], None);
        Ok(Box::new(process))
    }

    fn boot(&self) -> Result<Box<dyn Machine>, Stop> {
        self.boot_as(Configuration::Own, RequiredDevice::None)
    }

    fn boot_with(&self, setting: Setting) -> Result<Box<dyn Machine>, Stop> {
        let required = match setting {
            Setting::NetworkQueues(_) | Setting::NoVhostNet => RequiredDevice::Network,
            _ => RequiredDevice::None,
        };
        self.boot_guest(Configuration::Own, required, setting)
    }

    fn boot_with_vsock(&self) -> Result<Box<dyn Machine>, Stop> {
        self.boot_as(Configuration::Own, RequiredDevice::Vsock)
    }

    fn dial(&self, cid: u32, port: u32) -> io::Result<OwnedFd> {
        match broker::here() {
            Some(broker) => broker.ask(Wish::Dial { cid, port }),
            None => vsock::connect(cid, port),
        }
    }

    fn listen(&self, port: u32) -> io::Result<OwnedFd> {
        match broker::here() {
            Some(broker) => broker.ask(Wish::Listen { port }),
            None => vsock::listen_on(port),
        }
    }

    fn boot_with_network(&self) -> Result<Box<dyn Machine>, Stop> {
        self.boot_as(Configuration::Own, RequiredDevice::Network)
    }

    fn boot_with_peer(&self, peer: SocketAddr) -> Result<Box<dyn Machine>, Stop> {
        self.boot_as(Configuration::Own, RequiredDevice::Peer(peer))
    }

    fn boot_with_virtio_fs(&self) -> Result<Box<dyn Machine>, Stop> {
        self.boot_as(Configuration::VirtioFs, RequiredDevice::None)
    }

    fn boot_with_a_root_port(&self) -> Result<Box<dyn Machine>, Stop> {
        self.boot_with(Setting::RootPort)
    }

    fn boot_with_disk(&self, file: &Path) -> Result<Box<dyn Machine>, Stop> {
        let disk = Setting::Disk(file.to_owned());
        self.boot_guest(Configuration::VirtioBlk, RequiredDevice::None, disk)
    }

    fn boot_by(&self, vmm: Component, share: Option<Share>) -> Result<Box<dyn OtherMachine>, Stop> {
        let started = self.launcher.start_by(vmm, self.profile, share);
        let guest = started.map_err(|tried| self.not_started(*tried))?;
        self.keep(&guest.artifacts(), Some(guest.launched().clone()));
        Ok(Box::new(guest))
    }

    fn tap(&self) -> Result<Tap, Stop> {
        vhost::tap_and_vhost()
    }

    fn run_a_vcpu(&self) -> Result<VcpuRun, VcpuError> {
        kvm::run_a_vcpu()
    }

    fn note(&self, text: String) {
        locked(&self.report).notes.push(text);
    }
}

/// A daemon without a guest; the slot of its share is freed when it is dropped.
struct DaemonAlone {
    process: DaemonProcess,
    _paths: GuestPaths,
}

impl Daemon for DaemonAlone {
    fn log(&self) -> String {
        self.process.log()
    }

    fn wait(&mut self, deadline: Duration) -> Option<String> {
        self.process.wait(deadline)
    }

    fn deadline(&self) -> Duration {
        self.process.deadline()
    }

    fn listens(&self) -> bool {
        self.process.listens()
    }
}
