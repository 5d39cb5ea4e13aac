//! Where each page lies: a name that a journal gives is one file's name, and never a path.
//!
//! Addresses are stable: a cell, a release, a test, a capability and a package have the same one in every site.

use crate::digest;
use crate::journal::CellId;
use suites::capability::Capability;

/// The longest text, in bytes, that is a file's name as it is.
const LONGEST: usize = 80;

/// Whatever the site has an address for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page<'a> {
    /// The answers and the matrix.
    Index,
    /// The answers, where the index has no room for them.
    Answers,
    /// Everything about a release on an architecture, by any of its cells.
    Release(&'a CellId),
    /// Everything about a cell.
    Cell(&'a CellId),
    /// The whole matrix under a profile.
    Profile(&'a str),
    /// A capability wherever it was judged.
    Capability(Capability),
    /// All of them.
    Capabilities,
    /// A test wherever it ran.
    Test(&'a str),
    /// All of them.
    Tests,
    /// A source package.
    Package(&'a str),
    /// All of them.
    Packages,
    /// What has changed.
    Changes,
    /// The runs that the pages are made of.
    Runs,
    /// The changes for feed readers.
    Feed,
    /// The style sheet.
    Style,
    /// The script.
    Script,
}

impl Page<'_> {
    /// Its path below the folder of all pages.
    pub(super) fn path(self) -> String {
        match self {
            Page::Index => "index.html".to_owned(),
            Page::Answers => "answers.html".to_owned(),
            Page::Release(id) => format!("release/{}.html", release(id)),
            Page::Cell(id) => format!("cell/{}.html", cell(id)),
            Page::Profile(profile) => format!("profile/{}.html", name(profile)),
            Page::Capability(capability) => format!("capability/{}.html", name(capability.name())),
            Page::Capabilities => "capabilities.html".to_owned(),
            Page::Test(id) => format!("test/{}.html", name(&id.replace("::", "."))),
            Page::Tests => "tests.html".to_owned(),
            Page::Package(source) => format!("package/{}.html", name(source)),
            Page::Packages => "packages.html".to_owned(),
            Page::Changes => "changes.html".to_owned(),
            Page::Runs => "runs.html".to_owned(),
            Page::Feed => "feed.atom".to_owned(),
            Page::Style => "site.css".to_owned(),
            Page::Script => "site.js".to_owned(),
        }
    }
}

/// The path of a part of a page that is too long for one, counted from 0.
pub(super) fn part(path: &str, number: usize) -> String {
    match (number, path.strip_suffix(".html")) {
        (1.., Some(stem)) => format!("{stem}~{}.html", number + 1),
        _ => path.to_owned(),
    }
}

/// The way from one path to another.
pub(super) fn relative(from: &str, to: &str) -> String {
    let folders = from.matches('/').count();
    let shared = from.split('/').zip(to.split('/')).take(folders).take_while(|(one, other)| one == other).count();
    let rest = to.splitn(shared + 1, '/').last().unwrap_or(to);
    format!("{}{rest}", "../".repeat(folders - shared))
}

/// The place of a capability on the page of a cell, of a profile's row in a matrix, and so on: words joined by dots.
pub(super) fn anchor(profile: &str, what: &str) -> String {
    format!("{profile}.{what}")
}

/// `debian-13-x86_64`.
pub(super) fn release(id: &CellId) -> String {
    target(id, id.arch.name())
}

/// `debian-13-x86_64-container`.
pub(super) fn cell(id: &CellId) -> String {
    target(id, &format!("{}-{}", id.arch, id.environment))
}

fn target(id: &CellId, rest: &str) -> String {
    let (whole, release) = (format!("{}-{}-{rest}", id.distro, id.release), id.release.as_str());
    // With a hyphen in the release nobody could tell where the distro's name ends.
    match is_ordinary(id.distro.as_str()) && is_ordinary(release) && !release.contains('-') {
        true => whole,
        false => marked(&whole, &format!("{}:{}/{rest}", id.distro, id.release)),
    }
}

/// A text as a file's name: as it is where it is an ordinary word, and else with what tells it from all others.
pub(super) fn name(text: &str) -> String {
    if is_ordinary(text) { text.to_owned() } else { marked(text, text) }
}

/// Whether a text is a plain file name on every system: nothing hidden, nothing that two spellings have in common.
fn is_ordinary(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    text.len() <= LONGEST && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits)
}

/// What can be shown of a text, and the digest of all of it. No ordinary name has a `~`.
fn marked(shown: &str, whole: &str) -> String {
    let fits = |c: char| if is_ordinary(c.to_string().as_str()) || "-_".contains(c) { c } else { '-' };
    let shown: String = shown.to_ascii_lowercase().chars().take(LONGEST / 2).map(fits).collect();
    format!("{}~{}", shown.trim_matches('-'), digest::short(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn id(distro: &str, release: &str) -> CellId {
        CellId { distro: distro.parse().unwrap(), ..crate::sample::cell(release) }
    }

    #[test]
    fn an_ordinary_name_is_its_address() {
        assert_eq!(Page::Cell(&id("debian", "13")).path(), "cell/debian-13-x86_64-container.html");
        assert_eq!(Page::Release(&id("sl-micro", "6.1")).path(), "release/sl-micro-6.1-x86_64.html");
        assert_eq!(Page::Test("smoke::guest_boots").path(), "test/smoke.guest_boots.html");
        assert_eq!(Page::Capability(Capability::VmmVsock).path(), "capability/vmm.vsock.html");
        assert_eq!(Page::Package("qemu").path(), "package/qemu.html");
        assert_eq!(part("package/qemu.html", 0), "package/qemu.html");
        assert_eq!(part("package/qemu.html", 1), "package/qemu~2.html");
        assert_eq!(relative("cell/a.html", "test/b.html"), "../test/b.html");
        assert_eq!(relative("index.html", "test/b.html"), "test/b.html");
        assert_eq!(relative("cell/a.html", "cell/a.html"), "a.html");
        assert_eq!(relative("pages/cell/a.html", "pages/test/b.html"), "../test/b.html");
        assert_eq!(relative("pages/cell/a.html", "index.html"), "../../index.html");
    }

    #[test]
    fn no_name_leads_out_of_its_folder_and_no_two_have_one_file() {
        let texts = [
            "..",
            ".",
            "",
            "../../etc/passwd",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "A",
            "a",
            "a\u{0}b",
            "\u{1b}[31m",
            "a b",
            "<b>",
            "a~2",
            "con.html~2",
            "ä",
            "-x",
            ".hidden",
            "a\nb",
            "%2e%2e",
            "x".repeat(500).as_str(),
        ]
        .map(str::to_owned);
        let mut seen = BTreeSet::new();
        for text in &texts {
            let name = name(text);
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-~".contains(c);
            assert!(name.chars().all(plain) && !name.contains("..") && !name.starts_with('.'), "{text:?}: {name}");
            assert!(!name.is_empty() && name.len() < 100, "{text:?}: {name}");
            assert!(seen.insert(name.clone()), "{text:?}: {name}");
            // What is made of a name is not that of another text.
            assert!(name == *text || seen.insert(super::name(&name)), "{text:?}: {name}");
        }
    }

    #[test]
    fn cells_whose_names_run_together_have_pages_of_their_own() {
        let pairs = [("a-b", "c"), ("a", "b-c"), ("a-", "b"), ("_", "_"), ("a", "B"), ("a", "b")];
        let paths: BTreeSet<String> = pairs.iter().map(|(d, r)| Page::Cell(&id(d, r)).path()).collect();
        assert_eq!(paths.len(), pairs.len(), "{paths:?}");
        assert!(paths.iter().all(|path| !path.contains("..") && path.matches('/').count() == 1), "{paths:?}");
    }
}
