//! The subcommands, and helpers that they share.

// The subcommands.
pub(crate) mod check;
pub(crate) mod configure;
pub(crate) mod detect;
pub(crate) mod fallback;
pub(crate) mod generate;
pub(crate) mod install;
pub(crate) mod lint;
pub(crate) mod list;
pub(crate) mod requirements;
pub(crate) mod show;
pub(crate) mod unconfigure;
pub(crate) mod verified;

// Helpers about their subjects.
mod containerd_version;
mod machine;
mod support;
pub(crate) mod system;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use model::arch::Arch;
use std::io::{Write, stdout};

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// For programs, one document.
    Json,
}

/// Parses an architecture on the command line, by Kata's name.
pub(crate) fn arch_parser() -> impl TypedValueParser<Value = Arch> {
    PossibleValuesParser::new(Arch::ALL.iter().map(|arch| arch.name())).try_map(|name| {
        let named = Arch::ALL.iter().copied().find(|arch| arch.name() == name);
        named.ok_or_else(|| format!("unknown architecture `{name}`"))
    })
}

/// Returns the machine's own architecture, or an error if Kata does not support it: an answer about another
/// architecture would not apply to this machine.
pub(crate) fn this_arch() -> Result<Arch, Failed> {
    Arch::of_machine()
        .ok_or_else(|| Failed::foreign(&format!("this machine's architecture is {}", std::env::consts::ARCH)))
}

/// Exit codes of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Ok = 0,
    /// The answer is no: lint found something, a component is not installed, or a combination is not verified.
    No = 1,
    /// Usage, or input that cannot be used.
    BadInput = 2,
    /// The system, its release or a fact is unknown; or this user may not read or write a file; or the answer could not
    /// be printed.
    Unknown = 3,
    /// The package manager failed, or there is none.
    Failed = 4,
    /// Another package manager held its database for too long.
    Locked = 5,
    /// This program does not run the package manager: the command was printed.
    NotExercised = 6,
    /// The combination is known not to work, and `--force` was not given.
    Refused = 10,
    /// Something must first be installed, or described in `/etc/kata-osinfo`.
    Missing = 11,
    /// Nothing that exists works: a component must be built.
    NothingWorks = 12,
    /// Something else overrides the written files; or the container manager's configuration excludes the handler, and
    /// nothing was written; or not everything was taken back; or this call has put another's text aside, or has not put
    /// it back.
    NotEffective = 13,
}

/// The table of exit codes in `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  the answer is no: lint found something, a component is not installed,
     a combination is not verified, or its versions have changed
  2  usage, or input that cannot be used
  3  the system, its release or a fact is not known, or only assumed;
     this user may not read or write a file; or the answer could not be
     printed, although everything is done
  4  the package manager failed, or is missing
  5  another package manager locked the package database for too long
  6  the package manager is known, but not run by this program: its
     command is printed
 10  refused: known not to work, and not forced
 11  something must be installed, or described in /etc/kata-osinfo, first
 12  nothing works: the evidence and build instructions are printed
 13  written, or reverted, but not everything took effect; or nothing
     was written, because the handler would not be as intended; or this
     call has put a text of another process aside, or could not restore
     one that an interrupted call had moved; a text that an earlier call
     has put aside is only reported";

/// Error of a call without an answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failed {
    /// The exit code.
    pub(crate) exit: Exit,
    /// The kind of error, for programs: `unknown-system`.
    pub(crate) kind: &'static str,
    /// The problem.
    pub(crate) message: String,
    /// Advice.
    pub(crate) hint: Option<String>,
}

impl Failed {
    pub(crate) fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Failed {
        Failed { exit, kind, message: message.into(), hint: None }
    }

    /// Creates the error that `what` has an architecture that Kata does not support.
    pub(crate) fn foreign(what: &str) -> Failed {
        Failed::new(Exit::Unknown, "foreign-architecture", format!("{what}, which Kata does not support"))
            .hint("to ask about systems of another architecture, name it with --arch")
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failed {
        self.hint = Some(hint.into());
        self
    }
}

/// Prints one document on standard output.
pub(crate) fn json(value: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

/// Explains that everything is done but the answer could not be printed; a broken pipe stays, because the reader has
/// seen enough.
pub(crate) fn unprinted(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<std::io::Error>() {
        Some(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
            let message = format!("everything is done, but the answer could not be printed: {why}");
            Failed::new(Exit::Unknown, "unprinted", message).into()
        }
        _ => error,
    }
}

/// Returns the reasons for a nonzero exit code, for programs: the messages that people see.
pub(crate) fn problems(messages: impl IntoIterator<Item = String>) -> serde_json::Value {
    messages.into_iter().map(|message| serde_json::json!({ "message": message })).collect()
}

/// Returns the error of a call as such a reason, with the hint that people get.
pub(crate) fn problem(failed: &Failed) -> serde_json::Value {
    let mut problem = serde_json::json!({ "message": failed.message });
    if let Some(hint) = &failed.hint {
        problem["hint"] = hint.as_str().into();
    }
    problem
}

/// Prints text on standard output, with control characters made visible.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let lines: Vec<String> = text.lines().map(model::diagnostic::printable).collect();
    let mut out = stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Prints a file's text like [`print`] but keeps tabs, which configurations contain.
pub(crate) fn print_file(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    for line in text.lines() {
        writeln!(out, "{}", line.split('\t').map(model::diagnostic::printable).collect::<Vec<_>>().join("\t"))?;
    }
    Ok(())
}

/// Returns a yes or no for people.
pub(crate) fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
