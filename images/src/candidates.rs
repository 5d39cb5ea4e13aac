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
use crate::progress::ImagePhase;
use crate::tree::compare;
use jiff::Timestamp;
use model::package::PackageName;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Candidates to lay over a release, with their hash.
pub(crate) struct Candidates {
    packages: Vec<ExtraPackage>,
    /// Package files; only those that replace one of the release's packages are installed.
    updates: Vec<PathBuf>,
    overlay: Option<PathBuf>,
    hash: String,
}

impl Candidates {
    /// Checks and hashes the candidates; `None` if there are none.
    pub(crate) fn of(family: &dyn PackageFamily, options: &Options) -> Result<Option<Candidates>, Failure> {
        if options.extra_packages.is_empty() && options.updates.is_empty() && options.overlay.is_none() {
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
                ExtraPackage::File(path) => return Err(no_file_of(family, path)),
            };
        }
        let mut updates = options.updates.clone();
        updates.sort();
        for path in &updates {
            if !family.is_package_file(&path.to_string_lossy()) {
                return Err(no_file_of(family, path));
            }
            // The file's name tells which package it replaces.
            let name = path.file_name().unwrap_or_default();
            fields = fields.add("update", name.as_encoded_bytes()).add("file", digest::of_file(path)?);
        }
        let overlay = options.overlay.clone();
        if let Some(folder) = &overlay {
            let go_on = || match options.cancel.load(Ordering::Relaxed) {
                true => Err(ImageErrorKind::Cancelled.into()),
                false => Ok(()),
            };
            fields = fields.add("overlay", overlay::hash(folder, &go_on)?);
        }
        Ok(Some(Candidates { packages, updates, overlay, hash: fields.hex() }))
    }

    /// Returns the packages to install over an image: the updates of packages that it has, and all extra packages.
    fn over(&self, family: &dyn PackageFamily, plain: &Image) -> Result<Vec<ExtraPackage>, Failure> {
        let is_there = |path: &&PathBuf| {
            family.name_in_file(path).is_some_and(|name| plain.manifest.package(name.as_str()).is_some())
        };
        let updates: Vec<ExtraPackage> =
            self.updates.iter().filter(is_there).cloned().map(ExtraPackage::File).collect();
        if let (Some(first), true) = (self.updates.first(), updates.is_empty()) {
            let name = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let reason = format!("neither this nor the other given packages are installed in {}", plain.release());
            return Err(ImageErrorKind::BadPackage { name, reason }.into());
        }
        Ok(self.packages.iter().cloned().chain(updates).collect())
    }
}

fn no_file_of(family: &dyn PackageFamily, path: &Path) -> Failure {
    let reason = format!("expected {}", family.file_form());
    ImageErrorKind::BadPackage { name: path.display().to_string(), reason }.into()
}

/// Copies the plain image and lays the candidates over the copy.
pub(crate) fn derive(job: &mut Job<'_>, plain: &Image, candidates: &Candidates) -> Result<Image, Failure> {
    let derived = |from: &str| Fields::default().add("derived from", from).add("extras", &candidates.hash).hex();
    let (key, request) = (derived(plain.key()), derived(&plain.manifest.request));
    // The plain image must not be removed while it is copied.
    let _hold = plain.hold().context("locking", &plain.dir)?;
    let packages = candidates.over(job.family, plain)?;
    let found = |image: Image| Image { origin: plain.origin.max(image.origin), ..image };
    if let Some(image) = job.store.find(&key)? {
        return Ok(found(image));
    }
    able_to_build(job.release)?;
    let _turn = match job.store.turn(&job.runner, &key)? {
        Turn::Made(image) => return Ok(found(*image)),
        turn @ Turn::Ours { .. } => turn,
    };
    job.enter(ImagePhase::Copy);
    let workshop = job.store.workshop(&key)?;
    let tree = workshop.rootfs();
    job.copy_tree(&plain.rootfs(), &tree)?;
    let mut manifest = plain.manifest.clone();
    let in_package = |package: &ExtraPackage| match package {
        ExtraPackage::Name(name) => Some(name.clone()),
        ExtraPackage::File(path) => job.family.name_in_file(path),
    };
    let names: Vec<PackageName> =
        manifest.requested.iter().cloned().chain(packages.iter().filter_map(in_package)).collect();
    if !packages.is_empty() {
        job.enter(ImagePhase::Install);
        let (folder, packages) = (&workshop.dir, &packages[..]);
        let install = Install { tree: &tree, folder, indexes: &plain.dir, packages, required: &[] };
        job.archives()?.install(&job.runner, &install)?;
        job.enter(ImagePhase::Record);
        manifest.packages = job.family.packages(&tree)?;
        manifest.origins = job.family.origins(&job.runner, &tree, &plain.dir, &manifest.packages)?;
    }
    if let Some(folder) = &candidates.overlay {
        job.enter(ImagePhase::Overlay);
        overlay::apply(folder, &tree, &|| job.runner.check())?;
    }
    job.enter(ImagePhase::Record);
    manifest.owners = owners::owners(job.family, &tree, job.release)?;
    job.enter(ImagePhase::Store);
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
