//! The whole way from a release to its image.

use crate::apt::Apt;
use crate::base::{Base, Task};
use crate::cache::{Image, Store, Turn, Workshop};
use crate::command::Runner;
use crate::digest::Fields;
use crate::error::{Cause, Context, Failure, ImageError, Phase};
use crate::fetch::{self, Fetch};
use crate::install::{self, Install};
use crate::login::Login;
use crate::manifest::{FORMAT, Index, Manifest, Timing};
use crate::mirror::{self, Mirrors};
use crate::options::{ExtraPackage, Options, Progress, Source};
use crate::{bootstrap, derive, indexes, oci, record, unpack};
use jiff::Timestamp;
use kata_osinfo::arch::Arch;
use kata_osinfo::release::Release;
use std::path::Path;
use std::time::Instant;

/// Makes the image of a release, or finds it in the cache.
///
/// Blocks for seconds to minutes; several releases may be prepared in parallel, also by several processes.
/// The phases are told to `progress`, also from other threads.
///
/// # Errors
/// [`ImageError`] names the release, the phase, the cause and the command with its last lines; whatever happens, no
/// half image stays in the cache.
pub fn prepare(
    release: &Release,
    options: &Options,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Image, ImageError> {
    let mut job = Job::new(release, options, progress);
    job.prepare().map_err(|failure| ImageError::new(&release.name(), job.phase, failure))
}

/// Whether this machine has any way to an image of the release; neither network nor Docker is asked.
///
/// # Errors
/// Why it has none: no installer for the package manager, no base to begin with, another architecture, not root.
pub fn attainable(release: &Release, options: &Options) -> Result<(), ImageError> {
    any_way(release, options).map_err(|failure| ImageError::new(&release.name(), Phase::Resolve, failure))
}

fn any_way(release: &Release, options: &Options) -> Result<(), Failure> {
    let wanted = install::wanted(release)?;
    derive::Extras::of(options)?;
    let request = request(release, &wanted, options.base.as_deref());
    let is_cached = |m: &Manifest| m.request == request && m.derived_from.is_none();
    if options.offline || Store::new(&options.cache).newest(is_cached).is_some() {
        return Ok(());
    }
    able_to_build(release)?;
    let lacks = |what: &str, kind: &str| Cause::RecordLacks { what: what.to_owned(), source_kind: kind.to_owned() };
    match source_of(release, options) {
        Source::Oci if release.oci_image.is_none() => Err(lacks("image", "oci").into()),
        Source::Bootstrap if !bootstrap::available() => {
            Err(Cause::ToolMissing { program: "mmdebstrap".to_owned() }.into())
        }
        _ if release.suites.is_empty() => Err(lacks("suite", "apt").into()),
        _ => Ok(()),
    }
}

/// One call of [`prepare`].
pub(crate) struct Job<'a> {
    pub(crate) release: &'a Release,
    pub(crate) options: &'a Options,
    pub(crate) store: Store,
    pub(crate) runner: Runner<'a>,
    phase: Phase,
    since: Instant,
    pub(crate) timings: Vec<Timing>,
}

/// What a base is made from, as found out on the network.
struct Resolved {
    key: String,
    source: Source,
    access: Access,
    indexes: Vec<Index>,
    oci: Option<oci::Pulled>,
    accepted_expired: Vec<String>,
}

/// How the network is reached, and what nobody is told but who fetches.
struct Access {
    mirrors: Mirrors,
    apt: Apt,
    logins: Vec<Login>,
}

impl Access {
    fn at(&self, desk: &Path, release: &Release) -> Result<Fetch, Failure> {
        Fetch::new(desk, &self.apt, &self.logins, release.arch)
    }
}

impl<'a> Job<'a> {
    pub(crate) fn new(release: &'a Release, options: &'a Options, progress: &'a (dyn Fn(Progress) + Sync)) -> Job<'a> {
        Job {
            release,
            options,
            store: Store::new(&options.cache),
            runner: Runner {
                release: release.name(),
                cancel: &options.cancel,
                until: Instant::now() + options.deadline,
                limit: options.deadline,
                redact: kata_osinfo::redact::Redactor::default(),
                progress,
            },
            phase: Phase::Resolve,
            since: Instant::now(),
            timings: Vec::new(),
        }
    }

    /// What it is doing.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }
}

impl Job<'_> {
    fn prepare(&mut self) -> Result<Image, Failure> {
        self.enter(Phase::Resolve);
        let wanted = install::wanted(self.release)?;
        let extras = derive::Extras::of(self.options)?;
        self.store.check()?;
        for left in self.store.sweep()?.left {
            tracing::debug!("left {left}");
        }
        let plain = self.plain(&wanted)?;
        match extras {
            None => Ok(plain),
            Some(extras) => derive::derive(self, &plain, &extras),
        }
    }

