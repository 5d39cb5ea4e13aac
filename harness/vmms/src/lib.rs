//! Cloud Hypervisor and Firecracker as Kata drives them: their processes and the requests to their APIs.
//!
//! Private and specific to Kata like the crate `qemu`, and no library for virtual machines in general.
//! From a [`Profile`](model::profile::Profile) and a [`Guest`](guest::Guest), [`plan`](vmm::plan) makes the command
//! line and the requests of Kata's runtime, in their order. Anything that a test needs and Kata does not have is a
//! [`OtherVmmDeviation`](deviation::OtherVmmDeviation) from a closed list, which is in the evidence.
//! This crate starts nothing: processes belong to the agent.
//!
//! Both VMMs take their guest's kernel as an ELF file, have no virtio-serial port for the harness, and offer a guest's
//! vsock as a Unix socket. The harness therefore reaches the agent in the guest over this vsock, on a port of its own
//! ([`guest::LINE_PORT`]).
//!
//! # Words
//!
//! - Launch plan ([`LaunchPlan`](guest::LaunchPlan)): what is started for a guest, and what is sent to it, in order.
//! - Hybrid vsock ([`hybrid_vsock`]): a guest's vsock as a Unix socket of its VMM, without a vhost driver.
//! - ELF kernel: the kernel unpacked from a distro's image (vmlinux).
//! - PVH: where an ELF kernel says that a guest without firmware starts.
//! - Waiting drive: an empty drive of a Firecracker guest that gets its file while the guest runs, in place of hotplug.

pub mod cloud_hypervisor; // the machine as JSON, in the form of each runtime
pub mod deviation; // deviations from Kata's own configuration
pub mod firecracker; // the machine as a file, or as requests
pub mod guest; // a guest, and the plan to start it
pub mod http; // requests over a Unix socket
pub mod hybrid_vsock; // a guest's vsock as a Unix socket
mod kernel_parameters; // the command lines of guests' kernels
pub mod vmm; // both VMMs, dispatched to their modules
