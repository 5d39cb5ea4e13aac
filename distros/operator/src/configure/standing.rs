//! Checks whether the written configuration still exists and is in effect, because files and packages change.

use super::displaced::{Displaced, displaced};
use super::found::objection_to;
use super::state::{self, ChangeError, State};
use super::toml::line_of;
use super::{ContainerdVersion, Initrd, Problem, containerd, copy, in_effect};
use root::{Root, RootError};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item};

/// Keys of Kata's configuration whose files must exist.
const FILES: [&str; 4] = ["path", "kernel", "initrd", "virtio_fs_daemon"];

/// Returns problems of what this program configured on a machine; none if it configured nothing.
///
/// Examples: an upgrade removed the kernel, an initrd was rebuilt for another kernel, a drop-in was removed with its
/// directory, or others have written something that keeps the configuration from being in effect, which is reported as
/// by `configure`. `containerd` is its version, if known; `look` examines an initrd. Displaced texts of others are
/// reported even if nothing is configured.
///
/// # Errors
///
/// The state or a file cannot be read.
pub fn standing(
    root: &Root,
    containerd: Option<ContainerdVersion>,
    look: &dyn Fn(&Root, &Path) -> Initrd,
) -> Result<Vec<Problem>, ChangeError> {
    let state = state::read(root)?;
    let displaced = displaced(root, state.as_ref().unwrap_or(&State::default()));
    let mut found = match state {
        Some(state) => problems(root, &containerd::migrated::adopted(root, state)?, containerd, look)?,
        None => Vec::new(),
    };
    found.extend(displaced.iter().map(Displaced::problem));
    Ok(found)
}

fn problems(
    root: &Root,
    state: &State,
    containerd: Option<ContainerdVersion>,
    look: &dyn Fn(&Root, &Path) -> Initrd,
) -> Result<Vec<Problem>, ChangeError> {
    let mut problems = Vec::new();
    // Files whose other problems need not be reported.
    let mut undone: BTreeSet<PathBuf> = BTreeSet::new();
    let mut report = |file: &Path, line, message: String| {
        problems.push(Problem { file: file.to_owned(), line, message: format!("{message}: configure again") });
    };
    for file in &state.files {
        let now = match root.utf8_if_any(&file.path) {
            Err(RootError::NotText { .. }) => {
                let why = "it is not UTF-8 text, so kata-osinfo cannot find the parts that it wrote: fix the file";
                report(&file.path, None, why.to_owned());
                undone.insert(file.path.clone());
                continue;
            }
            now => now?,
        };
        let Some(now) = now else {
            report(&file.path, None, "kata-osinfo wrote it, but it no longer exists".to_owned());
            undone.insert(file.path.clone());
            continue;
        };
        if file.before.as_ref() == Some(&now) && file.after != now {
            report(&file.path, None, "it has the text again that it had before kata-osinfo edited it".to_owned());
            undone.insert(file.path.clone());
        }
        if let Some(source) = copy::source(&file.after) {
            match root.utf8_if_any(&source)? {
                Some(text) if copy::text(&source, &text) == file.after => {}
                Some(_) => report(&file.path, None, format!("it is a copy of {}, which has changed", source.display())),
                None => {
                    report(&file.path, None, format!("it is a copy of {}, which no longer exists", source.display()))
                }
            }
        }
        let Ok(document) = Document::parse(now.as_str()) else { continue };
        let Some(qemu) = document.get("hypervisor").and_then(|h| h.get("qemu")) else { continue };
        for key in FILES {
            let Some(item) = qemu.get(key) else { continue };
            // A copy names the shipped configuration's files, but its drop-in decides.
            let named = item.as_str().filter(|n| n.starts_with('/') && copy::source(&now).is_none());
            if let Some(named) = named
                && let Some(why) = objection_to(root, key, Path::new(named))?
            {
                let line = item.span().map(|s| line_of(&now, s.start));
                report(&file.path, line, format!("hypervisor.qemu.{key} is {named}, which {why}"));
            }
        }
        let named = |key: &str| qemu.get(key).and_then(Item::as_str);
        if let (Some(kernel), Some(initrd)) = (named("kernel"), named("initrd"))
            && root.has_file(Path::new(kernel))?
            && root.has_file(Path::new(initrd))?
            && let Some(why) = look(root, Path::new(initrd)).against(kernel)
        {
            let line = qemu.get("initrd").and_then(Item::span).map(|s| line_of(&now, s.start));
            report(&file.path, line, format!("hypervisor.qemu.initrd is {initrd}, which {why}"));
        }
    }
    let is_reported = |path: &Path| undone.contains(path);
    for problem in in_effect::problems(root, state, containerd, &is_reported)? {
        let same = |other: &Problem| other.line.is_some() && (&other.file, other.line) == (&problem.file, problem.line);
        if !problems.iter().any(same) {
            problems.push(problem);
        }
    }
    Ok(problems)
}
