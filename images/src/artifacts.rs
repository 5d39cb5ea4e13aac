//! Kata's own files: a release archive, or a folder like it.
//!
//! Upstream's `kata-static-VERSION-ARCH.tar.{xz,zst}` has everything below `opt/kata/`; a folder may contain
//! that or be it.
//! What it contains decides which runtime it is: a Go shim and a Rust shim have the same name.
//!
//! Archives are verified before they are unpacked, and nothing is written outside their folder.
//! Of a folder, an archive's or another, only regular files up to a size are opened, below its descriptor, where no link
//! leads out; what goes into a virtual machine is read from these descriptors.
//! The runtime is told by what the shim is; nothing of Kata is run on this machine.
//! From Kata 4.0.0 on a release is several archives; those of one version are taken together.

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
use model::profile::{NoProfileError, Profile, Runtime};
use root::MAX_CONFIGURATION;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Bytes of a program, a shim, the agent or the kernel; upstream's have some 60 MB.
const MAX_PROGRAM: u64 = 512 << 20;
/// Bytes of an initrd's file, which is compressed: one of upstream's recipe has some 59 MB, and 2.3.0's had 113 MB; unpacked
/// they are 129 and some 320 MB.
const MAX_INITRD: u64 = 1 << 30;
/// Bytes of an image; upstream's have some 256 MiB.
const MAX_IMAGE: u64 = 2 << 30;
/// Where Kata's files are in a folder, seen from inside.
const PREFIXES: [&str; 3] = ["/opt/kata", "/usr", "/"];
/// The names of the shims' file; Fedora's Rust shim has one of its own.
const SHIMS: [&str; 4] = [
    "bin/containerd-shim-kata-v2",
    "runtime-rs/bin/containerd-shim-kata-v2",
    "bin/containerd-shim-kata-rs-v2",
    "containerd-shim-kata-v2",
];
/// The programs that check a host, the Go runtime's and the Rust one's.
const CHECKERS: [&str; 2] = ["bin/kata-runtime", "bin/kata-ctl"];
/// Kata's own guest kernel.
const KERNELS: [&str; 2] = ["share/kata-containers/vmlinux.container", "share/kata-containers/vmlinuz.container"];
/// Kata's own guest initrd.
const INITRDS: [&str; 2] = ["share/kata-containers/kata-containers-initrd.img", "kata-containers-initrd.img"];
/// Kata's own guest image.
const IMAGES: [&str; 2] = ["share/kata-containers/kata-containers.img", "kata-containers.img"];

/// Why there is no Kata to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactsError {
    /// The archive cannot be read or fetched, or has another checksum.
    #[error(transparent)]
    File(#[from] ExternalFileError),
    /// A checksum was given for a folder.
    #[error(
        "{path} is a folder, which cannot be checked against a checksum: leave the checksum out, or name the \
             archive"
    )]
    FolderChecksum {
        /// The folder.
        path: PathBuf,
    },
    /// The archive has an entry that leads out of the folder, or is too large.
    #[error("the archive's entry {entry}: {reason}")]
    Entry {
        /// Its path.
        entry: String,
        /// Why it is refused.
        reason: String,
    },
    /// A part that is needed is not there.
    #[error("no {what} in {place}: expected {expected}")]
    Missing {
        /// `shim`.
        what: &'static str,
        /// Where.
        place: String,
        /// What would have served.
        expected: String,
    },
    /// Its file VERSION and its runtime are of different versions.
    #[error("{file} says {version}, but {program} says {said:?}: expected files of the same release")]
    TwoVersions {
        /// The file.
        file: String,
        /// What it says.
        version: KataVersion,
        /// The runtime's program.
        program: String,
        /// What that says of itself.
        said: String,
    },
    /// The version is of no profile.
    #[error("there is no profile for its {runtime} runtime")]
    Version {
        /// `go`, `rust`.
        runtime: &'static str,
        /// Why.
        source: NoProfileError,
    },
    /// The agent needs libraries that the guest does not have.
    #[error(
        "{path} is dynamically linked, but there is no Kata initrd with its libraries: use an archive that contains \
         share/kata-containers/kata-containers-initrd.img, or a static kata-agent (built with LIBC=musl)"
    )]
    DynamicAgent {
        /// The agent.
        path: String,
    },
    /// A file that cannot be read or written.
    #[error("{context}: {source}")]
    Io {
        /// What was being done to which file.
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
    /// Its program.
    pub program: OpenedFile,
    /// The shipped configuration for QEMU, where there is one.
    pub configuration: Option<OpenedFile>,
    /// The profile whose range holds the version.
    pub profile: &'static str,
}

