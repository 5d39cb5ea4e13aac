//! Images derived from a release's plain one: an overlay, packages under test.

use crate::cache::{Image, Turn};
use crate::command::tied;
use crate::digest::{self, Fields};
use crate::error::{Cause, Context, Failure, Phase};
use crate::fetch;
use crate::install::{self, Install};
use crate::manifest::Manifest;
use crate::options::{ExtraPackage, Options, valid_name};
use crate::prepare::{Job, able_to_build};
use crate::{overlay, record, share};
use jiff::Timestamp;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// What is laid over a release, with its hash.
pub(crate) struct Extras {
    packages: Vec<ExtraPackage>,
    overlay: Option<PathBuf>,
    hash: String,
}

impl Extras {
    /// Checks and hashes the extras; nothing where there are none.
    pub(crate) fn of(options: &Options) -> Result<Option<Extras>, Failure> {
        if options.extra_packages.is_empty() && options.overlay.is_none() {
            return Ok(None);
        }
        let mut packages = options.extra_packages.clone();
        packages.sort();
        let mut fields = Fields::default();
        for package in &packages {
            fields = match package {
                ExtraPackage::Name(name) if valid_name(name) => fields.add("name", name),
                ExtraPackage::Name(name) => {
                    let reason = "expected a Debian package name".to_owned();
                    return Err(Cause::BadPackage { name: name.clone(), reason }.into());
                }
                ExtraPackage::File(path) => fields.add("file", digest::of_file(path)?),
            };
        }
        let overlay = options.overlay.clone();
        if let Some(folder) = &overlay {
            let go_on = || match options.cancel.load(Ordering::Relaxed) {
                true => Err(Cause::Cancelled.into()),
                false => Ok(()),
            };
            fields = fields.add("overlay", overlay::hash(folder, &go_on)?);
        }
        Ok(Some(Extras { packages, overlay, hash: fields.hex() }))
    }
}

/// Copies the plain image and lays the extras over the copy.
pub(crate) fn derive(job: &mut Job<'_>, plain: &Image, extras: &Extras) -> Result<Image, Failure> {
    let key = Fields::default().add("derived from", plain.key()).add("extras", &extras.hash).hex();
    let request = Fields::default().add("derived from", &plain.manifest.request).add("extras", &extras.hash).hex();
    // The plain image must not be cleaned away while it is copied.
    let _hold = plain.hold().context("locking", &plain.dir)?;
    let found = |image: Image| Image { origin: plain.origin.max(image.origin), ..image };
    if let Some(image) = job.store.find(&key)? {
        return Ok(found(image));
    }
    able_to_build(job.release)?;
    let _ours = match job.store.turn(&job.runner, &key)? {
        Turn::Made(image) => return Ok(found(*image)),
        ours @ Turn::Ours { .. } => ours,
    };
    job.enter(Phase::Copy);
    let workshop = job.store.workshop(&key)?;
    let tree = workshop.rootfs();
    job.runner.run(
        Phase::Copy,
        tied("cp").args(["-a", "--reflink=auto", "--"]).arg(plain.rootfs()).arg(&tree).env("LC_ALL", "C"),
    )?;
    let mut manifest = plain.manifest.clone();
    let names: Vec<String> =
        manifest.requested.iter().cloned().chain(extras.packages.iter().filter_map(name)).collect();
    if !extras.packages.is_empty() {
        job.enter(Phase::Install);
        let (lists, sources) = (plain.dir.join(fetch::LISTS), plain.dir.join(fetch::SOURCES));
        let fetch = job.may_fetch(&workshop.dir)?;
        let (tree, desk, fetch) = (&tree, &workshop.dir, fetch.as_ref());
        let step = Install { tree, desk, lists: &lists, sources: &sources, fetch };
        install::install(&job.runner, &step, &extras.packages, &[])?;
        job.enter(Phase::Record);
        manifest.packages = record::packages(&job.runner, tree)?;
        manifest.origins = record::origins(&job.runner, tree, &lists, &names, &manifest.packages)?;
    }
    if let Some(folder) = &extras.overlay {
        job.enter(Phase::Overlay);
        overlay::apply(folder, &tree, &|| job.runner.check())?;
    }
    job.enter(Phase::Record);
    manifest.owners = record::owners(&tree, job.release);
    job.enter(Phase::Store);
    // From here on nothing writes to the tree.
    share::share(&plain.rootfs(), &tree).context("sharing unchanged files of", &tree)?;
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

/// The package's name; that of a file stands before the first underscore (Debian policy, appendix on binary packages).
fn name(package: &ExtraPackage) -> Option<String> {
    match package {
        ExtraPackage::Name(name) => Some(name.clone()),
        ExtraPackage::File(path) => {
            let file = path.file_name()?.to_str()?;
            let name = file.split('_').next()?.trim_end_matches(".deb");
            valid_name(name).then(|| name.to_owned())
        }
    }
}
