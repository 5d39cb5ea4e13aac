//! `unconfigure`: takes back the changes of `configure`.

use super::system::GlobalArguments;
use super::{Exit, Failed, Format, json, print_file, problems, unprinted};
use clap::Args;
use model::diagnostic::printable;
use operator::configure::displaced::{Displaced, displaced};
use operator::configure::lock::{Lock, lock};
use operator::configure::revert::{RevertReport, revert};
use operator::configure::state::{self, ChangeError, FOLDER, NotReverted, STATE, State};
use operator::configure::stray::{self, Strays, strays};
use operator::configure::{ForeignAdditions, hidden_diff};
use root::Root;
use serde_json::json;
use std::path::Path;

/// Arguments of `unconfigure`.
#[derive(Debug, Args)]
pub(crate) struct UnconfigureArguments {
    /// Also revert what was changed since, and what is certainly kata-osinfo's although no state file records it any
    /// more.
    #[arg(long)]
    force: bool,
    /// Print what would change as a diff, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

/// Takes everything back.
pub(crate) fn run(common: &GlobalArguments, arguments: &UnconfigureArguments) -> anyhow::Result<Exit> {
    let root = common.root()?;
    let recorded = || -> Result<(Option<State>, Option<String>), ChangeError> {
        match state::read(&root) {
            // Files that are left without a usable state are searched for.
            Err(ChangeError::State(why)) if arguments.force => Ok((None, Some(why))),
            state => Ok((state?, None)),
        }
    };
    // Without a state directory there is neither a state nor anything left by a crash.
    let is_there = match state::has_folder(&root) {
        // The file in the directory's place is set aside below.
        Err(ChangeError::State(_)) if arguments.force => true,
        is_there => is_there?,
    };
    let mut found = recorded()?;
    // The files to take back are read again under the lock, because a `configure` may have started just now. Nothing is
    // written on a machine without any of kata-osinfo's files.
    let is_known = is_there || found.0.is_some() || found.1.is_some();
    let found_strays = (arguments.force && !is_known).then(|| strays(&root, true)).transpose()?;
    let is_to_lock = is_known || found_strays.as_ref().is_some_and(|strays| !strays.is_empty());
    let lock = if arguments.dry_run || !is_to_lock {
        None
    } else {
        if arguments.force
            && let Some(name) = stray::set_folder_aside(&root)?
        {
            eprintln!("warning: {FOLDER} is not a folder: it was renamed to {name}");
        }
        let lock = lock(&root)?;
        for words in lock.rescued() {
            eprintln!("warning: {}", printable(&words));
        }
        found = recorded()?;
        Some(lock)
    };
    let (state, damaged) = found;
    let taken_back = match &state {
        Some(state) => stray::take_back(&root, lock.as_ref(), state, arguments.force).map_err(anyhow::Error::from),
        None => match found_strays.filter(|_| lock.is_none()).map_or_else(|| strays(&root, arguments.force), Ok) {
            // There was nothing to take back or to force, so these files were written by a `configure` that has started
            // since, if it has created the state directory.
            Ok(found) if lock.is_none() && !arguments.dry_run && !found.is_empty() && state::has_folder(&root)? => {
                return run(common, arguments);
            }
            Ok(found) => unrecorded(&root, lock.as_ref(), &found, damaged, arguments.force),
            Err(error) => Err(error.into()),
        },
    };
    // Other tools' texts that are not in their original places are reported in any case; if this call has not put one
    // back, it is not a success.
    let aside = lock.as_ref().map(Lock::aside).unwrap_or_default();
    let mut lying = displaced(&root, &state.unwrap_or_default());
    lying.retain(|text| !aside.iter().any(|(path, _)| *path == text.path));
    for text in &lying {
        eprintln!("warning: {}", printable(&text.words()));
    }
    let is_out_of_place = !aside.is_empty() || lying.iter().any(|text| !text.is_aside);
    let displaced: Vec<String> =
        aside.into_iter().map(|(_, words)| words).chain(lying.iter().map(Displaced::words)).collect();
    let RevertReport { restored, kept, added, forced } = taken_back?;
    for words in added.iter().filter_map(ForeignAdditions::words) {
        eprintln!("note: {}", printable(&words));
    }
    for words in &forced {
        eprintln!("warning: {}", printable(words));
    }
    for NotReverted { path, why, .. } in &kept {
        let path = printable(&path.display().to_string());
        eprintln!("warning: {path} is not fully reverted: {}", printable(why));
    }
    let by_force: Vec<String> = kept.iter().filter(|k| k.by_force).map(|k| k.path.display().to_string()).collect();
    if !by_force.is_empty() && !arguments.force {
        let what = match by_force.len() == kept.len() {
            true => "what is left".to_owned(),
            false => by_force.join(", "),
        };
        eprintln!("hint: `kata-osinfo unconfigure --force` also reverts {}", printable(&what));
    }
    let diff: String = restored.iter().map(hidden_diff).collect();
    let printed = match (arguments.format, arguments.dry_run) {
        (Format::Json, dry_run) => {
            let files: Vec<&Path> = restored.iter().map(|c| c.path.as_path()).collect();
            let messages = kept.iter().map(|k| format!("{} is not fully reverted: {}", k.path.display(), k.why));
            json(&json!({
                "version": 1,
                "outcome": "unconfigure",
                "written": !dry_run,
                "files": files,
                "kept": kept,
                "diff": diff,
                "problems": problems(messages.chain(displaced.iter().cloned())),
            }))
        }
        (Format::Human, true) => print_file(&diff),
        (Format::Human, false) => restored.iter().try_for_each(|change| print_file(&change.path.display().to_string())),
    };
    printed.map_err(|error| if arguments.dry_run { error } else { unprinted(error) })?;
    Ok(if kept.is_empty() && !is_out_of_place { Exit::Ok } else { Exit::NotEffective })
}

/// Takes back files if there is no state, or no readable one, that records what was written.
fn unrecorded(
    root: &Root,
    lock: Option<&Lock>,
    strays: &Strays,
    damaged: Option<String>,
    force: bool,
) -> anyhow::Result<RevertReport> {
    if let Some(why) = &damaged {
        eprintln!("warning: {STATE} is damaged: {}", printable(why));
        if let Some(lock) = lock
            && let Some(name) = stray::set_aside(root, lock)?
        {
            eprintln!("note: it was renamed to {name}, and has what remains of the old texts");
        }
    }
    if strays.is_empty() {
        eprintln!(
            "note: nothing is configured{}",
            if damaged.is_some() { " that is marked as kata-osinfo's" } else { "" }
        );
        if lock.is_some() {
            // The directory is empty; if it stays, it does no harm.
            let _ = root.remove_empty_folder(Path::new(FOLDER));
        }
        return Ok(RevertReport::default());
    }
    if damaged.is_none()
        && strays.is_unclear()
        && let Some(NotReverted { path, why, .. }) = strays.unclear.first()
    {
        let unclear = Failed::new(Exit::Unknown, "unclear", format!("{}: {why}", path.display()));
        return Err(unclear.hint("fix the file, so that containerd can read it, and run this again").into());
    }
    if !force {
        return Ok(RevertReport { kept: strays.told(), ..RevertReport::default() });
    }
    eprintln!("warning: {}", stray::UNKNOWN);
    let mut reverted = revert(root, lock, &strays.state, force)?;
    reverted.kept.extend(strays.unwritten().cloned());
    Ok(reverted)
}
