//! Sources of an image's base tree.

use serde::{Deserialize, Serialize};

/// Source of the base tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BaseSource {
    /// Bootstrap if the distro's tool is installed and a mirror is known, or else OCI.
    #[default]
    Auto,
    /// The tool of the distro's family, such as apt's `mmdebstrap`.
    Bootstrap,
    /// The record's OCI image, through Docker.
    Oci,
    /// A vendor's cloud image, which [`Options::base`](crate::Options::base) reads; without that option the same as
    /// [`BaseSource::Auto`].
    Cloud,
    /// An OCI image as files, which [`Options::base`](crate::Options::base) reads, too.
    OciImage,
}

impl BaseSource {
    /// Returns the name for people.
    pub fn name(self) -> &'static str {
        match self {
            BaseSource::Auto => "auto",
            BaseSource::Bootstrap => "bootstrap",
            BaseSource::Oci => "oci",
            BaseSource::Cloud => "cloud",
            BaseSource::OciImage => "oci-image",
        }
    }

    /// Returns a description in words.
    pub fn title(self) -> &'static str {
        match self {
            BaseSource::Auto => "bootstrap or OCI image",
            BaseSource::Bootstrap => "bootstrap",
            BaseSource::Oci => "OCI image of its registry",
            BaseSource::Cloud => "cloud image",
            BaseSource::OciImage => "OCI image",
        }
    }
}
