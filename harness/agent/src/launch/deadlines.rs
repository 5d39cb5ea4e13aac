//! How long a guest is waited for: the one place that says so, by where the guest runs.

use std::time::Duration;
use suites::environment::Kind;

/// How many times as long as under plain emulation things may take: guests of emulated machines are slower still.
pub fn patience(kind: Kind) -> u64 {
    if kind == Kind::Vm { NESTED.into() } else { 1 }
}

/// A guest of an emulated machine is emulated twice over.
const NESTED: u32 = 3;

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
    /// How long its agent may take to answer, longer than the silence after which the guest counts as hung.
    pub answer: Duration,
    /// How long QEMU may take to open its sockets.
    pub start: Duration,
    /// Between a line's end and the end of the process at its other side, a wrapper's included.
    pub end: Duration,
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
            start: seconds(30),
            end: seconds(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_guest_has_three_times_as_long_for_everything() {
        let (plain, nested) = (Deadlines::of(false), Deadlines::of(true));
        assert_eq!((plain.silence.as_secs(), nested.silence.as_secs()), (20, 60));
        assert_eq!((nested.boot, nested.qmp, nested.end), (plain.boot * 3, plain.qmp * 3, plain.end * 3));
        assert_eq!((nested.answer, nested.start), (plain.answer * 3, plain.start * 3));
        // Else a guest that says nothing would be told as one that is alive and does not answer.
        assert!(plain.answer > plain.silence && nested.answer > nested.silence);
        assert_eq!(u64::from(NESTED), patience(Kind::Vm));
    }
}
