//! Sources of a release's base tree, before its packages are installed.
//!
//! Bootstrapping is done by the code of the release's family: `family/apt/bootstrap.rs` for Debian and Ubuntu.

pub(crate) mod archive;
pub mod from_files;
mod layers;
pub(crate) mod oci;
pub mod oci_image;
pub mod qcow2;
mod system;

pub use crate::error::BaseError;
pub use from_files::{BaseContent, BaseProvider, BaseTask, ReadBase};
pub use system::{WrongSystem, accept};
