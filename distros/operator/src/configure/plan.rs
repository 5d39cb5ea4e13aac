//! The pure part: from facts to a configuration, or to what is missing.

use super::found::release_of;
use super::image::image_boot;
use super::{Flavour, Found, Initrd, PassedOver, Share, ShareChoice, evidence, version};
use model::arch::Arch;
use model::capability::Capability;
use model::kata_version::KataVersion;
use model::profile::{ImageDriver, Profile, Runtime};
use model::release::Release;
use model::verified::VerifiedEntry;
use serde::Serialize;

/// Which kernel the guests boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guest {
    /// This kernel with this initrd, which holds Kata's agent and the kernel's modules.
    Own {
        /// The kernel's path; `None` is the newest of the distro's.
        kernel: Option<String>,
        /// The initrd's path.
        initrd: String,
    },
    /// What Kata's configuration names already: Kata's own kernel, not for production.
    Kata,
}

/// Everything that a configuration follows from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The record's view of the release.
    pub release: &'a Release,
    /// What runs proved of it.
    pub verified: &'a [VerifiedEntry],
    /// The Kata family.
    pub profile: &'a Profile,
    /// The very version of Kata.
    pub kata: KataVersion,
    /// What the machine has.
    pub found: &'a Found,
    /// The guest's kernel.
    pub guest: &'a Guest,
    /// Whether the machine has no hardware virtualization, so that everything takes longer.
    pub emulated: bool,
    /// Whether what is known not to work is configured all the same.
    pub force: bool,
}

/// What QEMU does block devices' I/O with, `block_device_aio`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockAio {
    /// A pool of threads: works with every QEMU and kernel.
    Threads,
}

/// What the guest boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "what")]
pub enum Boot {
    /// A kernel with an initrd, no image.
    Initrd {
        /// `kernel`.
        kernel: String,
        /// `initrd`.
        initrd: String,
    },
    /// What Kata's configuration says, untouched.
    Kata,
}

/// Kata's configuration for a machine, in our words; [`super::settings`] has it in Kata's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Configuration {
    /// The profile's name.
    pub profile: String,
    /// Which runtime reads it.
    pub runtime: Runtime,
    /// Its version.
    pub kata: KataVersion,
    /// `path`.
    pub hypervisor: String,
    /// `machine_type`.
    pub machine: String,
    /// `shared_fs`.
    pub share: Share,
    /// Which daemon that is, where it is virtio-fs.
    #[serde(skip)]
    pub flavour: Flavour,
    /// `virtio_fs_cache`, for virtio-fs.
    pub cache: String,
    /// `virtio_fs_extra_args`, for virtio-fs.
    pub extra_args: Vec<String>,
    /// `block_device_aio`, where Kata's default does not work here.
    pub block_aio: Option<BlockAio>,
    /// The guest's kernel.
    pub boot: Boot,
    /// Whether Kata's image must be a disk: `disable_image_nvdimm`, `vm_rootfs_driver`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub image_as_disk: bool,
    /// Whether guests boot Kata's image, and no run proved that they can.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unproven_image: bool,
    /// Whether guests boot a kernel or an initrd of which something is in doubt.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_doubt: bool,
    /// Whether deadlines are stretched for emulation.
    pub emulated: bool,
    /// Whether this is fit for production: a kernel that the distro maintains, and nothing forced.
    pub production: bool,
    /// Why it is as it is; what a reader should know.
    pub notes: Vec<Note>,
    /// Filesystems that were preferred and do not work.
    pub passed_over: Vec<PassedOver>,
}

/// One thing to know about a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Note {
    /// What it is about: `shared_fs`.
    pub about: String,
    /// The note.
    pub text: String,
}

/// What is not on the machine, and can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Wanting {
    /// `qemu`, `virtio-fs`.
    pub component: String,
    /// What exactly is missing.
    pub why: String,
    /// Packages of the distro that bring it.
    pub packages: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "what")]
