//! A release's package sources and trusted keys, read from a system's files as data, and written for this machine's
//! dnf.
//!
//! No mirror is hard-coded in this program, and no key is fetched: a key from the same source as the packages proves
//! nothing.

use super::Rpm;
use super::services::{self, Section, is_yes};
use super::workspace::{self, KEPT};
use crate::error::{Context as _, Failure, ImageErrorKind};
use crate::tree;
use model::package::is_plain;
use model::release::{Archive, Release};
use operator::installer::ini;
use operator::os_release::OsRelease;
use root::Root;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Size limits of a key, and of a variable's file, in bytes.
const MAX_KEY: u64 = 1 << 20;
const MAX_VARIABLE: u64 = 1 << 10;
/// Maximum number of keys from a directory.
const MAX_KEYS: usize = 100;

/// Settings of a repository with its address.
const ADDRESSES: [&str; 3] = ["baseurl", "metalink", "mirrorlist"];
/// Settings that select among the repository's packages.
const CHOICES: [&str; 6] = ["cost", "exclude", "excludepkgs", "includepkgs", "module_hotfixes", "priority"];

/// Keys by file name.
type Keys = BTreeMap<String, Vec<u8>>;

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Repository {
    id: String,
    settings: Vec<(String, String)>,
    /// File names of its keys.
    keys: Vec<String>,
    /// Whether the index must be signed in addition to the packages.
    checks_index: bool,
}

/// The repositories of a release, their keys, and the variables in their addresses.
#[derive(Debug)]
pub(super) struct Sources {
    repositories: Vec<Repository>,
    keys: Keys,
    variables: BTreeMap<String, String>,
}

