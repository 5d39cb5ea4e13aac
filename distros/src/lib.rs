//! kata-osinfo: what each distro offers Kata Containers, and what each Kata version demands.

pub mod arch;
pub mod configure;
pub mod database;
pub mod diagnostic;
pub mod fallback;
pub mod fix;
pub mod lint;
pub mod profile;
pub mod record;
pub mod release;
pub mod requirements;
pub mod syntax;
pub mod target;
pub mod verified;