pub enum PlanError {
    /// The distro has it, the machine does not.
    #[error("{} is not installed: {}; install {}", .wanting.component, .wanting.why, .wanting.packages.join(" "))]
    Missing {
        /// What to install.
        wanting: Wanting,
    },
    /// The record knows no package: an admin's entry is needed.
    #[error(
        "{component} is not packaged by {release} for {arch}, as far as its record knows: describe yours in /etc/kata-osinfo"
    )]
    NotPackaged {
        /// `qemu`.
        component: String,
        /// `debian:12`.
        release: String,
        /// The architecture.
        arch: Arch,
    },
    /// It is there and known not to work.
    #[error("{what} is known not to work: {}", .why.join("; "))]
    Unsupported {
        /// `vmm.boot`, `kernel.guest`.
        #[serde(rename = "capability")]
        what: Capability,
        /// Each independent cause.
        why: Vec<String>,
        /// What to do instead.
        instead: String,
    },
    /// No shared filesystem works.
    #[error("no shared filesystem works: {}", .passed_over.iter().map(|p| format!("{}: {}", p.name, p.why.join("; "))).collect::<Vec<_>>().join(" | "))]
    NothingWorks {
        /// All that were tried.
        passed_over: Vec<PassedOver>,
    },
}

/// Decides Kata's configuration.
///
/// # Errors
///
/// What is missing, known not to work, or nowhere to be had; `force` overrides only what is known not to work.
pub fn plan(inputs: &Inputs<'_>) -> Result<Configuration, PlanError> {
    let Inputs { release, profile, found, .. } = *inputs;
    let mut notes = Vec::new();
    let mut note = |about: &str, text: String| notes.push(Note { about: about.to_owned(), text });
    let hypervisor = hypervisor(inputs)?;
    let mut forced = false;
    let mut refuse = |what: Capability, instead: &str| -> Result<Vec<String>, PlanError> {
        let (against, evidence) = evidence(inputs.verified, release, profile, what, found);
        if against.is_empty() {
            return Ok(evidence);
        }
        if !inputs.force {
            return Err(PlanError::Unsupported { what, why: against, instead: instead.to_owned() });
        }
        forced = true;
        Ok(against.into_iter().map(|a| format!("forced although known not to work: {a}")).collect())
    };
    for line in refuse(
        Capability::VmmBoot,
        "use another release or profile, or a VMM of your own (`kata-osinfo fallback --build qemu`)",
    )? {
        note("path", line);
    }
    let mut doubts = false;
    // Kata plugs what a pod asks for into its guest, and reads QMP's replies to everything.
    for what in PLUGGED {
        let (against, _) = evidence(inputs.verified, release, profile, *what, found);
        if !against.is_empty() && !inputs.force {
            let instead = "use another release or profile, or a VMM of your own".to_owned();
            return Err(PlanError::Unsupported { what: *what, why: against, instead });
        }
        doubts |= !against.is_empty();
        against.into_iter().for_each(|a| note("path", format!("forced although known not to work: {a}")));
    }
    let boot = match inputs.guest {
        Guest::Kata => {
            note("kernel", "Kata's own kernel stays: not for production".to_owned());
            Boot::Kata
        }
        Guest::Own { kernel, initrd } => {
            let of_distro = kernel.is_none();
            let Some(kernel) = kernel.clone().or_else(|| found.kernel.clone()) else {
                return Err(no_kernel(release));
            };
            if of_distro && found.kernel_in_doubt {
                doubts = true;
                note(
                    "kernel",
                    format!(
                        "nothing says that {kernel} is the kernel of {}: it is of another flavour or lies beside others; name one with --kernel",
                        release.kernel.as_ref().map(|k| k.packages.join(", ")).unwrap_or_default()
                    ),
                );
            }
            if let Some(why) = found.initrd.as_ref().and_then(|i| i.against(&kernel)).filter(|_| !inputs.force) {
                return Err(PlanError::Unsupported {
                    what: Capability::KernelGuest,
                    why: vec![format!("{initrd} {why}")],
                    instead: format!("give an initrd that was made for {kernel}"),
                });
            }
            let about_initrd = about_initrd(&kernel, initrd, found.initrd.as_ref(), inputs.kata);
            for Judged { text, in_doubt } in about_initrd {
                doubts |= in_doubt;
                note("initrd", text);
            }
            // What was proved of the distro's kernel says nothing of one that may be another's.
            if of_distro && !found.kernel_in_doubt {
                let instead = "take Kata's own kernel with `--kernel kata` (not for production), or name another";
                for line in refuse(Capability::KernelGuest, instead)? {
                    note("kernel", line);
                }
            }
            Boot::Initrd { kernel, initrd: initrd.clone() }
        }
    };
    if boot != Boot::Kata && version::agent_wants_reuse_of_ports(inputs.kata) {
        note(
            "kernel",
            format!(
                "the agent of Kata {} does not start on kernels that refuse SO_REUSEPORT on vsock, as Linux does since \
                 6.13 and stable branches since January 2025: take Kata 3.14.0 or newer, or an older kernel",
                inputs.kata
            ),
        );
    }
    let image = match boot {
        Boot::Kata => Some(image_boot(inputs)?),
        Boot::Initrd { .. } => None,
    };
    image.iter().flat_map(|image| &image.notes).for_each(|line| note("image", line.clone()));
    let choice = ShareChoice::of(release, inputs.verified, profile, found);
    let (share, was_forced) = share(&choice, inputs.force)?;
    if choice.evidence.is_empty() && !was_forced {
        note("shared_fs", format!("{} has never been verified here under {}", share.name(), profile.name));
    }
    choice.evidence.iter().for_each(|line| note("shared_fs", line.clone()));
    let block_aio = match (found.io_uring, found.io_uring_forbidden) {
        (Some(false), _) => {
            note("block_device_aio", format!("{hypervisor} was built without io_uring, Kata's default"));
            Some(BlockAio::Threads)
        }
        (_, true) => {
            note("block_device_aio", "kernel.io_uring_disabled is 2: nobody may use io_uring here".to_owned());
            Some(BlockAio::Threads)
        }
        _ => None,
    };
    Ok(Configuration {
        profile: profile.name.clone(),
        runtime: profile.runtime,
        kata: inputs.kata,
        hypervisor,
        machine: machine(profile, release.arch),
        share,
        flavour: found.daemon.as_ref().map_or(Flavour::Unknown, |d| d.flavour),
        cache: profile.virtiofsd.cache.clone(),
        extra_args: profile.virtiofsd.extra_args.clone(),
        block_aio,
        production: boot != Boot::Kata && !forced && !was_forced && !doubts,
        image_as_disk: image.as_ref().is_some_and(|image| image.changed && image.driver == ImageDriver::Blk),
        unproven_image: image.is_some_and(|image| !image.proven),
        in_doubt: doubts,
        boot,
        emulated: inputs.emulated,
        notes,
        passed_over: choice.passed_over,
    })
}

