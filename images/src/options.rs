//! What the caller may choose, and what it is told while an image is made.

use crate::base::Base;
use crate::error::{Cause, Phase};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Where the base tree comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Bootstrap where the distro's tool is installed, else OCI.
    #[default]
    Auto,
    /// The distro family's own tool, `mmdebstrap` for Debian and Ubuntu.
    Bootstrap,
    /// The record's OCI image, through Docker.
    Oci,
    /// A vendor's cloud image, which [`Options::base`] reads; without one as [`Source::Auto`].
    Cloud,
}

impl Source {
    /// The word shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Source::Auto => "auto",
            Source::Bootstrap => "bootstrap",
            Source::Oci => "oci",
            Source::Cloud => "cloud",
        }
    }
}

/// How an image is to be prepared.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cache folder; images lie in `images/` below it.
    pub cache: PathBuf,
    /// Where the base comes from.
    pub source: Source,
    /// What the caller reads the base from, in the place of `source`.
    pub base: Option<Arc<dyn Base>>,
    /// The main archive, instead of the one that the machine's apt uses.
    pub mirror: Option<String>,
    /// The security archive, instead of the one that the machine's apt uses.
    pub security_mirror: Option<String>,
    /// Packages laid over the release: candidates under test.
    pub extra_packages: Vec<ExtraPackage>,
    /// A folder laid over the tree like an OCI layer.
    pub overlay: Option<PathBuf>,
    /// No network at all: the newest cached image.
    pub offline: bool,
    /// Accept a mirror whose signed index is past its `Valid-Until`; recorded.
    pub accept_expired: bool,
    /// Set by the caller to stop everything that runs.
    pub cancel: Arc<AtomicBool>,
    /// The longest that one call may take.
    pub deadline: Duration,
}

impl Options {
    /// The defaults: automatic source, the machine's mirror, half an hour.
    pub fn new(cache: impl Into<PathBuf>) -> Options {
        Options {
            cache: cache.into(),
            source: Source::Auto,
            base: None,
            mirror: None,
            security_mirror: None,
            extra_packages: Vec::new(),
            overlay: None,
            offline: false,
            accept_expired: false,
            cancel: Arc::new(AtomicBool::new(false)),
            deadline: Duration::from_secs(1800),
        }
    }
}

/// A package to install besides the record's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtraPackage {
    /// A name in the release's suites.
    Name(String),
    /// A local `.deb` file.
    File(PathBuf),
}

impl FromStr for ExtraPackage {
    type Err = Cause;

    /// `./qemu-system-x86_9.0_amd64.deb` is a file, anything else must be a valid package name.
    fn from_str(text: &str) -> Result<ExtraPackage, Cause> {
        if text.ends_with(".deb") {
            let path = PathBuf::from(text);
            return if path.is_file() { Ok(ExtraPackage::File(path)) } else { Err(bad(text, "no such file")) };
        }
        if valid_name(text) {
            Ok(ExtraPackage::Name(text.to_owned()))
        } else {
            Err(bad(text, "expected a Debian package name (lower-case letters, digits, `+`, `.`, `-`) or a .deb file"))
        }
    }
}

impl fmt::Display for ExtraPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtraPackage::Name(name) => f.write_str(name),
            ExtraPackage::File(path) => write!(f, "{}", path.display()),
        }
    }
}

fn bad(name: &str, reason: &str) -> Cause {
    Cause::BadPackage { name: name.to_owned(), reason: reason.to_owned() }
}

/// Debian policy 5.6.7: at least two characters, lower-case letters, digits, `+`, `-`, `.`, starting with an alphanumeric.
pub(crate) fn valid_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        && name.len() >= 2
        // `name-` means "remove" to apt-get.
        && !name.ends_with('-')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b))
}

/// What is being done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// `debian:13`.
    pub release: String,
    /// The phase.
    pub phase: Phase,
    /// The latest line of the command that runs, mirrors redacted; nothing when a phase starts.
    pub detail: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_names_are_checked() {
        for good in ["qemu-system-x86", "libstdc++6", "0ad", "g++"] {
            assert!(good.parse::<ExtraPackage>().is_ok(), "{good}");
        }
        for wrong in ["", "x", "-o", "Qemu", "a b", "a;b", "a/b", "a=1", "qemu-", "../x.deb"] {
            let parsed = wrong.parse::<ExtraPackage>();
            assert!(matches!(parsed, Err(Cause::BadPackage { .. })), "{wrong}");
        }
    }
}
