//! Boot files of a guest from a release's tree: the kernel, its modules, an initramfs.

mod configuration;
pub mod initramfs;
pub mod initrd;
pub mod kernel;
pub mod modules;
pub mod vmlinux;
