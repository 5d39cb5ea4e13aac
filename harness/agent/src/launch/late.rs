//! Blame for a request that a living guest and a living virtiofsd do not finish: one table over all facts, in which the
//! first matching row applies.
//!
//! A request that never reaches virtiofsd is not virtiofsd's fault.
//! The prerequisites of a request are judged first, because a kernel that waits for the answer to its first request
//! holds all others back: then virtiofsd sleeps, no matter which component is at fault.
//!
//! # The table
//!
//! | seen | blames |
//! |---|---|
//! | QEMU maps the guest's memory privately | qemu |
//! | QEMU has no virtio-fs device | qemu |
//! | the guest's kernel has seen the device, but has no driver for it | kernel |
//! | the kernel has not seen the device, or a driver has not made it ready | no component: `error` |
//! | the driver is ready, but QEMU has not started virtiofsd's queues | no component: `error` |
//! | QEMU shares the memory, but virtiofsd has not mapped it | no component: `error` |
//! | the guest has put no request into the queues | kernel |
//! | all requests are answered; virtiofsd has woken up since this request, or that cannot be seen | the test's component |
//! | all requests are answered; virtiofsd has not woken up | no component: `error` |
//! | requests are open, and their number changes, in an emulated guest | no component: `error`, the guest is slow |
//! | the same, in a guest that is not emulated | the test's component |
//! | requests are open, none was answered, and virtiofsd's memory cannot be seen | no component: `error` |
//! | requests are open; virtiofsd has woken up since this request, or since the mount and answered none | virtiofsd |
//! | requests are open, but virtiofsd was not woken up for them | no component: `error` |
//! | requests are open, and whether virtiofsd has woken up cannot be seen | the test's component |
//! | the queues cannot be seen (QEMU before 7.2), virtiofsd has not woken up | no component: `error` |
//! | the same, but virtiofsd has woken up, or that cannot be seen | the test's component |
//!
//! A mount that the guest's kernel refuses is judged by the first six rows, too; if no request was made, virtiofsd was
//! not involved, and no component is blamed.

use crate::launch::memory::Memory;
use crate::launch::virtio_fs::{FsDevice, Queues};
use suites::check::Stop;
use suites::outcome::Component;

/// Observable facts about a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShareFacts {
    /// Whether the guest's memory is common to QEMU and virtiofsd.
    pub(crate) memory: Memory,
    /// Whether virtiofsd has woken up.
    pub(crate) heard: Heard,
    /// The device in QEMU.
    pub(crate) device: FsDevice,
}

/// Latest time since which virtiofsd has woken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Since the request.
    Request,
    /// Since the mount of the share began, but not since the request.
    Mount,
    /// Not even since the mount.
    Nothing,
    /// Not observable.
    Unknown,
}

impl Heard {
    /// Compares how often virtiofsd had gone to sleep before the mount, if there was one, before the request, and now.
    pub(crate) fn of(mount: Option<u64>, request: Option<u64>, now: Option<u64>) -> Heard {
        let (Some(request), Some(now)) = (request, now) else { return Heard::Unknown };
        match mount {
            _ if now != request => Heard::Request,
            Some(mount) if now != mount => Heard::Mount,
            _ => Heard::Nothing,
        }
    }
}

