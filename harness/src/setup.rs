//! Everything that a cell's tests need, made before they run: image, kernel, initramfs, and what is claimed of them.

use crate::built_in::AGENT;
use crate::line::{Line, ask};
use crate::plan::Cell;
use crate::shared::Shared;
use crate::vm::outer::{Accelerator, Outer};
use crate::vm::{Content, SeedFile};
use agent::home::VOLUME;
use agent::protocol::{Bytes, CHUNK, EnvironmentReply, EnvironmentRequest};
use images::boot::{initramfs, kernel, modules};
use images::{Disk, ExtraFile, Hold, Image, Manifest, Origin, docker};
use kata_osinfo::diagnostic::error_chain;
use kata_osinfo::profile::Profile;
use kata_osinfo::release::Release;
use kata_osinfo::verified::Basis;
use reports::journal::{Environment, Facts};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use suites::environment::{Claims, ModuleSet};

/// A cell, ready to be started.
pub struct Prepared {
    /// What it is started from.
    pub base: Base,
    /// Keeps what it is made of in the cache.
    pub holds: Vec<Hold>,
    /// What is known of it.
    pub claims: Claims,
    /// The guests' initramfs, until it has been sent.
    pub initramfs: Arc<[u8]>,
    /// What else the agent is given.
    pub files: Vec<SeedFile>,
    /// pjdfstest, where it was built.
    pub pjdfstest: Option<&'static [u8]>,
}

/// What an environment is started from.
pub enum Base {
    /// An image that Docker has.
    Container {
        /// The image.
        image: Box<Image>,
        /// Its name for Docker.
        docker_image: String,
    },
    /// A disk.
    Vm {
        /// The disk.
        disk: Box<Disk>,
    },
    /// This machine.
    Host {
        /// The agent's folder.
        dir: PathBuf,
    },
}

impl Prepared {
    /// Everything that is installed, where an image knows.
    fn manifest(&self) -> Option<&Manifest> {
        match &self.base {
            Base::Container { image, .. } => Some(&image.manifest),
            Base::Vm { disk } => Some(&disk.host.manifest),
            Base::Host { .. } => None,
        }
    }

    /// The agent's folder in the environment.
    fn folder(&self) -> &Path {
        match &self.base {
            Base::Container { .. } | Base::Vm { .. } => Path::new(VOLUME),
            Base::Host { dir } => dir,
        }
    }
}

/// Prepares image and initramfs; the error says what failed and what to do.
pub async fn prepare(shared: &Shared, cell: &Cell) -> Result<Prepared, String> {
    let (release, options, line) = (cell.release.clone(), shared.images.clone(), cell.line.clone());
    let profiles = cell.profiles.clone();
    let told = move |progress: images::Progress| match progress.detail {
        None => line.doing(&format!("image: {}", progress.phase.name())),
        Some(detail) => line.detail(&format!("image: {}: {detail}", progress.phase.name())),
    };
    let pjdfstest = crate::pjdfstest::BINARY;
    let kata = Arc::clone(&shared.kata);
    let mut prepared = match cell.id.environment {
        Environment::Container => {
            let (image, hold, claims, initramfs) = blocking(move || {
                let image = images::prepare(&release, &options, &told).map_err(|e| error_chain(&e))?;
                let hold = hold(&image)?;
                let (claims, initramfs) = boot_files_of(&image, &release, &profiles)?;
                Ok((image, hold, claims, initramfs))
            })
            .await?;
            cell.line.doing("importing the image into Docker");
            let docker = shared.docker.as_ref().ok_or("no Docker engine answers")?;
            let docker_image = docker::ensure_imported(docker, &image).await.map_err(|e| error_chain(&e))?;
            let base = Base::Container { image: Box::new(image), docker_image };
            let holds = vec![hold];
            Prepared { base, holds, claims, initramfs: initramfs.into(), files: Vec::new(), pjdfstest }
        }
        Environment::Vm => {
            let named = release.clone();
            let disk = blocking(move || {
                let disk = images::prepare_disk(&named, &options, &crate::vm::files(), &told);
                let disk = disk.map_err(|e| error_chain(&e))?;
                let holds = vec![hold(&disk.image)?, hold(&disk.host)?];
                Ok((disk, holds))
            });
            // The QEMU that boots the disk comes from an image of its own, and finding its accelerator takes a moment.
            let (disk, outer) = tokio::join!(disk, shared.outer());
            let ((disk, holds), emulated) = (disk?, matches!(outer?.accelerator, Accelerator::Tcg { .. }));
            let kata = Arc::clone(&kata);
            let (disk, claims, initramfs, files) = blocking(move || {
                let (mut claims, initramfs) = boot_files_of(&disk.image, &release, &profiles)?;
                claims.versions = versions(&disk.host.manifest, &host_packages(&release));
                let tree = disk.image.rootfs();
                let (brought, files) = kata.prepare(&tree, Path::new(VOLUME), &release, &profiles, emulated)?;
                claims.kata = brought;
                Ok((disk, claims, initramfs, files))
            })
            .await?;
            let base = Base::Vm { disk: Box::new(disk) };
            Prepared { base, holds, claims, initramfs: initramfs.into(), files, pjdfstest }
        }
        Environment::Host => {
            let dir = shared.host_folder.clone();
            let within = dir.clone();
            let (claims, initramfs) = blocking(move || {
                let versions = crate::host::versions(&host_packages(&release));
                boot_files(Path::new("/"), &within, versions, &release, &profiles)
            })
            .await?;
            let (base, holds, files) = (Base::Host { dir }, Vec::new(), Vec::new());
            Prepared { base, holds, claims, initramfs: initramfs.into(), files, pjdfstest }
        }
    };
    let folder = prepared.folder().to_owned();
    prepared.files.extend(kata.bring(&mut prepared.claims, &folder));
    Ok(prepared)
}