    /// Ends the phase before and starts the next: from here on failures are its.
    pub(crate) fn enter(&mut self, phase: Phase) {
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        if phase != self.phase {
            self.timings.push(Timing { phase: self.phase, ms });
            (self.phase, self.since) = (phase, Instant::now());
        }
        self.runner.report(phase, None);
    }

    /// The image of the release as its archive has it: without overlay and extra packages.
    fn plain(&mut self, wanted: &[String]) -> Result<Image, Failure> {
        let request = request(self.release, wanted, self.options.base.as_deref());
        let source = if self.options.base.is_some() { Source::Cloud } else { self.options.source };
        let fits = |m: &Manifest| {
            m.request == request && m.derived_from.is_none() && (source == Source::Auto || m.source == source)
        };
        if self.options.offline {
            return self.store.newest(fits).ok_or_else(|| Cause::NotCached.into());
        }
        // A workshop, for what a killed process leaves of it is swept at the next start.
        let scratch = self.store.workshop("indexes")?;
        let resolved = self.resolve(&request, &scratch.dir).map_err(|mut failure| {
            if let Cause::MirrorUnreachable { cached_age, .. } = &mut failure.cause {
                *cached_age = self.store.newest(fits).map(|i| i.age_seconds());
            }
            failure
        })?;
        if let Some(image) = self.store.find(&resolved.key)? {
            return Ok(image);
        }
        able_to_build(self.release)?;
        let _ours = match self.store.turn(&self.runner, &resolved.key)? {
            Turn::Made(image) => return Ok(*image),
            ours @ Turn::Ours { .. } => ours,
        };
        let workshop = self.store.workshop(&resolved.key)?;
        let cloud_sha256 = self.build(&workshop, &resolved, wanted)?;
        let manifest = self.record(&workshop, wanted, resolved, request)?;
        self.enter(Phase::Store);
        workshop.finish(&self.store, &Manifest { timings: self.timings.clone(), cloud_sha256, ..manifest })
    }

    /// Finds out what the network offers now, and so the key.
    fn resolve(&mut self, request: &str, desk: &Path) -> Result<Resolved, Failure> {
        let source = source_of(self.release, self.options);
        let mut access = self.access()?;
        let fetch = access.at(desk, self.release)?;
        let complete = |m: &Mirrors| self.release.suites.iter().all(|s| m.get(s.archive).is_some());
        if !complete(&access.mirrors) && bootstrap::available() {
            let more = bootstrap::default_mirrors(&self.runner, self.release, &fetch, desk)?;
            access.mirrors = access.mirrors.or(more);
            access.mirrors.urls().for_each(|url| self.runner.redact.know(url));
        }
        let indexes = indexes::fetch(&self.runner, self.release, &access.mirrors, &fetch, desk)?;
        let accepted_expired = indexes::expired(&indexes, Timestamp::now(), self.options.accept_expired)?;
        let oci = match source {
            Source::Oci => {
                self.enter(Phase::Pull);
                Some(oci::pull(&self.runner, self.release)?)
            }
            Source::Auto | Source::Bootstrap | Source::Cloud => None,
        };
        let key = Fields::default()
            .add("request", request)
            .add("source", source.name())
            .add("oci", oci.as_ref().map_or("", |o| o.digest.as_str()))
            .all("accepted expired", &accepted_expired)
            .all("indexes", indexes.iter().map(|i| format!("{}={}", i.suite, i.sha256)))
            .hex();
        Ok(Resolved { key, source, access, indexes, oci, accepted_expired })
    }

    /// The mirrors and their credentials, as far as the caller and the machine's apt know them.
    fn access(&mut self) -> Result<Access, Failure> {
        let apt = Apt::of_machine(&self.runner, self.options.accept_expired)?;
        let given = Mirrors {
            main: self.options.mirror.clone().map(trimmed),
            security: self.options.security_mirror.clone().map(trimmed),
        };
        let whole = given.or(mirror::of_machine(Path::new("/"), self.release));
        self.runner.redact = whole.redactor(&apt.proxy_urls());
        let (mirrors, logins) = whole.part()?;
        Ok(Access { mirrors, apt, logins })
    }

    /// Who fetches more for an image that is there, unless nobody may.
    pub(crate) fn may_fetch(&mut self, desk: &Path) -> Result<Option<Fetch>, Failure> {
        if self.options.offline {
            return Ok(None);
        }
        self.access()?.at(desk, self.release).map(Some)
    }

