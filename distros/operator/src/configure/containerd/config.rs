//! Where a machine's containerd reads its configuration: the distributions of Kubernetes bring one of their own.

use super::super::runtime_files::{HandlerError, NAME};
use super::distribution::{self, ContainerdOwner, reader};
use super::imports;
use root::{Root, RootError};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};

/// Where containerd itself looks.
pub(super) const STANDARD: &str = "/etc/containerd/config.toml";

/// Where a containerd of the machine's own is spoken with.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// One containerd's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerdConfig {
    /// Whose it is.
    pub(super) owner: ContainerdOwner,
    /// The file that it reads first, or that this is made from.
    pub main: PathBuf,
    /// The file that is ours alone, where drop-ins are read.
    pub(super) drop_in: PathBuf,
    /// The main file is rebuilt at each start: what to do where it does not import our file.
    pub(super) rebuilt: Option<String>,
    /// What the main file is rebuilt from, where that does not import our file.
    pub(super) template: Option<PathBuf>,
    /// The distribution's own configuration, where that makes ours the default handler with the next start.
    pub(super) default: Option<PathBuf>,
    /// Distributions of Kubernetes that are there, too, and whose containerd does not read it.
    pub passed_over: Vec<String>,
}

/// How k0s marks a file that it writes itself; only then it reads `containerd.d`.
const K0S_OWN: &str = "# k0s_managed=true";

impl ContainerdConfig {
    /// Whether it is containerd's own, so that the `containerd` of the system is the one that reads it.
    pub fn is_standard(&self) -> bool {
        self.owner == ContainerdOwner::Machine
    }

    fn new(root: &Root, owner: ContainerdOwner, main: &Path) -> Result<ContainerdConfig, RootError> {
        let beside = |name: &str| main.with_file_name("").join(name);
        // That it is no text is told where it is to be edited.
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
                // From a template alone it makes the whole, and the key of the file stands before the tables.
                let new = match root.has_file(&own)? {
                    true => "",
                    false => {
                        ", which is not there yet: behind that line it needs `{{ template \"base\" . }}`, or all else is missing"
                    }
                };
                let advice = format!(
                    "{owner} rebuilds it at each start: have `imports = [\"{}/*.toml\"]` in {}{new}, and restart {owner}",
                    folder.display(),
                    own.display()
                );
                (folder, Some(advice))
            }
            ContainerdOwner::K0s => {
                let folder = beside("containerd.d");
                let advice = "k0s rebuilds it at each start: restart k0s, so that it imports containerd.d";
                let own = text.lines().next() == Some(K0S_OWN);
                (folder, own.then(|| advice.to_owned()))
            }
            ContainerdOwner::Machine | ContainerdOwner::Microk8s => (beside("conf.d"), None),
        };
        let (main, drop_in) = (main.to_owned(), folder.join("50-kata-osinfo.toml"));
        let default = default.map(|(file, _)| file);
        Ok(ContainerdConfig { owner, main, drop_in, rebuilt, template, default, passed_over: Vec::new() })
    }

    /// Up to 1.35 k0s joins the files of `containerd.d` itself, for the containerd 1.7 that it brings.
    pub(super) fn joins_drop_ins_itself(&self, imports: &[String]) -> bool {
        let folder = self.drop_in.with_file_name("").display().to_string();
        self.owner == ContainerdOwner::K0s && self.rebuilt.is_some() && !imports.iter().any(|i| i.starts_with(&folder))
    }

    /// A main file that says what such a distribution makes of its own.
    pub(super) fn joined(&self) -> String {
        format!("version = 2\nimports = [\"{}\"]\n", self.drop_in.with_file_name("*.toml").display())
    }
}

/// The admin's template that k3s or RKE2 makes its main file from, where it has no import of `folder`.
///
/// The one of version 3 counts before the other one (`templateGenerations` in `pkg/agent/containerd/config.go` of k3s);
/// a release that has made a file of version 2 may know the other one alone. Either may have k3s' own template in it,
/// and with that what the main file imports today.
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

/// What is done about a file that cannot be read or looked for: an error ends the call.
pub(in super::super) type Unread<'a> = dyn FnMut(&Path, RootError) -> Result<(), RootError> + 'a;

/// All that are there.
///
/// # Errors
///
/// That a folder on the way to one cannot be looked into, or the file cannot be read.
pub(super) fn present(root: &Root) -> Result<Vec<ContainerdConfig>, RootError> {
    each(root, &mut |_, error| Err(error))
}

/// All that are there and can be read.
///
/// # Errors
///
/// What `unread` makes of the others.
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

/// The one that is named, else the one that is there, else containerd's own.
///
/// # Errors
///
/// That the named one is not there, that there are several, that a distribution of Kubernetes is there, has not written
/// its own yet, and no other containerd is evidently in use, or that one cannot be read or looked for.
pub fn find_containerd_config(root: &Root, named: Option<&Path>) -> Result<ContainerdConfig, HandlerError> {
    if let Some(main) = named {
        // This one alone may be missing: containerd looks for it where it is told of none.
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

/// Whether a containerd of the machine's own is evidently in use.
fn own_is_in_use(root: &Root) -> Result<bool, RootError> {
    if root.look(Path::new(SOCKET))?.is_some() {
        return Ok(true);
    }
    Ok(root.has_file(Path::new(STANDARD))? && root.which("containerd")?.is_some())
}

/// A distribution of Kubernetes that is there without what its containerd reads.
struct Unstarted {
    name: &'static str,
    /// What tells that it is there.
    sign: PathBuf,
    /// What is missing, and what to do.
    why: String,
}

impl Unstarted {
    fn words(&self) -> String {
        let Unstarted { name, sign, .. } = self;
        let sign = sign.display();
        format!(
            "{name} is here, too ({sign}), and has a containerd of its own: name what that reads with --containerd-config if it is the one in use"
        )
    }
}

/// All of these.
fn unstarted(root: &Root) -> Result<Vec<Unstarted>, RootError> {
    let mut all = Vec::new();
    for distribution in distribution::ALL {
        let name = distribution.owner.name();
        let why = match distribution.main(root)? {
            Ok(main) if root.has_file(&main)? => continue,
            Ok(main) => {
                format!("{}, which its containerd reads, is not: start {name}, so that it writes it", main.display())
            }
            Err(why) => why.to_string(),
        };
        all.extend(distribution.sign(root)?.map(|sign| Unstarted { name, sign, why }));
    }
    Ok(all)
}
