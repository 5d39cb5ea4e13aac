//! Choice of the shared filesystem: by the record's preference, by what is installed, and by what was verified.

use super::found::no_program;
use super::{Inventory, PackageDatabase};
use model::arch::Arch;
use model::capability::Capability;
use model::component::{Component, ComponentName};
use model::distro::ReleaseVersion;
use model::package::PackageName;
use model::profile::{DaemonStyle, Profile};
use model::release::{FilesystemDriver, Release};
use model::share::Share;
use model::verified::{Verdict, VerifiedCause, VerifiedEntry};
use model::virtiofsd::Flavour;
use root::InsidePath;
use serde::Serialize;

/// A share that Kata can be told to use, `shared_fs`, with what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum SharedFs {
    /// `virtio-fs`, with the daemon's path.
    VirtioFs {
        /// `virtio_fs_daemon`.
        daemon: InsidePath,
    },
    /// `virtio-9p`, which is built into QEMU.
    #[serde(rename = "virtio-9p")]
    Virtio9p,
    /// `none`: containers' files are on block devices.
    None,
}

impl SharedFs {
    /// Returns the share; `None` if nothing is shared.
    pub fn share(&self) -> Option<Share> {
        match self {
            SharedFs::VirtioFs { .. } => Some(Share::VirtioFs),
            SharedFs::Virtio9p => Some(Share::Virtio9p),
            SharedFs::None => None,
        }
    }

    /// Returns Kata's name for the share.
    pub fn name(&self) -> &'static str {
        self.share().map_or("none", Share::name)
    }
}

/// A filesystem that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PassedOver {
    /// `virtio-fs`.
    pub name: ComponentName,
    /// Every independent reason, with its evidence.
    pub why: Vec<String>,
    /// The culprit of each reason, in the same order.
    #[serde(skip)]
    pub blames: Vec<Blamed>,
    /// Packages that would provide it, if nothing else is missing.
    pub install: Vec<PackageName>,
    /// The share that `--force` can choose anyway: the profile knows it and it is installed.
    pub forceable: Option<SharedFs>,
}

impl PassedOver {
    fn add_reason(&mut self, blamed: Blamed, why: String) {
        self.why.push(why);
        self.blames.push(blamed);
    }
}

/// The culprit of a reason against a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blamed {
    /// The VMM.
    Vmm,
    /// The filesystem's server, or the knowledge about it.
    Server,
}

impl Blamed {
    /// Returns the part that a verdict's cause blames.
    fn by(cause: &VerifiedCause) -> Blamed {
        match cause.component {
            Some(Component::Qemu) => Blamed::Vmm,
            _ => Blamed::Server,
        }
    }
}

/// Result of the choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShareChoice {
    /// The first share that works, by preference.
    pub share: Option<SharedFs>,
    /// Verification results for the share, one line each; empty if it was never verified.
    pub evidence: Vec<String>,
    /// The shares that are preferred to the chosen one and do not work.
    pub passed_over: Vec<PassedOver>,
}

impl ShareChoice {
    /// Returns the choice of a caller who wants no share.
    pub(super) fn none() -> ShareChoice {
        ShareChoice { share: Some(SharedFs::None), evidence: Vec::new(), passed_over: Vec::new() }
    }

    /// Tries the release's filesystems, the preferred one first.
    pub fn of(release: &Release, verified: &[VerifiedEntry], profile: &Profile, found: &Inventory) -> ShareChoice {
        let mut choice = ShareChoice { share: None, evidence: Vec::new(), passed_over: Vec::new() };
        for driver in &release.filesystems {
            match judge(driver, release, verified, profile, found) {
                Ok((shared_fs, evidence)) => {
                    choice.share = Some(shared_fs);
                    choice.evidence = evidence;
                    break;
                }
                Err(passed_over) => choice.passed_over.push(passed_over),
            }
        }
        choice
    }
}

