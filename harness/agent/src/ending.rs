//! How a guest came to an end: read from its logs, its VMM's process and QMP.

use suites::check::Stop;
use suites::environment::Ending;
use suites::outcome::Component;

/// Beginnings of the lines by which a Linux kernel reports its own death.
const PANIC: &[&str] = &["Kernel panic - not syncing"];
/// What a Linux kernel that stumbles and goes on prints.
const OOPS: &[&str] =
    &["Oops:", "BUG: unable to handle", "kernel BUG at", "general protection fault", "invalid opcode:"];

/// The line with which the kernel reported a panic.
pub fn panic_line(log: &str) -> Option<String> {
    find(log, PANIC)
}

/// The line with which the kernel reported an oops.
pub fn oops_line(log: &str) -> Option<String> {
    find(log, OOPS)
}

fn find(log: &str, patterns: &[&str]) -> Option<String> {
    let line = log.lines().find(|line| patterns.iter().any(|p| line.contains(p)))?;
    Some(line.trim().chars().take(200).collect())
}

/// The process state letter in `/proc/PID/stat`; `T` is stopped.
pub fn process_state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may contain anything, also `)`; the state follows the last one.
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// What an unexpected end says about the distro, with `doing` for the message.
///
/// A crash is laid at the component that crashed; a kill or a stop from outside is nobody's.
pub fn verdict(doing: &str, ending: &Ending) -> Stop {
    match ending {
        Ending::PoweredOff => Stop::blame(Component::Kernel, format!("{doing}: the guest powered off by itself")),
        Ending::Panicked { line } => {
            Stop::blame(Component::Kernel, format!("{doing}: the guest's kernel panicked: {line}"))
        }
        Ending::Oopsed { line } => {
            Stop::blame(Component::Kernel, format!("{doing}: the guest's kernel oopsed: {line}"))
        }
        Ending::Hung { silent } => Stop::blame(
            Component::Kernel,
            format!("{doing}: the guest hangs: QEMU runs, its vCPU is busy, and nothing was heard for {silent} s"),
        ),
        Ending::VmmStopped { state } => Stop::error(format!("{doing}: QEMU was stopped from outside ({state})")),
        Ending::VmmKilled { signal } if matches!(signal, 4 | 6 | 7 | 8 | 11) => {
            Stop::blame(Component::Qemu, format!("{doing}: QEMU crashed with signal {signal}"))
        }
        Ending::VmmKilled { signal } => {
            Stop::error(format!("{doing}: QEMU was killed from outside with signal {signal}"))
        }
        Ending::VmmExited { code, stderr } => {
            Stop::blame(Component::Qemu, format!("{doing}: QEMU exited with {code}: {stderr}"))
        }
        Ending::DaemonDied { how } => Stop::blame(Component::Virtiofsd, format!("{doing}: virtiofsd ended: {how}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_and_oopses_are_told_apart_in_real_logs() {
        let panic = "[    3.1] sysrq: Trigger a crash\n[    3.2] Kernel panic - not syncing: sysrq triggered crash\n";
        assert_eq!(panic_line(panic).as_deref(), Some("[    3.2] Kernel panic - not syncing: sysrq triggered crash"));
        assert_eq!(oops_line(panic), None);
        let oops = "[    5.0] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI\n";
        assert!(oops_line(oops).is_some());
        assert_eq!(panic_line(oops), None);
    }

    #[test]
    fn a_kill_from_outside_is_never_the_distros_fault() {
        for ending in [Ending::VmmKilled { signal: 9 }, Ending::VmmStopped { state: "T".into() }] {
            assert!(matches!(verdict("x", &ending), Stop::Error { .. }), "{ending:?}");
        }
        assert!(matches!(
            verdict("x", &Ending::VmmKilled { signal: 11 }),
            Stop::Fail { blames: Some(Component::Qemu), .. }
        ));
    }

    #[test]
    fn this_very_process_runs() {
        assert!(matches!(process_state(std::process::id()), Some('R' | 'S')));
    }
}
