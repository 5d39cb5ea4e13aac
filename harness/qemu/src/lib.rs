//! QEMU and virtiofsd as Kata drives them, and QMP.
//!
//! Private and Kata-shaped: it knows the argument lists of Kata's two runtimes with an `initrd`, and nothing
//! else of virtual machines. From a [`Profile`](model::profile::Profile) and a [`Sandbox`](sandbox::Sandbox),
//! [`argv::launch`] makes exactly what Kata would pass; whatever an environment takes away is a
//! [`Deviation`](deviation::Deviation) from a closed list, applied afterwards ([`apply`]) and kept in the record.
//!
//! # From a profile to arguments
//!
//! Arguments are code, two generators (`argv::go`, `argv::rs`), because nesting and descriptors make a poor template
//! language.
//! `argv::launch` makes exactly what Kata would pass, vsock and network included.
//! What the environment lacks is then applied as deviations: accelerator, CPU model, no vsock, no network, one more
//! virtio-serial port for the harness, an initramfs beside an image, a disk in the place of a device that is passed
//! through, a serial log, virtiofsd's sandbox as a chroot, no file handles for it, and, for their own capabilities only, xattrs and ACLs switched on.
//! Each one stands in the evidence.
//!
//! Every launch has a normalised form, in which ids, paths, descriptors and the host's size are placeholders.
//! Two profiles of the same runtime whose normalised arguments for QEMU and virtiofsd are equal are one configuration.
//!
//! Each profile has golden arguments in the tests, which cite Kata's file and tag.
//! Arguments of a real Kata that differ from them are an error of ours that shows both sides: Kata prints its arguments
//! itself.
//!
//! In a virtual machine the guest's kernel logs only warnings to its serial line (`loglevel=5`).
//! Each byte there is an exit through two hypervisors, and the first third of the log alone took 7 of the 23 s of a
//! boot.
//! Oopses and panics still arrive; once a guest has not come up, the next ones of that machine log everything.
//! The serial log goes over a socket and not into a file, so that its reader can cut a flood short.

pub mod apply;
pub mod argv;
pub mod deviation;
pub mod launch;
pub mod qmp;
pub mod sandbox;
pub mod virtiofsd;
