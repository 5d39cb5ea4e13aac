//! Messages between the harness, the environment's agent and a guest's agent: JSON in frames.
//!
//! Requests carry an id, replies repeat it, in any order. The agent speaks first ([`Message::Hello`]) and sends a
//! heartbeat every [`HEARTBEAT`]; a peer that hears nothing for a while knows that something is stuck.

use crate::facts::Facts;
use crate::fault::Fault;
use crate::frame::{self, TooLarge};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::profile::Profile;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::environment::{Answer, Claims, Effort, Ending, Question};
use suites::filesystem::{Action, Reply};

/// Version of the protocol; both sides must agree exactly.
pub const VERSION: u32 = 8;
/// How often an agent says that it lives.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// The name of the harness's port in a virtual machine that is an environment; a guest's port is named by the deviation that
/// adds it, `qemu::deviation::RPC_PORT`.
pub const VM_PORT: &str = "org.kata-qualify.environment";
/// Where a guest's share is mounted.
pub const SHARE: &str = "/mnt/share";

/// What an agent sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message")]
pub enum Message<R> {
    /// First of all.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
        /// Who it is, for messages.
        role: String,
    },
    /// It lives.
    Heartbeat,
    /// The answer to the request of that id.
    Reply {
        /// The request's id.
        id: u64,
        /// The answer.
        reply: R,
    },
}

/// A request with its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NumberedRequest<Q> {
    /// Chosen by the asker, repeated in the reply.
    pub id: u64,
    /// The request.
    pub request: Q,
}

/// Why a message cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It cannot be written as JSON.
    #[error("writing a message as JSON: {0}")]
    Json(serde_json::Error),
    /// It does not fit a frame.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// A [`Message`] or a [`NumberedRequest`] as a frame.
///
/// # Errors
/// When it is too large for one.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, EncodeError> {
    let payload = serde_json::to_vec(message).map_err(EncodeError::Json)?;
    Ok(frame::encode(&payload)?)
}

/// What the harness asks an environment's agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum EnvironmentRequest {
    /// Find out what the environment provides.
    Probe {
        /// Whose arguments a guest is booted with, where only booting one tells.
        profile: Box<Profile>,
    },
    /// Here is what is known of the image; everything else builds on it.
    SetUp {
        /// Record and image.
        claims: Box<Claims>,
    },
    /// Append bytes to a file, creating it and its folders.
    PutFile {
        /// Absolute path in the environment.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Where the bytes go; 0 truncates.
        offset: u64,
        /// At most 1 MiB.
        bytes: Base64Bytes,
    },
    /// Read from a file.
    GetFile {
        /// Absolute path in the environment.
        path: String,
        /// From where.
        offset: u64,
    },
    /// The files below the agent's artifact folder, with their sizes.
    ListArtifacts,
    /// Boot the shared guest of a configuration.
    StartGuest {
        /// The profile.
        profile: Box<Profile>,
        /// The guest.
        configuration: Configuration,
    },
    /// Run a test.
    RunTest {
        /// The test's id.
        test: String,
        /// The profile.
        profile: Box<Profile>,
        /// The shared guest it runs in, for the tests that want one.
        guest: Option<u64>,
    },
    /// Bring a guest of its own to a bad end and say how that looks.
    Rehearse {
        /// The profile.
        profile: Box<Profile>,
        /// What to do to it.
        fault: Fault,
    },
    /// End a shared guest.
    StopGuest {
        /// As `StartGuest` answered.
        guest: u64,
    },
    /// The environment outlives this line: somebody wants to look at it.
    Stay,
    /// Start a program for a person, such as a shell; one at a time.
    OpenShell {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Variables of its environment besides the agent's.
        variables: BTreeMap<String, String>,
        /// The size of the terminal that it is given; without one it has pipes.
        terminal: Option<TerminalSize>,
    },
    /// What the person has typed for it.
    Type {
        /// As it is.
        bytes: Base64Bytes,
        /// Whether nothing more comes.
        is_end: bool,
        /// The terminal's size now, where it has changed.
        terminal: Option<TerminalSize>,
    },
    /// Wait a moment for what it has printed since.
    Hear,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What an environment's agent answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum EnvironmentReply {
    /// Done.
    Done,
    /// What the environment provides.
    Probed {
        /// By name.
        facts: Facts,
    },
    /// Part of a file; empty at its end.
    Chunk {
        /// The bytes.
        bytes: Base64Bytes,
    },
    /// Paths below the artifact folder.
    Artifacts {
        /// Absolute path and size in bytes.
        files: Vec<(String, u64)>,
    },
    /// A guest came to its end.
    Rehearsed {
        /// How.
        ending: Ending,
    },
    /// A guest is up, its share mounted.
    Started {
        /// Its handle.
        guest: u64,
        /// How it was started.
        launched: Launched,
    },
    /// A test ended.
    Tested {
        /// `None`: it passed.
        stop: Option<Stop>,
        /// What its body noted.
        notes: Vec<String>,
        /// Absolute paths of artifacts in the environment.
        artifacts: Vec<String>,
        /// Guests that the body booted itself.
        launched: Vec<Launched>,
        /// Whether the shared guest is still there.
        guest_alive: bool,
    },
    /// What the person's program has printed.
    Heard {
        /// On its standard output, or its terminal.
        output: Base64Bytes,
        /// On its standard error.
        errors: Base64Bytes,
        /// Its exit code as a shell has it, once it has ended.
        ended: Option<i32>,
    },
    /// It could not be done.
    Failed {
        /// Fail, skip or error, as for a test.
        stop: Stop,
        /// Absolute paths of artifacts in the environment.
        artifacts: Vec<String>,
        /// How it was tried.
        launched: Option<Launched>,
    },
}

