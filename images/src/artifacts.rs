//! Kata's own files: a release archive, or a folder like it.
//!
//! Upstream's `kata-static-VERSION-ARCH.tar.{xz,zst}` has everything below `opt/kata/`; a folder may contain
//! that or be it.
//! What it contains decides which runtime it is: a Go shim and a Rust shim have the same name.
//!
//! Archives are verified before they are unpacked, and nothing is written outside their folder.
//! The runtime is told by what the shim is; nothing of Kata is run on this machine.
//! From Kata 4.0.0 on a release is several archives; those of one version are taken together.

mod archive;
mod go;
mod guest;
mod version;

pub use self::guest::{Agent, guest_initrd, lay_over};
pub use crate::external_file::ExternalFile;

use crate::digest;
use crate::external_file::ExternalFileError;
use model::profile::{Beyond, Profile, Runtime};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Bytes of a program, a shim or the agent; upstream's have some 60 MB.
const MAX_PROGRAM: u64 = 512 << 20;
/// Bytes of an initrd; upstream's have some 300 MB.
const MAX_INITRD: u64 = 1 << 30;
/// The names of the shims' file; Fedora's Rust shim has one of its own.
const SHIMS: [&str; 4] = [
    "bin/containerd-shim-kata-v2",
    "runtime-rs/bin/containerd-shim-kata-v2",
    "bin/containerd-shim-kata-rs-v2",
    "containerd-shim-kata-v2",
];
/// The programs that check a host, the Go runtime's and the Rust one's.
const CHECKERS: [&str; 2] = ["bin/kata-runtime", "bin/kata-ctl"];
/// Kata's own guest initrd.
const INITRDS: [&str; 2] = ["share/kata-containers/kata-containers-initrd.img", "kata-containers-initrd.img"];

/// Why there is no Kata to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactsError {
    /// The archive cannot be read or fetched, or has another checksum.
    #[error(transparent)]
    File(#[from] ExternalFileError),
    /// A checksum was given for a folder.
    #[error("{path} is a folder, which has no checksum: leave it out, or name the archive")]
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
    /// The version is of no profile.
    #[error("no profile is about its {runtime} runtime")]
    Version {
        /// `go`, `rust`.
        runtime: &'static str,
        /// Why.
        source: Beyond,
    },
    /// The agent needs libraries that the guest does not have.
    #[error(
        "{path} is dynamically linked, and there is no initrd of Kata's with its libraries: bring the archive that has \
         share/kata-containers/kata-containers-initrd.img, too, or a static kata-agent (built with LIBC=musl)"
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

/// The content of a file that is no larger than such files are: an entry of an archive may be a hole.
fn content(path: &Path, most: u64) -> Result<Vec<u8>, ArtifactsError> {
    let file = doing(File::open(path), "opening", path)?;
    if doing(file.metadata(), "reading", path)?.len() > most {
        let large = io::Error::other(format!("it has more than {most} bytes, more than any of its kind"));
        return doing(Err(large), "reading", path);
    }
    let mut bytes = Vec::new();
    doing(file.take(most).read_to_end(&mut bytes), "reading", path)?;
    Ok(bytes)
}

fn doing<T>(result: io::Result<T>, what: &str, path: &Path) -> Result<T, ArtifactsError> {
    result.map_err(|source| ArtifactsError::Io { context: format!("{what} {}", path.display()), source })
}

/// A runtime among the artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shim {
    /// Go or Rust.
    pub kind: Runtime,
    /// Its program.
    pub path: PathBuf,
    /// The shipped configuration for QEMU, where there is one.
    pub configuration: Option<PathBuf>,
    /// The profile whose range holds the version.
    pub profile: &'static str,
}

