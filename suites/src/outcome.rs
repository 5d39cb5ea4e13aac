//! The outcome of a test, and the component that a failure blames.

pub use model::component::Component;

use model::foreign::qemu::{Complaint, Refusal, refusal};
use model::test_id::TestId;
use model::virtiofsd::refused_argument;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::io;

/// The outcome of one attempt at a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum Outcome {
    /// The test ran and the property holds.
    Pass,
    /// The test ran and the property does not hold.
    Fail(Failure),
    /// The environment could not show the property; never a pass.
    Skip {
        /// What the environment lacks.
        reason: String,
    },
    /// The test did not run, because a test that it builds on did not pass.
    Blocked {
        /// The id of the test that did not pass.
        by: TestId,
    },
    /// The harness or the infrastructure failed; says nothing about the distro.
    Error {
        /// The error message.
        message: String,
    },
}

/// A property that does not hold, as data.
///
/// Journals of schema 2 and before have only `observed`, as `message`, and `component`, as `blames`; early journals of
/// schema 3 have no `grounds`, and somewhat later ones no `detail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// The component at fault.
    #[serde(alias = "blames")]
    pub component: Component,
    /// The property, as its test states it.
    #[serde(default)]
    pub expected: String,
    /// The observation instead.
    #[serde(alias = "message")]
    pub observed: String,
    /// Places in Kata's source that require the property, as file and tag: `src/runtime/Makefile@3.32.0`. If none does,
    /// those where Kata gives containers their files by the test's share; the catalogue tells the two apart.
    #[serde(default)]
    pub asked_for: Vec<String>,
    /// The kind of observation that the failure rests on.
    #[serde(default)]
    pub grounds: Grounds,
    /// The observation as data: reports decide by this field, and `observed` is for people.
    #[serde(default)]
    pub detail: FailureDetail,
    /// Identifies the same cause in other failures: the component and the observation, without parts that differ
    /// between guests, distros and profiles. Empty until the journal is written or read, because it is computed from
    /// cleaned texts.
    #[serde(default)]
    pub signature: String,
}

/// The kind of observation that a failure rests on: whether a slow emulation, or one that loses guests, can have caused
/// it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Grounds {
    /// A completed call returned another value than expected, and no guest returns that value because it is emulated,
    /// slow or about to be lost. Never used for times, speeds or a processor's behaviour.
    Measured,
    /// Anything else, and unclassified failures: a deadline, silence, a crash, a lost guest, a refusal.
    #[default]
    Waited,
}

/// A failure's observation as data, which its test sets: a report's decisions must not depend on the wording of a
/// message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind")]
pub enum FailureDetail {
    // A further kind needs a higher version of the journal's format (`SCHEMA` in `reports/src/journal.rs`).
    /// Not set: the journal is older than this field.
    #[default]
    #[serde(rename = "untold")]
    NotSet,
    /// None of the kinds below.
    Other,
    /// QEMU's own lists lack these names.
    NotListed {
        /// The names.
        names: Vec<ListedName>,
    },
    /// A kernel's configuration lacks options.
    LacksOptions {
        /// Whether the options must be built in, so that a module is not enough.
        built_in: bool,
        /// The options' names, without `CONFIG_`.
        options: Vec<String>,
    },
    /// QEMU refused a command.
    QmpRefusal {
        /// The command: `device_add`.
        command: String,
        /// QEMU's class of the error: `GenericError`.
        class: String,
        /// QEMU's own words.
        description: String,
    },
    /// A daemon ended that should have kept running.
    DaemonEnded {
        /// The daemon's last words.
        said: String,
    },
    /// virtiofsd keeps a descriptor for each file that the guest knows, and no file handle.
    NoFileHandles,
    /// QEMU refused an argument of its command line.
    QemuRefusal {
        /// The argument's flag: `-device`.
        flag: String,
        /// The flag's value: `virtio-blk-pci,scsi=off`.
        value: String,
        /// QEMU's own words about it.
        words: String,
    },
    /// The virtiofsd in C ended because it does not know an argument.
    DaemonLacksFlag {
        /// The daemon's own words about it.
        said: String,
    },
    /// A system call failed.
    SystemCall {
        /// The error's number in Linux: 6 is ENXIO.
        errno: i32,
    },
    /// A container runtime says that a file does not exist.
    FileMissing,
}

