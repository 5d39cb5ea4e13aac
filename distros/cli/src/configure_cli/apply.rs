//! `configure` and `unconfigure`.

use super::here::Here;
use super::{Configure, HandlerName, Unconfigure, ways};
use crate::commands::system::Common;
use crate::commands::{Exit, Failed, Format, json};
use model::diagnostic::printable;
use operator::configure::change::{self, Change, ChangeError, Kept, Reverted};
use operator::configure::lock::{Lock, lock};
use operator::configure::stray::{self, strays};
use operator::configure::{
    Configuration, Handler, HandlerChoice, Located, NotEffective, Place, PrepareError, Prepared, Problem, locate,
    place, prepare, siblings,
};
use operator::fallback::{Way, fallback};
use operator::packages::Packages;
use operator::process::Invocation;
use root::Root;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Writes Kata's configuration, or says why not.
pub(crate) fn configure(common: &Common, arguments: &Configure) -> anyhow::Result<Exit> {
    let mut here = Here::look(common, &arguments.machine)?;
    if let Err(unknown) = here.packages_are_known() {
        eprintln!("warning: {}: whether what is there was proved is not known", printable(&unknown.to_string()));
    }
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
    // Before anything is looked at that another one could be changing.
    let lock = if arguments.dry_run { None } else { Some(lock(&here.root)?) };
    let located = locate(&here.root, here.profile.runtime, arguments.kata_config.as_deref())?;
    let handler = match arguments.handler {
        Some(HandlerName::Containerd) => {
            let place = place(&here.root, arguments.containerd_config.as_deref())?;
            let given = arguments.containerd_version.as_deref();
            Some(HandlerChoice {
                handler: Handler::Containerd,
                config: Some(place.main.clone()),
                version: containerd_version(&here.root, given, &place)?,
            })
        }
        Some(HandlerName::Crio) => Some(HandlerChoice { handler: Handler::Crio, config: None, version: None }),
        None => None,
    };
    let prepared = prepare(&here.root, &located, &configuration, handler).map_err(|error| match &error {
        PrepareError::Handler(why) if why.keeps_it_out() => {
            anyhow::Error::new(Failed::new(Exit::NotEffective, "no-handler", error.to_string()))
        }
        _ => error.into(),
    })?;
    let diff = prepared.diff(&here.root)?;
    let mut answer = answer(&here, &configuration, &located, &prepared);
    say(&here, &configuration, &located, &prepared);
    let (not_effective, problems) = match &lock {
        None => (prepared.not_effective.clone(), prepared.problems.clone()),
        Some(lock) => prepared.write(&here.root, lock, &configuration)?,
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
    let files: Vec<&Path> = prepared.changes.iter().map(|c| c.path.as_path()).collect();
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
        "theirs": prepared.theirs,
        "configuration": configuration,
        "settings": prepared.settings,
        "files": files,
    })
}

