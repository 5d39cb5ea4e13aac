//! The host environment: the agent on this machine as it is, with nothing installed.
//!
//! `--in host` runs the same agent and the same tests on the user's own machine. The release is that of
//! `/etc/os-release`; the agent works in a directory of the run and, as root, in a separate mount namespace. The
//! harness boots a guest to find out whether KVM works.

use crate::line::{AgentOutput, Line, LineError};
use agent::process::{kill_group, prepare, wait};
use futures_util::StreamExt as _;
use model::arch::Arch;
use model::database::{Database, DatabaseError};
use model::diagnostic::printable;
use model::distro::DistroId;
use model::package::{PackageName, PackageVersion};
use model::package_manager::PackageManager;
use model::record::ResolveError;
use model::release::Release;
use model::words::list_or;
use operator::detect::detect;
use operator::packages::Packages;
use root::{Root, RootError};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio_util::io::ReaderStream;

/// Reason why the agent does not run on this machine.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The agent's directory, file or process failed.
    #[error("{doing} {dir}")]
    Start {
        /// The action, as a gerund.
        doing: &'static str,
        /// The agent's folder.
        dir: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The agent runs but does not speak.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// Reason why it is not known which release a machine runs.
#[derive(Debug, thiserror::Error)]
pub enum UnknownRelease {
    /// The machine's os-release cannot be read.
    #[error("{0}: cannot find out this machine's distro")]
    Unreadable(#[from] RootError),
    /// The matching record is broken.
    #[error(transparent)]
    Record(#[from] DatabaseError),
    /// The record does not have the release for this architecture.
    #[error("this machine runs {name}")]
    Arch {
        /// The machine's own name for its release.
        name: String,
        /// The error that describes what the record has.
        source: Box<ResolveError>,
    },
    /// The distro has a record, which lacks the release.
    #[error("this machine runs {name}, but the record of {distro} has no such release")]
    NotInRecord {
        /// The machine's own name for its release.
        name: String,
        /// The record.
        distro: DistroId,
    },
    /// No record exists for that distro or one that it is like.
    #[error("this machine runs {name} (ID={id}), but there is no record of this distro")]
    NoRecord {
        /// The machine's own name for its release.
        name: String,
        /// The `ID` of its os-release.
        id: String,
    },
    /// Several releases match.
    #[error(
        "this machine runs {name}, which may be {}: name the suite in apt's sources",
        list_or(.releases)
    )]
    Ambiguous {
        /// The machine's own name for its release.
        name: String,
        /// The candidates, such as `debian:testing` and `debian:unstable`.
        releases: Vec<String>,
    },
}

/// The agent as a process of this machine.
pub struct Host {
    child: Child,
    dir: PathBuf,
    line: Line,
}

/// Starts the agent in a separate directory, which is removed with the agent.
///
/// The agent ends when its input does, so it needs no death signal, and it lives as long as its cell; its output is
/// framed.
///
/// # Errors
/// If the agent cannot be started or does not speak.
pub async fn start(agent: &[u8], dir: &Path) -> Result<Host, HostError> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = move |doing| move |source| HostError::Start { doing, dir: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(failed("making"))?;
    let program = dir.join("agent");
    std::fs::write(&program, agent).map_err(failed("writing the agent into"))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
        .map_err(failed("making the agent executable in"))?;
    let mut command = Command::new(&program);
    command.arg("host").arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = prepare(&mut command, Vec::new()).spawn().map_err(failed("starting the agent in"))?;
    let line = match streams(&mut child) {
        Ok((stdin, stdout, stderr)) => {
            let frames = ReaderStream::new(stdout).map(|r| r.map(|b| AgentOutput::Frames(b.to_vec())));
            let words = ReaderStream::new(stderr).map(|r| r.map(|b| AgentOutput::Words(b.to_vec())));
            // The line ends with the agent's standard output, because a program that it started may keep standard error
            // open.
            let frames = frames.map(Some).chain(futures_util::stream::iter([None]));
            let output = futures_util::stream::select(frames, words.map(Some))
                .take_while(|item| std::future::ready(item.is_some()))
                .filter_map(std::future::ready);
            Line::open(output, stdin, Duration::from_secs(60)).await.map_err(HostError::from)
        }
        Err(e) => Err(failed("talking to the agent in")(e)),
    };
    match line {
        Ok(line) => Ok(Host { child, dir: dir.to_owned(), line }),
        Err(e) => {
            end(&mut child, dir);
            Err(e)
        }
    }
}

type Streams = (tokio::process::ChildStdin, tokio::process::ChildStdout, tokio::process::ChildStderr);

fn streams(child: &mut Child) -> io::Result<Streams> {
    let none = || io::Error::other("a standard stream is missing");
    Ok((
        tokio::process::ChildStdin::from_std(child.stdin.take().ok_or_else(none)?)?,
        tokio::process::ChildStdout::from_std(child.stdout.take().ok_or_else(none)?)?,
        tokio::process::ChildStderr::from_std(child.stderr.take().ok_or_else(none)?)?,
    ))
}

impl Host {
    /// Returns the line to the agent.
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// Describes how the agent ended, if it has.
    pub fn ending(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("the agent ended: {}", agent::process::how_it_ended(status)))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The end of the line makes the agent end.
        self.line.close();
        end(&mut self.child, &self.dir);
    }
}

/// Ends the agent. It ends its guests when its input ends, and gets a moment to do so.
fn end(child: &mut Child, dir: &Path) {
    let _ = wait(child, Duration::from_secs(5));
    kill_group(child);
    let _ = std::fs::remove_dir_all(dir);
}

