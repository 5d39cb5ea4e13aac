//! Where the machine's own apt gets its packages: no mirror is ever written into this program.

use crate::error::{Failure, ImageErrorKind};
use crate::family::credentials::{self, Login, PROXY_VARIABLES};
use crate::options::Options;
use model::redact::Redactor;
use model::release::{Archive, PackageSuite, Release};
use operator::os_release::OsRelease;
use root::Root;
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

    /// Takes from `other` what is still unknown here.
    pub(crate) fn or(self, other: Mirrors) -> Mirrors {
        Mirrors { main: self.main.or(other.main), security: self.security.or(other.security) }
    }

    /// The addresses without credentials, and these.
    ///
    /// # Errors
    /// That a password may be left in one.
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

    /// `deb` lines for the release's suites.
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

/// One `deb` source of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    uri: String,
    suite: String,
    components: Vec<String>,
}

/// The mirrors that the machine's apt uses for the release's distro; nothing on a machine of another distro.
pub(crate) fn of_machine(root: &Path, release: &Release) -> Mirrors {
    let os = Root::new(root).and_then(|root| OsRelease::read(&root)).unwrap_or_default();
    if os.id() != release.distro {
        return Mirrors::default();
    }
    choose(&entries(root), &release.distro, os.get("VERSION_CODENAME"), root)
}

/// The mirrors and proxies that this machine or the caller names, which must stay secret.
pub(crate) fn known(options: &Options) -> Vec<String> {
    let given = options.mirror.iter().chain(&options.security_mirror).cloned();
    let of_apt = entries(Path::new("/")).into_iter().map(|entry| entry.uri);
    let proxies = PROXY_VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
    given.chain(of_apt).chain(proxies).collect()
}

/// All `deb` entries of a `sources.list` text, as mmdebstrap writes one.
pub(crate) fn of_list(text: &str, distro: &str) -> Mirrors {
    choose(&list_entries(text), distro, None, Path::new("/"))
}

fn choose(entries: &[Entry], distro: &str, codename: Option<&str>, root: &Path) -> Mirrors {
    let security = |e: &Entry| {
        e.suite.ends_with("-security")
            || e.suite.ends_with("/updates")
            || e.uri.trim_end_matches('/').ends_with("-security")
    };
    // Third parties offer packages beside the distro's, some even under its suites' names.
    let score = |e: &Entry| {
        let path = e.uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let own_path = path == distro || path == format!("{distro}-security");
        let own_suite = codename.is_some_and(|c| {
            ["", "-updates", "-security", "/updates"].iter().any(|pocket| e.suite == format!("{c}{pocket}"))
        });
        let rolling = ["stable", "oldstable", "testing", "unstable", "sid"].contains(&e.suite.as_str());
        2 * u8::from(own_path) + 2 * u8::from(own_suite) + u8::from(rolling)
    };
    let best = |wanted: bool| {
        let mut found: Option<(u8, &Entry)> = None;
        for entry in entries.iter().filter(|e| e.components.iter().any(|c| c == "main") && security(e) == wanted) {
            let score = score(entry);
            let enough = score >= 2 || codename.is_none();
            if enough && found.is_none_or(|(best, _)| score > best) {
                found = Some((score, entry));
            }
        }
        found.and_then(|(_, e)| follow(&e.uri, root))
    };
    Mirrors { main: best(false), security: best(true) }
}

/// `mirror+file:/etc/apt/mirrors/x.list`, as in Debian's cloud images, names a file with mirrors: the first one counts.
fn follow(uri: &str, root: &Path) -> Option<String> {
    let Some(file) = uri.strip_prefix("mirror+file:") else {
        return Some(uri.trim_end_matches('/').to_owned());
    };
    let text = std::fs::read_to_string(root.join(file.trim_start_matches('/'))).ok()?;
    text.lines()
        .map(str::trim)
        .find(|l| !l.is_empty() && !l.starts_with('#'))
        .and_then(|l| l.split_whitespace().next())
        .map(|u| u.trim_end_matches('/').to_owned())
}

fn entries(root: &Path) -> Vec<Entry> {
    let etc = root.join("etc/apt");
    let mut files = vec![etc.join("sources.list")];
    if let Ok(dir) = std::fs::read_dir(etc.join("sources.list.d")) {
        let mut more: Vec<_> = dir.flatten().map(|e| e.path()).collect();
        more.sort();
        files.extend(more);
    }
    let mut all = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        match file.extension().and_then(|e| e.to_str()) {
            Some("list") => all.extend(list_entries(&text)),
            Some("sources") => all.extend(deb822_entries(&text)),
            _ => {}
        }
    }
    all
}

