//! The questions that the agent in a guest answers besides running a body, and its answers.

use crate::check::Stop;
use serde::{Deserialize, Serialize};

/// A question to the guest's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "question")]
pub enum Question {
    /// Read a file, capped at 1 MiB.
    Read {
        /// Absolute path in the guest.
        path: String,
    },
    /// Read a part of a file or disk as text.
    ReadPart {
        /// Absolute path in the guest.
        path: String,
        /// Where the part begins, bytes.
        offset: u64,
        /// How many bytes, at most 1 MiB.
        bytes: u32,
    },
    /// Write text to a file (a console, sysrq-trigger).
    Write {
        /// Absolute path in the guest.
        path: String,
        /// The text to write.
        text: String,
    },
    /// List the names in a directory, sorted.
    List {
        /// Absolute path in the guest.
        path: String,
    },
    /// Read a text file through a mapping.
    ReadMapped {
        /// Absolute path in the guest.
        path: String,
    },
    /// Mount the root filesystem named on the kernel's command line, with the options and the read-only flag given
    /// there.
    MountRoot {
        /// Absolute path in the guest.
        target: String,
    },
    /// Make a mounted filesystem the root, and execute a program in it as process 1. The program is an agent, too: its
    /// hello replaces an answer.
    SwitchRoot {
        /// Where the filesystem is mounted.
        root: String,
        /// The program's path from there.
        program: String,
    },
    /// Create a device of the device mapper, in the syntax of `dm-mod.create=` on a kernel's command line.
    MapDevice {
        /// `name,uuid,minor,flags,table`.
        create: String,
    },
    /// Listen on a vsock port and send back what the first connection sends, in the background.
    VsockEcho {
        /// The port.
        port: u32,
    },
    /// Connect to a vsock port of the host, send this many bytes and report how many came back unchanged.
    VsockDial {
        /// The port.
        port: u32,
        /// How many bytes.
        bytes: u32,
    },
    /// Read the first byte of a disk, answer with it, and write this many bytes from the disk's beginning.
    WriteDisk {
        /// The device's path in the guest.
        device: String,
        /// How many bytes.
        bytes: u32,
    },
    /// Discard this many bytes of a disk from an offset on (BLKDISCARD).
    Discard {
        /// The device's path in the guest.
        device: String,
        /// The offset, bytes.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Bring a network interface up, send this many packets, and report how many came back unchanged.
    Packets {
        /// The interface's name in the guest.
        interface: String,
        /// The kind of packets.
        traffic: Traffic,
        /// How many packets.
        count: u32,
    },
    /// Like [`Question::Packets`], from a thread that is bound to one CPU.
    PacketsFrom {
        /// The CPU's number.
        cpu: u32,
        /// The interface's name in the guest.
        interface: String,
        /// The kind of packets.
        traffic: Traffic,
        /// How many packets.
        count: u32,
    },
    /// Allocate this much memory, write to each page of it, and free it.
    TouchMemory {
        /// The amount, MiB.
        mib: u32,
    },
    /// Read a clock: nanoseconds since 1970, as text.
    Time {
        /// The clock's device, `/dev/ptp0`; `None` is the kernel's own clock.
        device: Option<String>,
    },
    /// Do work on each online CPU, and report which CPUs did it.
    WorkOnEachCpu,
    /// Bind a control group to a CPU, and check from within the group that no other CPU is available.
    BindToCpu {
        /// The CPU's number.
        cpu: usize,
    },
    /// Power off; no answer comes.
    PowerOff,
    /// Occupy the CPU in the kernel with interrupts off, for ever; no answer comes.
    Spin,
    /// Load a module that oopses in its initialisation; no answer comes.
    Oops,
}

/// The kind of test packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// Ethernet frames of a type that nothing else uses.
    Frames,
    /// Such frames as large as the interface's MTU allows.
    LargestFrames,
    /// UDP over IPv4, with the tests' addresses.
    Ipv4,
    /// UDP over IPv6, with the tests' addresses.
    Ipv6,
}

/// The guest agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// Success without a result.
    Done,
    /// Text, invalid UTF-8 replaced.
    Text {
        /// The text.
        text: String,
    },
    /// Names, sorted.
    Names {
        /// The names; invalid UTF-8 is replaced.
        names: Vec<String>,
    },
    /// The number of bytes or packets that came back unchanged.
    Count {
        /// The number; its unit depends on the question.
        count: u32,
    },
    /// Numbers of CPUs, in order.
    Cpus {
        /// The numbers.
        cpus: Vec<usize>,
    },
    /// The question failed in the guest.
    Failed {
        /// Why.
        message: String,
    },
}

impl Answer {
    /// Returns the text of a `Text` answer, nothing for `Done`, or a failed check that begins with `what`.
    pub fn text(self, what: &str) -> Result<String, Stop> {
        match self {
            Answer::Text { text } => Ok(text),
            Answer::Done => Ok(String::new()),
            other => Err(other.unexpected(what)),
        }
    }

    /// Returns the names of a `Names` answer, or a failed check that begins with `what`.
    pub fn names(self, what: &str) -> Result<Vec<String>, Stop> {
        match self {
            Answer::Names { names } => Ok(names),
            other => Err(other.unexpected(what)),
        }
    }

    /// Returns the number of a `Count` answer, or a failed check that begins with `what`.
    pub fn count(self, what: &str) -> Result<u32, Stop> {
        match self {
            Answer::Count { count } => Ok(count),
            other => Err(other.unexpected(what)),
        }
    }

    /// Returns the numbers of a `Cpus` answer, or a failed check that begins with `what`.
    pub fn cpus(self, what: &str) -> Result<Vec<usize>, Stop> {
        match self {
            Answer::Cpus { cpus } => Ok(cpus),
            other => Err(other.unexpected(what)),
        }
    }

    /// Returns a failed check with the guest's error, or an error if the answer does not match the question.
    fn unexpected(self, what: &str) -> Stop {
        match self {
            Answer::Failed { message } => Stop::fail(format!("{what}: {message}")),
            other => Stop::error(format!("{what}: the guest answered with {other:?}")),
        }
    }
}
