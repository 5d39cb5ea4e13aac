//! kata-osinfo's own directory for a copy of Kata's configuration, if the shipped one shares its drop-ins with other
//! handlers.
//!
//! Kata's static release has the configurations of all VMMs in one directory, and every runtime merges all of its
//! `config.d`: a `[hypervisor.qemu]` there gives Go's Cloud Hypervisor a second VMM, and a random one of the two is
//! used (`updateRuntimeConfigHypervisor` in `src/runtime/pkg/katautils/config.go@3.30.0` iterates over a map).
//! kata-deploy therefore copies each configuration to its own directory (`setup_runtime_directory` in
//! `tools/packaging/kata-deploy/binary/src/artifacts/install.rs@4.1.0`).

use super::keys::is_blank;
use super::locate::{Sibling, first_place, siblings};
use super::located::LocatedConfiguration;
use super::{KataConfiguration, copy};
use model::profile::Runtime;
use root::{Root, RootError};
use std::path::PathBuf;

/// Paths of the copies that only kata-osinfo's handler names: the Go runtime's and the Rust runtime's.
pub(super) const OWN: [&str; 2] = [
    "/etc/kata-containers/kata-osinfo/configuration-qemu.toml",
    "/etc/kata-containers/kata-osinfo/runtime-rs/configuration-qemu.toml",
];

/// Directories of the copies, the outermost first.
pub(super) const FOLDERS: [&str; 4] = [
    "/etc/kata-containers/kata-osinfo",
    "/etc/kata-containers/kata-osinfo/config.d",
    "/etc/kata-containers/kata-osinfo/runtime-rs",
    "/etc/kata-containers/kata-osinfo/runtime-rs/config.d",
];

/// Returns the path of the copy that only kata-osinfo's handler names.
pub(super) fn named(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Go => OWN[0],
        Runtime::Rs => OWN[1],
    }
}

/// Returns the place for the copy: a directory that only kata-osinfo's handler names, or the runtime's first search
/// path.
///
/// `None` if neither would be read, or if the place holds files of others.
pub(super) fn place(
    root: &Root,
    located: &LocatedConfiguration,
    configuration: &KataConfiguration,
    handler: bool,
) -> Result<Option<LocatedConfiguration>, RootError> {
    let (runtime, kata) = (configuration.runtime, configuration.kata);
    let named = match (handler, located.searched) {
        (true, _) => PathBuf::from(named(runtime)),
        (false, true) => first_place(runtime).to_owned(),
        (false, false) => return Ok(None),
    };
    let path = root.resolve_new(&named)?;
    let free = match root.utf8_if_any(&path)? {
        Some(text) => copy::source(&text).is_some() || is_blank(&text),
        None => true,
    };
    let own = LocatedConfiguration {
        named,
        path,
        by: "a copy of its own".to_owned(),
        others: Vec::new(),
        searched: !handler,
    };
    let alone =
        own.path.parent() != located.path.parent() && siblings(root, &own, runtime, kata)?.iter().all(|s| s.alike);
    Ok((free && alone).then_some(own))
}

/// Returns the configurations that must not get kata-osinfo's drop-in.
pub(super) fn unlike(siblings: &[Sibling]) -> Vec<String> {
    siblings.iter().filter(|s| !s.alike).map(|s| s.path.display().to_string()).collect()
}
