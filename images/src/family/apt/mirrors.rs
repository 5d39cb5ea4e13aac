//! The mirrors of the machine's own apt; no mirror is hard-coded in this program.

use crate::error::{Failure, ImageErrorKind};
use crate::family::credentials::{self, Login};
use model::distro::DistroId;
use model::redact::Redactor;
use model::release::{Archive, PackageSuite, Release};
use operator::apt_sources::{self, DebSource};
use operator::os_release::OsRelease;
use root::{MAX_CONFIGURATION, Root, RootError};
use std::io;
use std::path::Path;

/// The base URLs of a distro's archives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mirrors {
    pub(crate) main: Option<String>,
    pub(crate) security: Option<String>,
}

impl Mirrors {
    pub(crate) fn get(&self, archive: Archive) -> Option<&str> {
        match archive {
            Archive::Main => self.main.as_deref(),
            Archive::Security => self.security.as_deref(),
        }
    }

    /// Returns whether the mirrors of all of the release's suites are known.
    pub(crate) fn has_all_of(&self, release: &Release) -> bool {
        release.suites.iter().all(|suite| self.get(suite.archive).is_some())
    }

    /// Fills missing mirrors from `other`.
    pub(crate) fn or(self, other: Mirrors) -> Mirrors {
        Mirrors { main: self.main.or(other.main), security: self.security.or(other.security) }
    }

    /// Returns the addresses without credentials, and the credentials.
    ///
    /// # Errors
    /// If a password may be left in an address.
    pub(crate) fn without_credentials(&self) -> Result<(Mirrors, Vec<Login>), Failure> {
        let (mut clean, mut logins) = (self.clone(), Vec::new());
        for url in [&mut clean.main, &mut clean.security].into_iter().flatten() {
            let unclear =
                |reason: &str| ImageErrorKind::BadAddress { address: "of a mirror".into(), reason: reason.into() };
            let (address, login) = credentials::split(url).map_err(unclear)?;
            *url = address;
            logins.extend(login);
        }
        Ok((clean, logins))
    }

    /// Returns the `deb` lines for the release's suites.
    pub(crate) fn sources(&self, release: &Release) -> Vec<String> {
        let line = |suite: &PackageSuite| {
            let mirror = self.get(suite.archive)?;
            Some(format!("deb {mirror} {} {}", suite.name, suite.components.join(" ")))
        };
        release.suites.iter().filter_map(line).collect()
    }

    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.main.iter().chain(&self.security).map(String::as_str)
    }

    pub(crate) fn redactor(&self, proxies: &[String]) -> Redactor {
        Redactor::knowing(self.urls().chain(proxies.iter().map(String::as_str)))
    }
}

/// Returns the mirrors that the machine's apt uses for the release's distro; empty on a machine with another distro.
///
/// # Errors
/// If a configuration file of apt cannot be read.
pub(crate) fn of_machine(root: &Root, release: &Release) -> Result<Mirrors, Failure> {
    // A machine without an os-release does not count as the distro.
    let os = OsRelease::read(root).unwrap_or_default();
    if release.distro != os.id().as_str() {
        return Ok(Mirrors::default());
    }
    let codename = os.get("VERSION_CODENAME");
    let found = apt_sources::enabled(root).and_then(|all| choose(&all, &release.distro, codename, root));
    found.map_err(unreadable)
}

/// Returns all addresses of a machine's apt. Unreadable files are skipped: this program cannot reveal their content.
pub(crate) fn addresses(root: &Root) -> Vec<String> {
    let files = apt_sources::files(root).unwrap_or_default();
    let all = files.iter().flat_map(|file| apt_sources::of_file(root, file).unwrap_or_default());
    let all = all.filter(|entry| !is_cd(entry));
    all.flat_map(|entry| [follow(&entry.uri, root).ok().flatten(), Some(entry.uri)]).flatten().collect()
}

/// Returns the mirrors in the text of a `sources.list`, as mmdebstrap writes it.
///
/// # Errors
/// If the text names a file of this machine that cannot be read.
pub(crate) fn of_list(text: &str, distro: &DistroId) -> Result<Mirrors, Failure> {
    choose(&apt_sources::of_list(text), distro, None, &Root::default()).map_err(unreadable)
}

fn unreadable(error: RootError) -> Failure {
    let context = "looking for the mirrors of this machine's apt".to_owned();
    ImageErrorKind::Io { context, source: io::Error::other(error) }.into()
}

