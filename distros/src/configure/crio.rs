//! CRI-O's handler.

use super::Problem;
use super::change::{Change, State, original};
use super::containerd::Replaced;
use super::merged::{line_of, table_of};
use super::runtime_files::{HandlerError, NAME};
use crate::root::Root;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml_edit::{Document, Item};

/// CRI-O reads this directory after its configuration, in the order of names.
const FOLDER: &str = "/etc/crio/crio.conf.d";
const FILE: &str = "50-kata-osinfo.conf";

/// A handler that was written, to be looked for when everything is read again.
#[derive(Debug, Clone)]
pub(super) struct Written {
    path: PathBuf,
    handler: Value,
}

/// The drop-in that makes Kata a handler of CRI-O.
///
/// The keys are those that Kata's own installer writes (`tools/packaging/kata-deploy/binary/src/runtime/crio.rs@4.1.0`).
///
/// # Errors
///
/// That the file was changed since this program wrote it.
pub(super) fn crio(
    root: &Root,
    state: Option<&State>,
    shim: &Path,
    config: &Path,
) -> Result<(Vec<Change>, Written), HandlerError> {
    let handler = json!({
        "runtime_path": shim.display().to_string(),
        "runtime_type": "vm",
        "runtime_root": "/run/vc",
        "runtime_config_path": config.display().to_string(),
        "privileged_without_host_devices": true,
    });
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
    let path = root.resolve_new(&Path::new(FOLDER).join(FILE))?;
    let change = Change { before: original(root, state, &path)?, path: path.clone(), after };
    Ok((vec![change], Written { path, handler }))
}

impl Written {
    /// A later file's handler of the same name, which takes the place of ours, unless it says the same.
    pub(super) fn problems(&self, root: &Root, replaced: &Replaced) -> Vec<Problem> {
        let folder = Path::new(FOLDER);
        let names: BTreeSet<String> = root.list(folder).unwrap_or_default().into_iter().collect();
        let later = names.iter().filter(|n| n.as_str() > FILE).map(|n| folder.join(n));
        let mut problems = Vec::new();
        for path in later.filter(|p| *p != self.path && !replaced.contains_key(p)) {
            let Ok(text) = root.utf8(&path) else { continue };
            let Ok(document) = Document::parse(text.as_str()) else { continue };
            let handler = ["crio", "runtime", "runtimes", NAME].iter();
            let Some(item) = handler.clone().try_fold(document.as_item(), |item, key| item.get(key)) else { continue };
            let Some(theirs) = item.as_table_like().map(table_of) else { continue };
            let differs = |key: &&&str| theirs.get(**key) != self.handler.get(**key);
            let Some(key) = ["runtime_path", "runtime_type", "runtime_config_path"].iter().find(differs) else {
                continue;
            };
            let span = item.get(key).and_then(Item::span).or_else(|| item.span());
            let of = |value: &Value| value.get(*key).map_or_else(|| "not set".to_owned(), Value::to_string);
            let message = format!("handler {NAME}: {key} is {}, wanted {}", of(&theirs), of(&self.handler));
            problems.push(Problem { line: span.map(|s| line_of(&text, s.start)), file: path, message });
        }
        problems
    }
}
