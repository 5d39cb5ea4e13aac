//! apk's list of what is installed: one letter a field, a blank line between packages.

use super::{Entry, MAX_BYTES, without_version};
use root::{Root, RootError};
use std::path::Path;

const INSTALLED: &str = "/lib/apk/db/installed";

pub(super) fn entries(root: &Root) -> Result<Vec<Entry>, RootError> {
    let text = root.read_text(Path::new(INSTALLED), MAX_BYTES)?;
    let mut entries = Vec::new();
    let mut entry = Entry::default();
    for line in text.lines().chain([""]) {
        match line.split_once(':') {
            Some(("P", name)) => entry.name = name.to_owned(),
            Some(("V", version)) => entry.version = version.to_owned(),
            Some(("p", list)) => {
                entry.provides = list.split_whitespace().map(|p| without_version(p).to_owned()).collect();
            }
            _ if line.is_empty() && !entry.name.is_empty() => entries.push(std::mem::take(&mut entry)),
            _ => {}
        }
    }
    Ok(entries)
}

pub(super) fn owner(root: &Root, paths: &[String]) -> Result<Option<String>, RootError> {
    let text = root.read_text(Path::new(INSTALLED), MAX_BYTES)?;
    let (mut package, mut folder) = ("", "");
    for line in text.lines() {
        match line.split_once(':') {
            Some(("P", name)) => package = name,
            Some(("F", name)) => folder = name,
            Some(("R", name)) if paths.iter().any(|p| *p == format!("/{folder}/{name}")) => {
                return Ok(Some(package.to_owned()));
            }
            _ => {}
        }
    }
    Ok(None)
}
