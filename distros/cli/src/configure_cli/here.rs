//! The machine that is asked about: its release, what it has, what was verified.

use super::Machine;
use crate::commands::check::unreadable;
use crate::commands::system::{Common, System};
use crate::commands::{Exit, Failed};
use model::diagnostic::printable;
use model::kata_version::KataVersion;
use model::profile::Profile;
use model::record::Confidence;
use model::release::Release;
use model::verified::VerifiedEntry;
use operator::configure::{Found, Guest, Inputs, PackageDatabase};
use operator::initrd;
use operator::packages::{Packages, QueryError};
use root::Root;
use std::collections::BTreeMap;
use std::path::Path;

/// Everything that a plan needs.
pub(super) struct Here {
    pub(super) root: Root,
    pub(super) release: Release,
    pub(super) profile: &'static Profile,
    pub(super) kata: KataVersion,
    /// Where that version comes from.
    pub(super) kata_by: &'static str,
    verified: Vec<VerifiedEntry>,
    found: Found,
    guest: Guest,
    emulated: bool,
    force: bool,
    /// Facts that nobody checked and that a plan would use.
    pub(super) assumed: Vec<String>,
    /// Why the package database cannot be read, where it is there.
    unreadable: Option<Failed>,
}

impl Here {
    /// Gathers it.
    pub(super) fn look(common: &Common, machine: &Machine) -> anyhow::Result<Here> {
        let System { root, record, entry, target, arch } = System::find(common, &machine.about)?;
        let release = record.release(&target.version, arch)?;
        let guest = guest(machine)?;
        let read = installed(&root, &release);
        let database = read.as_ref().map_or_else(|e| PackageDatabase::Unread(e.to_string()), |_| PackageDatabase::Read);
        let (packages, unreadable) = match read {
            Ok(packages) => (packages, None),
            Err(error @ QueryError::NoDatabase(_)) => {
                eprintln!("warning: {}", printable(&error.to_string()));
                (BTreeMap::new(), None)
            }
            Err(error) => (BTreeMap::new(), Some(unreadable(&error))),
        };
        let profile = Profile::find(&machine.profile)?;
        let initrd = root.first_file(machine.initrd.as_deref().map(Path::new))?;
        let initrd = initrd.map(|path| initrd::look(&root, path));
        let found = Found { packages, database, initrd, ..Found::gather(&root, &release, &guest)? };
        let read = |by, text: &str| text.parse::<KataVersion>().map_err(|e| anyhow::anyhow!("{by}: {e}"));
        let (kata, kata_by) = match (&machine.kata_version, &found.kata) {
            (Some(version), _) => (read("--kata-version", version)?, "--kata-version"),
            (None, Some(version)) => (read("/opt/kata/VERSION", version)?, "/opt/kata/VERSION"),
            (None, None) => (profile.version(), "the profile"),
        };
        // What runs proved of a profile's arguments says nothing of a Kata that passes others.
        let mut verified = record.verified.clone();
        if let Some(why) = profile.holds(kata).err().filter(|_| kata_by != "the profile") {
            if !machine.force {
                return Err(Failed::new(Exit::BadInput, "another-profile", format!("{kata_by}: {why}")).into());
            }
            eprintln!("warning: {kata_by}: {why}; nothing that was proved is counted");
            verified.clear();
        }
        let used = ["vmm qemu path", "fs virtio-fs path", "kernel linux image"];
        let assumed = record
            .facts(&entry, arch)
            .into_iter()
            .filter(|f| f.confidence == Confidence::Assumed && used.contains(&f.subject.as_str()))
            .filter(|f| guest != Guest::Kata || f.subject != "kernel linux image")
            .map(|f| format!("{}: {}", f.subject, f.value.as_deref().unwrap_or("unknown")))
            .collect();
        Ok(Here {
            verified,
            root,
            release,
            profile,
            kata,
            kata_by,
            found,
            guest,
            emulated: machine.emulated,
            force: machine.force,
            assumed,
            unreadable,
        })
    }

    /// What a plan is made from.
    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            release: &self.release,
            verified: &self.verified,
            profile: self.profile,
            kata: self.kata,
            found: &self.found,
            guest: &self.guest,
            emulated: self.emulated,
            force: self.force,
        }
    }

    /// That the package database can be read, if there is one: else it is not known whether what is there was proved.
    pub(super) fn packages_are_known(&mut self) -> Result<(), Failed> {
        self.unreadable.take().map_or(Ok(()), Err)
    }

    /// Whether guests boot another kernel than Kata's own.
    pub(super) fn guest_is_own(&self) -> bool {
        self.guest != Guest::Kata
    }

    /// That a named kernel and initrd are there.
    pub(super) fn files_are_there(&self) -> anyhow::Result<()> {
        let Guest::Own { kernel, initrd } = &self.guest else { return Ok(()) };
        for (what, path) in kernel.iter().map(|k| ("kernel", k)).chain([("initrd", initrd)]) {
            if !self.root.has_file(Path::new(path))? {
                anyhow::bail!("{what} {path}: no such file: give the path as the machine itself has it, below --root");
            }
        }
        Ok(())
    }
}

/// What guests boot, by the options.
fn guest(machine: &Machine) -> anyhow::Result<Guest> {
    Ok(match (machine.kernel.as_deref(), &machine.initrd) {
        (Some("kata"), None) | (None, None) => Guest::Kata,
        (Some("kata"), Some(_)) => {
            anyhow::bail!("--kernel kata keeps Kata's own image or initrd: leave --initrd away")
        }
        (kernel, Some(initrd)) => {
            let kernel = kernel.filter(|k| *k != "distro").map(str::to_owned);
            Guest::Own { kernel, initrd: initrd.clone() }
        }
        (Some(_), None) => {
            anyhow::bail!("a kernel needs --initrd: one with Kata's agent and the kernel's modules")
        }
    })
}

/// Versions of the release's packages that are installed.
fn installed(root: &Root, release: &Release) -> Result<BTreeMap<String, String>, QueryError> {
    let packages = Packages::read(root, Some(release.package_manager))?;
    let mut versions = BTreeMap::new();
    for name in release.packages() {
        if let Some(installed) = packages.installed(&name)?.into_iter().next() {
            versions.insert(name, installed.version);
        }
    }
    Ok(versions)
}
