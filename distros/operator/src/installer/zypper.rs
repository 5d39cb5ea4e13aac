//! zypper.

use super::settings::{self, OwnSettings};
use super::{Action, Chosen, PackageChange, Wanted};
use crate::process::{Finished, Invocation};
use model::package::PackageName;
use root::Root;
use std::io;
use std::path::Path;

/// zypper of the machine on another root, with that root's repositories.
///
/// It looks for plugins in the root, and runs those of services with the root as their `/`.
pub(super) fn outside_options(root: &Root) -> Vec<String> {
    vec!["--root".to_owned(), root.path().display().to_string()]
}

/// What of the root's zypp.conf says which packages are taken and how they are verified.
const DATA: [&str; 8] = [
    "arch",
    "gpgcheck",
    "multiversion",
    "pkg_gpgcheck",
    "repo_gpgcheck",
    "solver.allowvendorchange",
    "solver.onlyrequires",
    "solver.upgradetestcasestokeep",
];

/// The root's data, and where its database is.
pub(super) fn own_settings(root: &Root) -> io::Result<OwnSettings> {
    let mut text = "[main]\n".to_owned();
    for (section, key, value) in settings::ini(root, Path::new("/etc/zypp/zypp.conf"))? {
        if section == "main" && DATA.contains(&key.to_ascii_lowercase().as_str()) {
            text += &format!("{key} = {value}\n");
        }
    }
    Ok(settings::rpm_database(root)?.and("zypp.conf", &text)?.named_by("ZYPP_CONF", "zypp.conf"))
}

/// Whether the root has services that are programs: zypper would ask them even for a simulation.
pub(super) fn has_programs(root: &Root) -> bool {
    !matches!(root.list(Path::new("/usr/lib/zypp/plugins/services")), Ok(names) if names.is_empty())
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
    all.extend(wanted.packages.iter().map(PackageName::as_str));
    all
}

/// `<install-summary>` of its XML, as zypper 1.14 of Debian 12 writes it in the tests of the installers.
pub(super) fn changes(finished: &Finished) -> Option<Vec<PackageChange>> {
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
            found.push(PackageChange { action, package: text("name"), version: text("edition") });
        }
    }
    Some(found)
}
