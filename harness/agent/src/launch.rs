//! Guests as their environment sees them: virtiofsd and QEMU started as the profile's runtime starts them, watched until
//! their end.

pub mod compose;
pub(crate) mod daemon;
pub mod deadlines;
mod ending;
pub mod kernel_log;
mod late;
pub(crate) mod memory;
pub(crate) mod paths;
pub mod provided;
mod qemu_process;
pub(crate) mod rehearsal;
pub(crate) mod running;
pub(crate) mod silent_daemon;
pub(crate) mod slots;
pub(crate) mod syslog;
pub(crate) mod vhost;
mod virtio_fs;
