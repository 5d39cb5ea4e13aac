//! How long a guest is waited for: the one place that says so, by where the guest runs.
//!
//! An answer is always waited for longer than silence: while `launch::running` waits, it watches for silence, so a
//! guest that hangs is told as such, and only one that is heard of as slow.
//! Elsewhere there are only pauses between two looks, in milliseconds.

use std::time::Duration;
use suites::environment::Environment;

/// How many times as long as under plain emulation things may take: guests of emulated machines are slower still.
pub fn patience(kind: Environment) -> u64 {
    if kind == Environment::Vm { NESTED.into() } else { 1 }
}

/// A guest of an emulated machine is emulated twice over.
const NESTED: u32 = 3;

/// How long an agent in a virtual machine waits for its port: longer than anybody outside waits for its hello.
///
/// An agent cannot know how patient its outside is, and what it could be told comes through that port. So the outside gives
/// up first, and says what it has seen of the machine; a PID 1 that gives up makes its kernel panic.
pub const PORT: Duration = Duration::from_secs(900);
/// After how long a guest's agent says on the console that it still waits for its port.
pub const PORT_IS_LATE: Duration = Duration::from_secs(20);

/// How long a guest may take to boot under KVM before KVM counts as unusable; a machine without KVM hangs forever.
const KVM_BOOT: Duration = Duration::from_secs(60);

/// The deadlines of one guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// How many times as long as under plain emulation this guest may take.
    pub times: u32,
    /// To its agent's hello, under emulation on a busy machine.
    pub boot: Duration,
    /// What has not been heard of for so long hangs; heartbeats come twice a second.
    pub silence: Duration,
    /// How long QEMU may take to answer QMP.
    pub qmp: Duration,
    /// How long its agent may take to answer, longer than the silence after which the guest counts as hung; so are all other
    /// deadlines of its answers.
    pub answer: Duration,
    /// How long its agent may take to load modules.
    pub modules: Duration,
    /// How long its agent may take to mount the share.
    pub mount: Duration,
    /// How long its agent, before it mounts, waits for the device; its driver is loaded by then.
    pub device: Duration,
    /// How long its agent may take to act on the share.
    pub act: Duration,
    /// How long its agent may take to receive a file.
    pub send: Duration,
    /// How long QEMU may take to open its sockets.
    pub start: Duration,
    /// How long virtiofsd may take to open its socket.
    pub daemon: Duration,
    /// How long QEMU may take to speak to a daemon that is there.
    pub vhost_user: Duration,
    /// How long a change of the share may take to be visible on its other side.
    pub visible: Duration,
    /// From a fault on purpose to the ending that is seen of it.
    pub ending: Duration,
    /// From a signal to what is seen of it on the process.
    pub signal: Duration,
    /// Between a line's end and the end of the process at its other side, a wrapper's included.
    pub end: Duration,
    /// From QEMU's end to the end of its daemon.
    pub daemon_end: Duration,
}

impl Deadlines {
    /// The deadlines for a guest, nested in a virtual machine or not.
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

    /// The deadlines for a guest that is to show whether KVM boots any; nested, where the machine is a virtual one.
    pub fn under_kvm(nested: bool) -> Deadlines {
        let deadlines = Deadlines::of(nested);
        Deadlines { boot: KVM_BOOT * deadlines.times, ..deadlines }
    }

    /// How long a body may take inside the guest, of which its row says so many seconds, in an environment of this kind.
    pub fn body(self, seconds: u32, kind: Environment) -> Duration {
        // A guest may be nested where the environment is no virtual machine of ours.
        Duration::from_secs(u64::from(seconds) * patience(kind).max(self.times.into())).max(self.answer)
    }

    /// From the request for a guest to its mounted share, when every part of it takes as long as it may.
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

    /// The deadlines within which no answer of a guest's agent is awaited.
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

    /// All of them by name; the pattern is whole, so that a new one does not compile before it stands here.
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
    fn a_nested_guest_has_three_times_as_long_for_everything() {
        let (plain, nested) = (Deadlines::of(false), Deadlines::of(true));
        assert_eq!((plain.silence.as_secs(), nested.silence.as_secs()), (20, 60));
        for ((name, plain), (_, nested)) in all(plain).into_iter().zip(all(nested)) {
            assert_eq!(nested, plain * 3, "{name}");
        }
        assert_eq!(u64::from(NESTED), patience(Environment::Vm));
    }

    /// Else a guest that says nothing would be told as one that is alive and does not answer.
    #[test]
    fn every_answer_is_waited_for_longer_than_silence() {
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
            let told = deadlines.silence + deadlines.qmp;
            assert!(deadlines.ending > told, "a guest that hangs, and whose QEMU does too, is seen after {told:?}");
            assert!(
                PORT > deadlines.boot,
                "PID 1 would go down while it is still waited for, and make the kernel panic"
            );
        }
    }

    /// The source is read because the compiler cannot tell a deadline that stands elsewhere: it would not be scaled for
    /// nested guests, and nobody would compare it with the silence.
    #[test]
    fn no_deadline_of_a_guest_stands_elsewhere() {
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
            // The deadline of a program that is run to its end, beside the program's name, is no guest's.
            let lines = program.lines().enumerate().filter(|(_, line)| !line.contains("Invocation::new("));
            for (number, line) in lines {
                assert!(
                    !["from_secs", "from_mins", "Duration::new("].iter().any(|made| line.contains(made)),
                    "{}:{}: a deadline that is not in launch/deadlines.rs is not scaled for nested guests and not \
                     compared with the silence after which a guest hangs: {line}",
                    file.display(),
                    number + 1,
                );
            }
        }
    }
}
