//! `configure`: makes Kata use the distro's components.

mod manager;

use super::containerd_version;
use super::fallback::print_advice;
use super::machine::{Machine, MachineArguments};
use super::system::GlobalArguments;
use super::{Exit, Failed, Format, json, print_file, problems, unprinted};
use clap::{Args, ValueEnum};
use model::diagnostic::printable;
use operator::configure::displaced::{Displaced, displaced_now};
use operator::configure::lock::{Lock, lock};
use operator::configure::state::ChangeError;
use operator::configure::{
    ForeignAdditions, Handler, HandlerChoice, HandlerError, KataConfiguration, LocatedConfiguration, NotEffective,
    PrepareError, PreparedFiles, Problem, Sibling, find_containerd_config, locate, prepare, siblings,
};
use operator::fallback::{Fallback, fallback};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Arguments of `configure`.
#[derive(Debug, Args)]
pub(crate) struct ConfigureArguments {
    #[command(flatten)]
    pub(crate) machine: MachineArguments,
    /// Kata's configuration file; by default the one that containerd's handler names, else the first that Kata itself
    /// would find.
    #[arg(long, value_name = "PATH")]
    kata_config: Option<PathBuf>,
    /// Also make Kata a handler of this container manager. Without this option, a handler that was written earlier for
    /// the same Kata configuration is removed.
    #[arg(long, value_enum)]
    handler: Option<HandlerName>,
    /// containerd's main configuration file; by default the existing one of containerd itself, k3s, RKE2, k0s or
    /// MicroK8s, or /etc/containerd/config.toml if none exists. Required if several exist, or if one of these
    /// distributions is installed but has not written its configuration yet. Only /etc/containerd/config.toml is
    /// created if missing.
    #[arg(long, value_name = "PATH")]
    containerd_config: Option<PathBuf>,
    /// containerd's version, `2.1` or `1.7.24`; by default that of this machine's containerd. The last number matters
    /// if the main file of 1.6 or 1.7 imports a relative pattern.
    #[arg(long, value_name = "VERSION")]
    containerd_version: Option<String>,
    /// Print what would change as a diff, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// A container manager on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum HandlerName {
    /// containerd, configuration versions 2 and later.
    Containerd,
    /// CRI-O.
    Crio,
}

