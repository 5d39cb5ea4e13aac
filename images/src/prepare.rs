//! The complete path from a release to its image.
//!
//! # How an image is made
//!
//! 1. The mirror is asked for the signed indexes of the release's suites or repositories.
//!    The record, this machine or the OCI image names their addresses.
//!    Their hashes, and the packages that the record wants, make the image's key.
//!    An image with that key in the cache is used unchanged.
//! 2. The family's tool (`mmdebstrap`, `dnf`) makes the base tree, or the record's OCI image, a vendor's cloud image or
//!    an OCI image of the caller's is unpacked.
//! 3. The release's own package manager installs the native packages.
//! 4. A manifest is written with the version of every package.
//! 5. One rename puts the image into the cache.
//!
//! This machine's programs fetch; the tree's programs install.
//! With apt, mmdebstrap unpacks the essential packages and apt, the tree's apt then selects packages, and this
//! machine's apt-helper fetches them by their hashes.
//! With RPM, this machine's dnf finds the packages that a copy of the tree's database lacks, and fetches them; the
//! tree's rpm installs them. The tree's programs have no network.
//!
//! Programs of both kinds run under the harness's own PID 1, in namespaces of their own, so that nothing stays mounted
//! or running.
//! They are root in a user namespace whose 65,536 ids are not used on this machine.
//! The directory that they write to is mounted with these ids mapped to the disk's, so that files get the owners that
//! the release gives them.
//! For this machine's programs it is the image's directory; for the tree's programs it is the tree.
//! Everything else of this machine is read-only for its own programs and invisible to the tree's.
//! Candidates (`--install`, `--with-packages`, `--overlay`) are an image derived from the plain one.

mod newest;
mod way;
pub use newest::newest_versions;
pub use way::{ImageRoute, attainable, request_of};

use crate::base::{BaseProvider, from_files, oci};
use crate::cache::{Image, ImageLock, Turn, Workshop};
use crate::digest::{self, Fields};
use crate::error::{Context as _, Failure, ImageError, ImageErrorKind};
use crate::family::install::Install;
use crate::family::{self, Archives, PackageFamily};
use crate::job::{Job, able_to_build};
use crate::manifest::{FORMAT, Index, Manifest};
use crate::options::Options;
use crate::package::ExtraPackage;
use crate::progress::{ImagePhase, ProgressMessage};
use crate::runner::has_program;
use crate::source::BaseSource;
use crate::{candidates, owners};
use jiff::Timestamp;
use model::package::PackageName;
use model::release::Release;
use std::path::{Path, PathBuf};
use way::can_be_fetched;

/// Makes the image of a release, or finds it in the cache.
///
/// Blocks for seconds to minutes; several releases may be prepared in parallel, also by several processes.
/// `progress` is called for each phase, also from other threads.
///
/// # Errors
/// [`ImageError`] names the release, the phase, the cause and the command with its last lines; in no case does a half
/// image stay in the cache.
pub fn prepare(
    release: &Release,
    options: &Options,
    progress: &(dyn Fn(ProgressMessage) + Sync),
) -> Result<Image, ImageError> {
    let mut job = Job::new(release, options, progress)?;
    image(&mut job).map_err(|failure| job.failed(failure))
}

fn image(job: &mut Job<'_>) -> Result<Image, Failure> {
    job.enter(ImagePhase::Resolve);
    let requested = family::requested_packages(job.family, job.release)?;
    let candidates = candidates::Candidates::of(job.family, job.options)?;
    job.store.check()?;
    for leftover in job.store.sweep()?.leftovers {
        tracing::debug!("left over: {leftover}");
    }
    let plain = plain(job, &requested)?;
    match candidates {
        None => Ok(plain),
        Some(candidates) => candidates::derive(job, &plain, &candidates),
    }
}

