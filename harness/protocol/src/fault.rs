//! Faults that are injected on purpose, to show that the endings of guests are told apart.

use serde::{Deserialize, Serialize};
use suites::catalogue::Configuration;

/// Faults injected into a guest to rehearse how its end is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The guest's kernel panics (sysrq-c).
    Panic,
    /// The guest's kernel oopses in a module's initialisation and goes on.
    Oops,
    /// The guest's only CPU spins in the kernel, with interrupts off.
    Spin,
    /// The QEMU process is stopped.
    StopVmm,
    /// The QEMU process is killed.
    KillVmm,
    /// The QEMU process is asked to end (SIGTERM).
    EndVmm,
    /// The QEMU process gets the signal of a crash.
    CrashVmm,
    /// The virtiofsd process is killed.
    KillDaemon,
    /// The virtiofsd process is stopped.
    StopDaemon,
}

impl Fault {
    /// All faults.
    pub const ALL: &'static [Fault] = &[
        Fault::Panic,
        Fault::Oops,
        Fault::Spin,
        Fault::StopVmm,
        Fault::KillVmm,
        Fault::EndVmm,
        Fault::CrashVmm,
        Fault::KillDaemon,
        Fault::StopDaemon,
    ];

    /// Returns the configuration of the guest into which the fault is injected.
    pub fn configuration(self) -> Configuration {
        match self {
            Fault::CrashVmm | Fault::KillDaemon | Fault::StopDaemon => Configuration::VirtioFs,
            _ => Configuration::Own,
        }
    }
}
