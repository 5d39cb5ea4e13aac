//! Components of another release instead of a release's own: `--component qemu@debian:13`.
//!
//! A program comes from that release's image with everything that it loads, and that release's own loader runs it, so
//! that it uses nothing of the release under test. The loader's copy has the program's name, because a VMM is
//! recognized by the name of its executable. A kernel comes with its modules and its configuration.

use crate::seed::{Content, SeedFile};
use images::boot::kernel::KernelFiles;
use images::packed::is_plain_file;
use images::portable::{Portable, PortableError};
use images::{Image, ImageError, ImageLock, Options};
use model::arch::Arch;
use model::database::{Database, DatabaseError};
use model::distro::Target;
use model::package::PackageName;
use model::record::ResolveError;
use model::release::Release;
use model::share::Share;
use model::target::{self, TargetError};
use reports::journal::Candidate;
use root::{InsidePath, NotAnInsidePath, Root, RootError};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use suites::environment::Claims;
use suites::outcome::Component;

/// Directories of modules that QEMU loads at run time, except Debian's, which has the architecture in its name.
const MODULES: [&str; 2] = ["/usr/lib64/qemu", "/usr/lib/qemu"];
/// Modules for screens and sound, which none of Kata's guests has, and which would pull in half of a desktop.
const NOT_TAKEN: [&str; 3] = ["ui-", "audio-", "spice"];
/// Directories of the firmware that QEMU loads into guests.
const FIRMWARE: [&str; 4] = ["/usr/share/qemu", "/usr/share/seabios", "/usr/share/seavgabios", "/usr/share/ipxe/qemu"];
/// Size limit of a firmware file that is copied: a BIOS has 256 KiB, and larger files are named by their path.
const MAX_FIRMWARE: u64 = 1 << 20;

/// A component of another release, as requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Donation {
    /// The component.
    pub component: Component,
    /// The release that the component belongs to.
    pub release: Release,
}

