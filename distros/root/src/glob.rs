//! Finds files by a pattern.

use crate::error::RootError;
use crate::root::{Root, parts};
use std::path::{Path, PathBuf};

impl Root {
    /// Returns the files that match a pattern with `*` in its components, sorted, as paths inside the root.
    ///
    /// # Errors
    ///
    /// Fails if a directory exists and cannot be searched.
    pub fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, RootError> {
        let mut found = vec![PathBuf::from("/")];
        for part in parts(Path::new(pattern)) {
            let Some(part) = part.to_str().map(str::to_owned) else { return Ok(Vec::new()) };
            let mut next = Vec::new();
            for folder in &found {
                if !part.contains('*') {
                    next.push(folder.join(&part));
                    continue;
                }
                // A file may be found where the pattern expects a directory.
                let names = self.list_if_any(folder)?;
                next.extend(names.iter().filter(|n| matches(&part, n)).map(|n| folder.join(n)));
            }
            found = next;
        }
        let mut existing = Vec::new();
        for path in found {
            if self.look(&path)?.is_some() {
                existing.push(path);
            }
        }
        Ok(existing)
    }
}

/// Checks whether `name` matches a pattern in which `*` is any text; a leading dot must be spelled out.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
