//! `kata-osinfo`: asks and checks the database of distros.

mod configure_cli;
mod show;

use clap::{Parser, Subcommand, ValueEnum};
use kata_osinfo::database::Database;
use kata_osinfo::diagnostic::{Diagnostic, printable};
use kata_osinfo::{arch::Arch, lint, record, verified};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What each Linux distro offers Kata Containers, and what was proved of it.
#[derive(Debug, Parser)]
#[command(name = "kata-osinfo", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Read records from this directory too; they replace the built-in ones of the same distro.
    #[arg(long, value_name = "DIR", global = true)]
    records: Vec<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  1  lint found something
  2  usage, or input that cannot be used";

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what is known of a release: packages, paths, suites, and the verified matrix.
    Show {
        /// `debian:13`, `debian:11,12`, `debian` or `all`; a release by version, codename or alias.
        #[arg(default_value = "all")]
        target: String,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
        /// The architecture, by Kata's name.
        #[arg(long, value_enum, default_value_t = default_arch())]
        arch: ArchName,
    },
    /// Check records: syntax, keys, names, dates, paths.
    Lint {
        /// The records' files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Write the corrections that are certain into the files.
        #[arg(long)]
        fix: bool,
        /// How to print the findings.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    Configure(Box<configure_cli::Configure>),
    Unconfigure(configure_cli::Unconfigure),
    Fallback(Box<configure_cli::Fallback>),
    Requirements(configure_cli::Requirements),
    /// List the releases that are known.
    List {
        /// How to print them.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Human,
    /// For programs, one document.
    Json,
}

/// An architecture on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ArchName {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
    #[value(name = "ppc64le")]
    Ppc64le,
    #[value(name = "s390x")]
    S390x,
}

impl From<ArchName> for Arch {
    fn from(name: ArchName) -> Arch {
        match name {
            ArchName::X86_64 => Arch::X86_64,
            ArchName::Aarch64 => Arch::Aarch64,
            ArchName::Ppc64le => Arch::Ppc64le,
            ArchName::S390x => Arch::S390x,
        }
    }
}

/// The machine's own architecture; x86_64 on one that Kata does not know.
fn default_arch() -> ArchName {
    match std::env::consts::ARCH {
        "aarch64" => ArchName::Aarch64,
        "powerpc64" => ArchName::Ppc64le,
        "s390x" => ArchName::S390x,
        _ => ArchName::X86_64,
    }
}

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// All is well.
    Ok = 0,
    /// Lint found something.
    Findings = 1,
    /// Usage, or input that cannot be used.
    BadInput = 2,
}

fn main() -> ExitCode {
    let exit = match run(&Arguments::parse()) {
        Ok(exit) => exit,
        // Whoever read the output has seen enough: `kata-osinfo show | head`.
        Err(error) if is_broken_pipe(&error) => Exit::Ok as u8,
        Err(error) => {
            eprintln!("error: {}", printable(&format!("{error:#}")));
            Exit::BadInput as u8
        }
    };
    ExitCode::from(exit)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut out = std::io::stdout().lock();
    match &arguments.command {
        Command::Show { target, format, arch } => {
            let database = load(&arguments.records)?;
            let releases = show::releases(&database, target, (*arch).into())?;
            match format {
                Format::Human => out.write_all(show::human(&releases).as_bytes())?,
                Format::Json => json(&mut out, &show::json(&releases))?,
            }
            Ok(Exit::Ok as u8)
        }
        Command::List { format } => {
            let database = load(&arguments.records)?;
            match format {
                Format::Human => out.write_all(show::list(&database).as_bytes())?,
                Format::Json => json(&mut out, &show::list_json(&database))?,
            }
            Ok(Exit::Ok as u8)
        }
        Command::Lint { files, fix, format } => Ok(lint_files(&mut out, files, *fix, *format)? as u8),
        Command::Configure(a) => Ok(configure_cli::configure(&mut out, a, &load(&arguments.records)?)? as u8),
        Command::Unconfigure(a) => Ok(configure_cli::unconfigure(&mut out, a)? as u8),
        Command::Fallback(a) => Ok(configure_cli::fallback(&mut out, a, &load(&arguments.records)?)? as u8),
        Command::Requirements(a) => Ok(configure_cli::requirements(&mut out, a)? as u8),
    }
}

fn json(out: &mut impl Write, value: &serde_json::Value) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

/// The database; files that cannot be used are told and left out.
fn load(directories: &[PathBuf]) -> anyhow::Result<Database> {
    let database = Database::load(directories)?;
    for problem in database.problems() {
        eprintln!("warning: {}", printable(&problem.to_string()));
    }
    Ok(database)
}

fn lint_files(out: &mut impl Write, files: &[PathBuf], fix: bool, format: Format) -> anyhow::Result<Exit> {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut all: Vec<Diagnostic> = Vec::new();
    let mut unreadable = false;
    for file in files {
        let text = match record::read_text(file) {
            Ok(text) => text,
            Err(problem) => {
                unreadable |= problem.rule == "unreadable";
                if format == Format::Human {
                    writeln!(out, "{}\n", problem.human("", colour))?;
                }
                all.push(*problem);
                continue;
            }
        };
        let text = if fix { fixed(file, text)? } else { text };
        let found = lint::lint(file, &text);
        if format == Format::Human {
            for diagnostic in &found {
                writeln!(out, "{}\n", diagnostic.human(&text, colour))?;
            }
        }
        all.extend(found);
    }
    if format == Format::Json {
        json(out, &serde_json::json!({ "version": 1, "diagnostics": all }))?;
    }
    Ok(match (unreadable, all.is_empty()) {
        (true, _) => Exit::BadInput,
        (_, true) => Exit::Ok,
        _ => Exit::Findings,
    })
}

/// The text with its fixes, which are in the file then.
fn fixed(file: &Path, text: String) -> anyhow::Result<String> {
    let Some(fixed) = lint::fix(file, &text) else {
        return Ok(text);
    };
    verified::write_file(file, &fixed).map_err(|e| anyhow::anyhow!("writing {}: {e}", file.display()))?;
    eprintln!("fixed {}", printable(&file.display().to_string()));
    Ok(fixed)
}