fn choose(entries: &[DebSource], distro: &DistroId, codename: Option<&str>, root: &Root) -> Result<Mirrors, RootError> {
    let security = |e: &DebSource| {
        e.suite.ends_with("-security")
            || e.suite.ends_with("/updates")
            || e.uri.trim_end_matches('/').ends_with("-security")
    };
    // Third parties offer packages in addition to the distro's, some even under the names of its suites.
    let score = |e: &DebSource| {
        let path = e.uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let own_path = *distro == path || path == format!("{distro}-security");
        let own_suite = codename.is_some_and(|c| {
            ["", "-updates", "-security", "/updates"].iter().any(|pocket| e.suite == format!("{c}{pocket}"))
        });
        let rolling = ["stable", "oldstable", "testing", "unstable", "sid"].contains(&e.suite.as_str());
        2 * u8::from(own_path) + 2 * u8::from(own_suite) + u8::from(rolling)
    };
    let best = |is_security: bool| {
        let mut found: Option<(u8, &DebSource)> = None;
        let has_main = |e: &DebSource| e.components.iter().any(|c| c == "main");
        for entry in entries.iter().filter(|e| has_main(e) && !is_cd(e) && security(e) == is_security) {
            let score = score(entry);
            let enough = score >= 2 || codename.is_none();
            if enough && found.is_none_or(|(best, _)| score > best) {
                found = Some((score, entry));
            }
        }
        found.map_or(Ok(None), |(_, e)| follow(&e.uri, root))
    };
    Ok(Mirrors { main: best(false)?, security: best(true)? })
}

/// Follows a `mirror+file:/etc/apt/mirrors/x.list`, as in Debian's cloud images, which names a file with mirrors: the
/// first one is used.
fn follow(uri: &str, root: &Root) -> Result<Option<String>, RootError> {
    let Some(file) = uri.strip_prefix("mirror+file:") else {
        return Ok(Some(uri.trim_end_matches('/').to_owned()));
    };
    let text = text(root, Path::new(file))?.unwrap_or_default();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines.next().and_then(|line| line.split_whitespace().next());
    Ok(first.map(|uri| uri.trim_end_matches('/').to_owned()))
}

/// Whether a source is a CD, which is no mirror.
fn is_cd(source: &DebSource) -> bool {
    source.uri.starts_with("cdrom:")
}

