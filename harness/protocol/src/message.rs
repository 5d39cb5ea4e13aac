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
use model::test_id::TestId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;
use suites::catalogue::Configuration;
use suites::check::Stop;
use suites::environment::{Answer, Claims, Effort, Ending, Question, TerminalSize};
use suites::filesystem::{Action, Reply};

/// Version of the protocol; both sides must agree exactly.
pub const VERSION: u32 = 8;
/// Interval of an agent's heartbeats.
pub const HEARTBEAT: Duration = Duration::from_millis(500);
/// The name of the harness's port in a virtual machine that is an environment. A guest's port is named by the deviation
/// that adds it, `qemu::deviation::RPC_PORT`.
pub const VM_PORT: &str = "org.kata-qualify.environment";
/// Mount point of a guest's share.
pub const SHARE: &str = "/mnt/share";

/// A message that an agent sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message")]
pub enum Message<R> {
    /// The first message of an agent.
    Hello {
        /// [`VERSION`] of the sender.
        version: u32,
        /// The agent's role, for messages.
        role: String,
    },
    /// A sign of life.
    Heartbeat,
    /// The answer to a request.
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
    /// Chosen by the sender, repeated in the reply.
    pub id: u64,
    /// The request.
    pub request: Q,
}

/// Reasons why a message cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The message cannot be written as JSON.
    #[error("writing a message as JSON: {0}")]
    Json(serde_json::Error),
    /// The message does not fit a frame.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Encodes a [`Message`] or a [`NumberedRequest`] as a frame.
///
/// # Errors
/// When the message is too large for a frame.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, EncodeError> {
    let payload = serde_json::to_vec(message).map_err(EncodeError::Json)?;
    Ok(frame::encode(&payload)?)
}

/// A request of the harness to an environment's agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum EnvironmentRequest {
    /// Find out what the environment provides.
    Probe {
        /// The profile for booting a guest, because some facts are known only after a boot.
        profile: Box<Profile>,
    },
    /// Take over the facts about the image, on which all other requests build.
    SetUp {
        /// The record and the image.
        claims: Box<Claims>,
    },
    /// Append bytes to a file, creating the file and its directories.
    PutFile {
        /// Absolute path in the environment.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Offset in the file; 0 truncates.
        offset: u64,
        /// At most 1 MiB.
        bytes: Base64Bytes,
    },
    /// Read from a file.
    GetFile {
        /// Absolute path in the environment.
        path: String,
        /// Offset in the file.
        offset: u64,
    },
    /// List the files below the agent's artifact directory, with their sizes.
    ListArtifacts,
    /// Boot the shared guest of a configuration.
    StartGuest {
        /// The profile.
        profile: Box<Profile>,
        /// The guest's configuration.
        configuration: Configuration,
    },
    /// Run a test.
    RunTest {
        /// The test's id.
        test: TestId,
        /// The profile.
        profile: Box<Profile>,
        /// The shared guest to run in, for tests that need one.
        guest: Option<u64>,
    },
    /// Boot a guest, bring it to a bad end and report that end.
    Rehearse {
        /// The profile.
        profile: Box<Profile>,
        /// The fault to inject.
        fault: Fault,
    },
    /// End a shared guest.
    StopGuest {
        /// The handle from `StartGuest`.
        guest: u64,
    },
    /// Keep the environment after the end of this connection, because a person wants to look at it.
    Stay,
    /// Start a program for a person, such as a shell; one at a time.
    OpenShell {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Environment variables in addition to the agent's.
        variables: BTreeMap<String, String>,
        /// The size of the terminal that the program gets; without it the program gets pipes.
        terminal: Option<TerminalSize>,
    },
    /// Pass on a person's input to the program.
    Type {
        /// The unchanged input.
        bytes: Base64Bytes,
        /// Whether the input ends here.
        is_end: bool,
        /// The terminal's new size, if it has changed.
        terminal: Option<TerminalSize>,
    },
    /// Wait a moment for further output of the program.
    Hear,
}

/// An answer of an environment's agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply")]
pub enum EnvironmentReply {
    /// Done.
    Done,
    /// The facts about the environment.
    Probed {
        /// The facts by name.
        facts: Facts,
    },
    /// Part of a file; empty at its end.
    Chunk {
        /// The bytes.
        bytes: Base64Bytes,
    },
    /// Files below the artifact directory.
    Artifacts {
        /// Absolute paths and sizes in bytes.
        files: Vec<(String, u64)>,
    },
    /// A guest came to its rehearsed end.
    Rehearsed {
        /// The observed ending.
        ending: Ending,
    },
    /// A guest is up and its share is mounted.
    Started {
        /// The guest's handle.
        guest: u64,
        /// The launch of the guest.
        launched: Launched,
    },
    /// A test ended.
    Tested {
        /// Why the test stopped; `None` if it passed.
        stop: Option<Stop>,
        /// Notes of the test's body.
        notes: Vec<String>,
        /// Absolute paths of artifacts in the environment.
        artifacts: Vec<String>,
        /// Guests that the test's body booted itself.
        launched: Vec<Launched>,
        /// Whether the shared guest is still alive.
        guest_alive: bool,
    },
    /// Output of the person's program.
    Heard {
        /// Standard output, or the terminal's output.
        output: Base64Bytes,
        /// Standard error.
        errors: Base64Bytes,
        /// The exit code as a shell reports it, if the program has ended.
        ended: Option<i32>,
    },
    /// The request failed.
    Failed {
        /// The outcome: fail, skip or error, as for a test.
        stop: Stop,
        /// Absolute paths of artifacts in the environment.
        artifacts: Vec<String>,
        /// The launch that was tried, if there was one.
        launched: Option<Launched>,
    },
}

/// Evidence of how a guest was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// QEMU's arguments, the binary first.
    pub argv: Vec<String>,
    /// virtiofsd's arguments, the binary first; empty without virtiofsd.
    pub daemon: Vec<String>,
    /// Deviations from Kata's own arguments.
    pub deviations: Vec<String>,
}

/// A request of an environment's agent to a guest's agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "request")]
pub enum GuestRequest {
    /// Load modules from the initramfs.
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
        /// The mount point.
        target: String,
        /// How long to wait for the device; the environment's agent knows how slow the guest is.
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
    /// Write the root filesystem of a disk to another disk, as a tar archive.
    Archive {
        /// The kernel's name of the disk: `vda`.
        disk: String,
        /// The device of the other disk.
        to: String,
    },
    /// Run a guest body.
    Run {
        /// The test's id.
        test: TestId,
        /// How much random work to do.
        effort: Effort,
    },
    /// Act under the share's mount point.
    Act {
        /// What to do.
        action: Action,
    },
    /// Answer any other question.
    Ask {
        /// The question.
        question: Question,
    },
}

/// An answer of a guest's agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum GuestReply {
    /// Done.
    Done,
    /// A root filesystem was archived.
    Archived {
        /// The archive's length.
        bytes: u64,
        /// The source of the archive, for people.
        from: String,
    },
    /// A guest body ended.
    Ran {
        /// Why the body stopped; `None` if it passed.
        stop: Option<Stop>,
    },
    /// An action succeeded.
    Acted {
        /// The action's reply.
        reply: Reply,
    },
    /// An answer.
    Answered {
        /// The answer.
        answer: Answer,
    },
    /// The request failed in the guest.
    Failed {
        /// The reason.
        message: String,
    },
}

/// Bytes that are sent as base64.
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
