//! Guests as their environment sees them: virtiofsd and QEMU started as the profile's runtime starts them, watched until
//! their end.

pub mod compose;
pub mod daemon;
pub mod deadlines;
pub mod ending;
pub mod kernel_log;
pub mod memory;
pub mod paths;
pub mod provided;
pub mod qemu_process;
pub mod rehearsal;
pub mod running;
pub mod silent_daemon;
pub mod slots;
pub mod syslog;
pub mod vhost;
