//! dpkg's `status` and file lists.

use super::{Entry, MAX_BYTES, without_version};
use crate::root::{Root, RootError};
use std::path::Path;

const STATUS: &str = "/var/lib/dpkg/status";
const INFO: &str = "/var/lib/dpkg/info";

/// Packages whose state is `installed`; of what was removed the configuration is still listed.
pub(super) fn entries(root: &Root) -> Result<Vec<Entry>, RootError> {
    let mut text = root.read_text(Path::new(STATUS), MAX_BYTES)?;
    // Distroless images have one file a package instead.
    for name in root.list(Path::new("/var/lib/dpkg/status.d"))?.iter().filter(|n| !n.ends_with(".md5sums")) {
        text += "\n\n";
        text += &root.read_text(&Path::new("/var/lib/dpkg/status.d").join(name), MAX_BYTES)?;
    }
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut entry = Entry::default();
    let mut installed = true;
    for line in text.lines().chain([""]) {
        if line.is_empty() {
            let whole = std::mem::take(&mut entry);
            if installed && !whole.name.is_empty() {
                entries.push(whole);
            }
            installed = true;
            continue;
        }
        match line.split_once(": ") {
            Some(("Package", name)) => entry.name = name.trim().to_owned(),
            Some(("Version", version)) => entry.version = version.trim().to_owned(),
            Some(("Status", status)) => installed = status.split_whitespace().last() == Some("installed"),
            Some(("Provides", list)) => {
                entry.provides = list.split(',').map(|p| without_version(p.trim()).to_owned()).collect();
            }
            _ => {}
        }
    }
    entries
}

/// The name of the package whose list has one of the paths.
pub(super) fn owner(root: &Root, paths: &[String]) -> Result<Option<String>, RootError> {
    let wanted: Vec<&[u8]> = paths.iter().map(String::as_bytes).collect();
    for file in root.list(Path::new(INFO))? {
        let Some(package) = file.strip_suffix(".list") else { continue };
        let bytes = root.read(&Path::new(INFO).join(&file), MAX_BYTES)?;
        if bytes.split(|b| *b == b'\n').any(|line| wanted.contains(&line)) {
            // `libc6:amd64`.
            return Ok(Some(package.split(':').next().unwrap_or(package).to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_installed_counts() {
        let text = "Package: a\nStatus: install ok installed\nVersion: 1:2\nProvides: b (= 1), c,\n d\nDescription: x\n y: z\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\nStatus: install ok half-installed\n";
        let entries = parse(text);
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!((entries[0].name.as_str(), entries[0].version.as_str()), ("a", "1:2"));
        assert_eq!(entries[0].provides[..2], ["b", "c"]);
    }
}
