//! zypper.

use super::failure::{self, FailureSigns};
use super::program::InstallerProgram;
use super::settings::{self, OwnSettings};
use super::{InstallRequest, InstallerChoice, InstallerLocation, PackageAction, PackageChange, Simulation};
use crate::process::{Invocation, ProcessOutput};
use model::package::PackageName;
use model::package_manager::PackageManager;
use root::{Root, RootError};
use std::io;
use std::path::Path;

/// Keys of the root's zypp.conf that define the selection and verification of packages.
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

/// Makes zypper use its cached metadata and packages, however old.
const CACHED: &str = "--no-refresh";

/// The implementation for zypper.
pub(super) struct ZypperInstaller;

impl InstallerProgram for ZypperInstaller {
    fn name(&self) -> &'static str {
        "zypper"
    }

    fn manager(&self) -> PackageManager {
        PackageManager::Zypper
    }

    fn refresh(&self) -> Option<&'static str> {
        Some("zypper refresh")
    }

    /// Makes settings with the root's data and the path of its database.
    fn own_settings(&self, root: &Root) -> io::Result<Option<OwnSettings>> {
        let is_data = |key: &str| DATA.contains(&key.to_ascii_lowercase().as_str());
        let data = settings::main_section(root, Path::new("/etc/zypp/zypp.conf"), is_data, " = ")?;
        let text = format!("[main]\n{data}");
        let mut own = settings::rpm_database(root)?.and("zypp.conf", &text).named_by("ZYPP_CONF", "zypp.conf");
        // The default log file is this machine's.
        own.env.push(("ZYPP_LOGFILE".to_owned(), "/dev/null".to_owned()));
        Ok(Some(own))
    }

    /// Returns the options to run the machine's zypper on another root, with that root's repositories.
    ///
    /// zypper looks for plugins in the root, and runs service plugins with the root as their `/`.
    fn outside_options(&self, _: &Root, root_path: &str) -> Vec<String> {
        vec!["--root".to_owned(), root_path.to_owned()]
    }

    /// Keys are never trusted automatically: `--gpg-auto-import-keys` is omitted on purpose.
    fn steps(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        request: &InstallRequest,
        refresh: bool,
    ) -> Result<Vec<Invocation>, RootError> {
        let mut steps = Vec::new();
        for repository in &request.repositories {
            steps.push(chosen.invocation(root, &["--non-interactive", "modifyrepo", "--enable", "--", repository]));
        }
        if refresh {
            steps.push(chosen.fetching(root, &["--non-interactive", "refresh"]));
        }
        if chosen.is_sandboxed() {
            steps.push(chosen.fetching(root, &install(&["--non-interactive"], &["--download-only"], request)));
            steps.push(chosen.invocation(root, &install(&["--non-interactive", CACHED], &[], request)));
        } else {
            steps.push(chosen.invocation(root, &install(&["--non-interactive"], &[], request)));
        }
        Ok(steps)
    }

    fn simulation(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        request: &InstallRequest,
        simulation: Simulation,
    ) -> Option<Invocation> {
        if chosen.place == InstallerLocation::Outside && simulation == Simulation::DryRun && has_programs(root) {
            return None;
        }
        let mut before = vec!["--non-interactive", "--xmlout"];
        before.extend(chosen.is_sandboxed().then_some(CACHED));
        Some(chosen.invocation(root, &install(&before, &["--dry-run"], request)))
    }

    fn simulates_reading(&self) -> bool {
        false
    }

    fn number_files(&self) -> &'static [&'static str] {
        &["/run/zypp.pid"]
    }

    /// Parses `<install-summary>` of the XML output, as written by zypper 1.14 of Debian 12 in the tests of the
    /// installers.
    fn changes(&self, finished: &ProcessOutput) -> Option<Vec<PackageChange>> {
        if !finished.is_ok() {
            return None;
        }
        let document = roxmltree::Document::parse(finished.stdout.trim()).ok()?;
        let mut found = Vec::new();
        for section in document.descendants() {
            let action = match section.tag_name().name() {
                "to-install" => PackageAction::Install,
                "to-upgrade" | "to-downgrade" | "to-reinstall" | "to-change-arch" => PackageAction::Upgrade,
                "to-remove" => PackageAction::Remove,
                _ => continue,
            };
            for solvable in section.children().filter(|n| n.has_tag_name("solvable")) {
                let text = |name| solvable.attribute(name).unwrap_or_default();
                found.push(PackageChange::of(action, text("name"), text("edition"))?);
            }
        }
        Some(found)
    }

    fn signs(&self) -> &'static FailureSigns {
        &failure::ZYPPER
    }
}

/// Checks whether the root has service plugins: zypper would run them even for a simulation.
fn has_programs(root: &Root) -> bool {
    !matches!(root.list(Path::new("/usr/lib/zypp/plugins/services")), Ok(names) if names.is_empty())
}

fn install<'a>(before: &[&'a str], after: &[&'a str], request: &'a InstallRequest) -> Vec<&'a str> {
    let mut all = before.to_vec();
    all.extend(["install", "--no-recommends"]);
    all.extend(after);
    all.push("--");
    all.extend(request.packages.iter().map(PackageName::as_str));
    all
}
