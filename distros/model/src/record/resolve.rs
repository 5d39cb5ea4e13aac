//! A release on one architecture, with the record's defaults applied.

use super::ComponentKind;
use super::{CommonFields, ComponentEntry, Confidence, Fact, PerArch, Record, ReleaseEntry, known};
use crate::arch::Arch;
use crate::component::ComponentName;
use crate::distro::{DistroId, Target};
use crate::package::PackageName;
use crate::package_manager::PackageManager;
use crate::release::{ContainerManager, FilesystemDriver, Kernel, Release, Vmm};
use crate::suggest::{did_you_mean, nearest};
use root::InsidePath;

/// Reasons why a record has no such release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No release goes by that name.
    #[error("unknown release `{name}` of {distro}: known are {known}{}", did_you_mean(.nearest))]
    UnknownRelease {
        /// The distro.
        distro: DistroId,
        /// The requested name.
        name: String,
        /// Versions and codenames, for the message.
        known: String,
        /// The most similar known name.
        nearest: Option<String>,
    },
    /// The release does not exist for the architecture.
    #[error("{release} is not known on {arch}: its architectures are {known}")]
    NoArch {
        /// `debian:13`.
        release: Target,
        /// The requested architecture.
        arch: Arch,
        /// The release's architectures.
        known: String,
    },
}

/// The container manager whose entry is Docker's engine.
const DOCKER: &str = "docker";

impl Record {
    /// The release of that version, codename or alias.
    pub fn find_release(&self, name: impl AsRef<str>) -> Option<&ReleaseEntry> {
        let name = name.as_ref();
        // A version outranks an alias that another release has by mistake.
        let by_version = self.releases.iter().find(|r| r.version == name);
        by_version.or_else(|| self.releases.iter().find(|r| r.names().contains(&name)))
    }

    /// Like [`Record::find_release`], with an error that lists the known names.
    ///
    /// # Errors
    ///
    /// [`ResolveError::UnknownRelease`].
    pub fn require_release(&self, name: impl AsRef<str>) -> Result<&ReleaseEntry, ResolveError> {
        let name = name.as_ref();
        self.find_release(name).ok_or_else(|| ResolveError::UnknownRelease {
            distro: self.distro.clone(),
            name: name.to_owned(),
            known: self
                .releases
                .iter()
                .map(|r| match &r.codename {
                    Some(codename) => format!("{} ({codename})", r.version),
                    None => r.version.to_string(),
                })
                .collect::<Vec<_>>()
                .join(", "),
            nearest: nearest(name, self.releases.iter().flat_map(ReleaseEntry::names)).map(str::to_owned),
        })
    }

    /// Returns the package manager of a release.
    pub fn manager_of(&self, release: &ReleaseEntry) -> PackageManager {
        release.package_manager.unwrap_or(self.package_manager)
    }

    /// Returns, in words, the origin of Kata's parts in a release that does not package them.
    pub fn parts_from(&self, release: &ReleaseEntry) -> Option<String> {
        known(&self.parts(release).parts_from).cloned()
    }

    /// Returns the architectures of a release.
    pub fn release_arches<'r>(&'r self, release: &'r ReleaseEntry) -> &'r [Arch] {
        release.arches.as_deref().unwrap_or(&self.arches)
    }

    /// Returns the record's statements about a release on one architecture.
    ///
    /// Components whose packages or path are unknown there are left out.
    ///
    /// # Errors
    ///
    /// If there is no such release, or not for that architecture.
    pub fn release(&self, name: impl AsRef<str>, arch: Arch) -> Result<Release, ResolveError> {
        let entry = self.require_release(name)?;
        let arches = self.release_arches(entry);
        if !arches.contains(&arch) {
            let known: Vec<&str> = arches.iter().map(|a| a.name()).collect();
            return Err(ResolveError::NoArch { release: self.target(entry), arch, known: known.join(", ") });
        }
        let parts = self.parts(entry);
        let filesystems = known(&parts.filesystems).cloned().unwrap_or_default();
        let manager = |c: &ComponentEntry| {
            Some(ContainerManager { name: c.name.clone(), packages: packages(c, arch)?, path: path(c, arch)? })
        };
        let managers: Vec<ContainerManager> =
            listed(&parts, ComponentKind::ContainerManager).iter().filter_map(manager).collect();
        // A package whose files nobody has looked up may have no firmware in it.
        let firmware = listed(&parts, ComponentKind::Firmware)
            .first()
            .filter(|c| path(c, arch).is_some())
            .and_then(|c| packages(c, arch))
            .unwrap_or_default();
        Ok(Release {
            distro: self.distro.clone(),
            version: entry.version.clone(),
            codename: entry.codename.clone(),
            aliases: entry.aliases.clone(),
            based_on: entry.based_on.clone(),
            arch,
            package_manager: self.manager_of(entry),
            module_platform: entry.module_platform.clone(),
            suites: known(&parts.suites).cloned().unwrap_or_default(),
            repositories: known(&parts.repositories).cloned().unwrap_or_default(),
            modules: known(&parts.modules).cloned().unwrap_or_default(),
            oci_image: known(&parts.image).cloned(),
            image_lacks: known(&parts.image_lacks).cloned(),
            vmms: known(&parts.vmms)
                .into_iter()
                .flatten()
                .filter_map(|c| Some(Vmm { name: c.name.clone(), packages: packages(c, arch)?, path: path(c, arch)? }))
                .collect(),
            filesystems: preferred_first(filesystems, &parts.preferred_filesystem)
                .iter()
                .filter_map(|c| {
                    // A stated path must be known; a driver without a daemon states none.
                    let path = match &c.path {
                        Some(_) => Some(path(c, arch)?),
                        None => None,
                    };
                    Some(FilesystemDriver { name: c.name.clone(), packages: packages(c, arch)?, path })
                })
                .collect(),
            kernel: known(&parts.kernel)
                .and_then(|c| Some(Kernel { packages: packages(c, arch)?, image: path(c, arch)? })),
            container_manager: managers.first().cloned(),
            docker: managers.into_iter().find(|manager| manager.name == DOCKER),
            firmware,
        })
    }