/// The packages of a release as Kata's host: those of its guests, and its container manager's.
fn host_packages(release: &Release) -> Vec<String> {
    let manager = release.container_manager.iter().flat_map(|m| m.packages.clone());
    release.packages().into_iter().chain(manager).collect()
}

/// Keeps an image in the cache for as long as the cell lives.
fn hold(image: &Image) -> Result<Hold, String> {
    image.hold().map_err(|e| format!("holding {} in the cache: {e}", image.release()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())?
}

/// [`boot_files`] of an image, for an environment whose folder is the usual one.
///
/// # Errors
/// As [`boot_files`].
pub fn boot_files_of(image: &Image, release: &Release, profiles: &[Profile]) -> Result<(Claims, Vec<u8>), String> {
    let versions = versions(&image.manifest, &release.packages());
    boot_files(&image.rootfs(), Path::new(VOLUME), versions, release, profiles)
}

/// The guest's initramfs and what the tests compare with: the record's claims, versions, modules.
///
/// # Errors
/// When the tree has no kernel or the archive cannot be made; modules that the kernel lacks are data for a test.
pub fn boot_files(
    tree: &Path,
    folder: &Path,
    versions: BTreeMap<String, String>,
    release: &Release,
    profiles: &[Profile],
) -> Result<(Claims, Vec<u8>), String> {
    let kernel = kernel::find(tree, release).map_err(|e| error_chain(&e))?;
    let wanted = wanted_modules(profiles);
    let mut sets = BTreeMap::new();
    for (used_for, names) in &wanted {
        let found = modules::resolve(tree, &kernel.modules_dir, names).map_err(|e| error_chain(&e))?;
        let load = found.load_order.iter().map(|m| m.name.clone()).collect();
        sets.insert(used_for.clone(), ModuleSet { wanted: names.clone(), load, missing: found.missing });
    }
    let every: Vec<String> = wanted.values().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let all = modules::resolve(tree, &kernel.modules_dir, &every).map_err(|e| error_chain(&e))?;
    let at_boot = sets.get("boot").map(|set| set.load.join("\n")).unwrap_or_default();
    let mut extra = vec![
        file("/modules/boot", 0o644, at_boot.into_bytes()),
        file("/etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/false\ndaemon:x:1:1:daemon:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n".to_vec()),
        file("/etc/group", 0o644, b"root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n".to_vec()),
        file("/etc/nsswitch.conf", 0o644, b"passwd: files\ngroup: files\n".to_vec()),
    ];
    extra.extend(crate::pjdfstest::BINARY.map(|bytes| file("/pjdfstest", 0o755, bytes.to_vec())));
    let initramfs = initramfs::build(AGENT, &all, &extra).map_err(|e| error_chain(&e))?;
    let claims = Claims {
        release: release.clone(),
        versions,
        kernel: kernel.release.clone(),
        vmlinuz: kernel.vmlinuz.to_string_lossy().into_owned(),
        initramfs: folder.join("initramfs").to_string_lossy().into_owned(),
        modules: sets,
        kata: Vec::new(),
        brought: BTreeMap::new(),
    };
    Ok((claims, initramfs))
}

/// By use, what any of the profiles asks for.
fn wanted_modules(profiles: &[Profile]) -> BTreeMap<String, Vec<String>> {
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for profile in profiles {
        let modules = &profile.modules;
        for (used_for, names) in [
            ("boot", &modules.boot),
            ("vsock", &modules.vsock),
            ("virtio-fs", &modules.virtio_fs),
            ("virtio-9p", &modules.virtio_9p),
            ("virtio-blk", &modules.virtio_blk),
            ("nvdimm", &modules.nvdimm),
            ("other", &modules.other),
        ] {
            let list = wanted.entry(used_for.to_owned()).or_default();
            for name in names {
                if !list.contains(name) {
                    list.push(name.clone());
                }
            }
        }
    }
    wanted
}

fn file(path: &str, mode: u32, bytes: Vec<u8>) -> ExtraFile {
    ExtraFile { path: path.to_owned(), mode, content: bytes }
}

/// The installed versions of these packages.
fn versions(manifest: &Manifest, packages: &[String]) -> BTreeMap<String, String> {
    let version = |name: &String| manifest.package(name).map(|p| (name.clone(), p.version.clone()));
    packages.iter().filter_map(version).collect()
}

/// Hands everything to the environment's agent; a virtual machine has the files since it was booted.
///
/// The initramfs is not kept: it is the largest thing that the harness would hold while a cell runs.
pub async fn send(line: &Line, prepared: &mut Prepared) -> Result<(), String> {
    if !matches!(prepared.base, Base::Vm { .. }) {
        let initramfs = std::mem::take(&mut prepared.initramfs);
        let folder = prepared.folder().to_owned();
        put(line, &prepared.claims.initramfs, 0o644, &initramfs).await?;
        if let Some(pjdfstest) = prepared.pjdfstest {
            put(line, &folder.join("pjdfstest").to_string_lossy(), 0o755, pjdfstest).await?;
        }
        for SeedFile { name, content } in &prepared.files {
            let read;
            let bytes: &[u8] = match content {
                Content::Static(bytes) => bytes,
                Content::Bytes(bytes) => bytes,
                Content::File(path) => {
                    read = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
                    &read
                }
            };
            put(line, &folder.join(name).to_string_lossy(), 0o755, bytes).await?;
        }
    }
    let request = EnvironmentRequest::SetUp { claims: Box::new(prepared.claims.clone()) };
    done(ask(line, request, 30).await)
}

async fn put(line: &Line, path: &str, mode: u32, bytes: &[u8]) -> Result<(), String> {
    for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
        let offset = (index * CHUNK) as u64;
        let request = EnvironmentRequest::PutFile { path: path.to_owned(), mode, offset, bytes: Bytes(chunk.to_vec()) };
        done(ask(line, request, 60).await)?;
    }
    Ok(())
}