/// A name that is looked up in a list of QEMU's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct ListedName {
    /// The argument that prints the list: `-object`.
    pub flag: String,
    /// The name: `tdx-guest`.
    pub name: String,
}

impl FailureDetail {
    /// Returns all texts, to be cleaned: a program's own words cannot be trusted.
    pub fn texts_mut(&mut self) -> Vec<&mut String> {
        match self {
            FailureDetail::NotSet
            | FailureDetail::Other
            | FailureDetail::NoFileHandles
            | FailureDetail::SystemCall { errno: _ }
            | FailureDetail::FileMissing => Vec::new(),
            FailureDetail::NotListed { names } => {
                names.iter_mut().flat_map(|ListedName { flag, name }| [flag, name]).collect()
            }
            FailureDetail::LacksOptions { built_in: _, options } => options.iter_mut().collect(),
            FailureDetail::QmpRefusal { command, class, description } => vec![command, class, description],
            FailureDetail::QemuRefusal { flag, value, words } => vec![flag, value, words],
            FailureDetail::DaemonEnded { said } | FailureDetail::DaemonLacksFlag { said } => vec![said],
        }
    }

    /// Returns what QEMU complained of, if it refused an argument or a command.
    pub fn complaint(&self) -> Complaint<'_> {
        match self {
            FailureDetail::QemuRefusal { words, .. } => Complaint::of(words),
            FailureDetail::QmpRefusal { description, .. } => Complaint::of(description),
            FailureDetail::NotSet
            | FailureDetail::Other
            | FailureDetail::NotListed { .. }
            | FailureDetail::LacksOptions { .. }
            | FailureDetail::DaemonEnded { .. }
            | FailureDetail::NoFileHandles
            | FailureDetail::DaemonLacksFlag { .. }
            | FailureDetail::SystemCall { .. }
            | FailureDetail::FileMissing => Complaint::Other,
        }
    }

    /// Returns the detail of a QEMU that refused an argument, from its standard error or a text that quotes it.
    pub fn of_qemu(stderr: &str) -> Option<FailureDetail> {
        let Refusal { flag, value, words } = refusal(stderr)?;
        Some(FailureDetail::QemuRefusal { flag, value, words })
    }

    /// Returns the detail of a virtiofsd that does not know an argument, from a text that ends with its output.
    pub fn of_daemon(text: &str) -> Option<FailureDetail> {
        refused_argument(text).map(|said| FailureDetail::DaemonLacksFlag { said: said.to_owned() })
    }

    /// Returns the detail of an error of the kernel, as the standard library and the crates for system calls have it.
    pub fn of_error(error: &dyn Any) -> Option<FailureDetail> {
        let of_library = || error.downcast_ref::<io::Error>()?.raw_os_error();
        let of_rustix = || Some(error.downcast_ref::<rustix::io::Errno>()?.raw_os_error());
        let errno = of_library().or_else(of_rustix)?;
        Some(FailureDetail::SystemCall { errno })
    }
}

impl Failure {
    /// Describes the observation and the component at fault.
    pub fn new(component: Component, observed: impl Into<String>) -> Failure {
        Failure {
            component,
            expected: String::new(),
            observed: observed.into(),
            asked_for: Vec::new(),
            grounds: Grounds::Waited,
            detail: FailureDetail::NotSet,
            signature: String::new(),
        }
    }
}

