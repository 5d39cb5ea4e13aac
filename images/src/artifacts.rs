//! Kata's own files: a release archive, or a directory with the same layout.
//!
//! Upstream's `kata-static-VERSION-ARCH.tar.{xz,zst}` has everything below `opt/kata/`; a directory may contain
//! `opt/kata` or be it.
//! The content of a shim decides which runtime it is, because the Go shim and the Rust shim have the same file name.
//!
//! Archives are verified before they are unpacked, and nothing is written outside their directory.
//! In any directory, unpacked or given, only regular files up to a size limit are opened, relative to the directory's
//! descriptor, so that no link leads out; files for a virtual machine are read from these descriptors.
//! No program of Kata is run on this machine.
//! From Kata 4.0.0 on a release is several archives; those of one version are used together.

mod archive;
mod folder;
mod go;
mod guest;
mod version;

pub use self::folder::OpenedFile;
pub use self::guest::{Agent, guest_initrd};

use crate::digest;
use crate::external_file::{ExternalFile, ExternalFileError};
use folder::Folder;
use model::kata_version::KataVersion;
use model::profile::{NoProfileError, Profile, ProfileName, Runtime};
use root::MAX_CONFIGURATION;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Size limit of a program (shim, agent) or kernel, in bytes; upstream's have about 60 MB.
const MAX_PROGRAM: u64 = 512 << 20;
/// Size limit of an initrd file, which is compressed, in bytes. An initrd from upstream's recipe has about 59 MB, that
/// of 2.3.0 had 113 MB; unpacked they have 129 MB and about 320 MB.
const MAX_INITRD: u64 = 1 << 30;
/// Size limit of an image, in bytes; upstream's have about 256 MiB.
const MAX_IMAGE: u64 = 2 << 30;
/// Prefixes below which Kata's files may be in a directory, as absolute paths inside it.
const PREFIXES: [&str; 3] = ["/opt/kata", "/usr", "/"];
/// File names of the shims; Fedora's Rust shim has a name of its own.
const SHIMS: [&str; 4] = [
    "bin/containerd-shim-kata-v2",
    "runtime-rs/bin/containerd-shim-kata-v2",
    "bin/containerd-shim-kata-rs-v2",
    "containerd-shim-kata-v2",
];
/// Programs that check a host: the Go runtime's and the Rust runtime's.
const CHECKERS: [&str; 2] = ["bin/kata-runtime", "bin/kata-ctl"];
/// Kata's own guest kernel.
const KERNELS: [&str; 2] = ["share/kata-containers/vmlinux.container", "share/kata-containers/vmlinuz.container"];
/// Kata's own guest initrd.
const INITRDS: [&str; 2] = ["share/kata-containers/kata-containers-initrd.img", "kata-containers-initrd.img"];
/// Kata's own guest image.
const IMAGES: [&str; 2] = ["share/kata-containers/kata-containers.img", "kata-containers.img"];

/// Reasons why there is no usable Kata.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactsError {
    /// The archive cannot be read or fetched, or its checksum differs.
    #[error(transparent)]
    File(#[from] ExternalFileError),
    /// A checksum was given, but the source is a directory.
    #[error(
        "{path} is a folder, which cannot be checked against a checksum: leave the checksum out, or name the \
             archive"
    )]
    FolderChecksum {
        /// The folder.
        path: PathBuf,
    },
    /// The archive has an entry that leads out of the directory, or is too large.
    #[error("the archive's entry {entry}: {reason}")]
    Entry {
        /// Path of the entry.
        entry: String,
        /// Reason for the refusal.
        reason: String,
    },
    /// A required part is missing.
    #[error("no {what} in {place}: expected {expected}")]
    Missing {
        /// Name of the part: `shim`.
        what: &'static str,
        /// Place that was searched.
        place: String,
        /// Names that were expected.
        expected: String,
    },
    /// The VERSION file and the runtime's program report different versions.
    #[error("{file} says {version}, but {program} says {program_version:?}: expected files of the same release")]
    TwoVersions {
        /// Path of the VERSION file.
        file: String,
        /// Version in the VERSION file.
        version: KataVersion,
        /// Path of the runtime's program.
        program: String,
        /// Version that the program reports.
        program_version: String,
    },
    /// No profile covers the version.
    #[error("there is no profile for its {runtime} runtime")]
    Version {
        /// `go` or `rust`.
        runtime: &'static str,
        /// Reason.
        source: NoProfileError,
    },
    /// The agent needs libraries that the guest does not have.
    #[error(
        "{path} is dynamically linked, but there is no Kata initrd with its libraries: use an archive that contains \
         share/kata-containers/kata-containers-initrd.img, or a static kata-agent (built with LIBC=musl)"
    )]
    DynamicAgent {
        /// Path of the agent.
        path: String,
    },
    /// A file cannot be read or written.
    #[error("{context}: {source}")]
    Io {
        /// The operation and the file.
        context: String,
        /// The system's reason.
        source: io::Error,
    },
}

