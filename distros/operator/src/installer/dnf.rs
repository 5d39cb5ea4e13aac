//! dnf, version 4 and 5.

use super::failure::{self, FailureSigns};
use super::program::InstallerProgram;
use super::settings::{self, OwnSettings};
use super::{InstallRequest, InstallerChoice, PackageAction, PackageChange, Simulation};
use crate::os_release::OsRelease;
use crate::process::{Invocation, ProcessOutput};
use model::package::PackageName;
use model::package_manager::PackageManager;
use root::{Root, RootError};
use std::io;
use std::path::Path;

/// No weak dependencies, because verdicts are about a component with its dependencies; waiting for a lock is done by
/// the caller.
///
/// These are settings, which both versions have: dnf5 has dropped the option `--color` and refuses unknown options.
pub const QUIETLY: [&str; 3] =
    ["--setopt=install_weak_deps=False", "--setopt=exit_on_lock=True", "--setopt=color=never"];

/// Keys of the root's `[main]` that define how packages are fetched, selected and verified.
const DATA: [&str; 25] = [
    "best",
    "exclude",
    "excludepkgs",
    "fastestmirror",
    "gpgcheck",
    "ip_resolve",
    "localpkg_gpgcheck",
    "max_parallel_downloads",
    "metadata_expire",
    "minrate",
    "module_platform_id",
    "obsoletes",
    "password",
    "proxy",
    "proxy_auth_method",
    "proxy_password",
    "proxy_username",
    "repo_gpgcheck",
    "retries",
    "skip_if_unavailable",
    "sslverify",
    "strict",
    "throttle",
    "timeout",
    "username",
];

const CONFIGURATION: &str = "dnf.conf";

/// Makes dnf use its cached metadata and packages, however old.
const CACHED: &str = "--cacheonly";

/// The implementation for dnf.
pub(super) struct DnfInstaller;

impl InstallerProgram for DnfInstaller {
    fn name(&self) -> &'static str {
        "dnf"
    }

    fn manager(&self) -> PackageManager {
        PackageManager::Dnf
    }

    /// Makes settings with the root's data and the path of its database.
    fn own_settings(&self, root: &Root) -> io::Result<Option<OwnSettings>> {
        let data = settings::main_section(root, Path::new("/etc/dnf/dnf.conf"), |key| DATA.contains(&key), "=")?;
        let text = format!("[main]\nplugins=0\n{data}");
        Ok(Some(settings::rpm_database(root)?.and(CONFIGURATION, &text)))
    }

    /// Returns the options to run the machine's dnf on another root, with that root's repositories.
    fn outside_options(&self, root: &Root, root_path: &str) -> Vec<String> {
        let mut options = of_root(root, root_path);
        options.push(format!("--config={}", settings::path_inside(CONFIGURATION)));
        options
    }

    fn steps(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        request: &InstallRequest,
        _: bool,
    ) -> Result<Vec<Invocation>, RootError> {
        let repositories = repositories(request);
        let mut steps = Vec::new();
        if !request.modules.is_empty() {
            let mut all = vec!["--assumeyes"];
            all.extend(QUIETLY);
            all.extend(repositories.iter().map(String::as_str));
            all.extend(["module", "enable"]);
            all.extend(request.modules.iter().map(String::as_str));
            steps.push(chosen.fetching(root, &all));
        }
        if chosen.is_sandboxed() {
            steps.push(chosen.fetching(root, &arguments(request, &repositories, &["--assumeyes", "--downloadonly"])));
            steps.push(chosen.invocation(root, &arguments(request, &repositories, &["--assumeyes", CACHED])));
        } else {
            steps.push(chosen.invocation(root, &arguments(request, &repositories, &["--assumeyes"])));
        }
        Ok(steps)
    }

    fn simulation(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        request: &InstallRequest,
        _: Simulation,
    ) -> Option<Invocation> {
        let answers: &[&str] = if chosen.is_sandboxed() { &["--assumeno", CACHED] } else { &["--assumeno"] };
        Some(chosen.invocation(root, &arguments(request, &repositories(request), answers)))
    }

    fn simulates_reading(&self) -> bool {
        false
    }

    /// libdnf writes there to check whether an index is still the same.
    fn writes_temporary(&self) -> bool {
        true
    }

    /// Returns the lock files of version 4; version 5 has none.
    fn number_files(&self) -> &'static [&'static str] {
        &["/var/lib/dnf/rpmdb_lock.pid", "/var/cache/dnf/download_lock.pid", "/var/cache/dnf/metadata_lock.pid"]
    }

    /// Parses the transaction table: sections with lines of name, architecture, version, repository, size.
    ///
    /// This is the output of dnf 4.14 of Debian 12 in the tests of the installers. The format of dnf5, whose last
    /// heading ends with a colon, is not tested: no dnf5 was run.
    fn changes(&self, finished: &ProcessOutput) -> Option<Vec<PackageChange>> {
        let nothing = finished.is_ok() && finished.stdout.contains("Nothing to do");
        // Answering its question with no makes dnf exit with 1.
        let is_printed = |text: &str| finished.stdout.contains(text) || finished.stderr.contains(text);
        let refused = is_printed("Operation aborted");
        if !nothing && !refused {
            return None;
        }
        let mut found = Vec::new();
        let mut action = None;
        // A long name has a line of its own.
        let mut name: Option<String> = None;
        for line in finished.stdout.lines() {
            if line == "Transaction Summary" || line.starts_with("Transaction Summary:") {
                break;
            }
            if !line.starts_with(' ') {
                action = match line.trim_end_matches(':') {
                    section if section.starts_with("Installing") => Some(PackageAction::Install),
                    section if section.starts_with("Upgrading") || section.starts_with("Downgrading") => {
                        Some(PackageAction::Upgrade)
                    }
                    section if section.starts_with("Removing") => Some(PackageAction::Remove),
                    _ => None,
                };
                continue;
            }
            let Some(action) = action else { continue };
            let words: Vec<&str> = name.as_deref().into_iter().chain(line.split_whitespace()).collect();
            match words[..] {
                [only] => name = Some(only.to_owned()),
                [package, _, version, ..] if package != "replacing" => {
                    found.push(PackageChange::of(action, package, version)?);
                    name = None;
                }
                _ => name = None,
            }
        }
        Some(found)
    }

    fn signs(&self) -> &'static FailureSigns {
        &failure::DNF
    }
}