fn done(reply: Result<EnvironmentReply, crate::line::LineError>) -> Result<(), String> {
    match reply {
        Ok(EnvironmentReply::Done) => Ok(()),
        Ok(other) => Err(format!("setting the environment up: {other:?}")),
        Err(e) => Err(e.to_string()),
    }
}

/// The evidence of a cell: versions and where they came from, and what the environment provides.
///
/// `runs_kvm` is whether guests run under KVM there.
pub fn facts(
    prepared: &Prepared,
    environment: BTreeMap<String, String>,
    runs_kvm: bool,
    outer: Option<&Outer>,
) -> Facts {
    let manifest = prepared.manifest();
    let (basis, accelerator) = match (&prepared.base, outer.map(|o| &o.accelerator)) {
        (Base::Vm { .. }, Some(Accelerator::Kvm)) if runs_kvm => (Basis::Hardware, "kvm in kvm"),
        (Base::Vm { .. }, _) if runs_kvm => (Basis::Emulated, "kvm in tcg"),
        (Base::Host { .. }, _) if runs_kvm => (Basis::Hardware, "kvm"),
        _ => (Basis::Emulated, "tcg"),
    };
    let (image, made, cached) = match &prepared.base {
        Base::Container { image, docker_image } => {
            (docker_image.clone(), Some(image.made), image.origin != Origin::Built)
        }
        Base::Vm { disk } => {
            let key = disk.host.key();
            (format!("disk {}", key.get(..12).unwrap_or(key)), Some(disk.host.made), disk.host.origin != Origin::Built)
        }
        Base::Host { .. } => ("this machine".to_owned(), None, false),
    };
    let origins = manifest.iter().flat_map(|m| &m.origins);
    Facts {
        basis,
        accelerator: accelerator.to_owned(),
        versions: prepared.claims.versions.clone(),
        suites: origins.map(|o| (o.package.clone(), o.suites.join(", "))).collect(),
        kernel: Some(prepared.claims.kernel.clone()),
        image,
        image_made: made,
        image_cached: cached,
        image_options: manifest
            .iter()
            .flat_map(|m| &m.accepted_expired)
            .map(|s| format!("accepted the expired Release of {s}"))
            .chain(manifest.iter().filter_map(|m| Some(format!("cloud image sha256:{}", m.cloud_sha256.as_ref()?))))
            .collect(),
        environment,
        notes: Vec::new(),
    }
}
