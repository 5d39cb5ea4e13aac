//! Images of candidates: a release's plain image with an overlay or packages under test laid over it.

mod overlay;

use crate::cache::{Image, Turn};
use crate::digest::{self, Fields};
use crate::error::{Context, Failure, ImageErrorKind};
use crate::family::PackageFamily;
use crate::family::install::Install;
use crate::job::{Job, able_to_build};
use crate::manifest::Manifest;
use crate::options::Options;
use crate::owners;
use crate::package::ExtraPackage;
use crate::progress::Phase;
use crate::tree::compare;
use jiff::Timestamp;
use model::package::PackageName;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// What is laid over a release, with its hash.
pub(crate) struct Candidates {
    packages: Vec<ExtraPackage>,
    overlay: Option<PathBuf>,
    hash: String,
}

impl Candidates {
    /// Checks and hashes the candidates; nothing where there are none.
    pub(crate) fn of(family: &dyn PackageFamily, options: &Options) -> Result<Option<Candidates>, Failure> {
        if options.extra_packages.is_empty() && options.overlay.is_none() {
            return Ok(None);
        }
        let mut packages = options.extra_packages.clone();
        packages.sort();
        let mut fields = Fields::default();
        for package in &packages {
            fields = match package {
                ExtraPackage::Name(name) if family.package_name(name.as_str()).is_some() => {
                    fields.add("name", name.as_str())
                }
                ExtraPackage::Name(name) => {
                    let reason = format!("expected {}", family.name_form());
                    return Err(ImageErrorKind::BadPackage { name: name.to_string(), reason }.into());
                }
                ExtraPackage::File(path) if family.is_package_file(&path.to_string_lossy()) => {
                    fields.add("file", digest::of_file(path)?)
                }
                ExtraPackage::File(path) => {
                    let reason = format!("expected {}", family.file_form());
                    return Err(ImageErrorKind::BadPackage { name: path.display().to_string(), reason }.into());
                }
            };
        }
        let overlay = options.overlay.clone();
        if let Some(folder) = &overlay {
            let go_on = || match options.cancel.load(Ordering::Relaxed) {
                true => Err(ImageErrorKind::Cancelled.into()),
                false => Ok(()),
            };
            fields = fields.add("overlay", overlay::hash(folder, &go_on)?);
        }
        Ok(Some(Candidates { packages, overlay, hash: fields.hex() }))
    }
}

/// Copies the plain image and lays the candidates over the copy.
pub(crate) fn derive(job: &mut Job<'_>, plain: &Image, candidates: &Candidates) -> Result<Image, Failure> {
    let derived = |from: &str| Fields::default().add("derived from", from).add("extras", &candidates.hash).hex();
    let (key, request) = (derived(plain.key()), derived(&plain.manifest.request));
    // The plain image must not be cleaned away while it is copied.
    let _hold = plain.hold().context("locking", &plain.dir)?;
    let found = |image: Image| Image { origin: plain.origin.max(image.origin), ..image };
    if let Some(image) = job.store.find(&key)? {
        return Ok(found(image));
    }
    able_to_build(job.release)?;
    let _turn = match job.store.turn(&job.runner, &key)? {
        Turn::Made(image) => return Ok(found(*image)),
        ours @ Turn::Ours { .. } => ours,
    };
    job.enter(Phase::Copy);
    let workshop = job.store.workshop(&key)?;
    let tree = workshop.rootfs();
    job.copy_tree(&plain.rootfs(), &tree)?;
    let mut manifest = plain.manifest.clone();
    let in_package = |package: &ExtraPackage| match package {
        ExtraPackage::Name(name) => Some(name.clone()),
        ExtraPackage::File(path) => job.family.name_in_file(path),
    };
    let names: Vec<PackageName> =
        manifest.requested.iter().cloned().chain(candidates.packages.iter().filter_map(in_package)).collect();
    if !candidates.packages.is_empty() {
        job.enter(Phase::Install);
        let (folder, packages) = (&workshop.dir, &candidates.packages);
        let install = Install { tree: &tree, folder, indexes: &plain.dir, packages, required: &[] };
        job.archives()?.install(&job.runner, &install)?;
        job.enter(Phase::Record);
        manifest.packages = job.family.packages(&tree)?;
        manifest.origins = job.family.origins(&job.runner, &tree, &plain.dir, &manifest.packages)?;
    }
    if let Some(folder) = &candidates.overlay {
        job.enter(Phase::Overlay);
        overlay::apply(folder, &tree, &|| job.runner.check())?;
    }
    job.enter(Phase::Record);
    manifest.owners = owners::owners(job.family, &tree, job.release);
    job.enter(Phase::Store);
    // From here on nothing writes to the tree.
    compare::link_unchanged(&plain.rootfs(), &tree).context("sharing unchanged files of", &tree)?;
    let manifest = Manifest {
        key,
        request,
        derived_from: Some(plain.key().to_owned()),
        made: Timestamp::now(),
        requested: names,
        timings: job.timings.clone(),
        ..manifest
    };
    workshop.finish(&job.store, &manifest)
}
