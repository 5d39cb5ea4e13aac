//! `generate`: man pages and shell completions, for packagers.

use super::{EXIT_CODES, Exit};
use anyhow::Context;
use clap::{Args, Command, ValueHint};
use model::database::SYSTEM_FOLDERS;
use pages::PageText;
use std::path::PathBuf;

/// Arguments of `generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// The directory; it is created if missing.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &GenerateArguments, command: Command) -> anyhow::Result<Exit> {
    let directory = &arguments.directory;
    let shared =
        PageText { exit_codes: EXIT_CODES, sections: vec![("ENVIRONMENT", environment()), ("FILES", files())] };
    pages::write(directory, &command, env!("CARGO_PKG_VERSION"), &shared)
        .with_context(|| format!("cannot write below {}", directory.display()))?;
    Ok(Exit::Ok)
}

fn environment() -> Vec<(String, String)> {
    let path = "More folders of records, separated by colons; they override all other records.";
    [("KATA_OSINFO_PATH", path), ("NO_COLOR", "If set, no colours are used.")]
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .into()
}

fn files() -> Vec<(String, String)> {
    let descriptions =
        ["The distro's records; they override the built-in ones.", "The admin's records; they override the distro's."];
    let records = SYSTEM_FOLDERS.iter().zip(descriptions).map(|(folder, text)| (format!("{folder}/*.yaml"), text));
    let text = "What was verified; written by kata-qualify and read as part of the records beside it.";
    let verified = SYSTEM_FOLDERS.iter().map(|folder| (format!("{folder}/{}/*.yaml", model::verified::FOLDER), text));
    records.chain(verified).map(|(head, text)| (head, text.to_owned())).collect()
}