fn doing<T>(result: io::Result<T>, what: &str, path: &Path) -> Result<T, ArtifactsError> {
    result.map_err(|source| ArtifactsError::Io { context: format!("{what} {}", path.display()), source })
}

/// A runtime among the artifacts.
#[derive(Debug, Clone)]
pub struct Shim {
    /// Go or Rust.
    pub kind: Runtime,
    /// The shim's program.
    pub program: OpenedFile,
    /// The shipped configuration for QEMU, if any.
    pub configuration: Option<OpenedFile>,
    /// The profile whose range holds the version.
    pub profile: &'static ProfileName,
}

/// Kata's files, unpacked.
#[derive(Debug)]
pub struct Artifacts {
    folder: Folder,
    /// Directory that contains `bin`, as an absolute path inside `folder`.
    prefix: PathBuf,
    /// Version of this Kata: `3.30.0`.
    pub version: KataVersion,
    /// SHA-256 of the archive; `None` for a directory.
    pub sha256: Option<String>,
    /// The runtimes, Go first.
    pub shims: Vec<Shim>,
    /// `kata-runtime` and `kata-ctl`, if present.
    pub checkers: Vec<OpenedFile>,
    /// Kata's own guest kernel.
    pub kernel: Option<OpenedFile>,
    /// Kata's own guest initrd.
    pub initrd: Option<OpenedFile>,
    /// Kata's own guest image.
    pub image: Option<OpenedFile>,
    /// Temporary directory of the unpacked archive, removed with this value.
    _unpacked: Option<tempfile::TempDir>,
}

impl Artifacts {
    /// Fetches, verifies and unpacks an archive below `scratch`, and finds its parts; a directory is used in place.
    ///
    /// # Errors
    /// Describes the problem with the source; nothing is unpacked before the checksum has been verified.
    pub fn open(source: &ExternalFile, scratch: &Path) -> Result<Artifacts, ArtifactsError> {
        let place = PathBuf::from(&source.place);
        if !source.is_address() && place.is_dir() {
            if source.checksum.is_some() {
                return Err(ArtifactsError::FolderChecksum { path: place });
            }
            return inspect(&place, source.name(), None, None);
        }
        doing(fs::create_dir_all(scratch), "making", scratch)?;
        let folder = doing(tempfile::Builder::new().prefix("kata").tempdir_in(scratch), "making a folder in", scratch)?;
        let archive = folder.path().join("archive");
        let found = source.bring(&archive, &AtomicBool::new(false))?;
        let tree = folder.path().join("tree");
        doing(fs::create_dir(&tree), "making", &tree)?;
        archive::unpack(&archive, &tree)?;
        doing(fs::remove_file(&archive), "removing", &archive)?;
        inspect(&tree, source.name(), Some(found), Some(folder))
    }

    /// Returns Kata's agent: a separate static file, or the agent inside Kata's initrd.
    ///
    /// # Errors
    /// If there is no agent, or it is not a program.
    pub fn agent(&self) -> Result<Agent, ArtifactsError> {
        guest::find(&self.folder, &self.prefix, self.initrd.as_ref())
    }

    /// Returns the program that checks a host for a runtime: `kata-runtime` for Go, `kata-ctl` for Rust.
    pub fn checker(&self, kind: Runtime) -> Option<&OpenedFile> {
        let name = match kind {
            Runtime::Go => "kata-runtime",
            Runtime::Rs => "kata-ctl",
        };
        self.checkers.iter().find(|checker| checker.path().file_name().is_some_and(|found| found == name))
    }
}

