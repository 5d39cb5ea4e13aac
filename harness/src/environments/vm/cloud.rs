//! A vendor's cloud image as the base of a release: read in a guest, never mounted on this machine.
//!
//! Crafted filesystems have broken kernels. So the image is attached read-only to a guest under the pinned QEMU, with
//! the harness's agent as its init. The agent finds the root filesystem and writes it as an archive to the guest's
//! second disk, an empty file, which is then unpacked on this machine like any other archive.
//!
//! | part | implementation | reason |
//! |---|---|---|
//! | file | a copy in the folder of the task, which is verified after it was made | its owner could change it after the verification |
//! | header | checked here, before QEMU: version, no backing file, no data file elsewhere, no encryption, all tables within the file | QEMU would open the files that the header names, and reads zeros where a file was cut short |
//! | QEMU | `driver: qcow2`, `backing: null`, read-only, by descriptor, under its own seccomp filter without `spawn` | QEMU probes no format, and opens exactly the file that was checked |
//! | guest | the pinned release's kernel, the harness's agent as init, two disks, no network | the same guest as the one that tries KVM, with ext4, xfs and btrfs; it ends when the archive is written |
//! | archive | written by the agent with the `tar` crate onto the second disk, a sparse file of 32 GiB at most | the image's own tar may be busybox's, which knows no attributes; no program of the image is run to read it |
//! | root filesystem | the first of the disk and its partitions with an os-release and `/usr`; of btrfs also `root` and `@`; `/boot` by its fstab | no label or partition type is common to vendors |
//! | unpacking | the same code as for OCI images, which counts entries and bytes | the guest may have been taken over by what it read |
//! | release | os-release of the tree by `detect`, as itself and not as a derivative | a verdict must not be recorded under another release's name |
//!
//! Extended attributes of directories, device nodes, pipes and sockets are lost. LVM and LUKS are refused by name. The
//! results of such a run may be written back: the image is what the vendor ships.

use super::outer::OuterError;
use super::pinned::Pinned;
use super::tiny::{Extras, FREE_FD, Tiny, TinyError};
use images::BaseSource;
use images::base::qcow2::{self, Qcow2Error};
use images::base::{BaseContent, BaseError, BaseProvider, BaseTask, ReadBase, accept};
use images::external_file::{Checksum, ExternalFile, ExternalFileError};
use model::database::Database;
use model::diagnostic::error_chain;
use model::redact::{one_line, without_controls};
use model::release::Release;
use protocol::client::ClientError;
use protocol::message::{GuestReply, GuestRequest};
use serde_json::json;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Modules that the reader's kernel needs for disks and for the filesystems that vendors use.
const MODULES: [&str; 4] = ["virtio_blk", "ext4", "xfs", "btrfs"];
/// Bytes of the archive's disk: the largest contents that an image may have.
const SPACE: u64 = 32 << 30;
/// Time that the reader may take to boot, under emulation on a busy machine.
const BOOT: Duration = Duration::from_secs(300);
const READ: Duration = Duration::from_secs(3600);
/// Time that the reader's agent may be silent; it sends a heartbeat twice a second.
const SILENCE: Duration = Duration::from_secs(120);

