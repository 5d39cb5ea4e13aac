//! Reads the suites named in apt's sources, in both formats of sources.list(5).

use root::{Root, RootError};
use std::collections::BTreeSet;
use std::path::Path;

/// Maximum size of a sources file, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// Suffixes of suites that belong to another one: `trixie-updates`, `buster/updates`.
const POCKETS: [&str; 6] = ["-updates", "-security", "/updates", "-proposed-updates", "-backports", "-debug"];

/// Returns every enabled suite, without its pocket: `trixie` for `trixie-security`.
///
/// # Errors
///
/// Fails if a file exists and cannot be read.
pub(super) fn suites(root: &Root) -> Result<BTreeSet<String>, RootError> {
    let mut suites = BTreeSet::new();
    let mut files = vec![Path::new("/etc/apt/sources.list").to_owned()];
    let folder = Path::new("/etc/apt/sources.list.d");
    files.extend(root.list(folder)?.into_iter().map(|name| folder.join(name)));
    for file in files {
        let read: fn(&str) -> Vec<String> = match file.extension().and_then(|e| e.to_str()) {
            Some("list") => one_line,
            Some("sources") => deb822,
            _ => continue,
        };
        match root.read_text(&file, MAX_BYTES) {
            Ok(text) => suites.extend(read(&text).iter().map(|s| without_pocket(s).to_owned())),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(suites)
}

/// Parses lines like `deb [arch=amd64 signed-by=/x] http://… trixie main`.
fn one_line(text: &str) -> Vec<String> {
    let suite = |line: &str| {
        let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
        let rest = rest.strip_prefix(char::is_whitespace)?.trim_start();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        rest.split_whitespace().nth(1).map(str::to_owned)
    };
    text.lines().filter_map(suite).collect()
}

/// Parses stanzas with `Types: deb` and `Suites: trixie trixie-updates`, unless `Enabled: no`.
fn deb822(text: &str) -> Vec<String> {
    let text: String = text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{}\n", l.trim_end())).collect();
    let mut suites = Vec::new();
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            let mut words: Vec<&str> = Vec::new();
            let mut inside = false;
            for line in stanza.lines() {
                if !line.starts_with([' ', '\t']) {
                    let (key, value) = line.split_once(':').unwrap_or_default();
                    inside = key.eq_ignore_ascii_case(name);
                    words.extend(value.split_whitespace().filter(|_| inside));
                } else if inside {
                    words.extend(line.split_whitespace());
                }
            }
            words
        };
        let off = field("Enabled").iter().any(|w| ["no", "false", "off", "0", "without", "disable"].contains(w));
        if field("Types").contains(&"deb") && !off {
            suites.extend(field("Suites").into_iter().map(str::to_owned));
        }
    }
    suites
}

fn without_pocket(suite: &str) -> &str {
    POCKETS.iter().find_map(|p| suite.strip_suffix(p)).unwrap_or(suite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_and_deb822_sources_are_read() {
        let text = "# deb http://x jessie main\ndeb-src http://x woody main\n  deb [arch=amd64 signed-by=/k] http://x/d  trixie main # c\ndeb\thttp://x trixie-security main\ndebx http://x etch main\ndeb broken\ndeb [ never closed\n";
        assert_eq!(one_line(text), ["trixie", "trixie-security"]);
        let text = "Types: deb deb-src\nURIs: http://x\nSuites: sid\n experimental\n# comment\nComponents: main\n\nTypes: deb-src\nSuites: etch\n\nenabled: no\ntypes: deb\nsuites: woody\n";
        assert_eq!(deb822(text), ["sid", "experimental"]);
        assert_eq!(without_pocket("buster/updates"), "buster");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "(?s)(deb |\\[|Types: deb\n|Suites:|\n\n|.){0,40}") {
            one_line(&text);
            deb822(&text);
        }
    }
}
