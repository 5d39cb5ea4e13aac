//! Kata's own guest image: the device as which the guest gets it, and whether that was verified.
//!
//! Without the admin's own initrd, Kata boots the image that its configuration names. A QEMU that runs guests with an
//! initrd may still fail with the image, so the image needs verdicts of its own.

use super::configuration::PlanError;
use super::inputs::Inputs;
use super::share::evidence;
use model::arch::Arch;
use model::capability::Capability;
use model::kata_version::KataVersion;
use model::package::{PackageName, PackageVersion};
use model::profile::{ImageDriver, Runtime};

/// The way in which guests get Kata's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageBoot {
    /// The device that the guest sees.
    pub(super) driver: ImageDriver,
    /// Whether this differs from Kata's default.
    pub(super) changed: bool,
    /// Whether a run proved that it works.
    pub(super) proven: bool,
    /// Notes about the image for the user.
    pub(super) notes: Vec<String>,
}

/// Chooses Kata's default, unless that is known not to work: then a disk instead of an NVDIMM, unless that fails, too.
///
/// # Errors
/// When neither works and nothing is forced.
pub(super) fn image_boot(inputs: &Inputs<'_>) -> Result<ImageBoot, PlanError> {
    let shipped = shipped(inputs);
    let evidence_for =
        |driver| evidence(inputs.verified, inputs.release, inputs.profile, capability(driver), inputs.found);
    let (mut against, evidence) = evidence_for(shipped);
    if shipped == ImageDriver::Nvdimm && has_no_read_only_memory(inputs) {
        against.push("QEMU before 6.0 cannot attach Kata's image read-only".to_owned());
    }
    if against.is_empty() {
        return Ok(boot(shipped, false, evidence));
    }
    if shipped == ImageDriver::Nvdimm {
        let (against_disk, evidence) = evidence_for(ImageDriver::Blk);
        if against_disk.is_empty() {
            let mut boot = boot(ImageDriver::Blk, true, evidence);
            boot.notes
                .splice(0..0, against.into_iter().map(|why| format!("attached as a disk instead of an NVDIMM: {why}")));
            return Ok(boot);
        }
        against.extend(against_disk);
    }
    if !inputs.force {
        let instead = "boot a kernel with an initrd that has Kata's agent (`--initrd`)".to_owned();
        return Err(PlanError::Unsupported { what: capability(shipped), why: against, instead });
    }
    let notes = against.into_iter().map(|why| format!("forced although known not to work: {why}")).collect();
    Ok(ImageBoot { driver: shipped, changed: false, proven: false, notes })
}

fn boot(driver: ImageDriver, changed: bool, evidence: Vec<String>) -> ImageBoot {
    let proven = !evidence.is_empty();
    let never = || {
        vec![format!(
            "whether guests can boot from Kata's image has not been verified for this release: {}",
            capability(driver)
        )]
    };
    ImageBoot { driver, changed, proven, notes: if proven { evidence } else { never() } }
}

fn capability(driver: ImageDriver) -> Capability {
    match driver {
        ImageDriver::Nvdimm => Capability::VmmImageNvdimm,
        ImageDriver::Blk => Capability::VmmImageBlk,
    }
}

/// Returns the device in Kata's shipped configuration: an NVDIMM on x86_64.
///
/// `appendImage` in `src/runtime/virtcontainers/qemu_*.go@3.32.0`, which for s390x has no NVDIMM;
/// `VMROOTFSDRIVER_QEMU` in `src/runtime-rs/Makefile@4.1.0`.
fn shipped(inputs: &Inputs<'_>) -> ImageDriver {
    match (inputs.profile.runtime, inputs.release.arch) {
        (_, Arch::S390x) | (Runtime::Rs, Arch::Aarch64) => ImageDriver::Blk,
        (_, Arch::X86_64 | Arch::Ppc64le) | (Runtime::Go, Arch::Aarch64) => ImageDriver::Nvdimm,
    }
}

/// Returns whether Kata asks for a read-only memory backend, and QEMU is known to be too old for that.
///
/// `appendNvdimmImage` in `src/runtime/virtcontainers/qemu_arch_base.go@2.2.0`, which is not read-only in 2.1.0;
/// `add_nvdimm` in `src/runtime-rs/crates/hypervisor/src/qemu/cmdline_generator.rs@4.0.0`.
fn has_no_read_only_memory(inputs: &Inputs<'_>) -> bool {
    let packages = inputs.release.qemu().map(|v| v.packages.as_slice()).unwrap_or_default();
    let verified = |name: &PackageName| {
        let of_this =
            inputs.verified.iter().filter(|e| e.release == inputs.release.version && e.arch == inputs.release.arch);
        of_this.filter_map(|e| e.versions.get(name)).next_back()
    };
    let mut versions = packages.iter().filter_map(|name| inputs.found.packages.get(name).or_else(|| verified(name)));
    // The first number of QEMU's own version is compared; a package manager would also compare each distro's epoch.
    let is_before_6 = |version: &PackageVersion| version.numbers().first().is_some_and(|major| *major < 6);
    inputs.kata >= KataVersion::new(2, 2, 0) && versions.any(is_before_6)
}
