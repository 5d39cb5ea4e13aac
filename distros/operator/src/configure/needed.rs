//! What of others needs files that are to go: a container manager that would not come up without our handler, and lines
//! of theirs that nothing would read any more.
//!
//! It is decided on what container managers and Kata make of all files together, before and after.

use super::added::Added;
use super::containerd::{self, Replaced};
use super::crio;
use super::state::{Configured, Kept, State};
use root::{Root, RootError};
use std::path::{Path, PathBuf};

/// The files of a state that stay because others need them, each with why; they belong together, so none of a
/// configuration goes alone.
///
/// `then` are all files as they are to be, those to which others' lines of our files move (`added`) among them; `version`
/// is containerd's, where it is known.
///
/// # Errors
///
/// That a file which decides it cannot be read.
pub(super) fn needed(
    root: &Root,
    state: &State,
    added: &[Added],
    then: &Replaced,
    version: Option<(u32, u32)>,
) -> Result<Vec<Kept>, RootError> {
    let of_crio = root.resolve_new(&crio::drop_in()).ok();
    let is_crio = |path: &PathBuf| Some(path) == of_crio.as_ref();
    let mut kept: Vec<Kept> = Vec::new();
    let mut hold = |configured: &Configured, why: &str| {
        for path in &configured.files {
            if !kept.iter().any(|k| k.path == *path) {
                kept.push(Kept { path: path.clone(), why: why.to_owned(), by_force: true });
            }
        }
    };
    let of = |is_its: &dyn Fn(&PathBuf) -> bool| {
        let is_its = |c: &&Configured| c.handler.iter().any(is_its);
        state.configurations.iter().filter(is_its).collect::<Vec<_>>()
    };
    let of_containerd = of(&|path| !is_crio(path));
    if !of_containerd.is_empty()
        && let Some(why) = containerd::loss(root, then, version)?
    {
        of_containerd.into_iter().for_each(|c| hold(c, &why));
    }
    let of_crio = of(&is_crio);
    if !of_crio.is_empty()
        && let Some(why) = crio::loss(root, then)
    {
        of_crio.into_iter().for_each(|c| hold(c, &why));
    }
    for added in added {
        let (Some(theirs), Some(configured)) = (added.theirs(), owner_for_kata(state, added.ours())) else { continue };
        if is_read_today(root, configured)? && !is_read(root, configured, &theirs.path, then)? {
            hold(configured, &added.would_be_lost());
        }
    }
    Ok(kept)
}

/// The configuration that a file was written for, where Kata reads it.
fn owner_for_kata<'s>(state: &'s State, path: &Path) -> Option<&'s Configured> {
    let is_its = |c: &&Configured| c.files.iter().any(|f| f == path) && !c.handler.iter().any(|f| f == path);
    state.configurations.iter().find(is_its)
}

/// Kata's file or the copy of it: whichever is there may be read.
fn mains(configured: &Configured) -> impl Iterator<Item = &PathBuf> {
    std::iter::once(&configured.config).chain(&configured.files)
}

fn is_read_today(root: &Root, configured: &Configured) -> Result<bool, RootError> {
    for main in mains(configured) {
        if root.look(main)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a drop-in lies beside a configuration that will be there.
fn is_read(root: &Root, configured: &Configured, drop_in: &Path, then: &Replaced) -> Result<bool, RootError> {
    let folder = drop_in.parent().filter(|folder| folder.file_name().is_some_and(|name| name == "config.d"));
    let Some(beside) = folder.and_then(Path::parent) else { return Ok(false) };
    for main in mains(configured).filter(|main| main.parent() == Some(beside)) {
        let is_there = match then.get(main) {
            Some(text) => text.is_some(),
            None => root.look(main)?.is_some(),
        };
        if is_there {
            return Ok(true);
        }
    }
    Ok(false)
}
