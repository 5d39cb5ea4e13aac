//! The pure part: decides on a configuration from facts, or on what is missing.

use super::configuration::{BlockAio, Boot, KataConfiguration, MissingComponent, Note, PlanError};
use super::found::no_program;
use super::guest::GuestKernel;
use super::image::image_boot;
use super::initrd::{self, Remark};
use super::inputs::Inputs;
use super::share::evidence;
use super::{ShareChoice, SharedFs, version};
use model::arch::Arch;
use model::capability::Capability;
use model::component::Component;
use model::profile::{ImageDriver, Profile};
use model::release::Release;
use model::virtiofsd::Flavour;
use root::InsidePath;

/// The note if no filesystem is shared (kata-containers issue 7207).
const WITHOUT_SHARE: &str = "no filesystem is shared: containers' root filesystems must be block devices, from a \
     snapshotter such as containerd's devmapper; files that Kubernetes mounts, including secrets, are copied when a \
     container starts and not updated afterwards";

/// Decides Kata's configuration.
///
/// # Errors
///
/// A part is missing, known not to work, or not packaged; `force` overrides only what is known not to work.
pub fn plan(inputs: &Inputs<'_>) -> Result<KataConfiguration, PlanError> {
    let Inputs { release, profile, found, .. } = *inputs;
    let hypervisor = hypervisor(inputs)?;
    let mut reasons = Reasons { inputs: *inputs, notes: Vec::new(), forced: false, in_doubt: false };
    let instead = "use another release or profile, or a VMM of your own (`kata-osinfo fallback --build qemu`)";
    reasons.need("path", Capability::VmmBoot, instead)?;
    reasons.need_hotplug()?;
    let boot = boot(&mut reasons)?;
    let image = match boot {
        Boot::Kata => Some(image_boot(inputs)?),
        Boot::Initrd { .. } => None,
    };
    image.iter().flat_map(|image| &image.notes).for_each(|line| reasons.note("image", line.clone()));
    let choice = match inputs.no_shared_fs {
        true => ShareChoice::none(),
        false => ShareChoice::of(release, inputs.verified, profile, found),
    };
    let (share, share_is_forced) = share(&choice, release, inputs.force)?;
    if share == SharedFs::None {
        reasons.note("shared_fs", WITHOUT_SHARE.to_owned());
    } else if choice.evidence.is_empty() && !share_is_forced {
        reasons.note(
            "shared_fs",
            format!("{} has never been verified for this release with {}", share.name(), profile.name),
        );
    }
    choice.evidence.iter().for_each(|line| reasons.note("shared_fs", line.clone()));
    let block_aio = block_aio(&mut reasons, &hypervisor);
    let Reasons { notes, forced, in_doubt, .. } = reasons;
    Ok(KataConfiguration {
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
        production: !forced && !share_is_forced && !in_doubt,
        image_as_disk: image.as_ref().is_some_and(|image| image.changed && image.driver == ImageDriver::Blk),
        unproven_image: image.is_some_and(|image| !image.proven),
        in_doubt,
        boot,
        emulated: inputs.emulated,
        notes,
        passed_over: choice.passed_over,
    })
}

/// Reasons for the configuration, gathered on the way.
struct Reasons<'a> {
    inputs: Inputs<'a>,
    notes: Vec<Note>,
    /// Whether something that is known not to work is forced.
    forced: bool,
    /// Whether something may not work.
    in_doubt: bool,
}

impl Reasons<'_> {
    fn note(&mut self, about: &str, text: String) {
        self.notes.push(Note { about: about.to_owned(), text });
    }

    /// Returns the reasons against a capability, and those for it.
    fn evidence(&self, what: Capability) -> (Vec<String>, Vec<String>) {
        evidence(self.inputs.verified, self.inputs.release, self.inputs.profile, what, self.inputs.found)
    }

    /// Refuses a capability that is known not to work, unless it is forced; otherwise notes the evidence for it.
    fn need(&mut self, about: &str, what: Capability, instead: &str) -> Result<(), PlanError> {
        let (against, evidence) = self.evidence(what);
        if against.is_empty() {
            evidence.into_iter().for_each(|line| self.note(about, line));
            return Ok(());
        }
        if !self.inputs.force {
            return Err(PlanError::Unsupported { what, why: against, instead: instead.to_owned() });
        }
        self.forced = true;
        against.into_iter().for_each(|a| self.note(about, format!("forced although known not to work: {a}")));
        Ok(())
    }

    /// Like [`Reasons::need`], for the devices that are plugged into a booted guest.
    fn need_hotplug(&mut self) -> Result<(), PlanError> {
        for what in Capability::of_every_vmm().filter(|what| *what != Capability::VmmBoot) {
            let (against, _) = self.evidence(what);
            if !against.is_empty() && !self.inputs.force {
                let instead = "use another release or profile, or a VMM of your own".to_owned();
                return Err(PlanError::Unsupported { what, why: against, instead });
            }
            self.in_doubt |= !against.is_empty();
            against.into_iter().for_each(|a| self.note("path", format!("forced although known not to work: {a}")));
        }
        // Pods run without network hotplug; only containers whose network is made by a hook, as Docker does it, have no
        // network.
        let (against, _) = self.evidence(Capability::VmmHotplugNet);
        self.in_doubt |= !against.is_empty();
        for why in against {
            let what = "adding network interfaces to a running guest, as Docker does, is known not to work";
            self.note("path", format!("{what}: {why}"));
        }
        Ok(())
    }
}

