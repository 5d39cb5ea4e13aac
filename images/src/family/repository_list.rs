//! The list of the repositories that packages are fetched from, kept beside their indexes: `core ADDRESS`.

use crate::error::{Context as _, Failure};
use std::path::Path;

/// Name of the list.
const FILE: &str = "repositories";

/// Writes the list of repositories, each an id and an address.
pub(super) fn write<'a>(
    folder: &Path,
    repositories: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), Failure> {
    let path = folder.join(FILE);
    let text: String = repositories.into_iter().map(|(id, address)| format!("{id} {address}\n")).collect();
    std::fs::write(&path, text).context("writing", &path)
}

/// Reads the list of repositories, each with its address.
pub(super) fn read(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let path = folder.join(FILE);
    let text = std::fs::read_to_string(&path).context("reading", &path)?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(id, address)| (id.to_owned(), address.to_owned()))
        .collect())
}