    /// Makes the tree; gives the SHA-256 of the cloud image that it was made from, if it was.
    fn build(
        &mut self,
        workshop: &Workshop,
        resolved: &Resolved,
        wanted: &[String],
    ) -> Result<Option<String>, Failure> {
        let (tree, desk) = (workshop.rootfs(), &workshop.dir);
        let mirrors = &resolved.access.mirrors;
        let fetch = resolved.access.at(desk, self.release)?;
        let mut cloud_sha256 = None;
        let mut more = Vec::new();
        match (&resolved.oci, &self.options.base) {
            (_, Some(base)) => {
                self.enter(Phase::Read);
                cloud_sha256 = Some(self.read(base.as_ref(), desk, &tree)?);
            }
            (Some(pulled), None) => {
                self.enter(Phase::Pull);
                oci::unpack(&self.runner, pulled, &self.store.id()?, desk, &tree)?;
            }
            (None, None) => {
                self.enter(Phase::Bootstrap);
                install::write_sources(self.release, mirrors, desk, &tree)?;
                bootstrap::bootstrap(&self.runner, self.release, mirrors, &fetch, desk, &tree)?;
                more.extend(bootstrap::required(&desk.join(fetch::LISTS))?);
            }
        }
        self.enter(Phase::Install);
        if more.is_empty() {
            install::write_sources(self.release, mirrors, desk, &tree)?;
            fetch.update(&self.runner, &tree)?;
        }
        let (lists, sources) = (desk.join(fetch::LISTS), desk.join(fetch::SOURCES));
        let step = Install { tree: &tree, desk, lists: &lists, sources: &sources, fetch: Some(&fetch) };
        let names: Vec<ExtraPackage> = wanted.iter().cloned().map(ExtraPackage::Name).collect();
        install::install(&self.runner, &step, &names, &more)?;
        Ok(cloud_sha256)
    }

    /// Unpacks the caller's base, if it is of the release; gives the SHA-256 of what it was read from.
    fn read(&self, base: &dyn Base, workshop: &Path, tree: &Path) -> Result<String, Failure> {
        let folder = workshop.join("base");
        std::fs::create_dir(&folder).context("creating", &folder)?;
        let task = Task {
            folder: &folder,
            go_on: &|| self.runner.check().is_ok(),
            tell: &|doing| self.runner.report(Phase::Read, Some(doing)),
        };
        let read = base.read(&task);
        // What was stopped fails in its own words, which are not why.
        self.runner.check()?;
        let bad = |detail| Failure::from(Cause::BadBase { detail });
        let archive = read.map_err(bad)?;
        self.runner.report(Phase::Read, Some("unpacking"));
        unpack::unpack(&self.runner, &archive.tar, tree)?;
        std::fs::remove_dir_all(&folder).context("removing", &folder)?;
        base.accept(tree).map_err(bad)?;
        Ok(archive.sha256)
    }

    fn record(
        &mut self,
        workshop: &Workshop,
        wanted: &[String],
        resolved: Resolved,
        request: String,
    ) -> Result<Manifest, Failure> {
        self.enter(Phase::Record);
        let tree = workshop.rootfs();
        let packages = record::packages(&self.runner, &tree)?;
        let lists = workshop.dir.join(fetch::LISTS);
        let origins = record::origins(&self.runner, &tree, &lists, wanted, &packages)?;
        Ok(Manifest {
            format: FORMAT,
            key: resolved.key,
            request,
            distro: self.release.distro.clone(),
            version: self.release.version.clone(),
            arch: self.release.arch,
            source: resolved.source,
            oci_digest: resolved.oci.map(|o| o.digest),
            cloud_sha256: None,
            derived_from: None,
            made: Timestamp::now(),
            accepted_expired: resolved.accepted_expired,
            indexes: resolved.indexes,
            requested: wanted.to_vec(),
            packages,
            origins,
            owners: record::owners(&tree, self.release),
            timings: Vec::new(),
        })
    }
}

/// How trees are made; another number makes new keys, and images of the old ones can still be listed and removed.
const MADE: u32 = 2;

/// Hashes what is asked for, apart from what the network offers: the offline image is found by it.
fn request(release: &Release, wanted: &[String], base: Option<&dyn Base>) -> String {
    let suites = release.suites.iter().map(|s| format!("{} {:?} {}", s.name, s.archive, s.components.join(" ")));
    // The record's paths are looked up in the tree and stand in the manifest.
    let paths = release.vmms.iter().map(|v| v.path.as_str());
    let daemons = release.filesystems.iter().filter_map(|f| f.path.as_deref());
    let kernels = release.kernel.iter().map(|k| k.image.as_str());
    let fields = Fields::default()
        .add("format", FORMAT.to_le_bytes())
        .add("made", MADE.to_le_bytes())
        .add("distro", &release.distro)
        .add("version", &release.version)
        .add("arch", release.arch.name())
        .add("image", release.oci_image.as_deref().unwrap_or_default())
        .all("suites", suites)
        .all("packages", wanted)
        .all("paths", paths.chain(daemons).chain(kernels));
    match base {
        None => fields.hex(),
        Some(base) => fields.add("base", base.identity()).hex(),
    }
}