impl Outcome {
    /// Returns the outcome's word in journals and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail { .. } => "fail",
            Outcome::Skip { .. } => "skip",
            Outcome::Blocked { .. } => "blocked",
            Outcome::Error { .. } => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_json_and_those_of_older_journals_are_read() {
        let failure = Failure {
            asked_for: vec!["a.go@3.2.0".to_owned()],
            grounds: Grounds::Measured,
            ..Failure::new(Component::Qemu, "no q35")
        };
        let line = serde_json::to_string(&Outcome::Fail(failure.clone())).unwrap();
        assert!(line.starts_with(r#"{"outcome":"fail","component":"qemu","#), "{line}");
        assert_eq!(serde_json::from_str::<Outcome>(&line).unwrap(), Outcome::Fail(failure.clone()));
        // Without `grounds`, a failure does not count as measured.
        let without_grounds = line.replace(r#""grounds":"measured","#, "");
        let waited = Failure { grounds: Grounds::Waited, ..failure.clone() };
        assert_eq!(serde_json::from_str::<Outcome>(&without_grounds).unwrap(), Outcome::Fail(waited));
        // Without `detail`, the kind stays unset.
        let without_detail = line.replace(r#""detail":{"kind":"untold"},"#, "");
        assert_ne!(without_detail, line);
        assert_eq!(serde_json::from_str::<Outcome>(&without_detail).unwrap(), Outcome::Fail(failure));
        let old = r#"{"outcome":"fail","message":"no q35","blames":"qemu"}"#;
        let expected = Outcome::Fail(Failure::new(Component::Qemu, "no q35"));
        assert_eq!(serde_json::from_str::<Outcome>(old).unwrap(), expected);
    }

    #[test]
    fn a_detail_is_serialised_by_its_kind_and_lists_its_texts() {
        let text = str::to_owned;
        for (mut detail, written, texts) in [
            (FailureDetail::Other, r#"{"kind":"other"}"#, vec![]),
            (FailureDetail::NoFileHandles, r#"{"kind":"no-file-handles"}"#, vec![]),
            (
                FailureDetail::NotListed { names: vec![ListedName { flag: text("-object"), name: text("tdx-guest") }] },
                r#"{"kind":"not-listed","names":[{"flag":"-object","name":"tdx-guest"}]}"#,
                vec!["-object", "tdx-guest"],
            ),
            (
                FailureDetail::LacksOptions { built_in: true, options: vec![text("EPOLL")] },
                r#"{"kind":"lacks-options","built-in":true,"options":["EPOLL"]}"#,
                vec!["EPOLL"],
            ),
            (
                FailureDetail::QmpRefusal { command: text("a"), class: text("b"), description: text("c") },
                r#"{"kind":"qmp-refusal","command":"a","class":"b","description":"c"}"#,
                vec!["a", "b", "c"],
            ),
            (
                FailureDetail::DaemonEnded { said: text("fuse: no") },
                r#"{"kind":"daemon-ended","said":"fuse: no"}"#,
                vec!["fuse: no"],
            ),
            (
                FailureDetail::QemuRefusal { flag: text("-m"), value: text("1"), words: text("no") },
                r#"{"kind":"qemu-refusal","flag":"-m","value":"1","words":"no"}"#,
                vec!["-m", "1", "no"],
            ),
            (
                FailureDetail::DaemonLacksFlag { said: text("fuse: no") },
                r#"{"kind":"daemon-lacks-flag","said":"fuse: no"}"#,
                vec!["fuse: no"],
            ),
            (FailureDetail::SystemCall { errno: 6 }, r#"{"kind":"system-call","errno":6}"#, vec![]),
            (FailureDetail::FileMissing, r#"{"kind":"file-missing"}"#, vec![]),
        ] {
            assert_eq!(serde_json::to_string(&detail).unwrap(), written);
            assert_eq!(serde_json::from_str::<FailureDetail>(written).unwrap(), detail);
            assert_eq!(detail.texts_mut(), texts);
        }
    }

    #[test]
    fn details_are_made_from_programs_words_and_the_kernels_errors() {
        let text = str::to_owned;
        let refused = FailureDetail::QemuRefusal { flag: text("-m"), value: text("x"), words: text("no number") };
        assert_eq!(FailureDetail::of_qemu("warning\nqemu-system-x86_64: -m x: no number\n"), Some(refused));
        assert_eq!(FailureDetail::of_qemu("qemu-system-x86_64: no memory\n"), None);
        let said = text("fuse: unknown option(s): `-x'");
        let lacking = FailureDetail::DaemonLacksFlag { said: said.clone() };
        assert_eq!(FailureDetail::of_daemon(&format!("exit code 1: {said}")), Some(lacking));
        assert_eq!(FailureDetail::of_daemon("error: no such flag"), None);
        let enxio = Some(FailureDetail::SystemCall { errno: libc::ENXIO });
        assert_eq!(FailureDetail::of_error(&io::Error::from_raw_os_error(libc::ENXIO)), enxio);
        assert_eq!(FailureDetail::of_error(&rustix::io::Errno::NXIO), enxio);
        assert_eq!(FailureDetail::of_error(&io::Error::other("No such device or address")), None);
        assert_eq!(FailureDetail::of_error(&text("No such device or address")), None);
    }
}
