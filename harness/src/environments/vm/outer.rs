//! The QEMU that boots releases: pinned, independent of the machine, and with the accelerator that works here.
//!
//! Emulation of a processor with virtualization is the hardest task for QEMU here, and its versions differ in it: 7.2
//! and 11.1 broke guests of the guest, 10.0 did not. So the pinned QEMU is Debian 13's, which runs in that release's
//! image and sees nothing else. Machines of another architecture are emulated by the same release's QEMU for that
//! architecture, which is laid over the image.
//!
//! Several emulated CPUs break guests of guests, too, whichever thread runs them: with `thread=multi` and two CPUs a
//! run of a release lost five or six machines ("corrupted stack end", resets), with `thread=single` both guests of the
//! first two tests stood still, and with one CPU 579 tests lost none, in half an hour (QEMU 10.0.11, two processors,
//! 2026-11-29).

pub use super::confined::KVM_DEVICE;

use super::confined::{Confined, FILES};
use images::{Image, ImageError, ImageLock};
use model::arch::Arch;
use model::database::{Database, DatabaseError};
use model::distro::Target;
use model::package::{NotAPackageName, PackageVersion};
use model::record::ResolveError;
use model::release::Release;
use root::{Root, RootError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release that the pinned QEMU comes from.
pub const RELEASE: Target = Target::constant("debian", "13");
/// The number of the descriptor set with `/dev/kvm`; the sets of disks are counted from 1.
const KVM_SET: u32 = 100;

/// Returns the release's package with QEMU for machines of an architecture.
pub fn package(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "qemu-system-x86",
        Arch::Aarch64 => "qemu-system-arm",
        Arch::Ppc64le => "qemu-system-ppc",
        Arch::S390x => "qemu-system-s390x",
    }
}

/// Returns the program's path in the release.
fn program(arch: Arch) -> String {
    format!("/usr/bin/qemu-system-{}", arch.qemu_name())
}

/// Returns this machine's architecture, for which the program is built.
pub(super) fn here() -> Arch {
    Arch::of_machine().unwrap_or(Arch::X86_64)
}