/// Reads a file; `None` if it does not exist. An existing file that cannot be read is an error.
fn text(root: &Root, file: &Path) -> Result<Option<String>, RootError> {
    match root.read_text(file, MAX_CONFIGURATION) {
        Err(error) if error.is_unreadable() => Err(error),
        text => Ok(text.ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(main: &str, security: &str) -> Mirrors {
        Mirrors { main: Some(main.to_owned()), security: Some(security.to_owned()) }
    }

    #[test]
    fn mirrors_are_read_from_one_line_style_sources() {
        let list = "# comment\n\
            deb cdrom:[Debian GNU/Linux 12]/ bookworm main\n\
            deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://vendor.example/linux/debian bookworm stable\n\
            deb-src http://mirror.example/debian bookworm main\n\
            deb [ trusted=no ] http://mirror.example/debian/ bookworm main contrib # here\n\
            deb http://security.example/debian-security bookworm-security main\n";
        let found = choose(&apt_sources::of_list(list), &"debian".parse().unwrap(), Some("bookworm"), &Root::default())
            .unwrap();
        assert_eq!(found, mirrors("http://mirror.example/debian", "http://security.example/debian-security"));
    }

    #[test]
    fn mirrors_are_read_from_deb822_style_sources() {
        let sources = "Types: deb deb-src\n# why\nURIs: http://mirror.example/debian\nSuites: trixie\n\
            \x20trixie-updates\nComponents: main\n\n\
            Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\n\n\
            Types: deb\nURIs: http://mirror.example/debian-security\nSuites: trixie-security\nComponents: main\n";
        let folder = machine(&[("etc/apt/sources.list.d/debian.sources", sources)]);
        let machine = Root::new(folder.path()).unwrap();
        assert_eq!(apt_sources::enabled(&machine).unwrap().len(), 3);
        let found = of_machine(&machine, &crate::fixtures::release("13", "trixie")).unwrap();
        assert_eq!(found, mirrors("http://mirror.example/debian", "http://mirror.example/debian-security"));
    }

    #[test]
    fn third_party_archives_are_not_taken_for_the_mirror() {
        let list = "deb http://browser.example/linux/deb/ stable main\n\
            deb https://database.example/pub/repos/apt bookworm-pgdg main\n\
            deb https://node.example/node_20.x nodistro main\n";
        let found = choose(&apt_sources::of_list(list), &"debian".parse().unwrap(), Some("bookworm"), &Root::default())
            .unwrap();
        assert_eq!(found, Mirrors::default());
        let own = format!("{list}deb http://mirror.example/debian bookworm main\n");
        let found = choose(&apt_sources::of_list(&own), &"debian".parse().unwrap(), Some("bookworm"), &Root::default())
            .unwrap();
        assert_eq!(found.main.as_deref(), Some("http://mirror.example/debian"));
    }

    #[test]
    fn mirror_list_files_are_followed_and_other_distros_ignored() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc/apt");
        std::fs::create_dir_all(etc.join("mirrors")).unwrap();
        std::fs::create_dir_all(etc.join("sources.list.d")).unwrap();
        // Quoted as in a shell, and read from /usr/lib if /etc has no os-release.
        std::fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        let os = "# a comment\nID='debian'\nVERSION_CODENAME=\"trixie\" # now\n";
        std::fs::write(root.path().join("usr/lib/os-release"), os).unwrap();
        std::fs::write(etc.join("mirrors/debian.list"), "# first wins\nhttps://mirror.example/debian\n").unwrap();
        std::fs::write(
            etc.join("sources.list.d/debian.sources"),
            "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: trixie\nComponents: main\n",
        )
        .unwrap();
        let mut release = crate::fixtures::release("13", "trixie");
        let machine = Root::new(root.path()).unwrap();
        let found = of_machine(&machine, &release).unwrap();
        assert_eq!(found.main.as_deref(), Some("https://mirror.example/debian"));
        assert_eq!(
            addresses(&machine),
            ["https://mirror.example/debian", "mirror+file:///etc/apt/mirrors/debian.list"],
            "the mirror in the file is as secret as one in apt's own"
        );
        release.distro = "ubuntu".parse().unwrap();
        assert_eq!(of_machine(&machine, &release).unwrap(), Mirrors::default());
    }

    /// Makes a directory like a machine with Debian 13 and these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let system = ("etc/os-release", "ID=debian\nVERSION_CODENAME=trixie\n");
        for (path, text) in [system].iter().chain(files) {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn links_in_apts_configuration_are_followed() {
        let list = "deb mirror+file:/etc/apt/mirrors/linked.list trixie main\n";
        let folder = machine(&[("etc/apt/kept", list), ("srv/mirrors.list", "http://mirror.example/debian\n")]);
        let link = |target: &str, path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(target, path).unwrap();
        };
        link("/etc/apt/kept", "etc/apt/sources.list.d/a.list");
        link("../../../../../../srv/mirrors.list", "etc/apt/mirrors/linked.list");
        link("/no/such/file", "etc/apt/sources.list");
        let found = of_machine(&Root::new(folder.path()).unwrap(), &crate::fixtures::release("13", "trixie")).unwrap();
        assert_eq!(found.main.as_deref(), Some("http://mirror.example/debian"));
    }

    #[test]
    fn the_error_for_an_unreadable_file_names_it() {
        let release = crate::fixtures::release("13", "trixie");
        let list = "deb http://mirror.example/debian trixie main\n\
                    deb mirror+file:/etc/apt/mirrors/security.list trixie-security main\n";
        // Root may read everything, but no more than the size limit of the file's kind.
        let fill = |folder: &tempfile::TempDir, file: &str| {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap().set_len(MAX_CONFIGURATION + 1).unwrap();
        };
        for file in ["etc/apt/sources.list.d/other.sources", "etc/apt/mirrors/security.list"] {
            let folder = machine(&[("etc/apt/sources.list", list)]);
            fill(&folder, file);
            let machine = Root::new(folder.path()).unwrap();
            let error = of_machine(&machine, &release).unwrap_err().cause.to_string();
            assert!(error.starts_with("looking for the mirrors of this machine's apt: "), "{error}");
            assert!(error.contains(&format!("/{file} ")), "{error}");
            assert!(addresses(&machine).contains(&"http://mirror.example/debian".to_owned()));
        }
        // A file that apt does not read may be anything, and a missing mirror list counts as no mirror.
        let folder = machine(&[("etc/apt/sources.list", list)]);
        fill(&folder, "etc/apt/sources.list.d/other.save");
        let found = of_machine(&Root::new(folder.path()).unwrap(), &release).unwrap();
        assert_eq!(found, Mirrors { main: Some("http://mirror.example/debian".to_owned()), security: None });
    }
}
