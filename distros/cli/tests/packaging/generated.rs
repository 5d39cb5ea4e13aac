//! Man pages and completions, checked by the programs that read them.

use crate::must;
use std::path::Path;
use std::process::Command;

fn generated() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    must(Command::new(env!("CARGO_BIN_EXE_kata-osinfo")).arg("generate").arg(folder.path()));
    folder
}

/// Returns the subcommands that `--help` lists.
fn calls() -> Vec<String> {
    let help = must(Command::new(env!("CARGO_BIN_EXE_kata-osinfo")).arg("-h"));
    let listed = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    // Continuation lines are indented further.
    let heads = listed.filter(|l| !l.starts_with("   "));
    let calls: Vec<String> = heads.filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect();
    assert!(calls.len() > 10 && calls.last().is_some_and(|c| c == "help"), "{calls:?}");
    calls
}

#[test]
fn every_subcommand_has_a_man_page() {
    let folder = generated();
    for call in calls().iter().filter(|c| *c != "help") {
        assert!(folder.path().join(format!("kata-osinfo-{call}.1")).exists(), "{call} has no page");
    }
}

#[test]
#[cfg_attr(lacks = "man", ignore = "needs man-db")]
fn man_pages_cause_no_warnings() {
    let folder = generated();
    let pages = std::fs::read_dir(folder.path()).expect("listed").map(|e| e.expect("an entry").path());
    for page in pages.filter(|p| p.extension().is_some_and(|e| e == "1")) {
        // groff's warnings go to standard error; the page itself is long.
        let output = man(&page).output().expect("man runs");
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
    }
    let page = must(&mut man(&folder.path().join("kata-osinfo.1")));
    for text in ["SYNOPSIS", "kata-osinfo-check(1)", "EXIT STATUS", "/etc/kata-osinfo/*.yaml", "KATA_OSINFO_PATH"] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    let broken = folder.path().join("broken.1");
    std::fs::write(&broken, ".TH broken 1\n.SH NAME\n.no-such-macro\n").expect("written");
    let output = man(&broken).output().expect("man runs");
    assert!(!output.stderr.is_empty(), "man finds no fault in a broken page");
}

fn man(page: &Path) -> Command {
    let mut command = Command::new("man");
    command
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "200")
        .env("MANPAGER", "cat")
        .args(["--warnings", "--local-file"])
        .arg(page);
    command
}

#[test]
#[cfg_attr(lacks = "bash", ignore = "needs bash")]
fn bash_completes_subcommands_and_options() {
    let folder = generated();
    let bash = "source \"$1/kata-osinfo.bash\"
        ask() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            $(complete -p kata-osinfo | sed 's/.*-F \\([^ ]*\\).*/\\1/') kata-osinfo \"${!#}\" \"${COMP_WORDS[-2]}\"
            echo \"${COMPREPLY[*]}\"; }
        ask kata-osinfo uncon; ask kata-osinfo check --al; ask kata-osinfo check --format j";
    let output = must(Command::new("bash").args(["-euc", bash, "bash"]).arg(folder.path()));
    assert_eq!(output, "unconfigure\n--all\njson\n");
}

#[test]
#[cfg_attr(lacks = "fish", ignore = "needs fish")]
fn fish_completes_subcommands_and_options() {
    let folder = generated();
    let fish =
        "source $argv[1]/kata-osinfo.fish; complete -C 'kata-osinfo uncon'; complete -C 'kata-osinfo check --al'";
    let output = must(Command::new("fish").args(["--no-config", "-c", fish]).arg(folder.path()));
    let first: Vec<&str> = output.lines().filter_map(|l| l.split('\t').next()).collect();
    assert_eq!(first, ["unconfigure", "--all"], "{output}");
}

#[test]
#[cfg_attr(lacks = "zsh", ignore = "needs zsh")]
fn zsh_finds_the_completion() {
    let folder = generated();
    must(Command::new("zsh").args(["-f", "-n"]).arg(folder.path().join("_kata-osinfo")));
    // compinit reads the file's first line, and then knows the command that it completes.
    let zsh = "fpath=($1 $fpath); autoload -U compinit; compinit -D -u; echo $_comps[kata-osinfo]";
    let output = must(Command::new("zsh").args(["-f", "-c", zsh, "zsh"]).arg(folder.path()));
    assert_eq!(output, "_kata-osinfo\n");
}
