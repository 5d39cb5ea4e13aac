//! Preparation of the pinned QEMU for a run: from an image in the cache or a new one, with the accelerator that works
//! here.

use super::outer::{self, KVM_DEVICE, MachineAccelerator, OuterError, OuterQemu};
use super::tiny::{Extras, Tiny, TinyError};
use images::{BaseSource, ExtraPackage, Image, Options, ProgressMessage};
use model::arch::Arch;
use model::diagnostic::error_chain;
use model::release::Release;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Time that a guest, which boots in a second or two, may take under KVM; a broken KVM may hang forever.
const KVM_BOOT: Duration = Duration::from_secs(30);

/// The pinned QEMU of a run, prepared when it is first needed.
pub struct Pinned {
    options: Options,
    /// The architecture of the machines that it will boot.
    arch: Arch,
    outer: OnceLock<Result<Arc<OuterQemu>, Arc<OuterError>>>,
}

impl Pinned {
    /// Returns a QEMU whose image will be prepared with the options of a run of these releases.
    ///
    /// A mirror in the options is the releases', so the pinned release uses it only if all of them are of its distro.
    pub fn new(options: Options, releases: &[Release]) -> Pinned {
        let is_theirs = releases.iter().all(|release| release.distro == outer::RELEASE.distro);
        let options = match is_theirs {
            true => options,
            false => Options { mirror: None, security_mirror: None, keys: Vec::new(), ..options },
        };
        let arch = releases.first().map_or_else(outer::here, |release| release.arch);
        Pinned { options, arch, outer: OnceLock::new() }
    }

    /// Returns the QEMU; blocks while it is prepared.
    ///
    /// # Errors
    /// If it cannot be prepared; later calls return the same error.
    pub fn get(&self) -> Result<Arc<OuterQemu>, Arc<OuterError>> {
        self.outer
            .get_or_init(|| prepare_for(self.arch, &self.options, &|_| {}).map(Arc::new).map_err(Arc::new))
            .clone()
    }

    /// Returns the QEMU if it has already been prepared.
    pub fn if_known(&self) -> Option<&OuterQemu> {
        self.outer.get()?.as_ref().ok().map(AsRef::as_ref)
    }

    /// Returns the release and the options from which the image would be made; `None` if the cache has the image.
    ///
    /// # Errors
    /// If there is no record of the release.
    pub fn to_be_made(&self) -> Result<Option<(Release, Options)>, OuterError> {
        if self.arch != outer::here() {
            return Ok(Some((outer::release()?, with_another(self.arch, &self.options)?)));
        }
        match cached(&self.options.cache).is_some_and(|image| OuterQemu::of(&image).is_ok()) {
            true => Ok(None),
            false => Ok(Some((outer::release()?, bare(&self.options)))),
        }
    }
}

/// Finds the QEMU's image in the cache, or prepares it, and finds out which accelerator works.
///
/// A cached image is used as it is: the image is only a tool, and the mirror is not asked for a newer one.
///
/// # Errors
/// If the image cannot be prepared.
pub fn prepare(options: &Options, progress: &(dyn Fn(ProgressMessage) + Sync)) -> Result<OuterQemu, OuterError> {
    let outer = match cached(&options.cache).and_then(|image| OuterQemu::of(&image).ok()) {
        Some(outer) => outer,
        None => OuterQemu::of(&prepare_image(options, progress)?)?,
    };
    Ok(with_accelerator(outer))
}

/// Prepares the QEMU for machines of an architecture. For an architecture other than this machine's, its QEMU is laid
/// over the image, and emulates.
///
/// # Errors
/// If the image cannot be prepared.
pub fn prepare_for(
    arch: Arch,
    options: &Options,
    progress: &(dyn Fn(ProgressMessage) + Sync),
) -> Result<OuterQemu, OuterError> {
    if arch == outer::here() {
        return prepare(options, progress);
    }
    let image = made(&with_another(arch, options)?, progress)?;
    let mut outer = OuterQemu::for_machines(&image, arch)?;
    let why = format!("this machine's processor is {}", outer::here());
    outer.accelerator = MachineAccelerator::Tcg { why, dead_kvm: false };
    Ok(outer)
}

/// Returns the options for an image with QEMU for another architecture.
fn with_another(arch: Arch, options: &Options) -> Result<Options, OuterError> {
    let package = ExtraPackage::Name(outer::package(arch).parse()?);
    Ok(Options { extra_packages: vec![package], ..bare(options) })
}

