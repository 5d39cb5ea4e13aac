//! `/etc/os-release`: a system's description of itself.

use root::{Root, RootError};
use std::collections::BTreeMap;
use std::path::Path;

/// Maximum size of os-release, in bytes; real files have some hundreds.
const MAX_BYTES: u64 = 64 * 1024;

/// The assignments of an os-release file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OsRelease {
    values: BTreeMap<String, String>,
}

impl OsRelease {
    /// Reads `/etc/os-release`, or `/usr/lib/os-release` if the former is missing, as os-release(5) requires.
    ///
    /// # Errors
    ///
    /// Fails if the file that is used cannot be read.
    pub fn read(root: &Root) -> Result<OsRelease, RootError> {
        match root.read_text(Path::new("/etc/os-release"), MAX_BYTES) {
            Err(error) if error.is_missing() => {
                Ok(OsRelease::parse(&root.read_text(Path::new("/usr/lib/os-release"), MAX_BYTES)?))
            }
            text => Ok(OsRelease::parse(&text?)),
        }
    }

    /// Parses the assignments of a text; other lines are ignored, and a later assignment wins, as in a shell.
    pub fn parse(text: &str) -> OsRelease {
        let mut values = BTreeMap::new();
        for line in text.trim_start_matches('\u{feff}').lines() {
            let Some((name, value)) = line.trim().split_once('=') else { continue };
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !name.is_empty() && name.chars().all(plain) {
                values.insert(name.to_owned(), unquoted(value));
            }
        }
        OsRelease { values }
    }

    /// Returns a value that is present and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// Returns `ID` in lower case; `linux` if there is none, according to os-release(5).
    pub fn id(&self) -> String {
        self.get("ID").unwrap_or("linux").to_lowercase()
    }

    /// Returns the words of `ID_LIKE` in lower case, the closest relative first.
    pub(crate) fn id_like(&self) -> Vec<String> {
        self.get("ID_LIKE").unwrap_or_default().split_whitespace().map(str::to_lowercase).collect()
    }
}

/// Removes the shell's quotes and escapes from a value, and cuts it at the first blank outside quotes.
fn unquoted(value: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, c) if c.is_whitespace() => break,
            // Within double quotes, a backslash only escapes these characters; otherwise it stands for itself.
            (Some('"'), '\\') => match characters.next() {
                Some(next @ ('"' | '\\' | '$' | '`')) => out.push(next),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            (None, '\\') => out.extend(characters.next()),
            (_, c) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_read_as_by_the_shell() {
        let text = "\u{feff}# comment\r\nID=\"debian\"\r\nNAME='a \"b\"'\nV=\"q\\\"\\$\\`\\\\ \\n\"\nE=a\\ b c\nX=\nno line\nID_LIKE=\"RHEL  centos fedora\"\nbad-name=1\nA=1\nA=2\nH=\"half\n";
        let os = OsRelease::parse(text);
        assert_eq!(os.id(), "debian");
        assert_eq!(os.get("NAME"), Some("a \"b\""));
        assert_eq!(os.get("V"), Some("q\"$`\\ \\n"));
        assert_eq!(os.get("E"), Some("a b"));
        assert_eq!((os.get("X"), os.get("bad-name"), os.get("A")), (None, None, Some("2")));
        assert_eq!(os.id_like(), ["rhel", "centos", "fedora"]);
        assert_eq!(os.get("H"), Some("half"));
        assert_eq!(OsRelease::parse("").id(), "linux");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).{0,400}") {
            let os = OsRelease::parse(&text);
            proptest::prop_assert!(os.values.keys().all(|k| !k.is_empty()));
        }
    }
}
