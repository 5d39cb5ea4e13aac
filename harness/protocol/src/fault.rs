//! Faults that are provoked on purpose, to show that a guest's ends are told apart.

use serde::{Deserialize, Serialize};
use suites::catalogue::Configuration;

/// What is done to a guest to rehearse how its end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Its kernel panics (sysrq-c).
    Panic,
    /// Its kernel oopses in a module's initialisation and goes on.
    Oops,
    /// Its only CPU spins in the kernel, with interrupts off.
    Spin,
    /// The QEMU process is stopped.
    StopVmm,
    /// The QEMU process is killed.
    KillVmm,
    /// The QEMU process is told to end.
    EndVmm,
    /// The QEMU process gets the signal of a crash.
    CrashVmm,
    /// The virtiofsd process is killed.
    KillDaemon,
    /// The virtiofsd process is stopped.
    StopDaemon,
}

impl Fault {
    /// All of them.
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

    /// The guest that it is done to.
    pub fn configuration(self) -> Configuration {
        match self {
            Fault::CrashVmm | Fault::KillDaemon | Fault::StopDaemon => Configuration::VirtioFs,
            _ => Configuration::Own,
        }
    }
}
