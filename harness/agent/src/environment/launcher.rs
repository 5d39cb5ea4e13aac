//! Starts the environment's guests, each with its own share, number and paths, according to what the environment
//! provides.

use crate::environment::kvm;
use crate::home::AgentHome;
use crate::launch::api::ApiGuest;
use crate::launch::deadlines::Deadlines;
use crate::launch::paths::GuestPaths;
use crate::launch::provided::{Provided, RequiredDevice};
use crate::launch::running::{NotStarted, RunningGuest};
use crate::launch::slots::Slots;
use crate::system;
use model::arch::Arch;
use model::profile::Profile;
use model::sync::locked;
use protocol::facts::EnvironmentFact;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::environment::{Claims, Environment, Setting, VcpuError};
use suites::outcome::Component;
use suites::share::Share;

/// Reasons why KVM boots no guest.
#[derive(Debug, thiserror::Error)]
enum NoKvmGuest {
    /// KVM runs no vCPU.
    #[error(transparent)]
    Vcpu(#[from] VcpuError),
    /// A prerequisite of a guest is missing.
    #[error("{message}")]
    Unprepared { message: String },
    /// The guest was started, but did not come up.
    #[error("no guest boots under KVM: {message}")]
    NotBooted { message: String },
}

impl NoKvmGuest {
    fn unprepared(stop: Stop) -> NoKvmGuest {
        NoKvmGuest::Unprepared { message: message_of(stop) }
    }
}

/// Starts guests, and holds the data common to all of them.
pub(super) struct Launcher {
    home: AgentHome,
    /// Devices that the environment provides for Kata, once it has been probed.
    provided: Mutex<Provided>,
    claims: Mutex<Option<Arc<Claims>>>,
    slots: Arc<Slots>,
    /// Whether KVM boots a guest, once that was tried.
    kvm: Mutex<Option<EnvironmentFact>>,
    /// Number of the next guest.
    next: AtomicU64,
    /// Set after a guest failed to come up: the next guest's kernel logs everything, at any cost.
    verbose: AtomicBool,
}

impl Launcher {
    pub(super) fn new(home: AgentHome) -> Launcher {
        Launcher {
            slots: Arc::new(Slots::new(home.clone())),
            home,
            provided: Mutex::default(),
            claims: Mutex::default(),
            kvm: Mutex::default(),
            next: AtomicU64::default(),
            verbose: AtomicBool::default(),
        }
    }

    pub(super) fn set_provided(&self, provided: Provided) {
        *locked(&self.provided) = provided;
    }

    pub(super) fn set_claims(&self, claims: Box<Claims>) {
        *locked(&self.claims) = Some(Arc::from(claims));
    }

    /// Returns the known facts about the image.
    pub(super) fn claims(&self) -> Result<Arc<Claims>, Stop> {
        locked(&self.claims).clone().ok_or_else(|| Stop::error("the environment has not been set up"))
    }

    /// Returns a number that no other guest of the environment has.
    pub(super) fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the paths of another guest, with a share that is reserved until they are dropped.
    pub(super) fn paths(&self, setting: Setting) -> Result<GuestPaths, Stop> {
        let slot = self.slots.take()?;
        let number = self.next_number();
        GuestPaths::new(&self.home, slot, number, setting).map_err(|e| Stop::error(e.to_string()))
    }

    /// Returns the devices that a guest may be given here, including the one that its test requires.
    pub(super) fn provided_with(&self, required: RequiredDevice) -> Provided {
        let provided = locked(&self.provided).with(required);
        Provided { terse: provided.terse && !self.verbose.load(Ordering::Relaxed), ..provided }
    }

    /// Starts a guest; if it does not come up, the next guest's kernel logs everything.
    pub(super) fn start(
        &self,
        profile: &Profile,
        configuration: Configuration,
        required: RequiredDevice,
        setting: Setting,
    ) -> Result<RunningGuest, Box<NotStarted>> {
        let claims = self.claims()?;
        let provided = self.provided_with(required);
        if let Some(why) = never_comes_up(claims.release.arch, self.home.kind, provided) {
            return Err(Stop::skip(why).into());
        }
        let paths = self.paths(setting)?;
        let started = RunningGuest::start(profile, configuration, required, provided, &claims, paths);
        if started.is_err() {
            self.verbose.store(true, Ordering::Relaxed);
        }
        started
    }

    /// Starts a guest with a VMM other than QEMU.
    pub(super) fn start_by(
        &self,
        vmm: Component,
        profile: &Profile,
        share: Option<Share>,
    ) -> Result<ApiGuest, Box<NotStarted>> {
        let (claims, paths) = (self.claims()?, self.paths(Setting::Shipped)?);
        let provided = self.provided_with(RequiredDevice::None);
        let started = ApiGuest::start(vmm, profile, share, provided, &claims, paths);
        if started.is_err() {
            self.verbose.store(true, Ordering::Relaxed);
        }
        started
    }

    /// Returns whether KVM boots a guest, or the reason why not; tried once.
    pub(super) fn kvm_by_booting(&self, profile: &Profile) -> EnvironmentFact {
        locked(&self.kvm).get_or_insert_with(|| EnvironmentFact::of(self.boots_under_kvm(profile))).clone()
    }

    fn boots_under_kvm(&self, profile: &Profile) -> Result<(), NoKvmGuest> {
        kvm::works()?;
        let claims = self.claims().map_err(NoKvmGuest::unprepared)?;
        let paths = self.paths(Setting::Shipped).map_err(NoKvmGuest::unprepared)?;
        let provided = Provided { kvm: true, ..Provided::default() };
        let deadlines = Deadlines::under_kvm(system::is_under_a_hypervisor());
        let none = RequiredDevice::None;
        RunningGuest::start_within(profile, Configuration::Plain, none, provided, &claims, paths, deadlines)
            .map(drop)
            .map_err(|e| NoKvmGuest::NotBooted { message: message_of(e.stop) })
    }
}

/// Returns the reason if it is known beforehand that no guest can come up: a guest emulated by an emulated IBM Z.
///
/// QEMU 10.0.2 does not emulate nested guests of such a machine (it has no `/dev/kvm`), and a guest emulated twice over
/// had not reached its init after 480 s.
fn never_comes_up(arch: Arch, kind: Environment, provided: Provided) -> Option<&'static str> {
    (arch == Arch::S390x && kind == Environment::Vm && !provided.kvm)
        .then_some("the environment lacks KVM, and a guest that is emulated in an emulated machine does not come up")
}

fn message_of(stop: Stop) -> String {
    match stop {
        Stop::Fail { message, .. }
        | Stop::Error { message }
        | Stop::Unanswered { message }
        | Stop::Skip { reason: message } => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_of_an_emulated_ibm_z_are_not_waited_for() {
        let none = Provided::default();
        let with_kvm = Provided { kvm: true, ..none };
        assert!(never_comes_up(Arch::S390x, Environment::Vm, none).is_some());
        for (arch, kind, provided) in [
            (Arch::S390x, Environment::Vm, with_kvm),
            (Arch::S390x, Environment::Host, none),
            (Arch::X86_64, Environment::Vm, none),
            (Arch::Aarch64, Environment::Vm, none),
        ] {
            assert_eq!(never_comes_up(arch, kind, provided), None, "{arch} {kind:?}");
        }
    }
}
