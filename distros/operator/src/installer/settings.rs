//! Settings for an installer that works on another root: the root's, read as data, and kata-osinfo's that replace them.

use crate::process::sandbox::{SETTINGS, ScratchFiles};
use root::Root;
use std::io;
use std::path::{Path, PathBuf};

/// Maximum size of a configuration file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads section, key and value of each line; a key without `=` has an empty value. Returns nothing if there is no such
/// file.
///
/// Values are single printable lines, so that none can turn into another setting when written again.
///
/// # Errors
///
/// Fails if the file exists and cannot be read: without its settings, signatures might not be checked.
pub fn ini(root: &Root, path: &Path) -> io::Result<Vec<(String, String, String)>> {
    let text = match root.read_text(path, MAX_BYTES) {
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        text => text.map_err(io::Error::other)?,
    };
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines() {
        // A line that begins with blanks continues a value in dnf's format; no key in the lists of data needs that.
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
    Ok(found)
}

/// Returns the settings of the section `main` whose keys are data, each on a line with `separator` before its value.
pub(super) fn main_section(
    root: &Root,
    path: &Path,
    is_data: impl Fn(&str) -> bool,
    separator: &str,
) -> io::Result<String> {
    let settings = ini(root, path)?;
    let data = settings.iter().filter(|(section, key, _)| section == "main" && is_data(key));
    Ok(data.map(|(_, key, value)| format!("{key}{separator}{value}\n")).collect())
}

/// kata-osinfo's own settings, which are kept in the sandbox's memory and end with it, and the variables that point to
/// them.
///
/// A configuration can name commands: hooks, solvers, plugins, downloaders. Of the root's, only known keys with data
/// are copied here.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnSettings {
    pub(super) files: ScratchFiles,
    pub(super) env: Vec<(String, String)>,
}

impl OwnSettings {
    /// Adds a file.
    pub(super) fn and(mut self, name: &str, text: &str) -> OwnSettings {
        self.files.0.push((PathBuf::from(name), text.to_owned()));
        self
    }

    /// Adds a variable that points to a file.
    pub(super) fn named_by(mut self, variable: &str, name: &str) -> OwnSettings {
        self.env.push((variable.to_owned(), path_inside(name)));
        self
    }
}

/// Returns the path of a settings file as a program in the sandbox sees it.
pub(super) fn path_inside(name: &str) -> String {
    Path::new(SETTINGS).join(name).display().to_string()
}

/// Sets the path of RPM's database in the root, because Debian's rpm would make one in its user's home.
pub(super) fn rpm_database(root: &Root) -> io::Result<OwnSettings> {
    let folder = crate::packages::rpm_folder(root).map_err(io::Error::other)?;
    let folder = folder.unwrap_or_else(|| PathBuf::from("/var/lib/rpm"));
    let own = OwnSettings::default().and(".rpmmacros", &format!("%_dbpath {}\n", folder.display()));
    Ok(own.named_by("HOME", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "[main]\n# no\na = b=c\nd\n  e=f\ng=h\u{b}i\n[two]\nj=\n").unwrap();
        let root = Root::new(dir.path()).unwrap();
        let found = ini(&root, Path::new("/x")).unwrap();
        let found: Vec<[&str; 3]> = found.iter().map(|(s, k, v)| [s.as_str(), k, v]).collect();
        assert_eq!(found, [["main", "a", "b=c"], ["main", "d", ""], ["two", "j", ""]]);
        assert!(ini(&root, Path::new("/none")).unwrap().is_empty());
    }

    #[test]
    fn settings_that_cannot_be_read_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        std::fs::File::create(dir.path().join("huge")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let root = Root::new(dir.path()).unwrap();
        for name in ["/folder", "/huge"] {
            let error = ini(&root, Path::new(name)).unwrap_err().to_string();
            assert!(error.contains(&name[1..]), "{error}");
        }
    }
}
