//! Preparation of everything that a cell's tests need: image, kernel, initramfs, and the claims about them.

mod donated;
mod elf_kernel;
mod evidence;
mod words;

pub use evidence::{evidence, keep_manifest, kept_manifest};

use crate::built_in;
use crate::donor::DonorError;
use crate::environments::host;
use crate::environments::vm;
use crate::environments::vm::outer::{MachineAccelerator, OuterError};
use crate::external;
use crate::line::{Line, LineError, ask};
use crate::plan::Cell;
use crate::resources::Resources;
use crate::seed::{Content, SeedFile};
use agent::home::VOLUME;
use images::boot::{initramfs, kernel, modules};
use images::{Disk, ExtraFile, Image, ImageError, ImageErrorKind, ImageLock, Manifest, docker};
use model::arch::Arch;
use model::distro::Target;
use model::package::{PackageName, PackageVersion};
use model::profile::{ModuleUse, Profile, architecture};
use model::release::Release;
use protocol::message::{Base64Bytes, CHUNK, EnvironmentReply, EnvironmentRequest};
use reports::journal::Environment;
use root::{NotAnInsidePath, Root};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use suites::environment::{Claims, Effort, ModuleSet};
use suites::outcome::Component;

/// Reason why a cell cannot be started, or why its agent did not get its files.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An image, or a file made from one, could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image cannot be held in the cache.
    #[error("locking {image} in the cache")]
    Hold {
        /// The release of the image.
        image: Target,
        /// The system's reason.
        source: io::Error,
    },
    /// A file's path in the environment cannot be written down.
    #[error("naming a file in the environment")]
    Path(#[from] NotAnInsidePath),
    /// Another release cannot provide a component.
    #[error(transparent)]
    Donor(#[from] DonorError),
    /// There is no engine to import the image into.
    #[error("no Docker engine answers")]
    NoDocker,
    /// There is no QEMU for the virtual machine.
    #[error(transparent)]
    Qemu(#[from] Arc<OuterError>),
    /// A thread that prepared something did not finish.
    #[error(transparent)]
    Thread(#[from] tokio::task::JoinError),
    /// A file for the agent cannot be read.
    #[error("reading the file for {path} in the environment")]
    Read {
        /// The file's path in the environment.
        path: PathBuf,
        /// The name of the file and the system's reason.
        source: io::Error,
    },
    /// The image's manifest cannot be stored with the journal.
    #[error("writing {path}")]
    Keep {
        /// The path of the copy.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The agent did not answer.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The agent answered anything other than success.
    #[error("setting up the environment: {0}")]
    Refused(String),
}

impl SetupError {
    /// Returns the package that is missing in all of the release's suites or repositories, if that is the reason.
    pub fn missing_package(&self) -> Option<&str> {
        match self {
            SetupError::Image(ImageError { cause, .. }) => match &**cause {
                ImageErrorKind::PackageMissing { package } => Some(package.as_str()),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A cell that is ready to be started.
pub struct PreparedCell {
    /// The base of the environment.
    pub base: EnvironmentBase,
    /// Locks that keep the cell's images in the cache.
    pub holds: Vec<ImageLock>,
    /// The claims about the cell, which the tests check.
    pub claims: Claims,
    /// The guests' initramfs.
    pub initramfs: Content,
    /// Other files for the agent.
    pub files: Vec<SeedFile>,
}

/// The base of an environment.
pub enum EnvironmentBase {
    /// An image that Docker has.
    Container {
        /// The image.
        image: Box<Image>,
        /// The image's name in Docker.
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

impl PreparedCell {
    /// Returns the list of everything that is installed, if there is an image.
    fn manifest(&self) -> Option<&Manifest> {
        match &self.base {
            EnvironmentBase::Container { image, .. } => Some(&image.manifest),
            EnvironmentBase::Vm { disk } => Some(&disk.host.manifest),
            EnvironmentBase::Host { .. } => None,
        }
    }

    /// Returns all installed packages with their versions; empty for this machine.
    pub fn packages(&self) -> BTreeMap<String, PackageVersion> {
        let packages = self.manifest().map(|manifest| manifest.packages.as_slice()).unwrap_or_default();
        packages.iter().map(|package| (package.name.to_string(), package.version.clone())).collect()
    }

    /// Returns the agent's directory in the environment.
    fn folder(&self) -> &Path {
        match &self.base {
            EnvironmentBase::Container { .. } | EnvironmentBase::Vm { .. } => Path::new(VOLUME),
            EnvironmentBase::Host { dir } => dir,
        }
    }
}

/// Prepares image and initramfs.
///
/// # Errors
/// If one of them could not be made.
pub async fn prepare(resources: &Resources, cell: &Cell) -> Result<PreparedCell, SetupError> {
    let (release, options, line) = (cell.release.clone(), resources.images.clone(), cell.line.clone());
    let profiles = cell.profiles.clone();
    let report = move |progress: images::ProgressMessage| match progress.detail {
        None => line.doing(words::doing(progress.phase)),
        Some(detail) => line.detail(&detail),
    };
    let kata = Arc::clone(&resources.kata);
    let mut prepared = match cell.id.environment {
        Environment::Container => {
            let (image, hold, claims, initramfs) = blocking(move || {
                let image = images::prepare(&release, &options, &report)?;
                let hold = hold(&image)?;
                let (claims, initramfs) = boot_files_of(&image, &release, &profiles)?;
                Ok((image, hold, claims, initramfs))
            })
            .await?;
            cell.line.doing("importing the image into Docker");
            let docker = resources.docker.as_ref().ok_or(SetupError::NoDocker)?;
            let docker_image = docker::ensure_imported(docker, &image).await?;
            let base = EnvironmentBase::Container { image: Box::new(image), docker_image };
            let holds = vec![hold];
            PreparedCell { base, holds, claims, initramfs, files: Vec::new() }
        }
        Environment::Vm => {
            let named = release.clone();
            let disk = blocking(move || {
                let disk = images::prepare_disk(&named, &options, &vm::files(named.arch), &report)?;
                let holds = vec![hold(&disk.image)?, hold(&disk.host)?];
                Ok((disk, holds))
            });
            // The QEMU that boots the disk comes from another image, and finding its accelerator takes a moment.
            let (disk, outer) = tokio::join!(disk, resources.machines.outer());
            let ((disk, holds), emulated) = (disk?, matches!(outer?.accelerator, MachineAccelerator::Tcg { .. }));
            let (kata, donors) = (Arc::clone(&kata), Arc::clone(&resources.donors));
            let (disk, claims, initramfs, files) = blocking(move || {
                let (mut claims, initramfs) = boot_files_of(&disk.image, &release, &profiles)?;
                claims.versions = versions(&disk.host.manifest, &host_packages(&release));
                // Kata's guests need the modules of the kernel that they boot.
                let (tree, of) = match donors.of(Component::Kernel) {
                    Some(donor) => (donor.tree.clone(), &donor.release),
                    None => (disk.image.rootfs(), &release),
                };
                let (runtimes, files) = kata.prepare(&tree, Path::new(VOLUME), of, &profiles, emulated)?;
                claims.kata = runtimes;
                Ok((disk, claims, initramfs, files))
            })
            .await?;
            let base = EnvironmentBase::Vm { disk: Box::new(disk) };
            PreparedCell { base, holds, claims, initramfs, files }
        }
        Environment::Host => {
            let dir = resources.host_folder.clone();
            let within = dir.clone();
            let (claims, initramfs) = blocking(move || {
                let versions = host::versions(&Root::default(), release.package_manager, &host_packages(&release));
                Ok(boot_files(Path::new("/"), &within, versions, &release, &profiles)?)
            })
            .await?;
            let (base, holds, files) = (EnvironmentBase::Host { dir }, Vec::new(), Vec::new());
            PreparedCell { base, holds, claims, initramfs, files }
        }
    };
    let folder = prepared.folder().to_owned();
    if Arch::of_machine() == Some(prepared.claims.release.arch) {
        prepared.files.extend(external::files());
    }
    prepared.files.extend(kata.claim_replacements(&mut prepared.claims, &folder)?);
    let (donors, profiles) = (Arc::clone(&resources.donors), cell.profiles.clone());
    blocking(move || {
        donated::supply(&donors, &mut prepared, &profiles)?;
        elf_kernel::supply(&donors, &mut prepared)?;
        Ok(prepared)
    })
    .await
}

/// Returns the packages of a release as Kata's host: those for its guests, and its container managers'.
fn host_packages(release: &Release) -> Vec<PackageName> {
    let managers = release.container_manager.iter().chain(&release.docker).flat_map(|m| m.packages.clone());
    release.packages().into_iter().chain(managers).collect()
}

/// Holds an image in the cache for as long as the cell runs.
fn hold(image: &Image) -> Result<ImageLock, SetupError> {
    image.hold().map_err(|source| SetupError::Hold { image: image.release(), source })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SetupError> + Send + 'static,
) -> Result<T, SetupError> {
    tokio::task::spawn_blocking(work).await?
}

/// Makes the [`boot_files`] of an image, for an environment with the usual directory of the agent.
///
/// # Errors
/// As for [`boot_files`].
pub fn boot_files_of(image: &Image, release: &Release, profiles: &[Profile]) -> Result<(Claims, Content), ImageError> {
    let versions = versions(&image.manifest, &release.packages());
    boot_files(&image.rootfs(), Path::new(VOLUME), versions, release, profiles)
}

/// Makes the guest's initramfs and the data that tests compare with: the record's claims, versions, modules.
///
/// # Errors
/// If the tree has no kernel or the archive cannot be made. Modules that the kernel lacks are no error but data for a
/// test.
pub fn boot_files(
    tree: &Path,
    folder: &Path,
    versions: BTreeMap<PackageName, PackageVersion>,
    release: &Release,
    profiles: &[Profile],
) -> Result<(Claims, Content), ImageError> {
    let kernel = kernel::find(tree, release)?;
    let module_lists = wanted_modules(profiles, release.arch);
    let mut sets = BTreeMap::new();
    for (used_for, names) in &module_lists {
        let found = modules::resolve(tree, &kernel.modules_dir, names)?;
        let load = found.load_order.iter().map(|m| m.name.clone()).collect();
        sets.insert(*used_for, ModuleSet { wanted: names.clone(), load, missing: found.missing });
    }
    let every: Vec<String> = module_lists.values().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect();
    let all = modules::resolve(tree, &kernel.modules_dir, &every)?;
    let at_boot = sets.get(&ModuleUse::Boot).map(|set| set.load.join("\n")).unwrap_or_default();
    let mut extra = vec![
        file("/modules/boot", 0o644, at_boot.into_bytes()),
        file("/etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/false\ndaemon:x:1:1:daemon:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n".to_vec()),
        file("/etc/group", 0o644, b"root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n".to_vec()),
        file("/etc/nsswitch.conf", 0o644, b"passwd: files\ngroup: files\n".to_vec()),
    ];
    // The external suites were built for this machine's architecture.
    let is_here = Arch::of_machine() == Some(release.arch);
    let built = external::SUITES.iter().filter(|_| is_here).filter_map(|suite| Some((suite.name, suite.binary?)));
    extra.extend(built.map(|(name, bytes)| file(&format!("/{name}"), 0o755, bytes)));
    // A request for an architecture without an agent is refused before anything is made.
    let agent = built_in::agent(release.arch).unwrap_or_default();
    let initramfs = Content::Unnamed(Arc::new(initramfs::build(agent, &all, &extra)?));
    let claims = Claims {
        release: release.clone(),
        versions,
        kernel_config: kernel::own_configuration(tree, &kernel)?,
        kernel: kernel.release.clone(),
        vmlinuz: kernel.vmlinuz.to_string_lossy().into_owned(),
        elf_kernel: None,
        initramfs: folder.join("initramfs").to_string_lossy().into_owned(),
        modules: sets,
        kata: Vec::new(),
        candidates: BTreeMap::new(),
        effort: Effort::default(),
    };
    Ok((claims, initramfs))
}

/// Returns the modules that any of the profiles asks for, by use.
fn wanted_modules(profiles: &[Profile], arch: Arch) -> BTreeMap<ModuleUse, Vec<String>> {
    let mut module_lists: BTreeMap<ModuleUse, Vec<String>> = BTreeMap::new();
    for profile in profiles {
        for used_for in ModuleUse::ALL {
            let list = module_lists.entry(*used_for).or_default();
            for name in profile.modules.of(*used_for).iter().filter_map(|name| architecture::module(name, arch)) {
                if !list.iter().any(|known| known == name) {
                    list.push(name.to_owned());
                }
            }
        }
    }
    module_lists
}

fn file(path: &str, mode: u32, bytes: impl Into<Cow<'static, [u8]>>) -> ExtraFile {
    ExtraFile { path: path.into(), mode, content: bytes.into() }
}

/// Returns the installed versions of these packages.
fn versions(manifest: &Manifest, packages: &[PackageName]) -> BTreeMap<PackageName, PackageVersion> {
    let version = |name: &PackageName| Some((name.clone(), manifest.package(name.as_str())?.version.clone()));
    packages.iter().filter_map(version).collect()
}

/// Sends everything to the environment's agent; a virtual machine was booted with the files.
///
/// # Errors
/// If a file cannot be read, or the agent does not accept it.
pub async fn send(line: &Line, prepared: &PreparedCell) -> Result<(), SetupError> {
    if !matches!(prepared.base, EnvironmentBase::Vm { .. }) {
        let folder = prepared.folder();
        put(line, Path::new(&prepared.claims.initramfs), 0o644, &prepared.initramfs).await?;
        for SeedFile { name, content } in &prepared.files {
            put(line, &folder.join(name), 0o755, content).await?;
        }
    }
    let request = EnvironmentRequest::SetUp { claims: Box::new(prepared.claims.clone()) };
    done(ask(line, request, 30).await?)
}

async fn put(line: &Line, path: &Path, mode: u32, content: &Content) -> Result<(), SetupError> {
    let unreadable = |source| SetupError::Read { path: path.to_owned(), source };
    let (size, mut reader) = content.open().map_err(unreadable)?;
    let mut offset = 0;
    while offset < size {
        let mut chunk = Vec::with_capacity(CHUNK);
        reader.by_ref().take(CHUNK as u64).read_to_end(&mut chunk).map_err(unreadable)?;
        if chunk.is_empty() {
            return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        let (path, next) = (path.to_string_lossy().into_owned(), offset + chunk.len() as u64);
        done(ask(line, EnvironmentRequest::PutFile { path, mode, offset, bytes: Base64Bytes(chunk) }, 60).await?)?;
        offset = next;
    }
    Ok(())
}

fn done(reply: EnvironmentReply) -> Result<(), SetupError> {
    match reply {
        EnvironmentReply::Done => Ok(()),
        other => Err(SetupError::Refused(format!("{other:?}"))),
    }
}