/// Decides on the guest's kernel and root filesystem.
fn boot(reasons: &mut Reasons<'_>) -> Result<Boot, PlanError> {
    let Inputs { release, found, guest, kata, force, .. } = reasons.inputs;
    let GuestKernel::Own { kernel, initrd } = guest else {
        reasons
            .note("kernel", "Kata's own kernel is used: Kata's releases keep it up to date, not the distro".to_owned());
        return Ok(Boot::Kata);
    };
    let of_distro = kernel.is_none();
    let Some(kernel) = kernel.clone().or_else(|| found.kernel.clone()) else {
        return Err(no_kernel(release));
    };
    let (shown, shown_initrd) = (kernel.display().to_string(), initrd.display().to_string());
    if of_distro && found.kernel_in_doubt {
        reasons.in_doubt = true;
        let packages = release.kernel.as_ref().map(|k| k.packages.join(", ")).unwrap_or_default();
        reasons.note(
            "kernel",
            format!(
                "cannot tell whether {shown} is the kernel of {packages}: it is of another flavour, or there are several; choose one with --kernel"
            ),
        );
    }
    if let Some(why) = found.initrd.as_ref().and_then(|i| i.against(&shown)).filter(|_| !force) {
        let instead = format!("name an initrd that was made for {shown}");
        return Err(PlanError::WrongInitrd { initrd: initrd.clone(), why, instead });
    }
    for Remark { text, in_doubt } in initrd::judged(&shown, &shown_initrd, found.initrd.as_ref(), kata) {
        reasons.in_doubt |= in_doubt;
        reasons.note("initrd", text);
    }
    // Results for the distro's kernel do not apply to a kernel that may be another.
    if of_distro && !found.kernel_in_doubt {
        let instead = "use Kata's own kernel with `--kernel kata`, or name another";
        reasons.need("kernel", Capability::KernelGuest, instead)?;
    }
    if version::agent_wants_reuse_of_ports(kata) {
        reasons.note(
            "kernel",
            format!(
                "the agent of Kata {kata} does not start on kernels that refuse SO_REUSEPORT on vsock, as Linux does since \
                 6.13 and stable branches since January 2025: use Kata 3.14.0 or newer, or an older kernel"
            ),
        );
    }
    Ok(Boot::Initrd { kernel, initrd: initrd.clone() })
}

/// Chooses the backend for block devices' I/O, if Kata's default does not work.
fn block_aio(reasons: &mut Reasons<'_>, hypervisor: &InsidePath) -> Option<BlockAio> {
    let found = reasons.inputs.found;
    let why = match (found.io_uring, found.io_uring_forbidden) {
        (Some(false), _) => format!("{hypervisor} was built without io_uring, Kata's default"),
        (_, true) => "kernel.io_uring_disabled is 2: this machine does not allow io_uring".to_owned(),
        _ => return None,
    };
    reasons.note("block_device_aio", why);
    Some(BlockAio::Threads)
}

fn hypervisor(inputs: &Inputs<'_>) -> Result<InsidePath, PlanError> {
    let Some(vmm) = inputs.release.qemu() else {
        return Err(PlanError::NotPackaged {
            component: Component::Qemu,
            release: inputs.release.name(),
            arch: inputs.release.arch,
        });
    };
    match &inputs.found.hypervisor {
        Some(path) => Ok(path.clone()),
        None => Err(PlanError::Missing {
            missing: MissingComponent {
                component: vmm.name.clone(),
                why: match inputs.found.no_programs.contains(&vmm.path) {
                    true => no_program(&vmm.path),
                    false => format!("{} does not exist", vmm.path),
                },
                packages: vmm.packages.clone(),
                path: Some(vmm.path.clone()),
            },
        }),
    }
}

fn no_kernel(release: &Release) -> PlanError {
    match &release.kernel {
        Some(kernel) => PlanError::Missing {
            missing: MissingComponent {
                component: Component::Kernel.into(),
                why: format!("no file matches {}", kernel.image),
                packages: kernel.packages.clone(),
                path: Some(kernel.image.clone()),
            },
        },
        None => PlanError::NotPackaged { component: Component::Kernel, release: release.name(), arch: release.arch },
    }
}

/// Returns the chosen filesystem, and whether it was forced.
fn share(choice: &ShareChoice, release: &Release, force: bool) -> Result<(SharedFs, bool), PlanError> {
    if let Some(share) = &choice.share {
        return Ok((share.clone(), false));
    }
    // A filesystem that only needs its packages is better than one that must be forced or built.
    let installable =
        choice.passed_over.iter().find(|p| !p.install.is_empty() && p.why.len() == 1 && p.forceable.is_none());
    if let Some(passed_over) = installable {
        return Err(PlanError::Missing {
            missing: MissingComponent {
                component: passed_over.name.clone(),
                why: passed_over.why.join("; "),
                packages: passed_over.install.clone(),
                path: release.filesystems.iter().find(|f| f.name == passed_over.name).and_then(|f| f.path.clone()),
            },
        });
    }
    if force && let Some(share) = choice.passed_over.iter().find_map(|p| p.forceable.clone()) {
        return Ok((share, true));
    }
    Err(PlanError::NothingWorks { passed_over: choice.passed_over.clone() })
}

/// Returns `machine_type`: on x86_64 the profile's; on other architectures it is the same in every Kata since 2.2.
///
/// `src/runtime/arch/*-options.mk@3.30.0`, `src/runtime-rs/arch/*-options.mk@4.0.0`.
fn machine(profile: &Profile, arch: Arch) -> String {
    if arch == Arch::X86_64 { profile.qemu.machine.clone() } else { arch.machine_type().to_owned() }
}

#[cfg(test)]
mod tests;