/// sources.list(5), one-line style: `deb [options] uri suite component…`.
fn list_entries(text: &str) -> Vec<Entry> {
    let mut all = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line.strip_prefix("deb").filter(|r| r.starts_with([' ', '\t', '['])) else {
            continue;
        };
        let rest = rest.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
            None => rest,
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        if let (Some(uri), Some(suite)) = (words.next(), words.next()) {
            all.push(Entry { uri, suite, components: words.collect() });
        }
    }
    usable(all)
}

/// sources.list(5), deb822 style.
fn deb822_entries(text: &str) -> Vec<Entry> {
    let mut all = Vec::new();
    let text: String = text.lines().filter(|l| !l.starts_with('#')).flat_map(|l| [l.trim_end(), "\n"]).collect();
    for stanza in text.split("\n\n") {
        let field = |name: &str| -> Vec<String> {
            let mut words = Vec::new();
            let mut inside = false;
            for line in stanza.lines() {
                if line.starts_with([' ', '\t']) {
                    if inside {
                        words.extend(line.split_whitespace().map(str::to_owned));
                    }
                } else if let Some((key, value)) = line.split_once(':') {
                    inside = key.trim().eq_ignore_ascii_case(name);
                    if inside {
                        words.extend(value.split_whitespace().map(str::to_owned));
                    }
                }
            }
            words
        };
        let off = field("Enabled").first().is_some_and(|v| ["no", "false", "0", "off"].contains(&v.as_str()));
        if off || !field("Types").iter().any(|t| t == "deb") {
            continue;
        }
        for uri in field("URIs") {
            for suite in field("Suites") {
                all.push(Entry { uri: uri.clone(), suite, components: field("Components") });
            }
        }
    }
    usable(all)
}

/// A CD is no mirror.
fn usable(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.retain(|e| !e.uri.starts_with("cdrom:"));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(main: &str, security: &str) -> Mirrors {
        Mirrors { main: Some(main.to_owned()), security: Some(security.to_owned()) }
    }

    #[test]
    fn one_line_style() {
        let list = "# comment\n\
            deb cdrom:[Debian GNU/Linux 12]/ bookworm main\n\
            deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://vendor.example/linux/debian bookworm stable\n\
            deb-src http://mirror.example/debian bookworm main\n\
            deb [ trusted=no ] http://mirror.example/debian/ bookworm main contrib # here\n\
            deb http://security.example/debian-security bookworm-security main\n";
        let found = choose(&list_entries(list), "debian", Some("bookworm"), Path::new("/"));
        assert_eq!(found, mirrors("http://mirror.example/debian", "http://security.example/debian-security"));
    }

    #[test]
    fn deb822_style() {
        let sources = "Types: deb deb-src\n# why\nURIs: http://mirror.example/debian\nSuites: bookworm\n bookworm-updates\nComponents: main\n\n\
            Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n\n\
            Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n";
        let entries = deb822_entries(sources);
        assert_eq!(entries.len(), 3);
        let found = choose(&entries, "debian", Some("bookworm"), Path::new("/"));
        assert_eq!(found, mirrors("http://mirror.example/debian", "http://mirror.example/debian-security"));
    }

    #[test]
    fn third_parties_are_not_the_mirror() {
        let list = "deb http://browser.example/linux/deb/ stable main\n\
            deb https://database.example/pub/repos/apt bookworm-pgdg main\n\
            deb https://node.example/node_20.x nodistro main\n";
        let found = choose(&list_entries(list), "debian", Some("bookworm"), Path::new("/"));
        assert_eq!(found.security, None);
        assert_ne!(found.main.as_deref(), Some("http://browser.example/linux/deb"));
        let own = format!("{list}deb http://mirror.example/debian bookworm main\n");
        let found = choose(&list_entries(&own), "debian", Some("bookworm"), Path::new("/"));
        assert_eq!(found.main.as_deref(), Some("http://mirror.example/debian"));
    }

    #[test]
    fn mirror_list_files_are_followed_and_other_distros_ignored() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc/apt");
        std::fs::create_dir_all(etc.join("mirrors")).unwrap();
        std::fs::create_dir_all(etc.join("sources.list.d")).unwrap();
        // Quoted as a shell would, and where it is when /etc has none.
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
        let found = of_machine(root.path(), &release);
        assert_eq!(found.main.as_deref(), Some("https://mirror.example/debian"));
        release.distro = "ubuntu".to_owned();
        assert_eq!(of_machine(root.path(), &release), Mirrors::default());
    }
}