/// Makes or finds the image of the release as its archive has it, without candidates.
fn plain(job: &mut Job<'_>, requested: &[PackageName]) -> Result<Image, Failure> {
    let request = request(job.release, requested, job.options.base.as_deref(), &vouching(job.release, job.options)?);
    let options = job.options;
    let fits = |m: &Manifest| fits(m, &request, options);
    if options.offline {
        return job.store.newest(fits).ok_or_else(|| ImageErrorKind::NotCached.into());
    }
    // A workshop, because the next start removes it if this process is killed.
    let scratch = job.store.workshop("indexes")?;
    let resolved = resolve(job, &request, &scratch.dir).map_err(|mut failure| {
        if let Some(cached_age) = failure.cause.cached_age() {
            *cached_age = job.store.newest(fits).map(|i| i.age_seconds());
        }
        failure
    })?;
    if let Some(image) = job.store.find(&resolved.key)? {
        return Ok(image);
    }
    able_to_build(job.release)?;
    let _turn = match job.store.turn(&job.runner, &resolved.key)? {
        Turn::Made(image) => return Ok(*image),
        turn @ Turn::Ours { .. } => turn,
    };
    let workshop = job.store.workshop(&resolved.key)?;
    let sha256 = build(job, &workshop, &resolved, requested)?;
    let mut manifest = record(job, &workshop, requested, resolved, request)?;
    match manifest.source {
        BaseSource::Cloud => manifest.cloud_sha256 = sha256,
        BaseSource::OciImage => manifest.oci_digest = sha256.map(|sha256| format!("sha256:{sha256}")),
        BaseSource::Auto | BaseSource::Bootstrap | BaseSource::Oci => {}
    }
    job.enter(ImagePhase::Store);
    workshop.finish(&job.store, &Manifest { timings: job.timings.clone(), ..manifest })
}

/// Inputs of a base, as found on the network.
struct Resolved<'a> {
    key: String,
    source: BaseSource,
    archives: Box<dyn Archives + 'a>,
    indexes: Vec<Index>,
    oci: Option<oci::Pulled>,
    /// Tree of the caller's base and SHA-256 of its source, if the base had to be read for the indexes.
    read: Option<(PathBuf, String)>,
    accepted_expired: Vec<String>,
}

/// Finds out what the network offers now, and computes the key from it.
fn resolve<'a>(job: &mut Job<'a>, request: &str, folder: &Path) -> Result<Resolved<'a>, Failure> {
    let source = source_of(job.family, job.release, job.options);
    let mut archives = job.archives()?;
    let settings = job.family.settings_in_base();
    // A base that names its own package sources is read first.
    let (mut first, mut read, mut held) = (None, None, None);
    let base = match &job.options.base {
        _ if settings.is_empty() => None,
        Some(base) => {
            held = cached_settings(job, request);
            if held.is_none() {
                able_to_build(job.release)?;
                job.enter(ImagePhase::Read);
                let tree = folder.join("rootfs");
                let sha256 = from_files::read(&job.runner, base.as_ref(), folder, &tree)?;
                read = Some((tree, sha256));
            }
            held.as_ref().map(|(path, _)| path).or(read.as_ref().map(|(tree, _)| tree)).cloned()
        }
        None => {
            first = pull(job, source)?;
            match &first {
                Some(pulled) => {
                    able_to_build(job.release)?;
                    let base = folder.join("base");
                    oci::settings(&job.runner, pulled, &job.store.id()?, settings, &base)?;
                    Some(base)
                }
                None => None,
            }
        }
    };
    job.enter(ImagePhase::Resolve);
    let indexes = archives.indexes(&mut job.runner, folder, base.as_deref())?;
    drop(held);
    let accepted_expired = expired(&indexes, Timestamp::now(), job.options.accept_expired)?;
    let oci = if settings.is_empty() { pull(job, source)? } else { first };
    let key = Fields::default()
        .add("request", request)
        .add("source", source.name())
        .add("oci", oci.as_ref().map_or("", |o| o.digest.as_str()))
        .all("accepted expired", &accepted_expired)
        .all("indexes", indexes.iter().map(|i| format!("{}={}", i.suite, i.sha256)))
        .hex();
    Ok(Resolved { key, source, archives, indexes, oci, read, accepted_expired })
}

/// Returns the kept settings of the same base from an image in the cache, with a lock on that image.
fn cached_settings(job: &Job<'_>, request: &str) -> Option<(PathBuf, ImageLock)> {
    let image = job.store.newest(|manifest| fits(manifest, request, job.options))?;
    // An image that is being removed does not count.
    let hold = image.hold().ok()?;
    let settings = image.dir.join(from_files::SETTINGS);
    settings.is_dir().then_some((settings, hold))
}