/// Writes Kata's configuration, or reports why that is not possible.
pub(crate) fn run(common: &GlobalArguments, arguments: &ConfigureArguments) -> anyhow::Result<Exit> {
    let mut machine = Machine::inspect(common, &arguments.machine)?;
    if let Err(unknown) = machine.check_packages_readable() {
        eprintln!(
            "warning: {}: cannot tell whether the installed versions were verified",
            printable(&unknown.to_string())
        );
    }
    let format = arguments.machine.about.format;
    machine.check_guest_files_exist()?;
    if !machine.assumed.is_empty() && !arguments.machine.allow_assumed {
        for fact in &machine.assumed {
            eprintln!("error: the record only assumes {}", printable(fact));
        }
        eprintln!("hint: check it and state it in /etc/kata-osinfo with a confidence, or pass --allow-assumed");
        if format == Format::Json {
            let all = problems(machine.assumed.iter().map(|fact| format!("the record only assumes {fact}")));
            let mut answer = json!({ "version": 1, "outcome": "assumed", "facts": machine.assumed, "problems": all });
            machine.name_system(&mut answer)?;
            json(&answer)?;
        }
        return Ok(Exit::Unknown);
    }
    let configuration = match fallback(&machine.inputs()) {
        Fallback::Configure { configuration } => configuration,
        way => return print_advice(&way, &machine, format),
    };
    // A caller that passes containerd's version, or its configuration, has a containerd or will install one.
    let is_named = arguments.containerd_version.is_some() || arguments.containerd_config.is_some();
    match arguments.handler {
        Some(HandlerName::Containerd) if !is_named => manager::require_containerd(&machine.root, &machine.release)?,
        Some(HandlerName::Crio) => manager::require_crio(&machine.root)?,
        Some(HandlerName::Containerd) | None => {}
    }
    // Locked before anything is read that another call could be changing.
    let lock = if arguments.dry_run { None } else { Some(lock(&machine.root)?) };
    for words in lock.iter().flat_map(Lock::rescued) {
        eprintln!("warning: {}", printable(&words));
    }
    // Texts that the lock could not put back are already reported.
    let aside = lock.as_ref().map(Lock::aside).unwrap_or_default();
    let displaced_before = displaced_now(&machine.root);
    warn_displaced(displaced_before.iter().filter(|text| !aside.iter().any(|(path, _)| *path == text.path)));
    let located = locate(&machine.root, machine.profile.runtime, arguments.kata_config.as_deref())?;
    let mut passed_over = Vec::new();
    let handler = match arguments.handler {
        Some(HandlerName::Containerd) => {
            let place =
                find_containerd_config(&machine.root, arguments.containerd_config.as_deref()).map_err(no_handler)?;
            passed_over.clone_from(&place.passed_over);
            let version_argument = arguments.containerd_version.as_deref();
            Some(HandlerChoice {
                handler: Handler::Containerd,
                config: Some(place.main.clone()),
                version: containerd_version::find(
                    &machine.root,
                    machine.release.package_manager,
                    version_argument,
                    &place,
                )?,
            })
        }
        Some(HandlerName::Crio) => Some(HandlerChoice { handler: Handler::Crio, config: None, version: None }),
        None => None,
    };
    let mut prepared =
        prepare(&machine.root, &located, &configuration, handler, machine.force).map_err(|error| match error {
            PrepareError::Handler(why) => no_handler(why),
            error => error.into(),
        })?;
    prepared.warnings.extend(passed_over);
    let diff = prepared.diff(&machine.root)?;
    let siblings = siblings(&machine.root, &prepared.located, configuration.runtime, configuration.kata)?;
    print_notes(&machine, &configuration, &located, &prepared, &siblings);
    prepared.warnings.extend(lock.iter().flat_map(Lock::rescued));
    let mut answer = answer(&machine, &configuration, &located, &prepared, &siblings);
    machine.name_system(&mut answer)?;
    let (not_effective, found) = match &lock {
        None => (prepared.not_effective.clone(), prepared.problems.clone()),
        Some(lock) => match prepared.write(&machine.root, lock, &configuration) {
            Ok(written) => written,
            Err(error) => return Err(not_written(error, &new_since(&displaced_before, displaced_now(&machine.root)))),
        },
    };
    // The same rule as in `unconfigure`: if this call has put a text aside, or has not put one back, it is not a
    // success; a text that an earlier call has put aside is only reported.
    let now = displaced_now(&machine.root);
    let new = new_since(&displaced_before, now.clone());
    warn_displaced(new.iter());
    let in_place = aside.is_empty() && new.is_empty() && now.iter().all(|text| text.is_aside);
    let effective = not_effective.is_empty() && found.is_empty() && in_place;
    for line in complaints(&not_effective, &found) {
        eprintln!("warning: {}", printable(&line));
    }
    if let Value::Object(answer) = &mut answer {
        answer.insert("written".to_owned(), (!arguments.dry_run).into());
        answer.insert("diff".to_owned(), diff.clone().into());
        answer.insert("not-effective".to_owned(), serde_json::to_value(&not_effective)?);
        let displaced: Vec<Problem> = now.iter().map(Displaced::problem).collect();
        let mut all: Vec<Value> = found.iter().chain(&displaced).map(serde_json::to_value).collect::<Result<_, _>>()?;
        all.extend(complaints(&not_effective, &[]).into_iter().map(|message| json!({ "message": message })));
        answer.insert("problems".to_owned(), all.into());
    }
    let printed = match (format, arguments.dry_run) {
        (Format::Json, _) => json(&answer),
        (Format::Human, true) => print_file(&diff),
        (Format::Human, false) => {
            let files = answer["files"].as_array();
            files.into_iter().flatten().try_for_each(|file| print_file(file.as_str().unwrap_or_default()))
        }
    };
    printed.map_err(|error| if arguments.dry_run { error } else { unprinted(error) })?;
    Ok(if effective { Exit::Ok } else { Exit::NotEffective })
}

/// Creates the error for a missing handler, with an exit code of its own if the existing configuration excludes the
/// handler.
fn no_handler(why: HandlerError) -> anyhow::Error {
    match why.keeps_it_out() {
        true => Failed::new(Exit::NotEffective, "no-handler", why.to_string()).into(),
        false => why.into(),
    }
}

/// Warns about other tools' texts that are not in their original places.
fn warn_displaced<'t>(texts: impl Iterator<Item = &'t Displaced>) {
    for text in texts {
        eprintln!("warning: {}", printable(&text.words()));
    }
}

/// Returns the texts that were not there before.
fn new_since(before: &[Displaced], mut now: Vec<Displaced>) -> Vec<Displaced> {
    now.retain(|text| !before.iter().any(|earlier| earlier.path == text.path));
    now
}

