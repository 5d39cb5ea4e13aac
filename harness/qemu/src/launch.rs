//! A QEMU or virtiofsd process to be started, and its record.

use crate::deviation::Deviation;
use model::profile::ProfileName;
use serde::{Deserialize, Serialize};

/// A process to be started: the program, its arguments, the descriptors that it inherits, and the deviations from
/// Kata's own arguments. Serialises as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Launch {
    /// The profile it follows.
    pub profile: ProfileName,
    /// The Kata tag from which the arguments were taken.
    pub tag: String,
    /// The binary.
    pub program: String,
    /// The arguments, in order.
    pub args: Vec<Arg>,
    /// Descriptors that must be open in the process under these numbers.
    pub fds: Vec<InheritedFd>,
    /// Deviations from Kata's own arguments, in the order of application.
    pub deviations: Vec<Deviation>,
    /// The same arguments, in which values that differ from run to run (ids, paths, descriptors, the host's size) are
    /// replaced by placeholders in angle brackets.
    normal: Vec<Arg>,
}

impl Launch {
    pub(crate) fn new(profile: &ProfileName, tag: &str, program: &str, args: Vec<Arg>, normal: Vec<Arg>) -> Launch {
        Launch {
            profile: profile.clone(),
            tag: tag.to_owned(),
            program: program.to_owned(),
            args,
            fds: Vec::new(),
            deviations: Vec::new(),
            normal,
        }
    }

    /// Returns the whole command line, the program first.
    pub fn argv(&self) -> Vec<String> {
        std::iter::once(self.program.clone()).chain(words(&self.args)).collect()
    }

    /// Returns the arguments without the values that differ from run to run. Two profiles whose launches are equal in
    /// this form are one configuration; the program and the profile are not part of it.
    pub fn normalised(&self) -> Vec<String> {
        words(&self.normal).collect()
    }

    /// Returns the number under which a descriptor must be open.
    pub fn fd(&self, purpose: FdPurpose) -> Option<i32> {
        self.fds.iter().find(|fd| fd.purpose == purpose).map(|fd| fd.number)
    }

    /// Changes the arguments and their normalised form alike.
    pub(crate) fn edit<E>(
        &mut self,
        mut change: impl FnMut(&mut Vec<Arg>, ArgumentForm) -> Result<(), E>,
    ) -> Result<(), E> {
        // A refused change leaves both lists unchanged.
        let (mut args, mut normal) = (self.args.clone(), self.normal.clone());
        change(&mut args, ArgumentForm::Real)?;
        change(&mut normal, ArgumentForm::Normal)?;
        (self.args, self.normal) = (args, normal);
        Ok(())
    }
}

/// Form of the arguments that is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArgumentForm {
    /// The arguments that are passed.
    Real,
    /// The arguments that are compared.
    Normal,
}

impl ArgumentForm {
    /// Returns the value or its placeholder.
    pub(crate) fn pick(self, value: &str, placeholder: &str) -> String {
        match self {
            ArgumentForm::Real => value.to_owned(),
            ArgumentForm::Normal => format!("<{placeholder}>"),
        }
    }
}

/// One argument: a flag, and its value when it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Arg {
    /// The flag: `-machine`, `--fd=3`.
    pub flag: String,
    /// The value: `q35,accel=kvm`.
    pub value: Option<String>,
}

impl Arg {
    pub(crate) fn new(flag: &str, value: impl Into<String>) -> Arg {
        Arg { flag: flag.to_owned(), value: Some(value.into()) }
    }

    pub(crate) fn flag(flag: impl Into<String>) -> Arg {
        Arg { flag: flag.into(), value: None }
    }

    /// Returns whether the argument is this flag with a value that starts with this word: `-device vhost-vsock-pci,…`.
    pub(crate) fn is(&self, flag: &str, word: &str) -> bool {
        self.flag == flag && self.value.as_deref().is_some_and(|v| v.split(',').next() == Some(word))
    }
}

fn words(args: &[Arg]) -> impl Iterator<Item = String> + '_ {
    args.iter().flat_map(|arg| std::iter::once(arg.flag.clone()).chain(arg.value.clone()))
}

/// Number of the first descriptor after standard input, output and error.
pub(crate) const FIRST_FD: i32 = 3;

/// A descriptor that the process inherits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InheritedFd {
    /// The descriptor's number in the process.
    pub number: i32,
    /// Use of the descriptor.
    pub purpose: FdPurpose,
}

/// Uses of an inherited descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "what")]
pub enum FdPurpose {
    /// A listening Unix socket on which QEMU serves QMP.
    Qmp,
    /// `/dev/vhost-vsock`, with the guest's CID claimed.
    Vsock,
    /// `/dev/vhost-net`, one descriptor for each queue.
    VhostNet {
        /// Counted from 0.
        queue: u32,
    },
    /// The tap device, one descriptor for each queue.
    Tap {
        /// Counted from 0.
        queue: u32,
    },
    /// A disk's file.
    Disk {
        /// Counted from 0.
        index: u32,
        /// Whether it is open for reading only: for a read-only disk QEMU accepts no other descriptor.
        read_only: bool,
    },
    /// A listening Unix socket on which virtiofsd serves the share.
    Virtiofsd,
}