/// Finds out which accelerator works here, with the cached image of the pinned release.
///
/// # Errors
/// If the image lacks QEMU.
pub fn try_cached(image: &Image) -> Result<OuterQemu, OuterError> {
    Ok(with_accelerator(OuterQemu::of(image)?))
}

/// Returns the newest image of the pinned release in the cache, as shipped by the distro.
pub fn cached(cache: &Path) -> Option<Image> {
    let plain = |image: &Image| {
        let manifest = &image.manifest;
        let is_given = matches!(manifest.source, BaseSource::Cloud | BaseSource::OciImage);
        image.release() == outer::RELEASE
            && manifest.arch == outer::here()
            && manifest.derived_from.is_none()
            && !is_given
    };
    images::cache::list(cache).into_iter().find(plain)
}

fn prepare_image(options: &Options, progress: &(dyn Fn(ProgressMessage) + Sync)) -> Result<Image, OuterError> {
    made(&bare(options), progress)
}

fn made(options: &Options, progress: &(dyn Fn(ProgressMessage) + Sync)) -> Result<Image, OuterError> {
    let release = outer::release()?;
    images::prepare(&release, options, progress)
        .map_err(|source| OuterError::Image { release: release.target(), source })
}

/// Drops the caller's candidates and bases, which are under test and must not boot other releases.
fn bare(options: &Options) -> Options {
    options.plain(true)
}

/// Selects KVM if the pinned release's kernel boots under it to the harness's agent and it can nest; else emulation.
fn with_accelerator(mut outer: OuterQemu) -> OuterQemu {
    outer.accelerator = match kvm_works(&outer) {
        Ok(()) => MachineAccelerator::Kvm,
        Err(why) => MachineAccelerator::Tcg {
            why: error_chain(&why),
            dead_kvm: matches!(why, NoKvm::Ended(_) | NoKvm::Silent { .. }),
        },
    };
    outer
}

/// Reason why machines do not run under KVM.
#[derive(Debug, thiserror::Error)]
enum NoKvm {
    #[error("{KVM_DEVICE}")]
    Device(#[source] io::Error),
    #[error("trying KVM")]
    Guest(#[from] TinyError),
    #[error("no guest boots under KVM: {0}")]
    Ended(String),
    #[error("no guest boots under KVM: no answer within {} s: {line}", KVM_BOOT.as_secs())]
    Silent { line: String },
    #[error("nested KVM is not available here: a virtual machine would have no KVM of its own")]
    NotNested,
}

fn kvm_works(outer: &OuterQemu) -> Result<(), NoKvm> {
    std::fs::OpenOptions::new().read(true).write(true).open(KVM_DEVICE).map_err(NoKvm::Device)?;
    boots_under_kvm(outer)?;
    let nests = ["kvm_amd", "kvm_intel"].iter().any(|module| {
        let value = std::fs::read_to_string(format!("/sys/module/{module}/parameters/nested"));
        value.is_ok_and(|v| matches!(v.trim(), "1" | "Y"))
    });
    if nests { Ok(()) } else { Err(NoKvm::NotNested) }
}

/// Boots a guest with the harness's agent as its init; if KVM is broken, QEMU exits, or hangs until the deadline.
fn boots_under_kvm(outer: &OuterQemu) -> Result<(), NoKvm> {
    let tiny = Tiny::start(outer, &MachineAccelerator::Kvm, Extras::default())?;
    let booted = tiny.client.wait_for_hello(KVM_BOOT, || tiny.runs() && !tiny.reports_error());
    booted.map_err(|_| match tiny.ending() {
        Some(how) => NoKvm::Ended(how),
        None if tiny.reports_error() => NoKvm::Ended(tiny.first_line()),
        None => NoKvm::Silent { line: tiny.first_line() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::database::Database;

    #[test]
    fn the_pinned_release_uses_no_mirror_of_another_distro() {
        let database = Database::embedded();
        let release =
            |distro: &str, version: &str| database.record(distro).unwrap().release(version, Arch::X86_64).unwrap();
        let options = Options { mirror: Some("http://a.example".to_owned()), ..Options::new("/nowhere") };
        let mirror = |of: Release| Pinned::new(options.clone(), &[of]).options.mirror;
        assert_eq!(mirror(release("debian", "12")), options.mirror);
        assert_eq!(mirror(release("ubuntu", "24.04")), None);
    }
}
