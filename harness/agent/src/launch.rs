//! Guests as their environment sees them: virtiofsd and QEMU started as the profile's runtime starts them, watched
//! until their end.

pub(crate) mod api;
pub mod compose;
pub(crate) mod daemon;
pub mod deadlines;
pub(crate) mod disk_server;
mod ending;
mod growth;
mod late;
pub(crate) mod memory;
mod open_files;
pub(crate) mod paths;
pub mod provided;
mod qemu_process;
pub(crate) mod rehearsal;
pub(crate) mod running;
pub(crate) mod silent_daemon;
pub(crate) mod slots;
pub(crate) mod syslog;
pub mod vhost;
mod virtio_fs;
mod without_root;
