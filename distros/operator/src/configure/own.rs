//! A folder of our own for Kata's configuration, where the shipped one's drop-ins are other handlers' too.
//!
//! Kata's static release has the configurations of all VMMs in one folder, and every runtime merges all of its
//! `config.d`: a `[hypervisor.qemu]` there gives Go's Cloud Hypervisor a second VMM, of which a random one is taken
//! (`updateRuntimeConfigHypervisor` in `src/runtime/pkg/katautils/config.go@3.30.0` goes over a map).
//! kata-deploy copies each configuration to a folder of its own for that (`setup_runtime_directory` in
//! `tools/packaging/kata-deploy/binary/src/artifacts/install.rs@4.1.0`).

use super::keys::is_blank;
use super::locate::{Sibling, first_place, siblings};
use super::located::LocatedConfiguration;
use super::{KataConfiguration, copy};
use model::profile::Runtime;
use root::{Root, RootError};
use std::path::PathBuf;

/// The copies that only our handler names: the Go runtime's and the Rust one's.
pub(super) const OWN: [&str; 2] = [
    "/etc/kata-containers/kata-osinfo/configuration-qemu.toml",
    "/etc/kata-containers/kata-osinfo/runtime-rs/configuration-qemu.toml",
];

/// Their folders, the outermost first.
pub(super) const FOLDERS: [&str; 4] = [
    "/etc/kata-containers/kata-osinfo",
    "/etc/kata-containers/kata-osinfo/config.d",
    "/etc/kata-containers/kata-osinfo/runtime-rs",
    "/etc/kata-containers/kata-osinfo/runtime-rs/config.d",
];

/// The copy that only a handler of ours names.
pub(super) fn named(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Go => OWN[0],
        Runtime::Rs => OWN[1],
    }
}

/// Where the copy goes: to a folder that only our handler names, else to where the runtime looks first.
///
/// `None` where neither would be read, or where others lie there too.
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

/// The names of those whose drop-ins must not be ours.
pub(super) fn unlike(siblings: &[Sibling]) -> Vec<String> {
    siblings.iter().filter(|s| !s.alike).map(|s| s.path.display().to_string()).collect()
}
