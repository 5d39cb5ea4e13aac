//! The machine that is asked about: its release, what it has, what was verified.

use super::Machine;
use crate::commands::system::{Common, System};
use kata_osinfo::configure::{Found, Guest, Inputs, KataVersion};
use kata_osinfo::packages::Packages;
use kata_osinfo::profile::Profile;
use kata_osinfo::record::Confidence;
use kata_osinfo::release::Release;
use kata_osinfo::root::Root;
use kata_osinfo::verified::VerifiedEntry;
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
}

impl Here {
    /// Gathers it.
    pub(super) fn look(common: &Common, machine: &Machine) -> anyhow::Result<Here> {
        let System { root, record, entry, target, arch } = System::find(common, &machine.about)?;
        let release = record.release(&target.version, arch)?;
        let packages = installed(&root, &release);
        let profile = Profile::find(&machine.profile)?;
        let found = Found { packages, ..Found::gather(&root, &release) };
        let (kata, kata_by) = match (&machine.kata_version, found.kata) {
            (Some(version), _) => (version.parse()?, "--kata-version"),
            (None, Some(version)) => (version, "/opt/kata/VERSION"),
            (None, None) => (profile.version(), "the profile"),
        };
        let guest = match (machine.kernel.as_deref(), &machine.initrd) {
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
        };
        let used = ["vmm qemu path", "fs virtio-fs path", "kernel linux image"];
        let assumed = record
            .facts(&entry, arch)
            .into_iter()
            .filter(|f| f.confidence == Confidence::Assumed && used.contains(&f.subject.as_str()))
            .filter(|f| guest != Guest::Kata || f.subject != "kernel linux image")
            .map(|f| format!("{}: {}", f.subject, f.value.as_deref().unwrap_or("unknown")))
            .collect();
        Ok(Here {
            verified: record.verified.clone(),
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

    /// Whether guests boot another kernel than Kata's own.
    pub(super) fn guest_is_own(&self) -> bool {
        self.guest != Guest::Kata
    }

    /// That a named kernel and initrd are there.
    pub(super) fn files_are_there(&self) -> anyhow::Result<()> {
        let Guest::Own { kernel, initrd } = &self.guest else { return Ok(()) };
        for (what, path) in kernel.iter().map(|k| ("kernel", k)).chain([("initrd", initrd)]) {
            if !self.root.has_file(Path::new(path)) {
                anyhow::bail!("{what} {path}: no such file: give the path as the machine itself has it, below --root");
            }
        }
        Ok(())
    }
}

/// Versions of the release's packages, as far as the machine's package database can be read.
fn installed(root: &Root, release: &Release) -> BTreeMap<String, String> {
    let Ok(packages) = Packages::read(root) else { return BTreeMap::new() };
    let version = |name: &String| Some((name.clone(), packages.installed(name).ok()?.first()?.version.clone()));
    release.packages().iter().filter_map(version).collect()
}