/// Kata's files, unpacked.
#[derive(Debug)]
pub struct Artifacts {
    /// The prefix: the folder with `bin` in it.
    pub prefix: PathBuf,
    /// `3.30.0`.
    pub version: String,
    /// SHA-256 of the archive; a folder has none.
    pub sha256: Option<String>,
    /// The runtimes, Go first.
    pub shims: Vec<Shim>,
    /// `kata-runtime` and `kata-ctl`, where they are.
    pub checkers: Vec<PathBuf>,
    /// Kata's own guest kernel, not for production use with a distro.
    pub kernel: Option<PathBuf>,
    /// Kata's own guest initrd.
    pub initrd: Option<PathBuf>,
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
        guest::find(&self.prefix, self.initrd.as_deref())
    }

    /// The program that checks a host for a runtime: `kata-runtime` for the Go one, `kata-ctl` for the Rust one.
    pub fn checker(&self, kind: Runtime) -> Option<&Path> {
        let name = match kind {
            Runtime::Go => "kata-runtime",
            Runtime::Rs => "kata-ctl",
        };
        self.checkers.iter().map(PathBuf::as_path).find(|path| path.file_name().is_some_and(|found| found == name))
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
    root: &Path,
    name: &str,
    sha256: Option<String>,
    unpacked: Option<tempfile::TempDir>,
) -> Result<Artifacts, ArtifactsError> {
    let prefixes = [root.join("opt/kata"), root.join("usr"), root.to_owned()];
    let has = |prefix: &PathBuf, names: &[&str]| names.iter().any(|name| prefix.join(name).is_file());
    let with_shim = prefixes.iter().find(|prefix| has(prefix, &SHIMS));
    // Since 4.0.0 a release is several archives, and only some of them have a runtime.
    let other_parts = || prefixes.iter().find(|prefix| has(prefix, &CHECKERS) || has(prefix, &INITRDS));
    let prefix = with_shim.or_else(other_parts).ok_or_else(|| ArtifactsError::Missing {
        what: "part of Kata",
        place: root.display().to_string(),
        expected: format!(
            "one of {}, below opt/kata or by itself",
            [SHIMS.as_slice(), &CHECKERS, &INITRDS].concat().join(", ")
        ),
    })?;
    let programs: Vec<PathBuf> = SHIMS.iter().map(|name| prefix.join(name)).filter(|path| path.is_file()).collect();
    let programs: Vec<(PathBuf, Vec<u8>)> = programs
        .into_iter()
        .map(|path| content(&path, MAX_PROGRAM).map(|bytes| (path, bytes)))
        .collect::<Result<_, ArtifactsError>>()?;
    let version = version::of(prefix, name, &programs)?;
    let mut shims = Vec::new();
    let refused = |kind, source| {
        let runtime = if kind == Runtime::Go { "go" } else { "rust" };
        ArtifactsError::Version { runtime, source }
    };
    let mut unknown = None;
    for (path, bytes) in programs {
        // The linker of Go marks its programs so (`debug/buildinfo`).
        let kind = if contains(&bytes, b"\xff Go buildinf:") { Runtime::Go } else { Runtime::Rs };
        let profile = match Profile::of(kind, &version) {
            Ok(profile) => profile.name.as_str(),
            // Upstream's 3.x has a Rust runtime beside the Go one, which no profile is about.
            Err(source @ Beyond::Older { .. }) => {
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
        let configuration = names.iter().map(|name| defaults.join(name)).find(|path| path.is_file());
        if !shims.iter().any(|shim: &Shim| shim.kind == kind) {
            shims.push(Shim { kind, path, configuration, profile });
        }
    }
    if let Some(error) = unknown.filter(|_| shims.is_empty()) {
        return Err(error);
    }
    shims.sort_by_key(|shim| shim.kind != Runtime::Go);
    let first = |names: &[&str]| names.iter().map(|name| prefix.join(name)).find(|path| path.is_file());
    let share = "share/kata-containers";
    Ok(Artifacts {
        version,
        sha256,
        shims,
        checkers: CHECKERS.iter().filter_map(|name| first(&[name])).collect(),
        kernel: first(&[&format!("{share}/vmlinux.container"), &format!("{share}/vmlinuz.container")]),
        initrd: first(&INITRDS),
        prefix: prefix.clone(),
        _unpacked: unpacked,
    })
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

#[cfg(test)]
mod tests;
