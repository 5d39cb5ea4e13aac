//! The place of a machine's containerd configuration: Kubernetes distributions ship a containerd of their own.

use super::super::runtime_files::{HandlerError, NAME};
use super::distribution::{self, ContainerdOwner, reader};
use super::imports;
use root::{Root, RootError};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};

/// containerd's default path.
pub(super) const STANDARD: &str = "/etc/containerd/config.toml";

/// The socket of the machine's own containerd.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// One containerd's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerdConfig {
    /// The owner of this containerd.
    pub(super) owner: ContainerdOwner,
    /// The file that containerd reads first, or from which that file is generated.
    pub main: PathBuf,
    /// Path of kata-osinfo's own file, where drop-ins are read.
    pub(super) drop_in: PathBuf,
    /// For a main file that is rebuilt at each start: the remedy if it does not import the drop-in.
    pub(super) rebuilt: Option<String>,
    /// The template from which the main file is rebuilt, if that does not import the drop-in.
    pub(super) template: Option<PathBuf>,
    /// The distribution's own configuration, if that makes [`NAME`] the default handler at the next start.
    pub(super) default: Option<PathBuf>,
    /// Kubernetes distributions that are also installed, and whose containerd does not read this configuration.
    pub passed_over: Vec<String>,
}

/// k0s' mark in the first line of a file that it writes itself; only with such a file it reads `containerd.d`.
const K0S_OWN: &str = "# k0s_managed=true";

impl ContainerdConfig {
    /// Returns whether the configuration is read by the system's own `containerd`.
    pub fn is_standard(&self) -> bool {
        self.owner == ContainerdOwner::Machine
    }

    fn new(root: &Root, owner: ContainerdOwner, main: &Path) -> Result<ContainerdConfig, RootError> {
        let beside = |name: &str| main.with_file_name("").join(name);
        // A file that is not text is reported when it is to be edited.
        let text = root.text_if_any(main)?.unwrap_or_default();
        let (mut template, mut default) = (None, None);
        let (folder, rebuilt) = match owner {
            ContainerdOwner::K3s | ContainerdOwner::Rke2 => {
                let document = text.parse::<DocumentMut>().unwrap_or_default();
                let new = document.get("version").and_then(Item::as_integer).is_some_and(|v| v >= 3);
                let name = if new { "config-v3.toml" } else { "config.toml" };
                let folder = beside(&format!("{name}.d"));
                template = without_import(root, &folder, &imports(&document))?;
                default = distribution::default_runtime(root, owner)?.filter(|(_, named)| named == NAME);
                let owner = owner.name();
                let own = beside(&format!("{name}.tmpl"));
                // A template must produce the whole file, and `imports`, as a top-level key, must stand before its
                // tables.
                let new = match root.has_file(&own)? {
                    true => "",
                    false => {
                        ", which does not exist yet and needs `{{ template \"base\" . }}` after that line, or all other settings are lost"
                    }
                };
                let advice = format!(
                    "{owner} regenerates it at each start: put `imports = [\"{}/*.toml\"]` into {}{new}; then restart {owner}",
                    folder.display(),
                    own.display()
                );
                (folder, Some(advice))
            }
            ContainerdOwner::K0s => {
                let folder = beside("containerd.d");
                let advice = "k0s regenerates it at each start: restart k0s, so that it imports containerd.d";
                let own = text.lines().next() == Some(K0S_OWN);
                (folder, own.then(|| advice.to_owned()))
            }
            ContainerdOwner::Machine | ContainerdOwner::Microk8s => (beside("conf.d"), None),
        };
        let (main, drop_in) = (main.to_owned(), folder.join("50-kata-osinfo.toml"));
        let default = default.map(|(file, _)| file);
        Ok(ContainerdConfig { owner, main, drop_in, rebuilt, template, default, passed_over: Vec::new() })
    }

    /// Returns whether k0s joins the files of `containerd.d` itself, as it does up to 1.35 for its containerd 1.7.
    pub(super) fn joins_drop_ins_itself(&self, imports: &[String]) -> bool {
        let folder = self.drop_in.with_file_name("").display().to_string();
        self.owner == ContainerdOwner::K0s && self.rebuilt.is_some() && !imports.iter().any(|i| i.starts_with(&folder))
    }

    /// Returns a main file that stands for such a distribution's joining.
    pub(super) fn joined(&self) -> String {
        format!("version = 2\nimports = [\"{}\"]\n", self.drop_in.with_file_name("*.toml").display())
    }
}

/// Returns the admin's template for k3s' or RKE2's main file, if it does not import `folder`.
///
/// The template of version 3 takes precedence over the other one (`templateGenerations` in
/// `pkg/agent/containerd/config.go` of k3s); a release that has generated a file of version 2 may know only the other
/// one. Either may include k3s' own template, and with that the current imports of the main file.
fn without_import(root: &Root, folder: &Path, today: &[String]) -> Result<Option<PathBuf>, RootError> {
    let own = folder.with_extension("tmpl");
    for template in [own.clone(), folder.with_file_name("config.toml.tmpl")] {
        let Some(text) = root.text_if_any(&template)? else { continue };
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let has_own = template == own && ["\"base\"", "`base`"].iter().any(|base| text.contains(*base));
        let imports = text.contains(&*name) || today.iter().any(|import| text.contains(import.as_str()));
        return Ok((!has_own && !imports).then_some(template));
    }
    Ok(None)
}

