//! Check whether an image of a release can be obtained on this machine, before anything starts.

use super::{fits, request, source_of, vouching};
use crate::cache::Store;
use crate::candidates;
use crate::error::{Failure, ImageError, ImageErrorKind};
use crate::family::{self, PackageFamily};
use crate::job::able_to_build;
use crate::options::Options;
use crate::progress::ImagePhase;
use crate::runner::has_program;
use crate::source::BaseSource;
use model::release::{Archive, Release};

/// Ways to obtain an image of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageRoute {
    /// The cache has an image; unless the run is offline, the mirror may have something newer by now.
    Cache,
    /// The image is made on this kind of base: never [`BaseSource::Auto`].
    Base(BaseSource),
}

/// Returns the way in which this machine can obtain an image of the release; neither network nor Docker is contacted.
///
/// # Errors
/// If there is no way: no family for the package manager, no kernel, no source of a base, another architecture, not
/// root.
pub fn attainable(release: &Release, options: &Options) -> Result<ImageRoute, ImageError> {
    find_route(release, options).map_err(|failure| ImageError::new(release.target(), ImagePhase::Resolve, failure))
}

/// Returns the request that a matching image in the cache must have, in the form of
/// [`Manifest::request`](crate::Manifest::request).
///
/// # Errors
/// If such an image cannot exist.
pub fn request_of(release: &Release, options: &Options) -> Result<String, ImageError> {
    let request = family::of(release).and_then(|family| request_hash(family, release, options));
    request.map_err(|failure| ImageError::new(release.target(), ImagePhase::Resolve, failure))
}

fn request_hash(family: &dyn PackageFamily, release: &Release, options: &Options) -> Result<String, Failure> {
    let requested = family::requested_packages(family, release)?;
    Ok(request(release, &requested, options.base.as_deref(), &vouching(release, options)?))
}

pub(super) fn find_route(release: &Release, options: &Options) -> Result<ImageRoute, Failure> {
    let family = family::of(release)?;
    let lacks = |what: &str, needed_for| ImageErrorKind::RecordLacks { what: what.to_owned(), needed_for };
    if release.kernel.is_none() {
        return Err(lacks("kernel", "a guest").into());
    }
    candidates::Candidates::of(family, options)?;
    let request = request_hash(family, release, options)?;
    match Store::new(&options.cache).newest(|m| fits(m, &request, options)) {
        Some(_) => return Ok(ImageRoute::Cache),
        None if options.offline => return Err(ImageErrorKind::NotCached.into()),
        None => {}
    }
    let source = source_of(family, release, options);
    // If a base names the package sources, a bootstrap has no sources unless this machine runs the distro.
    let lacks_sources = source == BaseSource::Bootstrap && !family.settings_in_base().is_empty();
    if lacks_sources && options.security_mirror.is_none() && !can_be_fetched(family, release, options) {
        return Err(ImageErrorKind::NoMirror { suite: release.name(), archive: Archive::Main }.into());
    }
    able_to_build(release)?;
    let missing = |program: &str| ImageErrorKind::ToolMissing { program: program.to_owned() };
    match source {
        BaseSource::Oci if release.oci_image.is_none() => return Err(lacks("image", "an OCI base").into()),
        BaseSource::Oci if options.mirror.is_none() => {
            if let Some(what) = &release.image_lacks {
                return Err(ImageErrorKind::ImageLacks { what: what.clone() }.into());
            }
        }
        BaseSource::Bootstrap if !has_program(family.bootstrap_program()) => {
            return Err(missing(family.bootstrap_program()).into());
        }
        _ => {}
    }
    match family.fetching_programs().iter().find(|program| !has_program(program)) {
        Some(program) => Err(missing(program).into()),
        None => match family.missing_in_record(release) {
            Some(what) => Err(lacks(what, "installing packages").into()),
            None => Ok(ImageRoute::Base(source)),
        },
    }
}

/// Returns whether a mirror of a release is known without a base that names one.
pub(super) fn can_be_fetched(family: &dyn PackageFamily, release: &Release, options: &Options) -> bool {
    options.mirror.is_some() || family.knows_mirror(&release.distro)
}
