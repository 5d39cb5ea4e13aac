//! Faults on purpose: a guest brought to each kind of end, to show that the ends are told apart on this very release.

use crate::ending::process_state;
use crate::launch::Running;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::environment::{Ending, Machine as _, Question};

/// What is done to a guest.
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

/// Does it, and waits until the guest is seen to have ended or to be in trouble.
pub fn rehearse(running: &mut Running, fault: Fault) -> Result<Ending, Stop> {
    match fault {
        Fault::Panic => {
            running.ask(Question::Write { path: "/proc/sysrq-trigger".into(), text: "c".into() })?;
        }
        Fault::Oops => drop(running.ask(Question::Oops)?),
        Fault::Spin => drop(running.ask(Question::Spin)?),
        Fault::StopVmm => {
            running.signal_vmm(Signal::STOP)?;
            let end = Instant::now() + Duration::from_secs(5);
            while process_state(running.vmm_pid()) != Some('T') && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Fault::KillVmm => running.signal_vmm(Signal::KILL)?,
        Fault::CrashVmm => running.signal_vmm(Signal::SEGV)?,
        Fault::KillDaemon => running.signal_daemon(Signal::KILL)?,
        Fault::StopDaemon => running.signal_daemon(Signal::STOP)?,
    }
    let end = Instant::now() + Duration::from_secs(90);
    while Instant::now() < end {
        if let Some(ending) = running.how_it_is() {
            return Ok(ending);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(Stop::error(format!("{fault:?} was provoked, and nothing was seen for 90 s")))
}
