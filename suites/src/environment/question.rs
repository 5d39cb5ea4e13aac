//! What the agent in a guest can be asked besides running a body, and what it answers.

use crate::check::Stop;
use serde::{Deserialize, Serialize};

/// A question to the guest's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "question")]
pub enum Question {
    /// A file's content, capped at 1 MiB.
    Read {
        /// Absolute path in the guest.
        path: String,
    },
    /// Write text to a file (a console, sysrq-trigger).
    Write {
        /// Absolute path in the guest.
        path: String,
        /// What to write.
        text: String,
    },
    /// The names in a folder, sorted.
    List {
        /// Absolute path in the guest.
        path: String,
    },
    /// A text file's content, read through a mapping of it.
    ReadMapped {
        /// Absolute path in the guest.
        path: String,
    },
    /// Mount the root filesystem that the kernel was told of, with the options and as read-only as it was told.
    MountRoot {
        /// Absolute path in the guest.
        target: String,
    },
    /// Make a mounted filesystem the root of all, and give process 1 to a program in it, which is an agent, too: its hello
    /// comes in the place of an answer.
    SwitchRoot {
        /// Where the filesystem is mounted.
        root: String,
        /// The program's path from there.
        program: String,
    },
    /// Make a device of the device mapper, as `dm-mod.create=` on a kernel's command line has it.
    MapDevice {
        /// `name,uuid,minor,flags,table`.
        create: String,
    },
    /// Listen on a vsock port and send back what the first connection sends, in the background.
    VsockEcho {
        /// The port.
        port: u32,
    },
    /// Connect to a vsock port of the host, send this many bytes and say how many came back unchanged.
    VsockDial {
        /// The port.
        port: u32,
        /// How many bytes.
        bytes: u32,
    },
    /// Read the first byte of a disk, answer with it, and write so many bytes from its beginning.
    WriteDisk {
        /// The device's path in the guest.
        device: String,
        /// How many bytes.
        bytes: u32,
    },
    /// Give up so many bytes of a disk from an offset on (BLKDISCARD).
    Discard {
        /// The device's path in the guest.
        device: String,
        /// From where, bytes.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// Bring a network interface up, send so many packets, and say how many came back unchanged.
    Packets {
        /// The interface's name in the guest.
        interface: String,
        /// What kind of packets.
        traffic: Traffic,
        /// How many packets.
        count: u32,
    },
    /// Take so much memory, write to each page of it, and give it back.
    TouchMemory {
        /// How much, MiB.
        mib: u32,
    },
    /// The time of a clock: nanoseconds since 1970, as text.
    Time {
        /// The clock's device, `/dev/ptp0`; `None` is the kernel's own clock.
        device: Option<String>,
    },
    /// Do work on each CPU that is online, and say which of them did it.
    WorkOnEachCpu,
    /// Bind a control group to a CPU, and see from within it that there is no other one.
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

/// What packets carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Traffic {
    /// Frames of a type that nobody else uses.
    Frames,
    /// The same, as large as the interface's MTU allows.
    LargestFrames,
    /// UDP over IPv4, with addresses of the tests'.
    Ipv4,
    /// UDP over IPv6, with addresses of the tests'.
    Ipv6,
}

/// The guest agent's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// Done, nothing to say.
    Done,
    /// Text, invalid UTF-8 replaced.
    Text {
        /// The text.
        text: String,
    },
    /// Names, sorted.
    Names {
        /// The names; what is not UTF-8 in them is replaced.
        names: Vec<String>,
    },
    /// How much of what was sent came back unchanged.
    Count {
        /// In bytes or packets, as was asked.
        count: u32,
    },
    /// CPUs, by their numbers, in order.
    Cpus {
        /// The numbers.
        cpus: Vec<usize>,
    },
    /// It failed in the guest.
    Failed {
        /// Why.
        message: String,
    },
}

impl Answer {
    /// The text of a `Text` answer, nothing where it is done, or a failed check that begins with `what`.
    pub fn text(self, what: &str) -> Result<String, Stop> {
        match self {
            Answer::Text { text } => Ok(text),
            Answer::Done => Ok(String::new()),
            other => Err(other.unexpected(what)),
        }
    }

    /// The names of a `Names` answer, or a failed check that begins with `what`.
    pub fn names(self, what: &str) -> Result<Vec<String>, Stop> {
        match self {
            Answer::Names { names } => Ok(names),
            other => Err(other.unexpected(what)),
        }
    }

    /// The number of a `Count` answer, or a failed check that begins with `what`.
    pub fn count(self, what: &str) -> Result<u32, Stop> {
        match self {
            Answer::Count { count } => Ok(count),
            other => Err(other.unexpected(what)),
        }
    }

    /// The numbers of a `Cpus` answer, or a failed check that begins with `what`.
    pub fn cpus(self, what: &str) -> Result<Vec<usize>, Stop> {
        match self {
            Answer::Cpus { cpus } => Ok(cpus),
            other => Err(other.unexpected(what)),
        }
    }

    /// What failed in the guest, or that it answered something else than it was asked.
    fn unexpected(self, what: &str) -> Stop {
        match self {
            Answer::Failed { message } => Stop::fail(format!("{what}: {message}")),
            other => Stop::error(format!("{what}: the guest answered with {other:?}")),
        }
    }
}
