//! pacman.

use super::failure::{self, FailureSigns};
use super::program::{InstallerProgram, fetch_and_install};
use super::settings::{self, OwnSettings};
use super::{InstallRequest, InstallerChoice, PackageAction, PackageChange, Simulation};
use crate::process::{Invocation, ProcessOutput};
use model::package::PackageName;
use model::package_manager::PackageManager;
use root::{Root, RootError};
use std::io;
use std::path::Path;

const CONFIGURATION: &str = "pacman.conf";

/// Keys of the root's `[options]` that define the selection and verification of packages.
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
/// The same for a repository's section.
const OF_REPOSITORY: [&str; 4] = ["CacheServer", "Server", "SigLevel", "Usage"];

/// The implementation for pacman.
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

    /// Makes settings from the root's configuration, without programs that would be run to fetch, and without files of
    /// this machine.
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

    /// Returns the options to run the machine's pacman on another root, with that root's repositories and keys.
    ///
    /// Hooks from the root's packages run inside the root, as their install scripts do.
    fn outside_options(&self, _: &Root, root_path: &str) -> Vec<String> {
        let mut options: Vec<String> = [
            ("--root", ""),
            ("--dbpath", "/var/lib/pacman"),
            ("--cachedir", "/var/cache/pacman/pkg"),
            ("--gpgdir", "/etc/pacman.d/gnupg"),
            ("--logfile", "/var/log/pacman.log"),
            ("--hookdir", "/etc/pacman.d/hooks"),
        ]
        .into_iter()
        .flat_map(|(option, path)| [option.to_owned(), format!("{root_path}{path}")])
        .collect();
        options.extend(["--config".to_owned(), settings::path_inside(CONFIGURATION)]);
        options
    }

    fn steps(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        request: &InstallRequest,
        refresh: bool,
    ) -> Result<Vec<Invocation>, RootError> {
        let mut steps = Vec::new();
        // Arch does not support new databases with old packages: databases are only fetched if there are none.
        if refresh && !has_databases(root)? {
            steps.push(chosen.fetching(root, &["--sync", "--refresh"]));
        }
        let words = ["--sync", "--needed", "--noconfirm", "--noprogressbar", "--"];
        steps.extend(fetch_and_install(chosen, root, &words, request, "--downloadonly"));
        Ok(steps)
    }

    fn simulation(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        request: &InstallRequest,
        _: Simulation,
    ) -> Option<Invocation> {
        let mut arguments = vec!["--sync", "--needed", "--print", "--print-format", "%n %v", "--"];
        arguments.extend(request.packages.iter().map(PackageName::as_str));
        Some(chosen.invocation(root, &arguments))
    }

    /// Parses `NAME VERSION`, the output of pacman 6.0 of Debian 12 in the tests of the installers; it does not reveal
    /// whether another version is installed.
    fn changes(&self, finished: &ProcessOutput) -> Option<Vec<PackageChange>> {
        if !finished.is_ok() {
            return None;
        }
        let parse_line = |line: &str| {
            let (package, version) = line.split_once(' ')?;
            // Lines with more words are messages.
            let plain = !version.contains(' ') && !package.ends_with(':');
            plain.then(|| PackageChange::of(PackageAction::Install, package, version))
        };
        finished.stdout.lines().filter_map(parse_line).collect()
    }

    fn signs(&self) -> &'static FailureSigns {
        &failure::PACMAN
    }
}

/// Returns section, key and value of each line of the root's configuration, including the files it includes.
///
/// # Errors
///
/// Fails if one of the files exists and cannot be read.
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
