//! The operator's calls on a machine: which distro is this, what of it is installed, install it, configure Kata for it, and
//! what to fall back to.
//!
//! The calls of `kata-osinfo` answer for the system in a root, `/` or another one.
//! Every file is opened below the root's descriptor by `openat2` (`RESOLVE_IN_ROOT`), so that no link and no rename
//! leads out; what is not a regular file of limited size is refused.
//! Files are written below the descriptor of the folder that was looked at; a path of the root is never opened from
//! outside.
//! Without `openat2`, before Linux 5.6, every call fails and says so.
//!
//! 1. `detect` reads os-release and finds record and release.
//!    Debian's testing and unstable have the same file and are told apart by apt's sources, or both are the answer.
//! 2. Records lie over one another: built in, `/usr/share/kata-osinfo`, `/etc/kata-osinfo`, `KATA_OSINFO_PATH`,
//!    `--records`.
//!    What a higher layer states wins key by key, its defaults also over a lower layer's releases; every value keeps
//!    its file and line.
//! 3. `check` reads the databases of dpkg, pacman, apk and Portage as they are.
//!    RPM's is read by this machine's `rpm`, from a copy, as nobody and in namespaces of its own.
//!    Versions come from there alone: a call that reads runs no program of the root.
//! 4. `install` runs the root's own package manager with the root as its `/`, or this machine's with its option for
//!    another root.
//!    From outside it takes the root's configuration as data, by a list of names, and runs none of its hooks, solvers,
//!    plugins and downloaders.
//!    A dry run asks the root's own package manager as nobody, without a network; what it then does not tell is left
//!    out.
//!    It waits for locks, tells failures apart by what they say in the C locale, and checks afterwards whether the
//!    packages are there.
//!    What the record only assumes is not installed unless that is allowed.

pub mod check;
pub mod configure;
pub mod detect;
pub mod fallback;
#[cfg(feature = "initrd")]
pub mod initrd;
pub mod installer;
pub mod kernel_image;
pub mod os_release;
pub mod packages;
pub mod process;
pub mod requirements;
pub mod standing;
