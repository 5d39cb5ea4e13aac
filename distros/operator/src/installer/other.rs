//! Installers that are recognised and not run: their commands, as their manuals have them.

use super::failure::Signs;
use super::{Chosen, Installer, Wanted};
use crate::process::Invocation;
use root::Root;

/// They are not run, so nothing is known of how they fail.
pub(super) const FAILURES: Signs = Signs { codes: &[], words: &[] };

pub(super) fn steps(chosen: &Chosen, root: &Root, wanted: &Wanted) -> Vec<Invocation> {
    let enabled: Vec<String> = wanted.repositories.iter().map(|r| format!("--enablerepo={r}")).collect();
    let attributes: Vec<String> = wanted.packages.iter().map(|p| format!("nixos.{p}")).collect();
    let (before, names): (Vec<&str>, &[String]) = match chosen.installer {
        Installer::Yum => {
            let mut words = vec!["--assumeyes"];
            words.extend(enabled.iter().map(String::as_str));
            words.push("install");
            (words, &wanted.packages)
        }
        Installer::Microdnf => {
            let mut words = vec!["--assumeyes", "--setopt=install_weak_deps=0"];
            words.extend(enabled.iter().map(String::as_str));
            words.push("install");
            (words, &wanted.packages)
        }
        Installer::Apk => (vec!["add"], &wanted.packages),
        Installer::Emerge => (vec!["--ask=n", "--noreplace"], &wanted.packages),
        // It takes effect with the next boot.
        Installer::RpmOstree => (vec!["install", "--idempotent"], &wanted.packages),
        Installer::TransactionalUpdate => (vec!["--non-interactive", "pkg", "install"], &wanted.packages),
        Installer::Nix => (vec!["--install", "--attr"], &attributes),
        // These have modules of their own.
        Installer::Apt | Installer::Dnf | Installer::Zypper | Installer::Pacman => return Vec::new(),
    };
    let mut arguments = before;
    arguments.extend(names.iter().map(String::as_str));
    vec![chosen.invocation(root, &arguments)]
}
