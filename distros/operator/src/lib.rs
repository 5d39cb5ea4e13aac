//! The operator's calls on a machine: detect the distro, check and install its components, configure Kata for it, and
//! find fallbacks.
//!
//! The calls of `kata-osinfo` describe the system in a root, `/` or another one. Every file is opened below the root's
//! descriptor by `openat2` (`RESOLVE_IN_ROOT`), so that no link and no rename leads out; only regular files of limited
//! size are read. Files are written below the descriptor of the directory that was checked; a path of the root is never
//! opened from outside. Without `openat2`, before Linux 5.6, every call fails and says so. Records are layered: built
//! in, `/usr/share/kata-osinfo`, `/etc/kata-osinfo`, `KATA_OSINFO_PATH`, `--records`. Higher layers win key by key, and
//! their defaults also win over a lower layer's releases; every value keeps its file and line.

// The calls.
pub mod check;
pub mod configure;
pub mod detect;
pub mod fallback;
pub mod installer;
pub mod requirements;
pub mod standing;

// The parts of a machine that the calls inspect.
pub mod apt_sources;
pub mod deb822;
#[cfg(feature = "initrd")]
pub mod initrd;
pub mod kernel_image;
pub mod os_release;
pub mod packages;

// Running programs.
pub mod process;
