//! [`InsidePath`]: a path as it is written down for a root.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// An absolute path inside a root, or a pattern of such paths with `*`: `/usr/bin/qemu-system-x86_64`,
/// `/boot/vmlinuz-*`.
///
/// It begins with `/`, and has neither a NUL nor a component `..`; a text becomes an `InsidePath` only after that check.
/// It is UTF-8, because it is written down: in records, manifests and configurations.
/// It says nothing about links, which only a [`Root`](crate::Root) follows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct InsidePath(String);

/// Reason why a text is not a path inside a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAnInsidePath {
    /// It does not begin with `/`.
    #[error("the path is not absolute")]
    Relative,
    /// A component is `..`.
    #[error("the path contains `..`")]
    Climbing,
    /// It has a NUL, which no file's name can have.
    #[error("the path contains a NUL")]
    Nul,
    /// It is not UTF-8.
    #[error("the path is not UTF-8")]
    NotText,
}

impl InsidePath {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path, as [`Root`](crate::Root) takes it.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl FromStr for InsidePath {
    type Err = NotAnInsidePath;

    fn from_str(text: &str) -> Result<InsidePath, NotAnInsidePath> {
        if !text.starts_with('/') {
            return Err(NotAnInsidePath::Relative);
        }
        if text.split('/').any(|part| part == "..") {
            return Err(NotAnInsidePath::Climbing);
        }
        if text.contains('\0') {
            return Err(NotAnInsidePath::Nul);
        }
        Ok(InsidePath(text.to_owned()))
    }
}

impl TryFrom<String> for InsidePath {
    type Error = NotAnInsidePath;

    fn try_from(text: String) -> Result<InsidePath, NotAnInsidePath> {
        text.parse()
    }
}

impl TryFrom<&Path> for InsidePath {
    type Error = NotAnInsidePath;

    fn try_from(path: &Path) -> Result<InsidePath, NotAnInsidePath> {
        path.to_str().ok_or(NotAnInsidePath::NotText)?.parse()
    }
}

impl From<InsidePath> for String {
    fn from(path: InsidePath) -> String {
        path.0
    }
}

impl From<InsidePath> for PathBuf {
    fn from(path: InsidePath) -> PathBuf {
        path.0.into()
    }
}

impl AsRef<Path> for InsidePath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

impl fmt::Display for InsidePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl PartialEq<str> for InsidePath {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for InsidePath {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn a_path_inside_a_root_is_absolute_and_never_climbs() {
        for text in ["/", "/usr/bin/qemu", "/boot/vmlinuz-*", "/a..b/..c", "/a b/"] {
            let path: InsidePath = text.parse().unwrap();
            assert_eq!((path.as_str(), path.as_path()), (text, Path::new(text)));
        }
        for (text, error) in [
            ("", NotAnInsidePath::Relative),
            ("usr/bin", NotAnInsidePath::Relative),
            ("../x", NotAnInsidePath::Relative),
            ("/usr/../x", NotAnInsidePath::Climbing),
            ("/..", NotAnInsidePath::Climbing),
            ("/a\0b", NotAnInsidePath::Nul),
        ] {
            assert_eq!(text.parse::<InsidePath>(), Err(error), "{text:?}");
        }
        let not_text = Path::new(OsStr::from_bytes(b"/a\xff"));
        assert_eq!(InsidePath::try_from(not_text), Err(NotAnInsidePath::NotText));
    }
}
