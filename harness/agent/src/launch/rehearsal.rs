//! Deliberate faults: a guest is brought to each kind of end, to show that the ends are distinguished on this very
//! release.

use crate::launch::running::RunningGuest;
use crate::process;
use protocol::fault::Fault;
use rustix::process::Signal;
use std::time::{Duration, Instant};
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::environment::{Ending, Machine as _, Question};
use suites::filesystem::{Action, Bytes, GuestSide};

/// Checks that a request wakes the daemon up, and that it sleeps without a request.
fn check_that_the_daemon_wakes(running: &mut RunningGuest) -> Result<(), Stop> {
    // Activity caused by the mount ends some time after it.
    let (mut before, mut asleep) = (None, None);
    for _ in 0..20 {
        before = running.daemon_wakes();
        std::thread::sleep(Duration::from_millis(1000));
        asleep = running.daemon_wakes();
        if before == asleep {
            break;
        }
    }
    let name = Bytes(b"no-such-file".to_vec());
    GuestSide::act(running, Action::Stat { path: name })?;
    let after = running.daemon_wakes();
    match (before, asleep, after) {
        (Some(before), Some(asleep), Some(after)) if before == asleep && after > asleep => Ok(()),
        wakes => Err(Stop::error(format!("virtiofsd was asleep, then asked for a file, and woke so often: {wakes:?}"))),
    }
}

/// Causes the fault, and waits until the guest is seen to have ended or to be in trouble.
pub(crate) fn rehearse(running: &mut RunningGuest, fault: Fault) -> Result<Ending, Stop> {
    if fault.configuration() == Configuration::VirtioFs {
        check_that_the_daemon_wakes(running)?;
    }
    match fault {
        Fault::Panic => {
            running.ask(Question::Write { path: "/proc/sysrq-trigger".into(), text: "c".into() })?;
        }
        Fault::Oops => drop(running.ask(Question::Oops)?),
        Fault::Spin => drop(running.ask(Question::Spin)?),
        Fault::StopVmm => {
            running.signal_vmm(Signal::STOP)?;
            let end = Instant::now() + running.deadlines().signal;
            while process::state(running.vmm_pid()) != Some('T') && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Fault::KillVmm => running.signal_vmm(Signal::KILL)?,
        Fault::EndVmm => running.signal_vmm(Signal::TERM)?,
        Fault::CrashVmm => running.signal_vmm(Signal::SEGV)?,
        Fault::KillDaemon => running.signal_daemon(Signal::KILL)?,
        Fault::StopDaemon => running.signal_daemon(Signal::STOP)?,
    }
    let deadline = running.deadlines().ending;
    let end = Instant::now() + deadline;
    while Instant::now() < end {
        if let Some(ending) = running.current_ending() {
            return Ok(ending);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(Stop::error(format!("{fault:?} was provoked, and nothing was seen for {deadline:?}")))
}