/// Returns the SHA-256 of a file, in lower case.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256(path: &Path) -> Result<String, ArtifactsError> {
    digest::of_file(path).map_err(|f| ArtifactsError::Io {
        context: format!("reading {}", path.display()),
        source: io::Error::other(f.cause),
    })
}

fn inspect(
    place: &Path,
    name: &str,
    sha256: Option<String>,
    unpacked: Option<tempfile::TempDir>,
) -> Result<Artifacts, ArtifactsError> {
    let folder = Folder::open(place)?;
    let prefix = prefix(&folder)?.ok_or_else(|| ArtifactsError::Missing {
        what: "part of Kata",
        place: place.display().to_string(),
        expected: format!(
            "one of {}, in opt/kata or at the top level",
            [SHIMS.as_slice(), &CHECKERS, &INITRDS].concat().join(", ")
        ),
    })?;
    let mut programs = Vec::new();
    for name in SHIMS {
        if let Some(program) = folder.file(&prefix.join(name), MAX_PROGRAM)? {
            let bytes = program.content()?;
            programs.push((program, bytes));
        }
    }
    let version = version::of(&folder, prefix, name, &programs)?;
    let mut shims = Vec::new();
    let version_error = |kind: Runtime, source| ArtifactsError::Version { runtime: kind.language(), source };
    let mut unknown = None;
    for (program, bytes) in programs {
        // Go's linker puts this mark into its programs (`debug/buildinfo`).
        let kind = if contains(&bytes, b"\xff Go buildinf:") { Runtime::Go } else { Runtime::Rs };
        let profile = match Profile::of(kind, version) {
            Ok(profile) => &profile.name,
            // Upstream's 3.x releases have a Rust runtime next to the Go runtime, and no profile covers it.
            Err(source @ NoProfileError::Older { .. }) => {
                unknown = Some(version_error(kind, source));
                continue;
            }
            Err(source) => return Err(version_error(kind, source)),
        };
        let defaults = prefix.join("share/defaults/kata-containers");
        let names = match kind {
            Runtime::Go => ["configuration-qemu.toml", "configuration.toml"],
            Runtime::Rs => ["runtime-rs/configuration-qemu-runtime-rs.toml", "runtime-rs/configuration.toml"],
        };
        let configuration = folder.first(&defaults, &names, MAX_CONFIGURATION)?;
        if !shims.iter().any(|shim: &Shim| shim.kind == kind) {
            shims.push(Shim { kind, program, configuration, profile });
        }
    }
    if let Some(error) = unknown.filter(|_| shims.is_empty()) {
        return Err(error);
    }
    shims.sort_by_key(|shim| shim.kind != Runtime::Go);
    let mut checkers = Vec::new();
    for name in CHECKERS {
        checkers.extend(folder.file(&prefix.join(name), MAX_PROGRAM)?);
    }
    Ok(Artifacts {
        version,
        sha256,
        shims,
        checkers,
        kernel: folder.first(prefix, &KERNELS, MAX_PROGRAM)?,
        initrd: folder.first(prefix, &INITRDS, MAX_INITRD)?,
        image: folder.first(prefix, &IMAGES, MAX_IMAGE)?,
        prefix: prefix.to_owned(),
        folder,
        _unpacked: unpacked,
    })
}

/// Finds the prefix of Kata's files, as an absolute path inside the directory: that of a shim, or else of another part.
fn prefix(folder: &Folder) -> Result<Option<&'static Path>, ArtifactsError> {
    for prefix in PREFIXES.map(Path::new) {
        if folder.first(prefix, &SHIMS, MAX_PROGRAM)?.is_some() {
            return Ok(Some(prefix));
        }
    }
    // Since 4.0.0 a release is several archives, and only some of them have a runtime.
    for prefix in PREFIXES.map(Path::new) {
        let checker = folder.first(prefix, &CHECKERS, MAX_PROGRAM)?;
        if checker.is_some() || folder.first(prefix, &INITRDS, MAX_INITRD)?.is_some() {
            return Ok(Some(prefix));
        }
    }
    Ok(None)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

#[cfg(test)]
mod tests;