fn copied_from<'a>(located: &'a Located, prepared: &Prepared) -> Option<&'a Path> {
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
    for theirs in &prepared.theirs {
        eprintln!("note: {}", printable(&theirs.words()));
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
    let place = |file: &Path, line: Option<usize>| match line {
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

/// How long containerd may take to say its version.
const WITHIN: Duration = Duration::from_secs(10);

/// Given; else that of the package that owns the program; else, on the running system alone, what the program says.
fn containerd_version(root: &Root, given: Option<&str>, place: &Place) -> anyhow::Result<Option<(u32, u32)>> {
    if let Some(given) = given {
        let version: model::kata_version::KataVersion = given
            .parse()
            .map_err(|_| anyhow::anyhow!("`{given}` is not a version of containerd: expected `2.1` or `1.7.24`"))?;
        return Ok(Some((version.major, version.minor)));
    }
    // Those of Kubernetes' distributions are in no search path.
    let program = root.which("containerd").filter(|_| place.is_standard());
    let Some(program) = program else { return Ok(None) };
    let owner = Packages::read(root).ok().and_then(|packages| packages.owner(&program).ok().flatten());
    if let Some(owner) = owner {
        // `1:2.1.3-1`, `1.7.24~ds1-6`
        return Ok(owner.version.split(':').next_back().and_then(major_minor));
    }
    if !root.is_running_system() {
        return Ok(None);
    }
    Ok(says(&program, WITHIN))
}

/// `containerd github.com/containerd/containerd v2.1.3 …`
fn says(program: &Path, within: Duration) -> Option<(u32, u32)> {
    match Invocation::new(program, &["--version"]).run(within, None) {
        Ok(finished) => finished.stdout.split_whitespace().find_map(major_minor),
        Err(error) => {
            eprintln!("warning: {}: name it with --containerd-version", printable(&error.to_string()));
            None
        }
    }
}

fn major_minor(word: &str) -> Option<(u32, u32)> {
    let mut parts = word.trim_start_matches('v').split('.').map(|p| p.parse::<u32>().ok());
    Some((parts.next()??, parts.next()??))
}

/// Takes everything back.
pub(crate) fn unconfigure(common: &Common, arguments: &Unconfigure) -> anyhow::Result<Exit> {
    let root = common.root()?;
    let recorded = || -> Result<(Option<change::State>, Option<String>), ChangeError> {
        match change::state(&root) {
            // What there is without it is looked for.
            Err(ChangeError::State(why)) if arguments.force => Ok((None, Some(why))),
            state => Ok((state?, None)),
        }
    };
    // Without a folder of states there is none, and nothing that a crash could have left.
    let is_there = root.place_itself(Path::new(change::STATE))?.is_some();
    let to_take = || anyhow::Ok(arguments.force && recorded()?.0.is_none() && !strays(&root)?.is_empty());
    let lock = if arguments.dry_run || !is_there && !to_take()? { None } else { Some(lock(&root)?) };
    let Reverted { restored, kept } = match recorded()? {
        (Some(state), _) => stray::take_back(&root, lock.as_ref(), &state, arguments.force)?,
        (None, damaged) => unrecorded(&root, lock.as_ref(), damaged, arguments.force)?,
    };
    for Kept { path, why } in &kept {
        let path = printable(&path.display().to_string());
        eprintln!("warning: {path} is not taken back, or not all of it: {}", printable(why));
    }
    if !kept.is_empty() && !arguments.force {
        eprintln!("hint: `kata-osinfo unconfigure --force` takes that back, too");
    }
    let diff: String = restored.iter().map(Change::diff).collect();
    match (arguments.format, arguments.dry_run) {
        (Format::Json, dry_run) => {
            let files: Vec<&Path> = restored.iter().map(|c| c.path.as_path()).collect();
            json(
                &json!({ "version": 1, "outcome": "unconfigure", "written": !dry_run, "files": files, "kept": kept, "diff": diff }),
            )?;
        }
        (Format::Human, true) => print(&diff)?,
        (Format::Human, false) => {
            for change in &restored {
                print(&change.path.display().to_string())?;
            }
        }
    }
    Ok(if kept.is_empty() { Exit::Ok } else { Exit::NotEffective })
}

/// What is to be done where no state, or none that can be read, says what was written.
fn unrecorded(root: &Root, lock: Option<&Lock>, damaged: Option<String>, force: bool) -> anyhow::Result<Reverted> {
    let strays = strays(root)?;
    if let Some(why) = &damaged {
        eprintln!("warning: {} is damaged: {}", change::STATE, printable(why));
        if let Some(lock) = lock {
            stray::set_aside(root, lock)?;
            eprintln!("note: it is called {} now: what there is of the old texts is in it", stray::DAMAGED);
        }
    }
    if strays.is_empty() {
        eprintln!("note: nothing is configured{}", if damaged.is_some() { " that says that it is ours" } else { "" });
        if lock.is_some() {
            root.remove_empty_folder(Path::new(change::STATE).parent().unwrap_or(Path::new("/")))?;
        }
        return Ok(Reverted::default());
    }
    if !force {
        return Ok(Reverted { kept: strays.told(), ..Reverted::default() });
    }
    eprintln!("warning: {}", stray::UNKNOWN);
    let mut reverted = change::revert(root, lock, &strays.state, force)?;
    reverted.kept.extend(strays.kept);
    Ok(reverted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn containerd_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("containerd");
        let script = |text: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        script("echo containerd github.com/containerd/containerd v2.1.3 deadbeef");
        assert_eq!(says(&program, Duration::from_secs(20)), Some((2, 1)));
        script("echo containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6");
        assert_eq!(says(&program, Duration::from_secs(20)), Some((1, 7)));
        script("sleep 1000");
        let started = std::time::Instant::now();
        assert_eq!(says(&program, Duration::from_millis(300)), None);
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    }

    #[test]
    fn a_package_says_which_containerd_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = dir.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        write("usr/bin/containerd", "no program that could be run");
        let root = Root::new(dir.path()).unwrap();
        let said = |given| containerd_version(&root, given, &place(&root, None).unwrap()).unwrap();
        assert_eq!(said(None), None);
        write("var/lib/dpkg/info/containerd.io.list", "/usr/bin/containerd\n");
        for (version, expected) in [("1:2.1.3-1", (2, 1)), ("1.7.24~ds1-6+b4", (1, 7))] {
            let status = format!("Package: containerd.io\nStatus: install ok installed\nVersion: {version}\n");
            write("var/lib/dpkg/status", &status);
            assert_eq!(said(None), Some(expected));
        }
        assert_eq!(said(Some("2.0")), Some((2, 0)));
        // A distribution of Kubernetes has its own.
        let theirs = place(&root, Some(Path::new("/var/lib/rancher/k3s/agent/etc/containerd/config.toml"))).unwrap();
        assert_eq!(containerd_version(&root, None, &theirs).unwrap(), None);
    }
}