/// Kata's files, unpacked.
#[derive(Debug)]
pub struct Artifacts {
    folder: Folder,
    /// The folder with `bin` in it, seen from inside.
    prefix: PathBuf,
    /// `3.30.0`.
    pub version: KataVersion,
    /// SHA-256 of the archive; a folder has none.
    pub sha256: Option<String>,
    /// The runtimes, Go first.
    pub shims: Vec<Shim>,
    /// `kata-runtime` and `kata-ctl`, where they are.
    pub checkers: Vec<OpenedFile>,
    /// Kata's own guest kernel.
    pub kernel: Option<OpenedFile>,
    /// Kata's own guest initrd.
    pub initrd: Option<OpenedFile>,
    /// Kata's own guest image.
    pub image: Option<OpenedFile>,
    /// The folder that was unpacked to, removed with this value.
    _unpacked: Option<tempfile::TempDir>,
}

impl Artifacts {
    /// Fetches, verifies and unpacks below `scratch`, and finds out what is in it; a folder is used where it is.
    ///
    /// # Errors
    /// What is wrong with the source, by name; nothing is unpacked before the checksum has been verified.
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
        let (archive, found) = source.open(&folder.path().join("archive"), &AtomicBool::new(false))?;
        let tree = folder.path().join("tree");
        doing(fs::create_dir(&tree), "making", &tree)?;
        archive::unpack(&archive, &tree)?;
        inspect(&tree, source.name(), Some(found), Some(folder))
    }

    /// Kata's agent: a static file of its own, or the one inside Kata's initrd.
    ///
    /// # Errors
    /// When there is none, or it is no program.
    pub fn agent(&self) -> Result<Agent, ArtifactsError> {
        guest::find(&self.folder, &self.prefix, self.initrd.as_ref())
    }

    /// The program that checks a host for a runtime: `kata-runtime` for the Go one, `kata-ctl` for the Rust one.
    pub fn checker(&self, kind: Runtime) -> Option<&OpenedFile> {
        let name = match kind {
            Runtime::Go => "kata-runtime",
            Runtime::Rs => "kata-ctl",
        };
        self.checkers.iter().find(|checker| checker.path().file_name().is_some_and(|found| found == name))
    }
}

/// The SHA-256 of a file, in lower case.
///
/// # Errors
/// When it cannot be read.
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
    let refused = |kind, source| {
        let runtime = if kind == Runtime::Go { "go" } else { "rust" };
        ArtifactsError::Version { runtime, source }
    };
    let mut unknown = None;
    for (program, bytes) in programs {
        // The linker of Go marks its programs so (`debug/buildinfo`).
        let kind = if contains(&bytes, b"\xff Go buildinf:") { Runtime::Go } else { Runtime::Rs };
        let profile = match Profile::of(kind, version) {
            Ok(profile) => profile.name.as_str(),
            // Upstream's 3.x has a Rust runtime beside the Go one, which no profile is about.
            Err(source @ NoProfileError::Older { .. }) => {
                unknown = Some(refused(kind, source));
                continue;
            }
            Err(source) => return Err(refused(kind, source)),
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

/// Where Kata's files begin, seen from inside: where a shim is, or else another part.
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
