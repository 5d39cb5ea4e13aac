//! pacman.

use super::{Action, Change, Chosen, Wanted};
use crate::process::{Finished, Invocation};
use crate::root::Root;
use std::path::Path;

/// pacman of the machine on another root, with that root's configuration, keys and hooks.
pub(super) fn outside_options(root: &Root) -> Vec<String> {
    let at = root.path().display();
    [
        ("--root", ""),
        ("--config", "/etc/pacman.conf"),
        ("--dbpath", "/var/lib/pacman"),
        ("--cachedir", "/var/cache/pacman/pkg"),
        ("--gpgdir", "/etc/pacman.d/gnupg"),
        ("--logfile", "/var/log/pacman.log"),
        ("--hookdir", "/etc/pacman.d/hooks"),
    ]
    .into_iter()
    .flat_map(|(option, path)| [option.to_owned(), format!("{at}{path}")])
    .collect()
}

pub(super) fn steps(chosen: &Chosen, root: &Root, wanted: &Wanted, refresh: bool) -> Vec<Invocation> {
    let mut steps = Vec::new();
    // New databases with old packages is what Arch does not support: they are fetched only where there are none.
    if refresh && !has_databases(root) {
        steps.push(chosen.invocation(root, &["--sync", "--refresh"]));
    }
    let mut arguments = vec!["--sync", "--needed", "--noconfirm", "--noprogressbar", "--"];
    arguments.extend(wanted.packages.iter().map(String::as_str));
    steps.push(chosen.invocation(root, &arguments));
    steps
}

fn has_databases(root: &Root) -> bool {
    root.list(Path::new("/var/lib/pacman/sync")).is_ok_and(|names| names.iter().any(|n| n.ends_with(".db")))
}

pub(super) fn simulation(chosen: &Chosen, root: &Root, wanted: &Wanted) -> Invocation {
    let mut arguments = vec!["--sync", "--needed", "--print", "--print-format", "%n %v", "--"];
    arguments.extend(wanted.packages.iter().map(String::as_str));
    chosen.invocation(root, &arguments)
}

/// `NAME VERSION`; pacman does not say which are there in another version.
pub(super) fn changes(finished: &Finished) -> Option<Vec<Change>> {
    if !finished.is_ok() {
        return None;
    }
    let one = |line: &str| {
        let (package, version) = line.split_once(' ')?;
        // Messages have more words.
        let plain = !version.contains(' ') && !package.ends_with(':');
        plain.then(|| Change { action: Action::Install, package: package.to_owned(), version: version.to_owned() })
    };
    Some(finished.stdout.lines().filter_map(one).collect())
}
