//! apt-get, whose options used here have had the same meaning since Debian 8.

use super::failure::{self, FailureSigns};
use super::program::{InstallerProgram, fetch_and_install};
use super::settings::{self, OwnSettings};
use super::{InstallRequest, InstallerChoice, PackageAction, PackageChange, Simulation};
use crate::process::sandbox::{Network, SandboxedRoot, WantedSandbox};
use crate::process::{Invocation, ProcessOutput};
use model::package::PackageName;
use model::package_manager::PackageManager;
use root::{Root, RootError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The answers to all questions: keep changed configuration files, remove no package, install no recommended packages.
///
/// Verdicts are about a component with its dependencies, without its recommendations.
const QUIETLY: [&str; 10] = [
    "--quiet=2",
    "--yes",
    "--no-install-recommends",
    "--no-remove",
    "-o",
    "Dpkg::Use-Pty=0",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
];

/// Keys of the root's configuration that define the sources and the selection of packages; a `*` stands for one
/// component.
const DATA: [&str; 11] = [
    "acquire::check-valid-until",
    "acquire::forceipv4",
    "acquire::forceipv6",
    "acquire::http::proxy",
    "acquire::http::proxy::*",
    "acquire::https::proxy",
    "acquire::https::proxy::*",
    "acquire::languages::*",
    "acquire::max-valid-until",
    "acquire::retries",
    "apt::default-release",
];

/// Maximum size of a configuration file of the root, in bytes, and time limit of apt-config.
const MAX_BYTES: u64 = 1 << 20;
const WITHIN: Duration = Duration::from_secs(10);

/// The implementation for apt.
pub(super) struct AptInstaller;

impl InstallerProgram for AptInstaller {
    fn name(&self) -> &'static str {
        "apt"
    }

    fn file_name(&self) -> &'static str {
        "apt-get"
    }

    fn manager(&self) -> PackageManager {
        PackageManager::Apt
    }

    fn refresh(&self) -> Option<&'static str> {
        Some("apt-get update")
    }

    /// Makes settings that replace the machine's and the root's, because hooks, solvers, planners and helpers are
    /// commands: they contain the root's data, and nothing of the machine's.
    fn own_settings(&self, root: &Root) -> io::Result<Option<OwnSettings>> {
        // The directory exists, so that apt finds it empty.
        let none = settings::path_inside("none");
        let empty = format!("Dir::Etc::parts \"{none}.d\";\nDir::Etc::main \"{none}\";\n");
        // These methods would run a program of the machine on behalf of a source of the root.
        let ways = ["ssh", "rsh"].map(|way| format!("Dir::Bin::Methods::{way} \"false\";\n")).concat();
        let data: String = data_of(root)?.iter().map(|(key, value)| format!("{key} \"{value}\";\n")).collect();
        let own = OwnSettings::default().and("none.d/nothing", "").and("apt.conf", &format!("{empty}{ways}{data}"));
        Ok(Some(own.named_by("APT_CONFIG", "apt.conf")))
    }

    /// Returns the options to run the machine's apt and dpkg on another root.
    fn outside_options(&self, _: &Root, root_path: &str) -> Vec<String> {
        let options = [
            format!("Dir={root_path}"),
            format!("Dir::State::status={root_path}/var/lib/dpkg/status"),
            "Dir::Bin::dpkg=/usr/bin/dpkg".to_owned(),
            "Dir::Bin::methods=/usr/lib/apt/methods/".to_owned(),
            format!("Dpkg::Options::=--root={root_path}"),
        ];
        options.into_iter().flat_map(|o| ["-o".to_owned(), o]).collect()
    }

    fn steps(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        request: &InstallRequest,
        refresh: bool,
    ) -> Result<Vec<Invocation>, RootError> {
        let mut steps = Vec::new();
        if refresh {
            // An index that cannot be fetched is an error, not a warning with the old index still in use.
            steps.push(chosen.fetching(root, &["--quiet=2", "-o", "APT::Update::Error-Mode=any", "update"]));
        }
        let words = [&QUIETLY[..], &["install", "--"][..]].concat();
        steps.extend(fetch_and_install(chosen, root, &words, request, "--download-only"));
        Ok(steps)
    }

    fn simulation(
        &self,
        chosen: &InstallerChoice,
        root: &Root,
        request: &InstallRequest,
        _: Simulation,
    ) -> Option<Invocation> {
        let mut arguments = vec!["--quiet=2", "--simulate", "--no-install-recommends", "--no-remove", "install", "--"];
        arguments.extend(request.packages.iter().map(PackageName::as_str));
        Some(chosen.invocation(root, &arguments))
    }

    /// Parses `Inst NAME [OLD] (NEW SUITE [ARCH])` and `Remv NAME [OLD]`: the output of simulations by apt 2.2 of
    /// Debian 11 to that of sid, according to `distros/cli/tests/debian.rs`.
    fn changes(&self, finished: &ProcessOutput) -> Option<Vec<PackageChange>> {
        if !finished.is_ok() {
            return None;
        }
        let parse_line = |line: &str| {
            let mut words = line.split_whitespace();
            let action = words.next()?;
            let package = words.next()?;
            let within = |open: char| line.split_once(open)?.1.split([' ', ']', ')']).next();
            let (action, version) = match action {
                "Inst" if line.split(" (").next()?.contains('[') => (PackageAction::Upgrade, within('(')),
                "Inst" => (PackageAction::Install, within('(')),
                "Remv" | "Purg" => (PackageAction::Remove, within('[')),
                _ => return None,
            };
            Some(PackageChange::of(action, package, version.unwrap_or_default()))
        };
        finished.stdout.lines().filter_map(parse_line).collect()
    }

    fn signs(&self) -> &'static FailureSigns {
        &failure::APT
    }
}

