//! A root's configuration, read as data.

use root::Root;
use std::path::Path;

/// Bytes of a configuration file that are read.
const MAX_BYTES: u64 = 1 << 20;

/// Section, key and value of each line; a key by itself has an empty value. Nothing where there is no such file.
///
/// Values are one line each and printable, so that none becomes another setting where it is written again.
pub(super) fn ini(root: &Root, path: &Path) -> Vec<(String, String, String)> {
    let text = root.read_text(path, MAX_BYTES).unwrap_or_default();
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        // A line that begins with blanks continues a value of dnf's; none of the data has such.
        let line = line.trim_end();
        if line.is_empty() || line.starts_with(['#', ';', ' ', '\t']) || line.chars().any(char::is_control) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        found.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "[main]\n# no\na = b=c\nd\n  e=f\ng=h\u{b}i\n[two]\nj=\n").unwrap();
        let root = Root::new(dir.path()).unwrap();
        let found = ini(&root, Path::new("/x"));
        let found: Vec<[&str; 3]> = found.iter().map(|(s, k, v)| [s.as_str(), k, v]).collect();
        assert_eq!(found, [["main", "a", "b=c"], ["main", "d", ""], ["two", "j", ""]]);
        assert!(ini(&root, Path::new("/none")).is_empty());
    }
}