/// The release that a machine runs, in terms of the records.
pub struct InstalledRelease {
    /// The release.
    pub release: Release,
    /// The machine's own name, if it runs a derivative of the release: `Linux Mint 22`.
    pub relative: Option<String>,
}

/// Returns the release that the machine in `root` runs, as `kata-osinfo detect` finds it.
///
/// # Errors
/// If no record matches, or if two releases match and nothing distinguishes them.
pub fn release(root: &Root, database: &Database, arch: Arch) -> Result<InstalledRelease, UnknownRelease> {
    let found = detect(root, database)?;
    let name = printable(&found.pretty_name());
    match (found.releases.as_slice(), &found.distro) {
        ([target], _) => match database.record(&target.distro)?.release(&target.version, arch) {
            Ok(release) => Ok(InstalledRelease { release, relative: found.borrowed.is_some().then_some(name) }),
            Err(e) => Err(UnknownRelease::Arch { name, source: Box::new(e) }),
        },
        ([], Some(distro)) => Err(UnknownRelease::NotInRecord { name, distro: distro.clone() }),
        ([], None) => Err(UnknownRelease::NoRecord { name, id: printable(&found.id) }),
        (several, _) => {
            let releases = several.iter().map(ToString::to_string).collect();
            Err(UnknownRelease::Ambiguous { name, releases })
        }
    }
}

/// Returns the installed versions of these packages from this package manager's database; packages that are not
/// installed are left out.
pub fn versions(
    root: &Root,
    manager: PackageManager,
    packages: &[PackageName],
) -> BTreeMap<PackageName, PackageVersion> {
    let mut found = BTreeMap::new();
    let installed = match Packages::read(root, Some(manager)) {
        Ok(installed) => installed,
        Err(e) => {
            tracing::warn!("cannot read the versions of packages: {e}");
            return found;
        }
    };
    for package in packages {
        match installed.installed(package.as_str()) {
            // A package that only provides the name has a version of another series.
            Ok(named) => {
                let named = named.into_iter().filter(|i| *package == *i.package.as_str());
                found.extend(named.map(|i| (package.clone(), i.version)));
            }
            // After one failure, the program is not asked again.
            Err(e) => {
                tracing::warn!("cannot read the versions of {package} and of the packages after it: {e}");
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::diagnostic::error_chain;

    /// Returns the release, and the derivative's name if it is one, of a machine with this os-release and these apt
    /// sources.
    fn runs(os_release: &str, sources: &str) -> Result<(String, Option<String>), String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/apt")).unwrap();
        std::fs::write(dir.path().join("etc/os-release"), os_release).unwrap();
        std::fs::write(dir.path().join("etc/apt/sources.list"), sources).unwrap();
        let root = Root::new(dir.path()).unwrap();
        let found = release(&root, &Database::embedded(), Arch::X86_64).map_err(|e| error_chain(&e));
        found.map(|runs| (runs.release.name(), runs.relative))
    }

    fn itself(name: &str) -> Result<(String, Option<String>), String> {
        Ok((name.to_owned(), None))
    }

    #[test]
    fn the_hosts_release_is_read_from_its_os_release() {
        let leap = "ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"\nPRETTY_NAME=\"openSUSE Leap 15.6\"\n";
        let rocky = "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.5\"\nPLATFORM_ID=\"platform:el9\"\n";
        assert_eq!(runs("ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\n", ""), itself("debian:13"));
        for (text, distro) in [(leap, "opensuse:"), (rocky, "rocky:9")] {
            let (name, relative) = runs(text, "").unwrap();
            assert!(name.starts_with(distro) && relative.is_none(), "{name} {relative:?}");
        }
        assert!(runs("ID=plan9\n", "").unwrap_err().contains("ID=plan9"));
        assert!(runs("ID=debian\nVERSION_ID=\"7\"\nPRETTY_NAME=\"Debian 7\"\n", "").unwrap_err().contains("Debian 7"));
    }

    #[test]
    fn unstable_is_not_mistaken_for_testing() {
        let both = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nVERSION_CODENAME=forky\n";
        let list = |suite: &str| format!("deb http://mirror.example/debian {suite} main\n");
        assert_eq!(runs(both, &list("sid")), itself("debian:unstable"));
        assert_eq!(runs(both, &list("forky")), itself("debian:testing"));
        let error = runs(both, "").unwrap_err();
        assert!(error.contains("debian:testing or debian:unstable"), "{error}");
    }

    #[test]
    fn only_installed_packages_of_the_exact_name_have_versions() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let name = |name: &str| name.parse::<PackageName>().unwrap();
        let names = ["qemu", "gone", "provided", "none"].map(name);
        let versions = || versions(&root, PackageManager::Apt, &names);
        assert_eq!(versions(), BTreeMap::new(), "there is no database");
        std::fs::create_dir_all(dir.path().join("var/lib/dpkg")).unwrap();
        let status = "Package: qemu\nStatus: hold ok installed\nProvides: provided\nVersion: 1:2.3-4\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1.0\n";
        std::fs::write(dir.path().join("var/lib/dpkg/status"), status).unwrap();
        assert_eq!(versions(), [(name("qemu"), "1:2.3-4".parse::<PackageVersion>().unwrap())].into());
    }

    #[test]
    fn a_derivative_is_recognised_as_one() {
        let mint = "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"22\"\nPRETTY_NAME=\"Linux Mint 22\"\nUBUNTU_CODENAME=noble\n";
        assert_eq!(runs(mint, ""), Ok(("ubuntu:24.04".to_owned(), Some("Linux Mint 22".to_owned()))));
    }
}
