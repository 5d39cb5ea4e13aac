//! What each distro offers Kata Containers, what each Kata version demands, and what was verified: types and their YAML.

pub mod arch;
pub mod capability;
pub mod database;
pub mod diagnostic;
pub mod environment;
pub mod fix;
pub mod hex;
pub mod kata_version;
pub mod lint;
pub mod package_manager;
pub mod profile;
pub mod record;
pub mod redact;
pub mod release;
#[cfg(feature = "schema")]
pub mod schema;
mod suggest;
pub mod sync;
pub mod syntax;
pub mod target;
pub mod verified;