/// Returns the root's settings that are data, as read by this machine's apt-config: in a sandbox, from copies.
///
/// The output format requested here is supported by apt-config of apt 2.6.
fn data_of(root: &Root) -> io::Result<Vec<(String, String)>> {
    let Some(program) = Root::default().which("apt-config").map_err(io::Error::other)? else { return Ok(Vec::new()) };
    let (parts, main) = (settings::path_inside("parts"), settings::path_inside("apt.conf"));
    let mut copies = OwnSettings::default();
    let found = root.glob("/etc/apt/apt.conf.d/*").map_err(io::Error::other)?;
    for file in found.into_iter().chain([PathBuf::from("/etc/apt/apt.conf")]) {
        if !root.has_file(&file).map_err(io::Error::other)? {
            continue;
        }
        let text = root.read_text(&file, MAX_BYTES).map_err(io::Error::other)?;
        // An `#include` would read files of this machine.
        if text.lines().any(|line| line.trim_start().starts_with("#include")) {
            continue;
        }
        let name = Path::new(file.file_name().unwrap_or_default());
        let copy = if file.ends_with("apt.conf") { name.to_owned() } else { Path::new("parts").join(name) };
        copies.files.0.push((copy, text));
    }
    if copies.files.0.is_empty() {
        return Ok(Vec::new());
    }
    let read = format!("Dir::Etc::parts \"{parts}\";\nDir::Etc::main \"{main}\";\n");
    // Without a list of architectures, apt-config would run the program that the root names as its dpkg.
    let arguments = ["-o", "APT::Architectures::=all", "dump", "--no-empty", "--format", "%F %v%n"];
    let mut invocation = Invocation::new(&program, &arguments);
    let copies = copies.and("read", &read).and("parts/nothing", "").named_by("APT_CONFIG", "read");
    invocation.env = copies.env;
    let settings = Arc::new(copies.files);
    let of_nothing = SandboxedRoot::Target { root: None, settings, own_temporary: true };
    invocation.sandbox = Some(WantedSandbox { root: of_nothing, writable: false, network: Network::None });
    let dumped = invocation.run(WITHIN, None).map_err(io::Error::other)?;
    if !dumped.is_ok() {
        let (path, why) = (root.path().display(), dumped.last_words());
        return Err(io::Error::other(format!("apt's settings of {path} cannot be read: {why}")));
    }
    let setting = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        let plain = !value.chars().any(|c| c.is_control() || "\"\\".contains(c));
        (plain && is_data(key) && !value.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    Ok(dumped.stdout.lines().filter_map(setting).collect())
}

fn is_data(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    DATA.iter().any(|data| match data.strip_suffix('*') {
        Some(before) => key.strip_prefix(before).is_some_and(|last| !last.contains("::")),
        None => key == *data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(
        any(lacks = "apt-config", lacks = "mounting"),
        ignore = "needs root that may make namespaces, and apt-config"
    )]
    fn only_safe_settings_of_a_roots_apt_configuration_are_used() {
        let dir = tempfile::tempdir().unwrap();
        let parts = dir.path().join("etc/apt/apt.conf.d");
        std::fs::create_dir_all(&parts).unwrap();
        let text = r#"
Acquire { Retries "7"; http { Proxy "http://proxy.example:3128"; Proxy-Auto-Detect "/evil"; Proxy::a.example "DIRECT"; }; };
APT::Update::Pre-Invoke { "/evil"; };
APT::Solver "evil";
DPkg::Pre-Install-Pkgs { "/evil"; };
DPkg::Options { "--pre-invoke=/evil"; };
Dir::Bin::solvers { "/evil"; };
Dir::Bin::methods "/evil";
Acquire::https::Proxy "x\u{1}y";
"#;
        std::fs::write(parts.join("50x"), text).unwrap();
        std::fs::write(parts.join("60y"), "#include \"/etc/passwd\";\nAcquire::Retries \"8\";\n").unwrap();
        std::fs::write(dir.path().join("etc/apt/apt.conf"), "APT::Default-Release \"stable\";\n").unwrap();
        let own = AptInstaller.own_settings(&Root::new(dir.path()).unwrap()).unwrap().unwrap();
        let written = &own.files.0.iter().find(|(name, _)| name == Path::new("apt.conf")).unwrap().1;
        for kept in [
            "Acquire::Retries \"7\";",
            "Proxy \"http://proxy.example:3128\";",
            "a.example \"DIRECT\";",
            "Default-Release \"stable\";",
        ] {
            assert!(written.contains(kept), "{kept}: {written}");
        }
        assert!(!written.contains("evil") && !written.contains("\"8\""), "{written}");
        // A file that apt cannot parse is an error: it would ignore all settings.
        std::fs::write(parts.join("70z"), "Broken {{ \"\n").unwrap();
        let error = AptInstaller.own_settings(&Root::new(dir.path()).unwrap()).err().unwrap().to_string();
        assert!(error.contains("cannot be read") && error.contains("70z"), "{error}");
    }

    #[test]
    fn apts_simulation_output_is_parsed() {
        let stdout = "Inst a (1.2 Debian:13/stable [amd64])\nInst b [1] (2 x [amd64]) []\nRemv c [3]\nConf a (1.2 x)\n";
        let changes = |stdout: &str| {
            AptInstaller.changes(&ProcessOutput { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() })
        };
        let found = changes(stdout).unwrap();
        let shown: Vec<String> = found.iter().map(|c| format!("{:?} {} {}", c.action, c.package, c.version)).collect();
        assert_eq!(shown, ["Install a 1.2", "Upgrade b 2", "Remove c 3"]);
        for strange in ["Inst -a (1.2 x)\n", "Remv c\n", "Inst a (http://x.example x)\n"] {
            assert_eq!(changes(&format!("{stdout}{strange}")), None, "{strange}");
        }
    }
}