fn judge(
    driver: &FilesystemDriver,
    release: &Release,
    verified: &[VerifiedEntry],
    profile: &Profile,
    found: &Inventory,
) -> Result<(SharedFs, Vec<String>), PassedOver> {
    let mut no = PassedOver {
        name: driver.name.clone(),
        why: Vec::new(),
        blames: Vec::new(),
        install: Vec::new(),
        forceable: None,
    };
    let Some(share) = driver.share().filter(|share| profile.shares(*share)) else {
        no.add_reason(
            Blamed::Server,
            format!("Kata {} does not support {}, only {}", profile.range, driver.name, profile.share_names()),
        );
        return Err(no);
    };
    if found.lacks.contains(&share) {
        let qemu = found.hypervisor.as_ref().map_or("QEMU", InsidePath::as_str);
        no.add_reason(Blamed::Vmm, format!("{qemu} was built without a device for {share}"));
    }
    let shared_fs = match (share, &driver.path) {
        (Share::VirtioFs, Some(path)) => match &found.daemon {
            Some(daemon) if daemon.path == *path => {
                if daemon.flavour == Flavour::C && profile.virtiofsd.style != DaemonStyle::DashO {
                    no.add_reason(
                        Blamed::Server,
                        format!(
                            "{path} is QEMU's C daemon, which does not know the options that Kata {} passes",
                            profile.range
                        ),
                    );
                }
                SharedFs::VirtioFs { daemon: path.clone() }
            }
            _ if found.no_programs.contains(path) => {
                no.add_reason(Blamed::Server, no_program(path));
                no.install.clone_from(&driver.packages);
                SharedFs::VirtioFs { daemon: path.clone() }
            }
            _ => {
                match installed(&driver.packages, found) {
                    // Installing the packages again would not help.
                    Some(packages) => {
                        no.add_reason(
                            Blamed::Server,
                            format!("{path} does not exist: {packages} is installed, but does not contain it"),
                        );
                    }
                    None => {
                        no.add_reason(Blamed::Server, format!("{path} does not exist"));
                        no.install.clone_from(&driver.packages);
                    }
                }
                SharedFs::VirtioFs { daemon: path.clone() }
            }
        },
        (Share::VirtioFs, None) => {
            no.add_reason(Blamed::Server, format!("the record of {} names no daemon", release.distro));
            return Err(no);
        }
        (Share::Virtio9p, _) => SharedFs::Virtio9p,
        (Share::VirtioBlk, _) => {
            no.add_reason(Blamed::Server, format!("{share} is not a filesystem that this program can configure"));
            return Err(no);
        }
    };
    let capability = Capability::of_share(share);
    let (against, evidence) = verdicts_on(verified, release, profile, capability, &components(driver, release), found);
    if !against.is_empty() && no.why.is_empty() {
        no.forceable = Some(shared_fs.clone());
    }
    against.into_iter().for_each(|(blamed, why)| no.add_reason(blamed, why));
    match no.why.is_empty() {
        true => Ok((shared_fs, evidence)),
        false => Err(no),
    }
}

/// Returns the packages with their versions, if all of them are installed.
fn installed(packages: &[PackageName], found: &Inventory) -> Option<String> {
    let versions = packages.iter().map(|p| Some(format!("{p} {}", found.packages.get(p)?)));
    versions.collect::<Option<Vec<_>>>().filter(|all| !all.is_empty()).map(|all| all.join(", "))
}

/// Returns the packages that a verdict on a driver is about: the driver's own, or the VMM's if it has none.
///
/// `None` if the daemon belongs to no package: no verdict on the distro's packages applies to it.
fn components(driver: &FilesystemDriver, release: &Release) -> Option<Vec<PackageName>> {
    match (&driver.path, driver.packages.is_empty()) {
        (_, false) => Some(driver.packages.clone()),
        (None, true) => Some(release.qemu().map(|v| v.packages.clone()).unwrap_or_default()),
        (Some(_), true) => None,
    }
}

