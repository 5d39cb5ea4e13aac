//! QEMU and virtiofsd as Kata drives them, and QMP.
//!
//! Private and Kata-shaped: it knows the argument lists of Kata's two runtimes for x86_64 with an `initrd`, and nothing
//! else of virtual machines. From a [`Profile`](model::profile::Profile) and a [`Sandbox`](sandbox::Sandbox),
//! [`argv::launch`] makes exactly what Kata would pass; whatever an environment takes away is a
//! [`Deviation`](deviation::Deviation) from a closed list, applied afterwards ([`apply`]) and kept in the record.

pub mod apply;
pub mod argv;
pub mod deviation;
pub mod launch;
pub mod qmp;
pub mod sandbox;
pub mod virtiofsd;
