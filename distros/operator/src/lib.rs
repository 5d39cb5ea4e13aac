//! The operator's calls on a machine: which distro is this, what of it is installed, install it, configure Kata for it, and
//! what to fall back to.
//!
//! The calls of `kata-osinfo` answer for the system in a root, `/` or another one.
//! Every file is opened below the root's descriptor by `openat2` (`RESOLVE_IN_ROOT`), so that no link and no rename
//! leads out; what is not a regular file of limited size is refused.
//! Files are written below the descriptor of the folder that was looked at; a path of the root is never opened from
//! outside.
//! Without `openat2`, before Linux 5.6, every call fails and says so.
//! Records lie over one another: built in, `/usr/share/kata-osinfo`, `/etc/kata-osinfo`, `KATA_OSINFO_PATH`, `--records`.
//! What a higher layer states wins key by key, its defaults also over a lower layer's releases; every value keeps its
//! file and line.

// The calls.
pub mod check;
pub mod configure;
pub mod detect;
pub mod fallback;
pub mod installer;
pub mod requirements;
pub mod standing;

// What they look at.
#[cfg(feature = "initrd")]
pub mod initrd;
pub mod kernel_image;
pub mod os_release;
pub mod packages;

// How a program is run.
pub mod process;
