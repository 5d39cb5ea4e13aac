//! Generates man pages and shell completions from a command's arguments, for packagers.

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io;
use std::path::Path;

/// Text of the whole command's page besides its arguments.
pub struct PageText<'a> {
    /// The exit codes, as `--help` lists them: a heading, then lines that begin with a code; continuation lines have
    /// none.
    pub exit_codes: &'a str,
    /// More sections, each with its entries: a name and its meaning.
    pub sections: Vec<(&'a str, Vec<(String, String)>)>,
}

/// Writes the man pages of a command and its subcommands, and completions for bash, fish and zsh, into a directory,
/// which is made if missing.
///
/// # Errors
/// Fails if the directory cannot be written.
pub fn write(directory: &Path, command: &Command, version: &str, shared: &PageText<'_>) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let name = command.get_name();
    for shell in [Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), name, directory)?;
    }
    std::fs::write(directory.join(format!("{name}.bash")), bash(command)?)?;
    // Only a built command has its global options and the full names of its subcommands.
    let mut built = command.clone().disable_help_subcommand(true);
    built.build();
    let source = format!("{name} {version}");
    std::fs::write(directory.join(format!("{name}.1")), page(&built, name, &source, Some(shared))?)?;
    for subcommand in built.get_subcommands() {
        let page_name = subcommand.get_display_name().unwrap_or(subcommand.get_name());
        std::fs::write(directory.join(format!("{page_name}.1")), page(subcommand, name, &source, None)?)?;
    }
    Ok(())
}

/// Generates the bash completion. clap_complete 4.6 spells the hyphen of a program's name in two ways, so no
/// subcommand's options would be found.
fn bash(command: &Command) -> io::Result<String> {
    let mut script = Vec::new();
    let name = command.get_name();
    clap_complete::generate(Shell::Bash, &mut command.clone(), name, &mut script);
    let script = String::from_utf8(script).map_err(io::Error::other)?;
    Ok(script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__")))
}

/// Renders one page; only the whole command's page has the shared text.
fn page(command: &Command, name: &str, source: &str, shared: Option<&PageText<'_>>) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let man = Man::new(command.clone()).manual(name).source(source);
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut out)?;
    }
    let mut roff = Roff::new();
    match shared {
        Some(shared) => sections(&mut roff, shared),
        None => {
            roff.control("SH", ["SEE ALSO"]);
            roff.text([bold(name), roman("(1)")]);
        }
    }
    roff.to_writer(&mut out)?;
    Ok(out)
}

/// Adds the exit codes and the other shared sections.
fn sections(roff: &mut Roff, shared: &PageText<'_>) {
    roff.control("SH", ["EXIT STATUS"]);
    let mut lines = shared.exit_codes.lines().skip(1).peekable();
    while let Some(line) = lines.next() {
        let (code, meaning) = line.trim().split_once(' ').unwrap_or((line, ""));
        let mut meaning = meaning.trim().to_owned();
        // Lines that begin with no number continue a meaning.
        while let Some(continuation) = lines.next_if(|l| !l.trim_start().starts_with(|c: char| c.is_ascii_digit())) {
            meaning += " ";
            meaning += continuation.trim();
        }
        entry(roff, code, &meaning);
    }
    for (title, entries) in &shared.sections {
        roff.control("SH", [*title]);
        entries.iter().for_each(|(head, text)| entry(roff, head, text));
    }
}

fn entry(roff: &mut Roff, head: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(head)]);
    roff.text([roman(text)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    #[test]
    fn each_subcommand_has_a_page_and_only_the_main_page_has_shared_text() {
        let dir = tempfile::tempdir().unwrap();
        let subcommand = Command::new("run").about("Runs it").arg(Arg::new("fast").long("fast"));
        let command = Command::new("a-b").about("Does it").subcommand(subcommand);
        let sections = vec![("FILES", vec![("/etc/a".to_owned(), "What it reads.".to_owned())])];
        let shared = PageText { exit_codes: "Exit codes:\n  0  fine\n  1  not fine,\n     in two lines", sections };
        write(dir.path(), &command, "1.2", &shared).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["_a-b", "a-b-run.1", "a-b.1", "a-b.bash", "a-b.fish"]);
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let whole = read("a-b.1");
        for text in ["EXIT STATUS", "not fine, in two lines", "FILES", "What it reads.", "a\\-b\\-run(1)"] {
            assert!(whole.contains(text), "{text}: {whole}");
        }
        let page = read("a-b-run.1");
        assert!(page.contains("fast") && page.contains("SEE ALSO") && !page.contains("FILES"), "{page}");
        let script = read("a-b.bash");
        assert!(script.contains("a__b") && !script.contains("a__subcmd__b"), "{script}");
    }
}