/// Reason why a text does not name a component of another release.
#[derive(Debug, thiserror::Error)]
pub enum DonationError {
    /// No release can provide this component.
    #[error("expected NAME@RELEASE, where NAME is one of {}", Donation::COMPONENTS.map(Component::name).join(", "))]
    Component,
    /// No release has this name.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The name matches more than one release.
    #[error("`{0}` matches several releases: name one, for example debian:13")]
    Several(String),
    /// The distro has no usable record.
    #[error(transparent)]
    Record(#[from] DatabaseError),
    /// The distro's record has no such release.
    #[error(transparent)]
    Release(#[from] ResolveError),
    /// The release has no such component.
    #[error(transparent)]
    Lacks(#[from] DonorError),
}

/// Reason why another release cannot provide a component.
#[derive(Debug, thiserror::Error)]
pub enum DonorError {
    /// The release's image cannot be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The release's image cannot be held in the cache.
    #[error("locking {release} in the cache")]
    Hold {
        /// The release.
        release: Target,
        /// The system's reason.
        source: io::Error,
    },
    /// The release has no such component.
    #[error("the record of {release} has no {component}")]
    Lacks {
        /// The release.
        release: Target,
        /// The component.
        component: Component,
    },
    /// The program cannot be copied with its libraries.
    #[error("copying {component} of {release}")]
    Program {
        /// The component.
        component: Component,
        /// The release.
        release: Target,
        /// The cause.
        source: PortableError,
    },
    /// A program's path in the environment cannot be written down.
    #[error("naming a program in the environment")]
    Path(#[from] NotAnInsidePath),
    /// The tree cannot be read.
    #[error(transparent)]
    Tree(#[from] RootError),
    /// The script that starts a program cannot be written.
    #[error("writing the wrapper that starts a program")]
    Script(#[source] io::Error),
}

impl Donation {
    /// The components that another release can provide.
    const COMPONENTS: [Component; 3] = [Component::Kernel, Component::Qemu, Component::Virtiofsd];

    /// Parses `NAME@RELEASE`; `None` if the text has another form.
    ///
    /// # Errors
    /// The expected form, if the name or the release is wrong.
    pub fn parse(text: &str, database: &Database, arch: Arch) -> Option<Result<Donation, DonationError>> {
        let (name, of) = text.split_once('@').filter(|(name, _)| !name.contains('='))?;
        Some(donation(name, of, database, arch))
    }
}

fn donation(name: &str, of: &str, database: &Database, arch: Arch) -> Result<Donation, DonationError> {
    let known = Donation::COMPONENTS.into_iter().find(|component| component.name() == name);
    let component = known.ok_or(DonationError::Component)?;
    let targets = target::parse(of, database)?;
    let [target] = &targets[..] else { return Err(DonationError::Several(of.to_owned())) };
    let release = database.record(&target.distro)?.release(&target.version, arch)?;
    packages(&release, component)?;
    Ok(Donation { component, release })
}

/// Components of other releases, with their source trees.
#[derive(Debug, Default)]
pub struct Donors(Vec<Donor>);

/// A component and the tree that it comes from.
#[derive(Debug)]
pub struct Donor {
    component: Component,
    /// The record's data about the component's release.
    pub release: Release,
    /// The root filesystem.
    pub tree: PathBuf,
    /// Description, such as `of debian:13 (qemu-system-x86 1:10.0.2)`.
    words: Candidate,
    _hold: ImageLock,
}

impl Donors {
    /// Prepares the images of the donor releases with these options; blocks while they are made.
    ///
    /// # Errors
    /// If an image cannot be made, or its record lacks the component.
    pub fn prepare(
        donations: &[Donation],
        options: &dyn Fn(&Release) -> Options,
        progress: &(dyn Fn(images::ProgressMessage) + Sync),
    ) -> Result<Donors, DonorError> {
        let one = |Donation { component, release }: &Donation| {
            let packages = packages(release, *component)?;
            let image = images::prepare(release, &options(release), progress)?;
            let hold = image.hold().map_err(|source| DonorError::Hold { release: release.target(), source })?;
            let words = words(release, &packages, &image);
            let (component, release) = (*component, release.clone());
            Ok(Donor { component, release, tree: image.rootfs(), words, _hold: hold })
        };
        donations.iter().map(one).collect::<Result<Vec<Donor>, DonorError>>().map(Donors)
    }

    /// Returns the donor of a component.
    pub fn of(&self, component: Component) -> Option<&Donor> {
        self.0.iter().find(|donor| donor.component == component)
    }

    /// Returns the donors' part of every cell's evidence.
    pub fn evidence(&self) -> impl Iterator<Item = (Component, Candidate)> {
        self.0.iter().map(|donor| (donor.component, donor.words.clone()))
    }

    /// Returns the donors' part of the run's options in the journal.
    pub fn options(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|donor| format!("--component {} {}", donor.component, donor.words))
    }

    /// Adds the donated programs to the claims, and returns their files; a kernel is handled elsewhere, because guests
    /// get their modules with it.
    ///
    /// # Errors
    /// If a program cannot be copied with its libraries.
    pub fn claim_programs(&self, claims: &mut Claims, folder: &Path) -> Result<Vec<SeedFile>, DonorError> {
        let mut files = Vec::new();
        for donor in &self.0 {
            let Some(program) = program(&donor.release, donor.component) else { continue };
            let failed = |source| {
                let (component, release) = (donor.component, donor.release.target());
                DonorError::Program { component, release, source }
            };
            let tree = Root::new(&donor.tree)?;
            let (modules, firmware) = match donor.component {
                Component::Qemu => {
                    let debians = format!("/usr/lib/{}/qemu", donor.release.arch.gnu_triplet());
                    let folders: Vec<&str> = std::iter::once(debians.as_str()).chain(MODULES).collect();
                    (listed(&tree, &folders, is_module)?, firmware(&tree)?)
                }
                Component::Virtiofsd
                | Component::CloudHypervisor
                | Component::Firecracker
                | Component::Kernel
                | Component::Containerd
                | Component::Packages
                | Component::Record
                | Component::Kata => (Vec::new(), Vec::new()),
            };
            let modules: Vec<PathBuf> = modules.into_iter().map(|(_, path)| path).collect();
            let portable = Portable::of(&tree, program.as_path(), &modules).map_err(failed)?;
            let packed = Packed { portable, firmware };
            let below = format!("donor/{}", donor.component);
            let start = packed.start(&folder.join(&below));
            files.extend(packed.files(&below, &tree));
            let name = format!("{below}/start");
            claims.candidates.insert(donor.component, folder.join(&name).as_path().try_into()?);
            files.push(SeedFile { name, content: in_file(&start).map_err(DonorError::Script)? });
        }
        Ok(files)
    }
}

/// Returns the program of a component, from the record; a kernel is not a program, and no release provides the rest.
fn program(release: &Release, component: Component) -> Option<&InsidePath> {
    match component {
        Component::Qemu => Some(&release.qemu()?.path),
        Component::Virtiofsd => release.filesystem(Share::VirtioFs)?.path.as_ref(),
        Component::CloudHypervisor
        | Component::Firecracker
        | Component::Kernel
        | Component::Containerd
        | Component::Packages
        | Component::Record
        | Component::Kata => None,
    }
}

/// Returns the packages that contain a component.
fn packages(release: &Release, component: Component) -> Result<Vec<PackageName>, DonorError> {
    let found = match component {
        Component::Kernel => release.kernel.as_ref().map(|kernel| kernel.packages.clone()),
        Component::Qemu => release.qemu().map(|vmm| vmm.packages.clone()),
        // A virtiofsd without its own package is part of the VMM's packages.
        Component::Virtiofsd => {
            let driver = release.filesystem(Share::VirtioFs).filter(|driver| driver.path.is_some());
            driver.map(|driver| driver.packages.clone())
        }
        Component::CloudHypervisor
        | Component::Firecracker
        | Component::Containerd
        | Component::Packages
        | Component::Record
        | Component::Kata => None,
    };
    found.ok_or_else(|| DonorError::Lacks { release: release.target(), component })
}

fn words(release: &Release, packages: &[PackageName], image: &Image) -> Candidate {
    let version = |name: &PackageName| {
        image.manifest.package(name.as_str()).map(|package| format!("{name} {}", package.version.as_str()))
    };
    let versions: Vec<String> = packages.iter().filter_map(version).collect();
    let versions = if versions.is_empty() { String::new() } else { format!(" ({})", versions.join(", ")) };
    Candidate::OfRelease(format!("{}{versions}", release.name()))
}

impl Donor {
    /// Returns the image of the donor's kernel, and the configuration if the release ships it in a file.
    ///
    /// # Errors
    /// If the tree cannot be read.
    pub fn kernel(&self, found: &KernelFiles) -> Result<(PathBuf, Option<String>), DonorError> {
        let tree = Root::new(&self.tree)?;
        let configuration = found.config.as_deref().map(|path| tree.utf8(path)).transpose()?;
        // The path has no links, in an image that nothing writes to.
        Ok((tree.shown(&found.vmlinuz), configuration))
    }
}

/// A program in the form in which it goes into an environment.
struct Packed {
    portable: Portable,
    /// Firmware files by directory and name.
    firmware: Vec<(String, PathBuf)>,
}

impl Packed {
    fn name(&self) -> String {
        self.portable.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the script that starts the program, in a directory of the environment.
    fn start(&self, folder: &Path) -> String {
        let folder = folder.display();
        let (name, mut words) = (self.name(), String::new());
        if self.portable.loader.is_some() {
            words.push_str(&format!(" '{folder}/{name}' --library-path '{folder}/lib'"));
        }
        words.push_str(&format!(" '{folder}/program/{name}'"));
        let mut folders: Vec<&str> = self.firmware.iter().filter_map(|(name, _)| name.split('/').next()).collect();
        folders.dedup();
        for one in folders {
            words.push_str(&format!(" -L '{folder}/share/{one}'"));
        }
        let modules = match self.portable.modules.is_empty() {
            true => String::new(),
            false => format!("export QEMU_MODULE_DIR='{folder}/modules'\n"),
        };
        format!("#!/bin/sh\n{modules}exec{words} \"$@\"\n")
    }

    /// Returns the program's files in a directory.
    fn files(&self, below: &str, tree: &Root) -> Vec<SeedFile> {
        let Portable { program, loader, libraries, modules } = &self.portable;
        let name = self.name();
        let mut all: BTreeMap<String, &PathBuf> = BTreeMap::new();
        all.insert(format!("program/{name}"), program);
        // A VMM is recognized by the name of its executable, so the loader gets the program's name.
        all.extend(loader.iter().map(|path| (name.clone(), path)));
        all.extend(libraries.iter().map(|(name, path)| (format!("lib/{name}"), path)));
        let named = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(modules.iter().map(|path| (format!("modules/{}", named(path)), path)));
        all.extend(self.firmware.iter().map(|(name, path)| (format!("share/{name}"), path)));
        // The paths have no links, in an image that nothing writes to.
        let seed = |(name, path): (String, &PathBuf)| SeedFile {
            name: format!("{below}/{name}"),
            content: Content::File(tree.shown(path)),
        };
        all.into_iter().map(seed).collect()
    }
}

fn is_module(name: &str) -> bool {
    name.ends_with(".so") && !NOT_TAKEN.iter().any(|part| name.contains(part))
}

/// Lists the regular files with plain names in some directories, each with its name.
fn listed(tree: &Root, folders: &[&str], accepts: fn(&str) -> bool) -> Result<Vec<(String, PathBuf)>, RootError> {
    let mut all = Vec::new();
    for folder in folders.iter().map(Path::new) {
        for name in tree.list_if_any(folder)?.into_iter().filter(|name| is_plain_file(name) && accepts(name)) {
            let path = folder.join(&name);
            // A link may be dangling.
            if tree.has_file(&path)? {
                all.push((name, tree.resolve(&path)?));
            }
        }
    }
    Ok(all)
}

/// Returns QEMU's firmware, by the number of its directory and its name.
fn firmware(tree: &Root) -> Result<Vec<(String, PathBuf)>, RootError> {
    let mut all = Vec::new();
    for (number, folder) in FIRMWARE.iter().enumerate() {
        for (name, path) in listed(tree, &[*folder], |_| true)? {
            if tree.look(&path)?.is_some_and(|metadata| metadata.len() <= MAX_FIRMWARE) {
                // Directories are numbered, because two of them have the same last name.
                all.push((format!("{number}/{name}"), path));
            }
        }
    }
    Ok(all)
}

fn in_file(text: &str) -> io::Result<Content> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    Ok(Content::Unnamed(Arc::new(file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::diagnostic::error_chain;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    #[test]
    fn a_donation_is_a_component_and_one_release() {
        let database = Database::embedded();
        let parse = |text: &str| Donation::parse(text, &database, Arch::X86_64);
        let donation = parse("qemu@debian:trixie").unwrap().unwrap();
        assert_eq!((donation.component, donation.release.name().as_str()), (Component::Qemu, "debian:13"));
        assert!(parse("qemu=/a@b").is_none(), "a file");
        for (text, expected) in [
            ("runc@debian:13", "kernel, qemu, virtiofsd"),
            ("qemu@debian", "several releases"),
            ("qemu@debian:99", "99"),
            ("qemu@none:1", "none"),
        ] {
            let error = error_chain(&parse(text).unwrap().unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    /// A program of this machine runs like another release's program in an environment.
    #[test]
    fn a_program_runs_by_its_own_loader_with_its_own_libraries() {
        let (tree, dir) = (Root::new(Path::new("/")).unwrap(), tempfile::tempdir().unwrap());
        let portable = Portable::of(&tree, Path::new("/usr/bin/env"), &[]).unwrap();
        let packed = Packed { portable, firmware: Vec::new() };
        let below = dir.path().join("donor");
        let put = |name: &str, content: &Content| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            io::copy(&mut content.open().unwrap().1, &mut fs::File::create(&path).unwrap()).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        for SeedFile { name, content } in packed.files("donor", &tree) {
            put(&name, &content);
        }
        put("donor/start", &in_file(&packed.start(&below)).unwrap());
        let ran = Command::new(below.join("start")).args(["-u", "PATH", "A=b c"]).env_clear().output().unwrap();
        let stdout = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success() && stdout.lines().any(|line| line == "A=b c"), "{stdout}");
        assert!(below.join("env").exists(), "the loader has the program's name");
    }

    #[test]
    fn the_start_script_names_qemus_own_modules_and_firmware() {
        let path = |text: &str| PathBuf::from(text);
        let portable = Portable {
            program: path("/usr/bin/qemu-system-x86_64"),
            loader: Some(path("/lib/ld.so")),
            libraries: BTreeMap::from([("libc.so.6".to_owned(), path("/lib/libc-2.so"))]),
            modules: vec![path("/usr/lib/qemu/accel-tcg-x86_64.so")],
        };
        let firmware = vec![
            ("0/bios.bin".to_owned(), path("/usr/share/qemu/bios.bin")),
            ("0/kvmvapic.bin".to_owned(), path("/usr/share/qemu/kvmvapic.bin")),
            ("1/vgabios.bin".to_owned(), path("/usr/share/seabios/vgabios.bin")),
        ];
        let packed = Packed { portable, firmware };
        assert_eq!(
            packed.start(Path::new("/d")),
            "#!/bin/sh\nexport QEMU_MODULE_DIR='/d/modules'\nexec '/d/qemu-system-x86_64' --library-path '/d/lib' \
             '/d/program/qemu-system-x86_64' -L '/d/share/0' -L '/d/share/1' \"$@\"\n"
        );
        let tree = Root::new(Path::new("/")).unwrap();
        let files = packed.files("donor/qemu", &tree);
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert!(names.contains(&"donor/qemu/lib/libc.so.6") && names.contains(&"donor/qemu/qemu-system-x86_64"));
        assert!(
            names.contains(&"donor/qemu/modules/accel-tcg-x86_64.so") && names.contains(&"donor/qemu/share/0/bios.bin")
        );
        assert_eq!(names.len(), 7);
    }

    #[test]
    fn ui_and_audio_modules_are_left_out() {
        assert!(is_module("accel-tcg-x86_64.so") && is_module("hw-display-virtio-vga.so"));
        assert!(!is_module("ui-gtk.so") && !is_module("audio-alsa.so") && !is_module("readme"));
    }
}
