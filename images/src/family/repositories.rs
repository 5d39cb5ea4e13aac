//! The list of a release's repositories that is kept next to the tree, for candidates and disks derived from it:
//! `core ADDRESS`, one per line.

use crate::error::{Context as _, Failure};
use std::path::Path;

/// Name of the list.
const NAME: &str = "repositories";

/// Writes the ids and addresses of repositories into the family's directory next to the tree.
pub(super) fn write<'r>(
    kept: &Path,
    repositories: impl IntoIterator<Item = (&'r str, &'r str)>,
) -> Result<(), Failure> {
    let path = kept.join(NAME);
    let text: String = repositories.into_iter().map(|(id, address)| format!("{id} {address}\n")).collect();
    std::fs::write(&path, text).context("writing", &path)
}

/// Reads the ids and addresses of the repositories.
pub(super) fn read(kept: &Path) -> Result<Vec<(String, String)>, Failure> {
    let path = kept.join(NAME);
    let text = std::fs::read_to_string(&path).context("reading", &path)?;
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs.map(|(id, address)| (id.to_owned(), address.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_list_is_read_again() {
        let kept = tempfile::tempdir().unwrap();
        write(kept.path(), [("core", "https://mirror.example/core"), ("extra", "file:///srv/an extra")]).unwrap();
        let read = read(kept.path()).unwrap();
        let expected = [("core", "https://mirror.example/core"), ("extra", "file:///srv/an extra")];
        assert_eq!(read, expected.map(|(id, address)| (id.to_owned(), address.to_owned())));
    }
}