fn source_of(release: &Release, options: &Options) -> Source {
    match options.source {
        _ if options.base.is_some() => Source::Cloud,
        Source::Auto | Source::Cloud
            if bootstrap::available() && ["debian", "ubuntu"].contains(&release.distro.as_str()) =>
        {
            Source::Bootstrap
        }
        Source::Auto | Source::Cloud => Source::Oci,
        given => given,
    }
}

/// Whether this process may make device nodes and run the release's binaries.
pub(crate) fn able_to_build(release: &Release) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(Cause::NotRoot.into());
    }
    if Arch::of_machine() != Some(release.arch) {
        let machine = std::env::consts::ARCH.to_owned();
        return Err(Cause::WrongArchitecture { wanted: release.arch.name().to_owned(), machine }.into());
    }
    Ok(())
}

fn trimmed(url: String) -> String {
    url.trim_end_matches('/').to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use kata_osinfo::package_manager::PackageManager;
    use kata_osinfo::release::{Archive, FilesystemDriver, Kernel, PackageSuite, Vmm};

    pub(crate) fn release(version: &str, codename: &str) -> Release {
        let suite = |name: String, archive| PackageSuite { name, archive, components: vec!["main".to_owned()] };
        Release {
            distro: "debian".to_owned(),
            version: version.to_owned(),
            codename: Some(codename.to_owned()),
            aliases: vec![],
            arch: Arch::X86_64,
            package_manager: PackageManager::Apt,
            suites: vec![
                suite(codename.to_owned(), Archive::Main),
                suite(format!("{codename}-security"), Archive::Security),
            ],
            oci_image: None,
            vmms: vec![Vmm {
                name: "qemu".to_owned(),
                packages: vec!["qemu-system-x86".to_owned()],
                path: "/usr/bin/qemu-system-x86_64".to_owned(),
            }],
            filesystems: vec![FilesystemDriver {
                name: "virtio-fs".to_owned(),
                packages: vec!["virtiofsd".to_owned()],
                path: Some("/usr/libexec/virtiofsd".to_owned()),
            }],
            kernel: Some(Kernel {
                packages: vec!["linux-image-amd64".to_owned()],
                image: "/boot/vmlinuz-*".to_owned(),
            }),
            container_manager: None,
        }
    }

    #[test]
    fn the_request_is_stable_and_sees_what_matters() {
        let plain = release("13", "trixie");
        let of = |r: &Release| request(r, &install::wanted(r).unwrap(), None);
        let first = of(&plain);
        assert_eq!(first, of(&plain.clone()));
        // Aliases and the container manager change nothing in the tree.
        let mut same = plain.clone();
        same.aliases.push("stable".to_owned());
        assert_eq!(first, of(&same));
        let mut other = plain.clone();
        other.vmms[0].packages.push("qemu-utils".to_owned());
        assert_ne!(first, of(&other));
        let mut other = plain.clone();
        other.suites.pop();
        assert_ne!(first, of(&other));
        #[derive(Debug)]
        struct Given(&'static str);
        impl Base for Given {
            fn identity(&self) -> String {
                self.0.to_owned()
            }
            fn read(&self, _: &Task<'_>) -> Result<crate::base::Archive, String> {
                Err(String::new())
            }
            fn accept(&self, _: &Path) -> Result<(), String> {
                Ok(())
            }
        }
        let on = |base| request(&plain, &install::wanted(&plain).unwrap(), Some(&Given(base)));
        assert!(first != on("a") && on("a") != on("b") && on("a") == on("a"));
        let mut other = plain.clone();
        other.vmms[0].path = "/usr/libexec/qemu-kvm".to_owned();
        assert_ne!(first, of(&other));
    }

    #[test]
    fn offline_without_an_image_says_so() {
        let cache = tempfile::tempdir().unwrap();
        let options = Options { offline: true, ..Options::new(cache.path()) };
        let error = prepare(&release("13", "trixie"), &options, &|_| {}).unwrap_err();
        assert!(matches!(*error.cause, Cause::NotCached));
        assert_eq!(error.phase, Phase::Resolve);
        assert_eq!(
            error.to_string(),
            "prepare debian:13: resolve: what is needed is not in the cache, and offline forbids fetching it"
        );
    }
}
