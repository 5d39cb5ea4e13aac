//! The machine that Kata is configured for: its release, its components, its verdicts.

use super::check::unreadable;
use super::system::{BorrowedRecord, GlobalArguments, System, TargetArguments, release_json};
use super::{Exit, Failed};
use clap::Args;
use model::component::Component;
use model::diagnostic::printable;
use model::kata_version::KataVersion;
use model::package::{PackageName, PackageVersion};
use model::profile::Profile;
use model::record::{ComponentKind, Confidence, ReleaseEntry};
use model::release::Release;
use model::share::Share;
use model::verified::VerifiedEntry;
use operator::check::StatedComponent;
use operator::configure::{GuestKernel, Inputs, Inventory, PackageDatabase, knows_no_shared_fs};
use operator::detect::Derivative;
use operator::initrd;
use operator::packages::{Packages, QueryError};
use root::{InsidePath, Root};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which machine, and which Kata.
#[derive(Debug, Args)]
pub(crate) struct MachineArguments {
    #[command(flatten)]
    pub(crate) about: TargetArguments,
    /// The profile, a range of Kata versions that pass the same arguments: `go-3.29`, `rs-4.0`.
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: String,
    /// The exact version of Kata, `3.30.0`; by default the one in /opt/kata/VERSION, else the profile's.
    #[arg(long, value_name = "VERSION")]
    pub(crate) kata_version: Option<KataVersion>,
    /// The guest's kernel: `distro` (the release's newest, needs --initrd), `kata` (the one in Kata's configuration),
    /// or a path.
    #[arg(long, value_name = "KERNEL")]
    pub(crate) kernel: Option<String>,
    /// An initrd with Kata's agent and the kernel's modules.
    #[arg(long, value_name = "PATH")]
    pub(crate) initrd: Option<String>,
    /// This machine has no hardware acceleration: give guests more time.
    #[arg(long)]
    pub(crate) emulated: bool,
    /// Go on even if something is known not to work; `configure` then also overwrites others' files that have the names
    /// of its own, and others' changes in its own.
    #[arg(long)]
    pub(crate) force: bool,
    /// Share no filesystem with guests (`shared_fs = "none"`): containers' root filesystems must be block devices, from
    /// a snapshotter such as containerd's devmapper. Kata 3.2 or newer.
    #[arg(long)]
    pub(crate) no_shared_fs: bool,
    /// Use facts that the record only assumes.
    #[arg(long)]
    pub(crate) allow_assumed: bool,
}

/// Version file of Kata's static release.
const VERSION_FILE: &str = "/opt/kata/VERSION";

/// Origin of Kata's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionSource {
    /// The command line.
    Argument,
    /// [`VERSION_FILE`].
    File,
    /// The profile's first version.
    Profile,
}

impl VersionSource {
    /// Returns the origin's name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            VersionSource::Argument => "--kata-version",
            VersionSource::File => VERSION_FILE,
            VersionSource::Profile => "the profile",
        }
    }
}

/// Input of a plan.
pub(crate) struct Machine {
    pub(crate) root: Root,
    pub(crate) release: Release,
    /// The release's entry in its record.
    pub(crate) entry: ReleaseEntry,
    /// The relative's record that is used, if the system has none of its own.
    borrowed: Option<BorrowedRecord>,
    /// The derivative that the system is, if its os-release does not say so.
    derivative: Option<Derivative>,
    /// Where the parts of a system come from that no package provides.
    pub(crate) parts_from: Option<String>,
    pub(crate) profile: &'static Profile,
    pub(crate) kata: KataVersion,
    /// The origin of Kata's version.
    pub(crate) kata_from: VersionSource,
    verified: Vec<VerifiedEntry>,
    found: Inventory,
    guest: GuestKernel,
    emulated: bool,
    pub(crate) force: bool,
    no_shared_fs: bool,
    /// Unchecked facts that a plan would use.
    pub(crate) assumed: Vec<String>,
    /// The error if the package database exists but cannot be read.
    unreadable: Option<Failed>,
}

impl Machine {
    /// Inspects the machine.
    ///
    /// An unreadable package database is an error only once it is asked for.
    pub(crate) fn inspect(common: &GlobalArguments, arguments: &MachineArguments) -> anyhow::Result<Machine> {
        let system = System::find(common, &arguments.about)?;
        let components = system.stated();
        let System { root, record, entry, target, arch, borrowed, derivative } = system;
        let parts_from = record.parts_from(&entry);
        let release = record.release(&target.version, arch)?;
        let guest = guest(arguments)?;
        let read = installed(&root, &release);
        let database = read.as_ref().map_or_else(|e| PackageDatabase::Unread(e.to_string()), |_| PackageDatabase::Read);
        let (packages, unread) = match read {
            Ok(packages) => (packages, None),
            Err(error @ QueryError::NoDatabase(_)) => {
                eprintln!("warning: {}", printable(&error.to_string()));
                (BTreeMap::new(), None)
            }
            Err(error) => (BTreeMap::new(), Some(unreadable(&error))),
        };
        let profile = Profile::find(&arguments.profile)?;
        let initrd = root.first_file(arguments.initrd.as_deref().map(Path::new))?;
        let initrd = initrd.map(|path| initrd::look(&root, path));
        let found = Inventory::gather(&root, &release, &guest).map_err(|error| match error {
            QueryError::Read(error) => anyhow::Error::from(error),
            error => unreadable(&error).into(),
        })?;
        let found = Inventory { packages, database, initrd, ..found };
        let (kata, kata_from) = match arguments.kata_version {
            Some(version) => (version, VersionSource::Argument),
            None => match in_version_file(&root)? {
                Some(version) => (version, VersionSource::File),
                None => (profile.version(), VersionSource::Profile),
            },
        };
        let by = kata_from.name();
        // Verdicts on a profile's arguments do not apply to a Kata that passes others.
        let mut verified = record.verified.clone();
        if let Some(why) = profile.holds(kata).err().filter(|_| kata_from != VersionSource::Profile) {
            if !arguments.force {
                return Err(Failed::new(Exit::BadInput, "another-profile", format!("{by}: {why}")).into());
            }
            eprintln!("warning: {by}: {why}; earlier verification results are ignored");
            verified.clear();
        }
        if arguments.no_shared_fs && !knows_no_shared_fs(profile.runtime, kata) {
            let why = format!("--no-shared-fs needs Kata 3.2.0 or newer: {kata} (by {by}) always shares a filesystem");
            return Err(Failed::new(Exit::BadInput, "no-such-share", why).into());
        }
        let assumed = components
            .iter()
            .filter(|s| is_used(s, &guest, arguments.no_shared_fs) && s.path_confidence == Confidence::Assumed)
            .map(|s| format!("{}: {}", s.path_subject(), s.path.as_ref().map_or("unknown", InsidePath::as_str)))
            .collect();
        Ok(Machine {
            verified,
            root,
            release,
            entry,
            borrowed,
            derivative,
            parts_from,
            profile,
            kata,
            kata_from,
            found,
            guest,
            emulated: arguments.emulated,
            force: arguments.force,
            no_shared_fs: arguments.no_shared_fs,
            assumed,
            unreadable: unread,
        })
    }