/// Creates the error for a failed write, which may have put other tools' texts aside.
fn not_written(error: PrepareError, aside: &[Displaced]) -> anyhow::Error {
    warn_displaced(aside.iter());
    match aside.is_empty() {
        true => partial_write_error(error),
        false => Failed::new(Exit::NotEffective, "displaced", error.to_string())
            .hint("the files that the warnings name have the texts of other processes: merge them, then run this again")
            .into(),
    }
}

/// Converts an error so that its exit code tells whether a call that failed halfway left something behind.
fn partial_write_error(error: PrepareError) -> anyhow::Error {
    let PrepareError::Change(ChangeError::Halfway { left, .. }) = &error else { return error.into() };
    match left.is_empty() {
        true => Failed::new(Exit::BadInput, "not-written", error.to_string()).into(),
        false => Failed::new(Exit::NotEffective, "incomplete", error.to_string()).into(),
    }
}

fn answer(
    machine: &Machine,
    configuration: &KataConfiguration,
    located: &LocatedConfiguration,
    prepared: &PreparedFiles,
    siblings: &[Sibling],
) -> Value {
    let moved = prepared.added.iter().filter_map(ForeignAdditions::theirs);
    let files: Vec<&Path> = moved.chain(&prepared.changes).map(|c| c.path.as_path()).collect();
    json!({
        "version": 1,
        "outcome": "configure",
        "arch": machine.release.arch,
        "kata-config": {
            "path": prepared.located.path,
            "copied-from": copied_from(located, prepared),
            "named-by": located.by,
            "others": located.others,
            "siblings": siblings,
        },
        "warnings": prepared.warnings,
        "theirs": prepared.foreign_values,
        "configuration": configuration,
        "settings": prepared.settings,
        "files": files,
        "taken-back": prepared.back.keys().collect::<Vec<_>>(),
    })
}

fn copied_from<'a>(located: &'a LocatedConfiguration, prepared: &PreparedFiles) -> Option<&'a Path> {
    (located.path != prepared.located.path).then_some(located.path.as_path())
}

/// Prints notes for the reader on stderr.
fn print_notes(
    machine: &Machine,
    configuration: &KataConfiguration,
    located: &LocatedConfiguration,
    prepared: &PreparedFiles,
    siblings: &[Sibling],
) {
    eprintln!(
        "note: Kata {} (by {}) reads {} (by {})",
        configuration.kata,
        machine.kata_from.name(),
        printable(&located.path.display().to_string()),
        located.by
    );
    if copied_from(located, prepared).is_some() {
        eprintln!(
            "note: other configurations beside it, not for ordinary QEMU guests, read the same drop-ins: Kata will read a copy with separate ones, {}",
            printable(&prepared.located.path.display().to_string())
        );
    }
    for warning in &prepared.warnings {
        eprintln!("warning: {}", printable(warning));
    }
    for (path, text) in &prepared.back {
        let path = printable(&path.display().to_string());
        let what = if text.is_some() { "is restored to its text without kata-osinfo" } else { "is removed" };
        eprintln!("note: {path} is no longer needed: it {what}");
    }
    for setting in &prepared.foreign_values {
        eprintln!("note: {}", printable(&setting.words()));
    }
    for passed_over in &configuration.passed_over {
        for why in &passed_over.why {
            eprintln!("note: {} is not used: {}", passed_over.name, printable(why));
        }
    }
    for note in &configuration.notes {
        eprintln!("note: {}: {}", printable(&note.about), printable(&note.text));
    }
    for other in &located.others {
        let other = printable(&other.display().to_string());
        eprintln!(
            "warning: {other} exists, too, and a runtime built for that prefix reads it instead: name the right one with --kata-config"
        );
    }
    for sibling in siblings {
        let sibling = printable(&sibling.path.display().to_string());
        eprintln!("warning: {sibling} is in the same folder and reads the same drop-ins");
    }
    if !configuration.production {
        eprintln!("warning: not for production: see the notes");
    }
}

fn complaints(not_effective: &[NotEffective], problems: &[Problem]) -> Vec<String> {
    let place = |file: &Path, line: Option<usize>| match line {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    };
    let mut all: Vec<String> = problems.iter().map(|p| format!("{}: {}", place(&p.file, p.line), p.message)).collect();
    all.extend(not_effective.iter().map(|n| match (&n.found, &n.file) {
        (Some(found), Some(file)) => {
            format!("{}: {} is {found}, wanted {}", place(file, n.line), n.key, n.wanted)
        }
        _ => format!("{} is not set, wanted {}", n.key, n.wanted),
    }));
    all
}
