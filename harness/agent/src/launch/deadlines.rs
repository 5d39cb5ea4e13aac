//! Time limits of guests, depending on where a guest runs; no other module has any.
//!
//! The deadline for an answer is always longer than that for silence: while `launch::running` waits, it watches for
//! silence, so that a guest that hangs is reported as hung, and only a guest with heartbeats as slow.
//! Other modules have only pauses between two looks, in milliseconds.

use std::time::Duration;
use suites::environment::Environment;

/// Returns the factor for durations relative to plain emulation: guests of emulated machines are slower still.
pub fn patience(kind: Environment) -> u64 {
    if kind == Environment::Vm { NESTED.into() } else { 1 }
}

/// Factor for a guest of an emulated machine, which is emulated twice over.
const NESTED: u32 = 3;

/// Time that an agent in a virtual machine waits for its port: longer than the harness outside waits for its hello.
///
/// The agent cannot know the deadline outside, because any message would come through that port. So the outside must
/// give up first, and report its observations of the machine; a PID 1 that gives up makes its kernel panic.
pub const PORT: Duration = Duration::from_secs(900);
/// Time after which a guest's agent reports on the console that it still waits for its port.
pub const PORT_IS_LATE: Duration = Duration::from_secs(20);

/// Time limit for a guest's boot under KVM before KVM counts as unusable; a machine without KVM hangs forever.
const KVM_BOOT: Duration = Duration::from_secs(60);

/// The deadlines of one guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Factor for this guest's durations relative to plain emulation.
    pub times: u32,
    /// Time until its agent's hello, under emulation on a busy machine.
    pub boot: Duration,
    /// Silence after which a guest counts as hung; heartbeats come twice a second.
    pub silence: Duration,
    /// Time for QEMU to answer QMP.
    pub qmp: Duration,
    /// Time for its agent to answer, longer than the silence after which the guest counts as hung, like all other
    /// deadlines for its answers.
    pub answer: Duration,
    /// Time for its agent to load modules.
    pub modules: Duration,
    /// Time for its agent to mount the share.
    pub mount: Duration,
    /// Time for which its agent, before mounting, waits for the device; its driver is already loaded.
    pub device: Duration,
    /// Time for its agent to act on the share.
    pub act: Duration,
    /// Time for its agent to receive a file.
    pub send: Duration,
    /// Time for QEMU to open its sockets.
    pub start: Duration,
    /// Time for virtiofsd to open its socket.
    pub daemon: Duration,
    /// Time for QEMU to send something to a running daemon.
    pub vhost_user: Duration,
    /// Time until a change of the share is visible on its other side.
    pub visible: Duration,
    /// Time from a deliberate fault to the resulting ending.
    pub ending: Duration,
    /// Time from a signal to its visible effect on the process.
    pub signal: Duration,
    /// Time from the end of a line to the end of the process at its other side, including a wrapper's.
    pub end: Duration,
    /// Time from QEMU's end to the end of its daemon.
    pub daemon_end: Duration,
}

impl Deadlines {
    /// Returns the deadlines for a guest, nested in a virtual machine or not.
    pub fn of(nested: bool) -> Deadlines {
        let times = if nested { NESTED } else { 1 };
        let seconds = |plain| Duration::from_secs(plain) * times;
        Deadlines {
            times,
            boot: seconds(100),
            silence: seconds(20),
            qmp: seconds(20),
            answer: seconds(40),
            modules: seconds(60),
            mount: seconds(60),
            device: seconds(10),
            act: seconds(60),
            send: seconds(30),
            start: seconds(30),
            daemon: seconds(15),
            vhost_user: seconds(30),
            visible: seconds(10),
            ending: seconds(90),
            signal: seconds(5),
            end: seconds(5),
            daemon_end: seconds(1),
        }
    }

    /// Returns the deadlines for a guest that is to show whether KVM boots any; `nested` if the machine is a virtual
    /// one.
    pub fn under_kvm(nested: bool) -> Deadlines {
        let deadlines = Deadlines::of(nested);
        Deadlines { boot: KVM_BOOT * deadlines.times, ..deadlines }
    }

    /// Returns the deadline of a body inside the guest whose row has so many seconds, in an environment of this kind.
    pub fn body(self, seconds: u32, kind: Environment) -> Duration {
        // A guest may be nested although the environment is no virtual machine of the harness.
        Duration::from_secs(u64::from(seconds) * patience(kind).max(self.times.into())).max(self.answer)
    }

