//! `configure` and `unconfigure`.

use super::here::Here;
use super::{Configure, HandlerName, Unconfigure, ways};
use crate::commands::system::Common;
use crate::commands::{Exit, Format, json};
use kata_osinfo::configure::change::{self, Change};
use kata_osinfo::configure::{
    Configuration, Handler, HandlerChoice, Located, NotEffective, Prepared, Problem, locate, prepare, siblings,
};
use kata_osinfo::diagnostic::printable;
use kata_osinfo::fallback::{Way, fallback};
use kata_osinfo::root::Root;
use serde_json::{Value, json};
use std::io::Write;

/// Writes Kata's configuration, or says why not.
pub(crate) fn configure(common: &Common, arguments: &Configure) -> anyhow::Result<Exit> {
    let here = Here::look(common, &arguments.machine)?;
    let format = arguments.machine.about.format;
    here.files_are_there()?;
    if !here.assumed.is_empty() && !arguments.machine.allow_assumed {
        for fact in &here.assumed {
            eprintln!("error: nobody has checked the record's {}", printable(fact));
        }
        eprintln!("hint: check it and state it in /etc/kata-osinfo, or pass --allow-assumed");
        if format == Format::Json {
            json(&json!({ "version": 1, "outcome": "assumed", "facts": here.assumed }))?;
        }
        return Ok(Exit::Unknown);
    }
    let configuration = match fallback(&here.inputs()) {
        Way::Configure { configuration } => configuration,
        way => return ways::print(&way, &here, format),
    };
    let located = locate(&here.root, here.profile.runtime, arguments.kata_config.as_deref())?;
    let handler = match arguments.handler {
        Some(HandlerName::Containerd) => Some(HandlerChoice {
            handler: Handler::Containerd,
            version: containerd_version(&here.root, arguments.containerd_version.as_deref())?,
        }),
        Some(HandlerName::Crio) => Some(HandlerChoice { handler: Handler::Crio, version: None }),
        None => None,
    };
    let prepared = prepare(&here.root, &located, &configuration, handler)?;
    let diff = prepared.diff(&here.root)?;
    let mut answer = answer(&here, &configuration, &located, &prepared);
    say(&here, &configuration, &located, &prepared);
    let (not_effective, problems) = if arguments.dry_run {
        (prepared.not_effective.clone(), prepared.problems.clone())
    } else {
        prepared.write(&here.root, &configuration)?
    };
    let effective = not_effective.is_empty() && problems.is_empty();
    for line in complaints(&not_effective, &problems) {
        eprintln!("warning: {}", printable(&line));
    }
    if let Value::Object(answer) = &mut answer {
        answer.insert("written".to_owned(), (!arguments.dry_run).into());
        answer.insert("diff".to_owned(), diff.clone().into());
        answer.insert("not-effective".to_owned(), serde_json::to_value(&not_effective)?);
        answer.insert("problems".to_owned(), serde_json::to_value(&problems)?);
    }
    match (format, arguments.dry_run) {
        (Format::Json, _) => json(&answer)?,
        (Format::Human, true) => print(&diff)?,
        (Format::Human, false) => {
            for change in answer["files"].as_array().into_iter().flatten() {
                print(change.as_str().unwrap_or_default())?;
            }
        }
    }
    Ok(if effective { Exit::Ok } else { Exit::NotEffective })
}

fn answer(here: &Here, configuration: &Configuration, located: &Located, prepared: &Prepared) -> Value {
    let files: Vec<&std::path::Path> = prepared.changes.iter().map(|c| c.path.as_path()).collect();
    json!({
        "version": 1,
        "outcome": "configure",
        "release": here.release.name(),
        "arch": here.release.arch,
        "kata-config": {
            "path": prepared.located.path,
            "copied-from": copied_from(located, prepared),
            "named-by": located.by,
            "others": located.others,
            "siblings": siblings(&here.root, &prepared.located),
        },
        "warnings": prepared.warnings,
        "configuration": configuration,
        "settings": prepared.settings,
        "files": files,
    })
}

fn copied_from<'a>(located: &'a Located, prepared: &Prepared) -> Option<&'a std::path::Path> {
    (located.path != prepared.located.path).then_some(located.path.as_path())
}

