//! Cloud Hypervisor and Firecracker as Kata drives them: what is started, and what is told over their API.
//!
//! Private and Kata-shaped, like `qemu` beside it, and as little a library for virtual machines.
//! From a [`Profile`](model::profile::Profile) and a [`Guest`](guest::Guest), [`plan`](vmm::plan) makes what Kata's
//! runtime starts and the requests that it sends, in their order; what a test cannot do without and Kata does not have is a
//! [`Deviation`](deviation::Deviation) from a closed list, which stands in the evidence.
//! Processes are the agent's: here nothing is started.
//!
//! Both VMMs take their guest's kernel as an ELF file, have no virtio-serial port for the harness, and give a guest's vsock
//! as a Unix socket. The agent in the guest is therefore reached by that vsock, on a port of its own ([`guest::LINE_PORT`]).

pub mod cloud_hypervisor; // the machine as JSON, in each runtime's form
pub mod deviation; // what differs from Kata's own
pub mod firecracker; // the machine as a file, or as requests
pub mod guest; // what a guest is given, and what a plan of it is
pub mod http; // requests over a Unix socket
pub mod hybrid_vsock; // a guest's vsock as a Unix socket
mod kernel_parameters; // the command lines of guests' kernels
pub mod vmm; // the two of them, each by its module
