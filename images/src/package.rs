//! Packages that are named on the command line, or by a family.

use std::fmt;
use std::path::PathBuf;

/// The name of a package, checked by the rules of a family, which alone makes one: names become arguments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageName(String);

impl PackageName {
    /// For families: a name that they have checked.
    pub(crate) fn new(checked: &str) -> PackageName {
        PackageName(checked.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A package to install besides the record's: read from text by the families' rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExtraPackage {
    /// A name in the release's suites.
    Name(PackageName),
    /// A local file, such as a `.deb`.
    File(PathBuf),
}

impl fmt::Display for ExtraPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtraPackage::Name(name) => f.write_str(name.as_str()),
            ExtraPackage::File(path) => write!(f, "{}", path.display()),
        }
    }
}
