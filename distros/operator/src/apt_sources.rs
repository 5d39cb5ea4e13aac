//! Reads apt's sources, in both formats of sources.list(5), as apt reads them.

use crate::deb822;
use root::{MAX_CONFIGURATION, Root, RootError};
use std::path::{Path, PathBuf};

/// One enabled source of binary packages: an archive and one of its suites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebSource {
    /// The archive's address: `http://mirror.example/debian`, `cdrom:[…]/`, `mirror+file:/etc/apt/mirrors/x.list`.
    pub uri: String,
    /// The suite, with its pocket: `trixie-security`.
    pub suite: String,
    /// The components: `main`; none if the suite is a path.
    pub components: Vec<String>,
}

/// Suffixes of suites that belong to another one: `trixie-updates`, `buster/updates`.
const POCKETS: [&str; 6] = ["-updates", "-security", "/updates", "-proposed-updates", "-backports", "-debug"];

impl DebSource {
    /// Returns the suite without its pocket: `trixie` for `trixie-security`.
    pub fn release(&self) -> &str {
        POCKETS.iter().find_map(|pocket| self.suite.strip_suffix(pocket)).unwrap_or(&self.suite)
    }
}

/// Format of a file with sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    OneLine,
    Deb822,
}

impl Style {
    /// Returns the format by the file's extension; apt ignores files with other extensions.
    fn of(file: &Path) -> Option<Style> {
        match file.extension()?.to_str()? {
            "list" => Some(Style::OneLine),
            "sources" => Some(Style::Deb822),
            _ => None,
        }
    }
}

/// Returns all enabled sources of a root, in apt's order.
///
/// # Errors
///
/// Fails if a file exists and cannot be read.
pub fn enabled(root: &Root) -> Result<Vec<DebSource>, RootError> {
    let mut all = Vec::new();
    for file in files(root)? {
        all.extend(of_file(root, &file)?);
    }
    Ok(all)
}

/// Returns the files that apt reads, in its order; the first one may be missing.
///
/// # Errors
///
/// Fails if the directory with the other files exists and cannot be listed.
pub fn files(root: &Root) -> Result<Vec<PathBuf>, RootError> {
    let folder = Path::new("/etc/apt/sources.list.d");
    let names = root.list_if_any(folder)?;
    let parts = names.iter().map(|name| folder.join(name)).filter(|file| Style::of(file).is_some());
    Ok([PathBuf::from("/etc/apt/sources.list")].into_iter().chain(parts).collect())
}

/// Returns the enabled sources in a file; none if it does not exist.
///
/// # Errors
///
/// Fails if the file exists and cannot be read.
pub fn of_file(root: &Root, file: &Path) -> Result<Vec<DebSource>, RootError> {
    let text = match root.read_text(file, MAX_CONFIGURATION) {
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        text => text?,
    };
    Ok(match Style::of(file) {
        Some(Style::OneLine) => of_list(&text),
        Some(Style::Deb822) => of_stanzas(&text),
        None => Vec::new(),
    })
}

/// Parses the lines of a `sources.list`: `deb [arch=amd64 signed-by=/x] http://… trixie main`.
pub fn of_list(text: &str) -> Vec<DebSource> {
    let source = |line: &str| {
        let words = words(line);
        let (uri, suite, components) = match words.as_slice() {
            ["deb", options, uri, suite, components @ ..] if options.starts_with('[') => {
                options.ends_with(']').then_some((uri, suite, components))?
            }
            ["deb", uri, suite, components @ ..] => (uri, suite, components),
            _ => return None,
        };
        let components = components.iter().map(|word| (*word).to_owned()).collect();
        Some(DebSource { uri: (*uri).to_owned(), suite: (*suite).to_owned(), components })
    };
    text.lines().filter_map(source).collect()
}

/// Splits a line into words, up to a comment. Blanks and `#` between brackets are part of a word:
/// `cdrom:[Debian GNU/Linux 12]/`.
fn words(line: &str) -> Vec<&str> {
    let mut is_outside = outside_brackets();
    let end = line.find(|c| is_outside(c) && c == '#').unwrap_or(line.len());
    let mut is_outside = outside_brackets();
    line[..end].split(|c| is_outside(c) && c.is_whitespace()).filter(|word| !word.is_empty()).collect()
}

