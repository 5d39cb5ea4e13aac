//! `kata-osinfo`: queries the records of distros, checks and installs the components they name, and configures Kata to
//! use them.

/// Replaces the standard macro, which panics if standard error cannot be written: the exit code still tells the result.
macro_rules! eprintln {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($arguments)*);
    }};
}

mod commands;
mod schema;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use commands::system::GlobalArguments;
use commands::{
    EXIT_CODES, Exit, Failed, Format, check, configure, detect, fallback, generate, install, lint, list, requirements,
    show, unconfigure, verified,
};
use model::diagnostic::{error_chain, printable};
use operator::configure::state::ChangeError;
use operator::configure::{HandlerError, LocateError, PrepareError};
use root::RootError;
use schema::SchemaOf;
use std::ffi::OsString;
use std::process::ExitCode;

/// Output of `--version`, which includes the commit that the program was built from.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("KATA_QUALIFY_COMMIT"), ")");

/// What each Linux distro offers Kata Containers, what of it is installed here, and what was proved of it.
#[derive(Debug, Parser)]
#[command(name = "kata-osinfo", version, long_version = VERSION, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    common: GlobalArguments,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the system's distro, release and architecture.
    Detect(detect::DetectArguments),
    /// Print what is known about a release: packages, paths, suites, and the verified matrix.
    Show(show::ShowArguments),
    /// Print which components are installed: where, in which version, from which package.
    Check(check::CheckArguments),
    /// Print whether the installed versions were proved to work: for which profile, on what basis, how long ago.
    Verified(verified::VerifiedArguments),
    /// Print the name of the system's package installer.
    Installer(install::InstallerArguments),
    /// Print the packages to install.
    Packages(install::PackagesArguments),
    /// Install the packages with the system's own package manager; needs root.
    ///
    /// On the running system, the package manager runs as if called by hand, and may go on if this program is killed.
    /// In another root (`--root`), the root's own package manager, or this machine's, runs in a sandbox, together with
    /// everything that packages start: with user ids that own nothing on this machine, with write access to that root
    /// only, with a network only while it downloads, and killed together with this program.
    /// The sandbox needs Linux 5.12, namespaces, and a filesystem that supports id mapping; else nothing is run.
    /// A hostile root may reach the network during downloads; it may also use time, memory and disk space, and read
    /// what every user of this machine may read.
    Install(install::InstallArguments),
    /// Configure Kata to use the distro's components: by a drop-in beside Kata's configuration, or before Kata 2.5 by
    /// an edit.
    Configure(Box<configure::ConfigureArguments>),
    /// Revert everything that `configure` wrote, byte for byte; changes that others have made since are kept.
    Unconfigure(unconfigure::UnconfigureArguments),
    /// Print what to do if something is missing or does not work: an alternative, packages, a record of your own, or a
    /// build.
    Fallback(Box<fallback::FallbackArguments>),
    /// Print what Kata requires of a distro's package, with the place in Kata's source for each requirement.
    Requirements(requirements::RequirementsArguments),
    /// Check records: syntax, keys, names, dates, paths.
    Lint(lint::LintArguments),
    /// Print a JSON Schema: of a record, a file of verdicts or of known issues, or of a subcommand's JSON output.
    Schema {
        /// The document that the schema describes.
        #[arg(value_enum, default_value_t = SchemaOf::Record)]
        of: SchemaOf,
    },
    /// Write the man pages and the completions of bash, zsh and fish into a directory, for a package to install.
    Generate(generate::GenerateArguments),
    /// List the known releases: all, those of a distro or family, or those supported on a day.
    List(list::ListArguments),
}

impl Command {
    /// Whether the answer is for programs.
    fn is_json(&self) -> bool {
        let format = match self {
            Command::Detect(arguments) => arguments.format,
            Command::Show(arguments) => arguments.format,
            Command::Check(arguments) => arguments.about.format,
            Command::Verified(arguments) => arguments.about.format,
            Command::Installer(arguments) => arguments.about.format,
            Command::Packages(arguments) => arguments.about.format,
            Command::Install(arguments) => arguments.about.format,
            Command::Configure(arguments) => arguments.machine.about.format,
            Command::Unconfigure(arguments) => arguments.format,
            Command::Fallback(arguments) => arguments.machine.about.format,
            Command::Requirements(arguments) => arguments.format,
            Command::List(arguments) => arguments.format,
            // Findings are answers, while a missing text to check is reported as an error, like that of any subcommand.
            Command::Lint(arguments) => return arguments.is_json(),
            Command::Schema { .. } | Command::Generate(_) => Format::Human,
        };
        format == Format::Json
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    let exit = match run(&arguments) {
        Ok(exit) => exit,
        // The reader of the output has seen enough: `kata-osinfo show | head`.
        Err(error) if is_broken_pipe(&error) => Exit::Ok,
        Err(error) => report(&error, arguments.command.is_json()),
    };
    ExitCode::from(exit as u8)
}

/// Prints the requested help, or the usage error, which a program gets as the answer, too.
fn misused(error: &clap::Error) -> ExitCode {
    // If the output fails, the exit code still tells the result.
    let _ = error.print();
    if error.use_stderr() && asks_for_json(&std::env::args_os().collect::<Vec<_>>()) {
        let text = error.render().to_string();
        let mut paragraphs = text.split("\n\n").map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "));
        let message = paragraphs.next().unwrap_or_default();
        let message = match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing",
            _ => message.strip_prefix("error: ").unwrap_or(&message),
        };
        let hint = paragraphs.find(|paragraph| paragraph.starts_with("tip: ") || paragraph.starts_with("Usage: "));
        let document = serde_json::json!({
            "version": 1, "error": { "kind": "usage", "message": message, "hint": hint },
        });
        let _ = commands::json(&document);
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::BadInput as u8))
}