/// Returns the options for a root that the program sees at `root_path`.
pub(super) fn of_root(root: &Root, root_path: &str) -> Vec<String> {
    let mut options =
        vec![format!("--installroot={root_path}"), format!("--setopt=reposdir={root_path}/etc/yum.repos.d")];
    // Plugins are programs, and the root's configuration names their directories: kata-osinfo's configuration replaces
    // it.
    options.push("--noplugins".to_owned());
    // Repository addresses contain the version; without this option, dnf looks for a package that provides it.
    let version = OsRelease::read(root).ok().and_then(|os| os.get("VERSION_ID").map(str::to_owned));
    options.extend(version.map(|v| format!("--releasever={v}")));
    options
}

fn arguments<'a>(request: &'a InstallRequest, repositories: &'a [String], answers: &[&'a str]) -> Vec<&'a str> {
    let mut all = answers.to_vec();
    all.extend(QUIETLY);
    all.extend(repositories.iter().map(String::as_str));
    all.extend(["install", "--"]);
    all.extend(request.packages.iter().map(PackageName::as_str));
    all
}

/// Enables repositories for this command only.
fn repositories(request: &InstallRequest) -> Vec<String> {
    request.repositories.iter().map(|r| format!("--enablerepo={r}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_options_are_all_setopt_options() {
        assert!(QUIETLY.iter().all(|option| option.starts_with("--setopt=")), "{QUIETLY:?}");
    }

    #[test]
    fn dnfs_transaction_table_is_parsed() {
        let stdout = "Dependencies resolved.\n====\n Package  Arch  Version  Repo  Size\n====\nInstalling:\n qemu-kvm-core  x86_64  17:9.1.0-15.el9  appstream  4.9 M\n a-name-that-is-much-too-long-for-its-column\n                x86_64  1-2  appstream  1 k\nInstalling dependencies:\n b  noarch  3-4  baseos  1 k\nUpgrading:\n c  noarch  5-6  baseos  1 k\n     replacing  d.noarch 1-1\n\nTransaction Summary\n====\nInstall  3 Packages\n";
        let finished = ProcessOutput { code: Some(1), stdout: stdout.into(), stderr: "Operation aborted.\n".into() };
        let found = DnfInstaller.changes(&finished).unwrap();
        let shown: Vec<String> = found.iter().map(|c| format!("{:?} {} {}", c.action, c.package, c.version)).collect();
        assert_eq!(
            shown,
            [
                "Install qemu-kvm-core 17:9.1.0-15.el9",
                "Install a-name-that-is-much-too-long-for-its-column 1-2",
                "Install b 3-4",
                "Upgrade c 5-6"
            ]
        );
        let strange = ProcessOutput { stdout: finished.stdout.replace(" b  noarch", " $b  noarch"), ..finished };
        assert_eq!(DnfInstaller.changes(&strange), None);
    }
}
