//! kata-osinfo: what each distro offers Kata Containers, and what each Kata version demands.

pub mod arch;
pub mod capability;
pub mod check;
pub mod configure;
pub mod database;
pub mod detect;
pub mod diagnostic;
pub mod environment;
pub mod fallback;
pub mod fix;
pub mod hex;
#[cfg(feature = "cli")]
pub mod initrd;
pub mod installer;
pub mod kernel_image;
pub mod lint;
pub mod os_release;
pub mod package_manager;
pub mod packages;
pub mod process;
pub mod profile;
pub mod record;
pub mod redact;
pub mod release;
pub mod requirements;
pub mod root;
#[cfg(feature = "cli")]
pub mod schema;
mod suggest;
pub mod sync;
pub mod syntax;
pub mod target;
pub mod verified;
