//! Tests of installers with the real tools: small repositories, scratch roots, and everything that can go wrong.
//!
//! They need Debian's packages dnf, zypper, pacman-package-manager, makepkg, rpm, createrepo-c, dpkg-dev,
//! libarchive-tools and zstd; without one of them, or without root, a test is ignored.
#![expect(clippy::expect_used, reason = "a test's helpers may fail loudly")]

mod apt;
mod dnf;
mod hostile;
#[path = "../mounts/mod.rs"]
mod mounts;
mod pacman;
mod rpm;
mod scratch;
mod situations;
mod zypper;
