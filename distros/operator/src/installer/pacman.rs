//! pacman.

use super::failure::{self, FailureSigns};
use super::program::InstallerProgram;
use super::settings::{self, OwnSettings};
use super::{InstallRequest, InstallerChoice, PackageAction, PackageChange, Simulation};
use crate::process::{Invocation, ProcessOutput};
use model::package::PackageName;
use model::package_manager::PackageManager;
use root::{Root, RootError};
use std::io;
use std::path::Path;

const CONFIGURATION: &str = "pacman.conf";

/// Keys of the root's `[options]` that say which packages are taken and how they are verified.
const DATA: [&str; 13] = [
    "Architecture",
    "CheckSpace",
    "DisableDownloadTimeout",
    "HoldPkg",
    "IgnoreGroup",
    "IgnorePkg",
    "LocalFileSigLevel",
    "NoExtract",
    "NoUpgrade",
    "ParallelDownloads",
    "RemoteFileSigLevel",
    "SigLevel",
    "UseSyslog",
];
/// The same of a repository.
const OF_REPOSITORY: [&str; 4] = ["CacheServer", "Server", "SigLevel", "Usage"];

/// The program.
pub(super) struct PacmanInstaller;

impl InstallerProgram for PacmanInstaller {
    fn name(&self) -> &'static str {
        "pacman"
    }

    fn manager(&self) -> PackageManager {
        PackageManager::Pacman
    }

    fn refresh(&self) -> Option<&'static str> {
        Some("pacman --sync --refresh")
    }

    /// The root's configuration without what it would run to fetch, and without files of this machine.
    fn own_settings(&self, root: &Root) -> io::Result<Option<OwnSettings>> {
        let mut text = String::new();
        let mut last = String::new();
        let mut add = |section: &str, key: &str, value: &str| {
            let data = if section == "options" { &DATA[..] } else { &OF_REPOSITORY[..] };
            if !data.contains(&key) {
                return;
            }
            if section != last {
                text += &format!("[{section}]\n");
                section.clone_into(&mut last);
            }
            text += &if value.is_empty() { format!("{key}\n") } else { format!("{key} = {value}\n") };
        };
        for (section, key, value) in whole_settings(root)? {
            add(&section, &key, &value);
        }
        Ok(Some(OwnSettings::default().and(CONFIGURATION, &text)))
    }

    /// pacman of the machine on another root, with that root's repositories and keys.
    ///
    /// Hooks that packages of the root bring run inside of it, as their install scripts do.
    fn outside_options(&self, _: &Root, at: &str) -> Vec<String> {
        let mut options: Vec<String> = [
            ("--root", ""),
            ("--dbpath", "/var/lib/pacman"),
            ("--cachedir", "/var/cache/pacman/pkg"),
            ("--gpgdir", "/etc/pacman.d/gnupg"),
            ("--logfile", "/var/log/pacman.log"),
            ("--hookdir", "/etc/pacman.d/hooks"),
        ]
        .into_iter()
        .flat_map(|(option, path)| [option.to_owned(), format!("{at}{path}")])
        .collect();
        options.extend(["--config".to_owned(), settings::seen(CONFIGURATION)]);
        options
    }

    fn steps(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        wanted: &InstallRequest,
        refresh: bool,
    ) -> Result<Vec<Invocation>, RootError> {
        let mut steps = Vec::new();
        // New databases with old packages is what Arch does not support: they are fetched only where there are none.
        if refresh && !has_databases(root)? {
            steps.push(chosen.fetching(root, &["--sync", "--refresh"]));
        }
        let mut arguments = vec!["--sync", "--needed", "--noconfirm", "--noprogressbar", "--"];
        arguments.extend(wanted.packages.iter().map(PackageName::as_str));
        if chosen.is_sandboxed() {
            steps.push(chosen.fetching(root, &[&["--downloadonly"], &arguments[..]].concat()));
        }
        steps.push(chosen.invocation(root, &arguments));
        Ok(steps)
    }

    fn simulation(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        wanted: &InstallRequest,
        _: Simulation,
    ) -> Option<Invocation> {
        let mut arguments = vec!["--sync", "--needed", "--print", "--print-format", "%n %v", "--"];
        arguments.extend(wanted.packages.iter().map(PackageName::as_str));
        Some(chosen.invocation(root, &arguments))
    }

    /// `NAME VERSION`, as pacman 6.0 of Debian 12 prints it in the tests of the installers; it does not say which are
    /// there in another version.
    fn changes(&self, finished: &ProcessOutput) -> Option<Vec<PackageChange>> {
        if !finished.is_ok() {
            return None;
        }
        let one = |line: &str| {
            let (package, version) = line.split_once(' ')?;
            // Messages have more words.
            let plain = !version.contains(' ') && !package.ends_with(':');
            plain.then(|| PackageChange::of(PackageAction::Install, package, version))
        };
        finished.stdout.lines().filter_map(one).collect()
    }

    fn signs(&self) -> &'static FailureSigns {
        &failure::PACMAN
    }
}

/// Section, key and value of each line of the root's configuration, with the files that it includes.
///
/// # Errors
///
/// That one of them is there and cannot be read.
pub fn whole_settings(root: &Root) -> io::Result<Vec<(String, String, String)>> {
    let mut all = Vec::new();
    for (section, key, value) in settings::ini(root, Path::new("/etc/pacman.conf"))? {
        if key != "Include" {
            all.push((section, key, value));
            continue;
        }
        for file in root.glob(&value).map_err(io::Error::other)? {
            for (inner, key, value) in settings::ini(root, &file)? {
                all.push((if inner.is_empty() { section.clone() } else { inner }, key, value));
            }
        }
    }
    Ok(all)
}

fn has_databases(root: &Root) -> Result<bool, RootError> {
    Ok(root.list_if_any(Path::new("/var/lib/pacman/sync"))?.iter().any(|name| name.ends_with(".db")))
}
