//! Where a release's base tree comes from, before its packages are installed.
//!
//! Bootstrapping is the business of the release's family: `family/apt/bootstrap.rs` for Debian and Ubuntu.

pub(crate) mod archive;
pub mod cloud;
pub(crate) mod oci;
pub mod qcow2;

pub use crate::error::BaseError;
pub use cloud::{Archive, Base, Task};
