//! The operator's calls on a machine: which distro is this, what of it is installed, install it, configure Kata for it, and
//! what to fall back to.

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
