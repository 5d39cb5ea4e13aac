//! The agent: our static binary inside an environment and inside its guests.
//!
//! One binary, its role by how it is started: PID 1 of a guest, a child of an environment's container, VM or host, or the
//! probe inside a test's container.
//! The harness links this library for the protocol and the client.

pub mod client;
pub mod compose;
pub mod containers;
pub mod daemon;
pub mod disk;
pub mod ending;
pub mod environment;
pub mod fact;
pub mod frame;
pub mod guest;
pub mod home;
pub mod kvm;
pub mod launch;
pub mod limits;
pub mod log;
pub mod memory;
pub mod native;
pub mod oops;
pub mod probe;
pub mod process;
pub mod protocol;
pub mod provided;
pub mod rehearsal;
mod root;
pub mod server;
pub mod slots;
pub mod syslog;
pub mod vhost;
pub mod waiting;