/// Whether a call with a usage error asked for an answer for programs.
fn asks_for_json(words: &[OsString]) -> bool {
    words.iter().any(|word| word == "--format=json") || words.windows(2).any(|two| two == ["--format", "json"])
}

/// Reports an error on standard error and, to a program, as the answer.
fn report(error: &anyhow::Error, as_json: bool) -> Exit {
    let message = match is_unprinted(error) {
        true => format!("the answer could not be printed: {error}"),
        false => error_chain(error.as_ref()),
    };
    let failed = error.downcast_ref::<Failed>();
    let (exit, kind, hint) = match failed {
        Some(failed) => (failed.exit, failed.kind, failed.hint.as_deref()),
        None => match root_error(error).filter(|error| error.is_unreadable() || may_not_write(error)) {
            Some(RootError::TooLarge { .. } | RootError::TooMany { .. }) => {
                (Exit::Unknown, "unreadable", Some("move it elsewhere if it does not belong there"))
            }
            Some(RootError::Write { .. }) => {
                (Exit::Unknown, "unwritable", Some("run this as a user who may write to it, such as root"))
            }
            Some(_) => (Exit::Unknown, "unreadable", Some("run this as a user who may read it, such as root")),
            None if is_unprinted(error) => (Exit::Unknown, "unprinted", None),
            None => (Exit::BadInput, "bad-input", None),
        },
    };
    eprintln!("error: {}", printable(&message));
    if let Some(hint) = hint {
        eprintln!("hint: {}", printable(hint));
    }
    if as_json {
        let document = serde_json::json!({
            "version": 1, "error": { "kind": kind, "message": message, "hint": hint },
        });
        // If the output fails, the exit code still tells the result.
        let _ = commands::json(&document);
    }
    exit
}

/// Returns the error about the root inside any of the error types that wrap it.
fn root_error(error: &anyhow::Error) -> Option<&RootError> {
    fn of_change(error: &ChangeError) -> Option<&RootError> {
        if let ChangeError::Root(error) = error { Some(error) } else { None }
    }
    fn of_handler(error: &HandlerError) -> Option<&RootError> {
        match error {
            HandlerError::Root(error) => Some(error),
            HandlerError::Change(error) => of_change(error),
            _ => None,
        }
    }
    fn of_locate(error: &LocateError) -> Option<&RootError> {
        if let LocateError::Root(error) = error { Some(error) } else { None }
    }
    fn of_prepare(error: &PrepareError) -> Option<&RootError> {
        match error {
            PrepareError::Root(error) => Some(error),
            PrepareError::Change(error) => of_change(error),
            PrepareError::Handler(error) => of_handler(error),
            _ => None,
        }
    }
    let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error
        .downcast_ref::<RootError>()
        .or_else(|| error.downcast_ref().and_then(of_change))
        .or_else(|| error.downcast_ref().and_then(of_handler))
        .or_else(|| error.downcast_ref().and_then(of_prepare))
        .or_else(|| error.downcast_ref().and_then(of_locate))
        .or_else(|| io.and_then(|inner| inner.downcast_ref()))
}

/// Whether the error is that a user other than root may not write a file.
fn may_not_write(error: &RootError) -> bool {
    let RootError::Write { source, .. } = error else { return false };
    source.kind() == std::io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root()
}

/// Whether the error is that the answer could not be printed: every other I/O error says what was being done.
fn is_unprinted(error: &anyhow::Error) -> bool {
    error.chain().count() == 1 && error.downcast_ref::<std::io::Error>().is_some_and(|e| e.raw_os_error().is_some())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let common = &arguments.common;
    match &arguments.command {
        Command::Detect(arguments) => detect::run(common, arguments),
        Command::Show(arguments) => show::run(common, arguments),
        Command::Check(arguments) => check::run(common, arguments),
        Command::Verified(arguments) => verified::run(common, arguments),
        Command::Installer(arguments) => install::installer(common, arguments),
        Command::Packages(arguments) => install::packages(common, arguments),
        Command::Install(arguments) => install::install(common, arguments),
        Command::Configure(arguments) => configure::run(common, arguments),
        Command::Unconfigure(arguments) => unconfigure::run(common, arguments),
        Command::Fallback(arguments) => fallback::run(common, arguments),
        Command::Requirements(arguments) => requirements::run(arguments),
        Command::Lint(arguments) => lint::run(arguments),
        Command::Schema { of } => {
            commands::print(&schema::document(*of)?)?;
            Ok(Exit::Ok)
        }
        Command::Generate(arguments) => generate::run(arguments, Arguments::command()),
        Command::List(arguments) => list::run(common, arguments),
    }
}