/// Reason why a cloud image cannot be the base of a release.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// A URL without the vendor's checksum.
    #[error(
        "{name} has no checksum: append the vendor's to the address, as #sha512:HEX or #sha256:HEX (see the SHA512SUMS \
         or SHA256SUMS file next to the image)"
    )]
    NoChecksum {
        /// The last part of the URL.
        name: String,
    },
    /// There is no such file.
    #[error("{place} is not a file: expected a qcow2 image, or an https:// address")]
    NoFile {
        /// The path.
        place: String,
    },
    /// The image cannot be fetched or read, or it has another checksum.
    #[error(transparent)]
    Source(#[from] ExternalFileError),
    /// The file is not a supported qcow2 image.
    #[error(transparent)]
    Format(#[from] Qcow2Error),
    /// There is no QEMU for the guest that reads the image.
    #[error(transparent)]
    Qemu(#[from] Arc<OuterError>),
    /// The guest that reads the image could not be started.
    #[error(transparent)]
    Start(#[from] TinyError),
    /// The guest or its agent failed at its task.
    #[error("{doing}: {how}")]
    Guest {
        /// The action, as a gerund.
        doing: &'static str,
        /// How QEMU or the agent ended, or the last sign of life.
        how: String,
    },
    /// The guest's agent refused the image, in its own words.
    #[error("{0}")]
    Refused(String),
    /// The guest claims an impossible number.
    #[error("the guest that reads the image claims to have written {bytes} bytes to a disk of {SPACE}")]
    TooMuch {
        /// The number of bytes that it claims.
        bytes: u64,
    },
    /// An operation on a file of this machine failed.
    #[error("{doing} {path}")]
    File {
        /// The action, as a gerund.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// A cloud image and the release that it must contain.
pub struct CloudImage {
    source: ExternalFile,
    checksum: Checksum,
    release: Release,
    database: Database,
    pinned: Arc<Pinned>,
    cancel: Arc<AtomicBool>,
}

impl CloudImage {
    /// Checks everything that can be checked before a download: a file by its checksum and header, a URL by having a
    /// checksum.
    ///
    /// # Errors
    /// The defect, and the remedy.
    pub fn open(
        source: ExternalFile,
        release: &Release,
        database: &Database,
        pinned: Arc<Pinned>,
        cancel: Arc<AtomicBool>,
    ) -> Result<CloudImage, CloudError> {
        let checksum = match &source.checksum {
            Some(checksum) if source.is_address() => checksum.clone(),
            None if source.is_address() => {
                return Err(CloudError::NoChecksum { name: source.name().to_owned() });
            }
            _ => {
                let place = Path::new(&source.place);
                if !place.is_file() {
                    return Err(CloudError::NoFile { place: source.place });
                }
                let sha256 = source.sha256_in_place(&cancel)?;
                qcow2::open(place)?;
                Checksum::Sha256(sha256)
            }
        };
        Ok(CloudImage { source, checksum, release: release.clone(), database: database.clone(), pinned, cancel })
    }
}

impl fmt::Debug for CloudImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudImage").field("name", &self.source.name()).field("checksum", &self.checksum).finish()
    }
}

impl BaseProvider for CloudImage {
    fn identity(&self) -> String {
        self.checksum.to_string()
    }

    fn source(&self) -> BaseSource {
        BaseSource::Cloud
    }

    fn read(&self, task: &BaseTask<'_>) -> Result<ReadBase, BaseError> {
        self.archive(task).map_err(BaseError::new)
    }

    fn accept(&self, tree: &Path) -> Result<(), BaseError> {
        accept(tree, self.source.name(), &self.release, &self.database).map_err(BaseError::new)
    }
}

impl CloudImage {
    /// Fetches the image and lets a guest read it.
    fn archive(&self, task: &BaseTask<'_>) -> Result<ReadBase, CloudError> {
        (task.tell)(&format!("fetching and verifying {}", self.source.name()));
        // The file may have been replaced since [`CloudImage::open`] checked it.
        let source = ExternalFile { checksum: Some(self.checksum.clone()), ..self.source.clone() };
        let path = task.folder.join("image");
        let sha256 = source.bring(&path, &self.cancel)?;
        let image = qcow2::open(&path)?;
        (task.tell)("preparing the QEMU that reads the image");
        let outer = self.pinned.get()?;
        let tar = task.folder.join("base.tar");
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| CloudError::File { doing, path, source }
        };
        let made = File::options().read(true).write(true).create_new(true).open(&tar);
        let archive = made.and_then(|file| file.set_len(SPACE).map(|()| file)).map_err(failed("creating", &tar))?;
        let copy = archive.try_clone().map_err(failed("creating", &tar))?;
        (task.tell)("booting the guest that reads the image");
        let extras = Extras {
            modules: &MODULES,
            arguments: arguments(),
            descriptors: vec![(image.into(), IMAGE_FD), (archive.into(), ARCHIVE_FD)],
        };
        let tiny = Tiny::start(&outer, &outer.accelerator, extras)?;
        let bytes = read_in(&tiny, task)?;
        drop(tiny);
        if bytes > SPACE {
            return Err(CloudError::TooMuch { bytes });
        }
        copy.set_len(bytes).map_err(failed("cutting", &tar))?;
        std::fs::remove_file(&path).map_err(failed("removing", &path))?;
        Ok(ReadBase { content: BaseContent::Tree(tar), sha256 })
    }
}

const IMAGE_FD: i32 = FREE_FD;
const ARCHIVE_FD: i32 = FREE_FD + 1;

/// Returns the arguments for the disks: the image as `vda`, the archive as `vdb`.
///
/// Formats and chains are explicit, so that QEMU neither guesses a file's format nor follows its references.
fn arguments() -> Vec<String> {
    let nodes = [
        json!({"driver": "file", "node-name": "image-file", "filename": "/dev/fdset/1", "read-only": true, "auto-read-only": false}),
        json!({"driver": "qcow2", "node-name": "image", "file": "image-file", "backing": null, "read-only": true}),
        json!({"driver": "file", "node-name": "archive-file", "filename": "/dev/fdset/2", "cache": {"no-flush": true}}),
        json!({"driver": "raw", "node-name": "archive", "file": "archive-file", "cache": {"no-flush": true}}),
    ];
    let mut words = Vec::new();
    let mut add = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    add("-add-fd", format!("fd={IMAGE_FD},set=1"));
    add("-add-fd", format!("fd={ARCHIVE_FD},set=2"));
    for node in nodes {
        add("-blockdev", node.to_string());
    }
    add("-device", "virtio-blk-pci,drive=image".to_owned());
    add("-device", "virtio-blk-pci,drive=archive".to_owned());
    words
}

/// Makes the guest write the archive; returns its length.
fn read_in(tiny: &Tiny, task: &BaseTask<'_>) -> Result<u64, CloudError> {
    let alive = || (task.go_on)() && tiny.runs();
    let ended = |doing, e: &ClientError| {
        let how = tiny.ending().unwrap_or_else(|| error_chain(e));
        CloudError::Guest { doing, how }
    };
    tiny.client.wait_for_hello(BOOT, alive).map_err(|e| ended("booting the guest that reads the image", &e))?;
    (task.tell)("reading the image's root filesystem");
    let request = GuestRequest::Archive { disk: "vda".to_owned(), to: "/dev/vdb".to_owned() };
    let is_responding = || alive() && tiny.client.silent_for() < SILENCE;
    match tiny.client.ask(request, READ, is_responding) {
        Ok(GuestReply::Archived { bytes, from }) => {
            tracing::debug!("the root filesystem was read from {from:?}: {bytes} bytes");
            Ok(bytes)
        }
        Ok(GuestReply::Failed { message }) => Err(CloudError::Refused(printable(&message))),
        Ok(other) => {
            Err(CloudError::Refused(format!("unexpected answer from the guest that reads the image: {other:?}")))
        }
        Err(e) if tiny.client.silent_for() >= SILENCE => Err(ended("waiting for the guest that reads the image", &e)),
        Err(e) => Err(ended("reading it", &e)),
    }
}

/// Makes text from an untrusted disk safe to show.
fn printable(message: &str) -> String {
    one_line(&without_controls(message, 1000), 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use images::Options;
    use model::arch::Arch;

    fn image(target: &str) -> CloudImage {
        let database = Database::embedded();
        let (distro, version) = target.split_once(':').unwrap();
        let release = database.record(distro).unwrap().release(version, Arch::X86_64).unwrap();
        CloudImage {
            source: ExternalFile::parse("/somewhere/made.qcow2").unwrap(),
            checksum: Checksum::Sha256("0".repeat(64)),
            release,
            database,
            pinned: Arc::new(Pinned::new(Options::new("/nonexistent"), &[])),
            cancel: Arc::default(),
        }
    }

    fn accepted(target: &str, os_release: &str) -> Result<(), String> {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("etc")).unwrap();
        std::fs::write(tree.path().join("etc/os-release"), os_release).unwrap();
        image(target).accept(tree.path()).map_err(|e| e.to_string())
    }

    #[test]
    fn only_an_image_of_the_requested_release_is_accepted() {
        let trixie =
            "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n";
        assert_eq!(accepted("debian:13", trixie), Ok(()));
        let other = accepted("debian:12", trixie).unwrap_err();
        assert_eq!(
            other,
            "made.qcow2 is Debian GNU/Linux 13 (trixie) (debian:13), but debian:12 was requested: name the release that the image contains"
        );
        // A derivative of the requested release is refused.
        let relative =
            "ID=raspbian\nID_LIKE=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nPRETTY_NAME=\"A relative\"\n";
        let other = accepted("debian:13", relative).unwrap_err();
        assert!(other.contains("A relative (ID=raspbian)"), "{other}");
        assert!(accepted("debian:13", "NAME=nothing\n").is_err());
    }

    #[test]
    fn qemu_gets_the_image_format_and_no_backing_file() {
        let words = arguments().join(" ");
        for expected in [r#""driver":"qcow2""#, r#""backing":null"#, r#""read-only":true"#] {
            assert!(words.contains(expected), "{words}");
        }
    }

    #[test]
    fn invalid_cloud_images_are_refused_before_anything_runs() {
        let dir = tempfile::tempdir().unwrap();
        let junk = dir.path().join("junk.qcow2");
        std::fs::write(&junk, "junk").unwrap();
        let open = |text: &str| {
            let CloudImage { release, database, pinned, cancel, .. } = image("debian:13");
            let opened = CloudImage::open(ExternalFile::parse(text).unwrap(), &release, &database, pinned, cancel);
            error_chain(&opened.unwrap_err())
        };
        assert!(open("https://images.example/debian-13.qcow2").contains("debian-13.qcow2 has no checksum"));
        assert!(open("/nonexistent/x.qcow2").contains("/nonexistent/x.qcow2 is not a file"));
        assert!(open(&junk.to_string_lossy()).contains("not a qcow2 image, it begins with `junk`"));
        assert!(open(&format!("{}#{}", junk.display(), "0".repeat(64))).contains("has the checksum sha256:"));
    }
}