/// Pulls the OCI image, if the base is one.
fn pull(job: &mut Job<'_>, source: BaseSource) -> Result<Option<oci::Pulled>, Failure> {
    match source {
        BaseSource::Oci => {
            job.enter(ImagePhase::Pull);
            oci::pull(&job.runner, job.release).map(Some)
        }
        BaseSource::Auto | BaseSource::Bootstrap | BaseSource::Cloud | BaseSource::OciImage => Ok(None),
    }
}

/// Returns the suites whose index is past its `Valid-Until`; an error unless expired indexes are accepted.
fn expired(indexes: &[Index], now: Timestamp, accept: bool) -> Result<Vec<String>, Failure> {
    let stale: Vec<String> =
        indexes.iter().filter(|i| i.valid_until.is_some_and(|until| until < now)).map(|i| i.suite.clone()).collect();
    match stale.first() {
        Some(first) if !accept => Err(ImageErrorKind::Expired { suite: first.clone() }.into()),
        _ => Ok(stale),
    }
}

/// Makes the tree; returns the SHA-256 of the caller's base if it was made from one.
fn build(
    job: &mut Job<'_>,
    workshop: &Workshop,
    resolved: &Resolved<'_>,
    requested: &[PackageName],
) -> Result<Option<String>, Failure> {
    let (tree, folder, archives) = (workshop.rootfs(), &workshop.dir, &resolved.archives);
    let mut sha256 = None;
    let mut required = None;
    match (&resolved.oci, &job.options.base) {
        (_, Some(base)) => {
            job.enter(ImagePhase::Read);
            sha256 = Some(match &resolved.read {
                Some((read, sha256)) => {
                    std::fs::rename(read, &tree).context("moving the base to", &tree)?;
                    sha256.clone()
                }
                None => from_files::read(&job.runner, base.as_ref(), folder, &tree)?,
            });
            from_files::keep(&tree, job.family.settings_in_base(), &folder.join(from_files::SETTINGS))?;
        }
        (Some(pulled), None) => {
            job.enter(ImagePhase::Pull);
            oci::unpack(&job.runner, pulled, &job.store.id()?, folder, &tree)?;
        }
        (None, None) => {
            job.enter(ImagePhase::Bootstrap);
            required = Some(archives.bootstrap(&job.runner, folder, &tree)?);
        }
    }
    job.enter(ImagePhase::Install);
    if required.is_none() {
        archives.adopt(&job.runner, folder, &tree)?;
    }
    let packages: Vec<ExtraPackage> = requested.iter().cloned().map(ExtraPackage::Name).collect();
    let required = required.unwrap_or_default();
    let install = Install { tree: &tree, folder, indexes: folder, packages: &packages, required: &required };
    archives.install(&job.runner, &install)?;
    Ok(sha256)
}

/// Records the content of the tree in a manifest.
fn record(
    job: &mut Job<'_>,
    workshop: &Workshop,
    requested: &[PackageName],
    resolved: Resolved<'_>,
    request: String,
) -> Result<Manifest, Failure> {
    job.enter(ImagePhase::Record);
    let tree = workshop.rootfs();
    let packages = job.family.packages(&tree)?;
    let origins = job.family.origins(&job.runner, &tree, &workshop.dir, &packages)?;
    Ok(Manifest {
        format: FORMAT,
        key: resolved.key,
        request,
        distro: job.release.distro.clone(),
        version: job.release.version.clone(),
        arch: job.release.arch,
        source: resolved.source,
        oci_digest: resolved.oci.map(|o| o.digest),
        cloud_sha256: None,
        derived_from: None,
        made: Timestamp::now(),
        accepted_expired: resolved.accepted_expired,
        indexes: resolved.indexes,
        requested: requested.to_vec(),
        packages,
        origins,
        owners: owners::owners(job.family, &tree, job.release)?,
        timings: Vec::new(),
    })
}

/// Version of the way in which trees are made; another number makes new keys, and images with old keys can still be
/// listed and removed.
const RECIPE: u32 = 2;