/// How a guest was started: evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// QEMU's arguments, the binary first.
    pub argv: Vec<String>,
    /// virtiofsd's arguments, the binary first; empty without one.
    pub daemon: Vec<String>,
    /// Deviations from Kata's own arguments.
    pub deviations: Vec<String>,
}

/// What an environment's agent asks a guest's agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum GuestRequest {
    /// Load modules that came in the initramfs.
    LoadModules {
        /// Names, dependencies first.
        names: Vec<String>,
    },
    /// Mount a filesystem.
    Mount {
        /// Device or tag.
        source: String,
        /// `virtiofs`, `9p`, `ext4`.
        fstype: String,
        /// Mount options.
        options: String,
        /// Where.
        target: String,
        /// How long to wait for the device; who asks knows how slow the guest is.
        within: Duration,
    },
    /// Write a file that the guest needs.
    PutFile {
        /// Absolute path in the guest.
        path: String,
        /// Permission bits.
        mode: u32,
        /// The bytes.
        bytes: Base64Bytes,
    },
    /// Write the root filesystem of a disk to another one, as a tar archive.
    Archive {
        /// The kernel's name of the disk: `vda`.
        disk: String,
        /// The other one's device.
        to: String,
    },
    /// Run a guest body.
    Run {
        /// The test's id.
        test: String,
        /// How random work is to be done.
        effort: Effort,
    },
    /// Act under the share's mount point.
    Act {
        /// What to do.
        action: Action,
    },
    /// Anything else.
    Ask {
        /// The question.
        question: Question,
    },
}

/// What a guest's agent answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum GuestReply {
    /// Done.
    Done,
    /// A root filesystem was archived.
    Archived {
        /// The archive's length.
        bytes: u64,
        /// What it was read from, for people.
        from: String,
    },
    /// A body ended; `None`: it passed.
    Ran {
        /// Why it stopped.
        stop: Option<Stop>,
    },
    /// An action succeeded.
    Acted {
        /// Its reply.
        reply: Reply,
    },
    /// An answer.
    Answered {
        /// The answer.
        answer: Answer,
    },
    /// It could not be done in the guest.
    Failed {
        /// Why.
        message: String,
    },
}

/// Bytes that travel as base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base64Bytes(pub Vec<u8>);

impl Serialize for Base64Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Base64Bytes).map_err(serde::de::Error::custom)
    }
}

/// The largest chunk that `PutFile` and `GetFile` carry, in bytes.
pub const CHUNK: usize = 1 << 20;