/// Returns a function that is called with each character of a line, and tells whether it is outside of brackets.
fn outside_brackets() -> impl FnMut(char) -> bool {
    let mut is_within = false;
    move |c| {
        is_within = (is_within || c == '[') && c != ']';
        !is_within
    }
}

/// Parses stanzas with `Types: deb`, `URIs`, `Suites: trixie trixie-updates` and `Components`, except disabled ones.
fn of_stanzas(text: &str) -> Vec<DebSource> {
    let mut all = Vec::new();
    for stanza in deb822::stanzas(text) {
        let words = |name: &str| stanza.field(name).into_iter().flat_map(|field| field.words());
        let is_disabled = matches!(words("Enabled").collect::<Vec<_>>().as_slice(), [word] if is_no(word));
        if is_disabled || !words("Types").any(|word| word == "deb") {
            continue;
        }
        for uri in words("URIs") {
            all.extend(words("Suites").map(|suite| DebSource {
                uri: uri.to_owned(),
                suite: suite.to_owned(),
                components: words("Components").map(str::to_owned).collect(),
            }));
        }
    }
    all
}

/// Checks whether apt takes a word for "no"; it takes any other word for the default, which is "yes" here
/// (`StringToBool` in `apt-pkg/contrib/strutl.cc` of apt 2.6).
fn is_no(word: &str) -> bool {
    ["no", "false", "without", "off", "disable", "0"].iter().any(|no| word.eq_ignore_ascii_case(no))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(found: &[DebSource]) -> Vec<&str> {
        found.iter().map(|source| source.suite.as_str()).collect()
    }

    /// apt 2.6.1 reads these lines in the same way, except that it refuses a whole file with an unknown line.
    #[test]
    fn lines_of_one_source_are_read() {
        let text = "# deb http://x jessie main\ndeb-src http://x woody main\n\
            \x20 deb [arch=amd64 signed-by=/k] http://x/d  trixie main contrib# c\n\
            deb\thttp://x trixie-security main\ndebx http://x etch main\ndeb broken\ndeb [ never closed\n\
            deb[arch=amd64] http://x sarge main\ndeb [arch=amd64]http://x hamm main\n\
            deb cdrom:[Debian GNU/Linux 12 #1]/ bookworm main\ndeb [ trusted=no ] http://x ./\n";
        let found = of_list(text);
        assert_eq!(suites(&found), ["trixie", "trixie-security", "bookworm", "./"]);
        assert_eq!(found[1].release(), "trixie");
        assert_eq!(of_list("deb http://x buster/updates main")[0].release(), "buster");
        assert_eq!(
            (found[0].uri.as_str(), &found[0].components[..]),
            ("http://x/d", &["main", "contrib"].map(String::from)[..])
        );
        assert_eq!(found[2].uri, "cdrom:[Debian GNU/Linux 12 #1]/");
        assert!(found[3].components.is_empty());
    }

    /// As apt 2.6.1 reads them.
    #[test]
    fn stanzas_are_read() {
        let text = "Types: deb deb-src\nURIs: http://x\nSuites: sid\n experimental\n# comment\nComponents: main\n\n\
            Types: deb-src\nURIs: http://x\nSuites: etch\n\nenabled: no\ntypes: deb\nuris: http://x\nsuites: woody\n";
        assert_eq!(suites(&of_stanzas(text)), ["sid", "experimental"]);
        for (enabled, expected) in [
            ("no", 0),
            ("No", 0),
            ("0", 0),
            ("off", 0),
            ("FALSE", 0),
            ("without", 0),
            ("disable", 0),
            ("\n no", 0),
            ("yes", 1),
            ("1", 1),
            ("no yes", 1),
            ("maybe", 1),
            ("", 1),
        ] {
            let text = format!("Types: deb\nURIs: http://x\nSuites: sid\nComponents: main\nEnabled: {enabled}\n");
            assert_eq!(of_stanzas(&text).len(), expected, "{enabled}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "(?s)(deb |\\[|Types: deb\n|Suites:|\n\n|.){0,40}") {
            of_list(&text);
            of_stanzas(&text);
        }
    }
}