    /// Returns a release's components, by kind in the requested order, the preferred filesystem first.
    pub fn components(
        &self,
        release: &ReleaseEntry,
        arch: Arch,
        kinds: &[ComponentKind],
    ) -> Vec<(ComponentKind, ComponentName)> {
        let parts = self.parts(release);
        let names = |list: &[ComponentEntry]| list.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        let of = |kind: ComponentKind| match kind {
            ComponentKind::Vmm => names(known(&parts.vmms).map_or(&[], Vec::as_slice)),
            ComponentKind::Fs => {
                let drivers = known(&parts.filesystems).cloned().unwrap_or_default();
                names(&preferred_first(drivers, &parts.preferred_filesystem))
            }
            ComponentKind::Kernel => known(&parts.kernel).map(|c| c.name.clone()).into_iter().collect(),
            kind => names(listed(&parts, kind)),
        };
        if !self.release_arches(release).contains(&arch) {
            return Vec::new();
        }
        kinds.iter().flat_map(|kind| of(*kind).into_iter().map(|name| (*kind, name))).collect()
    }

    /// Whether a component is stated for other architectures only, so that it is not packaged for this one.
    pub fn is_elsewhere(&self, release: &ReleaseEntry, arch: Arch, kind: ComponentKind, name: &ComponentName) -> bool {
        self.component(release, kind, name).is_some_and(|c| match (known(&c.packages), known(&c.path)) {
            (Some(packages), _) => !packages.states(arch),
            (None, Some(path)) => c.packages.is_none() && !path.states(arch),
            (None, None) => false,
        })
    }

    /// Returns the packages of a component: empty if none are stated for the architecture, `None` if they are unknown.
    pub fn packages_of(
        &self,
        release: &ReleaseEntry,
        arch: Arch,
        kind: ComponentKind,
        name: &ComponentName,
    ) -> Option<Vec<PackageName>> {
        match stated_for(&self.component(release, kind, name)?.packages, arch) {
            Some(fact) => fact.value?.get(arch).cloned(),
            None => Some(Vec::new()),
        }
    }

    /// Returns the path of a component's binary, or the pattern of the kernel's image; `None` if there is none or it is
    /// unknown.
    pub fn path_of(
        &self,
        release: &ReleaseEntry,
        arch: Arch,
        kind: ComponentKind,
        name: &ComponentName,
    ) -> Option<InsidePath> {
        path(&self.component(release, kind, name)?, arch)
    }

    /// Returns the component of that name, with the record's defaults applied.
    fn component(&self, release: &ReleaseEntry, kind: ComponentKind, name: &ComponentName) -> Option<ComponentEntry> {
        let parts = self.parts(release);
        let list = |fact| known(fact).cloned().unwrap_or_default();
        let all: Vec<ComponentEntry> = match kind {
            ComponentKind::Vmm => list(&parts.vmms),
            ComponentKind::Fs => list(&parts.filesystems),
            ComponentKind::Kernel => known(&parts.kernel).cloned().into_iter().collect(),
            kind => listed(&parts, kind).to_vec(),
        };
        all.into_iter().find(|c| c.name == *name)
    }