impl Sources {
    /// Returns a system's sources, and those that the record wants to be enabled.
    ///
    /// A repository that the system can do without is left out: the content of an image must not depend on whether its
    /// server responded.
    ///
    /// # Errors
    /// If the system lacks a repository that the record names, or a key of a repository.
    pub(super) fn of_system(root: &Root, family: &Rpm, release: &Release) -> Result<Sources, Failure> {
        let variables = variables(root, family, release)?;
        let (mut repositories, mut keys) = (Vec::new(), Keys::new());
        for (id, settings) in sections(root, family)? {
            let get = |key: &str| settings.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str());
            let is = |key: &str, otherwise: bool| get(key).map_or(otherwise, is_yes);
            let is_named = release.repositories.iter().any(|name| name.eq_ignore_ascii_case(&id));
            let is_enabled = is("enabled", true) && !is("skip_if_unavailable", false);
            if !is_plain(&id) || !(is_named || is_enabled) {
                continue;
            }
            let is_address = |(key, value): &&(String, String)| {
                ADDRESSES.contains(&key.as_str())
                    && words(value).all(|w| w.starts_with("http://") || w.starts_with("https://"))
            };
            // zypper's subdirectory, to append to each address.
            let below = get("path").unwrap_or_default().trim_matches('/');
            let whole = |(key, value): &(String, String)| match below {
                "" => (key.clone(), value.clone()),
                below => {
                    let addresses: Vec<String> =
                        words(value).map(|address| format!("{}/{below}", address.trim_end_matches('/'))).collect();
                    (key.clone(), addresses.join(" "))
                }
            };
            let mut selected: Vec<(String, String)> = settings.iter().filter(is_address).map(whole).collect();
            if selected.is_empty() {
                continue;
            }
            selected.extend(settings.iter().filter(|(key, _)| CHOICES.contains(&key.as_str())).cloned());
            let listed = words(get("gpgkey").unwrap_or_default()).map(|word| expanded(word, &variables));
            let names = keys_of(root, family, listed, &mut keys)?;
            if names.is_empty() {
                return Err(no_key(&id, "the base has"));
            }
            let checks_index = is("repo_gpgcheck", family.signs_indexes);
            repositories.push(Repository { id, settings: selected, keys: names, checks_index });
        }
        let has = |name: &String| repositories.iter().any(|r: &Repository| r.id.eq_ignore_ascii_case(name));
        if let Some(suite) = release.repositories.iter().find(|name| !has(name)) {
            return Err(ImageErrorKind::NoMirror { suite: suite.clone(), archive: Archive::Main }.into());
        }
        if repositories.is_empty() {
            return Err(ImageErrorKind::NoMirror { suite: release.name(), archive: Archive::Main }.into());
        }
        Ok(Sources { repositories, keys, variables })
    }

    /// Returns the sources from the caller: addresses of repositories, and key files, or else the keys of a system.
    ///
    /// # Errors
    /// If there is no key.
    pub(super) fn of_mirrors(
        mirrors: &[(&'static str, String)],
        files: &[PathBuf],
        system: Option<&Root>,
        family: &Rpm,
        release: &Release,
    ) -> Result<Sources, Failure> {
        let mut keys = Keys::new();
        for file in files {
            let name = file.file_name().and_then(|name| name.to_str()).filter(|name| is_plain(name));
            let Some(name) = name else {
                let detail =
                    format!("expected a name of letters, digits, `-`, `.` and `_` of the key {}", file.display());
                return Err(ImageErrorKind::Untrusted { detail }.into());
            };
            keys.insert(name.to_owned(), std::fs::read(file).context("reading the key", file)?);
        }
        if let Some(root) = system.filter(|_| files.is_empty()) {
            keys_of(root, family, std::iter::empty(), &mut keys)?;
        }
        let names: Vec<String> = keys.keys().cloned().collect();
        let repository = |(id, address): &(&'static str, String)| Repository {
            id: (*id).to_owned(),
            settings: vec![("baseurl".to_owned(), address.clone())],
            keys: names.clone(),
            checks_index: family.signs_indexes,
        };
        let repositories: Vec<Repository> = mirrors.iter().map(repository).collect();
        match names.is_empty() {
            true => Err(no_key(&release.name(), "a base or --mirror-key must give a key, but there is")),
            false => Ok(Sources { repositories, keys, variables: named_by(release, &OsRelease::default()) }),
        }
    }

    /// Returns the repositories' names.
    pub(super) fn ids(&self) -> Vec<String> {
        self.repositories.iter().map(|repository| repository.id.clone()).collect()
    }

    /// Writes the sources into an image's directory, for dnf.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        let dnf_folder = folder.join(KEPT);
        let (keys, variables) = (folder.join(workspace::KEYS), folder.join(workspace::VARIABLES));
        for folder in [&dnf_folder, &keys, &variables] {
            crate::family::folder::make(folder)?;
        }
        let put = |path: PathBuf, content: &[u8]| std::fs::write(&path, content).context("writing", &path);
        for (name, key) in &self.keys {
            put(keys.join(name), key)?;
        }
        for (name, value) in &self.variables {
            put(variables.join(name), format!("{value}\n").as_bytes())?;
        }
        let keys_path = crate::family::sandbox_path(folder).join(workspace::KEYS);
        let text: String = self.repositories.iter().map(|repository| repository.section(&keys_path)).collect();
        put(folder.join(workspace::REPOSITORIES), text.as_bytes())
    }
}

impl Repository {
    /// Returns the repository's section for dnf: packages without a signature by these keys are refused.
    fn section(&self, keys: &Path) -> String {
        let mut text = format!("[{0}]\nname={0}\nenabled=1\ngpgcheck=1\n", self.id);
        text += &format!("repo_gpgcheck={}\n", u8::from(self.checks_index));
        // An image is made from the same indexes as its key.
        text += "metadata_expire=never\n";
        let keys: Vec<String> = self.keys.iter().map(|name| format!("file://{}", keys.join(name).display())).collect();
        text += &format!("gpgkey={}\n", keys.join(" "));
        for (key, value) in &self.settings {
            text += &format!("{key}={value}\n");
        }
        text + "\n"
    }
}