/// Returns what runs showed about a capability: each reason against it with its culprit, and one line for each run that
/// supports it.
///
/// A run in a VM or on the host outranks one in a container; an entry that is not about `packages` is ignored.
fn verdicts_on(
    verified: &[VerifiedEntry],
    release: &Release,
    profile: &Profile,
    capability: Capability,
    packages: &Option<Vec<PackageName>>,
    found: &Inventory,
) -> (Vec<(Blamed, String)>, Vec<String>) {
    let Some(packages) = packages else { return (Vec::new(), Vec::new()) };
    let about = |e: &&VerifiedEntry| packages.iter().all(|p| e.versions.contains_key(p));
    let mut entries = strongest(verified, &release.version, release.arch, &profile.name, capability, about);
    // There may be an entry for packages that an admin vouched for next to the distro's own: the installed ones count.
    let is_here = |e: &&VerifiedEntry| packages.iter().all(|p| e.versions.get(p) == found.packages.get(p));
    if entries.iter().any(is_here) {
        entries.retain(is_here);
    }
    let (mut against, mut evidence) = (Vec::new(), Vec::new());
    for entry in entries {
        let Some(judged) = entry.capabilities.get(&capability) else { continue };
        let run = format!(
            "{capability} on {} in a {} run of {}{}",
            entry.basis.marked(entry.shaped),
            entry.environment,
            entry.tested,
            differences(entry, release, found)
        );
        match judged.verdict {
            Verdict::Unsupported if judged.causes.is_empty() => {
                against.push((Blamed::Server, format!("unsupported: {run}")));
            }
            Verdict::Unsupported => {
                against.extend(judged.causes.iter().map(|c| (Blamed::by(c), format!("{c} ({run})"))));
            }
            Verdict::Partial => {
                let workaround = judged.workaround.as_deref().unwrap_or("no workaround is named");
                evidence.push(format!("partial: {run}: {workaround}"));
            }
            Verdict::Supported => evidence.push(format!("supported: {run}")),
            Verdict::Offered | Verdict::NotApplicable | Verdict::Untested | Verdict::Inconclusive => {}
        }
    }
    (against, evidence)
}

/// Returns what runs proved about a capability of a release: the reasons against it, and the evidence for it.
pub(super) fn evidence(
    verified: &[VerifiedEntry],
    release: &Release,
    profile: &Profile,
    capability: Capability,
    found: &Inventory,
) -> (Vec<String>, Vec<String>) {
    let (against, evidence) = verdicts_on(verified, release, profile, capability, &Some(Vec::new()), found);
    (against.into_iter().map(|(_, why)| why).collect(), evidence)
}

/// Describes how the installed versions differ from the tested ones, or that they are not known: ` with virtiofsd
/// 1.13.2-1, installed is 1.14.0-1`.
fn differences(entry: &VerifiedEntry, release: &Release, found: &Inventory) -> String {
    if let PackageDatabase::Unread(why) = &found.database {
        let tested: Vec<String> =
            entry.versions.iter().map(|(package, version)| format!("{package} {version}")).collect();
        return format!(" with {}; the installed versions are not known: {why}", tested.join(", "));
    }
    let queried = if found.database == PackageDatabase::Read { release.packages() } else { Vec::new() };
    let differing = entry.versions.iter().filter_map(|(package, tested)| match found.packages.get(package) {
        Some(installed) if installed == tested => None,
        Some(installed) => Some(format!(" with {package} {tested}, installed is {installed}")),
        None => queried.contains(package).then(|| format!(" with {package} {tested}, which is not installed")),
    });
    differing.collect::<Vec<_>>().join(",")
}

/// Returns the entries of the strongest environment in which a capability was decided.
fn strongest<'a>(
    verified: &'a [VerifiedEntry],
    version: &ReleaseVersion,
    arch: Arch,
    profile: &str,
    capability: Capability,
    about: impl Fn(&&VerifiedEntry) -> bool,
) -> Vec<&'a VerifiedEntry> {
    let decided = |e: &&VerifiedEntry| {
        e.capabilities
            .get(&capability)
            .is_some_and(|c| matches!(c.verdict, Verdict::Supported | Verdict::Partial | Verdict::Unsupported))
    };
    let mut entries: Vec<&VerifiedEntry> = verified
        .iter()
        .filter(|e| e.release == *version && e.arch == arch && e.profile == profile)
        .filter(|e| decided(e) && about(e))
        .collect();
    let best = entries.iter().map(|e| e.environment).max();
    entries.retain(|e| Some(e.environment) == best);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_filesystem_is_serialized_by_its_name() {
        for shared_fs in [SharedFs::VirtioFs { daemon: "/d".parse().unwrap() }, SharedFs::Virtio9p] {
            let serialized = serde_json::to_value(&shared_fs).unwrap();
            assert_eq!(serialized["name"].as_str().and_then(Share::of_name), shared_fs.share(), "{serialized}");
        }
        assert_eq!(serde_json::to_value(SharedFs::None).unwrap()["name"], SharedFs::None.name());
    }
}
