//! Where a machine's containerd reads its configuration: the distributions of Kubernetes bring one of their own.

use super::super::runtime_files::HandlerError;
use root::{Root, RootError};
use std::path::{Path, PathBuf};

/// Where containerd itself looks.
pub(super) const STANDARD: &str = "/etc/containerd/config.toml";

/// One containerd's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerdConfig {
    /// Whose it is: `containerd`, `k3s`.
    pub owner: &'static str,
    /// The file that it reads first, or that this is made from.
    pub main: PathBuf,
    /// The file that is ours alone, where drop-ins are read.
    pub(super) drop_in: PathBuf,
    /// The main file is rebuilt at each start: what to do where it does not import our file.
    pub(super) rebuilt: Option<String>,
}

/// k3s and RKE2, k0s, MicroK8s, with the file that tells that they are there.
///
/// `get_containerd_paths` in `tools/packaging/kata-deploy/binary/src/config.rs` and `containerdConfPath` in
/// `helm-chart/kata-deploy/templates/_helpers.tpl` at Kata 4.1.0, and for k0s its own `docs/runtime.md` at 1.36.
const DISTRIBUTIONS: &[(&str, &str)] = &[
    ("k3s", "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"),
    ("rke2", "/var/lib/rancher/rke2/agent/etc/containerd/config.toml"),
    ("k0s", "/etc/k0s/containerd.toml"),
    ("microk8s", "/var/snap/microk8s/current/args/containerd-template.toml"),
];

/// How k0s marks a file that it writes itself; only then it reads `containerd.d`.
const K0S_OWN: &str = "# k0s_managed=true";

impl ContainerdConfig {
    /// Whether it is containerd's own, so that the `containerd` of the system is the one that reads it.
    pub fn is_standard(&self) -> bool {
        self.owner == "containerd"
    }

    fn new(root: &Root, main: &Path) -> Result<ContainerdConfig, RootError> {
        let owner = DISTRIBUTIONS.iter().find(|(_, path)| Path::new(path) == main).map_or("containerd", |(o, _)| o);
        let beside = |name: &str| main.with_file_name("").join(name);
        // That it is no text is told where it is to be edited.
        let text = root.text_if_any(main)?.unwrap_or_default();
        let (folder, rebuilt) = match owner {
            "k3s" | "rke2" => {
                let new = text
                    .parse::<toml_edit::DocumentMut>()
                    .is_ok_and(|d| d.get("version").and_then(toml_edit::Item::as_integer).is_some_and(|v| v >= 3));
                let name = if new { "config-v3.toml" } else { "config.toml" };
                let folder = beside(&format!("{name}.d"));
                let advice = format!(
                    "{owner} rebuilds it at each start: have `imports = [\"{}/*.toml\"]` in {}, and restart {owner}",
                    folder.display(),
                    beside(&format!("{name}.tmpl")).display()
                );
                (folder, Some(advice))
            }
            "k0s" => {
                let folder = beside("containerd.d");
                let advice = "k0s rebuilds it at each start: restart k0s, so that it imports containerd.d";
                let own = text.lines().next() == Some(K0S_OWN);
                (folder, own.then(|| advice.to_owned()))
            }
            _ => (beside("conf.d"), None),
        };
        Ok(ContainerdConfig { owner, main: main.to_owned(), drop_in: folder.join("50-kata-osinfo.toml"), rebuilt })
    }

    /// Up to 1.35 k0s joins the files of `containerd.d` itself, for the containerd 1.7 that it brings.
    pub(super) fn joins_drop_ins_itself(&self, imports: &[String]) -> bool {
        let folder = self.drop_in.with_file_name("").display().to_string();
        self.owner == "k0s" && self.rebuilt.is_some() && !imports.iter().any(|i| i.starts_with(&folder))
    }

    /// A main file that says what such a distribution makes of its own.
    pub(super) fn joined(&self) -> String {
        format!("version = 2\nimports = [\"{}\"]\n", self.drop_in.with_file_name("*.toml").display())
    }
}

/// All that are there.
///
/// # Errors
///
/// That a folder on the way to one cannot be looked into, or the file cannot be read.
pub(super) fn present(root: &Root) -> Result<Vec<ContainerdConfig>, RootError> {
    let mut present = Vec::new();
    for main in DISTRIBUTIONS.iter().map(|(_, main)| *main).chain([STANDARD]).map(Path::new) {
        if root.has_file(main)? {
            present.push(ContainerdConfig::new(root, main)?);
        }
    }
    Ok(present)
}

/// The one that is named, else the one that is there, else containerd's own.
///
/// # Errors
///
/// That the named one is not there, that there are several, or that one cannot be read or looked for.
pub fn find_containerd_config(root: &Root, named: Option<&Path>) -> Result<ContainerdConfig, HandlerError> {
    if let Some(main) = named {
        // This one alone may be missing: containerd looks for it where it is told of none.
        if main != Path::new(STANDARD) && !root.has_file(main)? {
            return Err(HandlerError::NoConfig(main.to_owned()));
        }
        return Ok(ContainerdConfig::new(root, main)?);
    }
    let mut present = present(root)?;
    match present.len() {
        0 => Ok(ContainerdConfig::new(root, Path::new(STANDARD))?),
        1 => Ok(present.remove(0)),
        _ => Err(HandlerError::Several(present.into_iter().map(|p| p.main.display().to_string()).collect())),
    }
}
