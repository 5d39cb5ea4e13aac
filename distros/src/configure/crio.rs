//! CRI-O's handler.

use super::change::{Change, State, original};
use super::runtime_files::{HandlerError, NAME};
use crate::root::Root;
use std::path::Path;

/// CRI-O reads this directory after its configuration, in the order of names.
const FILE: &str = "/etc/crio/crio.conf.d/50-kata-osinfo.conf";

/// The drop-in that makes Kata a handler of CRI-O.
///
/// The keys are those that Kata's own installer writes (`tools/packaging/kata-deploy/binary/src/runtime/crio.rs@4.1.0`).
///
/// # Errors
///
/// That the file was changed since this program wrote it.
pub fn crio(root: &Root, state: Option<&State>, shim: &Path, config: &Path) -> Result<Vec<Change>, HandlerError> {
    let quoted = |path: &Path| toml_edit::Value::from(path.display().to_string()).to_string();
    let after = format!(
        "# Written by kata-osinfo; `kata-osinfo unconfigure` removes it.\n\
         [crio.runtime.runtimes.{NAME}]\n\
         runtime_path = {}\n\
         runtime_type = \"vm\"\n\
         runtime_root = \"/run/vc\"\n\
         runtime_config_path = {}\n\
         privileged_without_host_devices = true\n",
        quoted(shim),
        quoted(config)
    );
    let path = root.resolve_new(Path::new(FILE))?;
    Ok(vec![Change { before: original(root, state, &path)?, path, after }])
}
