//! Installers that are recognised and not run: their commands, as their manuals have them.

use super::{Chosen, Installer, Wanted};
use crate::process::Invocation;
use root::Root;

pub(super) fn steps(chosen: &Chosen, root: &Root, wanted: &Wanted) -> Vec<Invocation> {
    let enabled: Vec<String> = wanted.repositories.iter().map(|r| format!("--enablerepo={r}")).collect();
    // Nix has packages as attributes of a channel.
    let within = if chosen.installer == Installer::Nix { "nixos." } else { "" };
    let names: Vec<String> = wanted.packages.iter().map(|p| format!("{within}{p}")).collect();
    let mut arguments: Vec<&str> = match chosen.installer {
        Installer::Yum | Installer::Tdnf => {
            let mut words = vec!["--assumeyes"];
            words.extend(enabled.iter().map(String::as_str));
            words.push("install");
            words
        }
        Installer::Microdnf => {
            let mut words = vec!["--assumeyes", "--setopt=install_weak_deps=0"];
            words.extend(enabled.iter().map(String::as_str));
            words.push("install");
            words
        }
        Installer::Apk => vec!["add"],
        Installer::Emerge => vec!["--ask=n", "--noreplace"],
        // It takes effect with the next boot.
        Installer::RpmOstree => vec!["install", "--idempotent"],
        Installer::TransactionalUpdate => vec!["--non-interactive", "pkg", "install"],
        Installer::Nix => vec!["--install", "--attr"],
        // These have modules of their own.
        Installer::Apt | Installer::Dnf | Installer::Zypper | Installer::Pacman => return Vec::new(),
        // The plan was refused.
        Installer::ImageBased => return Vec::new(),
    };
    arguments.extend(names.iter().map(String::as_str));
    vec![chosen.invocation(root, &arguments)]
}
