//! The pure part: from facts to a configuration, or to what is missing.

use super::configuration::{BlockAio, Boot, Configuration, Note, PlanError, Wanting};
use super::image::image_boot;
use super::initrd::{self, Judged};
use super::inputs::{Guest, Inputs};
use super::{Flavour, Share, ShareChoice, evidence, version};
use model::arch::Arch;
use model::capability::Capability;
use model::profile::{ImageDriver, Profile};
use model::release::Release;

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
            let judged = initrd::judged(&kernel, initrd, found.initrd.as_ref(), inputs.kata);
            for Judged { text, in_doubt } in judged {
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
