//! The pinned QEMU as a run gets it: from an image in the cache or one that is made, with the accelerator that works here.

use super::outer::{self, Accelerator, KVM_DEVICE, OuterError, OuterQemu};
use super::tiny::{Extras, Tiny, TinyError};
use images::{ExtraPackage, Image, Options, Progress, Source};
use model::arch::Arch;
use model::diagnostic::error_chain;
use model::release::Release;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a guest of a second or two may take to boot under KVM; where KVM hangs, it hangs forever.
const KVM_BOOT: Duration = Duration::from_secs(30);

/// The pinned QEMU of a run, prepared when it is first wanted.
pub struct Pinned {
    options: Options,
    /// Of the machines that it is to boot.
    arch: Arch,
    outer: OnceLock<Result<Arc<OuterQemu>, Arc<OuterError>>>,
}

impl Pinned {
    /// One whose image will be prepared by the options of a run of these releases.
    ///
    /// A mirror that is named is the releases', and so the pinned one's only if these are of its distro.
    pub fn new(options: Options, releases: &[Release]) -> Pinned {
        let is_theirs = releases.iter().all(|release| release.distro == outer::DISTRO);
        let options = match is_theirs {
            true => options,
            false => Options { mirror: None, security_mirror: None, keys: Vec::new(), ..options },
        };
        let arch = releases.first().map_or_else(outer::here, |release| release.arch);
        Pinned { options, arch, outer: OnceLock::new() }
    }

    /// The QEMU; blocks while it is prepared.
    ///
    /// # Errors
    /// When it cannot be had; the same error from then on.
    pub fn get(&self) -> Result<Arc<OuterQemu>, Arc<OuterError>> {
        self.outer
            .get_or_init(|| prepare_for(self.arch, &self.options, &|_| {}).map(Arc::new).map_err(Arc::new))
            .clone()
    }

    /// The same, if it is known already.
    pub fn if_known(&self) -> Option<&OuterQemu> {
        self.outer.get()?.as_ref().ok().map(AsRef::as_ref)
    }

    /// What its image would be made of, and by which options; `None` where the cache has one.
    ///
    /// # Errors
    /// When there is no record of it.
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

/// Finds the image that the QEMU comes from in the cache, or prepares it, and finds out which accelerator works.
///
/// A cached image serves as it is: it is a tool here, and the mirror need not be asked for a newer one.
///
/// # Errors
/// When the image cannot be had.
pub fn prepare(options: &Options, progress: &(dyn Fn(Progress) + Sync)) -> Result<OuterQemu, OuterError> {
    let outer = match cached(&options.cache).and_then(|image| OuterQemu::of(&image).ok()) {
        Some(outer) => outer,
        None => OuterQemu::of(&prepare_image(options, progress)?)?,
    };
    Ok(with_accelerator(outer))
}

/// The same for machines of an architecture. For another one than this machine's, QEMU for it is laid over the image, and
/// emulates.
///
/// # Errors
/// When the image cannot be had.
pub fn prepare_for(
    arch: Arch,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<OuterQemu, OuterError> {
    if arch == outer::here() {
        return prepare(options, progress);
    }
    let image = made(&with_another(arch, options)?, progress)?;
    let mut outer = OuterQemu::for_machines(&image, arch)?;
    let why = format!("this machine's processor is {}", outer::here());
    outer.accelerator = Accelerator::Tcg { why, dead_kvm: false };
    Ok(outer)
}

/// How an image with QEMU for another architecture is made.
fn with_another(arch: Arch, options: &Options) -> Result<Options, OuterError> {
    let package = ExtraPackage::Name(outer::package(arch).parse()?);
    Ok(Options { extra_packages: vec![package], ..bare(options) })
}

/// The accelerator that works here, by the cached image of the pinned release.
///
/// # Errors
/// When the image lacks QEMU.
pub fn try_cached(image: &Image) -> Result<OuterQemu, OuterError> {
    Ok(with_accelerator(OuterQemu::of(image)?))
}

/// The newest image of the pinned release in the cache, as the distro ships it.
pub fn cached(cache: &Path) -> Option<Image> {
    let name = outer::release_name();
    let plain = |image: &Image| {
        let manifest = &image.manifest;
        let is_given = matches!(manifest.source, Source::Cloud | Source::OciImage);
        image.release() == name && manifest.arch == outer::here() && manifest.derived_from.is_none() && !is_given
    };
    images::cache::list(cache).into_iter().find(plain)
}

fn prepare_image(options: &Options, progress: &(dyn Fn(Progress) + Sync)) -> Result<Image, OuterError> {
    made(&bare(options), progress)
}

fn made(options: &Options, progress: &(dyn Fn(Progress) + Sync)) -> Result<Image, OuterError> {
    let release = outer::release()?;
    images::prepare(&release, options, progress).map_err(|source| OuterError::Image { release: release.name(), source })
}

/// Candidates and bases of the caller's are under test; they are never what boots the others.
fn bare(options: &Options) -> Options {
    options.plain(true)
}

/// KVM where it boots the pinned release's kernel to our agent and would let guests have it, too; else emulation.
fn with_accelerator(mut outer: OuterQemu) -> OuterQemu {
    outer.accelerator = match kvm_works(&outer) {
        Ok(()) => Accelerator::Kvm,
        Err(why) => {
            Accelerator::Tcg { why: error_chain(&why), dead_kvm: matches!(why, NoKvm::Ended(_) | NoKvm::Silent { .. }) }
        }
    };
    outer
}

/// Why machines do not run under KVM.
#[derive(Debug, thiserror::Error)]
enum NoKvm {
    #[error("{KVM_DEVICE}")]
    Device(#[source] io::Error),
    #[error("trying KVM")]
    Guest(#[from] TinyError),
    #[error("no guest boots under KVM: {0}")]
    Ended(String),
    #[error("no guest boots under KVM: no answer within {} s: {said}", KVM_BOOT.as_secs())]
    Silent { said: String },
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

/// Boots a guest with our agent as its init; where KVM is broken QEMU exits, or hangs until the deadline.
fn boots_under_kvm(outer: &OuterQemu) -> Result<(), NoKvm> {
    let tiny = Tiny::start(outer, &Accelerator::Kvm, Extras::default())?;
    let booted = tiny.client.wait_for_hello(KVM_BOOT, || tiny.runs() && !tiny.reports_error());
    booted.map_err(|_| match tiny.ending() {
        Some(how) => NoKvm::Ended(how),
        None if tiny.reports_error() => NoKvm::Ended(tiny.first_line()),
        None => NoKvm::Silent { said: tiny.first_line() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::database::Database;

    #[test]
    fn a_mirror_of_another_distro_is_not_the_pinned_ones() {
        let database = Database::embedded();
        let release =
            |distro: &str, version: &str| database.record(distro).unwrap().release(version, Arch::X86_64).unwrap();
        let options = Options { mirror: Some("http://a.example".to_owned()), ..Options::new("/nowhere") };
        let mirror = |of: Release| Pinned::new(options.clone(), &[of]).options.mirror;
        assert_eq!(mirror(release("debian", "12")), options.mirror);
        assert_eq!(mirror(release("ubuntu", "24.04")), None);
    }
}