/// Returns the addresses in a system's settings.
pub(super) fn addresses(root: &Root, family: &Rpm) -> Vec<String> {
    let settings = sections(root, family).unwrap_or_default().into_iter().flat_map(|(_, settings)| settings);
    let addresses = settings.filter(|(key, _)| ADDRESSES.contains(&key.as_str()));
    addresses.flat_map(|(_, value)| words(&value).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Returns the sections of a system's repository files, in order, and then the repositories of its services.
fn sections(root: &Root, family: &Rpm) -> Result<Vec<Section>, Failure> {
    let folder = Path::new(family.repositories);
    let mut all: Vec<Section> = Vec::new();
    for name in root.list(folder).map_err(tree::failed)?.iter().filter(|name| name.ends_with(".repo")) {
        let path = folder.join(name);
        let lines = ini(root, &path).context("reading", &root.shown(&path))?;
        let mut of_file: Vec<Section> = Vec::new();
        for (section, key, value) in lines.into_iter().filter(|(section, _, _)| section != "main") {
            match of_file.last_mut().filter(|(id, _)| *id == section) {
                Some((_, settings)) => settings.push((key, value)),
                None => of_file.push((section, vec![(key, value)])),
            }
        }
        all.extend(of_file);
    }
    if let Some(folder) = family.services {
        let more = services::sections(root, Path::new(folder), &all)?;
        all.extend(more);
    }
    Ok(all)
}

/// Collects keys from a system: the listed ones, or else all that it trusts; returns their names.
fn keys_of(
    root: &Root,
    family: &Rpm,
    listed: impl Iterator<Item = String>,
    keys: &mut Keys,
) -> Result<Vec<String>, Failure> {
    let read = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_plain(name))?;
        // A listed key may be missing: another one may be the right one.
        Some((name.to_owned(), root.read(path, MAX_KEY).ok()?))
    };
    let mut found: Vec<(String, Vec<u8>)> =
        listed.filter_map(|word| read(Path::new(word.strip_prefix("file://")?))).collect();
    if found.is_empty() {
        let folder = Path::new(family.keys);
        let trusted = root.list(folder).map_err(tree::failed)?;
        found.extend(trusted.iter().take(MAX_KEYS).filter_map(|name| read(&folder.join(name))));
    }
    let names = found.iter().map(|(name, _)| name.clone()).collect();
    keys.extend(found);
    Ok(names)
}

fn no_key(name: &str, who: &str) -> Failure {
    ImageErrorKind::Untrusted { detail: format!("{who} no key for {name}") }.into()
}

/// Returns the variables in a system's addresses.
fn variables(root: &Root, family: &Rpm, release: &Release) -> Result<BTreeMap<String, String>, Failure> {
    // Without an os-release, only the record provides the variables.
    let os = OsRelease::read(root).unwrap_or_default();
    let mut all = named_by(release, &os);
    for folder in family.variables.iter().map(Path::new) {
        for name in root.list(folder).map_err(tree::failed)?.iter().filter(|name| is_plain(name)) {
            let text = root.read_text(&folder.join(name), MAX_VARIABLE).map_err(tree::failed)?;
            let value = text.lines().next().unwrap_or_default().trim();
            all.insert(name.clone(), value.to_owned());
        }
    }
    Ok(all)
}

/// Returns the variables that follow from the release; dnf 4.14 does not know the parts of its version.
fn named_by(release: &Release, os: &OsRelease) -> BTreeMap<String, String> {
    let version = workspace::release_version(release, os);
    let (major, minor) = version.split_once('.').unwrap_or((version.as_str(), ""));
    let arch = release.arch.name();
    [
        ("releasever", version.as_str()),
        ("releasever_major", major),
        ("releasever_minor", minor),
        ("arch", arch),
        ("basearch", arch),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// Replaces the variables in a text; an unknown variable stays unchanged.
fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, end) = braced.unwrap_or_else(|| {
            let is_end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            after.split_at(after.find(is_end).unwrap_or(after.len()))
        });
        match variables.get(name) {
            Some(value) => out.push_str(value),
            None => out.extend(["$", name]),
        }
        rest = end;
    }
    out + rest
}

fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split([' ', '\t', ',']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::DNF;
    use super::*;

    const FEDORA: &str = "[fedora]\nname=Fedora $releasever\n#baseurl=http://download.example/x\n\
        metalink=https://mirrors.example/metalink?repo=fedora-$releasever&arch=$basearch\nenabled=1\n\
        repo_gpgcheck=0\ntype=rpm\ngpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/KEY-$releasever-${basearch}\n\
        skip_if_unavailable=False\n\n[fedora-debuginfo]\nmetalink=https://mirrors.example/debug\nenabled=0\n\n\
        [other]\nbaseurl=https://third.example/\nenabled=1\nskip_if_unavailable=True\n\n\
        [local]\nbaseurl=file:///srv/x\nenabled=1\n\n\
        [CRB]\nbaseurl=https://mirror.example/crb\nenabled=0\npassword=x\nproxy=http://evil.example\nexcludepkgs=qemu*\n";

    fn base(repositories: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/os-release", "ID=fedora\nVERSION_ID=43\n"),
            ("etc/yum.repos.d/fedora.repo", repositories),
            ("etc/dnf/vars/stream", "9-stream\n"),
            ("etc/pki/rpm-gpg/KEY-43-x86_64", "the key"),
            ("etc/pki/rpm-gpg/KEY-other", "another"),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn fedora(repositories: &[&str]) -> Release {
        let mut release = crate::fixtures::release("43", "-");
        release.distro = "fedora".parse().unwrap();
        release.repositories = repositories.iter().map(|name| (*name).to_owned()).collect();
        release
    }

    fn sources_of(text: &str, repositories: &[&str]) -> Result<Sources, Failure> {
        Sources::of_system(&Root::new(base(text).path()).unwrap(), &DNF, &fedora(repositories))
    }

    #[test]
    fn enabled_repositories_of_a_base_are_read() {
        let sources = sources_of(FEDORA, &[]).unwrap();
        assert_eq!(sources.ids(), ["fedora"]);
        let section = sources.repositories[0].section(Path::new("/tmp/dnf/keys"));
        assert_eq!(
            section,
            "[fedora]\nname=fedora\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=0\nmetadata_expire=never\n\
            gpgkey=file:///tmp/dnf/keys/KEY-43-x86_64\n\
            metalink=https://mirrors.example/metalink?repo=fedora-$releasever&arch=$basearch\n\n"
        );
        assert_eq!(sources.keys.keys().collect::<Vec<_>>(), ["KEY-43-x86_64"]);
        assert_eq!(sources.variables["stream"], "9-stream");
        assert_eq!(sources.variables["releasever_major"], "43");
    }

    #[test]
    fn repositories_of_the_record_are_enabled_and_must_exist() {
        let sources = sources_of(FEDORA, &["crb"]).unwrap();
        assert_eq!(sources.ids(), ["fedora", "CRB"]);
        let section = sources.repositories[1].section(Path::new("/k"));
        assert!(section.contains("excludepkgs=qemu*\n"), "{section}");
        assert!(!section.contains("evil") && !section.contains("password"), "{section}");
        assert!(section.contains("gpgkey=file:///k/KEY-43-x86_64 file:///k/KEY-other\n"), "{section}");
        let error = sources_of(FEDORA, &["nfv"]).unwrap_err();
        assert!(matches!(error.cause, ImageErrorKind::NoMirror { suite, .. } if suite == "nfv"));
    }

    #[test]
    fn zypper_repositories_check_index_signatures_and_use_their_path() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            (
                "etc/zypp/repos.d/repo-oss.repo",
                "[repo-oss]\nenabled=1\nautorefresh=1\nbaseurl=http://mirror.example/leap/\npath=/repo/oss\ntype=rpm-md\n",
            ),
            ("etc/zypp/repos.d/dvd.repo", "[dvd]\nenabled=1\nbaseurl=hd:///?device=/dev/sr0\n"),
            ("usr/lib/rpm/gnupg/keys/gpg-pubkey-29b700a4.asc", "the key"),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Root::new(dir.path()).unwrap();
        let sources = Sources::of_system(&root, &super::super::ZYPPER, &fedora(&[])).unwrap();
        assert_eq!(sources.ids(), ["repo-oss"]);
        let section = sources.repositories[0].section(Path::new("/k"));
        assert!(section.contains("repo_gpgcheck=1\n"), "{section}");
        assert!(
            section.contains("gpgkey=file:///k/gpg-pubkey-29b700a4.asc\nbaseurl=http://mirror.example/leap/repo/oss\n"),
            "{section}"
        );
    }

    /// As openSUSE-repos names the repositories of Leap 16.0 and Tumbleweed: no repository has a file.
    #[test]
    fn repositories_that_a_service_names_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let index = "<repoindex ttl=\"0\" disturl=\"http://mirror.example\" distver=\"${releasever}\">\n\
            <repo url=\"%{disturl}/leap/%{distver}/oss/$basearch\" alias=\"repo-oss\" enabled=\"true\" priority=\"90\"\n\
            gpgkey=\"%{disturl}/leap/%{distver}/oss/$basearch/repodata/repomd.xml.key\"/>\n\
            <repo url=\"%{disturl}/debug\" alias=\"repo-oss-debug\" enabled=\"false\"/>\n</repoindex>\n";
        for (path, text) in [
            ("usr/share/zypp/local/service/openSUSE/repo/opensuse-leap16-repoindex.xml", index),
            ("usr/lib/rpm/gnupg/keys/gpg-pubkey-29b700a4.asc", "the key"),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let link = dir.path().join("usr/share/zypp/local/service/openSUSE/repo/repoindex.xml");
        std::os::unix::fs::symlink("opensuse-leap16-repoindex.xml", link).unwrap();
        let root = Root::new(dir.path()).unwrap();
        let sources = Sources::of_system(&root, &super::super::ZYPPER, &fedora(&[])).unwrap();
        assert_eq!(sources.ids(), ["openSUSE:repo-oss"]);
        assert_eq!(
            sources.repositories[0].section(Path::new("/k")),
            "[openSUSE:repo-oss]\nname=openSUSE:repo-oss\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\nmetadata_expire=never\n\
            gpgkey=file:///k/gpg-pubkey-29b700a4.asc\nbaseurl=http://mirror.example/leap/${releasever}/oss/$basearch\n\
            priority=90\n\n"
        );
        assert_eq!(addresses(&root, &super::super::ZYPPER).len(), 2, "a disabled one's address is a secret, too");
        assert!(Sources::of_system(&root, &DNF, &fedora(&[])).is_err(), "dnf knows no services");
    }

    #[test]
    fn repositories_without_a_key_are_refused() {
        let dir = base(FEDORA);
        std::fs::remove_dir_all(dir.path().join("etc/pki")).unwrap();
        let error = Sources::of_system(&Root::new(dir.path()).unwrap(), &DNF, &fedora(&[])).unwrap_err();
        assert!(matches!(error.cause, ImageErrorKind::Untrusted { detail } if detail.contains("no key for fedora")));
        let mirrors = [("main", "http://mirror.example/os".to_owned())];
        let error = Sources::of_mirrors(&mirrors, &[], None, &DNF, &fedora(&[])).unwrap_err();
        assert!(matches!(error.cause, ImageErrorKind::Untrusted { detail } if detail.contains("--mirror-key")));
    }

    #[test]
    fn known_variables_are_expanded_and_unknown_ones_are_left() {
        let variables = BTreeMap::from([("releasever".to_owned(), "9".to_owned())]);
        assert_eq!(expanded("a-$releasever-${releasever}x$other$", &variables), "a-9-9x$other$");
    }
}