/// Reason why there is no QEMU to boot virtual machines with.
#[derive(Debug, thiserror::Error)]
pub enum OuterError {
    /// The image with the QEMU could not be prepared.
    #[error("preparing {release}, whose QEMU boots virtual machines")]
    Image {
        /// The release.
        release: Target,
        /// The cause.
        source: ImageError,
    },
    /// The image cannot be kept in the cache.
    #[error("locking {image} in the cache")]
    Hold {
        /// The release of the image.
        image: Target,
        /// The system's reason.
        source: io::Error,
    },
    /// The image lacks the package.
    #[error("package {package} is not installed in {image}")]
    NoPackage {
        /// The release of the image.
        image: Target,
        /// The package, such as `qemu-system-arm`.
        package: &'static str,
    },
    /// The package is installed but its program is missing.
    #[error("{program} is not an executable file in the image of {image}")]
    NoProgram {
        /// The release of the image.
        image: Target,
        /// The program, such as `/usr/bin/qemu-system-aarch64`.
        program: String,
    },
    /// The name of the package is not valid.
    #[error(transparent)]
    Package(#[from] NotAPackageName),
    /// The image's tree cannot be used.
    #[error(transparent)]
    Tree(#[from] RootError),
    /// The distro has no record.
    #[error(transparent)]
    Record(#[from] DatabaseError),
    /// The record does not have the release.
    #[error(transparent)]
    Release(#[from] ResolveError),
    /// The thread that prepared the QEMU did not finish.
    #[error(transparent)]
    Thread(#[from] tokio::task::JoinError),
}

/// The way in which releases' processors run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineAccelerator {
    /// Hardware virtualization, which has booted a guest here and can nest.
    Kvm,
    /// Emulation of a processor that virtualizes.
    Tcg {
        /// The reason why KVM is not used.
        why: String,
        /// Whether the reason is that a guest was tried under KVM and did not boot.
        dead_kvm: bool,
    },
}

impl MachineAccelerator {
    /// Returns the accelerator's name.
    pub fn name(&self) -> &'static str {
        match self {
            MachineAccelerator::Kvm => "kvm",
            MachineAccelerator::Tcg { .. } => "tcg",
        }
    }

    /// Returns QEMU's arguments for machines of an architecture.
    pub fn arguments(&self, arch: Arch) -> &'static [&'static str] {
        match (self, arch) {
            (MachineAccelerator::Kvm, _) => &["-accel", "kvm", "-cpu", "host"],
            // An AMD processor with its virtualization: nested paging makes guests of guests fast enough.
            (MachineAccelerator::Tcg { .. }, Arch::X86_64) => &["-accel", "tcg,thread=multi", "-cpu", "EPYC,+svm,+npt"],
            // The machine type provides EL2 (`virtualization=on`).
            (MachineAccelerator::Tcg { .. }, Arch::Aarch64) => &["-accel", "tcg,thread=multi", "-cpu", "max"],
            // The newest processor with which `cap-nested-hv` was seen to work.
            (MachineAccelerator::Tcg { .. }, Arch::Ppc64le) => &["-accel", "tcg,thread=multi", "-cpu", "POWER9"],
            // Without `sie`, because QEMU emulates no guests of guests on s390x.
            (MachineAccelerator::Tcg { .. }, Arch::S390x) => &["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// The pinned QEMU.
pub struct OuterQemu {
    tree: PathBuf,
    release: Release,
    /// The architecture of the machines that it boots.
    pub arch: Arch,
    /// The version of its package.
    pub version: PackageVersion,
    /// The accelerator that it uses here.
    pub accelerator: MachineAccelerator,
    _hold: ImageLock,
}

impl OuterQemu {
    /// Returns the QEMU of a prepared image for machines of this machine's architecture, with no accelerator tried.
    ///
    /// # Errors
    /// If the image lacks QEMU.
    pub fn of(image: &Image) -> Result<OuterQemu, OuterError> {
        OuterQemu::for_machines(image, here())
    }

    /// Returns the QEMU of a prepared image for machines of an architecture, with no accelerator tried.
    ///
    /// # Errors
    /// If the image lacks QEMU for them.
    pub fn for_machines(image: &Image, arch: Arch) -> Result<OuterQemu, OuterError> {
        let (package, program) = (package(arch), program(arch));
        let name = || image.release();
        let hold = image.hold().map_err(|source| OuterError::Hold { image: name(), source })?;
        let version = image.manifest.package(package).map(|p| p.version.clone());
        let version = version.ok_or_else(|| OuterError::NoPackage { image: name(), package })?;
        let accelerator = MachineAccelerator::Tcg { why: "KVM was not tried".to_owned(), dead_kvm: false };
        let outer = OuterQemu { tree: image.rootfs(), release: release()?, arch, version, accelerator, _hold: hold };
        match Root::new(&outer.tree)?.is_program(Path::new(&program))? {
            true => Ok(outer),
            false => Err(OuterError::NoProgram { image: name(), program }),
        }
    }

    /// Returns the root filesystem that QEMU comes from.
    pub(super) fn tree(&self) -> &Path {
        &self.tree
    }

    /// Returns the release that QEMU comes from.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// Returns QEMU's arguments for the processor.
    pub fn processor(&self) -> &'static [&'static str] {
        self.accelerator.arguments(self.arch)
    }

    fn loader(&self) -> PathBuf {
        self.tree.join(here().loader())
    }

    /// Returns an unconfined QEMU with these arguments and the accelerator's, tied to the thread that starts it. It is
    /// for this project's own benchmarks and tests, which use only their own files.
    pub fn unconfined(&self, arguments: &[String]) -> Command {
        let libraries = self.tree.join("usr/lib").join(here().gnu_triplet());
        let mut command = Command::new(self.loader());
        operator::process::tie(&mut command);
        command
            .arg("--library-path")
            .arg(&libraries)
            .arg(self.program())
            .arg("-L")
            .arg(self.tree.join("usr/share/qemu"))
            .arg("-L")
            .arg(self.tree.join("usr/share/seabios"))
            .args(self.processor())
            .args(arguments)
            .env("QEMU_MODULE_DIR", libraries.join("qemu"));
        command
    }

    fn program(&self) -> PathBuf {
        self.tree.join(program(self.arch).trim_start_matches('/'))
    }

    /// Returns a QEMU with these arguments and the accelerator's, confined to its own release's files and tied to the
    /// thread that starts it; it boots `kernel` and `initrd`.
    ///
    /// # Errors
    /// If a file is missing.
    pub fn command(&self, kernel: &Path, initrd: &Path, arguments: &[String]) -> io::Result<Command> {
        self.command_under(&self.accelerator, kernel, initrd, arguments)
    }

    pub(super) fn command_under(
        &self,
        accelerator: &MachineAccelerator,
        kernel: &Path,
        initrd: &Path,
        arguments: &[String],
    ) -> io::Result<Command> {
        let files = [(kernel, "kernel"), (initrd, "initrd")];
        let confined = Confined::to(&self.tree, files, *accelerator == MachineAccelerator::Kvm)?;
        let mut command = Command::new(program(self.arch));
        if let Some(kvm) = confined.kvm() {
            command.args(["-add-fd".to_owned(), format!("fd={kvm},set={KVM_SET}")]);
        }
        command
            .args(["-kernel".to_owned(), format!("{FILES}/kernel"), "-initrd".to_owned(), format!("{FILES}/initrd")])
            // Guests are not trusted, and QEMU does not need to start anything.
            .args(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"])
            .args(["-L", "/usr/share/qemu", "-L", "/usr/share/seabios"])
            .args(accelerator.arguments(self.arch).iter().map(|word| match *word {
                "kvm" => format!("kvm,device=/dev/fdset/{KVM_SET}"),
                other => other.to_owned(),
            }))
            .args(arguments)
            .env_clear();
        confined.around(&mut command);
        Ok(command)
    }
}

/// Returns the release that the pinned QEMU comes from.
///
/// # Errors
/// If the records do not have it.
pub(super) fn release() -> Result<Release, OuterError> {
    let database = Database::embedded();
    Ok(database.record(&RELEASE.distro)?.release(&RELEASE.version, here())?)
}
