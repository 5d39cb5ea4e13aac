//! Addresses of pages: a name from a journal becomes a single file's name, and never a path.
//!
//! Addresses are stable: a cell, a release, a test, a capability and a package have the same address in every site.

use crate::digest;
use crate::journal::CellId;
use suites::capability::Capability;

/// The longest text that is used unchanged as a file's name, in bytes.
const LONGEST: usize = 80;

/// A page or file of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page<'a> {
    /// The answers and the matrix.
    Index,
    /// The answers, if the index has no room for them.
    Answers,
    /// A release on an architecture, given by any of its cells.
    Release(&'a CellId),
    /// A cell.
    Cell(&'a CellId),
    /// The whole matrix under a profile.
    Profile(&'a str),
    /// A capability, with all its judgements.
    Capability(Capability),
    /// The list of capabilities.
    Capabilities,
    /// A test, with all its results.
    Test(&'a str),
    /// The list of tests.
    Tests,
    /// A source package.
    Package(&'a str),
    /// The list of packages.
    Packages,
    /// The changes.
    Changes,
    /// The runs behind the pages.
    Runs,
    /// The changes for feed readers.
    Feed,
    /// The style sheet.
    Style,
    /// The script.
    Script,
}

impl Page<'_> {
    /// Returns the path below the directory of all pages.
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

/// Returns the path of one part of a page that is split; parts are counted from 0.
pub(super) fn part(path: &str, number: usize) -> String {
    match (number, path.strip_suffix(".html")) {
        (1.., Some(stem)) => format!("{stem}~{}.html", number + 1),
        _ => path.to_owned(),
    }
}

/// Returns the relative path from one page to another, or to a file whose name is a stranger's: a browser must not take
/// its beginning for a scheme (`javascript:`) or another host (`//host`).
pub(super) fn relative(from: &str, to: &str) -> String {
    let folders = from.matches('/').count();
    let shared = from.split('/').zip(to.split('/')).take(folders).take_while(|(one, other)| one == other).count();
    let rest = to.splitn(shared + 1, '/').last().unwrap_or(to);
    let first = rest.split('/').next().unwrap_or_default();
    let is_plain = !first.is_empty() && first.chars().all(|c| c.is_ascii_alphanumeric() || "._-+~".contains(c));
    let ways = if folders == shared && !is_plain { "./".to_owned() } else { "../".repeat(folders - shared) };
    format!("{ways}{rest}")
}

/// Returns the anchor of a capability on a cell's page, of a profile's row in a matrix, and so on: words joined by
/// dots.
pub(super) fn anchor(profile: &str, what: &str) -> String {
    format!("{profile}.{what}")
}

/// Returns a release's name: `debian-13-x86_64`.
pub(super) fn release(id: &CellId) -> String {
    target(id, id.arch.name())
}

/// Returns a cell's name: `debian-13-x86_64-container`.
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

/// Converts a text to a file's name: ordinary words are kept, others get a digest that makes them unique.
pub(super) fn name(text: &str) -> String {
    if is_ordinary(text) { text.to_owned() } else { marked(text, text) }
}

/// Checks whether a text is a plain file name on every system: not hidden, and without characters that differ only in
/// case.
fn is_ordinary(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    text.len() <= LONGEST && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(fits)
}

/// Returns the printable part of a text with a digest of the whole. No ordinary name has a `~`.
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
    fn a_relative_path_names_no_scheme_and_no_host() {
        let from = "pages/cell/debian-13-x86_64-container.html";
        for (to, expected) in [
            ("pages/cell/a~1.html", "a~1.html"),
            ("pages/test/a.html", "../test/a.html"),
            ("13/1/serial.log", "../../13/1/serial.log"),
            ("pages/cell/javascript:alert(1)", "./javascript:alert(1)"),
            ("pages/cell/ data:text/html,x", "./ data:text/html,x"),
            ("pages/cell///host.example/x", ".///host.example/x"),
            (r"pages/cell/\\host.example", r"./\\host.example"),
            ("javascript:alert(1)", "../../javascript:alert(1)"),
        ] {
            assert_eq!(relative(from, to), expected, "{to}");
        }
        assert_eq!(relative("index.html", "javascript:alert(1)"), "./javascript:alert(1)");
        assert_eq!(relative("index.html", "index.html"), "index.html");
    }

    #[test]
    fn ordinary_names_are_used_as_paths() {
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
    fn names_stay_in_their_folder_and_have_distinct_files() {
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
            // The name that a text is converted to belongs to no other text.
            assert!(name == *text || seen.insert(super::name(&name)), "{text:?}: {name}");
        }
    }

    #[test]
    fn cells_with_ambiguous_names_have_distinct_pages() {
        let pairs = [("a-b", "c"), ("a", "b-c"), ("a-", "b"), ("_", "_"), ("a", "B"), ("a", "b")];
        let paths: BTreeSet<String> = pairs.iter().map(|(d, r)| Page::Cell(&id(d, r)).path()).collect();
        assert_eq!(paths.len(), pairs.len(), "{paths:?}");
        assert!(paths.iter().all(|path| !path.contains("..") && path.matches('/').count() == 1), "{paths:?}");
    }
}
