//! The initrd that guests boot: its content, and objections to it as the initrd of a given kernel.

use model::kata_version::KataVersion;
use serde::Serialize;
use std::collections::BTreeSet;

/// The content of an initrd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initrd {
    /// The initrd was examined.
    Has {
        /// The kernels for which it has modules: `6.12.48+deb13-amd64`.
        modules: BTreeSet<String>,
        /// Whether it contains Kata's agent: a file of that name, or an `init` that is the agent.
        agent: bool,
    },
    /// The initrd's compression is not supported by this program.
    Unread(String),
    /// The file is not an initrd, or is truncated: no kernel would unpack it.
    Broken(String),
}

impl Initrd {
    /// Returns the objection to it as the initrd of a kernel.
    pub(super) fn against(&self, kernel: &str) -> Option<String> {
        match self {
            Initrd::Has { modules, .. } => {
                let release = release_of(kernel).filter(|r| !modules.is_empty() && !modules.contains(*r))?;
                let others: Vec<&str> = modules.iter().map(String::as_str).collect();
                Some(format!("does not belong to {kernel}: its modules are for {}, not {release}", others.join(", ")))
            }
            Initrd::Unread(_) => None,
            Initrd::Broken(why) => Some(format!("cannot be unpacked by any kernel: {why}")),
        }
    }
}

/// Returns a kernel's release from its path: `/boot/vmlinuz-6.12.48+deb13-amd64`, `/usr/lib/modules/6.19.10/vmlinuz`.
fn release_of(kernel: &str) -> Option<&str> {
    match kernel.rsplit('/').next()? {
        "vmlinuz" | "vmlinux" | "Image" => kernel.rsplit('/').nth(1),
        name => name.split_once('-').map(|(_, release)| release),
    }
}

/// A remark about an initrd.
pub(super) struct Remark {
    /// The remark.
    pub(super) text: String,
    /// Whether the remark is an objection.
    pub(super) in_doubt: bool,
}

/// Returns remarks about an initrd: by its content, and by its name if the content does not show the kernel.
pub(super) fn judged(kernel: &str, initrd: &str, found: Option<&Initrd>, kata: KataVersion) -> Vec<Remark> {
    let doubt = |text| Remark { text, in_doubt: true };
    let mut all = Vec::new();
    if let Some(Initrd::Unread(why)) = found {
        all.push(doubt(format!("{initrd} could not be examined: {why}")));
    }
    let Some(found @ (Initrd::Has { .. } | Initrd::Broken(_))) = found else {
        all.extend(name_in_doubt(kernel, initrd, kata).map(doubt));
        return all;
    };
    all.extend(found.against(kernel).map(|why| doubt(format!("{initrd} {why}"))));
    if let Initrd::Has { modules, agent } = found {
        if !agent {
            all.push(doubt(format!(
                "{initrd} does not seem to contain Kata's agent: it has no kata-agent, and its init is not the agent"
            )));
        }
        if modules.is_empty() {
            // Kata's own initrds have no modules, and their names contain a distro's version:
            // `kata-alpine-3.22.initrd`.
            let in_doubt = is_of_another(kernel, initrd, kata, 3);
            let text = format!("{initrd} has no modules: whatever a guest needs must be built into {kernel}");
            let named = "; judging by its name, it is for another kernel";
            all.push(Remark { text: if in_doubt { text + named } else { text }, in_doubt });
        }
    }
    all
}

/// Returns the objection that an initrd's name raises.
fn name_in_doubt(kernel: &str, initrd: &str, kata: KataVersion) -> Option<String> {
    let name = initrd.rsplit('/').next()?;
    let release = release_of(kernel)?;
    if name.contains(release) {
        // The naming of dracut, initramfs-tools and mkinitrd.
        let hosts = ["initrd.img-", "initramfs-", "initrd-"]
            .iter()
            .any(|p| name.strip_prefix(p).is_some_and(|n| n.starts_with(release)));
        return hosts.then(|| {
            format!(
                "judging by its name, {initrd} is this machine's own initrd: Kata needs one that contains its agent"
            )
        });
    }
    is_of_another(kernel, initrd, kata, 2).then(|| {
        format!("judging by its name, {initrd} is for another kernel than {kernel}, so its modules would not fit")
    })
}

/// Returns whether an initrd's name has a version other than the kernel's; a version has at least this many `numbers`.
fn is_of_another(kernel: &str, initrd: &str, kata: KataVersion, numbers: usize) -> bool {
    let (Some(name), Some(release)) = (initrd.rsplit('/').next(), release_of(kernel)) else { return false };
    let is_version = |word: &&str| {
        word.split('.').take(numbers).filter(|n| n.starts_with(|c: char| c.is_ascii_digit())).count() == numbers
    };
    // Kata's own version in the name does not count.
    let kata = format!("{}.{}", kata.major, kata.minor);
    !name.contains(release)
        && name
            .split(['-', '_'])
            .filter(is_version)
            .any(|word| !word.starts_with(&kata) && !release.starts_with(word.trim_end_matches(".img")))
}