/// Callback for a file that cannot be read or looked for; an error ends the call.
pub(in super::super) type Unread<'a> = dyn FnMut(&Path, RootError) -> Result<(), RootError> + 'a;

/// Returns all containerd configurations on the machine.
///
/// # Errors
///
/// A directory in a path cannot be searched, or a file cannot be read.
pub(super) fn present(root: &Root) -> Result<Vec<ContainerdConfig>, RootError> {
    each(root, &mut |_, error| Err(error))
}

/// Returns all containerd configurations on the machine that can be read.
///
/// # Errors
///
/// The errors of `unread` for the others.
pub(in super::super) fn each(root: &Root, unread: &mut Unread<'_>) -> Result<Vec<ContainerdConfig>, RootError> {
    let mut mains = Vec::new();
    for distribution in distribution::ALL {
        match distribution.main(root) {
            Ok(main) => mains.extend(main.ok().map(|main| (distribution.owner, main))),
            Err(error) => unread(Path::new(distribution.main), error)?,
        }
    }
    mains.push((ContainerdOwner::Machine, PathBuf::from(STANDARD)));
    let mut present = Vec::new();
    for (owner, main) in mains {
        let place = match root.has_file(&main) {
            Ok(true) => ContainerdConfig::new(root, owner, &main),
            Ok(false) => continue,
            Err(error) => Err(error),
        };
        match place {
            Ok(place) => present.push(place),
            Err(error) => unread(&main, error)?,
        }
    }
    Ok(present)
}

/// Returns the named configuration, else the only existing one, else containerd's default.
///
/// # Errors
///
/// The named file does not exist; there are several configurations; a Kubernetes distribution is installed without
/// having written its own, and no other containerd is evidently in use; or a file cannot be read or looked for.
pub fn find_containerd_config(root: &Root, named: Option<&Path>) -> Result<ContainerdConfig, HandlerError> {
    if let Some(main) = named {
        // Only the default file may be missing: containerd uses that path if no other is given.
        if main != Path::new(STANDARD) && !root.has_file(main)? {
            return Err(HandlerError::NoConfig(main.to_owned()));
        }
        return Ok(ContainerdConfig::new(root, reader(root, main)?.unwrap_or(ContainerdOwner::Machine), main)?);
    }
    let mut present = present(root)?;
    if present.len() > 1 {
        return Err(HandlerError::Several(present.into_iter().map(|p| p.main.display().to_string()).collect()));
    }
    let place = match present.pop() {
        Some(place) => place,
        None => ContainerdConfig::new(root, ContainerdOwner::Machine, Path::new(STANDARD))?,
    };
    let mut unstarted = unstarted(root)?;
    if place.is_standard() && !unstarted.is_empty() && !own_is_in_use(root)? {
        let Unstarted { name, sign, why } = unstarted.swap_remove(0);
        return Err(HandlerError::NotStarted { name, sign, why });
    }
    Ok(ContainerdConfig { passed_over: unstarted.iter().map(Unstarted::words).collect(), ..place })
}

/// Returns whether the machine's own containerd is evidently in use.
fn own_is_in_use(root: &Root) -> Result<bool, RootError> {
    if root.look(Path::new(SOCKET))?.is_some() {
        return Ok(true);
    }
    Ok(root.has_file(Path::new(STANDARD))? && root.which("containerd")?.is_some())
}

/// An installed Kubernetes distribution whose containerd configuration does not exist.
struct Unstarted {
    name: &'static str,
    /// The file that shows that the distribution is installed.
    sign: PathBuf,
    /// The missing part, and the remedy.
    why: String,
}

impl Unstarted {
    fn words(&self) -> String {
        let Unstarted { name, sign, .. } = self;
        let sign = sign.display();
        format!(
            "{name} is installed, too ({sign}), and has its own containerd: if that is the one in use, name its configuration with --containerd-config"
        )
    }
}

/// Returns all such distributions.
fn unstarted(root: &Root) -> Result<Vec<Unstarted>, RootError> {
    let mut all = Vec::new();
    for distribution in distribution::ALL {
        let name = distribution.owner.name();
        let why = match distribution.main(root)? {
            Ok(main) if root.has_file(&main)? => continue,
            Ok(main) => {
                format!(
                    "{}, which its containerd reads, does not exist: start {name}, so that it writes that file",
                    main.display()
                )
            }
            Err(why) => why.to_string(),
        };
        all.extend(distribution.sign(root)?.map(|sign| Unstarted { name, sign, why }));
    }
    Ok(all)
}
