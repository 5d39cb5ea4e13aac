//! A release's package sources, read from a system's files as data. No mirror is hard-coded in this program.

use super::KEPT;
use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::family::repositories;
use model::package::is_plain;
use model::release::{Archive, Release};
use operator::installer::pacman_settings;
use root::Root;
use std::path::Path;

/// Minimum repositories of a release, if no system names them.
const OWN: [&str; 2] = ["core", "extra"];
/// Directory layout of Arch's mirrors.
const LAYOUT: &str = "$repo/os/$arch";

/// A repository, at the first of its servers: the content of an image must not depend on which server responds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    pub(super) id: String,
    pub(super) address: String,
    /// Whether its database must be signed, and not only its packages.
    pub(super) is_signed: bool,
}

/// Returns the repositories of a system or a mirror, and additional ones from the record.
///
/// # Errors
/// If no repository is known, or the address of one is unknown.
pub(super) fn repositories(
    system: Option<&Root>,
    mirror: Option<&str>,
    release: &Release,
) -> Result<Vec<Repository>, Failure> {
    let mut known = match system {
        Some(root) => of_system(root)?,
        None => Vec::new(),
    };
    if let Some(mirror) = mirror {
        if known.is_empty() {
            known = OWN.map(|id| Template { id: id.to_owned(), ..Template::default() }).into();
        }
        known.iter_mut().for_each(|template| template.server = Some(format!("{mirror}/{LAYOUT}")));
    }
    let first = known.iter().find_map(|template| template.server.clone());
    for id in &release.repositories {
        if !known.iter().any(|template| template.id == *id) {
            known.push(Template { id: id.clone(), server: first.clone(), is_signed: false });
        }
    }
    if known.is_empty() {
        return Err(ImageErrorKind::NoMirror { suite: release.name(), archive: Archive::Main }.into());
    }
    let repository = |template: Template| -> Result<Repository, Failure> {
        let Template { id, server, is_signed } = template;
        match server.filter(|_| is_plain(&id)) {
            Some(server) => {
                let address = server.replace("$repo", &id).replace("$arch", release.arch.name());
                Ok(Repository { id, address: address.trim_end_matches('/').to_owned(), is_signed })
            }
            None => Err(ImageErrorKind::NoMirror { suite: id, archive: Archive::Main }.into()),
        }
    };
    known.into_iter().map(repository).collect()
}

/// A repository in a configuration.
#[derive(Default)]
struct Template {
    id: String,
    server: Option<String>,
    is_signed: bool,
}

fn of_system(root: &Root) -> Result<Vec<Template>, Failure> {
    let settings = pacman_settings(root).context("reading", &root.shown(Path::new("/etc/pacman.conf")))?;
    let mut all: Vec<Template> = Vec::new();
    for (id, key, value) in settings.into_iter().filter(|(id, _, _)| !["", "options"].contains(&id.as_str())) {
        if all.last().is_none_or(|last| last.id != id) {
            all.push(Template { id, ..Template::default() });
        }
        let Some(last) = all.last_mut() else { continue };
        match key.as_str() {
            "Server" if last.server.is_none() && is_address(&value) => last.server = Some(value),
            "SigLevel" => last.is_signed = value.split_whitespace().any(|w| w == "DatabaseRequired"),
            _ => {}
        }
    }
    Ok(all)
}

/// Returns whether a server is an address; a base must not name files of this machine.
fn is_address(server: &str) -> bool {
    server.starts_with("https://") || server.starts_with("http://")
}

/// Returns the addresses in a system's settings.
pub(super) fn addresses(root: &Root) -> Vec<String> {
    of_system(root).unwrap_or_default().into_iter().filter_map(|template| template.server).collect()
}

/// Writes the list of repositories: `core ADDRESS`.
pub(super) fn write(folder: &Path, repositories: &[Repository]) -> Result<(), Failure> {
    repositories::write(&folder.join(KEPT), repositories.iter().map(|one| (one.id.as_str(), one.address.as_str())))
}

/// Reads the list of repositories, each with its address.
pub(super) fn written(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    repositories::read(&folder.join(KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "[options]\nSigLevel = Required DatabaseOptional\nXferCommand = /bin/evil %u\n\
        [core]\nInclude = /etc/pacman.d/mirrorlist\n[extra]\nInclude = /etc/pacman.d/mirrorlist\n\
        [own]\nSigLevel = Required DatabaseRequired\nServer = file:///etc\nServer = https://own.example/$repo/\n";

    fn base() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/pacman.d")).unwrap();
        std::fs::write(dir.path().join("etc/pacman.conf"), CONFIGURATION).unwrap();
        let list = "#Server = https://off.example/$repo\nServer = https://one.example/$repo/os/$arch\nServer = https://two.example/\n";
        std::fs::write(dir.path().join("etc/pacman.d/mirrorlist"), list).unwrap();
        dir
    }

    fn described(mirror: Option<&str>, more: &[&str]) -> Vec<String> {
        let (dir, mut release) = (base(), crate::fixtures::release("rolling", "-"));
        release.repositories = more.iter().map(|id| (*id).to_owned()).collect();
        let found = repositories(Some(&Root::new(dir.path()).unwrap()), mirror, &release).unwrap();
        found.iter().map(|one| format!("{} {} {}", one.id, one.address, one.is_signed)).collect()
    }

    #[test]
    fn repositories_are_those_of_the_base_and_of_the_record() {
        assert_eq!(
            described(None, &["multilib", "core"]),
            [
                "core https://one.example/core/os/x86_64 false",
                "extra https://one.example/extra/os/x86_64 false",
                "own https://own.example/own true",
                "multilib https://one.example/multilib/os/x86_64 false",
            ]
        );
        let mirrored = described(Some("http://mirror.example/arch"), &[]);
        assert_eq!(mirrored[1], "extra http://mirror.example/arch/extra/os/x86_64 false");
    }

    #[test]
    fn without_a_base_the_distros_default_repositories_are_used() {
        let release = crate::fixtures::release("rolling", "-");
        let found = repositories(None, Some("http://mirror.example/arch"), &release).unwrap();
        assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), OWN);
        assert!(matches!(repositories(None, None, &release).unwrap_err().cause, ImageErrorKind::NoMirror { .. }));
    }
}
