//! RPM's database, by way of `rpm`.

use super::{Installed, QueryError};
use crate::process::{Finished, Invocation};
use crate::root::Root;
use std::path::{Path, PathBuf};
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(60);
const FORMAT: &str = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\n";

/// Where the database is: its own folder on older systems, below /usr on image-based and newer ones.
pub(crate) fn folder(root: &Root) -> Option<PathBuf> {
    let files = ["rpmdb.sqlite", "Packages", "Packages.db"];
    ["/var/lib/rpm", "/usr/lib/sysimage/rpm"]
        .iter()
        .map(PathBuf::from)
        .find(|folder| files.iter().any(|file| root.metadata(&folder.join(file)).is_some()))
}

pub(super) fn installed(root: &Root, name: &str) -> Result<Vec<Installed>, QueryError> {
    let named = ask(root, &["-q", "--qf", FORMAT, "--", name])?;
    if named.is_ok() {
        return Ok(lines(&named.stdout));
    }
    let provided = ask(root, &["-q", "--whatprovides", "--qf", FORMAT, "--", name])?;
    if provided.is_ok() { Ok(lines(&provided.stdout)) } else { Ok(Vec::new()) }
}

pub(super) fn owner(root: &Root, paths: &[String]) -> Result<Option<Installed>, QueryError> {
    for path in paths {
        // Unlike `-qf`, this asks the database only, and not for the file.
        let found = ask(root, &["-q", "--whatprovides", "--qf", FORMAT, "--", path])?;
        if found.is_ok()
            && let Some(owner) = lines(&found.stdout).into_iter().next()
        {
            return Ok(Some(owner));
        }
    }
    Ok(None)
}

/// Asks the root's own rpm if it can be run, for it knows its own database best; else the machine's.
fn ask(root: &Root, arguments: &[&str]) -> Result<Finished, QueryError> {
    let own = root.which("rpm");
    let finished = match own {
        Some(rpm) if root.is_running_system() => Invocation::new(&rpm, arguments).run(WITHIN, None)?,
        own => {
            let inside = own.filter(|_| crate::installer::can_run_inside(root));
            match inside {
                Some(rpm) => {
                    let mut invocation = Invocation::new(&rpm, arguments);
                    invocation.chroot = Some(root.path().to_owned());
                    invocation.run(WITHIN, None)?
                }
                None => outside(root, arguments)?,
            }
        }
    };
    // No answer and no complaint but `is not installed`: that is an answer.
    let broken =
        !finished.is_ok() && finished.stderr.lines().any(|l| l.starts_with("error:") && !l.contains("not owned"));
    match broken {
        true => Err(QueryError::Refused { path: root.path().to_owned(), message: finished.last_words() }),
        false => Ok(finished),
    }
}

fn outside(root: &Root, arguments: &[&str]) -> Result<Finished, QueryError> {
    let none = || QueryError::NoRpm(root.path().to_owned());
    let rpm = Root::default().which("rpm").ok_or_else(none)?;
    let folder = folder(root).unwrap_or_else(|| PathBuf::from("/var/lib/rpm"));
    let folder = root.shown(&root.resolve(Path::new(&folder))?).display().to_string();
    let mut all = vec!["--dbpath", folder.as_str()];
    all.extend(arguments);
    Ok(Invocation::new(&rpm, &all).run(WITHIN, None)?)
}

fn lines(text: &str) -> Vec<Installed> {
    let one = |line: &str| {
        let (package, version) = line.split_once('\t')?;
        Some(Installed { package: package.to_owned(), version: version.to_owned() })
    };
    text.lines().filter_map(one).collect()
}