/// What every pod needs of a VMM besides a guest that boots.
const PLUGGED: &[Capability] =
    &[Capability::VmmQmp, Capability::VmmHotplugMemory, Capability::VmmHotplugBlk, Capability::VmmHotplugNet];

/// Something to know of a file.
struct Judged {
    text: String,
    /// Whether it speaks against the file.
    in_doubt: bool,
}

/// What is to be known of an initrd: by what is in it, else by its name.
fn about_initrd(kernel: &str, initrd: &str, found: Option<&Initrd>, kata: KataVersion) -> Vec<Judged> {
    let doubt = |text| Judged { text, in_doubt: true };
    let mut all = Vec::new();
    if let Some(Initrd::Unread(why)) = found {
        all.push(doubt(format!("{initrd} was not looked into: {why}")));
    }
    let Some(found @ (Initrd::Has { .. } | Initrd::Broken(_))) = found else {
        all.extend(initrd_in_doubt(kernel, initrd, kata).map(doubt));
        return all;
    };
    all.extend(found.against(kernel).map(|why| doubt(format!("{initrd} {why}"))));
    if let Initrd::Has { modules, agent } = found {
        if !agent {
            all.push(doubt(format!(
                "Kata's agent is not seen in {initrd}: neither a kata-agent nor an init that is one"
            )));
        }
        if modules.is_empty() {
            let text = format!("{initrd} has no modules: whatever a guest needs must be built into {kernel}");
            all.push(Judged { text, in_doubt: false });
        }
    }
    all
}

