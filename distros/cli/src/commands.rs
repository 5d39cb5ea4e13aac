//! The command's calls, and what they share.

// The calls.
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

// What they are about.
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

/// Reads an architecture on the command line, by Kata's name.
pub(crate) fn arch_parser() -> impl TypedValueParser<Value = Arch> {
    PossibleValuesParser::new(Arch::ALL.iter().map(|arch| arch.name())).try_map(|name| {
        let named = Arch::ALL.iter().copied().find(|arch| arch.name() == name);
        named.ok_or_else(|| format!("unknown architecture `{name}`"))
    })
}

/// The machine's own architecture, where it is one of Kata's: an answer about another would be none about this machine.
pub(crate) fn this_arch() -> Result<Arch, Failed> {
    Arch::of_machine().ok_or_else(|| Failed::foreign(&format!("this machine is of {}", std::env::consts::ARCH)))
}

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Ok = 0,
    /// The answer is no: lint found something, a component is not installed, a combination is not verified.
    No = 1,
    /// Usage, or input that cannot be used.
    BadInput = 2,
    /// The system, its release or a fact is not known; or this user may not read or write a file, or the answer could not be
    /// printed.
    Unknown = 3,
    /// The package manager failed, or there is none.
    Failed = 4,
    /// Another package manager held its database for too long.
    Locked = 5,
    /// The package manager is not run by this program: the command was printed.
    NotExercised = 6,
    /// It is known not to work, and nobody forced it.
    Refused = 10,
    /// Something must be installed, or described in `/etc/kata-osinfo`, first.
    Missing = 11,
    /// Nothing that is there works: it must be built.
    NothingWorks = 12,
    /// Something else overrides what was written, or the container manager's configuration keeps the handler out and
    /// nothing was; or not all of it was taken back; or this call has put a text of others aside, or has not put it
    /// back.
    NotEffective = 13,
}

/// The table of `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  the answer is no: lint found something, a component is not installed,
     a combination is not verified, or its versions have changed
  2  usage, or input that cannot be used
  3  the system, its release or a fact is not known, or only assumed;
     a file may not be read or written by this user; or the answer could
     not be printed, also of what is done
  4  the package manager failed, or is not there
  5  another package manager held its database for too long
  6  the package manager is recognised, but not run by this program:
     its command is printed
 10  refused: known not to work, and not forced
 11  something must be installed, or described in /etc/kata-osinfo, first
 12  nothing works: the evidence and build instructions are printed
 13  written, or taken back, but not everything took effect; or nothing
     was written, because the handler would not be the intended one; or
     this call has put a text of others aside, or has not put it back,
     which a call that was killed had taken out of its place; a text
     that an earlier call has put aside is reported, and is no 13";

/// A call that came to no answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failed {
    /// How the program ends.
    pub(crate) exit: Exit,
    /// The kind, for programs: `unknown-system`.
    pub(crate) kind: &'static str,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Failed {
    pub(crate) fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Failed {
        Failed { exit, kind, message: message.into(), hint: None }
    }

    /// That something is of an architecture that Kata does not have.
    pub(crate) fn foreign(what: &str) -> Failed {
        Failed::new(Exit::Unknown, "foreign-architecture", format!("{what}, an architecture that Kata does not have"))
            .hint("to ask about systems of an architecture that Kata has, name it with --arch")
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

/// Why all that was to be done is, and the answer could not be printed; nothing where whoever read it has seen enough.
pub(crate) fn unprinted(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<std::io::Error>() {
        Some(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
            let message = format!("everything is done, but the answer could not be printed: {why}");
            Failed::new(Exit::Unknown, "unprinted", message).into()
        }
        _ => error,
    }
}

/// The reasons for an exit code that is not 0, for programs: the messages that people see.
pub(crate) fn problems(messages: impl IntoIterator<Item = String>) -> serde_json::Value {
    messages.into_iter().map(|message| serde_json::json!({ "message": message })).collect()
}

/// One of them, of what a call failed by: with the hint that people get.
pub(crate) fn problem(failed: &Failed) -> serde_json::Value {
    let mut problem = serde_json::json!({ "message": failed.message });
    if let Some(hint) = &failed.hint {
        problem["hint"] = hint.as_str().into();
    }
    problem
}

/// Prints text on standard output, its control characters made visible.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let lines: Vec<String> = text.lines().map(model::diagnostic::printable).collect();
    let mut out = stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Prints a file's text on standard output as [`print`] does, with its tabs, which configurations have.
pub(crate) fn print_file(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    for line in text.lines() {
        writeln!(out, "{}", line.split('\t').map(model::diagnostic::printable).collect::<Vec<_>>().join("\t"))?;
    }
    Ok(())
}

/// A yes or no for people.
pub(crate) fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}
