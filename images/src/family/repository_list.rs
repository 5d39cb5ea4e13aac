//! The list of the repositories that packages are fetched from, kept beside their indexes: `core ADDRESS`.

use crate::error::{Context as _, Failure, ImageErrorKind};
use model::release::Archive;
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

/// Returns the address of a repository in a list.
///
/// # Errors
/// If the list lacks it.
pub(super) fn address_of<'l>(list: &'l [(String, String)], repository: &str) -> Result<&'l str, Failure> {
    match list.iter().find(|(id, _)| id == repository) {
        Some((_, address)) => Ok(address),
        None => Err(ImageErrorKind::NoMirror { suite: repository.to_owned(), archive: Archive::Main }.into()),
    }
}
