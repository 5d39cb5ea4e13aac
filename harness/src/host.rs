//! The host environment: the agent on the machine one sits at, as it is, with nothing installed.

use crate::line::{Heard, Line};
use agent::process::{kill_group, prepare};
use futures_util::StreamExt as _;
use kata_osinfo::arch::Arch;
use kata_osinfo::database::Database;
use kata_osinfo::release::Release;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_util::io::ReaderStream;

/// The agent as a process of this machine.
pub struct Host {
    child: Child,
    dir: PathBuf,
    line: Line,
}

/// Starts the agent in a folder of its own, which goes away with it.
///
/// # Errors
/// When it cannot be started or does not speak.
pub async fn start(agent: &[u8], dir: &Path) -> Result<Host, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |doing: &str, e: std::io::Error| format!("{doing} {}: {e}", dir.display());
    std::fs::create_dir_all(dir).map_err(|e| failed("making", e))?;
    let program = dir.join("agent");
    std::fs::write(&program, agent).map_err(|e| failed("writing the agent into", e))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
        .map_err(|e| failed("making the agent executable in", e))?;
    let mut command = Command::new(&program);
    command.arg("host").arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = prepare(&mut command, Vec::new()).spawn().map_err(|e| failed("starting the agent in", e))?;
    let line = match streams(&mut child) {
        Ok((stdin, stdout, stderr)) => {
            let frames = ReaderStream::new(stdout).map(|r| r.map(|b| Heard::Frames(b.to_vec())));
            let words = ReaderStream::new(stderr).map(|r| r.map(|b| Heard::Words(b.to_vec())));
            // The line ends with the agent's standard output: standard error may live on in a program of its own.
            let frames = frames.map(Some).chain(futures_util::stream::iter([None]));
            let heard = futures_util::stream::select(frames, words.map(Some))
                .take_while(|item| std::future::ready(item.is_some()))
                .filter_map(std::future::ready)
                .map(|item| item.map_err(|e| e.to_string()));
            Line::open(heard, stdin, Duration::from_secs(60)).await.map_err(|e| e.to_string())
        }
        Err(e) => Err(failed("talking to the agent in", e)),
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

fn streams(child: &mut Child) -> std::io::Result<Streams> {
    let none = || std::io::Error::other("a standard stream is missing");
    Ok((
        tokio::process::ChildStdin::from_std(child.stdin.take().ok_or_else(none)?)?,
        tokio::process::ChildStdout::from_std(child.stdout.take().ok_or_else(none)?)?,
        tokio::process::ChildStderr::from_std(child.stderr.take().ok_or_else(none)?)?,
    ))
}

impl Host {
    /// The line to the agent.
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// How the agent ended, if it has.
    pub fn ending(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(format!("the agent ended: {}", agent::process::how_it_ended(status)))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Its end is how the agent learns that it is to go.
        self.line.close();
        end(&mut self.child, &self.dir);
    }
}

/// The agent ends its guests when its input ends; it is given a moment for that.
fn end(child: &mut Child, dir: &Path) {
    let patience = Instant::now() + Duration::from_secs(5);
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(20));
    }
    kill_group(child);
    let _ = std::fs::remove_dir_all(dir);
}

/// The release that this machine runs, by its /etc/os-release and the records.
///
/// # Errors
/// When no record fits.
pub fn release(database: &Database, arch: Arch) -> Result<Release, String> {
    let text = std::fs::read_to_string("/etc/os-release")
        .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"))
        .map_err(|e| format!("reading /etc/os-release: {e}"))?;
    release_of(&text, database, arch)
}

fn release_of(os_release: &str, database: &Database, arch: Arch) -> Result<Release, String> {
    let fields = fields(os_release);
    let field = |name: &str| fields.get(name).map(String::as_str);
    let distro = field("ID").ok_or("/etc/os-release has no ID: this machine's distro is unknown")?;
    let record = database.record(distro).map_err(|e| format!("this machine runs {distro}: {e}"))?;
    let words = [field("VERSION_ID"), field("VERSION_CODENAME")];
    let found = words.into_iter().flatten().find_map(|word| record.release(word, arch).ok());
    found.ok_or_else(|| {
        let said = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        format!("this machine runs {distro} {said}, which the record of {distro} does not have for {arch}")
    })
}

/// `KEY=value` lines with shell quotes, as os-release(5) has them.
fn fields(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.trim_matches(['"', '\'']).to_owned())).collect()
}

/// The installed versions of these packages, as dpkg or rpm says; what is not installed is left out.
pub fn versions(packages: &[String]) -> BTreeMap<String, String> {
    packages.iter().filter_map(|name| Some((name.clone(), version(name)?))).collect()
}

fn version(package: &str) -> Option<String> {
    let ask = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).arg(package).stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let installed = ask("dpkg-query", &["-W", "-f=${db:Status-Abbrev}${Version}"]);
    let debian = installed.and_then(|text| text.strip_prefix("ii ").map(str::to_owned));
    debian.or_else(|| ask("rpm", &["-q", "--qf", "%{EVR}"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_found_by_its_version_or_codename() {
        let database = Database::embedded();
        let find = |text: &str| release_of(text, &database, Arch::X86_64).map(|r| r.version);
        assert_eq!(find("ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\n").unwrap(), "13");
        assert_eq!(find("ID=debian\nVERSION_CODENAME=forky\n").unwrap(), "testing");
        let unknown = find("ID=debian\nVERSION_ID=\"7\"\n").unwrap_err();
        assert!(unknown.contains("debian 7"), "{unknown}");
        assert!(find("ID=plan9\n").unwrap_err().contains("plan9"));
        assert!(find("NAME=x\n").is_err());
    }
}
