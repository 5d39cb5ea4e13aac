//! A copy of one of Kata's configurations: how it begins, and what it is a copy of.

use std::path::{Path, PathBuf};

/// How a copy begins; what it was copied from follows, up to the end of the line.
const HEAD: &str = "# `kata-osinfo unconfigure` removes this file, a copy for drop-ins of its own of ";

/// Lines of that head.
pub(super) const HEAD_LINES: usize = 1;

/// The text of a copy.
pub(super) fn text(from: &Path, text: &str) -> String {
    format!("{HEAD}{}\n{text}", from.display())
}

/// What a text is a copy of, where it is one of ours.
pub(super) fn source(text: &str) -> Option<PathBuf> {
    let path = text.lines().next()?.strip_prefix(HEAD)?;
    path.starts_with('/').then(|| PathBuf::from(path))
}
