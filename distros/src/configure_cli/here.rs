//! The machine that is asked about: its release, what it has, what was verified.

use super::Machine;
use anyhow::Context as _;
use kata_osinfo::arch::Arch;
use kata_osinfo::configure::{Found, Guest, Inputs, KataVersion, Root};
use kata_osinfo::database::Database;
use kata_osinfo::profile::Profile;
use kata_osinfo::record::Confidence;
use kata_osinfo::release::Release;
use kata_osinfo::target;
use kata_osinfo::verified::VerifiedEntry;
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
    pub(super) fn look(machine: &Machine, database: &Database) -> anyhow::Result<Here> {
        let root = Root::new(&machine.root)?;
        let arch: Arch = machine.arch.into();
        let named = match &machine.target {
            Some(named) => named.clone(),
            None => os_release(&root)?,
        };
        let target = match target::parse(&named, database)?.as_slice() {
            [one] => one.clone(),
            _ => anyhow::bail!("`{named}` names several releases: expected one, `debian:13`"),
        };
        let record = database.record(&target.distro)?;
        let release = record.release(&target.version, arch)?;
        let profile = Profile::find(&machine.profile)?;
        let found = Found::gather(&root, &release);
        let (kata, kata_by) = match (&machine.kata_version, found.kata) {
            (Some(version), _) => (version.parse()?, "--kata-version"),
            (None, Some(version)) => (version, "/opt/kata/VERSION"),
            (None, None) => (profile.tag.parse()?, "the profile"),
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
        let entry = record.require_release(&target.version)?;
        let used = ["vmm qemu path", "fs virtio-fs path", "kernel linux image"];
        let assumed = record
            .facts(entry, arch)
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

/// `debian:13`, or `debian:forky` where there is no number: what os-release says.
fn os_release(root: &Root) -> anyhow::Result<String> {
    let mut text = root.read_if_any(Path::new("/etc/os-release"))?;
    if text.is_none() {
        text = root.read_if_any(Path::new("/usr/lib/os-release"))?;
    }
    let text = text.context("no os-release below the root: name the release, `debian:13`")?;
    let value = |key: &str| {
        let line = text.lines().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches(['"', '\'']).to_owned()).filter(|v| !v.is_empty())
    };
    let id = value("ID").context("os-release has no ID: name the release, `debian:13`")?;
    let version = value("VERSION_ID").or_else(|| value("VERSION_CODENAME"));
    let version = version.context("os-release has neither VERSION_ID nor VERSION_CODENAME: name the release")?;
    Ok(format!("{id}:{version}"))
}