    /// Returns the maximum time from the request for a guest to its mounted share.
    pub fn up(self) -> Duration {
        self.daemon + self.start + self.qmp + self.boot + self.modules + self.mount + self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::{Path, PathBuf};
    use suites::catalogue;

    /// Deadlines that are not for an answer of a guest's agent.
    const NO_ANSWERS: [&str; 11] = [
        "silence",
        "qmp",
        "device",
        "start",
        "daemon",
        "vhost_user",
        "visible",
        "ending",
        "signal",
        "end",
        "daemon_end",
    ];

    /// Returns all deadlines by name; the pattern is exhaustive, so that a new deadline does not compile before it is
    /// listed here.
    fn all(deadlines: Deadlines) -> [(&'static str, Duration); 17] {
        let Deadlines {
            times: _,
            boot,
            silence,
            qmp,
            answer,
            modules,
            mount,
            device,
            act,
            send,
            start,
            daemon,
            vhost_user,
            visible,
            ending,
            signal,
            end,
            daemon_end,
        } = deadlines;
        [
            ("boot", boot),
            ("silence", silence),
            ("qmp", qmp),
            ("answer", answer),
            ("modules", modules),
            ("mount", mount),
            ("device", device),
            ("act", act),
            ("send", send),
            ("start", start),
            ("daemon", daemon),
            ("vhost_user", vhost_user),
            ("visible", visible),
            ("ending", ending),
            ("signal", signal),
            ("end", end),
            ("daemon_end", daemon_end),
        ]
    }

    #[test]
    fn a_nested_guest_has_three_times_the_deadlines() {
        let (plain, nested) = (Deadlines::of(false), Deadlines::of(true));
        assert_eq!((plain.silence.as_secs(), nested.silence.as_secs()), (20, 60));
        for ((name, plain), (_, nested)) in all(plain).into_iter().zip(all(nested)) {
            assert_eq!(nested, plain * 3, "{name}");
        }
        assert_eq!(u64::from(NESTED), patience(Environment::Vm));
    }

    /// Otherwise a silent guest would be reported as alive without an answer.
    #[test]
    fn every_answer_deadline_is_longer_than_the_silence_limit() {
        for deadlines in
            [false, true].into_iter().flat_map(|nested| [Deadlines::of(nested), Deadlines::under_kvm(nested)])
        {
            let answers: Vec<_> = all(deadlines).into_iter().filter(|(name, _)| !NO_ANSWERS.contains(name)).collect();
            assert_eq!(answers.len(), 6, "{answers:?}");
            for (name, answer) in answers {
                assert!(answer > deadlines.silence, "{name}: {answer:?} is not longer than {:?}", deadlines.silence);
            }
            for test in catalogue::tests() {
                for kind in [Environment::Container, Environment::Vm, Environment::Host] {
                    let body = deadlines.body(test.seconds, kind);
                    assert!(body > deadlines.silence, "{}, {kind:?}: {body:?}", test.id);
                }
            }
            assert!(deadlines.device < deadlines.mount, "a disk that is not there would be told as a mount that hangs");
            let latest = deadlines.silence + deadlines.qmp;
            assert!(deadlines.ending > latest, "a guest that hangs, and whose QEMU does too, is seen after {latest:?}");
            assert!(
                PORT > deadlines.boot,
                "PID 1 would go down while it is still waited for, and make the kernel panic"
            );
        }
    }

    /// The ways to make a duration, apart from `from_millis`.
    const MADE: [&str; 9] = [
        "from_secs",
        "from_mins",
        "from_hours",
        "from_days",
        "from_weeks",
        "from_micros",
        "from_nanos",
        "Duration::new(",
        "Duration::MAX",
    ];

    /// Checks whether all milliseconds in a line of a program are written as a number of at most a second: a pause
    /// between two looks.
    fn has_only_pauses(line: &str) -> bool {
        line.split("from_millis").skip(1).all(|rest| {
            let number = rest.strip_prefix('(').and_then(|rest| rest.split(')').next()).unwrap_or_default();
            number.replace('_', "").parse::<u64>().is_ok_and(|milliseconds| milliseconds <= 1000)
        })
    }

    #[test]
    fn only_a_second_or_less_counts_as_a_pause() {
        for line in ["let a = 1;", "sleep(Duration::from_millis(20));", "Duration::from_millis(1_000)"] {
            assert!(has_only_pauses(line), "{line}");
        }
        for line in ["Duration::from_millis(60_000)", "Duration::from_millis(limit)", ".map(Duration::from_millis)"] {
            assert!(!has_only_pauses(line), "{line}");
        }
    }

    /// The source is read because the compiler cannot detect a deadline in another module: it would not be scaled for
    /// nested guests, and not be compared with the silence.
    #[test]
    fn all_guest_deadlines_are_defined_in_deadlines_rs() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files: Vec<PathBuf> = ["environment.rs", "guest.rs"].iter().map(|name| source.join(name)).collect();
        let mut folders: Vec<PathBuf> =
            ["environment", "guest", "launch"].iter().map(|name| source.join(name)).collect();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path),
                }
            }
        }
        let here = source.join("launch/deadlines.rs");
        assert!(files.contains(&here) && files.len() > 20, "{files:?}");
        for file in files.into_iter().filter(|file| *file != here && !file.ends_with("tests.rs")) {
            let text = fs::read_to_string(&file).unwrap();
            let program = text.split("#[cfg(test)]").next().unwrap();
            // The deadline of a program that is run to its end, on the same line as the program's name, is no guest's.
            let lines = program.lines().enumerate().filter(|(_, line)| !line.contains("Invocation::new("));
            for (number, line) in lines {
                assert!(
                    !MADE.iter().any(|made| line.contains(made)) && has_only_pauses(line),
                    "{}:{}: a deadline that is not in launch/deadlines.rs is not scaled for nested guests and not \
                     compared with the silence after which a guest hangs: {line}",
                    file.display(),
                    number + 1,
                );
            }
        }
    }
}
