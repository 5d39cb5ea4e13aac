//! `generate`: man pages and shell completions, for those who make packages.

use super::{EXIT_CODES, Exit};
use anyhow::Context;
use clap::{Args, Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use model::database::SYSTEM_FOLDERS;
use std::path::{Path, PathBuf};

/// Arguments of `generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArguments {
    /// The directory; it is made if need be.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &GenerateArguments, command: Command) -> anyhow::Result<Exit> {
    let directory = &arguments.directory;
    write(directory, &command).with_context(|| format!("writing below {}", directory.display()))?;
    Ok(Exit::Ok)
}

fn write(directory: &Path, command: &Command) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for shell in [Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), command.get_name(), directory)?;
    }
    std::fs::write(directory.join("kata-osinfo.bash"), bash(command)?)?;
    // Only a built command knows its global options and its calls' full names.
    let mut whole = command.clone().disable_help_subcommand(true);
    whole.build();
    for page in std::iter::once(&whole).chain(whole.get_subcommands()) {
        let name = page.get_display_name().unwrap_or(page.get_name());
        let mut out = Vec::new();
        render(page, &mut out)?;
        std::fs::write(directory.join(format!("{name}.1")), out)?;
    }
    Ok(())
}

/// clap_complete 4.6 spells the hyphen of a program's name in two ways, so that no call's options would be found.
fn bash(command: &Command) -> std::io::Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(Shell::Bash, &mut command.clone(), command.get_name(), &mut script);
    let script = String::from_utf8(script).map_err(std::io::Error::other)?;
    Ok(script.replace("kata__subcmd__osinfo", "kata__osinfo"))
}

/// One page; the whole command's has what all of them share.
fn render(page: &Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    let is_whole = page.has_subcommands();
    let man = Man::new(page.clone()).manual("kata-osinfo").source(format!("kata-osinfo {}", env!("CARGO_PKG_VERSION")));
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if is_whole {
        man.render_subcommands_section(out)?;
    }
    let mut roff = Roff::new();
    match is_whole {
        true => shared(&mut roff),
        false => {
            roff.control("SH", ["SEE ALSO"]);
            roff.text([bold("kata-osinfo"), roman("(1)")]);
        }
    }
    roff.to_writer(out)
}

/// Exit codes, environment and files.
fn shared(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    let mut lines = EXIT_CODES.lines().skip(1).peekable();
    while let Some(line) = lines.next() {
        let (code, meaning) = line.trim().split_once(' ').unwrap_or((line, ""));
        let mut meaning = meaning.trim().to_owned();
        // A meaning goes on in lines that begin with no number.
        while let Some(more) = lines.next_if(|l| !l.trim_start().starts_with(|c: char| c.is_ascii_digit())) {
            meaning += " ";
            meaning += more.trim();
        }
        item(roff, code, &meaning);
    }
    roff.control("SH", ["ENVIRONMENT"]);
    item(roff, "KATA_OSINFO_PATH", "More folders of records, separated by colons; what they state wins.");
    item(roff, "NO_COLOR", "Set: no colours.");
    roff.control("SH", ["FILES"]);
    let whose = [
        "The distro's records; they win over those that are built in.",
        "The admin's records; they win over the distro's.",
    ];
    for (folder, text) in SYSTEM_FOLDERS.iter().zip(whose) {
        item(roff, &format!("{folder}/*.yaml"), text);
    }
    for folder in SYSTEM_FOLDERS {
        let text = "What was verified; written by kata-qualify and read as part of the records beside it.";
        item(roff, &format!("{folder}/{}/*.yaml", model::verified::FOLDER), text);
    }
}

fn item(roff: &mut Roff, head: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(head)]);
    roff.text([roman(text)]);
}
