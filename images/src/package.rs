//! Packages named on the command line, or by a family.

use model::package::PackageName;
use std::fmt;
use std::path::PathBuf;

/// A package to install in addition to the record's; the families' rules decide how its text is read.
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