/// Hashes the request without the state of the network: an image is found offline by this hash.
///
/// `keys` are digests of the keys that the caller trusts: an image whose packages were verified with them is not used
/// for other callers.
fn request(
    release: &Release,
    requested: &[PackageName],
    base: Option<&dyn BaseProvider>,
    vouching: &[String],
) -> String {
    let suites = release.suites.iter().map(|s| format!("{} {:?} {}", s.name, s.archive, s.components.join(" ")));
    // The record's paths are looked up in the tree and listed in the manifest.
    let paths = release.vmms.iter().map(|v| v.path.as_str());
    let daemons = release.filesystems.iter().filter_map(|f| Some(f.path.as_ref()?.as_str()));
    let kernels = release.kernel.iter().map(|k| k.image.as_str());
    let fields = Fields::default()
        .add("format", FORMAT.to_le_bytes())
        .add("made", RECIPE.to_le_bytes())
        .add("distro", release.distro.as_str())
        .add("version", release.version.as_str())
        .add("arch", release.arch.name())
        .add("image", release.oci_image.as_deref().unwrap_or_default())
        .all("suites", suites)
        .all("packages", requested.iter().map(PackageName::as_str))
        .all("paths", paths.chain(daemons).chain(kernels));
    // Fields that few releases have do not change the keys of other releases.
    let few = [
        ("repositories", release.repositories.as_slice()),
        ("modules", release.modules.as_slice()),
        ("module-platform", release.module_platform.as_slice()),
        ("keys", vouching),
    ];
    let stated = few.into_iter().filter(|(_, names)| !names.is_empty());
    let fields = stated.fold(fields, |fields, (label, names)| fields.all(label, names));
    match base {
        None => fields.hex(),
        Some(base) => fields.add("base", base.identity()).hex(),
    }
}

/// Returns the digests of keys, sorted.
fn digests(keys: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let mut all: Vec<String> = keys.iter().map(|key| digest::of_file(key)).collect::<Result<_, _>>()?;
    all.sort();
    Ok(all)
}

/// Returns what vouches for packages in the distro's place: the digests of the caller's keys, and the caller's mirror if
/// its indexes do not say of which release they are. An image that was made so is for runs that name the same.
fn vouching(release: &Release, options: &Options) -> Result<Vec<String>, Failure> {
    let mut all = digests(&options.keys)?;
    let has_mirror = options.mirror.is_some() || options.security_mirror.is_some();
    if has_mirror && !release.package_manager.has_index_of_one_release() {
        all.push("mirror".to_owned());
    }
    Ok(all)
}

/// Returns whether an image in the cache matches the request, for any state of the network when it was made.
///
/// An image that was made in another way than the named one does not match.
fn fits(cached: &Manifest, request: &str, options: &Options) -> bool {
    let is_made_so = match (&options.base, options.source) {
        (Some(base), _) => cached.source == base.source(),
        (None, BaseSource::Auto | BaseSource::Cloud | BaseSource::OciImage) => true,
        (None, named) => cached.source == named,
    };
    cached.request == request && cached.derived_from.is_none() && is_made_so
}

/// Returns the kind of base for a release.
fn source_of(family: &dyn PackageFamily, release: &Release, options: &Options) -> BaseSource {
    match (&options.base, options.source) {
        (Some(base), _) => base.source(),
        (None, BaseSource::Auto | BaseSource::Cloud | BaseSource::OciImage)
            if has_program(family.bootstrap_program()) && can_be_fetched(family, release, options) =>
        {
            BaseSource::Bootstrap
        }
        (None, BaseSource::Auto | BaseSource::Cloud | BaseSource::OciImage) => BaseSource::Oci,
        (None, named) => named,
    }
}

#[cfg(test)]
mod tests {
    use super::way::find_route;
    use super::*;
    use crate::base::{BaseError, BaseTask, ReadBase};
    use crate::cache::Store;
    use crate::fixtures::release;
    use model::arch::Arch;
    use model::database::Database;
    use model::package_manager::PackageManager;

