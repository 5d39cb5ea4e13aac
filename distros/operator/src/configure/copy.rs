//! Copies of Kata's configurations, and the line that marks them.

use std::path::{Path, PathBuf};

/// Beginning of a copy; the path of its source follows, up to the end of the line.
const HEAD: &str = "# `kata-osinfo unconfigure` removes this file, a copy for drop-ins of its own of ";

/// Number of lines of that head.
pub(super) const HEAD_LINES: usize = 1;

/// Returns the text of a copy.
pub(super) fn text(from: &Path, text: &str) -> String {
    format!("{HEAD}{}\n{text}", from.display())
}

/// Returns the source of a copy, if the text is one.
pub(super) fn source(text: &str) -> Option<PathBuf> {
    let path = text.lines().next()?.strip_prefix(HEAD)?;
    path.starts_with('/').then(|| PathBuf::from(path))
}