    /// Adds to an answer for programs which release it is about, and what of it is lent from a relative.
    pub(crate) fn name_system(&self, answer: &mut Value) -> anyhow::Result<()> {
        answer["release"] = release_json(&self.release.distro, &self.entry);
        answer["borrowed"] = self.borrowed.as_ref().map(BorrowedRecord::how).into();
        answer["derivative"] = serde_json::to_value(self.derivative)?;
        Ok(())
    }

    /// Returns the input of a plan.
    pub(crate) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            release: &self.release,
            verified: &self.verified,
            profile: self.profile,
            kata: self.kata,
            found: &self.found,
            guest: &self.guest,
            emulated: self.emulated,
            force: self.force,
            no_shared_fs: self.no_shared_fs,
        }
    }

    /// Checks that the package database, if there is one, can be read: else it is unknown whether the installed
    /// packages were verified.
    pub(crate) fn check_packages_readable(&mut self) -> Result<(), Failed> {
        self.unreadable.take().map_or(Ok(()), Err)
    }

    /// Checks that a named kernel and initrd exist.
    pub(crate) fn check_guest_files_exist(&self) -> anyhow::Result<()> {
        let GuestKernel::Own { kernel, initrd } = &self.guest else { return Ok(()) };
        for (what, path) in kernel.iter().map(|k| ("kernel", k)).chain([("initrd", initrd)]) {
            if !self.root.has_file(path)? {
                let path = path.display();
                anyhow::bail!("{what} {path}: no such file: name it as seen from inside --root");
            }
        }
        Ok(())
    }
}

/// Whether a plan uses the path of a component: QEMU, the virtio-fs daemon unless nothing is shared, and the kernel
/// unless guests boot Kata's.
fn is_used(stated: &StatedComponent, guest: &GuestKernel, no_shared_fs: bool) -> bool {
    match stated.kind {
        ComponentKind::Vmm => stated.name == Component::Qemu,
        ComponentKind::Fs => stated.name == Share::VirtioFs && !no_shared_fs,
        ComponentKind::Kernel => *guest != GuestKernel::Kata,
        _ => false,
    }
}

/// Reads Kata's version file if there is one; anything unusable in its place is an error.
fn in_version_file(root: &Root) -> anyhow::Result<Option<KataVersion>> {
    let text = root.utf8_if_any(Path::new(VERSION_FILE)).map_err(|error| match error.is_unreadable() {
        true => anyhow::Error::from(error),
        false => Failed::new(Exit::BadInput, "bad-version-file", error.to_string())
            .hint("fix the file, or name Kata's version with --kata-version")
            .into(),
    })?;
    text.map(|text| text.parse::<KataVersion>().map_err(|e| anyhow::anyhow!("{VERSION_FILE}: {e}"))).transpose()
}

/// Determines from the options what guests boot.
fn guest(arguments: &MachineArguments) -> anyhow::Result<GuestKernel> {
    Ok(match (arguments.kernel.as_deref(), &arguments.initrd) {
        (Some("kata"), None) | (None, None) => GuestKernel::Kata,
        (Some("kata"), Some(_)) => {
            anyhow::bail!("--kernel kata uses Kata's own image or initrd: omit --initrd")
        }
        (kernel, Some(initrd)) => {
            let kernel = kernel.filter(|k| *k != "distro").map(PathBuf::from);
            GuestKernel::Own { kernel, initrd: initrd.into() }
        }
        (Some(_), None) => {
            anyhow::bail!("--kernel needs --initrd: an initrd with Kata's agent and the kernel's modules")
        }
    })
}

/// Returns the installed versions of the release's packages.
fn installed(root: &Root, release: &Release) -> Result<BTreeMap<PackageName, PackageVersion>, QueryError> {
    let packages = Packages::read(root, Some(release.package_manager))?;
    let mut versions = BTreeMap::new();
    for name in release.packages() {
        if let Some(installed) = packages.installed(name.as_str())?.into_iter().next() {
            versions.insert(name, installed.version);
        }
    }
    Ok(versions)
}