/// What a reader should know, on stderr.
fn say(here: &Here, configuration: &Configuration, located: &Located, prepared: &Prepared) {
    eprintln!(
        "note: Kata {} (by {}) reads {} (by {})",
        configuration.kata,
        here.kata_by,
        printable(&located.path.display().to_string()),
        located.by
    );
    if copied_from(located, prepared).is_some() {
        eprintln!(
            "note: others beside it that are not for ordinary guests of QEMU have the same drop-ins: Kata is to read a copy with its own, {}",
            printable(&prepared.located.path.display().to_string())
        );
    }
    for warning in &prepared.warnings {
        eprintln!("warning: {}", printable(warning));
    }
    for passed_over in &configuration.passed_over {
        for why in &passed_over.why {
            eprintln!("note: not {}: {}", passed_over.name, printable(why));
        }
    }
    for note in &configuration.notes {
        eprintln!("note: {}: {}", printable(&note.about), printable(&note.text));
    }
    for other in &located.others {
        let other = printable(&other.display().to_string());
        eprintln!(
            "warning: {other} is there too: a runtime built for that prefix reads it instead; name the right one with --kata-config"
        );
    }
    for sibling in siblings(&here.root, &prepared.located) {
        let sibling = printable(&sibling.path.display().to_string());
        eprintln!("warning: {sibling} lies beside it and has the same drop-ins");
    }
    if !configuration.production {
        eprintln!("warning: not for production");
        if !here.guest_is_own() {
            eprintln!(
                "hint: boot the distro's kernel: --initrd with one that holds Kata's agent and the kernel's modules"
            );
        }
    }
}

fn complaints(not_effective: &[NotEffective], problems: &[Problem]) -> Vec<String> {
    let place = |file: &std::path::Path, line: Option<usize>| match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    };
    let mut all: Vec<String> = problems.iter().map(|p| format!("{}: {}", place(&p.file, p.line), p.message)).collect();
    all.extend(not_effective.iter().map(|n| match (&n.found, &n.file) {
        (Some(found), Some(file)) => {
            format!("{}: {} is {found}, wanted {}", place(file, n.line), n.key, n.wanted)
        }
        _ => format!("{} is set nowhere, wanted {}", n.key, n.wanted),
    }));
    all
}

/// Text on stdout, without what could act on a terminal; tabs stay, for configurations have them.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in text.lines() {
        writeln!(out, "{}", line.split('\t').map(printable).collect::<Vec<_>>().join("\t"))?;
    }
    Ok(())
}

/// Given, or asked of this machine's own containerd; another machine's is not run.
fn containerd_version(root: &Root, given: Option<&str>) -> anyhow::Result<Option<(u32, u32)>> {
    if let Some(given) = given {
        let version: kata_osinfo::configure::KataVersion = given
            .parse()
            .map_err(|_| anyhow::anyhow!("`{given}` is not a version of containerd: expected `2.1` or `1.7.24`"))?;
        return Ok(Some((version.major, version.minor)));
    }
    if !root.is_running_system() {
        return Ok(None);
    }
    // `containerd github.com/containerd/containerd 1.7.24~ds1 …`
    let Ok(output) = std::process::Command::new("containerd").arg("--version").output() else { return Ok(None) };
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers = |word: &str| {
        let mut parts = word.trim_start_matches('v').split('.').map(|p| p.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    Ok(text.split_whitespace().find_map(numbers))
}

/// Takes everything back.
pub(crate) fn unconfigure(common: &Common, arguments: &Unconfigure) -> anyhow::Result<Exit> {
    let root = common.root()?;
    let restored = match change::state(&root)? {
        Some(state) => change::revert(&root, &state, arguments.force, arguments.dry_run)?,
        None => {
            eprintln!("note: nothing is configured");
            Vec::new()
        }
    };
    let diff: String = restored.iter().map(Change::diff).collect();
    match (arguments.format, arguments.dry_run) {
        (Format::Json, dry_run) => {
            let files: Vec<&std::path::Path> = restored.iter().map(|c| c.path.as_path()).collect();
            json(
                &json!({ "version": 1, "outcome": "unconfigure", "written": !dry_run, "files": files, "diff": diff }),
            )?;
        }
        (Format::Human, true) => print(&diff)?,
        (Format::Human, false) => {
            for change in &restored {
                print(&change.path.display().to_string())?;
            }
        }
    }
    Ok(Exit::Ok)
}