    /// Returns the repositories and modules that must be enabled for a release, with the weaker confidence of the two.
    pub fn enables(&self, release: &ReleaseEntry) -> (Vec<String>, Vec<String>, Confidence) {
        let parts = self.parts(release);
        let stated = [&parts.repositories, &parts.modules];
        let confidence = stated.into_iter().flatten().map(|f| f.confidence).min();
        let list = |fact| known(fact).cloned().unwrap_or_default();
        (list(&parts.repositories), list(&parts.modules), confidence.unwrap_or(Confidence::Measured))
    }
}

/// Returns the fact if it states something for `arch`, be it `unknown`.
pub(super) fn stated_for<T: Clone>(fact: &Option<Fact<PerArch<T>>>, arch: Arch) -> Option<Fact<PerArch<T>>> {
    fact.clone().filter(|f| f.value.as_ref().is_none_or(|p| p.states(arch)))
}

/// Returns the components of a kind that can have several, if known.
pub(super) fn listed(parts: &CommonFields, kind: ComponentKind) -> &[ComponentEntry] {
    parts.listed.get(&kind).and_then(|fact| fact.value.as_deref()).unwrap_or_default()
}

/// Returns the packages on `arch`: empty if none are stated at all, `None` if they are unknown or not stated for
/// `arch`.
fn packages(component: &ComponentEntry, arch: Arch) -> Option<Vec<PackageName>> {
    match &component.packages {
        None => Some(Vec::new()),
        Some(fact) => fact.value.as_ref()?.get(arch).cloned(),
    }
}

fn path(component: &ComponentEntry, arch: Arch) -> Option<InsidePath> {
    known(&component.path)?.get(arch).cloned()
}

pub(super) fn preferred_first(
    mut drivers: Vec<ComponentEntry>,
    preferred: &Option<ComponentName>,
) -> Vec<ComponentEntry> {
    if let Some(name) = preferred {
        drivers.sort_by_key(|d| d.name != *name);
    }
    drivers
}

/// Merges a release's parts with the defaults, key by key; components are matched by name.
pub(super) fn merged(defaults: &CommonFields, over: &CommonFields) -> CommonFields {
    fn pick<T: Clone>(default: &Option<T>, over: &Option<T>) -> Option<T> {
        over.clone().or_else(|| default.clone())
    }
    CommonFields {
        suites: pick(&defaults.suites, &over.suites),
        repositories: pick(&defaults.repositories, &over.repositories),
        modules: pick(&defaults.modules, &over.modules),
        image: pick(&defaults.image, &over.image),
        image_lacks: pick(&defaults.image_lacks, &over.image_lacks),
        parts_from: pick(&defaults.parts_from, &over.parts_from),
        vmms: merge_fact(&defaults.vmms, &over.vmms, merge_components),
        filesystems: merge_fact(&defaults.filesystems, &over.filesystems, merge_components),
        preferred_filesystem: pick(&defaults.preferred_filesystem, &over.preferred_filesystem),
        kernel: merge_fact(&defaults.kernel, &over.kernel, merge_component),
        listed: ComponentKind::LISTED
            .into_iter()
            .filter_map(|kind| {
                let fact = |parts: &CommonFields| parts.listed.get(&kind).cloned();
                Some((kind, merge_fact(&fact(defaults), &fact(over), merge_components)?))
            })
            .collect(),
    }
}

fn merge_fact<T: Clone>(
    default: &Option<Fact<T>>,
    over: &Option<Fact<T>>,
    merge: impl Fn(&T, &T) -> T,
) -> Option<Fact<T>> {
    match (default, over) {
        (Some(default), Some(over)) => Some(Fact {
            value: match (&default.value, &over.value) {
                (Some(default), Some(over)) => Some(merge(default, over)),
                (_, value) => value.clone(),
            },
            ..over.clone()
        }),
        (default, over) => over.clone().or_else(|| default.clone()),
    }
}

fn merge_component(default: &ComponentEntry, over: &ComponentEntry) -> ComponentEntry {
    ComponentEntry {
        name: over.name.clone(),
        packages: over.packages.clone().or_else(|| default.packages.clone()),
        path: over.path.clone().or_else(|| default.path.clone()),
    }
}

// `&Vec` because both sides of `merge_fact` have the same type.
#[expect(clippy::ptr_arg, reason = "it merges two facts' values as they are")]
fn merge_components(defaults: &Vec<ComponentEntry>, over: &Vec<ComponentEntry>) -> Vec<ComponentEntry> {
    let mut all: Vec<ComponentEntry> = defaults
        .iter()
        .map(|default| match over.iter().find(|o| o.name == default.name) {
            Some(over) => merge_component(default, over),
            None => default.clone(),
        })
        .collect();
    let added = over.iter().filter(|o| !defaults.iter().any(|d| d.name == o.name));
    all.extend(added.cloned());
    all
}