/// What an initrd's name says against it.
fn initrd_in_doubt(kernel: &str, initrd: &str, kata: KataVersion) -> Option<String> {
    let name = initrd.rsplit('/').next()?;
    let release = release_of(kernel)?;
    if name.contains(release) {
        // As dracut, initramfs-tools and mkinitrd call them.
        let hosts = ["initrd.img-", "initramfs-", "initrd-"]
            .iter()
            .any(|p| name.strip_prefix(p).is_some_and(|n| n.starts_with(release)));
        return hosts.then(|| {
            format!("{initrd} is what this machine itself boots, by its name: Kata needs one with its agent")
        });
    }
    let versions = name
        .split(['-', '_'])
        .filter(|w| w.split('.').take(2).filter(|n| n.starts_with(|c: char| c.is_ascii_digit())).count() == 2);
    // Kata's own version is another matter.
    let kata = format!("{}.{}", kata.major, kata.minor);
    let another =
        versions.into_iter().any(|w| !w.starts_with(&kata) && !release.starts_with(w.trim_end_matches(".img")));
    another
        .then(|| format!("{initrd} is of another kernel than {kernel}, by its name: its modules are not this kernel's"))
}

fn hypervisor(inputs: &Inputs<'_>) -> Result<String, PlanError> {
    let Some(vmm) = inputs.release.qemu() else {
        return Err(PlanError::NotPackaged {
            component: "qemu".to_owned(),
            release: inputs.release.name(),
            arch: inputs.release.arch,
        });
    };
    match &inputs.found.hypervisor {
        Some(path) => Ok(path.clone()),
        None => Err(PlanError::Missing {
            wanting: Wanting {
                component: vmm.name.clone(),
                why: format!("{} is not there", vmm.path),
                packages: vmm.packages.clone(),
            },
        }),
    }
}

fn no_kernel(release: &Release) -> PlanError {
    match &release.kernel {
        Some(kernel) => PlanError::Missing {
            wanting: Wanting {
                component: "kernel".to_owned(),
                why: format!("{} matches nothing", kernel.image),
                packages: kernel.packages.clone(),
            },
        },
        None => PlanError::NotPackaged { component: "kernel".to_owned(), release: release.name(), arch: release.arch },
    }
}

/// The chosen filesystem, and whether it was forced.
fn share(choice: &ShareChoice, force: bool) -> Result<(Share, bool), PlanError> {
    if let Some(share) = &choice.share {
        return Ok((share.clone(), false));
    }
    // What only needs its packages is better than what must be forced or built.
    let installable =
        choice.passed_over.iter().find(|p| !p.install.is_empty() && p.why.len() == 1 && p.forceable.is_none());
    if let Some(passed_over) = installable {
        return Err(PlanError::Missing {
            wanting: Wanting {
                component: passed_over.name.clone(),
                why: passed_over.why.join("; "),
                packages: passed_over.install.clone(),
            },
        });
    }
    if force && let Some(share) = choice.passed_over.iter().find_map(|p| p.forceable.clone()) {
        return Ok((share, true));
    }
    Err(PlanError::NothingWorks { passed_over: choice.passed_over.clone() })
}

/// `machine_type`: the profile's for x86_64, of which it is taken; the others' is the same in every Kata from 2.2 on.
///
/// `src/runtime/arch/*-options.mk@3.30.0`, `src/runtime-rs/arch/*-options.mk@4.0.0`.
fn machine(profile: &Profile, arch: Arch) -> String {
    match arch {
        Arch::X86_64 => profile.qemu.machine.clone(),
        Arch::Aarch64 => "virt".to_owned(),
        Arch::Ppc64le => "pseries".to_owned(),
        Arch::S390x => "s390-ccw-virtio".to_owned(),
    }
}

#[cfg(test)]
mod tests;
