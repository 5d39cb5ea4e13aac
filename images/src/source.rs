//! Where the base tree of an image comes from.

use serde::{Deserialize, Serialize};

/// Where the base tree comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Bootstrap where the distro's tool is installed and a mirror is known, else OCI.
    #[default]
    Auto,
    /// The own tool of the distro's family, `mmdebstrap` where that is apt's.
    Bootstrap,
    /// The record's OCI image, through Docker.
    Oci,
    /// A vendor's cloud image, which [`Options::base`](crate::Options::base) reads; without one as [`Source::Auto`].
    Cloud,
    /// An OCI image as files, likewise.
    OciImage,
}

impl Source {
    /// The word shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Source::Auto => "auto",
            Source::Bootstrap => "bootstrap",
            Source::Oci => "oci",
            Source::Cloud => "cloud",
            Source::OciImage => "oci-image",
        }
    }

    /// What it is, in words.
    pub fn title(self) -> &'static str {
        match self {
            Source::Auto => "bootstrap or OCI image",
            Source::Bootstrap => "bootstrap",
            Source::Oci => "OCI image of its registry",
            Source::Cloud => "cloud image",
            Source::OciImage => "OCI image",
        }
    }
}
