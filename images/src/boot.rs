//! What a guest boots from a release's tree: its kernel, that kernel's modules, an initramfs.

mod configuration;
pub mod initramfs;
pub mod initrd;
pub mod kernel;
pub mod modules;
pub mod vmlinux;