/// Conclusion from the facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// This component is at fault.
    Blames(Component, &'static str),
    /// The component at fault cannot be determined.
    Undecided(&'static str),
    /// The facts do not contradict the test's own component.
    AsTheTestSays,
}

impl Finding {
    fn stop(self, observed: &str, facts: &ShareFacts) -> Stop {
        match self {
            Finding::Blames(component, why) => Stop::blame(component, format!("{observed}; {why} ({facts})")),
            Finding::Undecided(why) => Stop::error(format!("{observed}; {why} ({facts})")),
            Finding::AsTheTestSays => Stop::fail(format!("{observed} ({facts})")),
        }
    }
}

/// Returns the stop for an unfinished request, which `observed` describes. Without a share there are no facts.
pub(crate) fn unfinished(observed: &str, facts: Option<&ShareFacts>, is_emulated: bool) -> Stop {
    facts.map_or_else(|| Stop::fail(observed), |facts| judge(facts, is_emulated).stop(observed, facts))
}

/// Returns the stop for a mount that the guest's kernel refused; `observed` has its message.
pub(crate) fn refused(observed: &str, facts: Option<&ShareFacts>) -> Stop {
    facts.map_or_else(|| Stop::fail(observed), |facts| judge_a_refusal(facts).stop(observed, facts))
}

fn judge(facts: &ShareFacts, is_emulated: bool) -> Finding {
    if let Some(finding) = before_any_request(facts) {
        return finding;
    }
    match (&facts.device, facts.heard) {
        (FsDevice::Queues(queues), heard) => judge_queues(queues, facts.memory, heard, is_emulated),
        (_, Heard::Request | Heard::Unknown) => Finding::AsTheTestSays,
        (_, Heard::Mount | Heard::Nothing) => Finding::Undecided(
            "virtiofsd has slept since before the request: nothing reached it, and whether the guest's kernel or QEMU \
             holds it back is not known",
        ),
    }
}

fn judge_a_refusal(facts: &ShareFacts) -> Finding {
    match (before_any_request(facts), &facts.device) {
        (Some(finding), _) => finding,
        (None, FsDevice::Queues(queues)) if queues.none_asked() => Finding::Undecided(
            "virtiofsd was not asked: whether the guest's kernel refused by itself, or by what QEMU's device says, is \
             not known",
        ),
        (None, _) => Finding::AsTheTestSays,
    }
}

/// The rows for the prerequisites of a request to virtiofsd.
fn before_any_request(facts: &ShareFacts) -> Option<Finding> {
    Some(match (facts.memory, &facts.device) {
        (Memory::PrivateInVmm, _) => Finding::Blames(
            Component::Qemu,
            "QEMU was given share=on and maps the guest's memory for itself alone: no request reaches virtiofsd",
        ),
        (_, FsDevice::Absent) => {
            Finding::Blames(Component::Qemu, "QEMU was given a virtio-fs device, and has none by its own word")
        }
        (_, FsDevice::NoDriver) => Finding::Blames(
            Component::Kernel,
            "the guest's kernel has seen its virtio-fs device, and has no driver for it",
        ),
        (_, FsDevice::NotReady) => Finding::Undecided(
            "the guest has not made its virtio-fs device ready: whether its kernel or the device is at fault is not \
             known",
        ),
        (_, FsDevice::NotStarted) => Finding::Undecided(
            "the guest's driver is ready and virtiofsd's queues are not set going: whether QEMU or virtiofsd refused \
             is not known",
        ),
        (Memory::NotInDaemon, _) => Finding::Undecided(
            "QEMU shares the guest's memory and virtiofsd has not mapped it: no request reaches it, and which of the \
             two is at fault is not known",
        ),
        (Memory::Shared | Memory::Unknown, FsDevice::Unknown | FsDevice::Queues(_)) => return None,
    })
}

/// The rows for the content of the queues.
fn judge_queues(queues: &Queues, memory: Memory, heard: Heard, is_emulated: bool) -> Finding {
    if queues.none_asked() {
        return Finding::Blames(
            Component::Kernel,
            "the guest's kernel has put no request into the queues of its virtio-fs device",
        );
    }
    match (queues.open(), heard) {
        (0, Heard::Request | Heard::Unknown) => Finding::AsTheTestSays,
        (0, Heard::Mount | Heard::Nothing) => Finding::Undecided(
            "virtiofsd has answered all that it was asked: whether the guest's kernel holds a request back, or was not \
             notified of an answer, is not known",
        ),
        _ if queues.moving && is_emulated => {
            Finding::Undecided("requests are answered meanwhile: the guest is emulated and slow, and nothing hangs")
        }
        _ if queues.moving => Finding::AsTheTestSays,
        // If QEMU sees answers, virtiofsd has written them there: the memory is shared.
        _ if memory == Memory::Unknown && queues.none_answered() => Finding::Undecided(
            "virtiofsd has answered nothing, and whether the guest's memory is mapped there could not be seen",
        ),
        (_, Heard::Request) => Finding::Blames(
            Component::Virtiofsd,
            "virtiofsd was woken up, and leaves requests in its queues unanswered",
        ),
        (_, Heard::Mount) if queues.none_answered() => Finding::Blames(
            Component::Virtiofsd,
            "virtiofsd was woken up for the guest's first request, and has never answered any",
        ),
        (_, Heard::Mount | Heard::Nothing) => Finding::Undecided(
            "requests lie in virtiofsd's queues and nothing has woken it up for them: whether the guest's kernel or \
             QEMU holds that back is not known",
        ),
        (_, Heard::Unknown) => Finding::AsTheTestSays,
    }
}

impl std::fmt::Display for ShareFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let memory = match self.memory {
            Memory::Shared => "common to QEMU and virtiofsd",
            Memory::PrivateInVmm => "QEMU's alone",
            Memory::NotInDaemon => "shared by QEMU, not mapped by virtiofsd",
            Memory::Unknown => "unknown",
        };
        let heard = match self.heard {
            Heard::Request => "since the request",
            Heard::Mount => "since the mount, not since the request",
            Heard::Nothing => "not since the mount",
            Heard::Unknown => "unknown",
        };
        write!(f, "memory: {memory}; virtiofsd woke up: {heard}; device: ")?;
        match &self.device {
            FsDevice::Unknown => f.write_str("unknown"),
            FsDevice::Absent => f.write_str("absent"),
            FsDevice::NoDriver => f.write_str("without a driver"),
            FsDevice::NotReady => f.write_str("not made ready"),
            FsDevice::NotStarted => f.write_str("ready, not served"),
            // No numbers, because values that differ between guests would split one cause into many.
            FsDevice::Queues(queues) if queues.none_asked() => f.write_str("served, no request made"),
            FsDevice::Queues(queues) if queues.open() == 0 => f.write_str("served, all requests answered"),
            FsDevice::Queues(_) => f.write_str("served, requests open"),
        }
    }
}

#[cfg(test)]
mod tests;