    #[test]
    fn the_request_depends_only_on_what_affects_the_tree() {
        let plain = release("13", "trixie");
        let requested = |r: &Release| family::requested_packages(family::of(r).unwrap(), r).unwrap();
        let request_of_release = |r: &Release| request(r, &requested(r), None, &[]);
        let first = request_of_release(&plain);
        assert_eq!(first, request_of_release(&plain.clone()));
        // Aliases and the container manager do not change the tree.
        let mut same = plain.clone();
        same.aliases.push("stable".to_owned());
        assert_eq!(first, request_of_release(&same));
        let mut other = plain.clone();
        other.vmms[0].packages.push("qemu-utils".parse().unwrap());
        assert_ne!(first, request_of_release(&other));
        let mut other = plain.clone();
        other.suites.pop();
        assert_ne!(first, request_of_release(&other));
        let named = |repositories: &[&str], modules: &[&str]| {
            let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            request_of_release(&Release { repositories: texts(repositories), modules: texts(modules), ..plain.clone() })
        };
        assert_ne!(first, request_of_release(&Release { module_platform: Some("el8".to_owned()), ..plain.clone() }));
        let three = [named(&["crb"], &[]), named(&[], &["crb"]), named(&["crb", "nfv"], &[])];
        assert!(three.iter().all(|key| *key != first) && three[0] != three[1] && three[0] != three[2]);
        #[derive(Debug)]
        struct FakeBase(&'static str);
        impl BaseProvider for FakeBase {
            fn identity(&self) -> String {
                self.0.to_owned()
            }
            fn source(&self) -> BaseSource {
                BaseSource::OciImage
            }
            fn read(&self, _: &BaseTask<'_>) -> Result<ReadBase, BaseError> {
                Err(BaseError::new(std::io::Error::other("it is not to be read")))
            }
            fn accept(&self, _: &Path) -> Result<(), BaseError> {
                Ok(())
            }
        }
        let on = |base| request(&plain, &requested(&plain), Some(&FakeBase(base)), &[]);
        assert!(first != on("a") && on("a") != on("b") && on("a") == on("a"));
        let mut other = plain.clone();
        other.vmms[0].path = "/usr/libexec/qemu-kvm".parse().unwrap();
        assert_ne!(first, request_of_release(&other));
    }

    #[test]
    fn an_image_verified_with_custom_keys_requires_the_same_keys() {
        let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = |name: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, name).unwrap();
            file
        };
        let release = release("13", "trixie");
        let requested = family::requested_packages(family::of(&release).unwrap(), &release).unwrap();
        let (store, id) = (Store::new(cache.path()), "a".repeat(64));
        let workshop = store.workshop(&id).unwrap();
        std::fs::create_dir(workshop.rootfs()).unwrap();
        let request = request(&release, &requested, None, &digests(&[key("a"), key("b")]).unwrap());
        let manifest = Manifest { request, ..crate::cache::tests::manifest(&id, "13", "2026-11-01T00:00:00Z") };
        workshop.finish(&store, &manifest).unwrap();
        let offline = |keys| {
            let options = Options { offline: true, keys, ..Options::new(cache.path()) };
            prepare(&release, &options, &|_| {}).map(|image| image.key().to_owned())
        };
        assert_eq!(offline(vec![key("b"), key("a")]).unwrap(), id);
        for keys in [vec![], vec![key("a")], vec![key("a"), key("c")]] {
            assert!(matches!(*offline(keys).unwrap_err().cause, ImageErrorKind::NotCached));
        }
        let error = offline(vec![folder.path().join("gone")]).unwrap_err().to_string();
        assert!(error.contains("/gone"), "{error}");
    }

    /// Otherwise an offline run without the option would take the image for the distro's own.
    #[test]
    fn an_image_from_a_mirror_that_may_have_other_releases_requires_a_mirror() {
        let with = |manager, mirror: Option<&str>| {
            let release = Release { package_manager: manager, ..release("13", "trixie") };
            let mirror = mirror.map(str::to_owned);
            vouching(&release, &Options { mirror, ..Options::new("/nowhere") }).unwrap()
        };
        for manager in [PackageManager::Dnf, PackageManager::Zypper, PackageManager::Pacman, PackageManager::Apk] {
            assert_eq!(with(manager, Some("http://mirror.example/testing")), ["mirror"], "{manager:?}");
            assert!(with(manager, None).is_empty(), "{manager:?}");
        }
        assert!(with(PackageManager::Apt, Some("http://mirror.example/debian")).is_empty());
    }

    #[test]
    #[cfg_attr(lacks = "images", ignore = "needs root and mmdebstrap")]
    fn a_mirror_in_the_options_allows_a_bootstrap() {
        let release = Release { distro: "devuan".parse().unwrap(), ..release("6", "excalibur") };
        let family = family::of(&release).unwrap();
        let options = Options::new("/nowhere");
        assert_eq!(source_of(family, &release, &options), BaseSource::Oci);
        let options = Options { mirror: Some("http://mirror.example/merged".to_owned()), ..options };
        assert_eq!(source_of(family, &release, &options), BaseSource::Bootstrap);
    }

    #[test]
    fn a_bootstrap_without_a_mirror_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        let database = Database::embedded();
        let release =
            |distro: &str, version: &str| database.record(distro).unwrap().release(version, Arch::X86_64).unwrap();
        // A machine with the distro itself would know one of its mirrors.
        let elsewhere = [release("fedora", "43"), release("almalinux", "9")];
        let release = elsewhere.into_iter().find(|r| !family::of(r).unwrap().knows_mirror(&r.distro)).unwrap();
        let route = |mirror: Option<&str>| {
            let mirror = mirror.map(str::to_owned);
            find_route(&release, &Options { source: BaseSource::Bootstrap, mirror, ..Options::new(cache.path()) })
        };
        let failure = route(None).unwrap_err();
        assert!(
            matches!(&failure.cause, ImageErrorKind::NoMirror { suite, .. } if *suite == release.name()),
            "{failure:?}"
        );
        let named = route(Some("http://mirror.example/merged"));
        assert!(!named.is_err_and(|failure| matches!(failure.cause, ImageErrorKind::NoMirror { .. })));
    }

    #[test]
    fn a_cached_image_made_from_another_source_is_not_used() {
        let cache = tempfile::tempdir().unwrap();
        let release = release("13", "trixie");
        let requested = family::requested_packages(family::of(&release).unwrap(), &release).unwrap();
        let (store, key) = (Store::new(cache.path()), "a".repeat(64));
        let workshop = store.workshop(&key).unwrap();
        std::fs::create_dir(workshop.rootfs()).unwrap();
        let bootstrapped = crate::cache::tests::manifest(&key, "13", "2026-11-01T00:00:00Z");
        let manifest = Manifest { request: request(&release, &requested, None, &[]), ..bootstrapped };
        workshop.finish(&store, &manifest).unwrap();
        let route = |source| find_route(&release, &Options { source, ..Options::new(cache.path()) });
        for source in [BaseSource::Auto, BaseSource::Bootstrap, BaseSource::Cloud] {
            assert_eq!(route(source).unwrap(), ImageRoute::Cache);
        }
        // The record names no OCI image.
        assert!(route(BaseSource::Oci).is_err());
        let offline =
            |source| prepare(&release, &Options { source, offline: true, ..Options::new(cache.path()) }, &|_| {});
        assert_eq!(offline(BaseSource::Cloud).unwrap().key(), key, "without a cloud image it is as if none were named");
        assert!(matches!(*offline(BaseSource::Oci).unwrap_err().cause, ImageErrorKind::NotCached));
    }

    #[test]
    fn offline_without_a_cached_image_is_an_error() {
        let cache = tempfile::tempdir().unwrap();
        let options = Options { offline: true, ..Options::new(cache.path()) };
        let error = prepare(&release("13", "trixie"), &options, &|_| {}).unwrap_err();
        assert!(matches!(*error.cause, ImageErrorKind::NotCached));
        assert_eq!(error.phase, ImagePhase::Resolve);
        // The missing image is reported before anything starts, too.
        let known = attainable(&release("13", "trixie"), &options).unwrap_err();
        assert_eq!(known.to_string(), error.to_string());
        assert_eq!(
            error.to_string(),
            "prepare debian:13: resolve: the image is not in the cache, and --offline forbids downloads"
        );
    }

    #[test]
    fn an_expired_index_is_an_error_unless_accepted() {
        let index = Index {
            suite: "sid".to_owned(),
            security: false,
            sha256: String::new(),
            date: None,
            valid_until: Some("2026-11-06T08:08:01Z".parse().unwrap()),
        };
        let before: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let after: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let indexes = [index];
        assert!(expired(&indexes, before, false).unwrap().is_empty());
        let failure = expired(&indexes, after, false).unwrap_err();
        assert!(matches!(failure.cause, ImageErrorKind::Expired { ref suite } if suite == "sid"));
        assert!(failure.cause.hint().unwrap().contains("--accept-expired"));
        assert_eq!(expired(&indexes, after, true).unwrap(), ["sid"]);
    }
}
