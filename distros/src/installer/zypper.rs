//! zypper.

use super::{Action, Change, Chosen, Wanted};
use crate::process::{Finished, Invocation};
use crate::root::Root;

/// zypper of the machine on another root, with that root's repositories.
pub(super) fn outside_options(root: &Root) -> Vec<String> {
    vec!["--root".to_owned(), root.path().display().to_string()]
}

/// Signatures are never taken on trust: `--gpg-auto-import-keys` is left out on purpose.
pub(super) fn steps(chosen: &Chosen, root: &Root, wanted: &Wanted, refresh: bool) -> Vec<Invocation> {
    let mut steps = Vec::new();
    for repository in &wanted.repositories {
        steps.push(chosen.invocation(root, &["--non-interactive", "modifyrepo", "--enable", "--", repository]));
    }
    if refresh {
        steps.push(chosen.invocation(root, &["--non-interactive", "refresh"]));
    }
    steps.push(chosen.invocation(root, &install(&["--non-interactive"], &[], wanted)));
    steps
}

pub(super) fn simulation(chosen: &Chosen, root: &Root, wanted: &Wanted) -> Invocation {
    chosen.invocation(root, &install(&["--non-interactive", "--xmlout"], &["--dry-run"], wanted))
}

fn install<'a>(before: &[&'a str], after: &[&'a str], wanted: &'a Wanted) -> Vec<&'a str> {
    let mut all = before.to_vec();
    all.extend(["install", "--no-recommends"]);
    all.extend(after);
    all.push("--");
    all.extend(wanted.packages.iter().map(String::as_str));
    all
}

/// `<install-summary>` of its XML.
pub(super) fn changes(finished: &Finished) -> Option<Vec<Change>> {
    if !finished.is_ok() {
        return None;
    }
    let document = roxmltree::Document::parse(finished.stdout.trim()).ok()?;
    let mut found = Vec::new();
    for section in document.descendants() {
        let action = match section.tag_name().name() {
            "to-install" => Action::Install,
            "to-upgrade" | "to-downgrade" | "to-reinstall" | "to-change-arch" => Action::Upgrade,
            "to-remove" => Action::Remove,
            _ => continue,
        };
        for solvable in section.children().filter(|n| n.has_tag_name("solvable")) {
            let text = |name| solvable.attribute(name).unwrap_or_default().to_owned();
            found.push(Change { action, package: text("name"), version: text("edition") });
        }
    }
    Some(found)
}
